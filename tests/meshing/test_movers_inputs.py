"""What a user may give movers: units, noise, files of few digits, functions that write on what they get, and what is no
mesh."""

import numpy as np
import pytest

from sciml.errors import InputError
from sciml.meshing import (
    DMM,
    UM2N,
    Elastic,
    LocalMover,
    MongeAmpere,
    NewtonMongeAmpere,
    Springs,
    gradient,
    hessian,
    optimal,
)
from sciml.meshing.samples import bumps, polygons, rows
from sciml.support import Mesh
from sciml.training.recipe import Running, Steps

ALL = [Elastic(), MongeAmpere(), MongeAmpere(memory=5), NewtonMongeAmpere(1e-7), Springs(), UM2N(), DMM(), LocalMover()]
QUIET = Running(progress=False)


def bump(x: np.ndarray) -> np.ndarray:
    return 1 + 20 * np.exp(-((x - [0.55, 0.45]) ** 2).sum(1) / 0.01)


@pytest.mark.parametrize("mover", ALL, ids=lambda m: m.name)
@pytest.mark.parametrize("factor", [1e-12, 10.0, 1e100, 1e300])
def test_a_monitor_counts_up_to_a_factor(mover, factor):
    points, cells = rows(9)
    expected, one = mover.move(points, cells, monitor=bump(points))
    found, other = mover.move(points, cells, monitor=factor * bump(points))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert other.equidistribution == pytest.approx(one.equidistribution, rel=1e-4)
    assert (other.iterations, other.inverted) == (one.iterations, one.inverted)


def test_rounding_is_no_curvature():
    for points, cells in (rows(20), polygons(np.random.default_rng(0), 1)[0]):
        for u in (1 / 3 + 0.7 * points[:, 0], 1e3 + 1e-3 * points[:, 1], np.full(len(points), 7.3)):
            for monitor in (hessian, optimal):
                np.testing.assert_array_equal(monitor(points, cells, u), 1.0)
        np.testing.assert_array_equal(gradient(points, cells, np.full(len(points), 7.3)), 1.0)
        moved, _ = Elastic().move(points, cells, field=1 / 3 + 0.7 * points[:, 0])
        np.testing.assert_allclose(moved, points, atol=1e-12)
        small = 1e-9 * np.exp(-((points - 0.4) ** 2).sum(1) / 0.02)  # a small field is none the less one
        assert hessian(points, cells, small).max() == pytest.approx(6, rel=1e-6)


def test_no_strength_asks_for_nothing_and_the_largest_norm_has_its_power():
    points, cells = rows(10)
    u = np.sin(3 * points[:, 0])
    np.testing.assert_array_equal(gradient(points, cells, u, strength=0), 1.0)
    near, exact = optimal(points, cells, u, norm=1e9), optimal(points, cells, u, norm=np.inf)
    np.testing.assert_allclose(near, exact, rtol=1e-6)
    for value in (-1.0, np.nan, "a", np.inf):
        with pytest.raises(InputError, match="strength: got"):
            hessian(points, cells, u, strength=value)


@pytest.mark.parametrize("digits", [6, None], ids=["six digits", "float32"])
def test_nodes_of_few_digits_slide(digits):
    points, cells = rows(20)
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    exact = points @ turn.T
    given = exact.astype(np.float32) if digits is None else np.round(exact, digits)
    expected, _ = Elastic().move(exact, cells, monitor=lambda x: bump(x @ turn))
    found, _ = Elastic().move(given, cells, monitor=lambda x: bump(x @ turn))
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("mover", [Elastic(), NewtonMongeAmpere(1e-7), Springs()], ids=lambda m: m.name)
def test_functions_may_write_on_what_they_get_and_give(mover):
    points, cells = rows(8)
    buffer = np.empty(len(points))

    def careless(x: np.ndarray) -> np.ndarray:
        x -= [0.55, 0.45]
        buffer[:] = 1 + 20 * np.exp(-(x**2).sum(1) / 0.01)
        return buffer

    expected, one = mover.move(points, cells, monitor=bump)
    found, other = mover.move(points, cells, monitor=careless)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert other.equidistribution_before == pytest.approx(one.equidistribution_before)
    before = points.copy()
    mover.move(points, cells, field=lambda x: x.__imul__(2)[:, 0] ** 3)
    np.testing.assert_array_equal(points, before)


def test_cells_on_cells_and_parts_are_refused():
    points, cells = rows(3)
    angles = np.linspace(0, 4 * np.pi, 17)[:-1]
    fan = np.concatenate([[[0.0, 0.0]], np.stack([np.cos(angles), np.sin(angles)], 1)])
    turns = np.array([[0, i, i % 16 + 1] for i in range(1, 17)])
    for p, c, words in (
        (np.r_[points, points + 0.3], np.r_[cells, cells + 16], "is of 2 parts that no cell joins"),
        (np.array([[0.0], [2.0], [1.0], [3.0]]), np.array([[0, 1], [2, 3]]), "is of 2 parts"),
        (fan, turns, "around node 0 make up more than one turn"),
    ):
        with pytest.raises(InputError, match=words):
            Elastic().move(p, c, monitor=np.ones(len(p)))


def test_what_holds_no_numbers_is_named():
    points, cells = rows(3)
    ones = np.ones(16)
    for arguments, settings, words in (
        ((object(), cells), {"monitor": ones}, "points: expected real numbers"),
        (([[0, 1], [2]], cells), {"monitor": ones}, "points: expected an array"),
        ((points + 1j, cells), {"monitor": ones}, "points: expected real numbers, got complex128"),
        ((points, "abc"), {"monitor": ones}, "cells: expected node numbers"),
        ((points, cells, "abc"), {"monitor": ones}, "boundary: expected node numbers"),
        ((points, cells), {"monitor": "abc"}, "monitor: expected real numbers"),
        ((points, cells), {"monitor": lambda x: "abc"}, "monitor: expected real numbers"),
        ((points, cells), {"monitor": lambda x: ones + 1j}, "monitor: expected real numbers"),
        ((points, cells), {"field": "abc"}, "field: expected real numbers"),
        ((points, cells), {"monitor": ones, "geometry": "box"}, "geometry is 'box', expected a Geometry"),
    ):
        with pytest.raises(InputError, match=words):
            Elastic().move(*arguments, **settings)


def test_lines_that_mark_the_boundary_stay_where_they_are_numbered():
    points, cells = rows(6)
    lines = np.stack([np.arange(6), np.arange(1, 7)], 1)
    moved, info = Elastic().moved(Mesh(points, {"line": lines, "triangle": cells}), monitor=bump)
    assert info.equidistribution < info.equidistribution_before
    np.testing.assert_array_equal(moved.cells["line"], lines)


@pytest.mark.parametrize("make", [UM2N, lambda: LocalMover(rounds=1, width=4)], ids=["um2n", "local"])
def test_what_was_trained_can_be_trained_again(make):
    samples = bumps([rows(6), rows(7)], np.random.default_rng(0))
    mover = make()
    recipe = type(mover).recipe().replace(length=Steps(2), batch=1)
    for _ in range(2):
        mover.fit(samples, recipe, running=QUIET)
    assert all(p.requires_grad for p in mover.network.parameters())


def test_a_run_goes_on_with_its_own_samples_and_settings_alone(tmp_path):
    samples = bumps([rows(6), rows(7)], np.random.default_rng(0))
    recipe = LocalMover.recipe().replace(length=Steps(2))
    running = QUIET.replace(out=tmp_path / "run", resume=True)
    LocalMover(rounds=1, width=4).fit(samples, recipe, running=running)
    for mover, given in (
        (LocalMover(rounds=1, width=4), samples[:1]),
        (LocalMover(rounds=1, width=4, error=1.0), samples),
    ):
        with pytest.raises(InputError, match="begun with other samples or settings"):
            mover.fit(given, recipe.replace(length=Steps(4)), running=running)


def test_movers_say_what_they_are():
    assert repr(Elastic(step=0.5)) == "Elastic(tolerance=0.001, max_iterations=100, step=0.5, stall=0.1)"
    with pytest.raises(InputError, match="seed is -1"):
        LocalMover(seed=-1)
