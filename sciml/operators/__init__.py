"""Learnable maps between fields: plain torch modules, tensors in and out.

Every file of this folder registers its own.
"""

import importlib
import pkgutil

from sciml.operators._spectral import SpectralConv
from sciml.operators.auto_deeponet import AutoDeepONet
from sciml.operators.auto_deeponetcnn import AutoDeepONetCNN
from sciml.operators.auto_edeeponet import AutoEDeepONet
from sciml.operators.auto_ffn import AutoFFN
from sciml.operators.continuous_from_sparse import ContinuousFromSparse
from sciml.operators.convergent_graph import ConvergentGraph
from sciml.operators.deeponet import DeepONet
from sciml.operators.factformer import FactFormer
from sciml.operators.ffn import FFN
from sciml.operators.flare import FLARE
from sciml.operators.fno import FNO
from sciml.operators.galerkin_transformer import GalerkinTransformer
from sciml.operators.giorom import GIOROM
from sciml.operators.gnot import GNOT
from sciml.operators.gns import GNS
from sciml.operators.grid_particle import GridParticle
from sciml.operators.identity import Identity
from sciml.operators.ifactformer import IFactFormer
from sciml.operators.ifno import IFNO
from sciml.operators.meshgraphnet import MeshGraphNet
from sciml.operators.moving_mesh import MovingMeshOperator
from sciml.operators.neural_stagger import NeuralStagger
from sciml.operators.neuraloperator import from_neuraloperator
from sciml.operators.piorf import PIORF
from sciml.operators.point_transformer import PointTransformer
from sciml.operators.prosefd import PROSEFD
from sciml.operators.resnet import ResNet
from sciml.operators.spacetime_fno import SpaceTimeFNO
from sciml.operators.transformer import Transformer
from sciml.operators.transolver import Transolver
from sciml.operators.unet import UNet
from sciml.operators.unet_2015 import UNet2015
from sciml.operators.unetex import UNetEx

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "FFN",
    "FLARE",
    "FNO",
    "GIOROM",
    "GNOT",
    "GNS",
    "IFNO",
    "PIORF",
    "PROSEFD",
    "AutoDeepONet",
    "AutoDeepONetCNN",
    "AutoEDeepONet",
    "AutoFFN",
    "ContinuousFromSparse",
    "ConvergentGraph",
    "DeepONet",
    "FactFormer",
    "GalerkinTransformer",
    "GridParticle",
    "IFactFormer",
    "Identity",
    "MeshGraphNet",
    "MovingMeshOperator",
    "NeuralStagger",
    "PointTransformer",
    "ResNet",
    "SpaceTimeFNO",
    "SpectralConv",
    "Transformer",
    "Transolver",
    "UNet",
    "UNet2015",
    "UNetEx",
    "from_neuraloperator",
]
