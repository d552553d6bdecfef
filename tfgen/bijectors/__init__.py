"""Bijectors: invertible layers, and the plain `tfb.Bijector`s between them."""

from tfgen import needs_tensorflow as needs_tensorflow
from tfgen.bijectors.actnorm import ActNorm
from tfgen.bijectors.batch_norm import BatchNorm, batch_statistics
from tfgen.bijectors.bijector import Bijector, Chain, Fixed, Invert
from tfgen.bijectors.coupling import (
    ChannelCoupling,
    CheckerboardCoupling,
    Coupling,
    OnFirstHalf,
    VectorCoupling,
)
from tfgen.bijectors.dequantization import (
    Dequantization,
    UniformDequantization,
    VariationalDequantization,
)
from tfgen.bijectors.invertible_conv import InvertibleConv1x1
from tfgen.bijectors.logit import Logit
from tfgen.bijectors.masked_autoregressive import MaskedAutoregressive
from tfgen.bijectors.recompute import Recompute
from tfgen.bijectors.scaling import DiagonalScaling, LearnedGaussian
from tfgen.bijectors.squeeze import OrderedSqueeze, Squeeze
from tfgen.bijectors.transformer import (
    AdditiveTransformer,
    AffineTransformer,
    GatedTransformer,
    LocationScaleTransformer,
    RationalQuadraticSplineTransformer,
    SigmoidTransformer,
    Transformer,
)

__all__ = [
    "ActNorm",
    "AdditiveTransformer",
    "AffineTransformer",
    "BatchNorm",
    "Bijector",
    "Chain",
    "ChannelCoupling",
    "CheckerboardCoupling",
    "Coupling",
    "Dequantization",
    "DiagonalScaling",
    "Fixed",
    "GatedTransformer",
    "Invert",
    "InvertibleConv1x1",
    "LearnedGaussian",
    "LocationScaleTransformer",
    "Logit",
    "MaskedAutoregressive",
    "OnFirstHalf",
    "OrderedSqueeze",
    "RationalQuadraticSplineTransformer",
    "Recompute",
    "SigmoidTransformer",
    "Squeeze",
    "Transformer",
    "UniformDequantization",
    "VariationalDequantization",
    "VectorCoupling",
    "batch_statistics",
]
