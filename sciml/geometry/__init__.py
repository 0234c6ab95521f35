"""Domains with named boundaries, signed distances and masks.

Signed distance convention: positive inside the fluid, zero on its boundary, negative outside. Coordinates run x, y, z;
arrays run z, y, x.
"""

from __future__ import annotations

from sciml.geometry._boundary import AXES, SIDES, Boundary
from sciml.geometry._curves import Arc, Curve, Line
from sciml.geometry._lines import faces_of, resample_nodal
from sciml.geometry._region import Difference, Geometry, Intersection, Union
from sciml.geometry._shapes import Box, Disc, Polygon

__all__ = [
    "AXES", "SIDES", "Arc", "Boundary", "Box", "Curve", "Difference", "Disc", "Geometry", "Intersection", "Line",
    "Polygon", "Union",
    "faces_of", "resample_nodal",
]  # fmt: skip
