"""Dense layers masked to an order of the input's values: the network of MADE."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfgen.checks import check_argument, check_backend, check_integer, check_one_of
from tfgen.configurable import Configurable
from tfgen.layers.functions import Dropout, Tensor
from tfgen.layers.nets import SMALL

ORDERS = ("natural", "reversed", "random")
DEGREES = ("sequential", "random")


def input_degrees(num_values: int, order: str = "natural", seed: Any = 0) -> np.ndarray:
    """Degrees 1..D of the values, `[D]`: the place of each in the order."""
    check_integer("num_values", num_values, minimum=1)
    check_one_of("order", order, ORDERS)
    degrees = np.arange(1, num_values + 1)
    if order == "natural":
        return degrees
    # RandomState's numbers are the same in every version of NumPy: a saved model keeps its masks.
    return (
        degrees[::-1] if order == "reversed" else np.random.RandomState(seed).permutation(degrees)
    )


def hidden_degrees(
    num_values: int, units: Sequence[int], degrees: str = "sequential", seed: Any = 0
) -> list[np.ndarray]:
    """Degrees of the hidden units of each layer, `[H_l]`: a unit of degree m sees m values.

    Sequential: 1, 2, ..., D-1, 1, 2, ...: with H_l >= D-1 in every layer no dependence is lost;
    with fewer units some values are seen by none. Random: uniform on {lowest degree of the layer
    below, ..., D-1}; values may then be conditionally independent of earlier ones by chance. All
    zero if D = 1.
    """
    check_one_of("degrees", degrees, DEGREES)
    highest = num_values - 1
    lowest = min(1, highest)
    random = np.random.RandomState(seed)
    layers = []
    for size in units:
        check_integer("units", size, minimum=1)
        if degrees == "sequential":
            layers.append(np.arange(size) % max(highest, 1) + lowest)
        else:
            layers.append(random.randint(lowest, highest + 1, size))
            lowest = int(layers[-1].min())
    return layers


class MaskedDense(Configurable, keras.Layer):
    """y = x (mask * kernel) + bias; `[B, F] -> [B, units]`, with the mask `[F, units]` an argument.

    The mask multiplies the kernel inside `call`: nothing that is ever assigned to the kernel (an
    optimizer's step, an average, a checkpoint) can open a masked path.

    Args:
        units: number of outputs.
        use_bias: whether to add a bias.
        kernel_initializer: of the kernel, masked entries included.
    """

    def __init__(
        self,
        units: int,
        use_bias: bool = True,
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_integer("units", units, minimum=1)
        self.units = units
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, x_shape: Any, connections_shape: Any = None) -> None:
        self.kernel = self.add_weight(
            name="kernel", shape=(x_shape[-1], self.units), initializer=self.kernel_initializer
        )
        self.bias: Any = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    def call(self, x: Tensor, connections: Tensor) -> Tensor:
        kernel = ops.cast(self.kernel.value, self.compute_dtype)
        y = ops.matmul(x, kernel * ops.cast(connections, self.compute_dtype))
        return y if self.bias is None else y + ops.cast(self.bias.value, self.compute_dtype)


class MaskedMLP(Configurable, keras.Layer):
    """The network of MADE [1]: parameters of every value's conditional in one pass.

    `x [B, D] -> [B, D, P]`. Each value has a degree m, its place 1..D in the order, each hidden
    unit one of 1..D-1. A unit sees the units below it with degree <= its own, the P outputs of a
    value those with degree < its own: output d depends on the values before d in the order only.

    A condition `[B, C]` enters the first hidden layer and the outputs, unmasked; the latter because
    no hidden unit reaches the outputs of the first value.

    With several masks the same weights serve several orders and connectivities; `mask_index`
    chooses. Masks are a function of the arguments. `IncrementalPass` runs the network value by
    value.

    Departs from [1]: the condition; no weights on constant inputs under the masks.

    Args:
        num_values: D.
        num_outputs: P.
        units: of each hidden layer.
        activation: a Keras activation.
        order: of the values, "natural", "reversed" or "random".
        degrees: of the hidden units, "sequential" or "random".
        num_masks: number of masks.
        direct: connect the outputs to earlier values directly, too.
        condition_size: C, or 0.
        dropout: fraction of hidden units dropped while training.
        kernel_initializer: of the hidden layers.
        mask_seed: of random orders and degrees.

    Raises:
        ValueError: an argument outside its range; several masks that would all be the same.

    [1] Germain, Gregor, Murray, Larochelle. MADE: Masked Autoencoder for Distribution Estimation.
        ICML 2015. arXiv:1502.03509
    """

    def __init__(
        self,
        num_values: int,
        num_outputs: int,
        units: Sequence[int],
        activation: str = "relu",
        order: str = "natural",
        degrees: str = "sequential",
        num_masks: int = 1,
        direct: bool = False,
        condition_size: int = 0,
        dropout: float = 0.0,
        kernel_initializer: Any = "he_normal",
        mask_seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_integer("num_outputs", num_outputs, minimum=1)
        check_integer("num_masks", num_masks, minimum=1)
        check_integer("condition_size", condition_size, minimum=0)
        check_argument(0.0 <= dropout < 1.0, "dropout", "in [0, 1)", dropout)
        differ = num_masks == 1 or "random" in (order, degrees)
        check_argument(differ, "num_masks", "1 where order and degrees are not random", num_masks)
        self.num_values = num_values
        self.num_outputs = num_outputs
        self.num_masks = num_masks
        self.activation = keras.activations.get(activation)
        # Tables `[num_masks, width]` of the degrees of the values and of each hidden layer. The
        # masks themselves are made from them in `call`: N masks of a large layer do not fit memory.
        rows = [
            [
                input_degrees(num_values, order, [mask_seed, mask, 0]),
                *hidden_degrees(num_values, units, degrees, [mask_seed, mask, 1]),
            ]
            for mask in range(num_masks)
        ]
        self._degrees = tuple(np.stack(table).astype("int32") for table in zip(*rows, strict=True))
        self.hidden = [MaskedDense(size, kernel_initializer=kernel_initializer) for size in units]
        self.dropout = Dropout(dropout)
        size = num_values * num_outputs
        self.outputs = MaskedDense(size, kernel_initializer=SMALL)
        self.direct = MaskedDense(size, False, SMALL) if direct else None
        shift = {"use_bias": False, "kernel_initializer": SMALL}
        sizes = [*list(units)[:1], size] if condition_size else []
        self.shifts = [keras.layers.Dense(size, **shift) for size in sizes]
        self.condition_size = condition_size

    def build(self, x_shape: Any, condition_shape: Any = None) -> None:
        widths = [table.shape[1] for table in self._degrees]
        for layer, width in zip([*self.hidden, self.outputs], widths, strict=True):
            layer.build((None, width))
        if self.direct is not None:
            self.direct.build((None, self.num_values))
        for shift in self.shifts:
            shift.build((None, self.condition_size))

    def degrees(self, mask_index: Any = 0) -> list[Tensor]:
        """Of the values `[D]`, then of each hidden layer `[H_l]`."""
        return [ops.take(table, mask_index, axis=0) for table in self._degrees]

    def order(self, mask_index: Any = 0) -> Tensor:
        """Which value stands at each place of the order, `[D]`."""
        return self._sorting(0, mask_index)

    def _sorting(self, layer: int, mask_index: Any) -> Tensor:
        """The units of a layer (0: the values) by increasing degree."""
        sorting = np.argsort(self._degrees[layer], axis=1, kind="stable").astype("int32")
        return ops.take(sorting, mask_index, axis=0)

    def call(
        self,
        x: Tensor,
        condition: Tensor | None = None,
        mask_index: Any = 0,
        training: bool = False,
    ) -> Tensor:
        h = self.activations(x, condition, mask_index, training)[-1]
        degrees = self.degrees(mask_index)
        values, last = degrees[0], degrees[-1]
        of_outputs = ops.repeat(values, self.num_outputs)
        y = self.outputs(h, last[:, None] < of_outputs)
        if self.direct is not None:
            y += self.direct(x, values[:, None] < of_outputs)
        if self.shifts:
            y += self.shifts[-1](condition)
        return ops.reshape(y, [-1, self.num_values, self.num_outputs])

    def activations(
        self,
        x: Tensor,
        condition: Tensor | None = None,
        mask_index: Any = 0,
        training: bool = False,
    ) -> list[Tensor]:
        """x, then the activations of each hidden layer, `[B, H_l]`."""
        degrees = self.degrees(mask_index)
        layers = [x]
        for index, layer in enumerate(self.hidden):
            connections = degrees[index][:, None] <= degrees[index + 1]
            h = layer(layers[-1], connections)
            if index == 0 and self.shifts:
                h += self.shifts[0](condition)
            layers.append(self.dropout(self.activation(h), training=training))
        return layers


class IncrementalPass:
    """A `MaskedMLP` under one mask, value by value in its order: D steps cost about one pass.

    Once the value of degree m is known, so are the hidden units of degree m, and with them the
    outputs of the value of degree m + 1. Layers and kernels are sorted by degree, so that a step
    multiplies with a window of rows: the units of one degree and, up to the size K of the largest
    such group, some of the following ones, which are computed again when their own turn comes. The
    outputs cost one pass exactly, a hidden layer of H units D K / H passes: about one with
    sequential degrees, a few with random ones where H is not much larger than D.

    Args:
        network: the network.
        condition: `[B, C]`, or None.
        mask_index: of the mask.
    """

    def __init__(self, network: MaskedMLP, condition: tf.Tensor | None, mask_index: Any = 0):
        check_backend("IncrementalPass")
        self.num_values, self.dtype = network.num_values, network.compute_dtype
        degrees = [tf.sort(of_layer) for of_layer in network.degrees(mask_index)]
        sortings = [network._sorting(layer, mask_index) for layer in range(len(degrees))]
        self.order = sortings[0]

        def array(variable: Any) -> tf.Tensor:
            return tf.cast(variable.value, self.dtype)

        # Kernels [units, inputs] and biases [units, 1], or [units, B] with the condition.
        self.kernels, self.biases, self.windows = [], [], []
        for index, layer in enumerate(network.hidden):
            kernel = tf.gather(tf.transpose(array(layer.kernel)), sortings[index + 1])
            kernel = tf.gather(kernel, sortings[index], axis=1)
            connections = degrees[index] <= degrees[index + 1][:, None]
            self.kernels.append(kernel * tf.cast(connections, self.dtype))
            bias = array(layer.bias)[:, None]
            if index == 0 and network.shifts:
                bias += tf.transpose(network.shifts[0](condition))
            self.biases.append(tf.gather(bias, sortings[index + 1]))
            self.windows.append(_windows(network._degrees[index + 1], self.num_values, mask_index))
        self.activation = network.activation

        outputs = [-1, self.num_values, network.num_outputs]

        def of_outputs(kernel: tf.Tensor, sorting: tf.Tensor, below: tf.Tensor) -> tf.Tensor:
            """`[D, P, inputs]`, sorted and masked."""
            kernel = tf.gather(tf.reshape(kernel, outputs), sorting)
            kernel = tf.transpose(tf.gather(kernel, self.order, axis=1), [1, 2, 0])
            return kernel * tf.cast(below < degrees[0][:, None], self.dtype)[:, None]

        layer = network.outputs
        self.output_kernel = of_outputs(array(layer.kernel), sortings[-1], degrees[-1])
        bias = array(layer.bias)[None]
        if network.shifts:
            bias += network.shifts[-1](condition)
        bias = tf.gather(tf.reshape(bias, outputs), self.order, axis=1)
        self.output_bias = tf.transpose(bias, [1, 2, 0])  # [D, P, 1 or B]
        self.direct_kernel = None
        if network.direct is not None:
            kernel = array(network.direct.kernel)
            self.direct_kernel = of_outputs(kernel, self.order, degrees[0])

    def initial_state(self, batch_size: Any) -> list[tf.Tensor]:
        """The activations of each layer, sorted by degree, `[H_l, B]`; nothing known yet."""
        sizes = [self.num_values, *[kernel.shape[0] for kernel in self.kernels]]
        return [tf.zeros([size, batch_size], self.dtype) for size in sizes]

    def step(
        self, place: Any, previous: tf.Tensor, state: Sequence[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Parameters `[B, P]` of the value at `place` 0..D-1 of the order, given the one before it.

        `previous` `[B]` is not looked at for place 0; it is on the network's scale.
        """
        previous = tf.where(place > 0, tf.cast(previous, self.dtype), tf.zeros([], self.dtype))
        layers = [_put(state[0], tf.maximum(place - 1, 0), previous[None])]
        for kernel, bias, (starts, size), before in zip(
            self.kernels, self.biases, self.windows, state[1:], strict=True
        ):
            start = starts[place]
            h = tf.matmul(_rows(kernel, start, size), layers[-1]) + _rows(bias, start, size)
            layers.append(_put(before, start, self.activation(h)))
        parameters = tf.matmul(self.output_kernel[place], layers[-1]) + self.output_bias[place]
        if self.direct_kernel is not None:
            parameters += tf.matmul(self.direct_kernel[place], layers[0])
        return tf.transpose(parameters), layers


def _windows(degrees: np.ndarray, num_values: int, mask_index: Any) -> tuple[tf.Tensor, int]:
    """Where the units of each degree start in a sorted layer, `[D]`, and how many to take."""
    degrees = np.sort(degrees, axis=1)
    size = max(int(np.bincount(row).max()) for row in degrees)
    starts = np.stack([np.searchsorted(row, np.arange(num_values)) for row in degrees])
    starts = np.minimum(starts, degrees.shape[1] - size).astype("int32")
    return tf.gather(starts, mask_index), size


def _rows(x: tf.Tensor, start: tf.Tensor, size: int) -> tf.Tensor:
    return tf.slice(x, [start, 0], [size, tf.shape(x)[1]])


def _put(x: tf.Tensor, start: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    indices = start + tf.range(rows.shape[0])
    return tf.tensor_scatter_nd_update(x, indices[:, None], rows)
