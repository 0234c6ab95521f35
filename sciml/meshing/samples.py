"""What movers learn from: meshes and monitors, with no labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull

from sciml.errors import InputError
from sciml.geometry import Box, Geometry, Polygon
from sciml.meshes import triangulate
from sciml.meshing._settings import check_positive, check_steps
from sciml.meshing.fields import Gaussians

Nodes = tuple[np.ndarray, np.ndarray]  # and cells


@dataclass(frozen=True)
class Sample:
    """A mesh that is to be moved.

    Args:
        points, cells: as `MeshMover.move` takes them.
        monitor: m, a function of points; or its values at the nodes.
        field: u whose monitor it is, where one is known, with `gradient` and `hessian`.
    """

    points: np.ndarray
    cells: np.ndarray
    monitor: Any
    field: Any = None


def squares(rng: np.random.Generator, count: int, low: float = 12, high: float = 26) -> list[Nodes]:
    """Meshes of the unit square of `low` to `high` cells along a side: half of them rows of squares that are cut along
    one diagonal or the other, half unstructured."""
    found = []
    for i in range(count):
        n = rng.uniform(low, high)
        found.append(rows(round(n), bool(rng.integers(2))) if i % 2 else meshed(Box((0.0, 0.0), (1.0, 1.0)), 1 / n))
    return found


def polygons(
    rng: np.random.Generator, count: int, low: float = 12, high: float = 26, convex: bool = False
) -> list[Nodes]:
    """Meshes of random polygons, see `polygon`, with cells whose side is their size over `low` to `high`."""
    found = []
    while len(found) < count:
        shape = polygon(rng, convex)
        size = max(b - a for a, b in shape.extents)
        found.append(meshed(shape, size / rng.uniform(low, high)))
    return found


def polygon(rng: np.random.Generator, convex: bool = False) -> Polygon:
    """A polygon of 5 to 9 corners around ½: on a circle where it is to be convex, else at distances that differ by up
    to a factor of three, drawn until it lacks a twentieth of its convex hull or more."""
    while True:
        corners = int(rng.integers(5, 10))
        share = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) / corners
        radius = np.full(corners, 0.5) if convex else rng.uniform(0.18, 0.5, corners)
        angle = 2 * np.pi * (share + rng.uniform())
        places = 0.5 + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        found = Polygon(tuple((float(x), float(y)) for x, y in places))
        if convex or abs(found.area) < 0.95 * float(ConvexHull(places).volume):
            return found


def rows(n: int, other: bool = False) -> Nodes:
    """(n + 1)² nodes of the unit square in rows, each square cut along one diagonal or the other."""
    x = np.linspace(0, 1, n + 1)
    points = np.stack([g.ravel() for g in np.meshgrid(x, x)], 1)
    i = np.arange((n + 1) ** 2).reshape(n + 1, n + 1)
    a, b, c, d = i[:-1, :-1].ravel(), i[:-1, 1:].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel()
    pairs = ((a, b, d), (a, d, c)) if other else ((a, b, c), (b, d, c))
    return points, np.concatenate([np.stack(p, 1) for p in pairs])


def meshed(shape: Geometry, size: float) -> Nodes:
    """An unstructured mesh of triangles with sides of about `size`."""
    mesh: Any = triangulate(shape, size)
    return np.asarray(mesh.points()), mesh.simplices()


def exact_hessian(field: Any, points: np.ndarray, strength: float = 5.0) -> Callable[[np.ndarray], np.ndarray]:
    """m = 1 + strength ‖∇∇u‖/max ‖∇∇u‖ as a function, the largest value being that at the nodes of a mesh.

    Raises:
        InputError: a field with no curvature there.
    """
    check_positive("monitor", strength=strength)

    def size(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(field.hessian(x), axis=(1, 2))

    top = float(size(points).max())
    if top <= 0:
        raise InputError("field: has no curvature at the nodes, expected one that a mesh can be moved for")
    return lambda x: 1 + strength * size(x) / top


def bumps(
    meshes: Sequence[Nodes], rng: np.random.Generator, each: int = 1, strength: float = 5.0,
    kind: Any = Gaussians, **settings: Any,
) -> list[Sample]:  # fmt: skip
    """`each` random fields, see `drawn` of `Gaussians` or of another `kind`, on every mesh, monitored by their exact
    curvature."""
    check_steps("bumps", each=each)
    found = []
    for points, cells in meshes:
        for _ in range(each):
            u = kind.drawn(rng, points.min(0), points.max(0), **settings)
            found.append(Sample(points, cells, exact_hessian(u, points, strength), u))
    return found
