"""Meshes as supports: all kinds of cells, cells either way round, what is no mesh, many points."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.spatial import Delaunay

from sciml.errors import InputError
from sciml.support import Mesh

RNG = np.random.default_rng(3)


def cube(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of n³ cubes in the unit cube, bent so that faces stay plane, and their corners in VTK's order."""
    axis = np.linspace(0, 1, n + 1)
    z, y, x = np.meshgrid(axis**1.3, axis**0.8, axis, indexing="ij")
    number = np.arange((n + 1) ** 3).reshape((n + 1,) * 3)
    lower = [number[:-1, :-1, :-1], number[:-1, :-1, 1:], number[:-1, 1:, 1:], number[:-1, 1:, :-1]]
    upper = [number[1:, :-1, :-1], number[1:, :-1, 1:], number[1:, 1:, 1:], number[1:, 1:, :-1]]
    return np.stack([x, y, z], -1).reshape(-1, 3), np.stack([a.ravel() for a in lower + upper], 1)


def solid(kind: str, n: int = 3) -> Mesh:
    position, hexes = cube(n)
    if kind == "hexahedron":
        return Mesh(position, {kind: hexes})
    if kind == "prism":
        cells = np.concatenate([hexes[:, [0, 1, 2, 4, 5, 6]], hexes[:, [0, 2, 3, 4, 6, 7]]])
        return Mesh(position, {kind: cells})
    if kind == "tetrahedron":
        return Mesh(position, {kind: Delaunay(position).simplices.astype(int)})
    centre = len(position) + np.arange(len(hexes))
    faces = ([0, 1, 2, 3], [4, 7, 6, 5], [0, 4, 5, 1], [1, 5, 6, 2], [2, 6, 7, 3], [3, 7, 4, 0])
    cells = np.concatenate([np.column_stack([hexes[:, f], centre]) for f in faces])
    return Mesh(np.concatenate([position, position[hexes].mean(1)]), {"pyramid": cells})


SOLIDS = ["tetrahedron", "hexahedron", "prism", "pyramid"]


@pytest.mark.parametrize("kind", SOLIDS)
def test_volumes_and_linear_functions_in_space_are_exact(kind: str) -> None:
    mesh = solid(kind)
    slope = np.array([1.0, -2.0, 0.5])
    linear = mesh.position @ slope + 0.25
    assert mesh.weights().sum() == pytest.approx(1.0, rel=1e-12) and mesh.weights().min() > 0
    assert mesh.weights() @ linear == pytest.approx(slope.sum() / 2 + 0.25, rel=1e-12)
    where = RNG.random((500, 3))
    np.testing.assert_allclose(mesh.sample(linear, where), where @ slope + 0.25, atol=1e-10)


@pytest.mark.parametrize("kind", SOLIDS)
def test_cells_turned_inside_out_count_the_same(kind: str) -> None:
    mesh = solid(kind)
    mirror = {"tetrahedron": [1, 0, 2, 3], "hexahedron": [4, 5, 6, 7, 0, 1, 2, 3], "prism": [3, 4, 5, 0, 1, 2],
              "pyramid": [0, 3, 2, 1, 4]}[kind]  # fmt: skip
    cells = mesh.cells[kind].copy()
    cells[::2] = cells[::2][:, mirror]
    turned = Mesh(mesh.position, {kind: cells})
    assert turned.weights().min() > 0 and turned.weights().sum() == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("kind", SOLIDS[1:])
def test_the_tetrahedra_of_neighbours_fit_together(kind: str) -> None:
    """Each of their sides is one of two, or lies on the cube's surface; also where nodes are numbered at random."""
    made = solid(kind)
    number = RNG.permutation(made.size)
    position = np.empty_like(made.position)
    position[number] = made.position
    for mesh in (made, Mesh(position, {kind: number[made.cells[kind]]})):
        simplices = mesh.simplices()
        corners = mesh.position[simplices]
        assert np.linalg.det(corners[:, 1:] - corners[:, :1]).sum() == pytest.approx(6.0, rel=1e-12)
        sides = np.sort(np.concatenate([np.delete(simplices, k, axis=1) for k in range(4)]), axis=1)
        sides, count = np.unique(sides, axis=0, return_counts=True)
        assert count.max() == 2
        a, b, c = np.moveaxis(mesh.position[sides[count == 1]], 1, 0)
        assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(6.0, rel=1e-12)


def test_clockwise_triangles_count_the_same() -> None:
    points = RNG.random((200, 2))
    cells = Delaunay(points).simplices.astype(int)
    turned = cells.copy()
    turned[::2] = turned[::2, ::-1]
    one, other = Mesh(points, {"triangle": cells}), Mesh(points, {"triangle": turned})
    np.testing.assert_allclose(other.weights(), one.weights(), rtol=1e-12)
    where = RNG.random((100, 2))
    np.testing.assert_allclose(other.sample(points[:, 0], where), one.sample(points[:, 0], where), atol=1e-12)


def test_hexahedra_beside_tetrahedra_and_pyramids() -> None:
    """A cube of two, one half a hexahedron, the other pyramids and tetrahedra around a point."""
    position, (corners,) = cube(1)
    position = np.concatenate([position, position + np.array([1, 0, 0]), [[1.5, 0.5, 0.5]]])
    second = corners + 8
    apex = 16
    faces = ([0, 1, 2, 3], [4, 7, 6, 5], [0, 4, 5, 1], [1, 5, 6, 2])
    pyramids = np.array([[*second[list(f)], apex] for f in faces])
    quads = ([2, 6, 7, 3], [3, 7, 4, 0])
    tets = np.array([[*second[[f[0], *pair]], apex] for f in quads for pair in (f[1:3], f[2:4])])
    mesh = Mesh(position, {"hexahedron": corners[None], "pyramid": pyramids, "tetrahedron": tets})
    assert mesh.weights().sum() == pytest.approx(2.0, rel=1e-12)
    where = RNG.random((300, 3)) * [2, 1, 1]
    np.testing.assert_allclose(mesh.sample(position @ [1.0, 2.0, 3.0], where), where @ [1.0, 2.0, 3.0], atol=1e-10)


def test_a_quadrilateral_that_bends_in() -> None:
    for turn in range(4):
        corners = np.roll([(0, 0), (1, 0), (0.3, 0.3), (0, 1)], turn, axis=0)
        mesh = Mesh(corners, {"quadrilateral": np.array([[0, 1, 2, 3]])})
        assert mesh.weights().sum() == pytest.approx(0.3, rel=1e-12)


def test_nodes_without_cells_and_parts_apart_are_taken_as_they_are() -> None:
    position = np.array([[0, 0], [1, 0], [0, 1], [5, 5], [6, 5], [5, 6], [9, 9.0]])
    mesh = Mesh(position, {"triangle": np.array([[0, 1, 2], [3, 4, 5]])})
    np.testing.assert_allclose(mesh.weights(), [1 / 6] * 6 + [0])


@pytest.mark.parametrize(
    ("position", "cells", "words"),
    [
        (np.zeros((0, 2)), {"triangle": np.zeros((0, 3), int)}, "positions of shape"),
        (np.zeros((3, 4)), {"triangle": [[0, 1, 2]]}, "positions of shape"),
        ([[0, 0], [1, np.nan], [0, 1]], {"triangle": [[0, 1, 2]]}, "position 1 is not finite"),
        (RNG.random((4, 2)), {"tetrahedron": [[0, 1, 2, 3]]}, "more dimensions than 2"),
        (RNG.random((4, 2)), {"triangle": [[0, 1, 9]]}, "names node 9"),
        ([[0, 0], [1, 1], [2, 2.0]], {"triangle": [[0, 1, 2]]}, "no cell has a volume"),
        ([[0, 0], [1, 0], [1, 1], [0, 1.0]], {"quadrilateral": [[0, 2, 1, 3]]}, "quadrilateral 0 .* crosses itself"),
        (cube(1)[0], {"hexahedron": [np.arange(8)]}, "hexahedron 0 .* crosses itself"),
        (RNG.random((4, 2)), None, "cells: expected kind -> .* got NoneType"),
        (RNG.random((4, 2)), np.array([[0, 1, 2]]), "cells: expected kind -> .* got ndarray"),
        (RNG.random((4, 2)), {"triangle": [[0.0, 1.0, 2.0]]}, r"integers \(C, 3\), got float64 \(1, 3\)"),
    ],
)
def test_refuses(position: object, cells: dict, words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        Mesh(position, cells)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("d", [2, 3])
def test_many_points_are_found_fast(d: int) -> None:
    """Also those beyond the mesh, of which there are many here."""
    points = RNG.random((5000, d))
    mesh = Mesh(points, {("triangle", "tetrahedron")[d - 2]: Delaunay(points).simplices.astype(int)})
    where = 1.4 * RNG.random((100_000, d)) - 0.2
    start = time.process_time()
    stencil = mesh.stencil(where)
    assert time.process_time() - start < 20.0  # 0.6 s and 1.6 s alone on one core
    inner = (np.abs(where - 0.5) < 0.4).all(1)
    np.testing.assert_allclose(stencil(points.sum(1))[inner], where[inner].sum(1), atol=1e-10)
