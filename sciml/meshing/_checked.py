"""What movers are given, checked: meshes, monitors, numbers of nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from sciml.errors import InputError
from sciml.meshing._simplices import Cells, Points, contents


def checked_mesh(points: Any, cells: Any) -> tuple[Points, Cells]:
    """A mesh in float64 and int64.

    Raises:
        InputError: anything but valid intervals or triangles whose nodes all belong to a cell.
    """
    places = numbers_of("points", points)
    if places.ndim != 2 or places.shape[1] not in (1, 2) or not len(places):
        raise InputError(f"points: expected (N, 1) or (N, 2), got {places.shape}")
    if not np.isfinite(places).all():
        raise InputError(f"points: node {int(np.flatnonzero(~np.isfinite(places).all(1))[0])} is not finite")
    numbers = array_of("cells", cells)
    corners = places.shape[1] + 1
    if numbers.ndim != 2 or numbers.shape[1] != corners or numbers.dtype.kind not in "iu" or not len(numbers):
        raise InputError(f"cells: expected node numbers (C, {corners}), got {numbers.dtype} {numbers.shape}")
    numbers = numbers.astype(np.int64)
    if numbers.min() < 0 or numbers.max() >= len(places):
        raise InputError(
            f"cells: node numbers from {numbers.min()} to {numbers.max()}, expected 0 to {len(places) - 1}"
        )
    found = contents(places, numbers)
    wrong = np.flatnonzero(found <= 0)
    if len(wrong):
        raise InputError(
            f"cells: cell {wrong[0]} (nodes {numbers[wrong[0]].tolist()}) is inverted or flat ({len(wrong)} such); "
            "triangles run anticlockwise, intervals from left to right"
        )
    lonely = np.flatnonzero(np.bincount(numbers.ravel(), minlength=len(places)) == 0)
    if len(lonely):
        raise InputError(f"points: node {lonely[0]} belongs to no cell ({len(lonely)} such)")
    return places, numbers


def array_of(name: str, given: Any) -> np.ndarray:
    """An array.

    Raises:
        InputError: names the argument that is none.
    """
    values: Any = given
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected an array, got {given!r:.60} ({error})") from None


def numbers_of(name: str, given: Any) -> np.ndarray:
    """A copy in float64.

    Raises:
        InputError: names the argument that holds no real numbers.
    """
    found = array_of(name, given)
    if found.dtype.kind not in "biuf":
        raise InputError(f"{name}: expected real numbers, got {found.dtype} {found.shape}")
    return np.array(found, np.float64)


def checked_nodes(boundary: Any, count: int) -> np.ndarray:
    nodes = array_of("boundary", boundary)
    if nodes.ndim != 1 or (nodes.size and nodes.dtype.kind not in "iu"):
        raise InputError(f"boundary: expected node numbers, got {nodes.dtype} {nodes.shape}")
    if nodes.size and (nodes.min() < 0 or nodes.max() >= count):
        raise InputError(f"boundary: node numbers from {nodes.min()} to {nodes.max()}, expected 0 to {count - 1}")
    return nodes.astype(np.int64)


def checked_monitor(values: Any, count: int) -> Float[np.ndarray, " point"]:
    found = numbers_of("monitor", values)
    if found.shape != (count,):
        raise InputError(f"monitor: expected a value for each of {count} points, got the shape {found.shape}")
    wrong = np.flatnonzero(~(np.isfinite(found) & (found > 0)))
    if len(wrong):
        raise InputError(
            f"monitor: expected positive, finite values, got {found[wrong[0]]} at point {wrong[0]}, one of {len(wrong)}"
        )
    return found
