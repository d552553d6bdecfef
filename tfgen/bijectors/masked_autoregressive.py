"""Masked autoregressive steps: every value is changed by a map that the values before it decide."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.bijectors.bijector import Bijector
from tfgen.bijectors.transformer import LocationScaleTransformer, Transformer
from tfgen.checks import check_argument
from tfgen.layers.masked_dense import IncrementalPass, MaskedMLP


class MaskedAutoregressive(Bijector):
    """x_i = f(z_i; parameters_i(x before i, condition)),    log|det| = sum_i log f'.

    `[B, D]`, or data of any shape, whose D values are taken in raster order; "before" is the order
    of the network, a `MaskedMLP`. The condition is `[B, C]`.

    From x to z all values are changed at once, in one pass of the network. From z to x they are
    found one after the other, each by the network's units that its predecessor completes
    (`IncrementalPass`), in one loop: together the work of about one pass, not of D. Both
    directions give the log-determinant and can be differentiated.

    `MaskedAutoregressive` is a step of a masked autoregressive flow [1]: densities of data in one
    pass. `Invert(MaskedAutoregressive(...))` is a step of an inverse autoregressive flow [2]:
    samples, and their densities, in one pass.

    Args:
        network: with D values and `transformer.num_parameters` outputs for each.
        transformer: the elementwise map f; `LocationScaleTransformer` by default. Weights that it
            has of its own are shared by all values.

    Raises:
        ValueError: a network of other values, outputs or condition.

    [1] Papamakarios, Pavlakou, Murray. Masked Autoregressive Flow for Density Estimation. NeurIPS
        2017. arXiv:1705.07057
    [2] Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling. Improving variational inference with
        inverse autoregressive flow. NeurIPS 2016. arXiv:1606.04934
    """

    def __init__(self, network: MaskedMLP, transformer: Transformer | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.network = network
        self.transformer = LocationScaleTransformer() if transformer is None else transformer
        expected, received = self.transformer.num_parameters, network.num_outputs
        check_argument(received == expected, "network", f"of {expected} outputs a value", received)

    def _create_variables(self, event_shape: tuple[int, ...]) -> None:
        size = int(np.prod(event_shape))
        received = self.network.num_values
        check_argument(received == size, "network", f"of {size} values", received)
        self.transformer.build((None, 1))
        if not self.network.built:  # what comes first may be the loop, which reads its kernels
            self.network.build((None, size))

    def inverse_and_log_slopes(
        self, x: tf.Tensor, condition: Any = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """z = f^-1(x) and the log-derivative of every value, both of the shape of x; the
        log-determinant is their sum."""
        return self._inverse_elementwise(self._prepare(x, condition), condition)

    def _inverse_elementwise(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        flat = self._flat(x, condition)
        parameters = tf.linalg.matrix_transpose(self.network(flat, condition))  # [B, P, D]
        size = self.network.num_outputs * self.network.num_values
        parameters = tf.reshape(tf.cast(parameters, self.float_dtype), [-1, size])
        z, log_slopes = self.transformer.inverse(flat, parameters)
        return tf.reshape(z, tf.shape(x)), tf.reshape(log_slopes, tf.shape(x))

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        z, log_slopes = self._inverse_elementwise(x, condition)
        return z, tf.reduce_sum(log_slopes, list(range(1, x.shape.rank)))

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        num_values = self.network.num_values
        flat = self._flat(z, condition)
        network = IncrementalPass(self.network, condition)
        in_order = tf.gather(tf.transpose(flat), network.order)  # [D, B]
        zeros = tf.zeros_like(in_order[0])

        def change(place: Any, x: Any, previous: Any, state: Any, log_det: Any) -> tuple:
            parameters, state = network.step(place, previous, state)
            parameters = tf.cast(parameters, self.float_dtype)
            value, log_slope = self.transformer.forward(in_order[place][:, None], parameters)
            value = value[:, 0]
            return place + 1, x.write(place, value), value, state, log_det + log_slope[:, 0]

        _, x, _, _, log_det = tf.while_loop(
            lambda place, *_: place < num_values,
            change,
            (
                tf.constant(0),
                tf.TensorArray(flat.dtype, num_values, element_shape=zeros.shape),
                zeros,
                network.initial_state(tf.shape(flat)[0]),
                zeros,
            ),
            maximum_iterations=num_values,
        )
        x = tf.gather(x.stack(), self.network.degrees()[0] - 1)
        return tf.reshape(tf.transpose(x), tf.shape(z)), log_det

    def _flat(self, x: tf.Tensor, condition: Any) -> tf.Tensor:
        expected = 0 if condition is None else condition.shape[-1]
        received = self.network.condition_size
        check_argument(received == expected, "network", f"of condition_size {expected}", received)
        flat = tf.reshape(x, [-1, self.network.num_values])
        if condition is not None:
            # In a graph the condition may tell the size of the batch: to the loop's states, too.
            flat = tf.ensure_shape(flat, [condition.shape[0], None])
        return flat
