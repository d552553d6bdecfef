"""Masked autoregressive flows."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.bijectors.actnorm import ActNorm
from tfgen.bijectors.batch_norm import BatchNorm
from tfgen.bijectors.bijector import Bijector, Chain, Fixed, Invert
from tfgen.bijectors.logit import Logit
from tfgen.bijectors.masked_autoregressive import MaskedAutoregressive
from tfgen.bijectors.transformer import new_transformer
from tfgen.checks import check_integer, check_one_of
from tfgen.distributions.model_distribution import ModelDistribution
from tfgen.layers.masked_dense import MaskedMLP
from tfgen.models.autoregressive.made import MADE
from tfgen.models.flow.base import Flow
from tfgen.models.generative_model import compiled_sampler

tfb, tfd = tfp.bijectors, tfp.distributions

NORMALIZATIONS = {"actnorm": ActNorm, "batch_norm": BatchNorm}


class MAF(Flow):
    """Masked autoregressive flow [1]: each layer's inputs are the noise of the layer before it.

    `[B, D]`, or images as vectors of their D values in raster order. From data to latent:
    dequantisation and logit (integers only), a standardisation of every value, then num_layers of

        u_i = (x_i - m_i(x before i)) exp(-a_i(x before i)),    normalisation of every value,

    with m and a of all values from one pass of a `MaskedMLP`; the order of the values is the
    natural one in the first layer and is reversed after each. The latent has the shape of x, its
    base is N(0, I) or, with `num_mixtures`, a `MADE` whose conditionals are mixtures of Gaussians,
    trained with the layers: "MAF MoG" of [1]. With no layers this is their "MADE MoG", for images
    too. Features or one-hot labels enter every network, unmasked.

    A density costs one pass of each network, and so does a sample: each layer runs its network
    value by value, every unit once (`MaskedAutoregressive`).

    Normalisation: by default activation normalisations [2], whose density of a batch is the density
    of its rows, with no statistics to recompute. `normalization="batch_norm"` is the paper's; see
    `BatchNorm` for training and evaluation. The standardisation before the first layer is an
    activation normalisation in any case: [1] standardises the data by hand.

    Departs from [1] besides: a is softly bounded (`LocationScaleTransformer`); conditions also
    reach the outputs, else the first value could not depend on them.

    Args:
        event_shape: `[D]`, `[H, W, C]` or any other.
        num_layers: autoregressive layers; 0 with `num_mixtures` only.
        hidden: units of each hidden layer.
        activation: a Keras activation.
        transformer: the elementwise map of every layer, the specification of a
            `tfgen.bijectors.Transformer`, e.g. `{"type": "RationalQuadraticSplineTransformer"}`;
            `LocationScaleTransformer` by default.
        normalization: "actnorm" or "batch_norm".
        num_mixtures: Gaussians in the base's mixture of each value, or None for N(0, I).
        degrees: of the hidden units, "sequential" or, as in [1] where there are more values than
            units, "random".
        alpha: of the logit; integer data only.

    Raises:
        ValueError: an argument outside its range.

    [1] Papamakarios, Pavlakou, Murray. Masked Autoregressive Flow for Density Estimation. NeurIPS
        2017. arXiv:1705.07057
    [2] Kingma, Dhariwal. Glow: generative flow with invertible 1x1 convolutions. NeurIPS 2018.
        arXiv:1807.03039
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int | None = None,
        num_layers: int = 5,
        hidden: Sequence[int] = (512, 512),
        activation: str = "relu",
        transformer: Any = None,
        normalization: str = "actnorm",
        num_mixtures: int | None = None,
        degrees: str = "sequential",
        alpha: float = 0.05,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels=num_levels, **kwargs)
        minimum = 1 if num_mixtures is None else 0
        check_integer("num_layers", num_layers, minimum=minimum)
        check_one_of("normalization", normalization, tuple(NORMALIZATIONS))
        condition_size = self.num_classes or self.num_features or 0
        network_arguments: dict[str, Any] = {
            "activation": activation,
            "degrees": degrees,
            "kernel_initializer": "glorot_uniform" if activation == "tanh" else "he_normal",
        }

        steps: list[Bijector] = []
        rank = len(self.event_shape)
        if num_levels is not None:
            steps.append(Fixed(Logit(alpha), rank))
        to_vectors, back = (tfb.Reshape(self.event_shape, [self.num_dims]) for _ in range(2))
        # Vectors: normalisations are of every value, not of the channels of an image.
        steps += [Fixed(to_vectors, rank), ActNorm()]
        for layer in range(num_layers):
            elementwise = new_transformer(transformer or {"type": "LocationScaleTransformer"})
            network = MaskedMLP(
                self.num_dims,
                elementwise.num_parameters,
                hidden,
                order=self._order(layer),
                mask_seed=layer,
                condition_size=condition_size,
                **network_arguments,
            )
            steps += [MaskedAutoregressive(network, elementwise), NORMALIZATIONS[normalization]()]
        self.bijector = Chain([*steps, Invert(Fixed(back, rank))])

        self.mixture: MADE | None = None
        if num_mixtures is not None:
            self.mixture = MADE(
                self.event_shape,
                hidden=hidden,
                likelihood={"type": "GaussianMixture", "num_mixtures": num_mixtures},
                order=self._order(num_layers),
                mask_seed=num_layers,
                num_features=condition_size or None,
                **network_arguments,
            )

    @staticmethod
    def _order(layer: int) -> str:
        return "reversed" if layer % 2 else "natural"

    def base(self, condition: Any = None) -> tfd.Distribution:
        """p(z): N(0, I), or the mixture of Gaussians given by the last network."""
        if self.mixture is None:
            return super().base(condition)
        return ModelDistribution(self.mixture, condition)

    def _draw_latent(
        self, num_samples: Any, condition: Any, seed: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        if self.mixture is None:
            return super()._draw_latent(num_samples, condition, seed, temperature)
        return self.mixture.sample(num_samples, condition, seed, temperature=temperature)

    def initialize(self, x: Any, y: Any = None) -> None:
        super().initialize(x, y)
        if self.mixture is not None:
            condition = self.condition(y, len(x))
            self.mixture.initialize(self.encode(x, y, seed=0), condition)

    def _decode(self, z: tf.Tensor, condition: Any) -> tf.Tensor:
        # The loop over the values, operation by operation, would take most of its time in Python.
        if tf.executing_eagerly():
            return self._compiled_decode(z, condition)
        return super()._decode(z, condition)

    @tf.function(jit_compile=True)
    def _compiled_decode(self, z: tf.Tensor, condition: Any) -> tf.Tensor:
        return Flow._decode(self, z, condition)

    def signatures(self) -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[Any]]]:
        """Besides those of all flows `sample_xla`, compiled at a server's first request."""
        signatures = super().signatures()
        return {**signatures, **compiled_sampler(signatures)}
