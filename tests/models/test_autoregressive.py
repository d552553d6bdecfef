"""What the family adds to a network: sums over positions, both samplers, completion.

Against two processes whose every probability is known: a Gaussian autoregression over time, where a
position is one number, and a walk over a line of pixels whose two channels are one event.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

from tests.causality import check_causal
from tests.conformance import check_refusals, check_samples, check_sums_to_one
from tfgen import seeds
from tfgen.distributions import Likelihood
from tfgen.layers.causal import RightShift
from tfgen.models import AutoregressiveModel

tfd = tfp.distributions

COEFFICIENT = 0.8


class UnitNormal(Likelihood):
    """x ~ N(loc, 1)."""

    def __call__(self, parameters):
        return tfd.Normal(parameters[..., 0], 1.0)

    def draw(self, parameters, seed, temperature=1.0):
        u = seeds.uniform(tf.shape(parameters)[:-1], seed)
        return parameters[..., 0] + temperature * tfd.Normal(0.0, 1.0).quantile(tf.maximum(u, 1e-7))


class Delay(keras.Layer):
    """y_t = x_{t-1}."""

    def call(self, x):
        return tf.pad(x[:, :-1], [[0, 0], [1, 0], [0, 0]])

    def initial_state(self, batch_size):
        return tf.zeros([batch_size, 1, 1])

    def step(self, x_t, state):
        return state, x_t


class GaussianAutoregression(AutoregressiveModel):
    """x_t = a x_{t-1} + N(0, 1), x_0 = 0; with features, plus the feature."""

    def __init__(self, event_shape, **kwargs):
        super().__init__(event_shape, **kwargs)
        self.likelihood = UnitNormal()
        self.shift = Delay()

    def columns(self, x, contexts, condition, run):
        loc = COEFFICIENT * run.input(lambda run, x: run(self.shift, x[..., None]), x)
        return loc if condition is None else loc + condition[:, None]


class PairLikelihood(Likelihood):
    """Two channels in 0..2 as one event of nine values, uneven by a logit on their sum."""

    num_levels = 3
    event_ndims = 1

    def _joint(self, parameters):
        values = tf.range(9)
        sums = tf.cast(values // 3 + values % 3, parameters.dtype)
        return tfd.Categorical(logits=parameters * sums)

    def __call__(self, parameters):
        joint = self._joint(parameters)
        weights = tf.constant([3.0, 1.0])

        class Pair:
            def log_prob(self, x):
                return joint.log_prob(tf.reduce_sum(x * weights, axis=-1))

        return Pair()

    def draw(self, parameters, seed, temperature=1.0):
        u = seeds.uniform(tf.shape(parameters)[:-1], seed)[..., None]
        cumulative = tf.cumsum(self._joint(parameters).probs_parameter(), axis=-1)[..., :-1]
        drawn = tf.reduce_sum(tf.cast(u >= cumulative, tf.int32), axis=-1)
        return tf.stack([drawn // 3, drawn % 3], axis=-1)


class PairWalk(AutoregressiveModel):
    """Pixels of two channels; the logit is the sum of the pixel to the left, less one."""

    def __init__(self, event_shape, **kwargs):
        super().__init__(event_shape, num_levels=3, **kwargs)
        self.likelihood = PairLikelihood()
        self.shift = RightShift()

    @property
    def position_shape(self):
        return self.event_shape[:-1]

    def columns(self, x, contexts, condition, run):
        left = run.input(lambda run, x: run(self.shift, tf.cast(x, "float32")), x)
        return tf.reduce_sum(left, axis=-1, keepdims=True) - 1.0


def autoregression_covariance(length):
    """Of x = (I - a S)^-1 noise, S the shift by one."""
    inverse = np.linalg.inv(np.eye(length) - COEFFICIENT * np.eye(length, k=-1))
    return inverse @ inverse.T


def test_log_prob_of_a_gaussian_autoregression():
    x = np.random.default_rng(0).standard_normal((6, 5)).astype("float32")
    expected = stats.multivariate_normal(np.zeros(5), autoregression_covariance(5)).logpdf(x)
    np.testing.assert_allclose(GaussianAutoregression([5]).log_prob(x), expected, rtol=1e-5)


def test_samples_of_a_gaussian_autoregression():
    num = 20_000
    x = GaussianAutoregression([5]).sample(num, seed=0).numpy()
    covariance = autoregression_covariance(5)
    # Five standard errors of an entry of a sample covariance.
    variances = np.diag(covariance)
    errors = np.sqrt((covariance**2 + np.outer(variances, variances)) / num)
    assert (np.abs(np.cov(x.T) - covariance) < 5.0 * errors).all()
    assert (np.abs(x.mean(axis=0)) < 5.0 * np.sqrt(variances / num)).all()


def test_one_condition_for_all_samples_or_one_for_each():
    model = GaussianAutoregression([3], num_features=1)
    each = model.sample(4, [[0.0], [0.0], [50.0], [50.0]], seed=0).numpy()
    all_fifty = model.sample(4, [50.0], seed=0).numpy()
    np.testing.assert_allclose(each[2:], all_fifty[2:], rtol=1e-6)
    # The same noise: the feature adds 1, 1 + a, 1 + a + a^2 times itself.
    shift = 50.0 * np.cumsum(COEFFICIENT ** np.arange(3.0))
    np.testing.assert_allclose(all_fifty[:2] - each[:2], np.tile(shift, [2, 1]), rtol=1e-5)


def test_positions_with_events_of_several_channels():
    model = PairWalk([1, 2, 2])
    check_sums_to_one(model)
    check_causal(model)
    check_samples(model)
    check_refusals(model, np.zeros((2, 1, 2, 2), "uint8"))


@pytest.mark.parametrize(
    ("model_class", "event_shape"), [(PairWalk, [2, 2, 2]), (GaussianAutoregression, [4])]
)
def test_compiled_plain_and_exported_samplers_draw_the_same(model_class, event_shape):
    model = model_class(event_shape)
    expected = model.sample_naive(5, seed=2)
    exported = tf.function(model.sample)(tf.constant(5), None, tf.constant([0, 2]))
    np.testing.assert_allclose(model.sample(5, seed=2), expected, rtol=1e-5)
    np.testing.assert_allclose(exported, expected, rtol=1e-5)


def test_the_sampler_uses_the_weights_of_the_moment():
    # A compiled function must not have frozen them.
    class Shifted(GaussianAutoregression):
        def __init__(self, event_shape, **kwargs):
            super().__init__(event_shape, **kwargs)
            self.offset = self.add_weight(name="offset", shape=(), initializer="zeros")

        def columns(self, *arguments):
            return super().columns(*arguments) + self.offset

    model = Shifted([3])
    before = model.sample(2, seed=0)
    model.offset.assign(10.0)
    assert (model.sample(2, seed=0) - before > 5.0).numpy().all()


def test_completion_draws_each_position_from_its_own_past():
    # A value kept last does not reach back: the first two are as without it, the third is kept.
    model = GaussianAutoregression([3])
    free = model.sample(4, seed=0).numpy()
    given = np.full((1, 3), 100.0, "float32")
    kept_last = model.sample(4, seed=0, given=given, mask=[False, False, True]).numpy()
    np.testing.assert_array_equal(kept_last[:, :2], free[:, :2])
    np.testing.assert_array_equal(kept_last[:, 2], 100.0)
    kept_first = model.sample(4, seed=0, given=given, mask=[True, False, False]).numpy()
    np.testing.assert_allclose(kept_first[:, 1] - free[:, 1], 80.0 - 0.8 * free[:, 0], rtol=1e-4)


def test_completion_with_one_example_for_each_sample_and_events_kept_whole():
    model = PairWalk([2, 2, 2])
    given = np.random.default_rng(0).integers(0, 3, (5, 2, 2, 2)).astype("uint8")
    mask = np.array([[True, False], [False, True]])
    drawn = model.sample(5, seed=0, given=given, mask=mask).numpy()
    np.testing.assert_array_equal(drawn[:, mask], given[:, mask])
    assert (drawn[:, ~mask] != given[:, ~mask]).any()
    # A mask for each sample: every row is what it is under its own mask alone.
    masks = np.broadcast_to(np.stack([mask, ~mask, mask, ~mask, ~mask])[..., None], given.shape)
    mixed = model.sample(5, seed=0, given=given, mask=masks).numpy()
    inverse = model.sample(5, seed=0, given=given, mask=~mask).numpy()
    is_inverse = masks[:, 0, 1, 0]
    np.testing.assert_array_equal(mixed, np.where(is_inverse[:, None, None, None], inverse, drawn))
    naive = model.sample_naive(5, seed=0, given=given, mask=masks)
    np.testing.assert_array_equal(mixed, naive)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"given": np.zeros((2, 3), "float32")}, "given must be passed together with mask"),
        ({"mask": [True] * 3}, "given must be passed together with mask"),
        (
            {"given": np.zeros((2, 3), "float32"), "mask": [True] * 2},
            r"mask must be bool of shape \(3,\), of its first dimensions, or of .*: 'bool of",
        ),
        (
            {"given": np.zeros((2, 3), "float32"), "mask": [1, 0, 0]},
            r"mask must be bool of shape .* received: 'int32 of shape \(3,\)'",
        ),
        (
            {"given": np.zeros((3, 3), "float32"), "mask": [True] * 3},
            "given must be 1 or 2 examples; received: 3",
        ),
        (
            {"given": np.zeros((2, 3), "float32"), "mask": np.full((3, 3), True)},
            "mask must be 1 or 2 examples; received: 3",
        ),
        (
            {"given": np.zeros((2, 4), "float32"), "mask": [True] * 3},
            r"x must be of shape \('B', 3\)",
        ),
    ],
)
def test_completion_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianAutoregression([3]).sample(2, seed=0, **arguments)
