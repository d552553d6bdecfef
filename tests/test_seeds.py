"""Random masks: as many as asked, independent of their neighbours and of other seeds."""

import numpy as np
import pytest
import tensorflow as tf

from tfgen import seeds

SIZE = 2**18
FIVE_DEVIATIONS = 5 / np.sqrt(SIZE)


def _standardized(probability, seed):
    mask = seeds.bernoulli((SIZE,), probability, tf.constant(seed)).numpy()
    return (mask - probability) / np.sqrt(probability * (1 - probability))


@pytest.mark.parametrize("probability", [0.5, 0.9, 0.01])
def test_bernoulli_is_fair_and_neighbours_are_uncorrelated(probability):
    mask = _standardized(probability, [1, 2])
    assert abs(mask.mean()) < FIVE_DEVIATIONS
    for lag in (1, 2, 3, 4, 5, 32, 64, 1000, 2**16):
        assert abs(np.mean(mask[lag:] * mask[:-lag])) < 1.2 * FIVE_DEVIATIONS, lag


def test_bernoulli_of_other_seeds_is_independent():
    # Neighbouring seeds, and pairs whose words are exchanged.
    others = [[0, 1], [1, 0], [0, 2], [2, 0], [0, 3], [0, 2**30], [-1, 0]]
    masks = np.stack([_standardized(0.5, seed) for seed in others])
    correlations = masks @ masks.T / SIZE - np.eye(len(others))
    assert np.abs(correlations).max() < FIVE_DEVIATIONS


def test_bernoulli_is_certain_at_the_ends_and_the_same_compiled():
    seed = tf.constant([3, 4])
    assert seeds.bernoulli((3, 5), 1.0, seed).numpy().all()
    assert not seeds.bernoulli((3, 5), 0.0, seed).numpy().any()
    compiled = tf.function(lambda seed: seeds.bernoulli((7, 9), 0.3, seed), jit_compile=True)
    np.testing.assert_array_equal(compiled(seed), seeds.bernoulli((7, 9), 0.3, seed))
