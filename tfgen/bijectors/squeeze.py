"""Trading space for channels."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.checks import check_argument


class _SpaceToDepth(tfp.bijectors.Bijector):
    """`inverse` is `[..., H, W, C]` -> `[..., H/2, W/2, 4C]`; volume-preserving."""

    def __init__(self, name: str):
        super().__init__(
            forward_min_event_ndims=3,
            is_constant_jacobian=True,
            parameters={"name": name},
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any = None) -> dict[str, Any]:
        return {}

    def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        height, width, channels = shape[-3:]
        return shape[:-3].concatenate([2 * height, 2 * width, channels // 4])

    def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        height, width, channels = shape[-3:]
        return shape[:-3].concatenate([height // 2, width // 2, 4 * channels])

    def _forward_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        changed = [2 * shape[-3], 2 * shape[-2], shape[-1] // 4]
        return tf.concat([shape[:-3], changed], 0)

    def _inverse_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        changed = [shape[-3] // 2, shape[-2] // 2, 4 * shape[-1]]
        return tf.concat([shape[:-3], changed], 0)

    def _forward(self, z: tf.Tensor) -> tf.Tensor:
        height, width, channels = z.shape[-3:]
        check_argument(channels % 4 == 0, "channels", "divisible by 4", channels)
        batch_shape = tf.shape(z)[:-3]
        blocks = self._from_channels(tf.reshape(z, [-1, height, width, channels]))
        # [N, H, W, dy, dx, C] -> [N, H, dy, W, dx, C]
        x = tf.transpose(blocks, [0, 1, 3, 2, 4, 5])
        return tf.reshape(x, tf.concat([batch_shape, [2 * height, 2 * width, channels // 4]], 0))

    def _inverse(self, x: tf.Tensor) -> tf.Tensor:
        height, width, channels = x.shape[-3:]
        even = height % 2 == 0 and width % 2 == 0
        check_argument(even, "height and width", "even", (height, width))
        batch_shape = tf.shape(x)[:-3]
        blocks = tf.reshape(x, [-1, height // 2, 2, width // 2, 2, channels])
        z = self._to_channels(tf.transpose(blocks, [0, 1, 3, 2, 4, 5]))
        return tf.reshape(z, tf.concat([batch_shape, [height // 2, width // 2, 4 * channels]], 0))

    def _forward_log_det_jacobian(self, z: tf.Tensor) -> tf.Tensor:
        return tf.zeros([], z.dtype)

    def _to_channels(self, blocks: tf.Tensor) -> tf.Tensor:
        """`[N, H, W, dy, dx, C]` -> `[N, H, W, 4C]`."""
        raise NotImplementedError

    def _from_channels(self, z: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError


class Squeeze(_SpaceToDepth):
    """Each 2x2 block becomes one position: `inverse` is `[..., H, W, C]` -> `[..., H/2, W/2, 4C]`.

    Entry (dy, dx) of channel c goes to channel 4c + 2 dy + dx: the four places of the first
    channel come first, as in the released code of [1] (`tf.nn.space_to_depth` orders by place).
    Data are on the `forward` side, as everywhere in tfgen, so that this is a step of a chain.

    [1] Dinh, Sohl-Dickstein, Bengio. Density estimation using Real NVP. ICLR 2017. arXiv:1605.08803
    """

    def __init__(self, name: str = "squeeze"):
        super().__init__(name)

    def _to_channels(self, blocks: tf.Tensor) -> tf.Tensor:
        _, height, width, _, _, channels = blocks.shape
        z = tf.transpose(blocks, [0, 1, 2, 5, 3, 4])
        return tf.reshape(z, [-1, height, width, 4 * channels])

    def _from_channels(self, z: tf.Tensor) -> tf.Tensor:
        _, height, width, channels = z.shape
        blocks = tf.reshape(z, [-1, height, width, channels // 4, 2, 2])
        return tf.transpose(blocks, [0, 1, 2, 4, 5, 3])


class OrderedSqueeze(_SpaceToDepth):
    """A squeeze whose first half of channels is the even checkerboard.

    `inverse` is `[..., H, W, C]` -> `[..., H/2, W/2, 4C]`; the channels are four slots of all C
    channels, taken from the places [top left, bottom right, top right, bottom left] of a 2x2
    block. Keeping the first half therefore keeps the pixels with even i + j [1, section 3.6 and
    released code].

    [1] Dinh, Sohl-Dickstein, Bengio. Density estimation using Real NVP. ICLR 2017. arXiv:1605.08803
    """

    def __init__(self, name: str = "ordered_squeeze"):
        super().__init__(name)

    def _to_channels(self, blocks: tf.Tensor) -> tf.Tensor:
        top_left, top_right = blocks[:, :, :, 0, 0], blocks[:, :, :, 0, 1]
        bottom_left, bottom_right = blocks[:, :, :, 1, 0], blocks[:, :, :, 1, 1]
        return tf.concat([top_left, bottom_right, top_right, bottom_left], -1)

    def _from_channels(self, z: tf.Tensor) -> tf.Tensor:
        top_left, bottom_right, top_right, bottom_left = tf.split(z, 4, -1)
        top = tf.stack([top_left, top_right], 3)
        bottom = tf.stack([bottom_left, bottom_right], 3)
        return tf.stack([top, bottom], 3)
