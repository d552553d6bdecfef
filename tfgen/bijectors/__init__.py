"""Bijectors: invertible layers, and the plain `tfb.Bijector`s between them."""

from tfgen.bijectors.actnorm import ActNorm
from tfgen.bijectors.bijector import Bijector, Chain, Fixed, Invert
from tfgen.bijectors.coupling import (
    ChannelCoupling,
    CheckerboardCoupling,
    Coupling,
    OnFirstHalf,
    VectorCoupling,
)
from tfgen.bijectors.dequantization import UniformDequantization
from tfgen.bijectors.logit import Logit
from tfgen.bijectors.squeeze import OrderedSqueeze, Squeeze
from tfgen.bijectors.transformer import AdditiveTransformer, AffineTransformer, Transformer

__all__ = [
    "ActNorm",
    "AdditiveTransformer",
    "AffineTransformer",
    "Bijector",
    "Chain",
    "ChannelCoupling",
    "CheckerboardCoupling",
    "Coupling",
    "Fixed",
    "Invert",
    "Logit",
    "OnFirstHalf",
    "OrderedSqueeze",
    "Squeeze",
    "Transformer",
    "UniformDequantization",
    "VectorCoupling",
]
