"""Triangulations of plane regions."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from sciml.errors import InputError
from sciml.geometry import Box, Disc, Geometry, Polygon
from sciml.meshes import triangulate
from sciml.support import Mesh

STAR = Polygon(tuple(((0.5 + 0.2 * (k % 2)) * c, (0.5 + 0.2 * (k % 2)) * s)
                     for k, (c, s) in enumerate(zip(np.cos(np.pi * np.arange(10) / 5),
                                                    np.sin(np.pi * np.arange(10) / 5), strict=True))))  # fmt: skip


def _naca(thickness: float = 0.12) -> Polygon:
    x = (1 - np.cos(np.linspace(0, np.pi, 60))) / 2
    y = 5 * thickness * (0.2969 * np.sqrt(x) - 0.126 * x - 0.3516 * x**2 + 0.2843 * x**3 - 0.1036 * x**4)
    return Polygon(tuple(zip([*x[::-1], *x[1:-1]], [*y[::-1], *-y[1:-1]], strict=True)))


CHANNEL = Box((0, 0), (2.2, 0.41)) - Disc((0.2, 0.2), 0.05)
REGIONS: dict[str, tuple[Geometry, float, float]] = {  # region, size, its area
    "square": (Box((0, 0), (1, 1)), 0.034, 1.0),
    "few": (Box((0, 0), (2, 1)), 0.6, 2.0),
    "channel": (CHANNEL, 0.03, 2.2 * 0.41 - np.pi * 0.05**2),
    "coarse channel": (CHANNEL, 0.1, 2.2 * 0.41 - np.pi * 0.05**2),
    "disc": (Disc((0, 0), 1.0), 0.06, np.pi),
    "step": (Box((0, 0), (6, 1)) - Box((0, 0), (1, 0.5)), 0.07, 5.5),
    "star": (STAR, 0.05, abs(STAR.area)),
    "around a star": (Box((-1, -1), (1, 1)) - STAR, 0.06, 4 - abs(STAR.area)),
    "aerofoil": (Box((-1, -1), (3, 1)) - _naca(), 0.1, 8 - abs(_naca().area)),
    "hole near a side": (Box((0, 0), (1, 1)) - Disc((0.2, 0.5), 0.18), 0.05, 1 - np.pi * 0.18**2),
    "united": (Box((0, 0), (1, 1)) | Disc((1, 0.5), 0.4), 0.05, 1 + np.pi * 0.08),
    "two holes": (
        (Box((0, 0), (2, 1)) - Disc((0.5, 0.5), 0.2)).without(Polygon(((1.2, 0.3), (1.6, 0.3), (1.4, 0.7))), "wedge"),
        0.05, 2 - np.pi * 0.04 - 0.08,
    ),
    "periodic": (Box((0, 0), (1, 1), (True, False)) - Disc((0.5, 0.5), 0.2), 0.05, 1 - np.pi * 0.04),
}  # fmt: skip


def _angles(mesh: Mesh) -> np.ndarray:
    p = mesh.position[mesh.cells["triangle"]]
    a, b = np.roll(p, -1, axis=1) - p, np.roll(p, 1, axis=1) - p
    return np.degrees(np.arccos((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)))


def _free(mesh: Mesh) -> np.ndarray:
    """Edges of one triangle only."""
    pairs = mesh.cells["triangle"][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    edges, count = np.unique(np.sort(pairs, axis=1), axis=0, return_counts=True)
    assert count.max() == 2
    return edges[count == 1]


@pytest.mark.parametrize("name", REGIONS)
def test_fills_the_region(name: str) -> None:
    region, size, area = REGIONS[name]
    mesh = triangulate(region, size)
    p, triangles = mesh.position, mesh.cells["triangle"]
    a, b = p[triangles[:, 1]] - p[triangles[:, 0]], p[triangles[:, 2]] - p[triangles[:, 0]]
    double = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    assert double.min() > 0  # anticlockwise
    np.testing.assert_array_equal(np.unique(triangles), np.arange(mesh.size))  # none without a cell
    edges = mesh.edges()
    joined = coo_matrix((np.ones(len(edges)), edges.T), shape=(mesh.size, mesh.size))
    assert connected_components(joined)[0] == 1
    assert _angles(mesh).min() >= 25.0
    assert _angles(mesh).min(1).mean() > 48.0
    length = np.linalg.norm(p[edges[:, 0]] - p[edges[:, 1]], axis=1)
    assert length.max() < 1.7 * size and np.median(length) < 1.2 * size
    # chords of curves: the area differs by less than what their sagittas leave
    free = _free(mesh)
    sides = length[np.isin(edges[:, 0] * mesh.size + edges[:, 1], free[:, 0] * mesh.size + free[:, 1])]
    assert abs(double.sum() / 2 - area) <= 0.1 * (np.pi / 8) * (sides**2).sum()


@pytest.mark.parametrize("name", REGIONS)
def test_boundary_nodes_lie_on_the_boundary(name: str) -> None:
    region, size, _ = REGIONS[name]
    mesh = triangulate(region, size)
    on = np.unique(_free(mesh))
    bounds = np.array(region.extents)
    box = np.minimum(mesh.position - bounds[:, 0], bounds[:, 1] - mesh.position).min(1)
    distance = np.minimum(np.asarray(region.signed_distance(mesh.position)), box)
    np.testing.assert_allclose(distance[on], 0.0, atol=1e-12)
    assert np.delete(distance, on).min() > 0.0
    np.testing.assert_array_equal(on, np.arange(len(on)))  # they come first


def test_polygons_without_curves_are_filled_exactly_and_keep_their_corners() -> None:
    region = Box((-1, -1), (1, 1)) - STAR
    mesh = triangulate(region, 0.06)
    np.testing.assert_allclose(mesh.weights().sum(), 4 - abs(STAR.area), rtol=1e-13)
    corners = np.array([*STAR.vertices, (-1, -1), (1, -1), (1, 1), (-1, 1)])
    away = np.linalg.norm(mesh.position[:, None] - corners, axis=-1).min(0)
    np.testing.assert_allclose(away, 0.0, atol=1e-13)


def test_corners_are_where_curves_meet() -> None:
    mesh = triangulate(Box((0, 0), (1, 1)) | Disc((1, 0.5), 0.4), 0.05)
    away = np.linalg.norm(mesh.position[:, None] - np.array([(1, 0.1), (1, 0.9)]), axis=-1).min(0)
    np.testing.assert_allclose(away, 0.0, atol=1e-13)


def test_ends_of_sections_are_nodes() -> None:
    region = Box((0, 0), (1, 1), sections={"x_min": {"inlet": (0.0, 0.13), "wall": (0.13, 1.0)}})
    mesh = triangulate(region, 0.06)
    assert np.linalg.norm(mesh.position - [0.0, 0.13], axis=1).min() < 1e-13


def test_ends_of_periodic_axes_match() -> None:
    mesh = triangulate(REGIONS["periodic"][0], 0.05)
    low, high = (np.sort(mesh.position[np.abs(mesh.position[:, 0] - x) < 1e-12, 1]) for x in (0.0, 1.0))
    np.testing.assert_allclose(low, high, atol=1e-12)


def test_halving_the_size_quarters_the_error_of_the_area_of_a_disc() -> None:
    errors = [np.pi - triangulate(Disc((0, 0), 1.0), h).weights().sum() for h in (0.2, 0.1, 0.05)]
    assert 3.5 < errors[0] / errors[1] < 4.5 and 3.5 < errors[1] / errors[2] < 4.5


def test_edges_are_as_short_at_a_boundary_as_is_asked() -> None:
    region = Box((0, 0), (2, 1)).without(Disc((0.7, 0.5), 0.2), "body")
    mesh = triangulate(region, 0.1, near={"body": 0.03})
    p, edges = mesh.position, mesh.edges()
    length = np.linalg.norm(p[edges[:, 0]] - p[edges[:, 1]], axis=1)
    away = np.abs(np.linalg.norm(p - [0.7, 0.5], axis=1) - 0.2)
    around = (away < 1e-12).sum()
    assert 2 * np.pi * 0.2 / 0.03 - 1 <= around <= 1.1 * 2 * np.pi * 0.2 / 0.03
    assert length[(away[edges] < 1e-12).all(1)].max() <= 0.0301
    assert np.median(length[(away[edges] > 0.35).all(1)]) > 0.08
    assert _angles(mesh).min() >= 25.0


@pytest.mark.parametrize(("near", "words"), [({"boby": 0.1}, "mean 'body'"), ({"body": 0.0}, "positive length")])
def test_lengths_that_are_asked_are_checked(near: dict[str, float], words: str) -> None:
    region = Box((0, 0), (2, 1)).without(Disc((0.7, 0.5), 0.2), "body")
    with pytest.raises(InputError, match=words):
        triangulate(region, 0.1, near=near)


def test_edges_are_short_at_a_small_hole_and_grow_away_from_it() -> None:
    mesh = triangulate(CHANNEL, 0.1)
    edges = mesh.edges()
    length = np.linalg.norm(mesh.position[edges[:, 0]] - mesh.position[edges[:, 1]], axis=1)
    away = np.linalg.norm(mesh.position[edges].mean(1) - 0.2, axis=1) - 0.05
    assert length[away < 0.01].max() < 0.05 * np.pi / 8 * 1.3
    assert np.median(length[away > 0.8]) > 0.08


def test_two_edges_cross_a_gap() -> None:
    mesh = triangulate(REGIONS["hole near a side"][0], 0.05)
    inner = np.delete(mesh.position, np.unique(_free(mesh)), axis=0)
    gap = (inner[:, 0] < 0.02) & (np.abs(inner[:, 1] - 0.5) < 0.05)
    assert gap.sum() >= 3


def test_the_same_each_time_and_another_with_another_seed() -> None:
    one, same, other = (triangulate(CHANNEL, 0.05, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.position, same.position)
    np.testing.assert_array_equal(one.cells["triangle"], same.cells["triangle"])
    assert not one.same(other)


def test_a_thousand_nodes_take_no_time() -> None:
    triangulate(CHANNEL, 0.1)
    start = time.process_time()
    mesh = triangulate(CHANNEL, 0.035)
    assert mesh.size > 900 and time.process_time() - start < 3.0  # 0.4 s alone on one core


@pytest.mark.parametrize("seed", range(12))
def test_random_holes(seed: int) -> None:
    random = np.random.default_rng(seed)
    region: Geometry = Box((0, 0), (2, 1))
    for k, x in enumerate((0.4, 1.0, 1.6)):
        angle = np.sort(random.uniform(0, 2 * np.pi, 7))
        if np.diff(angle, append=angle[0] + 2 * np.pi).min() < 0.3 or k == 1:
            hole: Geometry = Disc((x, random.uniform(0.35, 0.65)), random.uniform(0.03, 0.25))
        else:
            radius = random.uniform(0.12, 0.25, 7)
            hole = Polygon(tuple(zip(x + radius * np.cos(angle), 0.5 + radius * np.sin(angle), strict=True)))
        region = region.without(hole, f"hole_{k}")
    mesh = triangulate(region, random.uniform(0.04, 0.09))
    assert _angles(mesh).min() >= 25.0


@pytest.mark.parametrize(
    ("region", "size", "words"),
    [
        (Box((0, 0, 0), (1, 1, 1)), 0.1, "region of the plane"),
        (Box((0, 0), (1, 1)), -0.1, "positive"),
        (Box((0, 0), (1, 1)), float("nan"), "positive"),
        (Box((0, 0), (1, 1)), 1e-4, "nodes"),
        (Box((0, 0), (1, 1)) - Disc((0.2, 0.5), 0.1999), 0.1, "gap near"),
        (Box((0, 0), (1, 1)) - Disc((0.5, 0.5), 1e-4), 0.1, "curve near"),
        (Box((0, 0), (1, 1)) - Disc((0.2, 0.5), 0.2), 0.1, "touch"),
        (Disc((0, 0), 1.0) | Disc((3, 0), 1.0), 0.2, "2 parts"),
    ],
)
def test_refuses(region: Geometry, size: float, words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        triangulate(region, size)
    assert "\n" not in str(raised.value)
