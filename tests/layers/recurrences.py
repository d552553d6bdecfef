"""What the tests of both recurrent layers share: a plain cell, the loop over pixels, Jacobians."""

from typing import Any

import numpy as np
import tensorflow as tf

from tests.conformance import randomize
from tfgen.layers import channel_groups


def made(layer: Any, num_channels: int, height: int, width: int, batch_size: int = 2) -> Any:
    """The layer with random weights, none of them zero, and an input `[B, H, W, C]`."""
    x = np.random.default_rng(1).standard_normal([batch_size, height, width, num_channels])
    x = tf.constant(x, layer.compute_dtype)
    layer.build(x.shape)
    randomize(layer)
    return layer, x


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def cell(gates: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The equations of the paper: h and c from the pre-activations o, f, i, g."""
    o, f, i, g = np.split(gates, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def masked(kernel: np.ndarray, num_groups: int) -> np.ndarray:
    """`[C, 4 F]` with zeros where a gate's red would see green, and so on."""
    kernel = kernel.copy()
    seen = channel_groups(kernel.shape[0], num_groups)
    by = channel_groups(kernel.shape[1] // 4, num_groups)
    for c in range(kernel.shape[0]):
        for output in range(kernel.shape[1]):
            if seen[c] > by[output % len(by)]:
                kernel[c, output] = 0.0
    return kernel


def by_pixel(layer: Any, x: tf.Tensor) -> tf.Tensor:
    """`layer(x)` by its steps, one pixel after the other."""
    batch_size, height, width, _ = x.shape
    memory = layer.initial_memory(batch_size, width)
    rows = []
    for row in range(height):
        above, state = layer.begin_row(memory), layer.initial_state(batch_size)
        outputs, records = [], []
        for column in range(width):
            pixel = x[:, row : row + 1, column : column + 1]
            y, state, record = layer.step(pixel, state, above[:, :, column : column + 1])
            outputs.append(y)
            records.append(record)
        memory = layer.end_row(memory, tf.concat(records, axis=2))
        rows.append(tf.concat(outputs, axis=2))
    return tf.concat(rows, axis=1)


def check_steps(layer: Any, x: tf.Tensor) -> None:
    """Steps give what `call` gives, and so do their gradients, by plain automatic differentiation.

    The scan of `call` has a gradient of its own. The initial states' gradients are not zero.
    """
    weights = np.random.default_rng(2).standard_normal(layer(x).shape)
    results = []
    for function in (tf.function(layer), lambda x: by_pixel(layer, x)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
            total = tf.reduce_sum(y * weights)
        results.append([y, *tape.gradient(total, [x, *layer.trainable_variables])])
    names = ["y", "x", *(v.path for v in layer.trainable_variables)]
    for name, found, expected in zip(names, *results, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-10, err_msg=name)
        if "initial" in name:
            assert np.abs(found).min() > 1e-4, name


def seen_pixels(layer: Any, x: tf.Tensor, num_groups: int = 1) -> np.ndarray:
    """Which (pixel, group of inputs) an output sees, bool `[H * W * G, H * W * G]`."""
    _, height, width, _ = x.shape

    @tf.function
    def jacobian(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = layer(x)
            y = tf.stack([tf.reduce_sum(part**2, axis=-1) for part in split(y)], axis=-1)
        return tape.batch_jacobian(y, x, experimental_use_pfor=False)

    def split(y: Any) -> list[Any]:
        groups = channel_groups(y.shape[-1], num_groups)
        return [tf.gather(y, np.flatnonzero(groups == g), axis=-1) for g in range(num_groups)]

    found = tf.stack([tf.reduce_sum(tf.abs(p), axis=-1) for p in split(jacobian(x))], axis=-1)
    size = height * width * num_groups
    return np.abs(found.numpy()).max(axis=0).reshape(size, size) > 0.0


def in_channel_order(pixels_before: np.ndarray, num_groups: int) -> np.ndarray:
    """Every colour of the pixels before; of a pixel's own, the colours up to each (mask B)."""
    own = np.kron(np.eye(len(pixels_before)), np.tril(np.ones((num_groups, num_groups))))
    return (np.kron(pixels_before, np.ones((num_groups, num_groups))) + own) > 0
