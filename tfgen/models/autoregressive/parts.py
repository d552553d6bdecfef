"""Parts that several autoregressive models of images share."""

from typing import Any

import keras
import tensorflow as tf

from tfgen.checks import check_argument
from tfgen.configurable import Configurable
from tfgen.distributions import Bernoulli, Categorical, Likelihood
from tfgen.layers.masked_conv import MaskedConv2D


def check_integer_image(event_shape: tuple[int, ...], num_levels: int | None) -> None:
    """Raises `ValueError` unless the data are integer images `(H, W, C)`."""
    check_argument(len(event_shape) == 3, "event_shape", "(H, W, C)", event_shape)
    check_argument(num_levels is not None, "num_levels", "an integer >= 2", num_levels)


def colour_likelihood(num_levels: int) -> Likelihood:
    """Of one colour of one pixel: a softmax over the levels, or a logit for binary data."""
    return Bernoulli() if num_levels == 2 else Categorical(num_levels)


def condition_layer(units: int, is_label: bool = True) -> keras.layers.Dense:
    """V c: what a condition adds to the features of a layer.

    Labels start with little influence, as in the released code of PixelCNN++; features with as much
    as they vary. Where a decoder makes them of latents, a network that hardly hears them in the
    beginning may never learn to listen.
    """
    initializer = keras.initializers.RandomNormal(stddev=0.05) if is_label else "lecun_normal"
    return keras.layers.Dense(units, use_bias=False, kernel_initializer=initializer)


class ColourHead(Configurable, keras.Layer):
    """Two layers of (ReLU, 1x1 convolution mask B): `[B, H, W, *] -> [B, H, W, C, P]`.

    The last one starts at zero, so that a fresh softmax or Bernoulli likelihood is uniform.

    Args:
        filters: width of the first layer.
        outputs_shape: `(C, P)`, P numbers for each of C colours.
    """

    def __init__(self, filters: int, outputs_shape: tuple[int, int], **kwargs: Any):
        super().__init__(**kwargs)
        colours, numbers = outputs_shape
        self.outputs_shape = (colours, numbers)
        self.hidden = MaskedConv2D(filters, 1, "B", colours)
        self.outputs = MaskedConv2D(colours * numbers, 1, "B", colours, kernel_initializer="zeros")

    def build(self, input_shape: Any) -> None:
        self.hidden.build(input_shape)
        self.outputs.build((*input_shape[:-1], self.hidden.filters))

    def call(self, h: tf.Tensor) -> tf.Tensor:
        y = self.outputs(tf.nn.relu(self.hidden(tf.nn.relu(h))))
        return tf.reshape(y, [tf.shape(y)[0], *y.shape[1:3], *self.outputs_shape])
