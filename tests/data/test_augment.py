"""Random transforms of a training batch, and binarisation of sets."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfgen.data
from tfgen.data.augment import DynamicBinarization, HorizontalFlip
from tfgen.data.binarize import fixed_train, sample_binary

LEVELS = np.tile(np.arange(17, dtype=np.uint8)[:, None], (1, 4000))[..., None]


def test_dynamic_binarization_draws_each_level_at_its_rate():
    transform = DynamicBinarization(num_levels=17)
    binary = transform(LEVELS, seed=3).numpy()
    assert binary.dtype == np.uint8
    assert set(np.unique(binary)) == {0, 1}
    rate = np.arange(17) / 16
    error = np.sqrt(rate * (1 - rate) / 4000)
    assert (np.abs(binary.mean(axis=(1, 2)) - rate) <= 4 * error).all()
    assert not np.array_equal(binary, transform(LEVELS, seed=4).numpy())


def test_fixed_binarization_draws_each_level_at_its_rate():
    binary = sample_binary(LEVELS, 17, seed=0)
    rate = np.arange(17) / 16
    error = np.sqrt(rate * (1 - rate) / 4000)
    assert (np.abs(binary.mean(axis=(1, 2)) - rate) <= 4 * error).all()


def test_flips_mirror_whole_images_half_of_the_time():
    x = np.random.RandomState(0).randint(256, size=(400, 3, 4, 2)).astype(np.uint8)
    flipped = HorizontalFlip()(x, seed=1).numpy()
    same = (flipped == x).all(axis=(1, 2, 3))
    mirrored = (flipped == x[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert abs(mirrored.sum() - 200) < 4 * 10


@pytest.mark.parametrize("transform", [DynamicBinarization(), HorizontalFlip()])
def test_compiled_transforms_draw_the_same(transform):
    x = tf.constant(np.random.RandomState(0).randint(256, size=(8, 3, 4, 1)).astype(np.uint8))
    seed = tf.constant([3, 4])
    compiled = tf.function(transform.__call__, jit_compile=True)(x, seed)
    np.testing.assert_array_equal(compiled, transform(x, seed))


def test_transforms_are_their_configuration():
    config = keras.saving.serialize_keras_object(DynamicBinarization(num_levels=17))
    again = keras.saving.deserialize_keras_object(config)
    assert again.num_levels == 17
    with pytest.raises(ValueError, match="num_levels must be an integer >= 2; received: 1"):
        DynamicBinarization(num_levels=1)


def test_binarized_digits():
    grey = tfgen.data.load("digits")
    fixed = tfgen.data.load("digits", binarize="fixed")
    dynamic = tfgen.data.load("digits", binarize="dynamic")
    assert (fixed.info.num_levels, fixed.info.train_num_levels) == (2, 2)
    assert (dynamic.info.num_levels, dynamic.info.train_num_levels) == (2, 17)
    np.testing.assert_array_equal(dynamic.train.x, grey.train.x)
    assert [data.info.binarization for data in (grey, fixed, dynamic)] == [None, "fixed", "dynamic"]
    np.testing.assert_array_equal(dynamic.test.x, fixed.test.x)
    # What metrics evaluate on: the values that a model knows.
    np.testing.assert_array_equal(fixed_train(dynamic).x, fixed.train.x)
    assert fixed_train(fixed) is fixed.train
    assert fixed_train(grey) is grey.train
    # Black stays black and full white stays white in the right image.
    assert not fixed.train.x[grey.train.x == 0].any()
    assert fixed.train.x[grey.train.x == 16].all()
    assert any("Binarised" in step for step in fixed.info.preprocessing)
