"""The mixture of discretised logistics: exact mass, exact sampler, finite gradients."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.distributions import MixtureOfDiscretizedLogistics

tfd = tfp.distributions


def extreme(num_levels, channels=1, seed=0):
    """All combinations of sharp and flat scales with means inside and far outside the range."""
    pairs = np.array(list(itertools.product([-7.0, -3.0, 0.0, 3.0], [-5.0, -0.3, 0.0, 1.0, 5.0])))
    rng = np.random.default_rng(seed)
    mixtures = 3
    rows = pairs[rng.integers(len(pairs), size=(len(pairs), mixtures, channels))]
    rows[:, 0] = pairs[:, None]
    num_coefficients = channels * (channels - 1) // 2
    return MixtureOfDiscretizedLogistics(
        logits=rng.standard_normal((len(pairs), mixtures)).astype("float32"),
        loc=rows[..., 1].astype("float32"),
        log_scale=rows[..., 0].astype("float32"),
        coefficients=rng.uniform(-1, 1, (len(pairs), mixtures, num_coefficients)).astype("float32")
        if num_coefficients
        else None,
        num_levels=num_levels,
    )


def all_events(num_levels, channels):
    return np.array(list(itertools.product(range(num_levels), repeat=channels)), "float32")


@pytest.mark.parametrize(("num_levels", "channels"), [(256, 1), (4, 1), (2, 1), (6, 3), (5, 2)])
def test_sums_to_one(num_levels, channels):
    distribution = extreme(num_levels, channels)
    log_prob = distribution.log_prob(all_events(num_levels, channels)[:, None, :])
    total = np.exp(log_prob.numpy().astype("float64")).sum(axis=0)
    np.testing.assert_allclose(total, 1.0, atol=1e-5)


@pytest.mark.parametrize("num_levels", [4, 256])
def test_agrees_with_quantized_distribution(num_levels):
    """TFP's rounding of a continuous logistic, in float64, level by level."""
    distribution = extreme(num_levels)
    half_bin = 1.0 / (num_levels - 1)
    loc = (distribution.loc.numpy()[..., 0].astype("float64") + 1.0) / (2.0 * half_bin)
    scale = np.exp(distribution.log_scale.numpy()[..., 0].astype("float64")) / (2.0 * half_bin)
    rounded = tfd.QuantizedDistribution(
        tfd.Logistic(loc - 0.5, scale), low=0.0, high=num_levels - 1.0
    )
    x = np.arange(num_levels, dtype="float64")
    component = rounded.prob(x[:, None, None]).numpy()
    weights = tf.nn.softmax(distribution.logits).numpy()
    expected = (weights * component).sum(-1)
    actual = distribution.prob(x.astype("float32")[:, None, None]).numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_tails_are_accurate_in_relative_terms():
    """Levels hundreds of nats away, where differences of sigmoids underflow, against float64."""
    loc, log_scale, num_levels = 0.3, -7.0, 256
    x = np.arange(num_levels)
    v, d, s = 2.0 * x / 255 - 1.0, 1.0 / 255, np.exp(log_scale)
    upper, lower = (v - loc + d) / s, (v - loc - d) / s
    expected = np.log(-np.expm1(-2 * d / s)) - np.logaddexp(0, -upper) - np.logaddexp(0, lower)
    expected[0], expected[-1] = -np.logaddexp(0, -upper[0]), -np.logaddexp(0, lower[-1])
    distribution = MixtureOfDiscretizedLogistics([0.0], [[loc]], [[log_scale]])
    actual = distribution.log_prob(x[:, None].astype("float32"))
    assert expected.min() < -700
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("num_levels", "channels"), [(256, 1), (4, 3)])
def test_gradients_are_finite_everywhere(num_levels, channels):
    distribution = extreme(num_levels, channels)
    arguments = {
        name: tf.convert_to_tensor(distribution.parameters[name])
        for name in ("logits", "loc", "log_scale", "coefficients")
        if distribution.parameters[name] is not None
    }
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        rebuilt = MixtureOfDiscretizedLogistics(**arguments, num_levels=num_levels)
        log_prob = rebuilt.log_prob(all_events(num_levels, channels)[:, None, :])
    for name, gradient in tape.gradient(log_prob, arguments).items():
        assert np.isfinite(gradient).all(), name
        assert np.any(gradient != 0), name


def test_scales_far_below_a_bin_are_one_level_with_finite_gradients():
    arguments = [tf.constant([0.0]), tf.constant([[0.3]]), tf.constant([[-100.0]])]
    x = np.arange(16, dtype="float32")[:, None]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        log_prob = MixtureOfDiscretizedLogistics(*arguments, num_levels=16).log_prob(x)
    np.testing.assert_array_equal(np.exp(log_prob), np.arange(16) == 10)  # round((0.3 + 1) 7.5)
    for gradient in tape.gradient(log_prob, arguments):
        assert np.isfinite(gradient).all()


def test_channels_depend_on_observed_earlier_channels():
    """mu_3 = loc_3 + beta v_1 + gamma v_2: coefficient order (2 on 1), (3 on 1), (3 on 2)."""
    coefficients = [0.5, -0.25, 0.75]
    loc, log_scale = [[0.1, 0.0, -0.2]], [[-1.0, -2.0, -1.5]]
    coupled = MixtureOfDiscretizedLogistics([0.0], loc, log_scale, [coefficients], num_levels=16)
    x = np.array([[3.0, 12.0, 7.0], [15.0, 0.0, 5.0]], "float32")
    for row in x:
        v = 2 * row / 15 - 1
        a, b, c = coefficients
        shifted = [[0.1, a * v[0], -0.2 + b * v[0] + c * v[1]]]
        independent = MixtureOfDiscretizedLogistics([0.0], shifted, log_scale, num_levels=16)
        np.testing.assert_allclose(coupled.log_prob(row), independent.log_prob(row), rtol=1e-5)


def test_one_component_for_all_channels():
    """Two components at opposite corners: mixed colours have no mass."""
    corners = MixtureOfDiscretizedLogistics(
        [0.0, 0.0], [[-0.5, -0.5], [0.5, 0.5]], [[-7.0, -7.0]] * 2, num_levels=9
    )
    np.testing.assert_allclose(corners.prob([[2.0, 2.0], [6.0, 6.0]]), 0.5, atol=1e-3)
    np.testing.assert_allclose(corners.prob([[2.0, 6.0], [6.0, 2.0]]), 0.0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_sample_frequencies_are_the_probabilities(channels):
    """Chi-square over all events, fixed seed: rounding and channel order agree with `log_prob`."""
    num_levels, num_samples = 4, 200_000
    rng = np.random.default_rng(3)
    pairs = channels * (channels - 1) // 2
    distribution = MixtureOfDiscretizedLogistics(
        rng.standard_normal(2).astype("float32"),
        rng.uniform(-1.2, 1.2, (2, channels)).astype("float32"),
        rng.uniform(-2.5, -0.5, (2, channels)).astype("float32"),
        rng.uniform(-1, 1, (2, pairs)).astype("float32") if pairs else None,
        num_levels=num_levels,
    )
    x = distribution.sample(num_samples, seed=(0, 7)).numpy()
    assert x.shape == (num_samples, channels)
    index = (x @ num_levels ** np.arange(channels)[::-1]).astype(int)
    counts = np.bincount(index, minlength=num_levels**channels)
    expected = num_samples * distribution.prob(all_events(num_levels, channels)).numpy()
    usual = expected >= 5
    assert counts[~usual].sum() <= 5 * expected[~usual].sum() + 10
    statistic = ((counts - expected)[usual] ** 2 / expected[usual]).sum()
    degrees = usual.sum() - 1
    assert statistic < degrees + 4 * np.sqrt(2 * degrees)


def test_mean_of_independent_channels_is_exact():
    distribution = extreme(256)
    levels = np.arange(256, dtype="float32")
    prob = distribution.prob(levels[:, None, None]).numpy().astype("float64")
    expected = (prob * levels[:, None]).sum(axis=0)
    np.testing.assert_allclose(distribution.mean()[..., 0], expected, atol=0.02)


def test_is_a_tfp_distribution():
    distribution = extreme(8, 3)
    assert distribution.batch_shape == (20,)
    assert distribution.event_shape == (3,)
    assert distribution.sample(5, seed=(0, 1)).shape == (5, 20, 3)
    pixels = tfd.Independent(distribution, 1)
    x = pixels.sample(2, seed=(0, 1))
    np.testing.assert_allclose(
        pixels.log_prob(x), tf.reduce_sum(distribution.log_prob(x), 1), rtol=1e-6
    )
    np.testing.assert_array_equal(
        distribution.sample(3, seed=(0, 1)), distribution.sample(3, seed=(0, 1))
    )


def test_eager_and_compiled_samples_agree():
    distribution = extreme(256, 3)
    compiled = tf.function(lambda: distribution.sample(4, seed=(0, 1)), jit_compile=True)()
    same = np.mean(compiled.numpy() == distribution.sample(4, seed=(0, 1)).numpy())
    assert same > 0.99  # a value on the edge between two levels may round either way


def test_refusal():
    with pytest.raises(ValueError, match="num_levels must be an integer >= 2; received: 1"):
        MixtureOfDiscretizedLogistics([0.0], [[0.0]], [[0.0]], num_levels=1)
