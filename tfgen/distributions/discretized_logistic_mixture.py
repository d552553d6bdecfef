"""A mixture of discretised logistics over the channels of one pixel."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import seeds
from tfgen.checks import check_integer

tfd = tfp.distributions

# Beyond these the distribution is one level, or half on either edge, whatever the data.
MINIMUM_LOG_SCALE = -40.0
MAXIMUM_LOG_SCALE = 20.0


class MixtureOfDiscretizedLogistics(tfd.Distribution):
    """Mixture of logistic distributions, rounded to `num_levels` levels, of a pixel's C channels.

    With levels k = 0..L-1 at v_k = 2k / (L-1) - 1 on [-1, 1] and half a bin d = 1 / (L-1),

        P(x) = sum_m pi_m prod_c [sigmoid(a_mc) - sigmoid(b_mc)]
        a_mc, b_mc = (v_c +- d - mu_mc) / s_mc
        mu_mc = loc_mc + sum_{c' < c} coefficients_mcc' v_c'

    where the lowest level takes the whole lower tail and the highest the whole upper one, so that
    the probabilities sum to 1. One component is drawn for all channels. Values are levels, real
    numbers 0..L-1 of the parameters' dtype; batch shape `[...]`, event shape `[C]`.

    Departures from [1]: the interior is log(1 - exp(-2d/s)) + log sigmoid(a) + log sigmoid(-b),
    exact for all scales, in place of a switch to the density; edges are told by the level and not
    by a threshold on v; samples are rounded before they condition the next channel, so that the
    sampler has exactly the probabilities of `log_prob`.

    Args:
        logits: of the components, `[..., M]`.
        loc: `[..., M, C]`.
        log_scale: `[..., M, C]`, clipped to [-40, 20].
        coefficients: linear dependence on earlier channels, `[..., M, C (C-1) / 2]` in the order
            (2 on 1), (3 on 1), (3 on 2), ...; None for independent channels.
        num_levels: L.

    [1] Salimans, Karpathy, Chen, Kingma. PixelCNN++: improving the PixelCNN with discretized
        logistic mixture likelihood and other modifications. ICLR 2017. arXiv:1701.05517
    """

    def __init__(
        self,
        logits: Any,
        loc: Any,
        log_scale: Any,
        coefficients: Any = None,
        num_levels: int = 256,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "MixtureOfDiscretizedLogistics",
    ):
        parameters = dict(locals())
        check_integer("num_levels", num_levels, minimum=2)
        with tf.name_scope(name):
            self.logits = tf.convert_to_tensor(logits)
            self.loc = tf.convert_to_tensor(loc)
            self.log_scale = tf.clip_by_value(
                tf.convert_to_tensor(log_scale), MINIMUM_LOG_SCALE, MAXIMUM_LOG_SCALE
            )
            self.coefficients = None if coefficients is None else tf.convert_to_tensor(coefficients)
        self.num_levels = num_levels
        super().__init__(
            dtype=self.logits.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=validate_args,
            allow_nan_stats=allow_nan_stats,
            parameters=parameters,
            name=name,
        )

    def _batch_shape(self) -> tf.TensorShape:
        return self.logits.shape[:-1]

    def _batch_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self.logits)[:-1]

    def _event_shape(self) -> tf.TensorShape:
        return self.loc.shape[-1:]

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self.loc)[-1:]

    def _to_unit(self, level: tf.Tensor) -> tf.Tensor:
        return 2.0 * level / (self.num_levels - 1) - 1.0

    def _offset(self, v: list[tf.Tensor], coefficients: Any = None) -> Any:
        """sum_{c' < c} coefficients_cc' v_c' for the channel c that follows those of `v`."""
        coefficients = self.coefficients if coefficients is None else coefficients
        first = len(v) * (len(v) - 1) // 2
        return sum(coefficients[..., first + c] * value for c, value in enumerate(v))

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        v = self._to_unit(x)[..., None, :]  # [..., 1, C]
        centred = v - self.loc
        if self.coefficients is not None:
            values = tf.unstack(v, axis=-1)
            offsets = [self._offset(values[:c]) for c in range(len(values))]
            centred -= tf.stack([tf.zeros_like(offsets[1]), *offsets[1:]], axis=-1)
        half_bin = 1.0 / (self.num_levels - 1)
        inverse_scale = tf.exp(-self.log_scale)
        upper = (centred + half_bin) * inverse_scale
        lower = (centred - half_bin) * inverse_scale
        x = x[..., None, :]
        is_lowest, is_highest = x < 0.5, x > self.num_levels - 1.5
        zero = tf.zeros([], x.dtype)
        # Every branch is finite, so the gradients of those not selected are zero and not NaN.
        log_width = tf.math.log(-tf.math.expm1(-2.0 * half_bin * inverse_scale))
        log_probs = (
            tf.where(is_lowest | is_highest, zero, log_width)
            + tf.where(is_highest, zero, tf.math.log_sigmoid(upper))
            + tf.where(is_lowest, zero, tf.math.log_sigmoid(-lower))
        )
        log_mixture = tf.nn.log_softmax(self.logits) + tf.reduce_sum(log_probs, axis=-1)
        return tf.reduce_logsumexp(log_mixture, axis=-1)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        seed = tfp.random.sanitize_seed(seed)
        component_seed, value_seed = seeds.split(seed)
        shape = tf.concat([[n], tf.shape(self.logits)[:-1]], axis=0)
        # Inverse of the distribution function: one uniform number for the component.
        cumulative = tf.cumsum(tf.nn.softmax(self.logits), axis=-1)[..., :-1]
        u = seeds.uniform(shape, component_seed, self.dtype)[..., None]
        component = tf.reduce_sum(tf.cast(u >= cumulative, tf.int32), axis=-1)
        chosen = tf.one_hot(component, self.logits.shape[-1], dtype=self.dtype)[..., None]
        loc, log_scale = (
            tf.reduce_sum(chosen * p, axis=-2) for p in (self.loc, self.log_scale)
        )  # [n, ..., C]
        coefficients = None
        if self.coefficients is not None:
            coefficients = tf.reduce_sum(chosen * self.coefficients, axis=-2)
        u = seeds.uniform(tf.shape(loc), value_seed, self.dtype)
        noise = tf.exp(log_scale) * (tf.math.log(u) - tf.math.log1p(-u))
        return self._round_channels(loc + noise, coefficients)

    def _round_channels(self, v: tf.Tensor, coefficients: Any) -> tf.Tensor:
        values: list[tf.Tensor] = []
        levels: list[tf.Tensor] = []
        for value in tf.unstack(v, axis=-1):
            if coefficients is not None and values:
                value += self._offset(values, coefficients)
            level = tf.round((tf.clip_by_value(value, -1.0, 1.0) + 1.0) * (self.num_levels - 1) / 2)
            levels.append(level)
            values.append(self._to_unit(level))
        return tf.stack(levels, axis=-1)

    def _mean(self) -> tf.Tensor:
        """Exact for independent channels; else with earlier channels at their component's mean."""
        half_bin = 1.0 / (self.num_levels - 1)
        means: list[tf.Tensor] = []
        for channel in range(self.loc.shape[-1]):
            loc = self.loc[..., channel]
            if self.coefficients is not None and means:
                loc += self._offset([self._to_unit(mean) for mean in means])
            inverse_scale = tf.exp(-self.log_scale[..., channel])

            # E[x] = sum_{k >= 1} P(x >= k), one level at a time to keep memory bounded.
            def add(k: tf.Tensor, mean: tf.Tensor, loc=loc, inverse_scale=inverse_scale):
                edge = self._to_unit(tf.cast(k, self.dtype)) - half_bin
                return k + 1, mean + tf.sigmoid((loc - edge) * inverse_scale)

            _, mean = tf.while_loop(
                lambda k, _: k < self.num_levels,
                add,
                (tf.constant(1), tf.zeros_like(loc)),
                maximum_iterations=self.num_levels - 1,
            )
            means.append(mean)
        weights = tf.nn.softmax(self.logits)[..., None]
        return tf.reduce_sum(weights * tf.stack(means, axis=-1), axis=-2)
