"""An autoregressive network as the likelihood of a latent-variable model."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.build import build
from tfgen.checks import check_argument, check_integer
from tfgen.configurable import Configurable
from tfgen.distributions.model_distribution import ModelDistribution

tfd = tfp.distributions


class AutoregressiveLikelihood(Configurable, keras.Layer):
    """p(x | z) = prod_i p(x_i | h(z), x_<i), or of a network with a window, x_window(i) for x_<i.

    h, the decoder's output, is what a network of the autoregressive family is conditioned on: a map
    of features, one vector for each pixel, or one vector for all. It enters every layer, unmasked;
    x enters masked. What the network can model from x alone it need not be told by z: the wider its
    window, the less z holds, and with all of x_<i maximum likelihood may leave it empty [1].

    Calling the layer gives log p(x | z), `[B]`, of x and h: a likelihood for a functional model. In
    a `VAE`, draws of x take one pass of the decoder and one of the network, a position after the
    other. E[x | z] has no closed form: such a model does not decode to a mean, it draws from
    `model.likelihood(z)`.

    Args:
        event_shape: of one example; `(H, W, C)` for a map of features.
        num_levels: levels of the data.
        network: an autoregressive model or the specification of one of `tfgen.models`, without
            `event_shape`, `num_levels` and `num_features`.
        features_shape: of h, `(H, W, F)` or `(F,)`.

    Raises:
        ValueError: features of another shape; a network of other data or features.

    [1] Chen, Kingma, Salimans, Duan, Dhariwal, Schulman, Sutskever, Abbeel. Variational lossy
        autoencoder. ICLR 2017. arXiv:1611.02731
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int,
        network: Any,
        features_shape: Sequence[int],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        from tfgen import models  # which needs this package

        *places, num_features = features_shape
        check_integer("features_shape[-1]", num_features, minimum=1)
        allowed = f"(F,) or {(*event_shape[:2], 'F')}"
        fits = not places or (len(event_shape) == 3 and places == list(event_shape[:2]))
        check_argument(fits, "features_shape", allowed, tuple(features_shape))
        expected = {
            "event_shape": tuple(event_shape),
            "num_levels": num_levels,
            "num_features": num_features,
        }
        self.network = build(models, network, **expected)
        is_autoregressive = isinstance(self.network, models.AutoregressiveModel)
        kind = type(self.network).__name__
        check_argument(is_autoregressive, "network", "an autoregressive model", kind)
        given = {name: getattr(self.network, name) for name in expected}
        check_argument(given == expected, "network", f"one with {expected}", given)
        self.num_levels = num_levels
        self.features_shape = (*places, num_features)

    def build(self, x_shape: Any, features_shape: Any = None) -> None:
        """The network has its variables already."""

    def call(self, x: tf.Tensor, features: tf.Tensor, training: bool = False) -> tf.Tensor:
        """log p(x | h), nats, `[B]`; h `[B, *features_shape]`."""
        return self.distribution(features, self.network.event_shape, None, training).log_prob(x)

    def normalize(self, x: tf.Tensor, dtype: Any = "float32") -> tf.Tensor:
        """Data as a network's input."""
        return self.network.likelihood.normalize(x, dtype)

    def decoder_output_shape(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        """What a decoder must give for one example: h."""
        return self.features_shape

    def constant_shape(self, event_shape: Sequence[int]) -> None:
        return None

    def distribution(
        self,
        outputs: tf.Tensor,
        event_shape: Sequence[int],
        constant: None = None,
        training: bool = False,
    ) -> tfd.Distribution:
        """p(x | z) with event shape `event_shape`; `outputs` `[..., *features_shape]`."""
        return ModelDistribution(self.network, outputs, len(self.features_shape), training)

    def initialize(self, x: np.ndarray, event_shape: Sequence[int]) -> tuple[np.ndarray, None]:
        """Nothing is known of h from the data alone; a fresh network says what it starts from."""
        return np.zeros(self.features_shape), None

    def signatures(self, signatures: dict[str, tuple[Callable, list]]) -> dict[str, Any]:
        """Without `decode` and `reconstruct`, for want of a mean; with `sample_xla`, `sample` with
        the network's loop compiled at a server's first request."""
        sample, specs = signatures["sample"]

        def sample_xla(*arguments: tf.Tensor) -> dict[str, tf.Tensor]:
            with self.network.compiled_loop():
                return sample(*arguments)

        without = ("decode", "reconstruct")
        served = {name: value for name, value in signatures.items() if name not in without}
        return {**served, "sample_xla": (sample_xla, specs)}
