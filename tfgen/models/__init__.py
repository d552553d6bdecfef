"""The index of models, grouped by family."""

from tfgen import needs_tensorflow as needs_tensorflow
from tfgen.models.autoregressive.base import AutoregressiveModel
from tfgen.models.autoregressive.gated_pixelcnn import GatedPixelCNN
from tfgen.models.autoregressive.made import MADE
from tfgen.models.autoregressive.pixelcnn import PixelCNN
from tfgen.models.autoregressive.pixelcnn_pp import PixelCNNPP
from tfgen.models.autoregressive.pixelrnn import PixelRNN
from tfgen.models.autoregressive.wavenet import WaveNet
from tfgen.models.causal.classifier import Classifier
from tfgen.models.causal.csg import CSG
from tfgen.models.causal.lacim import LaCIM
from tfgen.models.flow.base import Flow
from tfgen.models.flow.glow import Glow
from tfgen.models.flow.maf import MAF
from tfgen.models.flow.nice import NICE
from tfgen.models.flow.realnvp import RealNVP
from tfgen.models.generative_model import GenerativeModel
from tfgen.models.latent.base import LatentVariableModel, Terms
from tfgen.models.latent.resnet_iaf_vae import ResNetIAFVAE
from tfgen.models.latent.vae import VAE

__all__ = [
    "CSG",
    "MADE",
    "MAF",
    "NICE",
    "VAE",
    "AutoregressiveModel",
    "Classifier",
    "Flow",
    "GatedPixelCNN",
    "GenerativeModel",
    "Glow",
    "LaCIM",
    "LatentVariableModel",
    "PixelCNN",
    "PixelCNNPP",
    "PixelRNN",
    "RealNVP",
    "ResNetIAFVAE",
    "Terms",
    "WaveNet",
]
