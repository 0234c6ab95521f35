"""Finite-time Lyapunov exponents against closed forms; interpolation and trajectories; ridges between seeds."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy.linalg import expm
from scipy.spatial import KDTree

from benchmarks import _turbulence_structure as gyre
from sciml import problems, structure
from sciml.data import solution
from sciml.errors import InputError
from sciml.structure.trajectories import Domain, follow
from sciml.support import Grid


def box(n=6, d=2, low=-1.0, high=1.0, periodic=False):
    return Grid((np.linspace(low, high, n + 1),) * d, (periodic,) * d)


def steady(matrix):
    return lambda x, t: x @ np.asarray(matrix, float).T


def sampled(grid, velocity, times=None):
    """A bare data set of a function of points (N, D) and a time."""
    points = grid.points().reshape(-1, grid.dimensions)
    frames = [velocity(points, t).T.reshape(-1, *grid.shape) for t in ([0.0] if times is None else times)]
    dims = grid.dims if times is None else ("time", *grid.dims)
    values = frames[0] if times is None else np.stack(frames, axis=1)
    coords = dict(zip("xyz", grid.centres, strict=False)) | ({} if times is None else {"time": times})
    return xr.Dataset({n: (dims, v) for n, v in zip("uvw", values, strict=False)}, coords)


@pytest.mark.parametrize("gradient", ["auxiliary", "grid"])
@pytest.mark.parametrize("to", [2.5, -2.5])
def test_saddle_rotation_and_shear(gradient, to):
    seeds, s = box(), 0.8
    found = structure.ftle(steady([[s, 0], [0, -s]]), (0.0, to), seeds, gradient=gradient, tolerance=1e-11)
    assert np.allclose(found.ftle, s, atol=1e-7)
    along = found.stretching_x if to > 0 else found.stretching_y
    assert np.allclose(np.abs(along), 1.0, atol=1e-6)  # what is stretched lies across the repelling line
    found = structure.ftle(steady([[0, -s], [s, 0]]), (0.0, to), seeds, gradient=gradient, tolerance=1e-11)
    assert np.allclose(found.ftle, 0.0, atol=1e-7)
    found = structure.ftle(steady([[0, s], [0, 0]]), (0.0, to), seeds, gradient=gradient, tolerance=1e-11)
    k = s * abs(to)
    assert np.allclose(found.ftle, math.log((k + math.sqrt(k * k + 4)) / 2) / abs(to), atol=1e-7)
    assert found.ftle.attrs["units"] == "s-1" and found.attrs["to"] == to


def test_any_linear_flow_in_space_and_the_map_itself():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 3))
    a -= np.trace(a) / 3 * np.eye(3)
    seeds = box(3, 3)
    for method in ({"tolerance": 1e-11}, {"method": "rk4", "steps": 400}):
        found = structure.ftle(steady(a), (1.0, 2.2), seeds, **method)
        f = expm(1.2 * a)
        assert np.allclose(found.ftle, np.log(np.linalg.norm(f, 2)) / 1.2, atol=1e-7)
        landed = np.stack([found[f"map_{n}"].values for n in "xyz"], -1)
        assert np.allclose(landed, seeds.points() @ f.T, atol=1e-8)
        direction = np.linalg.svd(f)[2][0]
        xi = np.stack([found[f"stretching_{n}"].values for n in "xyz"], -1)
        assert np.allclose(np.abs(xi @ direction), 1.0, atol=1e-6)


def test_orders_of_the_integration():
    turn, x = steady([[0, -1], [1, 0]]), np.array([[[1.0, 0.0]]])
    exact = np.array([np.cos(3.0), np.sin(3.0)])
    errors = [np.abs(follow(turn, x, (0, 3.0), method="rk4", steps=n).points[0, 0] - exact).max() for n in (20, 40)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.2)
    found = [follow(turn, x, (0, 3.0), tolerance=t) for t in (1e-6, 1e-11)]
    errors = [np.abs(f.points[0, 0] - exact).max() for f in found]
    assert errors[0] < 3e-5 and errors[1] < 1e-9
    # a fifth-order step: a hundred thousand times less error for ten times the steps
    assert found[1].steps < 1.3 * found[0].steps * (errors[0] / errors[1]) ** (1 / 5) + 10


def travelling(x, t):
    """Periodic in space, unsteady, with a mean."""
    return np.stack([0.5 + np.sin(x[:, 1] + t) * np.cos(x[:, 0]), np.cos(x[:, 0] - 2 * t) + 0.2], 1)


def test_interpolation_is_of_order_four_and_wraps():
    points = np.random.default_rng(1).uniform(-10, 10, size=(200, 2))
    errors = []
    for n in (16, 32):
        grid = box(n, 2, 0.0, 2 * np.pi, True)
        times = np.linspace(0, 2, n + 1)
        made = structure.Interpolant(sampled(grid, travelling, times), grid=grid)
        errors.append(np.abs(made(points, 0.7312) - travelling(points, 0.7312)).max())
    assert math.log2(errors[0] / errors[1]) > 3.7
    errors = []
    for n in (16, 32):  # stretched, with ends
        s = np.linspace(-1, 1, n + 1)
        grid = Grid((np.tanh(1.3 * s), np.linspace(-1, 1, n + 1)))
        inside = np.random.default_rng(2).uniform(-0.86, 0.86, size=(200, 2))
        made = structure.Interpolant(sampled(grid, travelling), grid=grid)
        errors.append(np.abs(made(inside) - travelling(inside, 0.0)).max())
    assert math.log2(errors[0] / errors[1]) > 3.5


def test_interpolation_is_exact_for_cubics_and_knows_walls():
    cubic = lambda x, t: np.stack([(1 - x[:, 1] ** 2) * (1 + t**3), 0 * t + 0 * x[:, 0]], 1)  # noqa: E731
    grid, times = box(7), [0.0, 0.5, 1.0, 1.5, 2.0]
    points = np.random.default_rng(2).uniform(-1, 1, size=(50, 2))
    made = structure.Interpolant(sampled(grid, cubic, times), grid=grid, walls={"y_min": 0.0, "y_max": 0.0})
    assert np.allclose(made(points, 1.234), cubic(points, 1.234), atol=1e-12)
    quartic = lambda x, t: np.stack([1 - x[:, 1] ** 8, 0 * x[:, 0]], 1)  # noqa: E731
    wall = np.array([[0.0, 1.0], [0.3, -1.0]])
    free = structure.Interpolant(sampled(grid, quartic), grid=grid)(wall)
    held = structure.Interpolant(sampled(grid, quartic), grid=grid, walls={"y_min": 0.0, "y_max": 0.0})(wall)
    assert np.abs(held).max() < 1e-12 < 1e-3 < np.abs(free).max()
    beyond = structure.Interpolant(sampled(grid, quartic), grid=grid, walls={"y_max": 0.0})(np.array([[0.0, 1.5]]))
    assert np.abs(beyond).max() < 1e-12  # held at the end


def test_interpolation_keeps_out_of_bodies():
    plain = box(16)
    mask = (np.hypot(plain.coordinate(0), plain.coordinate(1)) > 0.3).astype(np.uint8)
    grid = Grid(plain.faces, (), mask)
    data = sampled(grid, lambda x, t: 1.0 + 0 * x)
    data["u"] = data.u.where(mask == 1, 1e9)
    angle = np.linspace(0, 6, 20)
    made = structure.Interpolant(data, grid=grid)
    assert np.allclose(made(np.stack([0.45 * np.cos(angle), 0.45 * np.sin(angle)], 1)), 1.0)


@pytest.mark.parametrize("gradient", ["auxiliary", "grid"])
def test_periodic_seeds_across_the_seam(gradient):
    """A shear that wraps many times: positions are not wrapped, gradients do not see the seam."""
    grid = box(12, 2, 0.0, 2 * np.pi, True)
    shear = lambda x, t: np.stack([3 * np.sin(x[:, 1]), 0 * x[:, 1]], 1)  # noqa: E731
    fine = box(48, 2, 0.0, 2 * np.pi, True)
    found = structure.ftle(sampled(fine, shear), (0.0, 4.0), grid, grid=fine, gradient=gradient)
    if gradient == "auxiliary":
        slope = 12 * np.cos(grid.coordinate(1))
    else:  # central differences of sin
        h = 2 * np.pi / 12
        slope = 12 * np.cos(grid.coordinate(1)) * np.sin(h) / h
    exact = np.log((np.abs(slope) + np.sqrt(slope**2 + 4)) / 2) / 4 + 0 * grid.coordinate(0)
    assert np.allclose(found.ftle, exact, atol=2e-4) and not found.left.any()
    assert float(found.map_x.max()) > 2 * np.pi + 1


@pytest.mark.parametrize("gradient", ["auxiliary", "grid"])
def test_particles_that_leave_are_told(gradient):
    s = 1.0
    grid = box(20)
    found = structure.ftle(steady([[s, 0], [0, -s]]), (0.0, 1.0), grid, domain=grid, gradient=gradient)
    x = np.abs(grid.points()[..., 0])
    gone = found.left.values == 1
    assert gone[x > math.exp(-1) + 0.2].all() and not gone[x < math.exp(-1) - 0.2].any()
    assert np.allclose(found.ftle.values[~gone], s, atol=1e-6)
    assert np.all(found.time_inside.values[~gone] == 1.0)
    if gradient == "auxiliary":  # followed as far as they stayed
        inside = gone & (found.time_inside.values > 0)
        assert np.allclose(found.ftle.values[inside], s, atol=1e-6)
        exact = -np.log(x[gone])
        assert np.all(found.time_inside.values[gone] <= exact + 1e-6)
        assert np.abs(found.time_inside.values[gone] - exact).max() < 0.11  # a step is at most a tenth
    else:
        assert np.isnan(found.ftle.values[gone]).all()


def test_a_domain_wraps_or_ends():
    ends = Domain(((0.0, 1.0), (0.0, 1.0)), (True, False), (0.0, 0.0))
    assert ends.outside(np.array([[5.0, 0.5], [0.5, 1.1]])).tolist() == [False, True]


def test_points_as_seeds_and_a_case():
    """Taylor-Green vortices of a case: at places at rest F is the exponential of the matrix there."""
    case = problems.TaylorGreen().case(viscosity=1e-9, length=2.0)
    grid = Grid.uniform(case.geometry, 32)
    times = [0.0, 0.1, 0.2, 0.3, 0.4]
    truth = solution(case, times, case.exact(times, grid.centres), grid)
    corners = np.array([[0.5, 0.5], [1.0, 1.0], [0.0, 0.0]])
    found = structure.ftle(truth, (0.05, 0.35), corners)
    assert found.ftle.dims == ("node",)
    rates = found.ftle.values
    for at, rate in zip(corners, rates, strict=True):
        k = np.pi
        (sx, sy), (cx, cy) = np.sin(k * at), np.cos(k * at)
        gradient = k * np.array([[-sx * sy, cx * cy], [-cx * cy, sx * sy]])
        assert rate == pytest.approx(np.log(np.linalg.norm(expm(0.3 * gradient), 2)) / 0.3, abs=2e-4 * k)


def test_a_ridge_lies_between_the_seeds():
    """σ = exp(−dist²/w²) around a circle, ξ its normal: nodes on the circle to O(h²), pieces of its length."""
    errors, radius = [], 0.61803
    for n in (20, 40, 80):
        grid = box(n)
        x = grid.points()
        r = np.linalg.norm(x, axis=-1)
        flip = np.random.default_rng(3).choice([-1.0, 1.0], size=r.shape)  # a direction has no sign
        fields = {"ftle": (("y", "x"), 2 + np.exp(-(((r - radius) / 0.3) ** 2)), {"units": "s-1"})}
        fields |= {f"stretching_{a}": (("y", "x"), flip * x[..., k] / r) for k, a in enumerate("xy")}
        found = structure.ridges(
            xr.Dataset(fields, {a: c for a, c in zip("xy", grid.centres, strict=True)}), threshold=0.9
        )
        places = np.stack([found.x, found.y], 1)
        errors.append(np.abs(np.linalg.norm(places, axis=1) - radius).max())
        ends = places[found.connectivity.values]
        length = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).sum()
        assert length == pytest.approx(2 * np.pi * radius, rel=2e-2)
        assert np.all(found.curvature < 0) and np.allclose(found.ftle, 3.0, atol=0.05)
        normal = np.stack([found.normal_x, found.normal_y], 1)
        assert np.all(np.abs((normal * places).sum(1)) > 0.99 * radius)
    assert math.log2(errors[0] / errors[1]) > 1.6 and math.log2(errors[1] / errors[2]) > 1.6
    assert errors[2] < 0.05 * 2 / 80


def test_a_ridge_in_space():
    grid = box(16, 3)
    x = grid.points()
    r = np.linalg.norm(x, axis=-1)
    fields = {"ftle": (grid.dims, np.exp(-(((r - 0.6) / 0.3) ** 2)))}
    fields |= {f"stretching_{a}": (grid.dims, x[..., k] / r) for k, a in enumerate("xyz")}
    found = structure.ridges(xr.Dataset(fields, dict(zip("xyz", grid.centres, strict=True))), threshold=0.7)
    places = np.stack([found.x, found.y, found.z], 1)
    assert len(places) > 400 and np.abs(np.linalg.norm(places, axis=1) - 0.6).max() < 0.02
    assert "connectivity" not in found


def test_hyperbolic_trajectory_and_its_manifold():
    """The periodic orbit is one, and the manifold is invariant: moved on by a period it lies on itself."""
    at, defect = gyre.hyperbolic(0.0, forward=True)
    assert defect < 1e-10 and at[1] == 0.0
    line = gyre.manifold(0.0, forward=True, duration=15.0, length=1e-2, gap=4e-3)
    tree = KDTree(line)
    near = line[np.linalg.norm(line - at, axis=1) < 0.8][::40]
    assert np.abs(np.linalg.norm(near - at, axis=1)).max() > 0.5
    assert tree.query(gyre.march(near, 0.0, 10.0))[0].max() < 4e-3
    assert np.linalg.norm(gyre.march(near, 0.0, 15.0) - gyre.hyperbolic(15.0, True)[0], axis=1).max() < 0.0101
    other = gyre.manifold(0.0, forward=True, duration=12.0, length=5e-3, gap=4e-3)
    assert tree.query(other)[0].max() < 4e-3


def test_double_gyre_ridge_on_the_manifold():
    """Seeds 0.025 apart: the strong part of the ridge lies on the material line within a cell, a quarter as a mean."""
    n = 40
    line = gyre.manifold(0.0, forward=False, gap=1e-2)
    found = gyre.exponents(gyre.velocity, gyre.box(2), False, n, "half a cell", 0.5)
    places = gyre.places(structure.ridges(found, threshold=gyre.THRESHOLD))
    distance = KDTree(line).query(places)[0]
    assert len(places) > 100 and distance.max() < 1 / n and distance.mean() < 0.25 / n
    random = np.random.default_rng(0).uniform(size=(1000, 2)) * [2.0, 1.0]
    assert KDTree(line).query(random)[0].mean() > 5 * distance.mean()


def test_double_gyre_from_data_is_that_of_the_function():
    data, grid = gyre.sampled(32, np.linspace(0.0, 15.0, 31))
    seeds = gyre.box(20)
    a = structure.ftle(gyre.velocity, (0.0, 15.0), seeds, domain=grid, gradient="grid")
    b = structure.ftle(data, (0.0, 15.0), seeds, grid=grid, gradient="grid")
    assert float(np.abs(a.ftle - b.ftle).mean()) < 2e-3 and not b.left.any()


def test_bad_input_is_refused_in_one_line():
    grid = box(8)
    data = sampled(grid, steady(np.eye(2)), [0.0, 1.0])
    with pytest.raises(InputError, match="times: expected times within those of the solution, 0 to 1, got 0 to 2"):
        structure.ftle(data, (0.0, 2.0), grid, grid=grid)
    with pytest.raises(InputError, match="one frame alone"):
        structure.ftle(data.isel(time=[0]), (0.0, 1.0), grid, grid=grid)
    with pytest.raises(InputError, match=r"seeds: expected all within x from -1 to 1, .* 1 of 2 lie outside"):
        structure.ftle(data, (0.0, 1.0), np.array([[0.0, 0.0], [2.0, 0.0]]), grid=grid)
    with pytest.raises(InputError, match="times: expected two different times"):
        structure.ftle(data, (0.0, 0.0), grid, grid=grid)
    with pytest.raises(InputError, match="expected 'auxiliary' or 'grid'"):
        structure.ftle(data, (0.0, 1.0), grid, gradient="nothing")
    with pytest.raises(InputError, match="method: expected 'rk45' or 'rk4'"):
        structure.ftle(data, (0.0, 1.0), grid, grid=grid, method="euler")
    with pytest.raises(InputError, match="velocity: expected finite numbers"):
        structure.ftle(lambda x, t: np.full_like(x, np.nan), (0.0, 1.0), grid)
    with pytest.raises(InputError, match="velocity: expected shape"):
        structure.ftle(lambda x, t: x[:, 0], (0.0, 1.0), grid)
    gap = data.copy(deep=True)
    gap["v"][1, 3, 4] = np.inf
    with pytest.raises(InputError, match="interpolation: v: expected finite values, got some that are not at time 1"):
        structure.ftle(gap, (0.0, 1.0), grid, grid=grid)
    with pytest.raises(InputError, match="ridges: expected ftle, stretching_x"):
        structure.ridges(data)
