"""MADE: a masked autoencoder gives every conditional of a vector in one pass."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import distributions, seeds
from tfgen.build import build
from tfgen.checks import check_argument
from tfgen.layers.masked_dense import IncrementalPass, MaskedMLP
from tfgen.models.autoregressive.base import AutoregressiveModel

tfb = tfp.bijectors
tfd = tfp.distributions


class MADE(AutoregressiveModel):
    """MADE [1]: log p(x) = sum_d log p(x_d | x before d), all D conditionals from one masked MLP.

    x of any shape, its D values in raster order or in a random one, binary, integer or real. The
    network, `MaskedMLP`, gives the parameters of a distribution of each value; `initialize` sets
    its output bias to those of independent values. `log_prob` in nats, exact.

    With `num_masks` N > 1 the model is the mixture of N models that share their weights,

        p(x) = 1/N sum_n p_n(x)

    each with its own order or connectivity. A training step draws one of the masks for its batch
    and raises log p_n(x); evaluation averages the probabilities over all N. A call of `sample`
    draws one mask for all its samples: these are independent given the mask.

    Sampling and completion follow the order of the mask, not the raster order: `given` values that
    stand later in it do not reach back. All values together cost about one pass of the network.

    Departs from [1]: conditions; integer and real data; a bias from the data. Conditions
    follow [2], and reach the outputs too.

    Args:
        event_shape: shape of one example.
        num_levels: number of integer levels of discrete data, or None for real data.
        num_classes: number of labels to condition on.
        num_features: number of real features to condition on.
        hidden: units of each hidden layer.
        activation: a Keras activation.
        likelihood: of one value, a `tfgen.distributions.Likelihood` or its specification; by
            default `Gaussian` with a variance from the network for real data, `Bernoulli` for 2
            levels, else `DiscretizedLogisticMixture`.
        order, degrees, num_masks, direct, dropout, kernel_initializer, mask_seed: of the
            `MaskedMLP`.

    Raises:
        ValueError: an argument outside its range; a likelihood for other data, or one with learned
            constants.

    [1] Germain, Gregor, Murray, Larochelle. MADE: Masked Autoencoder for Distribution Estimation.
        ICML 2015. arXiv:1502.03509
    [2] Papamakarios, Pavlakou, Murray. Masked Autoregressive Flow for Density Estimation. NeurIPS
        2017. arXiv:1705.07057
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int | None = None,
        num_classes: int | None = None,
        num_features: int | None = None,
        hidden: Sequence[int] = (500,),
        activation: str = "relu",
        likelihood: Any = None,
        order: str = "natural",
        degrees: str = "sequential",
        num_masks: int = 1,
        direct: bool = False,
        dropout: float = 0.0,
        kernel_initializer: Any = "he_normal",
        mask_seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels, num_classes, num_features, **kwargs)
        spec = self._default_likelihood() if likelihood is None else likelihood
        self.likelihood = build(distributions, spec, num_levels=num_levels)
        given = f"{type(self.likelihood).__name__} for num_levels={self.likelihood.num_levels}"
        fits = self.likelihood.num_levels == num_levels
        check_argument(fits, "likelihood", f"one for data with num_levels={num_levels}", given)
        num_constant = self.likelihood.num_constant
        allowed = "one whose parameters all come from the network (a Gaussian with variance="
        check_argument(num_constant == 0, "likelihood", f"{allowed}'network')", given)
        self.num_masks = num_masks
        self.network = MaskedMLP(
            self.num_dims,
            self.likelihood.parameters_shape(1)[-1],
            hidden,
            activation,
            order,
            degrees,
            num_masks,
            direct,
            num_classes or num_features or 0,
            dropout,
            kernel_initializer,
            mask_seed,
        )
        self.is_initialized = self.add_weight(
            shape=(), initializer="zeros", dtype="float32", trainable=False, name="is_initialized"
        )

    def _default_likelihood(self) -> dict[str, Any]:
        if self.num_levels is None:
            return {"type": "Gaussian", "variance": "network"}
        if self.num_levels == 2:
            return {"type": "Bernoulli"}
        return {"type": "DiscretizedLogisticMixture"}

    # ------------------------------------------------------------------ the density

    def parameters(
        self, x: tf.Tensor, condition: tf.Tensor | None, mask_index: Any = 0
    ) -> tf.Tensor:
        """The conditionals' parameters under one mask, `[B, *event_shape, P]`, in one pass."""
        flat = tf.reshape(self.likelihood.normalize(x, self.float_dtype), [-1, self.num_dims])
        parameters = self.network(flat, condition, mask_index=mask_index, training=self.is_training)
        parameters = tf.cast(parameters, self.float_dtype)
        return tf.reshape(parameters, [-1, *self.event_shape, self.network.num_outputs])

    def conditionals(self, x: Any, y: Any = None, mask_index: Any = None) -> tfd.Distribution:
        """p(x_d | x before d) for every value under one mask: batch shape `[B, *event_shape]`.

        Raises:
            ValueError: several masks and no `mask_index`: their mixture has no such conditionals.
        """
        known = mask_index is not None or self.num_masks == 1
        check_argument(known, "mask_index", f"one of 0..{self.num_masks - 1}", mask_index)
        mask_index = 0 if mask_index is None else mask_index
        x = self.check_data(x)
        condition = self.condition(y, tf.shape(x)[0])
        values = self.likelihood(self.parameters(x, condition, mask_index))
        if self.likelihood.event_ndims == 0:
            return values
        # One value is a pixel of one channel to such a likelihood.
        return tfd.TransformedDistribution(values, tfb.Reshape([], [1]))

    def log_prob(self, x: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        x = self.check_data(x)

        def under(mask_index: Any) -> tf.Tensor:
            log_probs = self.conditionals(x, y, mask_index).log_prob(tf.cast(x, self.float_dtype))
            return tf.reduce_sum(log_probs, axis=list(range(1, log_probs.shape.rank)))

        if self.num_masks == 1:
            return under(0)
        if self.is_training:
            return under(self._drawn_mask(self.next_seed(seed)))
        log_probs = tf.map_fn(under, tf.range(self.num_masks), fn_output_signature=self.float_dtype)
        return tf.reduce_logsumexp(log_probs, axis=0) - math.log(self.num_masks)

    def _drawn_mask(self, seed: tf.Tensor) -> Any:
        if self.num_masks == 1:
            return 0
        return tf.cast(seeds.uniform([], seed) * self.num_masks, tf.int32)

    def initialize(self, x: Any, y: Any = None) -> None:
        if bool(self.is_initialized.numpy()):
            return
        x = np.asarray(self.check_data(x), "float64")
        self.network.outputs.bias.assign(self.likelihood.fit(x.reshape(len(x), -1, 1)).ravel())
        self.is_initialized.assign(1.0)

    # ------------------------------------------------------------------ sampling

    def sample_naive(
        self,
        num_samples: Any,
        y: Any = None,
        seed: Any = None,
        given: Any = None,
        mask: Any = None,
        temperature: Any = 1.0,
    ) -> tf.Tensor:
        arguments = self._sampling_arguments(num_samples, y, seed, given, mask, temperature)
        x, keep, condition, seed, temperature = arguments
        mask_index = self._drawn_mask(seed)
        x = tf.reshape(x, [-1, self.num_dims])
        for position in self.network.order(mask_index):
            whole = tf.reshape(x, [-1, *self.event_shape])
            parameters = self.parameters(whole, condition, mask_index)
            parameters = tf.reshape(parameters, [-1, self.num_dims, self.network.num_outputs])
            drawn = self._draw(parameters[:, position], seed, position, temperature)
            is_drawn = (tf.range(self.num_dims) == position) & ~keep
            x = tf.where(is_drawn, tf.reshape(drawn, [-1, 1]), x)
        return tf.reshape(x, [-1, *self.event_shape])

    def _sampling_loop(
        self,
        x: tf.Tensor,
        keep: tf.Tensor,
        condition: tf.Tensor | None,
        seed: tf.Tensor,
        temperature: tf.Tensor,
    ) -> tf.Tensor:
        shape = tf.shape(x)
        network = IncrementalPass(self.network, condition, self._drawn_mask(seed))
        order = network.order
        values = tf.transpose(tf.reshape(x, [-1, self.num_dims]))  # [D, B]
        keep = tf.transpose(keep)

        def draw(place: Any, values: tf.Tensor, state: Any) -> tuple[tf.Tensor, tf.Tensor, Any]:
            position = order[place]
            before = values[order[tf.maximum(place - 1, 0)]]
            before = self.likelihood.normalize(before, self.float_dtype)
            parameters, state = network.step(place, before, state)
            parameters = tf.cast(parameters, self.float_dtype)
            drawn = self._draw(parameters, seed, position, temperature)
            drawn = tf.where(keep[position], values[position], tf.reshape(drawn, [-1]))
            return place + 1, tf.tensor_scatter_nd_update(values, [[position]], [drawn]), state

        _, values, _ = tf.while_loop(
            lambda place, *_: place < self.num_dims,
            draw,
            (tf.constant(0), values, network.initial_state(shape[0])),
            maximum_iterations=self.num_dims,
        )
        return tf.reshape(tf.transpose(values), shape)
