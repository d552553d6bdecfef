"""The elementwise maps of coupling layers."""

from typing import Any

import keras
import tensorflow as tf

from tfgen.configurable import Configurable


class Transformer(Configurable, keras.Layer):
    """Elementwise invertible map x = f(z; parameters), with the parameters given by a network.

    For values `[..., C]` the parameters are `[..., num_parameters * C]`, blocks of C. All-zero
    parameters are the identity, exactly: a coupling sets them to zero where nothing may change, and
    a network whose output starts at zero makes the coupling start as the identity.

    `forward` and `inverse` return the value and the elementwise log-derivative of the map applied,
    both `[..., C]`.
    """

    num_parameters: int

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.autocast = False

    def forward(self, z: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError

    def inverse(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError


class AdditiveTransformer(Transformer):
    """x = z + t, of derivative 1 [1].

    [1] Dinh, Krueger, Bengio. NICE: non-linear independent components estimation. 2014.
        arXiv:1410.8516
    """

    num_parameters = 1

    def forward(self, z: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return z + parameters, tf.zeros_like(z)

    def inverse(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return x - parameters, tf.zeros_like(x)


class AffineTransformer(Transformer):
    """x = exp(s) z + t with s = m tanh(r), m learned for each channel; parameters are (r, t).

    The bound m, starting at `bound`, is that of the released code of [1]. From data to latent the
    shift comes first, z = (x - t) exp(-s), as in that code; the paper's equation 7 scales first.

    [1] Dinh, Sohl-Dickstein, Bengio. Density estimation using Real NVP. ICLR 2017. arXiv:1605.08803
    """

    num_parameters = 2

    def __init__(self, bound: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.bound = bound

    def build(self, input_shape: Any) -> None:
        dtype = "float64" if self.variable_dtype == "float64" else "float32"
        self.largest_log_scale = self.add_weight(
            name="largest_log_scale",
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.bound),
            dtype=dtype,
            autocast=False,
        )

    def _log_scale_and_shift(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raw, shift = tf.split(parameters, 2, -1)
        return self.largest_log_scale * tf.tanh(raw), shift

    def forward(self, z: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        log_scale, shift = self._log_scale_and_shift(parameters)
        return z * tf.exp(log_scale) + shift, log_scale

    def inverse(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        log_scale, shift = self._log_scale_and_shift(parameters)
        return (x - shift) * tf.exp(-log_scale), -log_scale
