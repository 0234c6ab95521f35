"""Interfaces of exact flows that spread at a known speed, positions and means in their frame, a simulated flow."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy.special import erf

from sciml import problems, solvers, structure
from sciml.errors import InputError
from sciml.structure.isosurface import isosurface
from sciml.support import Grid

NU, GAMMA = 0.01, 1.0


def dataset(grid, velocity, times):
    points = grid.points()
    frames = np.stack([np.moveaxis(velocity(points, t), -1, 0) for t in times], axis=1)
    coords = dict(zip("xyz", grid.centres, strict=False)) | {"time": times}
    return xr.Dataset({n: (("time", *grid.dims), v) for n, v in zip("uvw", frames, strict=False)}, coords)


def lamb_oseen(x, t):
    r2 = (x**2).sum(-1)
    turn = GAMMA / (2 * np.pi) * -np.expm1(-r2 / (4 * NU * t)) / r2
    return np.stack([-turn * x[..., 1], turn * x[..., 0]], -1)


def radius(t, threshold):
    """Of ω² = threshold, and its rate of change."""
    peak = GAMMA / (4 * np.pi * NU * t)
    r = math.sqrt(4 * NU * t * math.log(peak / math.sqrt(threshold)))
    return r, (2 * NU * math.log(peak / math.sqrt(threshold)) - 2 * NU) / r


@pytest.fixture(scope="module")
def vortex():
    grid = Grid((np.linspace(-1, 1, 65),) * 2)
    times = 2.0 + 0.1 * np.arange(5)
    return grid, times, dataset(grid, lamb_oseen, times)


def test_level_sets_of_a_sphere():
    """Length or area and volume to second order, across a periodic seam too."""
    for d, (size, volume) in ((2, (1.2 * np.pi, 0.36 * np.pi)), (3, (1.44 * np.pi, 0.288 * np.pi))):
        for periodic in (False, True):
            errors = []
            for n in (16, 32):
                grid = Grid((np.linspace(-1, 1, n + 1),) * d, (periodic,) * d)
                x = grid.points()
                x = (x + 1.1) % 2 - 1 if periodic else x
                found = isosurface(-np.linalg.norm(x, axis=-1), grid, -0.6)
                assert found.areas.sum() == pytest.approx(found.sizes.sum(), rel=1e-12)
                errors.append([abs(found.areas.sum() / size - 1), abs(found.volume / volume - 1)])
            orders = np.log2(np.array(errors[0]) / errors[1])
            assert np.all(orders > 1.8) and max(errors[1]) < 0.01, (d, periodic)


def test_level_set_of_a_plane_is_exact_and_masks_are_left_out():
    mask = np.ones((6, 6, 6))
    mask[:, :, :2] = 0
    grid = Grid((np.linspace(0, 1, 7) ** 1.3,) * 3, (), mask)
    x = grid.points()
    found = isosurface(np.where(mask == 1, x @ [1.0, 2.0, 3.0], np.nan), grid, 2.9)
    assert np.allclose(found.points @ [1.0, 2.0, 3.0], 2.9, atol=1e-12)
    assert found.points[:, 0].min() >= grid.centres[0][2] - 1e-12
    whole = isosurface(x @ [1.0, 2.0, 3.0], Grid(grid.faces), 2.9)
    low, high = np.array([c[[0, -1]] for c in grid.centres]).T
    inside = np.random.default_rng(0).uniform(low, high, size=(400_000, 3)) @ [1.0, 2.0, 3.0] > 2.9
    assert whole.volume == pytest.approx(inside.mean() * np.prod(high - low), rel=0.01)


def test_a_diffusing_vortex_spreads_as_it_should(vortex):
    """u·n = 0 and no stretching in the plane: the interface moves by viscosity alone, at the known speed."""
    grid, times, data = vortex
    threshold = 0.25 * (GAMMA / (4 * np.pi * NU * times[2])) ** 2
    found = structure.interface(data, threshold, times[2], viscosity=NU, grid=grid)
    r, speed = radius(times[2], threshold)
    places = np.stack([found.x, found.y], 1)
    assert np.abs(np.linalg.norm(places, axis=1) - r).max() < 2e-3 * r
    normal = np.stack([found.normal_x, found.normal_y], 1)
    assert np.allclose(normal, places / np.linalg.norm(places, axis=1)[:, None], atol=5e-3)
    assert speed < 0  # by then this level shrinks
    for name in ("entrainment_velocity", "entrainment_viscous"):
        assert np.allclose(found[name], speed, rtol=0.02), name
    assert np.allclose(found.entrainment_inertial, 0.0)
    low = 1e-4 * threshold  # far out, turbulence spreads
    r, speed = radius(times[2], low)
    found = structure.interface(data, low, times[2], viscosity=NU, grid=grid)
    assert speed > 0 and np.allclose(found.entrainment_velocity, speed, rtol=0.02)


def test_volume_grows_by_the_entrainment_velocity(vortex):
    grid, times, data = vortex
    threshold = 1e-4 * (GAMMA / (4 * np.pi * NU * times[2])) ** 2
    surfaces = [structure.interface(data, threshold, t, grid=grid) for t in times[1:4]]
    growth = (surfaces[2].attrs["volume"] - surfaces[0].attrs["volume"]) / (times[3] - times[1])
    flux = float((surfaces[1].entrainment_velocity * surfaces[1].area).sum())
    r, speed = radius(times[2], threshold)
    assert flux == pytest.approx(2 * np.pi * r * speed, rel=0.01)
    assert growth == pytest.approx(flux, rel=0.03)


def test_the_first_problem_of_stokes():
    """u = U (1 − erf(y/2√νt)) over a wall: lines of equal vorticity go away from it at a known speed."""
    speed, times = 1.3, 1.0 + 0.05 * np.arange(5)
    grid = Grid((np.linspace(0, 0.5, 9), np.linspace(0, 1, 97)), (True, False))

    def velocity(x, t):
        return np.stack([speed * (1 - erf(x[..., 1] / (2 * math.sqrt(NU * t)))), 0 * x[..., 1]], -1)

    peak = speed**2 / (np.pi * NU * times[2])
    threshold = 1e-3 * peak
    walls = {"y_min": (speed, 0.0)}
    found = structure.interface(
        dataset(grid, velocity, times), threshold, times[2], viscosity=NU, grid=grid, walls=walls
    )
    # y² = 4νt ln(ω₀/√θ), as for the vortex, but ω₀ ~ t^(−1/2)
    log = math.log(math.sqrt(peak / threshold))
    y = math.sqrt(4 * NU * times[2] * log)
    rate = (2 * NU * log - NU) / y
    assert np.abs(found.y - y).max() < 1e-3 and np.allclose(found.normal_y, 1.0, atol=1e-9)
    for name in ("entrainment_velocity", "entrainment_viscous"):
        assert np.allclose(found[name], rate, rtol=0.01), name
    assert float(found.area.sum()) == pytest.approx(0.5, rel=1e-9)
    assert np.allclose(found.velocity_x, speed * (1 - erf(y / (2 * math.sqrt(NU * times[2])))), atol=2e-3)


def test_a_stretched_vortex_stands_still():
    """Burgers' vortex: fluid comes in at αr/2, and stretching and viscosity hold the interface against it."""
    alpha, gamma, nu = 1.0, 2.0, 0.02
    grid = Grid((np.linspace(-1, 1, 49), np.linspace(-1, 1, 49), np.linspace(-0.2, 0.2, 9)))

    def velocity(x, t):
        r2 = x[..., 0] ** 2 + x[..., 1] ** 2
        turn = gamma / (2 * np.pi) * -np.expm1(-alpha * r2 / (4 * nu)) / r2
        plane = -alpha / 2 * x[..., :2] + turn[..., None] * np.stack([-x[..., 1], x[..., 0]], -1)
        return np.concatenate([plane, alpha * x[..., 2:]], -1)

    data = dataset(grid, velocity, [0.0]).isel(time=0, drop=True)
    peak = (alpha * gamma / (4 * np.pi * nu)) ** 2
    found = structure.interface(data, 0.05 * peak, viscosity=nu, grid=grid)
    r = np.hypot(found.x, found.y)
    assert float(np.abs(r - math.sqrt(2 * nu / alpha * math.log(20))).max()) < 5e-3
    assert np.allclose(found.entrainment_velocity, alpha * r / 2, rtol=0.02)  # relative to fluid that comes in
    assert np.allclose(found.entrainment_inertial, 2 * nu / r, rtol=0.03)  # 2 ω²α over ω²αr/ν
    both = found.entrainment_inertial + found.entrainment_viscous
    assert np.allclose(both, found.entrainment_velocity, rtol=0.03)


def test_positions_relative_to_an_interface(vortex):
    grid, times, data = vortex
    threshold = 0.1 * (GAMMA / (4 * np.pi * NU * times[2])) ** 2
    found = structure.interface(data, threshold, times[2], grid=grid)
    r, _ = radius(times[2], threshold)
    points = np.random.default_rng(0).uniform(-0.9, 0.9, size=(300, 2))
    points = points[np.linalg.norm(points, axis=1) > 0.1]
    where = structure.interface_frame(points, found)
    away = np.linalg.norm(points, axis=1)
    assert np.allclose(where.distance, r - away, atol=3e-3)
    foot = np.stack([where.foot_x, where.foot_y], 1)
    assert np.linalg.norm(foot - r * points / away[:, None], axis=1).max() < 2 / 64
    distances = [-0.2, 0.0, 0.1]
    seeds = structure.across_interface(found, distances)
    assert np.allclose(np.linalg.norm(seeds, axis=-1), r - np.array(distances), atol=3e-3)


def test_positions_wrap_across_a_seam():
    grid = Grid((np.linspace(-1, 1, 65),) * 2, (True, True))
    shift = np.array([0.9, 0.0])

    def velocity(x, t):  # a shielded vortex: none of it far away
        y = (x - shift + 1) % 2 - 1
        turn = np.exp(-((y**2).sum(-1)) / 0.2**2)
        return np.stack([-turn * y[..., 1], turn * y[..., 0]], -1)

    data = dataset(grid, velocity, [0.0, 0.1])
    found = structure.interface(data, 1.0, 0.0, grid=grid)
    where = structure.interface_frame(np.array([[-0.99, 0.0], [0.9, 0.0], [1.01, 6.0]]), found)
    inner = float(np.hypot((found.x - 0.9 + 1) % 2 - 1, found.y).min())
    assert float(where.distance[0]) == pytest.approx(inner - 0.11, abs=0.01)
    assert float(where.distance[2]) == pytest.approx(float(where.distance[0]), abs=1e-9)
    assert np.allclose(found.entrainment_velocity, 0.0, atol=1e-4)  # it only turns


def test_a_moving_observer_sees_the_same_entrainment():
    grid, times = Grid((np.linspace(-1, 1, 65),) * 2, (True, True)), np.linspace(0.0, 0.02, 5)

    def velocity(x, t, wind):
        y = (x - np.array(wind) * t + 1) % 2 - 1
        turn = np.exp(-(y**2).sum(-1) / (0.2**2 * (1 + t)))
        return np.stack([-turn * y[..., 1], turn * y[..., 0]], -1) + np.array(wind)

    found = [
        structure.interface(
            dataset(grid, lambda x, t, w=wind: velocity(x, t, w), times), 1.0, times[2], grid=grid
        )
        for wind in ((0.0, 0.0), (0.7, -0.4))
    ]  # fmt: skip
    means = [float((f.entrainment_velocity * f.area).sum() / f.area.sum()) for f in found]
    assert abs(means[0]) > 1e-2 and means[1] == pytest.approx(means[0], rel=0.01)


def test_means_across_the_interface(vortex):
    grid, times, data = vortex
    threshold = 1e-3 * (GAMMA / (4 * np.pi * NU * times[2])) ** 2
    surface = structure.interface(data, threshold, times[2], grid=grid)
    r, _ = radius(times[2], threshold)
    omega = structure.vorticity(data, grid=grid)
    distances = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
    found = structure.conditional_profiles(omega, surface, ("vorticity",), distances, grid=grid)
    at = r - distances
    exact = GAMMA / (4 * np.pi * NU * times[2]) * np.exp(-(at**2) / (4 * NU * times[2]))
    assert np.allclose(found.vorticity_mean, exact, rtol=0.02) and np.all(found.share > 0.99)
    assert np.all(found.vorticity_std < 0.02 * exact.max()) and found.vorticity_mean.attrs["units"] == "s-1"
    beyond = structure.conditional_profiles(omega, surface, "vorticity", [r + 0.2], grid=grid)
    assert float(beyond.share[0]) == 0.0 and np.isnan(
        beyond.vorticity_mean[0]
    )  # past the middle it is nearer elsewhere


def test_exponents_across_the_interface(vortex):
    """Steady rotation: neighbours part by the shear r ∂(u/r)/∂r alone, a closed form of the distance; the same on seeds
    of a grid and on seeds along the normals."""
    grid, times, data = vortex
    data = data.isel(time=2, drop=True)
    t = times[2]
    threshold = 1e-3 * (GAMMA / (4 * np.pi * NU * t)) ** 2
    surface = structure.interface(data, threshold, grid=grid)
    r, _ = radius(t, threshold)
    distances, span = np.array([0.0, 0.1, 0.2]), 3.0
    at = r - distances
    decay = np.exp(-(at**2) / (4 * NU * t))
    shear = GAMMA / (2 * np.pi) * (decay / (2 * NU * t) - 2 * (1 - decay) / at**2)
    k = np.abs(shear) * span
    exact = np.log((k + np.sqrt(k**2 + 4)) / 2) / span
    seeds = structure.across_interface(surface, distances, every=10)
    sown = structure.ftle(data, (0.0, span), seeds.reshape(-1, 2), grid=grid).ftle.values.reshape(seeds.shape[:2])
    assert np.allclose(sown, exact, rtol=0.02)
    field = structure.ftle(data, (0.0, span), Grid((np.linspace(-0.8, 0.8, 41),) * 2), grid=grid)
    found = structure.conditional_profiles(field, surface, ("ftle",), distances)
    assert np.allclose(found.ftle_mean, exact, rtol=0.02)
    moved = np.stack([field.map_x.values.ravel(), field.map_y.values.ravel()], 1)
    stay = structure.interface_frame(moved, surface).distance.values
    began = structure.interface_frame(Grid((np.linspace(-0.8, 0.8, 41),) * 2).points().reshape(-1, 2), surface)
    assert np.abs(stay - began.distance.values).max() < 5e-3  # nothing crosses


def test_threshold_lies_between_noise_and_turbulence():
    grid = Grid((np.linspace(-1, 1, 65),) * 2, (True, True))
    rng = np.random.default_rng(0)
    x = grid.points()
    inside = np.linalg.norm(x, axis=-1) < 0.5
    k = 2 * np.pi * np.fft.fftfreq(64, 2 / 64)
    square = k[:, None] ** 2 + k[None] ** 2
    square[0, 0] = 1.0
    omega = np.where(inside, rng.choice([-1.0, 1.0], grid.shape) * rng.uniform(0.5, 1, grid.shape), 0.0)
    omega = omega + 1e-3 * rng.normal(size=grid.shape)
    psi = np.fft.fft2(omega - omega.mean()) / square
    psi[32], psi[:, 32] = 0.0, 0.0  # what has no derivative
    u, v = (np.fft.ifft2(f).real for f in (1j * k[:, None] * psi, -1j * k[None] * psi))
    coords = dict(zip("xy", grid.centres, strict=True))
    data = xr.Dataset({"u": (("y", "x"), u), "v": (("y", "x"), v)}, coords)
    found = structure.turbulent_fraction(data, grid=grid)
    fraction = float(found.fraction.sel(threshold=found.attrs["threshold"]))
    assert fraction == pytest.approx(np.pi * 0.25 / 4, abs=0.03)
    assert 1e-5 < found.attrs["threshold"] < 0.25 and np.all(np.diff(found.fraction) <= 1e-12)
    assert structure.interface(data, grid=grid).attrs["threshold"] == found.attrs["threshold"]


def test_eddies_in_a_patch_spread_by_the_same_velocity():
    """A simulated plane flow: eddies in the middle of still fluid. ∂ω²/∂t and the balance give the same velocity, and
    the turbulent area grows by it."""
    n, length = 64, 2 * np.pi
    rng = np.random.default_rng(4)
    x = np.linspace(0, length, n + 1)
    envelope = np.exp(-((((x[:, None] - np.pi) ** 2 + (x[None] - np.pi) ** 2) / 2.0) ** 2))
    waves = sum(
        rng.normal() * np.cos(kx * x[None] + ky * x[:, None] + rng.uniform(0, 6))
        for kx in range(-3, 4) for ky in range(-3, 4) if 1 < kx * kx + ky * ky < 10
    )  # fmt: skip
    psi = 0.05 * envelope * waves
    viscosity, times = 0.01, 0.3 + 0.02 * np.arange(5)
    case = problems.TaylorGreen().case(viscosity=viscosity, initial_streamfunction=psi)
    flow = solvers.PseudoSpectral(resolution=n).solve(case, times=times)
    threshold = 0.02 * float((structure.vorticity(flow).vorticity[2] ** 2).max())
    surface = structure.interface(flow, threshold, times[2], viscosity=viscosity)
    balance = surface.entrainment_inertial + surface.entrainment_viscous
    scale = float(np.abs(surface.entrainment_velocity).median())
    assert float(np.abs(balance - surface.entrainment_velocity).median()) < 0.05 * scale
    volumes = [structure.interface(flow, threshold, t).attrs["volume"] for t in times[1:4:2]]
    growth = (volumes[1] - volumes[0]) / (times[3] - times[1])
    flux = float((surface.entrainment_velocity * surface.area).sum())
    assert flux == pytest.approx(growth, rel=0.1)
    omega = structure.vorticity(flow)
    omega["enstrophy"] = omega.vorticity**2
    found = structure.conditional_profiles(omega, surface, "enstrophy", np.array([-0.15, 0.0, 0.15]))
    low, at, high = found.enstrophy_mean.values
    assert low < 0.5 * threshold < at < 1.5 * threshold and high > 2 * threshold


def test_bad_input_is_refused_in_one_line(vortex):
    grid, _, data = vortex
    with pytest.raises(InputError, match="expected two frames or more, or viscosity="):
        structure.interface(data.isel(time=[0]), 1.0, grid=grid)
    with pytest.raises(InputError, match="level: expected one that the field crosses"):
        structure.interface(data, 1e9, grid=grid)
    with pytest.raises(InputError, match=r"time: expected one of the 5 of the solution, 2 to 2\.4, got 7"):
        structure.interface(data, 1.0, 7.0, grid=grid)
    with pytest.raises(InputError, match="threshold: expected a number > 0"):
        structure.interface(data, -1.0, grid=grid)
    with pytest.raises(InputError, match="velocity: expected 2 components"):
        structure.interface(data.drop_vars("v"), 1.0, grid=grid)
    surface = structure.interface(data, 1.0, grid=grid)
    with pytest.raises(InputError, match="fields: expected some of u, v, got w"):
        structure.conditional_profiles(data, surface, ("w",), [0.0], grid=grid)
    with pytest.raises(InputError, match="surface: expected what `interface` gave"):
        structure.interface_frame(np.zeros((1, 2)), data)
    with pytest.raises(InputError, match="expected a flow with vorticity, got none"):
        structure.turbulent_fraction(data * 0, grid=grid)
    for ask in (structure.turbulent_fraction, structure.interface, structure.vortices):
        with pytest.raises(InputError, match=r"velocity: expected finite values, got none in any cell at time 2"):
            ask(data * np.nan, grid=grid)
