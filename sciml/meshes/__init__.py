"""Unstructured meshes: made of a region, read from and written to files."""

from __future__ import annotations

from sciml.meshes._gmsh import gmsh
from sciml.meshes.files import read, read_values, write
from sciml.meshes.triangulation import triangulate

__all__ = ["gmsh", "read", "read_values", "triangulate", "write"]
