"""Layers that networks of several models are made of."""

from tfgen.layers import nets
from tfgen.layers.masked_conv import MaskedConv2D, causal_mask, channel_groups
from tfgen.layers.nets import MLP, ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "MLPDecoder",
    "MLPEncoder",
    "MaskedConv2D",
    "causal_mask",
    "channel_groups",
    "nets",
]
