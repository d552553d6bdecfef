"""The discretised logistic with one learned scale."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.distributions import DiscretizedLogistic
from tfgen.models import VAE

tfd = tfp.distributions


def test_sums_to_one_with_the_tails_in_the_edge_levels():
    """TFP's quantised logistic, in units of levels; means on the data, at the edge and far off."""
    loc = np.array([-5.0, -1.0, -0.1, 0.45, 1.0, 1.5])
    log_scale = -3.0
    parameters = tf.constant(np.append(loc, log_scale))
    p = DiscretizedLogistic(256)(parameters)
    assert (p.batch_shape, p.event_shape) == ((), (6,))
    channels = DiscretizedLogistic(256)(
        tf.constant(np.stack([loc, np.full(6, log_scale)], axis=-1))
    )
    levels = np.arange(256.0)
    log_prob = channels.log_prob(levels[:, None, None])  # [256, 6]
    np.testing.assert_allclose(tf.reduce_sum(tf.exp(log_prob), 0), 1.0, rtol=1e-10)
    logistic = tfd.Logistic(tf.constant(127.5 * (loc + 1.0) - 0.5), 127.5 * np.exp(log_scale))
    oracle = tfd.QuantizedDistribution(logistic, low=0.0, high=255.0)
    expected = oracle.prob(levels[:, None])
    likely = expected > 1e-10  # where the oracle's difference of distribution functions has digits
    np.testing.assert_allclose(tf.exp(log_prob)[likely], expected[likely], rtol=1e-4)
    x = np.array([3.0, 0.0, 200.0, 150.0, 255.0, 17.0])
    np.testing.assert_allclose(
        p.log_prob(x), log_prob.numpy()[x.astype(int), range(6)].sum(), rtol=1e-10
    )


def test_the_scale_has_a_floor_and_draws_a_temperature():
    likelihood = DiscretizedLogistic(256)
    np.testing.assert_allclose(likelihood(tf.constant([0.1, -50.0])).log_scale, [[-7.0]])
    parameters = tf.tile(tf.constant([[0.1, -0.2, -2.0]]), [20_000, 1])
    for temperature in (1.0, 0.3):
        x = likelihood.draw(parameters, tf.constant([0, 1]), temperature).numpy()
        np.testing.assert_allclose(x.mean(0), 127.5 * np.array([1.1, 0.8]), atol=1.0)
        deviation = 127.5 * temperature * np.exp(-2.0) * np.pi / np.sqrt(3.0)
        np.testing.assert_allclose(x.std(0), deviation, rtol=0.05)


def test_a_model_starts_from_the_scale_of_the_data():
    """Logistic data of known scale: the start is their locations and their scale."""
    rng = np.random.default_rng(0)
    scale = np.exp(-3.0)
    v = rng.logistic([[[0.2, -0.3]]], scale, (4000, 1, 1, 2))
    x = np.clip(np.round(127.5 * (v + 1.0)), 0, 255).astype("uint8")
    model = VAE(
        [1, 1, 2],
        256,
        latent_shape=[1],
        likelihood={"type": "DiscretizedLogistic"},
        encoder={"type": "MLPEncoder", "units": [2]},
        decoder={"type": "MLPDecoder", "units": [2]},
    )
    model.initialize(x)
    assert model.output_bias.shape == (1, 1, 2)
    np.testing.assert_allclose(model.output_bias[0, 0], [0.2, -0.3], atol=0.01)
    np.testing.assert_allclose(model.output_constant, [-3.0], atol=0.1)


def test_refusal():
    with pytest.raises(ValueError, match="num_levels must be an integer >= 2; received: 1"):
        DiscretizedLogistic(1)
