"""Velocities that were measured, brought to the nearest that lose no fluid."""

import numpy as np
import pytest

import sciml
from sciml import Grid, data
from sciml.derivatives import central
from sciml.errors import InputError
from sciml.problems.own_data import DataProblem
from sciml.support import Points
from sciml.training.laws import DivergenceFree, enforce


def grid_of(shape, mask=None, stretched=False):
    faces = []
    for n in reversed(shape):
        f = np.linspace(0.0, 1.0, n + 1)
        faces.append(f**1.5 if stretched else f)
    return Grid(tuple(faces), (), mask)


def solved(values, grid, times=None, **options):
    """Values (D, *grid), or (D, T, *grid), as a solution."""
    names = ("u", "v", "w")[: grid.dimensions]
    problem = DataProblem("flow", [*names, "c"], dimensions=grid.dimensions, steady=times is None, **options)
    fields = dict(zip(names, values, strict=True)) | {"c": np.ones_like(values[0])}
    return data.solution(problem.case(), times, fields, grid)


def velocity(solution):
    return np.stack([solution[n].values for n in "uvw" if n in solution])


def chance(grid, seed=0, frames=()):
    return np.random.default_rng(seed).standard_normal((grid.dimensions, *frames, *grid.shape))


CASES = {
    "plane": grid_of((9, 12)),
    "stretched": grid_of((9, 12), stretched=True),
    "holes": grid_of((10, 12), np.random.default_rng(1).random((10, 12)) > 0.1),
    "space": grid_of((6, 7, 8)),
    "space with holes": grid_of((6, 7, 8), np.random.default_rng(2).random((6, 7, 8)) > 0.05),
}


@pytest.mark.parametrize("grid", CASES.values(), ids=CASES)
def test_nothing_is_left_of_the_divergence_and_the_change_is_the_least(grid):
    before = chance(grid) * (1 if grid.inside is None else grid.inside)
    found = enforce(solved(before, grid))
    after, (change,) = velocity(found.data), found.changes
    left = central.divergence(after, grid)
    assert np.nanmax(np.abs(left)) < 1e-12 * np.nanmax(np.abs(central.divergence(before, grid)))
    assert change.largest_after < 1e-12 * change.largest_before and change.equations == np.isfinite(left).sum()
    weights = grid.weights()
    # the nearest: what was taken away is orthogonal to all that obeys, to this field among them
    assert abs((weights * after * (after - before)).sum()) < 1e-12 * (weights * before**2).sum()
    size = np.sqrt((weights * before**2).sum())
    np.testing.assert_allclose(change.change, np.sqrt((weights * (after - before) ** 2).sum()) / size, rtol=1e-12)
    again = enforce(found.data)
    np.testing.assert_allclose(velocity(again.data), after, atol=1e-12)
    np.testing.assert_array_equal(found.data["c"].values, 1.0)
    if grid.inside is not None:
        np.testing.assert_array_equal(after[:, ~grid.inside], 0.0)


def test_what_obeys_is_left_alone():
    grid = grid_of((8, 9, 10))
    z, y, x = np.meshgrid(*(grid.centres[a] for a in (2, 1, 0)), indexing="ij")
    flow = np.stack([y + 2 * x, z - x * 1.0 - y, -z + 3 * y])
    found = enforce(solved(flow, grid))
    np.testing.assert_allclose(velocity(found.data), flow, atol=1e-13)
    assert found.changes[0].change < 1e-13


def test_as_much_noise_is_taken_away_as_there_are_equations():
    """E‖P e‖² = (1 − rank A / n) ‖e‖² for noise without a pattern."""
    grid = grid_of((12, 14))
    truth = np.stack([np.ones(grid.shape), 2 * np.ones(grid.shape)])
    noise = 0.1 * chance(grid, 3, (200,))
    found = enforce(solved(truth[:, None] + noise, grid, np.arange(200.0)))
    left = velocity(found.data) - truth[:, None]
    rank = 10 * 12  # of the cells that have all neighbours none follows from others
    expected = 1 - rank / (2 * 12 * 14)
    assert abs((left**2).sum() / (noise**2).sum() - expected) < 0.01


def test_still_cells_are_walls():
    grid = grid_of((12, 12))
    noise = chance(grid, 4)
    walls = np.ones(grid.shape, bool)
    walls[4:8, 3:9] = False
    before = np.where(walls, 1e-3 * noise, noise + 2 * np.sign(noise))
    found = enforce(solved(before, grid), still=0.5)
    after = velocity(found.data)
    np.testing.assert_array_equal(after[:, walls], 0.0)
    assert np.abs(after[:, ~walls]).max() > 1 and found.changes[0].walls == walls.sum()
    assert np.abs(central.divergence(after, grid)[~walls]).max() < 1e-12
    assert found.changes[0].equations == (~walls).sum()


def test_problems_with_equations_keep_their_conditions():
    problem = sciml.problems.LidDrivenCavity()
    case = problem.case(lid_velocity=1.0, viscosity=0.01)
    grid = Grid.uniform(case.geometry, (10, 10))
    times = np.array([0.0, 1.0])
    fields = {n: np.random.default_rng(k).standard_normal((2, 10, 10)) for k, n in enumerate(("u", "v", "p"))}
    noisy = data.solution(case.on(grid), times, fields, grid)
    found = enforce(noisy, DivergenceFree())
    assert found.changes[0].largest_after < 1e-12 * found.changes[0].largest_before
    audited = [max(r.largest for r in sciml.audit(d).select("continuity")) for d in (noisy, found.data)]
    assert audited[1] < 1e-12 * audited[0]
    np.testing.assert_array_equal(found.data["p"].values, noisy["p"].values)
    with pytest.raises(InputError, match="says itself where walls are"):
        enforce(noisy, still=0.1)
    with pytest.raises(InputError, match="has equations"):
        enforce(noisy, velocity=("u", "v"))


def test_packed_data_keep_splits_and_other_fields():
    grid = grid_of((8, 8))
    parts = [solved(chance(grid, k, (2,)).astype("f4"), grid, np.arange(2.0)) for k in range(3)]
    packed = data.pack(parts, splits=["train", "test", "train"])
    found = enforce(packed)
    assert found.data["u"].dtype == np.float64 and len(found.changes) == 3
    np.testing.assert_array_equal(found.data["split"].values, packed["split"].values)
    np.testing.assert_array_equal(found.data["c"].values, packed["c"].values)
    assert max(c.relative for c in found.changes) < 1e-14
    one = enforce(data.case(packed, 1)[1])
    np.testing.assert_array_equal(data.case(found.data, 1)[1]["u"].values, one.data["u"].values)


def test_what_has_no_divergence_is_refused():
    grid = grid_of((8, 8))
    good = solved(chance(grid), grid)
    with pytest.raises(InputError, match="expected the names of 2 components"):
        enforce(good, velocity=("u",))
    with pytest.raises(InputError, match="no field is called 'uu'"):
        enforce(good, velocity=("uu", "v"))
    with pytest.raises(InputError, match="still: expected a speed"):
        enforce(good, still=-1.0)
    with pytest.raises(InputError, match="no cell has all its neighbours"):
        enforce(solved(chance(grid_of((2, 8))), grid_of((2, 8))))
    problem = DataProblem("flow", ["u", "v"], steady=True)
    points = Points(np.random.default_rng(0).random((5, 2)))
    loose = data.solution(problem.case(), None, {"u": np.zeros(5), "v": np.zeros(5)}, points)
    with pytest.raises(InputError, match="expected values on a grid"):
        enforce(loose)
    holed = good.copy(deep=True)
    holed["u"].values[3, 3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        enforce(holed)
