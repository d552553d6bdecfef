"""Real NVP."""

from collections.abc import Sequence
from typing import Any

from tfgen.bijectors.actnorm import ActNorm
from tfgen.bijectors.bijector import Bijector, Chain, Fixed, Invert
from tfgen.bijectors.coupling import (
    ChannelCoupling,
    CheckerboardCoupling,
    OnFirstHalf,
    VectorCoupling,
)
from tfgen.bijectors.logit import Logit
from tfgen.bijectors.squeeze import OrderedSqueeze, Squeeze
from tfgen.bijectors.transformer import new_transformer
from tfgen.checks import check_argument, check_integer
from tfgen.layers.residual_network import ResidualNetwork
from tfgen.models.flow.base import Flow


class RealNVP(Flow):
    """Real-valued non-volume-preserving flow [1]: affine couplings, multi-scale for images.

    Images `[B, H, W, C]`, from data to latent: dequantisation and logit (integers only), then at
    scale i, with networks of width w = filters * 2^i,

        num_couplings checkerboard couplings of width w, squeeze, num_couplings channel couplings of
        width 2w, unsqueeze; the even checkerboard goes on to scale i + 1 at half the resolution,
        the odd one is latent; the last scale has num_couplings + 1 checkerboard couplings and
        nothing else.

    The latent has the shape of x, its base is N(0, I). Vectors `[B, D]`: num_couplings + 1
    couplings that change the odd and the even entries in turn.

    Normalisation: an activation normalisation [2] before every coupling, and no batch normalisation
    anywhere. Its data-dependent start makes preprocessing of tables unnecessary. The density of a
    batch is therefore the density of its rows, training and evaluation compute the same function,
    and there are no running statistics that could lag behind the weights: the evaluation cannot
    explode, as it does in implementations with batch normalisation.

    Departs from [1] besides: networks sum no skip connections, see a learned map of the position
    and start at zero, so that every coupling starts as the identity; log-scales are bounded as in
    the released code (`AffineTransformer`); no L2 penalty.

    Args:
        event_shape: `[H, W, C]` or `[D]`, D >= 2.
        num_scales: resolutions; H and W must be divisible by 2^(num_scales - 1). Default 2 for
            images; vectors have 1.
        num_couplings: couplings of one kind at one scale.
        filters: width of the networks at the first scale.
        num_blocks: residual blocks of each network.
        patch_size: networks of checkerboard couplings work on patches of this size, wherever it
            divides the height and width; 1 is the paper's, 2 quarters the cost of a given width.
        alpha: of the logit; integer data only.
        bound: initial bound of the log-scales.
        activation: of the networks.
        transformer: the elementwise map of every coupling, the specification of a
            `tfgen.bijectors.Transformer`, e.g. `{"type": "RationalQuadraticSplineTransformer"}`;
            by default an `AffineTransformer` with `bound`.

    Raises:
        ValueError: an argument outside its range; a shape that cannot be divided as often.

    [1] Dinh, Sohl-Dickstein, Bengio. Density estimation using Real NVP. ICLR 2017. arXiv:1605.08803
    [2] Kingma, Dhariwal. Glow: generative flow with invertible 1x1 convolutions. NeurIPS 2018.
        arXiv:1807.03039
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int | None = None,
        num_scales: int | None = None,
        num_couplings: int = 3,
        filters: int = 32,
        num_blocks: int = 2,
        patch_size: int = 1,
        alpha: float = 0.05,
        bound: float = 1.0,
        activation: str = "relu",
        transformer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels=num_levels, **kwargs)
        check_integer("num_couplings", num_couplings, minimum=1)
        check_integer("patch_size", patch_size, minimum=1)
        self.num_couplings = num_couplings
        self.patch_size = patch_size
        default = {"type": "AffineTransformer", "bound": bound}
        self.transformer_specification = transformer or default
        self.network_arguments: dict[str, Any] = {
            "num_blocks": num_blocks,
            "activation": activation,
        }

        rank = len(self.event_shape)
        check_argument(rank in (1, 3), "event_shape", "[H, W, C] or [D]", list(self.event_shape))
        steps: list[Bijector] = []
        if num_levels is not None:
            steps.append(Fixed(Logit(alpha), rank))
        if rank == 1:
            steps += self._vector_steps(num_scales, filters)
        else:
            num_scales = 2 if num_scales is None else num_scales
            steps += self._image_steps(num_scales, filters)
        self.bijector = Chain(steps)

    def _vector_steps(self, num_scales: int | None, filters: int) -> list[Bijector]:
        (size,) = self.event_shape
        check_argument(size >= 2, "event_shape", "[D] with D >= 2", [size])
        check_argument(num_scales in (None, 1), "num_scales", "1 for vectors", num_scales)
        steps: list[Bijector] = []
        for i in range(self.num_couplings + 1):
            parts = self._parts(size, filters)
            steps += [ActNorm(), VectorCoupling(parity=(i + 1) % 2, **parts)]
        return steps

    def _image_steps(self, num_scales: int, filters: int) -> list[Bijector]:
        check_integer("num_scales", num_scales, minimum=1)
        height, width, _ = self.event_shape
        divisor = 2 ** (num_scales - 1)
        fits = height % divisor == 0 and width % divisor == 0
        check_argument(
            fits and (height // divisor) * (width // divisor) >= 2,
            "num_scales",
            f"such that 2^(num_scales - 1) divides {height} and {width}, leaving at least 2 pixels",
            num_scales,
        )
        return self._scales(self.event_shape, num_scales, filters)

    def _scales(self, shape: Sequence[int], num_scales: int, filters: int) -> list[Bijector]:
        """The steps of this scale and all that follow; they keep the shape."""
        height, width, channels = shape
        if num_scales == 1:
            return self._checkerboards(shape, self.num_couplings + 1, filters)
        rest = self._scales((height // 2, width // 2, 2 * channels), num_scales - 1, 2 * filters)
        return [
            *self._checkerboards(shape, self.num_couplings, filters),
            Fixed(Squeeze(), 3),
            *self._channel_halves(4 * channels, 2 * filters),
            Invert(Fixed(Squeeze(), 3)),
            Fixed(OrderedSqueeze(), 3),
            OnFirstHalf(Chain(rest)),
            Invert(Fixed(OrderedSqueeze(), 3)),
        ]

    def _checkerboards(self, shape: Sequence[int], number: int, filters: int) -> list[Bijector]:
        height, width, channels = shape
        fits = height % self.patch_size == 0 and width % self.patch_size == 0
        patch_size = self.patch_size if fits else 1
        steps: list[Bijector] = []
        for i in range(number):  # odd pixels change first, as in the released code
            parts = self._parts(channels, filters, patch_size=patch_size)
            steps += [ActNorm(), CheckerboardCoupling(parity=(i + 1) % 2, **parts)]
        return steps

    def _channel_halves(self, channels: int, filters: int) -> list[Bijector]:
        steps: list[Bijector] = []
        for i in range(self.num_couplings):  # the second half changes first
            parts = self._parts(channels // 2, filters)
            steps += [ActNorm(), ChannelCoupling(changed_half=(i + 1) % 2, **parts)]
        return steps

    def _parts(self, num_values: int, filters: int, **kwargs: Any) -> dict[str, Any]:
        """Of one coupling that changes `num_values` channels: its network and its transformer."""
        transformer = new_transformer(self.transformer_specification)
        num_outputs = transformer.num_parameters * num_values
        network = ResidualNetwork(num_outputs, filters, **self.network_arguments, **kwargs)
        return {"network": network, "transformer": transformer}
