"""Movers of meshes: where the nodes of a mesh should be, its cells staying as they are.

A mover takes a mesh and a monitor m > 0, which is large where cells should be small, and gives the nodes new places:

    points, info = MongeAmpere().move(points, cells, monitor=m)

Nodes on the boundary slide along straight pieces of it, corners stay, and no cell is turned over, whatever the mover
is.
"""

from sciml.meshing.equidistribution import Equidistribution
from sciml.meshing.monge_ampere import MongeAmpere
from sciml.meshing.monitors import gradient, hessian, optimal
from sciml.meshing.mover import Info, MeshMover
from sciml.meshing.springs import Springs

__all__ = ["Equidistribution", "Info", "MeshMover", "MongeAmpere", "Springs", "gradient", "hessian", "optimal"]
