"""The elementwise maps of couplings and autoregressive steps."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.build import build
from tfgen.checks import check_argument, check_integer
from tfgen.configurable import Configurable

tfb = tfp.bijectors


class Transformer(Configurable, keras.Layer):
    """Elementwise invertible map x = f(z; parameters), with the parameters given by a network.

    For values `[..., C]` the parameters are `[..., num_parameters * C]`, blocks of C. `forward` and
    `inverse` return the value and the elementwise log-derivative of the map applied, both
    `[..., C]`. Calling the layer is `inverse`, as for a `Bijector`.

    Attributes:
        num_parameters: of one value.
        zeros_are_identity: all-zero parameters are the identity, exactly, so that a network whose
            output starts at zero makes a coupling start as the identity.
    """

    num_parameters: int
    zeros_are_identity = True

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.autocast = False

    def build(self, x_shape: Any, parameters_shape: Any = None) -> None:
        """Creates the variables that do not come from the network, if there are any."""

    def call(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self.inverse(x, parameters)

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

    def build(self, x_shape: Any, parameters_shape: Any = None) -> None:
        dtype = "float64" if self.variable_dtype == "float64" else "float32"
        self.largest_log_scale = self.add_weight(
            name="largest_log_scale",
            shape=(x_shape[-1],),
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


class LocationScaleTransformer(Transformer):
    """x = exp(a) z + m, without weights of its own; parameters are (r, m), a = b tanh(r / b).

    This is the affine map of masked autoregressive flows, u = (x - m) exp(-a) from data to latent
    [1]. Departs from [1], where a is unbounded: a = r up to order r^3 / b^2 and |a|
    stays below `bound` b, so that no network's output, however far off the data, overflows a scale
    or its gradient in float32.

    Args:
        bound: b; the default lets one step scale by 9e-4 to 1.1e3.

    [1] Papamakarios, Pavlakou, Murray. Masked Autoregressive Flow for Density Estimation. NeurIPS
        2017. arXiv:1705.07057
    """

    num_parameters = 2

    def __init__(self, bound: float = 7.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_argument(bound > 0.0, "bound", "positive", bound)
        self.bound = bound

    def _log_scale_and_location(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raw, location = tf.split(parameters, 2, -1)
        return _softly_bounded(raw, self.bound), location

    def forward(self, z: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        log_scale, location = self._log_scale_and_location(parameters)
        return z * tf.exp(log_scale) + location, log_scale

    def inverse(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        log_scale, location = self._log_scale_and_location(parameters)
        return (x - location) * tf.exp(-log_scale), -log_scale


class GatedTransformer(Transformer):
    """z = g x + (1 - g) m with the gate g = sigmoid(s + forget_bias); parameters are (s, m).

    This is the update of inverse autoregressive flow [1, algorithm 1], a convex combination of the
    value and what the network proposes. It is stated from x to z, the direction that is one pass of
    a `MaskedAutoregressive`; `Invert` of the latter therefore updates z' = g z + (1 - g) m.

    All-zero parameters are not the identity, they multiply by sigmoid(forget_bias): no finite gate
    keeps a value as it is. A positive bias, as in [1], starts it near the identity.

    Departs from [1]: s goes through b tanh(s / b), so that the gate does not close and the map can
    be inverted in float32.

    Args:
        forget_bias: added to s.
        bound: b.

    [1] Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling. Improving variational inference with
        inverse autoregressive flow. NeurIPS 2016. arXiv:1606.04934
    """

    num_parameters = 2
    zeros_are_identity = False

    def __init__(self, forget_bias: float = 2.0, bound: float = 7.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_argument(bound > 0.0, "bound", "positive", bound)
        self.forget_bias = forget_bias
        self.bound = bound

    def _logit_and_proposal(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raw, proposal = tf.split(parameters, 2, -1)
        return _softly_bounded(raw, self.bound) + self.forget_bias, proposal

    def forward(self, z: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logit, proposal = self._logit_and_proposal(parameters)
        log_gate = tf.math.log_sigmoid(logit)
        return (z - tf.sigmoid(-logit) * proposal) * tf.exp(-log_gate), -log_gate

    def inverse(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logit, proposal = self._logit_and_proposal(parameters)
        return tf.sigmoid(logit) * x + tf.sigmoid(-logit) * proposal, tf.math.log_sigmoid(logit)


class SigmoidTransformer(Transformer):
    """z = sigmoid(s + 2) (x + t), parameters (s, t): the affine map of Glow's released code [1].

    The scale is below 1, so that no coupling can blow up a value on its way to the latent; an
    activation normalisation undoes the shrinking on average. All-zero parameters multiply by
    sigmoid(2) = 0.88.

    Departs from [1]: s goes through b tanh(s / b), so that the map can be inverted in float32.

    Args:
        bound: b.

    [1] Kingma, Dhariwal. Glow: generative flow with invertible 1x1 convolutions. NeurIPS 2018.
        arXiv:1807.03039
    """

    num_parameters = 2
    zeros_are_identity = False

    def __init__(self, bound: float = 7.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_argument(bound > 0.0, "bound", "positive", bound)
        self.bound = bound

    def _log_scale_and_shift(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raw, shift = tf.split(parameters, 2, -1)
        return tf.math.log_sigmoid(_softly_bounded(raw, self.bound) + 2.0), shift

    def forward(self, z: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        log_scale, shift = self._log_scale_and_shift(parameters)
        return z * tf.exp(-log_scale) - shift, -log_scale

    def inverse(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        log_scale, shift = self._log_scale_and_shift(parameters)
        return (x + shift) * tf.exp(log_scale), log_scale


class RationalQuadraticSplineTransformer(Transformer):
    """A monotone rational-quadratic spline on [-bound, bound], the identity outside [1].

    The parameters are the logits of K bin widths and of K bin heights and the logarithms of the
    slopes at the K - 1 inner knots; the slopes at the ends are 1. The map itself is TFP's.

    Departs from [1]: slopes are exponentials, softly bounded to [1e-3, 1e3], instead of softplus
    functions, so that zero parameters are exactly the identity.

    Args:
        num_bins: K.
        bound: values beyond it pass unchanged.

    [1] Durkan, Bekasov, Murray, Papamakarios. Neural spline flows. NeurIPS 2019. arXiv:1906.04032
    """

    smallest_bin = 1e-3  # as a fraction of the interval, as in the released code of [1]

    def __init__(self, num_bins: int = 8, bound: float = 5.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_integer("num_bins", num_bins, minimum=2)
        check_argument(num_bins * self.smallest_bin < 1.0, "num_bins", "below 1000", num_bins)
        check_argument(bound > 0.0, "bound", "positive", bound)
        self.num_bins = num_bins
        self.bound = bound
        self.num_parameters = 3 * num_bins - 1

    def forward(self, z: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._map("forward", z, parameters)

    def inverse(self, x: tf.Tensor, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._map("inverse", x, parameters)

    def _map(
        self, direction: str, x: tf.Tensor, parameters: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        blocks = tf.concat([tf.shape(x)[:-1], [self.num_parameters, x.shape[-1]]], 0)
        parameters = tf.linalg.matrix_transpose(tf.reshape(parameters, blocks))  # [..., C, 3K - 1]
        spline = self._spline(parameters)
        # TFP's unused branch would overflow far out, and its gradient be NaN.
        is_inside = tf.abs(x) < self.bound
        inner = tf.where(is_inside, x, tf.zeros([], x.dtype))
        y = getattr(spline, direction)(inner)
        log_derivative = getattr(spline, f"{direction}_log_det_jacobian")(inner, event_ndims=0)
        y = tf.where(is_inside, y, x)
        log_derivative = tf.where(is_inside, log_derivative, tf.zeros([], x.dtype))
        # The identity to the last bit for zero parameters, without touching their gradient.
        is_zero = tf.reduce_all(parameters == 0.0, -1)
        rounding = tf.where(is_zero, [x - y, -log_derivative], tf.zeros([], x.dtype))
        rounding = tf.stop_gradient(rounding)
        return y + rounding[0], log_derivative + rounding[1]

    def _spline(self, parameters: tf.Tensor) -> tfb.Bijector:
        widths, heights, log_slopes = tf.split(
            parameters, [self.num_bins, self.num_bins, self.num_bins - 1], -1
        )
        return tfb.RationalQuadraticSpline(
            self._bins(widths),
            self._bins(heights),
            tf.exp(_softly_bounded(log_slopes, math.log(1e3))),
            range_min=-self.bound,
        )

    def _bins(self, logits: tf.Tensor) -> tf.Tensor:
        flexible = 1.0 - self.num_bins * self.smallest_bin
        return 2.0 * self.bound * (self.smallest_bin + flexible * tf.nn.softmax(logits))


def new_transformer(specification: Any) -> Transformer:
    """A transformer with variables of its own, for each step of a model that takes a specification.

    Raises:
        ValueError: anything but a mapping that names a `tfgen.bijectors.Transformer`.
    """
    from tfgen import bijectors

    is_mapping = isinstance(specification, Mapping)
    check_argument(is_mapping, "transformer", "a specification, a mapping", specification)
    made = build(bijectors, specification)
    is_transformer = isinstance(made, Transformer)
    check_argument(is_transformer, "transformer", "that of a Transformer", type(made).__name__)
    return made


def _softly_bounded(x: tf.Tensor, bound: float) -> tf.Tensor:
    """In (-bound, bound), with derivative 1 at 0."""
    return bound * tf.tanh(x / bound)
