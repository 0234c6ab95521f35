"""Flow between two walls: exact flows, linear stability, the equations themselves, restarts and bad requests."""

from copy import copy
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import chebyshev

from benchmarks._turbulence_stability import KNOWN, growth
from sciml.errors import InputError, SolverError
from sciml.evaluation import EnergyHistory, Profiles, Spectra, statistics_of
from sciml.problems import TurbulentChannel
from sciml.solvers import WALE, ChannelFlow, DynamicSmagorinsky, _chebyshev
from sciml.solvers._channel_stepper import Planes
from sciml.solvers.channel import filtered, stretched
from sciml.support import Grid

pytestmark = pytest.mark.compiled_quickly

PROBLEM = TurbulentChannel()


def small(**values):
    """A channel that few cells show well."""
    return PROBLEM.case(**{"viscosity": 1 / 40, "length_x": 2.0, "length_z": 1.5, "disturbance": 3.0, **values})


#: shapes that tests have in common, with one time or two: each pair of a shape and settings is compiled once
SMALL, LARGER = (8, 17, 12), (12, 25, 16)
STEP = 5e-5


@pytest.fixture(scope="module")
def resolved():
    """An early frame, then three STEP apart, on a grid that shows all of the flow."""
    times = [0.02, 0.05 - STEP, 0.05, 0.05 + STEP]
    return ChannelFlow((18, 65, 24), cfl=0.5).solve(small(), times)


# -- Chebyshev points ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [7, 16, 33, 96])
def test_inner_points_are_the_middles_of_cells(cells):
    y, f = _chebyshev.points(cells), _chebyshev.faces(cells)
    assert f[0] == -1 and f[-1] == 1 and np.all(np.diff(f) > 0)
    np.testing.assert_allclose((f[1:] + f[:-1]) / 2, y[1:-1], atol=1e-15)
    np.testing.assert_allclose(y, -y[::-1], atol=0)


def test_polynomials_are_exact():
    rng, n = np.random.default_rng(0), 20
    c = rng.standard_normal(n + 2)
    y = _chebyshev.points(n)
    values = chebyshev.chebval(y, c)
    np.testing.assert_allclose(_chebyshev.derivative(n) @ values, chebyshev.chebval(y, chebyshev.chebder(c)), rtol=1e-9)
    whole = chebyshev.chebint(c)
    assert _chebyshev.weights(n) @ values == pytest.approx(np.diff(chebyshev.chebval([-1, 1], whole))[0], rel=1e-13)
    where = rng.uniform(-1, 1, 7)
    np.testing.assert_allclose(_chebyshev.values(n, where) @ values, chebyshev.chebval(where, c), rtol=1e-11)
    edges = np.array([-1.0, -0.7, 0.2, 1.0])
    mean = np.diff(chebyshev.chebval(edges, whole)) / np.diff(edges)
    np.testing.assert_allclose(_chebyshev.means(n, edges) @ values, mean, rtol=1e-11)


def test_eigenvectors_solve_helmholtz_to_rounding():
    n = 96
    m, y = _chebyshev.modes(n), _chebyshev.points(n)[1:-1]
    v = np.cos(np.pi / 2 * y) * np.exp(y) - np.cos(np.pi / 2 * y)
    full = np.concatenate([[0], v, [0]])
    first = _chebyshev.derivative(n)
    right = (first @ first @ full)[1:-1] - 400.0 * v
    np.testing.assert_allclose(m.to_values @ ((m.to_modes @ right) / (m.rate - 400.0)), v, atol=1e-11)
    assert np.linalg.cond(m.to_values) < 4  # what makes the method harmless


# -- laminar flow -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drive", "closure"),
    [("flow_rate", None), ("pressure_gradient", WALE()), ("pressure_gradient", DynamicSmagorinsky())],
)
def test_the_parabola_stays(drive, closure):
    case = TurbulentChannel(drive).case(disturbance=0.0, viscosity=0.2, density=2.0, half_height=0.5, bulk_velocity=1.5)
    solver = ChannelFlow(LARGER, closure)
    found = solver.solve(case, [0.0, 0.7])
    h, mu = 0.5, 0.2
    peak = 2.0 * h / (2 * mu) if drive == "pressure_gradient" else 1.5 * 1.5
    expected = peak * (1 - (solver.grid(case).centres[1] / h) ** 2)
    np.testing.assert_allclose(found.u.values, np.broadcast_to(expected[:, None], found.u.shape), atol=1e-11)
    assert abs(found.v.values).max() < 1e-13 and abs(found.p.values).max() < 1e-11
    np.testing.assert_allclose(found.wall_shear.values, 2 * mu * peak / h, rtol=1e-10)
    np.testing.assert_allclose(found.driving_force.values[1], 2 * mu * peak / h**2, rtol=1e-10)


def test_a_tollmien_schlichting_wave_grows_as_orr_and_sommerfeld_say():
    found, known = growth()
    assert known == pytest.approx(KNOWN, abs=2e-8)
    assert found.imag == pytest.approx(known.imag, rel=0.01)
    assert found.real == pytest.approx(known.real, rel=1e-3)


# -- the equations ------------------------------------------------------------------------------------------------


def slopes(values, case, grid):
    """∂/∂x, ∂/∂y, ∂/∂z of (z, y, x) that vanishes at the walls."""
    kx = 2j * np.pi * np.fft.fftfreq(grid.shape[2], case.length_x / grid.shape[2])
    kz = 2j * np.pi * np.fft.fftfreq(grid.shape[0], case.length_z / grid.shape[0])[:, None, None]
    first = _chebyshev.derivative(grid.shape[1]) / case.half_height
    x = np.fft.ifft(kx * np.fft.fft(values, axis=2), axis=2).real
    z = np.fft.ifft(kz * np.fft.fft(values, axis=0), axis=0).real
    return x, np.einsum("ij,zjx->zix", first[:, 1:-1], values), z


def test_frames_obey_navier_and_stokes(resolved):
    """By derivatives of the frames alone: what the solver holds, and its pressure, play no part."""
    case, step, found = small(), STEP, resolved.isel(time=slice(1, None))
    grid = stretched(case, (18, 65, 24))
    u = {n: found[n].values for n in "uvwp"}
    x, y, z = slopes(u["u"][1], case, grid), slopes(u["v"][1], case, grid), slopes(u["w"][1], case, grid)
    divergence = x[0] + y[1][:, 1:-1] + z[2]
    assert abs(divergence).max() < 1e-11 * abs(x[0]).max()
    # gradient of p: through its inner values alone
    inner = np.linalg.inv(np.polynomial.chebyshev.chebvander(grid.centres[1], grid.shape[1] - 1))
    coefficients = np.einsum("ij,zjx->zix", inner, u["p"][1])
    steep = np.moveaxis(
        chebyshev.chebval(grid.centres[1], np.moveaxis(chebyshev.chebder(coefficients, axis=1), 1, 0)), -1, 1
    )
    px, _, pz = slopes(u["p"][1], case, grid)
    gradient = {"u": px, "v": steep, "w": pz}
    second = np.linalg.matrix_power(_chebyshev.derivative(grid.shape[1]), 2)[1:-1, 1:-1] / case.half_height**2
    for name in "uvw":
        values = u[name]
        a, b, c = slopes(values[1], case, grid)
        carried = u["u"][1] * a + u["v"][1] * b[:, 1:-1] + u["w"][1] * c
        curved = slopes(a, case, grid)[0] + np.einsum("ij,zjx->zix", second, values[1]) + slopes(c, case, grid)[2]
        change = (values[2] - values[0]) / (2 * step)
        force = case.friction_velocity**2 / case.half_height if name == "u" else 0.0
        left = change + carried + gradient[name] - case.viscosity * curved - force
        # what the 2/3 rule keeps of it: products are cut off there
        modes = np.fft.fftn(left, axes=(0, 2)) / (grid.shape[0] * grid.shape[2])
        rows = np.abs(np.fft.fftfreq(18, 1 / 18))[:, None, None] * 3 < 18
        columns = np.abs(np.fft.fftfreq(24, 1 / 24)) * 3 < 24
        # next to the walls p is continued from its inner values
        worst = abs(modes * rows * columns)[:, 2:-2].max()
        assert worst < 3e-5 * abs(carried).max(), name


@pytest.mark.parametrize("nx", [12, 66], ids=["products", "transforms"])
def test_planes_go_to_modes_and_back(nx):
    """Short and long lines alike: values of the waves that are kept, to rounding."""
    planes, random = Planes(9, nx), np.random.default_rng(0)
    x, z = 2 * np.pi * np.arange(nx) / nx, 2 * np.pi * np.arange(9)[:, None] / 9
    with jax.enable_x64(True):
        modes = random.standard_normal((2, *planes.shape)) + 1j * random.standard_normal((2, *planes.shape))
        expected = np.zeros((2, 9, nx))
        for i, m in enumerate(planes.rows):
            for n in range(planes.mx + 1):
                wave = modes[:, i, n, None, None] * np.exp(1j * (m * z + n * x))
                expected += (1 if n == 0 else 2) * wave.real
        found = np.asarray(planes.back(jnp.asarray(modes)))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        # what is real has a conjugate at the opposite wave number: of kx = 0 the half that is not cancels
        modes[..., 0] = (modes[..., 0] + np.conj(modes[..., -np.arange(len(planes.rows)), 0])) / 2
        np.testing.assert_allclose(np.asarray(planes.forth(jnp.asarray(found))), modes, rtol=0, atol=1e-13)


@pytest.mark.parametrize("closure", [None, WALE()], ids=["plain", "wale"])
def test_the_scheme_is_of_second_order_in_time(closure):
    case, solver = small(), ChannelFlow((9, 25, 12), closure, derivative="forward")
    parameters, inputs = solver.arrays(case)

    @jax.jit
    def march(cfl):  # all steps share one compiled march
        varied = copy(solver)
        varied.cfl = cfl
        return varied.simulate(parameters, inputs, jnp.array([0.1]), PROBLEM)["u"]

    with jax.enable_x64(True):
        states = [np.asarray(march(cfl)) for cfl in (0.8, 0.4, 0.2, 0.025)]
    errors = [float(np.sqrt(((s - states[-1]) ** 2).mean())) for s in states[:-1]]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(orders > 1.9), (errors, orders)


def test_energy_changes_by_work_and_dissipation(resolved):
    case, step, found = small(), STEP, resolved.isel(time=slice(1, None))
    grid = stretched(case, (18, 65, 24))
    weight = _chebyshev.weights(65)[None, :, None] / 2  # mean over the channel
    energy = [sum((weight[:, 1:-1] * f[n].values ** 2).sum(1).mean() / 2 for n in "uvw") for f in
              (found.isel(time=k) for k in range(3))]  # fmt: skip
    lost = 0.0
    for n in "uvw":
        a, b, c = slopes(found[n].values[1], case, grid)
        lost += case.viscosity * ((weight[:, 1:-1] * (a**2 + c**2)).sum(1).mean() + (weight * b**2).sum(1).mean())
    work = (weight[:, 1:-1] * found.u.values[1]).sum(1).mean() * case.friction_velocity**2 / case.half_height
    assert (energy[2] - energy[0]) / (2 * step) == pytest.approx(work - lost, rel=1e-4)


def test_moving_along_and_mirrors_change_nothing():
    case, solver = small(), ChannelFlow(SMALL)
    first = solver.solve(case, [0.0])
    plain = solver.resume(case, first, [0.06])
    along = solver.resume(case, first.roll(x=5, z=3, roll_coords=False), [0.06])
    np.testing.assert_allclose(along.u.values, np.roll(plain.u.values, (3, 5), (1, 3)), atol=1e-11)

    def mirrored(frame, axis, odd):
        return frame.assign({n: (frame[n].dims, np.flip(frame[n].values, 1 + "zyx".index(axis)) * (-1) ** (n == odd))
                             for n in "uvwp"})  # fmt: skip

    for axis, odd in (("y", "v"), ("z", "w")):
        other = mirrored(solver.resume(case, mirrored(first, axis, odd), [0.06]), axis, odd)
        np.testing.assert_allclose(other.u.values, plain.u.values, atol=1e-10)


def test_units_do_not_matter():
    """Twice the length, half the density, a third of the time: the same flow in its own scales."""
    one = small(seed=2.0)
    two = PROBLEM.case(
        viscosity=one.viscosity * 0.5 * 4 * 3, density=0.5, half_height=2.0, friction_velocity=6.0,
        length_x=4.0, length_z=3.0, disturbance=3.0, seed=2.0,
    )  # fmt: skip
    assert PROBLEM.reynolds(two) == pytest.approx(PROBLEM.reynolds(one))
    solver = ChannelFlow(SMALL)
    a, b = solver.solve(one, [0.05]), solver.solve(two, [0.05 / 3])
    np.testing.assert_allclose(b.u.values / 6, a.u.values, atol=1e-9)
    np.testing.assert_allclose(b.p.values / (0.5 * 36), a.p.values, atol=1e-8)


def test_the_flow_rate_is_kept():
    given: dict = {**small().parameters, "bulk_velocity": 7.0}
    case = TurbulentChannel("flow_rate").case(**given)
    found = ChannelFlow(LARGER).solve(case, [0.02, 0.05])
    bulk = (_chebyshev.weights(25)[1:-1] @ found.u.values.mean((1, 3)).T) / 2
    np.testing.assert_allclose(bulk, 7.0, rtol=1e-12)
    told = statistics_of(found, [Profiles(), EnergyHistory()])
    walls = told["profiles"]["entries"][0]["friction_velocity"]
    assert walls["source"] == "slope of the mean at the walls" and walls["value"] > 0
    assert "dissipation" in told["energy_history"]["entries"][0]
    with pytest.raises(InputError, match="friction_velocity"):
        statistics_of(found, Spectra(y_plus=(15.0,)))


# -- restarts, other grids ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("closure", [None, DynamicSmagorinsky()])
def test_resuming_is_going_on(closure):
    case, solver = small(), ChannelFlow(LARGER, closure)
    whole = solver.solve(case, [0.03, 0.06])
    again = solver.resume(case, whole.isel(time=[0]), [0.06])
    np.testing.assert_allclose(again.u.values[0], whole.u.values[1], atol=1e-9)
    rows = list(solver.rollout([_start(case, whole)], np.array([[0.06]])))
    np.testing.assert_allclose(rows[0][0][0], whole.u.values[1], atol=1e-9)


def _start(case, solution):
    from sciml.solver import Start
    from sciml.support import support_of

    frames = np.stack([solution[n].values[0] for n in ("u", "v", "w", "p")])[None]
    return Start(case, support_of(case, solution), frames, float(solution.time[0]), fields=("u", "v", "w", "p"))


def test_a_state_fits_onto_other_grids(resolved):
    case, coarse = small(), ChannelFlow(LARGER)
    direct = coarse.solve(case, [0.02])
    found = coarse.resume(case, resolved.isel(time=[0]), [0.02])
    size = float(np.sqrt((direct.u**2).mean()))
    for n in "uvw":
        # the coarse grid leaves out waves that the fine one has, as the beginning on it does
        assert float(np.sqrt(((found[n] - direct[n]) ** 2).mean())) < 0.02 * size


def test_rollouts_on_a_coarser_grid_are_filtered_as_data_are():
    case, solver = small(), ChannelFlow(LARGER)
    fine = solver.solve(case, [0.02, 0.04])
    data = filtered(case, fine, (6, 13, 8), ("u", "v", "w", "p"))
    start = _start(case, data)
    direct = solver.begin(start)
    again = filtered(case, fine.isel(time=[0]).assign({n: (fine[n].dims, direct.state[n][None]) for n in "uvw"}),
                     (6, 13, 8), ("u",))  # fmt: skip
    # there and back: means over coarse cells go through as values, which is what a restart has to live with
    assert float(np.sqrt(((again.u - data.u.isel(time=0)) ** 2).mean())) < 0.05 * float(abs(data.u).max())
    rows = next(iter(solver.rollout([start], np.array([[0.04]]))))[0]
    assert rows.shape == (4, 6, 13, 8)
    whole = solver.resume(case, data.isel(time=[0]), [0.04])
    np.testing.assert_allclose(rows[0], filtered(case, whole, (6, 13, 8), ("u",)).u.values[0], atol=1e-10)


def test_a_frame_with_divergence_loses_it_and_not_more():
    """White noise of size 1 on a frame: without its gradient part what is left is no larger."""
    case, solver = small(), ChannelFlow(LARGER)
    first = solver.solve(case, [0.0])
    rng, noise = np.random.default_rng(0), 0.1
    noisy = first.assign({n: first[n] + noise * rng.standard_normal(first[n].shape) for n in "uvw"})
    found = solver.resume(case, noisy, [0.0])
    for n in "uvw":
        assert float(np.sqrt(((found[n] - first[n]) ** 2).mean())) < noise


@pytest.mark.parametrize("cells", [4, 6, 12])
def test_the_mean_of_the_beginning_owes_nothing_to_the_disturbance(cells):
    case = small()
    grid = stretched(case, (cells, 17, cells))
    found = PROBLEM.initial_state(case, grid)
    np.testing.assert_allclose(found["u"].mean((0, 2)), PROBLEM.mean_profile(case, grid.centres[1]), atol=1e-12)
    np.testing.assert_allclose(found["w"].mean((0, 2)), 0.0, atol=1e-12)


def test_filtering_takes_means_between_walls_and_long_waves_along_them(resolved):
    case, found = small(), resolved.isel(time=[0]).copy(deep=True)
    x, y, z = stretched(case, (18, 65, 24)).centres
    wave = np.cos(2 * np.pi * 2 * x / case.length_x + 0.3) + np.cos(2 * np.pi * 7 * x / case.length_x)
    across = np.cos(2 * np.pi * z / case.length_z - 1.0)
    found["u"] = found.u.copy(data=((1 - y**2)[:, None] * wave[None, :] * across[:, None, None])[None])
    coarse = filtered(case, found, (6, 11, 8), ("u", "p"))
    grid = stretched(case, (6, 11, 8))
    edges = grid.faces[1]
    mean = np.diff(edges - edges**3 / 3) / np.diff(edges)
    kept = np.cos(2 * np.pi * 2 * grid.centres[0] / case.length_x + 0.3)
    span = np.cos(2 * np.pi * grid.centres[2] / case.length_z - 1.0)
    expected = span[:, None, None] * mean[:, None] * kept
    np.testing.assert_allclose(coarse.u.values[0], expected, atol=1e-12)
    assert "v" not in coarse and "wall_shear" in coarse
    with pytest.raises(InputError, match="at most as many cells"):
        filtered(case, found, (6, 72, 8), ("u",))


# -- subgrid models -----------------------------------------------------------------------------------------------


def test_subgrid_models_on_known_gradients():
    zero, one = jnp.zeros((1, 1, 1)), jnp.ones((1, 1, 1))
    shear = [[zero, 3 * one, zero], [zero] * 3, [zero] * 3]
    turning = [[zero, one, zero], [-one, zero, zero], [zero] * 3]
    width, c = jnp.full(1, 0.5), jnp.full(1, 0.325**2)
    assert float(WALE().viscosity(shear, c, width)[0, 0, 0]) < 1e-20
    assert float(DynamicSmagorinsky().viscosity(turning, c, width)[0, 0, 0]) < 1e-15
    assert float(DynamicSmagorinsky().viscosity(shear, c, width)[0, 0, 0]) == pytest.approx(0.325**2 * 3, rel=1e-6)
    # uniaxial strain (2, −1, −1): g² = (4, 1, 1), Sᵈ = (2, −1, −1), S:S = 6 = Sᵈ:Sᵈ
    strained = [[2 * one, zero, zero], [zero, -one, zero], [zero, zero, -one]]
    expected = 0.325**2 * 0.25 * 6**1.5 / (6**2.5 + 6**1.25)
    assert float(WALE().viscosity(strained, c, width)[0, 0, 0]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("closure", [WALE(), DynamicSmagorinsky()])
def test_slopes_of_subgrid_models_at_rest_are_numbers(closure):
    def total(size):
        zero = jnp.zeros((2, 1, 1))
        gradient = [[size * zero] * 3 for _ in range(3)]
        return closure.viscosity(gradient, jnp.full(2, 0.1), jnp.full(2, 0.5)).sum()

    assert np.isfinite(float(jax.grad(total)(1.0)))


def test_the_dynamic_coefficient_against_its_formula():
    """By NumPy, with transforms of its own."""
    rng, (ny, nz, nx) = np.random.default_rng(3), (3, 12, 18)
    from sciml.solvers._channel_stepper import Planes

    planes = Planes(nz, nx)

    def cut(a, share):
        modes = np.fft.fft2(a)
        keep_z = np.abs(np.fft.fftfreq(nz, 1 / nz))[:, None] <= share * planes.mz
        keep_x = np.abs(np.fft.fftfreq(nx, 1 / nx))[None] <= share * planes.mx
        return np.fft.ifft2(modes * keep_z * keep_x).real

    u = cut(rng.standard_normal((3, ny, nz, nx)), 1)
    g = cut(rng.standard_normal((3, 3, ny, nz, nx)), 1)

    def hat(a):
        modes = np.fft.fft2(cut(a, 1))
        keep_z = np.abs(np.fft.fftfreq(nz, 1 / nz))[:, None] <= planes.mz // 2
        return np.fft.ifft2(modes * keep_z * (np.abs(np.fft.fftfreq(nx, 1 / nx))[None] <= planes.mx // 2)).real

    s = (g + np.swapaxes(g, 0, 1)) / 2
    size = np.sqrt(2 * (s**2).sum((0, 1)))
    sh = hat(s)
    large = np.sqrt(2 * (sh**2).sum((0, 1)))
    m = 2 ** (4 / 3) * large * sh - hat(size * s)
    ell = hat(u[:, None] * u[None]) - hat(u)[:, None] * hat(u)[None]
    expected = np.maximum(-0.5 * (ell * m).sum((0, 1)).mean((1, 2)) / (m**2).sum((0, 1)).mean((1, 2)), 0)

    stepper = SimpleNamespace(planes=planes)
    with jax.enable_x64(True):
        gradient = [[jnp.asarray(g[i, j]) for j in range(3)] for i in range(3)]
        found = DynamicSmagorinsky().coefficient(jnp.asarray(u), gradient, stepper)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-10)


@pytest.mark.parametrize("closure", [WALE(), DynamicSmagorinsky()])
def test_subgrid_models_take_energy_and_leave_laws_alone(closure):
    case = small(viscosity=1 / 400, disturbance=6.0)
    plain, modelled = (ChannelFlow(LARGER, c).solve(case, [0.05, 0.1]) for c in (None, closure))
    energy = [float(((f.v**2 + f.w**2).isel(time=1)).mean()) for f in (plain, modelled)]
    assert energy[1] < energy[0]
    grid = stretched(case, LARGER)
    a, b, c = (slopes(modelled[n].values[1], case, grid) for n in "uvw")
    assert abs(a[0] + b[1][:, 1:-1] + c[2]).max() < 1e-10 * abs(a[0]).max()


# -- gradients, bad requests --------------------------------------------------------------------------------------


def test_gradients_agree_with_differences():
    case, solver = small(), ChannelFlow((6, 13, 8), cfl=1.0)
    parameters, inputs = solver.arrays(case)

    def energy(viscosity):
        out = solver.simulate({**parameters, "viscosity": viscosity}, inputs, jnp.array([0.01]), PROBLEM)
        return (out["u"] ** 2).mean()

    with jax.enable_x64(True):
        both, step = jax.jit(jax.value_and_grad(energy)), 1e-6
        slope = float(both(1 / 40)[1])
        difference = float(both(1 / 40 + step)[0] - both(1 / 40 - step)[0]) / (2 * step)
    assert slope == pytest.approx(difference, rel=1e-6)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"resolution": 32}, "expected cells"),
        ({"resolution": (8, 5, 8)}, "7 along y"),
        ({"closure": "wale"}, "expected WALE"),
        ({"dtype": "half"}, "dtype"),
        ({"cfl": 2.0}, r"1\.732"),
        ({"max_substeps": 0}, "max_substeps"),
        ({"derivative": "both"}, "derivative"),
    ],
)
def test_bad_settings(given, words):
    with pytest.raises(InputError, match=words):
        ChannelFlow(**{"resolution": SMALL, **given})


def test_bad_cases():
    with pytest.raises(InputError, match="seed is"):
        PROBLEM.case(seed=0.5)
    with pytest.raises(InputError, match="drive is 'pump'"):
        TurbulentChannel("pump")
    with pytest.raises(InputError, match="constant is -1"):
        WALE(-1)
    with pytest.raises(InputError, match="without a disturbance"):
        PROBLEM.exact(PROBLEM.case(), [0.0], stretched(PROBLEM.case(), (4, 9, 4)).centres)


def test_a_march_that_fails_says_when():
    case = small()
    few = ChannelFlow(SMALL, max_substeps=8)
    with pytest.raises(SolverError, match=r"reached max_substeps = 8 at t = 0\.0"):
        few.solve(case, [0.5])
    first = ChannelFlow(SMALL).solve(case, [0.0])
    wild = first.assign(u=first.u * 1e200)
    with pytest.raises(SolverError, match="values are not finite at t = "):
        few.resume(case, wild, [0.1])
    wild = first.assign(u=first.u * 1e30)  # numbers still, whose steps would never come to an end
    with pytest.raises(SolverError, match="values are not finite"):
        few.resume(case, wild, [0.1])


def test_single_precision_is_single_precision():
    case = small()
    one, two = (ChannelFlow(SMALL, dtype=d).solve(case, [0.05]) for d in ("float64", "float32"))
    assert two.u.dtype == np.float32
    np.testing.assert_allclose(two.u.values, one.u.values, atol=1e-5 * float(abs(one.u).max()))


def test_the_grid_of_a_case_is_what_a_file_gives_back():
    case = PROBLEM.case()
    grid = ChannelFlow((6, 17, 8)).grid(case)
    again = Grid.from_centres(grid.centres, case.geometry)
    np.testing.assert_allclose(again.faces[1], grid.faces[1], atol=1e-12)
    assert again.at is None
    assert replace(case, label="b").geometry.periodic == (True, False, True)
