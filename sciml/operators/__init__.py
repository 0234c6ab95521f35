"""Learnable maps between fields: plain torch modules, tensors in and out.

Every file of this folder registers its own.
"""

import importlib
import pkgutil

from sciml.operators._spectral import SpectralConv
from sciml.operators.deeponet import DeepONet
from sciml.operators.fno import FNO
from sciml.operators.identity import Identity
from sciml.operators.neuraloperator import from_neuraloperator
from sciml.operators.unet import UNet

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["FNO", "DeepONet", "Identity", "SpectralConv", "UNet", "from_neuraloperator"]
