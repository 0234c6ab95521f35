"""Which layouts there are, and what reads them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sciml.errors import InputError, suggest

if TYPE_CHECKING:
    from sciml.data.importers._layout import Layout

#: layout -> module and class that read it; of two that are equally sure the first one counts
LAYOUTS: Mapping[str, tuple[str, str]] = {
    "cfdbench": ("_published", "CFDBench"),
    "deepcfd": ("_published", "DeepCFD"),
    "comsol": ("_published", "Comsol"),
    "meshgraphnets": ("meshgraphnets", "MeshGraphNets"),
    "pdebench": ("pdebench", "PDEBench"),
    "the_well": ("the_well", "TheWell"),
    "lagrangebench": ("lagrangebench", "LagrangeBench"),
    "netcdf": ("netcdf", "NetCDF"),
    "arrays": ("_arrays", "Arrays"),
    "table": ("_tables", "Tables"),
    "vtk": ("vtk_files", "VTK"),
    "openfoam": ("openfoam", "OpenFOAM"),
    "ensight": ("ensight", "EnSight"),
    "piv": ("piv", "PIV"),
}


def get(name: str) -> Layout:
    """A layout by its name.

    Raises:
        InputError: no such layout.
    """
    if name not in LAYOUTS:
        raise InputError(f"format: no layout is called {name!r}{suggest(name, LAYOUTS)}")
    module, cls = LAYOUTS[name]
    return getattr(importlib.import_module(f"sciml.data.importers.{module}"), cls)()
