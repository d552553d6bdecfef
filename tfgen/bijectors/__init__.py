"""Bijectors: invertible layers, and the plain `tfb.Bijector`s between them."""

from tfgen.bijectors.bijector import Bijector, Chain, Fixed, Invert
from tfgen.bijectors.dequantization import UniformDequantization

__all__ = ["Bijector", "Chain", "Fixed", "Invert", "UniformDequantization"]
