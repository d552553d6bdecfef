"""Layers that networks of several models are made of."""

from tfgen.layers.masked_conv import MaskedConv2D, causal_mask, channel_groups

__all__ = ["MaskedConv2D", "causal_mask", "channel_groups"]
