"""Movers of meshes: where the nodes of a mesh should be, its cells staying as they are.

A mover takes a mesh and a monitor m > 0, which is large where cells should be small, and gives the nodes new places:

    points, info = MongeAmpere().move(points, cells, monitor=m)

Nodes on the boundary slide along straight pieces of it, and along circles where the geometry is given; corners stay,
and no cell is turned over, whatever the mover is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sciml.meshing.descent import ErrorDescent
from sciml.meshing.elastic import Elastic
from sciml.meshing.equidistribution import Equidistribution
from sciml.meshing.fields import Front, Gaussians, Ripples
from sciml.meshing.linear_elements import Errors, LinearElements
from sciml.meshing.monge_ampere import MongeAmpere
from sciml.meshing.monitors import arc_length, gradient, hessian, optimal
from sciml.meshing.mover import Info, MeshMover
from sciml.meshing.newton import NewtonMongeAmpere
from sciml.meshing.quality import aspect_ratio, cell_quality, folded
from sciml.meshing.samples import Sample
from sciml.meshing.springs import Springs

if TYPE_CHECKING:
    from sciml.meshing.adaptive import AdaptiveFiniteElements
    from sciml.meshing.dmm import DMM
    from sciml.meshing.local import LocalMover
    from sciml.meshing.moving import MovingMesh
    from sciml.meshing.um2n import UM2N

#: what needs torch, JAX or xarray is imported when it is asked for
_LATER: dict[str, str] = {
    "AdaptiveFiniteElements": "sciml.meshing.adaptive",
    "DMM": "sciml.meshing.dmm",
    "LocalMover": "sciml.meshing.local",
    "MovingMesh": "sciml.meshing.moving",
    "UM2N": "sciml.meshing.um2n",
}

__all__ = [
    "DMM",
    "UM2N",
    "AdaptiveFiniteElements",
    "Elastic",
    "Equidistribution",
    "ErrorDescent",
    "Errors",
    "Front",
    "Gaussians",
    "Info",
    "LinearElements",
    "LocalMover",
    "MeshMover",
    "MongeAmpere",
    "MovingMesh",
    "NewtonMongeAmpere",
    "Ripples",
    "Sample",
    "Springs",
    "arc_length",
    "aspect_ratio",
    "cell_quality",
    "folded",
    "gradient",
    "hessian",
    "optimal",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()})
