"""WaveNet: dilated causal convolutions give every conditional of a waveform in one pass."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.checks import check_argument, check_integer
from tfgen.distributions import Categorical
from tfgen.layers.causal_conv1d import CausalConv1D, TimeSteps
from tfgen.models.autoregressive.base import AutoregressiveModel


def gated(a: tf.Tensor) -> tf.Tensor:
    """tanh(f) . sigmoid(g), with f and g the two halves of the channels [1, eq. 2]."""
    filtered, gate = tf.split(a, 2, axis=-1)
    return tf.tanh(filtered) * tf.sigmoid(gate)


class WaveNet(AutoregressiveModel):
    """WaveNet [1]: log p(x) = sum_t log p(x_t | x_<t), dilated causal convolutions over time.

    x `[B, T]` integers, mu-law classes of audio samples. A causal convolution of the one-hot coded
    past, then layers l of dilations d_l with hidden channels h:

        z_l = tanh(W_f * h + V_f c) . sigmoid(W_g * h + V_g c),   h <- h + W_r z_l,
        logits = 1x1(relu(1x1(relu(sum_l W_s z_l)))).

    The first convolution is the only one that is shifted: it sees x_{t-1} and earlier. x_t depends
    on `receptive_field` = kernel_size + (kernel_size - 1) sum_l d_l samples before it; before the
    start stand zeros. `log_prob` in nats, exact. A fresh model is uniform: log2(num_levels) bits a
    sample.

    The condition c is global or local. Global, one for all of time: a label (`num_classes`) or
    `[B, num_features]`. Local, with `hop_length`: features `[B, T / hop_length, num_features]`, a
    row for each `hop_length` samples, known for the whole of the time in advance.

    No weight depends on T; `at_length` gives the model for another T.

    Departs from [1]: local features reach the audio rate by repetition, which [1] found slightly
    worse than a learned transposed convolution; the last layer starts at zero. The sizes are ours,
    [1] gives none.

    Args:
        event_shape: `(T,)`.
        num_levels: levels of the data, 2 to 256.
        num_classes: number of labels to condition on.
        num_features: number of real features to condition on.
        hop_length: number of samples that one row of local features covers; divides T. None for
            global features.
        dilations: of the layers of one stack, in samples.
        num_stacks: how often the stack is repeated.
        kernel_size: number of taps of all convolutions in time.
        residual_channels: width of h.
        dilation_channels: width of z.
        skip_channels: width of the sum and of the layer above it.

    Raises:
        ValueError: an argument outside its range.

    [1] van den Oord et al. WaveNet: A Generative Model for Raw Audio. 2016. arXiv:1609.03499.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int = 256,
        num_classes: int | None = None,
        num_features: int | None = None,
        hop_length: int | None = None,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        num_stacks: int = 3,
        kernel_size: int = 2,
        residual_channels: int = 32,
        dilation_channels: int = 32,
        skip_channels: int = 256,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels, num_classes, num_features, **kwargs)
        check_argument(len(self.event_shape) == 1, "event_shape", "(T,)", self.event_shape)
        check_argument(num_levels is not None, "num_levels", "an integer >= 2", num_levels)
        check_argument(len(dilations) > 0, "dilations", "not empty", dilations)
        check_integer("num_stacks", num_stacks, minimum=1)
        check_integer("residual_channels", residual_channels, minimum=1)
        check_integer("dilation_channels", dilation_channels, minimum=1)
        check_integer("skip_channels", skip_channels, minimum=1)
        if hop_length is not None:
            check_integer("hop_length", hop_length, minimum=1)
            given = num_features is not None
            check_argument(given, "hop_length", "None where num_features is None", hop_length)
            length = self.event_shape[0]
            divides = length % hop_length == 0
            check_argument(divides, "hop_length", f"a divisor of T = {length}", hop_length)
        self.hop_length = hop_length
        self.likelihood = Categorical(num_levels)
        dilations = list(dilations) * num_stacks
        self.first = CausalConv1D(residual_channels, kernel_size, delay=1)
        self.convolutions = [
            CausalConv1D(2 * dilation_channels, kernel_size, dilation) for dilation in dilations
        ]
        # h after the last layer goes nowhere.
        self.residuals = [keras.layers.Dense(residual_channels) for _ in dilations[1:]]
        self.skip = keras.layers.Dense(skip_channels)
        self.top = keras.layers.Dense(skip_channels)
        self.logits = keras.layers.Dense(num_levels, kernel_initializer="zeros")
        self.shifts = None
        if self.is_conditional:
            width = 2 * dilation_channels * len(dilations)
            self.shifts = keras.layers.Dense(width, use_bias=False)
        self.time_steps = TimeSteps()
        self.receptive_field = kernel_size + (kernel_size - 1) * sum(dilations)

    def conditioning(self, condition: tf.Tensor | None) -> list[tf.Tensor | None]:
        """V c for each layer, `[B, 1, 2 dilation_channels]`, local `[B, T / hop_length, ...]`."""
        if self.shifts is None or condition is None:
            return [None] * len(self.convolutions)
        rows = condition if self.hop_length is not None else condition[:, None]
        return tf.split(self.shifts(rows), len(self.convolutions), axis=-1)

    def columns(
        self, x: tf.Tensor, contexts: Any, conditioning: list[tf.Tensor | None], run: Any
    ) -> tf.Tensor:
        h = run.input(lambda run, x: run(self.first, self._one_hot(x)), x)
        if self.hop_length is not None:
            frames = run(self.time_steps, h) // self.hop_length
            conditioning = [tf.gather(shift, frames, axis=1) for shift in conditioning]
        z: list[tf.Tensor] = []
        for layer, (convolution, shift) in enumerate(
            zip(self.convolutions, conditioning, strict=True)
        ):
            if layer > 0:
                h += self.residuals[layer - 1](z[-1])
            a = run(convolution, h)
            z.append(gated(a if shift is None else a + shift))
        # sum_l W_s z_l as one matrix product.
        skip = self.skip(tf.concat(z, axis=-1))
        logits = self.logits(tf.nn.relu(self.top(tf.nn.relu(skip))))
        return tf.cast(logits, self.float_dtype)

    def _one_hot(self, x: tf.Tensor) -> tf.Tensor:
        """`[..., num_levels]`; between two levels linear, so that it has a derivative."""
        levels = tf.range(self.num_levels, dtype=self.float_dtype)
        distance = tf.abs(tf.cast(x, self.float_dtype)[..., None] - levels)
        return tf.cast(tf.nn.relu(1.0 - distance), self.compute_dtype)

    def at_length(self, length: int) -> "WaveNet":
        """A model of sequences of `length` samples with a copy of the weights."""
        model = type(self).from_config(self.get_config() | {"event_shape": [length]})
        model.set_weights(self.get_weights())
        return model

    # ------------------------------------------------------------------ local conditioning

    def _feature_shape(self) -> list[int]:
        return [self.event_shape[0] // int(self.hop_length or 0), int(self.num_features or 0)]

    def condition(self, y: Any, batch_size: Any) -> tf.Tensor | None:
        """One-hot labels or global features `[B, C]`, local features `[B, T / hop_length, C]`."""
        if self.hop_length is None:
            return super().condition(y, batch_size)
        check_argument(y is not None, "y", "given: this model is conditional", None)
        y = tf.convert_to_tensor(y)
        shape = self._feature_shape()
        fits = y.shape.rank in (2, 3) and y.shape[-2:].is_compatible_with(shape)
        check_argument(fits, "y", f"features of shape ['B', {shape[0]}, {shape[1]}]", y.shape)
        return tf.broadcast_to(tf.cast(y, self.float_dtype), [batch_size, *shape])

    def example_batch(self, batch_size: int = 2) -> tuple[tf.Tensor, tf.Tensor | None]:
        x, y = super().example_batch(batch_size)
        if self.hop_length is not None:
            y = tf.zeros([batch_size, *self._feature_shape()], tf.float32)
        return x, y

    def condition_spec(self) -> tf.TensorSpec | None:
        if self.hop_length is None:
            return super().condition_spec()
        return tf.TensorSpec([None, *self._feature_shape()], tf.float32, name="y")
