"""Equidistribution by an elastic medium, and nodes found by walking."""

import itertools

import numpy as np
import pytest

from sciml.errors import InputError
from sciml.geometry import Box, Difference, Disc
from sciml.meshing import Elastic, Equidistribution, MongeAmpere, arc_length
from sciml.meshing._simplices import contents, neighbours
from sciml.meshing._walk import Walk
from sciml.meshing.samples import bumps, meshed, polygons, rows
from sciml.support import Mesh


def line(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(0, 1, n + 1)[:, None], np.stack([np.arange(n), np.arange(1, n + 1)], 1)


def ring(x: np.ndarray) -> np.ndarray:
    return 1 + 20 / np.cosh(np.clip(200 * (((x - 0.5) ** 2).sum(1) - 0.16), -300, 300)) ** 2


def test_an_even_monitor_moves_nothing_on_any_mesh():
    rng = np.random.default_rng(0)
    for points, cells in (rows(8), line(20), *polygons(rng, 2)):
        moved, info = Elastic().move(points, cells, monitor=np.full(len(points), 3.7))
        np.testing.assert_allclose(moved, points, atol=1e-14)
        assert info.iterations == 0


def test_on_a_line_it_is_exact_equidistribution():
    """As the mesh gets finer, to second order, as m is taken as the mean of a cell's ends."""

    def m(x):
        return 1 + 5 * np.exp(-80 * (x[:, 0] - 0.4) ** 2)

    off = []
    for n in (20, 40, 80):
        moved, info = Elastic(1e-10, 300, stall=0).move(*line(n), monitor=m)
        assert info.converged
        assert info.equidistribution < 1e-8  # ∫ m over cells is the same
        exact, _ = Equidistribution(256).move(*line(n), monitor=m)
        off.append(np.abs(moved - exact).max())
    assert all(np.log2(a / b) > 1.8 for a, b in itertools.pairwise(off)), off


def test_it_goes_where_optimal_transport_goes_in_fewer_steps():
    """Two movers that equidistribute differ in their rotation only; for one bump in a square hardly."""

    def m(x):
        return 1 + 5 * np.exp(-((x - [0.51, 0.65]) ** 2).sum(1) / 0.02)

    off = []
    for n in (16, 32):
        points, cells = rows(n)
        transport, there = MongeAmpere(1e-6).move(points, cells, monitor=m)
        moved, info = Elastic().move(points, cells, monitor=m)
        assert info.iterations < there.iterations / 2
        assert info.equidistribution < 1.2 * there.equidistribution
        off.append(np.linalg.norm(moved - transport, axis=1).max() / np.linalg.norm(transport - points, axis=1).max())
    assert off[1] < 0.15, off


def test_a_thin_ring_that_stalls_relaxation():
    points, cells = rows(20)
    moved, info = Elastic().move(points, cells, monitor=ring)
    assert (info.inverted, info.safeguard) == (0, 1.0)
    assert info.equidistribution < 0.2 < 1.2 < info.equidistribution_before
    assert contents(moved, cells).sum() == pytest.approx(1, abs=1e-12)


def test_regions_that_are_not_convex():
    rng = np.random.default_rng(3)
    holes = Difference(Box((0.0, 0.0), (1.0, 1.0)), Disc((0.4, 0.5), 0.15))
    for sample in bumps([*polygons(rng, 6), meshed(holes, 0.06)], rng):
        moved, info = Elastic().move(sample.points, sample.cells, monitor=sample.monitor)
        assert info.inverted == 0
        assert info.safeguard == 1.0
        assert info.equidistribution < 0.6 * info.equidistribution_before
        before, after = contents(sample.points, sample.cells), contents(moved, sample.cells)
        assert after.sum() == pytest.approx(before.sum(), rel=1e-12)


def test_turned_swapped_and_renumbered_meshes_move_alike():
    points, cells = rows(10)

    def m(x):
        return 1 + 5 * np.exp(-((x - [0.3, 0.7]) ** 2).sum(1) / 0.02)

    expected, _ = Elastic().move(points, cells, monitor=m)
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    moved, _ = Elastic().move(points @ turn.T + [3, -2], cells, monitor=lambda x: m((x - [3, -2]) @ turn))
    np.testing.assert_allclose((moved - [3, -2]) @ turn, expected, atol=1e-12)
    moved, _ = Elastic().move(points[:, ::-1], cells[:, ::-1], monitor=lambda x: m(x[:, ::-1]))
    np.testing.assert_allclose(moved[:, ::-1], expected, atol=1e-12)
    order = np.random.default_rng(0).permutation(len(points))
    moved, _ = Elastic().move(points[order], np.argsort(order)[cells[::-1]], monitor=m)
    np.testing.assert_allclose(moved, expected[order], atol=1e-12)


def test_settings_out_of_range():
    for make, words in (
        (lambda: Elastic(tolerance=-1), "tolerance is -1"),
        (lambda: Elastic(step=2.0), "step <= 1, got stall=0.1, step=2.0"),
        (lambda: Elastic(stall=1.0), "stall < 1"),
        (lambda: Elastic(max_iterations=0), "max_iterations is 0"),
    ):
        with pytest.raises(InputError, match=words):
            make()


def test_a_field_stands_for_its_curvature_and_one_of_both_is_asked_for():
    points, cells = rows(12)
    u = np.exp(-((points - 0.4) ** 2).sum(1) / 0.02)
    from sciml.meshing import hessian

    one, _ = Elastic().move(points, cells, field=u)
    other, _ = Elastic().move(points, cells, monitor=hessian(points, cells, u))
    np.testing.assert_array_equal(one, other)
    for given, words in (({}, "got neither"), ({"field": u, "monitor": u + 1}, "got both")):
        with pytest.raises(InputError, match=words):
            Elastic().move(points, cells, **given)


def test_arc_length_is_that_of_the_graph():
    """On a line, moved by it, u rises and falls with steps of the same length between nodes."""
    points, cells = line(400)
    u = np.tanh((points[:, 0] - 0.5) / 0.1)
    m = arc_length(points, cells, u)
    exact = np.sqrt(1 + ((1 - u**2) / 0.1 / np.ptp(u)) ** 2)
    np.testing.assert_allclose(m[3:-3], exact[3:-3], rtol=1e-3)
    np.testing.assert_allclose(arc_length(points, cells, 7 * u), m, rtol=1e-12)  # whatever the unit of u
    assert (arc_length(points, cells, np.ones(401)) == 1).all()


def test_walking_finds_what_looking_up_finds():
    rng = np.random.default_rng(1)
    for points, cells in (rows(12), *polygons(rng, 3)):
        walk, mesh, values = Walk(points, cells), Mesh(points, {"triangle": cells}), rng.random(len(points))
        x = points.copy()
        for size in (0.01, 0.05, 0.3):  # the last ones beyond the boundary, and around corners
            x = x + size * rng.standard_normal(x.shape)
            np.testing.assert_allclose(walk.sample(values, x), mesh.sample(values[None], x)[0], atol=1e-13)


def test_neighbours_are_mutual_and_share_a_side():
    _, cells = rows(5)
    found = neighbours(cells)
    assert (found < 0).sum() == 20
    for cell, corner in zip(*np.nonzero(found >= 0), strict=True):
        other = found[cell, corner]
        assert cell in found[other]
        assert set(np.delete(cells[cell], corner)) <= set(cells[other])
