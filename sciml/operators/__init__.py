"""Learnable maps between fields: plain torch modules, tensors in and out."""

from sciml.operators._spectral import SpectralConv
from sciml.operators.deeponet import DeepONet
from sciml.operators.fno import FNO
from sciml.operators.identity import Identity
from sciml.operators.neuraloperator import from_neuraloperator
from sciml.operators.unet import UNet

__all__ = ["FNO", "DeepONet", "Identity", "SpectralConv", "UNet", "from_neuraloperator"]
