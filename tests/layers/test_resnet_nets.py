"""Residual encoder and decoder: shapes, what they see, how they start."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import randomize
from tfgen.layers import ResNetDecoder, ResNetEncoder
from tfgen.layers.resnet_nets import GrowingBlock, ShrinkingBlock
from tfgen.models import VAE


def normal(shape, seed=0):
    return tf.constant(np.random.default_rng(seed).standard_normal(shape), tf.float32)


def test_blocks_start_as_their_linear_part():
    """Means of 2x2 pixels, at an odd edge of those there are; repeated pixels, cropped."""
    x = normal((2, 5, 4, 3))
    shrink, grow = ShrinkingBlock(6), GrowingBlock(6, (9, 7))
    small, large = shrink(x), grow(x)
    padded = np.pad(x, [(0, 0), (0, 1), (0, 0), (0, 0)], constant_values=np.nan)
    means = np.nanmean(padded.reshape(2, 3, 2, 2, 2, 3), axis=(2, 4))
    np.testing.assert_allclose(small, means @ shrink.project.kernel[0, 0], rtol=1e-4, atol=1e-5)
    repeated = np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)[:, :9, :7]
    np.testing.assert_allclose(large, repeated @ grow.project.kernel[0, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("units", [(5,), ()])
def test_every_pixel_and_every_latent_counts(units):
    """Features see every pixel of their example and none of another; so do outputs latents."""
    encoder = ResNetEncoder((3, 4), num_blocks=2, units=units)
    decoder = ResNetDecoder((6, 7, 2, 3), (4, 3), num_blocks=2, units=units)
    x = normal((2, 6, 7, 2))
    features = encoder(x)
    assert features.shape == ((2, 5) if units else (2, 2, 2, 4))
    assert decoder(features).shape == (2, 6, 7, 2, 3)
    randomize(encoder), randomize(decoder)
    for network, value in ((encoder, x), (decoder, features)):
        with tf.GradientTape() as tape:
            tape.watch(value)
            first = tf.reduce_sum(tf.square(network(value)[0]))
        gradient = tape.gradient(first, value).numpy()
        assert np.abs(gradient[0]).min() > 0
        np.testing.assert_array_equal(gradient[1], 0.0)
    again = type(decoder).from_config(decoder.get_config())
    again(features)
    again.set_weights(decoder.get_weights())
    np.testing.assert_array_equal(again(features), decoder(features))


@pytest.mark.parametrize("latent_shape", [[3], [2, 3, 2]])
def test_in_a_vae(latent_shape):
    """Of conditional images with odd sides: a gradient reaches every variable; dropout acts."""
    units = (5,) if len(latent_shape) == 1 else ()
    sizes = {"num_blocks": 1, "units": units, "dropout": 0.3}
    model = VAE(
        [7, 9, 1],
        2,
        num_classes=2,
        latent_shape=latent_shape,
        encoder={"type": "ResNetEncoder", "filters": [3, 4], **sizes},
        decoder={"type": "ResNetDecoder", "filters": [4, 3], **sizes},
    )
    randomize(model)
    x = np.random.default_rng(0).integers(0, 2, (3, 7, 9, 1)).astype("uint8")
    y = np.array([0, 1, 0], "int32")
    with tf.GradientTape() as tape:
        log_prob = model.log_prob(x, y, seed=0)
    gradients = tape.gradient(log_prob, [v.value for v in model.trainable_variables])
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)
    with model._training():
        assert not np.allclose(model.log_prob(x, y, seed=0), log_prob)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResNetEncoder(()), "filters must be a list of at least one integer"),
        (lambda: ResNetEncoder((4, 0)), "filters must be an integer >= 1; received: 0"),
        (lambda: ResNetDecoder((4, 4, 1), num_blocks=0), "num_blocks must be an integer >= 1"),
        (lambda: ResNetDecoder((16,)), "output_shape must be"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
