"""From a network's output to a distribution of data in native units."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import seeds
from tfgen.checks import check_argument, check_integer, check_one_of
from tfgen.configurable import Configurable
from tfgen.distributions.discretized_logistic_mixture import (
    MAXIMUM_LOG_SCALE,
    MixtureOfDiscretizedLogistics,
)

tfb = tfp.bijectors
tfd = tfp.distributions


class Likelihood(Configurable):
    """p(x | parameters), with x in native units; owns no variables.

    A latent-variable model asks for whole examples, `decoder_output_shape`, `constant_shape`,
    `distribution` and `initialize`, all with an `event_shape`: these treat every position alike,
    given the decoder's output at that position. Autoregressive models use the parameters of single
    positions.

    Attributes:
        num_levels: number of integer levels of the data, None for real data.
        event_ndims: 0 if each value of x is a distribution of its own, 1 if the channels of a pixel
            are one event.
        num_constant: how many of the last parameters are learned numbers that do not depend on
            anything (a noise variance); the model owns them in place of its network's output.
        constant_is_shared: these are the same for all dimensions of x.
    """

    num_levels: int | None = None
    event_ndims = 0
    num_constant = 0
    constant_is_shared = False

    def parameters_shape(self, channels: int) -> tuple[int, ...]:
        """Shape of what a network must give for one pixel (or one column of a table).

        `(channels, P)` for `event_ndims` 0, `(P,)` for 1.
        """
        raise NotImplementedError

    def __call__(self, parameters: tf.Tensor) -> tfd.Distribution:
        """The distribution; batch shape is that of `parameters` without its last dimension."""
        raise NotImplementedError

    def fit(self, x: np.ndarray) -> np.ndarray:
        """Parameters of independent positions, from data `[N, *positions, C]`: a first guess.

        Shape `[*positions, *parameters_shape(C)]`. A model starts from them as output biases.
        """
        raise NotImplementedError

    def draw(self, parameters: tf.Tensor, seed: tf.Tensor, temperature: Any = 1.0) -> tf.Tensor:
        """A sample of `self(tempered(parameters, temperature))`."""
        return self(self.tempered(parameters, temperature)).sample(seed=seed)

    def tempered(self, parameters: tf.Tensor, temperature: Any) -> tf.Tensor:
        """Parameters of a distribution that is narrower for a temperature below 1, wider above."""
        raise NotImplementedError

    def normalize(self, x: tf.Tensor, dtype: Any = "float32") -> tf.Tensor:
        """Data as a network's input: integer levels on [-1, 1], real data as they are."""
        x = tf.cast(x, dtype)
        return x if self.num_levels is None else 2.0 * x / (self.num_levels - 1) - 1.0

    # ------------------------------------------------------------------ of whole examples

    def decoder_output_shape(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        """What a decoder must give for one example: all parameters but the constants."""
        *shape, size = self._event_parameters_shape(event_shape)
        return (*shape, size - self.num_constant)

    def constant_shape(self, event_shape: Sequence[int]) -> tuple[int, ...] | None:
        """Of the learned numbers that do not depend on anything; None if there are none."""
        if not self.num_constant:
            return None
        shape = () if self.constant_is_shared else self._event_parameters_shape(event_shape)[:-1]
        return (*shape, self.num_constant)

    def distribution(
        self,
        outputs: tf.Tensor,
        event_shape: Sequence[int],
        constant: tf.Tensor | None = None,
        training: bool = False,
    ) -> tfd.Distribution:
        """p(x | z) with event shape `event_shape`.

        Args:
            outputs: of the decoder, `[..., *decoder_output_shape]`, with any batch shape.
            event_shape: of one example.
            constant: the learned numbers, of `constant_shape`.
            training: for likelihoods with dropout.
        """
        parameters = outputs
        if constant is not None:
            shape = tf.concat([tf.shape(outputs)[:-1], [self.num_constant]], axis=0)
            parameters = tf.concat([outputs, tf.broadcast_to(constant, shape)], axis=-1)
        positions, channels = _positions_and_channels(event_shape)
        values = self(parameters)
        whole = tfd.Independent(values, len(positions) + 1 - self.event_ndims)
        if len(event_shape) == len(positions) + 1:
            return whole
        return tfd.TransformedDistribution(
            whole, tfb.Reshape(list(event_shape), [*positions, channels])
        )

    def initialize(
        self, x: np.ndarray, event_shape: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """From data `[N, *event_shape]`, what a decoder's bias and the constants start from: the
        parameters of independent positions."""
        positions, channels = _positions_and_channels(event_shape)
        parameters = self.fit(x.reshape(len(x), *positions, channels))
        split = parameters.shape[-1] - self.num_constant
        bias, constant = parameters[..., :split], parameters[..., split:]
        if not self.num_constant:
            return bias, None
        if self.constant_is_shared:
            constant = constant.reshape(-1, self.num_constant)[0]
        return bias, constant

    def signatures(self, signatures: dict[str, Any]) -> dict[str, Any]:
        """What a model with this likelihood serves, of what it could serve with any."""
        return signatures

    def _event_parameters_shape(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        positions, channels = _positions_and_channels(event_shape)
        return (*positions, *self.parameters_shape(channels))


def _positions_and_channels(event_shape: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """Of `[H, W, C]`, the pixels and C; a vector's dimensions are positions with one channel."""
    shape = tuple(event_shape)
    return (shape[:-1], shape[-1]) if len(shape) == 3 else (shape, 1)


class Bernoulli(Likelihood):
    """x in {0, 1}; one logit a value. log p(x) = -softplus((1 - 2x) logit)."""

    num_levels = 2

    def parameters_shape(self, channels: int) -> tuple[int, ...]:
        return (channels, 1)

    def __call__(self, parameters: tf.Tensor) -> tfd.Distribution:
        return _Bernoulli(logits=parameters[..., 0], dtype=parameters.dtype)

    def fit(self, x: np.ndarray) -> np.ndarray:
        # The bounds of Burda et al. (2016): a pixel that is always 0 has a finite logit.
        mean = np.clip(x.mean(axis=0), 0.001, 0.999)
        return (np.log(mean) - np.log1p(-mean))[..., None]

    def tempered(self, parameters: tf.Tensor, temperature: Any) -> tf.Tensor:
        """Of p(x)^(1/T), normalised."""
        return parameters / temperature

    def draw(self, parameters: tf.Tensor, seed: tf.Tensor, temperature: Any = 1.0) -> tf.Tensor:
        logits = self.tempered(parameters, temperature)[..., 0]
        u = seeds.uniform(tf.shape(logits), seed, logits.dtype)
        return tf.cast(u < tf.sigmoid(logits), logits.dtype)


class _Bernoulli(tfd.Bernoulli):
    """TFP's takes a softplus for each of the two values and weighs them by x; one is enough."""

    def _log_prob(self, event: tf.Tensor) -> tf.Tensor:
        return -tf.nn.softplus((1.0 - 2.0 * event) * self._logits_parameter_no_checks())


class Categorical(Likelihood):
    """x in {0..L-1} with no order among the levels; L logits a value, as in PixelCNN.

    Zero logits are the uniform distribution: log2(L) bits/dim exactly.
    """

    num_levels: int

    def __init__(self, num_levels: int = 256):
        check_integer("num_levels", num_levels, minimum=2)
        self.num_levels = num_levels

    def parameters_shape(self, channels: int) -> tuple[int, ...]:
        return (channels, self.num_levels)

    def __call__(self, parameters: tf.Tensor) -> tfd.Distribution:
        return tfd.Categorical(logits=parameters, dtype=parameters.dtype)

    def fit(self, x: np.ndarray) -> np.ndarray:
        counts = (x[..., None] == np.arange(self.num_levels)).sum(axis=0)
        return np.log((counts + 1.0) / (len(x) + self.num_levels))

    def tempered(self, parameters: tf.Tensor, temperature: Any) -> tf.Tensor:
        """Of p(x)^(1/T), normalised."""
        return parameters / temperature

    def draw(self, parameters: tf.Tensor, seed: tf.Tensor, temperature: Any = 1.0) -> tf.Tensor:
        parameters = self.tempered(parameters, temperature)
        # Inverse of the distribution function: one uniform number a value.
        cumulative = tf.cumsum(tf.nn.softmax(parameters), axis=-1)[..., :-1]
        u = seeds.uniform(tf.shape(parameters)[:-1], seed, parameters.dtype)[..., None]
        return tf.reduce_sum(tf.cast(u >= cumulative, parameters.dtype), axis=-1)


class Gaussian(Likelihood):
    """x real; x ~ N(mean, variance), a mean from the network for each value.

    The parameters are the mean and r, with variance = minimum_scale^2 + exp(2 r). Without the floor
    the likelihood of a column that the network reproduces exactly is unbounded.

    With a learned variance a weight `beta` on the KL term is absorbed by it (beta multiplies the
    variance), so that such runs say nothing about `beta`.

    Args:
        variance: "scalar", one learned number for all of x; "dimension", one learned number for
            each dimension; "network", a function of the network's input.
        minimum_scale: floor of the standard deviation, in units of the data.
    """

    def __init__(self, variance: str = "scalar", minimum_scale: float = 1e-3):
        check_one_of("variance", variance, ("scalar", "dimension", "network"))
        check_argument(minimum_scale > 0, "minimum_scale", "positive", minimum_scale)
        self.variance = variance
        self.minimum_scale = minimum_scale
        self.num_constant = 0 if variance == "network" else 1
        self.constant_is_shared = variance == "scalar"

    def parameters_shape(self, channels: int) -> tuple[int, ...]:
        return (channels, 2)

    def __call__(self, parameters: tf.Tensor) -> tfd.Distribution:
        mean, log_scale = tf.unstack(parameters, axis=-1)
        return tfd.Normal(mean, tf.sqrt(self.minimum_scale**2 + tf.exp(2.0 * log_scale)))

    def draw(self, parameters: tf.Tensor, seed: tf.Tensor, temperature: Any = 1.0) -> tf.Tensor:
        """With T times the standard deviation."""
        values = self(parameters)
        noise = seeds.normal(tf.shape(values.loc), seed, values.dtype)
        return values.loc + temperature * values.scale * noise

    def fit(self, x: np.ndarray) -> np.ndarray:
        mean, scale = x.mean(axis=0), x.std(axis=0)
        if self.constant_is_shared:
            scale = np.full_like(scale, np.sqrt(np.mean(scale**2)))
        return np.stack([mean, np.log(np.maximum(scale, self.minimum_scale))], axis=-1)


class GaussianMixture(Likelihood):
    """x real; each value a mixture of M Gaussians with weights, means and variances of its own.

        p(x) = sum_m softmax(logits)_m N(x; mean_m, variance_m)

    The parameters are M logits, M means and M numbers r, with variance = minimum_scale^2 + exp(2 r)
    and r clipped to at most 20, so that float32 holds the variance and its inverse.

    Args:
        num_mixtures: M.
        minimum_scale: floor of the standard deviations, in units of the data.
    """

    def __init__(self, num_mixtures: int = 10, minimum_scale: float = 1e-3):
        check_integer("num_mixtures", num_mixtures, minimum=1)
        check_argument(minimum_scale > 0, "minimum_scale", "positive", minimum_scale)
        self.num_mixtures = num_mixtures
        self.minimum_scale = minimum_scale

    def parameters_shape(self, channels: int) -> tuple[int, ...]:
        return (channels, 3 * self.num_mixtures)

    def _split(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Logits, means and standard deviations."""
        logits, mean, log_scale = tf.split(parameters, 3, axis=-1)
        variance = tf.exp(2.0 * tf.minimum(log_scale, MAXIMUM_LOG_SCALE))
        return logits, mean, tf.sqrt(self.minimum_scale**2 + variance)

    def __call__(self, parameters: tf.Tensor) -> tfd.Distribution:
        logits, mean, scale = self._split(parameters)
        return tfd.MixtureSameFamily(tfd.Categorical(logits=logits), tfd.Normal(mean, scale))

    def draw(self, parameters: tf.Tensor, seed: tf.Tensor, temperature: Any = 1.0) -> tf.Tensor:
        """With the weights to the power of 1/T, normalised, and T times the scales."""
        logits, mean, scale = self._split(parameters)
        component_seed, value_seed = seeds.split(seed)
        shape = tf.shape(logits)[:-1]
        # Inverse of the distribution function: one uniform number for the component.
        cumulative = tf.cumsum(tf.nn.softmax(logits / temperature), axis=-1)[..., :-1]
        u = seeds.uniform(shape, component_seed, logits.dtype)[..., None]
        component = tf.reduce_sum(tf.cast(u >= cumulative, tf.int32), axis=-1)
        chosen = tf.one_hot(component, self.num_mixtures, dtype=logits.dtype)
        mean, scale = (tf.reduce_sum(chosen * values, axis=-1) for values in (mean, scale))
        return mean + temperature * scale * seeds.normal(shape, value_seed, logits.dtype)

    def fit(self, x: np.ndarray) -> np.ndarray:
        # Each component at the mean of as many values, in their order; one is a Gaussian's fit.
        enough = np.repeat(x, -(-self.num_mixtures // len(x)), axis=0)
        slices = np.array_split(np.sort(enough, axis=0), self.num_mixtures)
        mean = np.stack([values.mean(axis=0) for values in slices], axis=-1)
        scale = x.std(axis=0)[..., None] / min(self.num_mixtures, 2)
        log_scale = np.broadcast_to(np.log(np.maximum(scale, self.minimum_scale)), mean.shape)
        return np.concatenate([np.zeros_like(mean), mean, log_scale], axis=-1)


class DiscretizedLogisticMixture(Likelihood):
    """x in {0..L-1}; the channels of a pixel are one event, a `MixtureOfDiscretizedLogistics`.

    For a pixel of C channels and M components the parameters are M logits, then M C means, M C log
    scales, at least -7 as in [1], and M C (C-1) / 2 coefficients through tanh.

    Args:
        num_levels: L.
        num_mixtures: M.

    [1] Salimans, Karpathy, Chen, Kingma. PixelCNN++: improving the PixelCNN with discretized
        logistic mixture likelihood and other modifications. ICLR 2017. arXiv:1701.05517
    """

    num_levels: int
    event_ndims = 1
    minimum_log_scale = -7.0

    def __init__(self, num_levels: int = 256, num_mixtures: int = 10):
        check_integer("num_levels", num_levels, minimum=2)
        check_integer("num_mixtures", num_mixtures, minimum=1)
        self.num_levels = num_levels
        self.num_mixtures = num_mixtures

    def parameters_shape(self, channels: int) -> tuple[int, ...]:
        return (self.num_mixtures * (1 + 2 * channels + channels * (channels - 1) // 2),)

    def _num_channels(self, num_parameters: int) -> int:
        channels = 1
        while self.parameters_shape(channels)[0] < num_parameters:
            channels += 1
        return channels

    def _split(self, parameters: tf.Tensor) -> list[tf.Tensor]:
        """Logits, means, log scales and coefficients."""
        mixtures = self.num_mixtures
        channels = self._num_channels(parameters.shape[-1])
        pairs = channels * (channels - 1) // 2
        sizes = [mixtures, mixtures * channels, mixtures * channels, mixtures * pairs]
        return tf.split(parameters, sizes, axis=-1)

    def draw(self, parameters: tf.Tensor, seed: tf.Tensor, temperature: Any = 1.0) -> tf.Tensor:
        """With the weights to the power of 1/T, normalised, and T times the scales."""
        return self._distribution(parameters, temperature).sample(seed=seed)

    def __call__(self, parameters: tf.Tensor) -> tfd.Distribution:
        return self._distribution(parameters, 1.0)

    def _distribution(self, parameters: tf.Tensor, temperature: Any) -> tfd.Distribution:
        mixtures = self.num_mixtures
        channels = self._num_channels(parameters.shape[-1])
        pairs = channels * (channels - 1) // 2
        logits, loc, log_scale, coefficients = self._split(parameters)
        temperature = tf.cast(temperature, parameters.dtype)
        # The floor first: the temperature scales what the distribution uses.
        log_scale = tf.maximum(log_scale, self.minimum_log_scale) + tf.math.log(temperature)
        logits /= temperature

        def by_component(values: tf.Tensor, size: int) -> tf.Tensor:
            return tf.reshape(values, [*_shape(parameters)[:-1], mixtures, size])

        return MixtureOfDiscretizedLogistics(
            logits,
            by_component(loc, channels),
            by_component(log_scale, channels),
            by_component(tf.tanh(coefficients), pairs) if pairs else None,
            num_levels=self.num_levels,
        )

    def fit(self, x: np.ndarray) -> np.ndarray:
        # Components spread over the quantiles of the values; dependence and weights are learned.
        v = 2.0 * x / (self.num_levels - 1) - 1.0
        mixtures = self.num_mixtures
        ranks = (np.arange(mixtures) + 0.5) / mixtures
        loc = np.moveaxis(np.quantile(v, ranks, axis=0), 0, -2)  # [*positions, M, C]
        scale = np.maximum(v.std(axis=0), 2.0 / self.num_levels)[..., None, :]
        log_scale = np.broadcast_to(np.log(scale / 2.0), loc.shape)
        flat = (*x.shape[1:-1], -1)
        pairs = x.shape[-1] * (x.shape[-1] - 1) // 2
        return np.concatenate(
            [
                np.zeros((*x.shape[1:-1], mixtures)),
                loc.reshape(flat),
                log_scale.reshape(flat),
                np.zeros((*x.shape[1:-1], mixtures * pairs)),
            ],
            axis=-1,
        )


def _shape(x: tf.Tensor) -> list[Any]:
    """Static sizes where they are known, else tensors."""
    dynamic = tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(x.shape)]
