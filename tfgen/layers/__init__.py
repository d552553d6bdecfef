"""Layers that networks of several models are made of."""

from tfgen.layers import nets
from tfgen.layers.causal_conv1d import CausalConv1D
from tfgen.layers.diagonal_lstm import DiagonalBiLSTM
from tfgen.layers.edge_conv import ActNormConv2D, EdgeConv2D, ZeroConv2D
from tfgen.layers.masked_conv import MaskedConv2D, causal_mask, channel_groups
from tfgen.layers.masked_dense import IncrementalPass, MaskedDense, MaskedMLP
from tfgen.layers.nets import MLP, ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from tfgen.layers.residual_network import ResidualBlock, ResidualNetwork
from tfgen.layers.resnet_nets import ResNetDecoder, ResNetEncoder
from tfgen.layers.row_lstm import RowLSTM
from tfgen.layers.weight_norm import (
    ShiftedConv2D,
    ShiftedConv2DTranspose,
    WeightNorm,
    WeightNormConv2D,
    WeightNormDense,
    WeightNormMaskedConv2D,
)

__all__ = [
    "MLP",
    "ActNormConv2D",
    "CausalConv1D",
    "ConvDecoder",
    "ConvEncoder",
    "DiagonalBiLSTM",
    "EdgeConv2D",
    "IncrementalPass",
    "MLPDecoder",
    "MLPEncoder",
    "MaskedConv2D",
    "MaskedDense",
    "MaskedMLP",
    "ResNetDecoder",
    "ResNetEncoder",
    "ResidualBlock",
    "ResidualNetwork",
    "RowLSTM",
    "ShiftedConv2D",
    "ShiftedConv2DTranspose",
    "WeightNorm",
    "WeightNormConv2D",
    "WeightNormDense",
    "WeightNormMaskedConv2D",
    "ZeroConv2D",
    "causal_mask",
    "channel_groups",
    "nets",
]
