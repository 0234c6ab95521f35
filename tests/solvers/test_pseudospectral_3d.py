"""The pseudo-spectral solver in three dimensions: exact solutions, orders, balances, symmetries."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sciml
from sciml.errors import InputError, SolverError
from sciml.metrics import energetics
from sciml.problems import Burgers, IsotropicTurbulence, KolmogorovFlow, TaylorGreen, TaylorGreen3D
from sciml.solvers import PseudoSpectral, SpectralEddyViscosity, _fourier_stepper, _time

pytestmark = pytest.mark.compiled_quickly

ROUNDING = 400 * np.finfo(np.float64).eps
#: t, E, ε of the pseudo-spectral simulation with 512³ modes at Re 1600 by W. M. van Rees, A. Leonard, D. I. Pullin, P.
#: Koumoutsakos, J. Comput. Phys. 230, 2794 (2011), as distributed for the workshops on high-order CFD methods
DIRECT = np.array(
    [
        [0.5, 0.124763794961, 0.00048024611],
        [1.0, 0.124515267367, 0.000518820935],
        [1.5, 0.124239364141, 0.00059118405],
        [2.0, 0.12391676584, 0.00070756353],
        [2.5, 0.123522320851, 0.0008808951],
    ]
)


def frame_of(case, fields, shape, time=0.0):
    """A solution with one frame, from functions of x, y, z or arrays."""
    grid = sciml.Grid.uniform(case.geometry, shape)
    places = [grid.points()[..., a] for a in range(3)]
    values = {n: f(*places) + np.zeros(grid.shape) if callable(f) else f for n, f in fields.items()}
    return sciml.data.solution(case, [time], {n: (("time", *grid.dims), v[None]) for n, v in values.items()}, grid)


def velocity(frame, k=-1):
    return np.stack([frame[n].values[k] for n in "uvw"])


SHAPE = (12, 16, 20)  # counts that differ tell the axes apart
EXACT, CUBE = PseudoSpectral(SHAPE, cfl=0.5), PseudoSpectral(12, cfl=0.5)  # each is compiled once for all tests
FLOW = TaylorGreen3D().case(viscosity=0.05, density=1.3, length=3.0, velocity=0.8)
K = 2 * math.pi / 3.0


@pytest.mark.parametrize(("a", "b"), list(itertools.permutations(range(3), 2)))
def test_plane_vortices_along_each_pair_of_axes_decay_exactly(a, b):
    """In two dimensions the Taylor-Green vortices are an exact solution, with pressure."""
    names, time, size = "uvw", 0.7, 0.8

    def part(c):
        if c == a:
            return lambda *x: size * np.cos(K * x[a]) * np.sin(K * x[b])
        return (lambda *x: -size * np.sin(K * x[a]) * np.cos(K * x[b])) if c == b else (lambda *x: 0.0)

    begun = frame_of(FLOW, {n: part(c) for c, n in enumerate(names)}, SHAPE)
    found = EXACT.resume(FLOW, begun, [time])
    decay = math.exp(-2 * 0.05 / 1.3 * K**2 * time)
    np.testing.assert_allclose(velocity(found), decay * velocity(begun), rtol=0, atol=ROUNDING)
    grid = sciml.Grid.uniform(FLOW.geometry, SHAPE)
    turns = [np.cos(2 * K * grid.points()[..., c]) for c in (a, b)]
    pressure = -1.3 * size**2 / 4 * (turns[0] + turns[1]) * decay**2
    np.testing.assert_allclose(found["p"].values[0], pressure, rtol=0, atol=ROUNDING)


def test_beltrami_flow_decays_exactly():
    """∇×u = k u: the flux is a gradient, u ∝ e^(−νk²t) and p = −ρ(|u|² − ⟨|u|²⟩)/2."""
    one, two, three, time = 1.0, 0.7, 0.4, 0.9
    fields = {
        "u": lambda x, y, z: one * np.sin(K * z) + three * np.cos(K * y),
        "v": lambda x, y, z: two * np.sin(K * x) + one * np.cos(K * z),
        "w": lambda x, y, z: three * np.sin(K * y) + two * np.cos(K * x),
    }
    begun = frame_of(FLOW, fields, SHAPE)
    found = EXACT.resume(FLOW, begun, [time])
    expected = math.exp(-0.05 / 1.3 * K**2 * time) * velocity(begun)
    np.testing.assert_allclose(velocity(found), expected, rtol=0, atol=2 * ROUNDING)
    square = (expected**2).sum(0)
    np.testing.assert_allclose(found["p"].values[0], -1.3 / 2 * (square - square.mean()), rtol=0, atol=4 * ROUNDING)
    # what is linear in the fields is exact, too, whatever the step: the same flow fed by ρ A u
    fed = IsotropicTurbulence().case(viscosity=0.05, density=1.3, length=3.0, forcing=0.9)
    begun = frame_of(fed, fields, 12)
    found, decay = CUBE.resume(fed, begun, [time]), math.exp((0.9 - 0.05 / 1.3 * K**2) * time)
    np.testing.assert_allclose(velocity(found), decay * velocity(begun), rtol=0, atol=8 * ROUNDING)


def stepper(case, shape, cfl, closure=None, **more):
    """The method itself, so that several steps share one compiled march."""
    system, lengths = _fourier_stepper.system(case.problem), [2 * math.pi] * 3
    given = dict(case.parameters) | more
    return _fourier_stepper.FourierStepper(system, given, lengths, shape, [0.0] * 3, cfl, closure)


def test_fourth_order_in_time():
    case, shape = IsotropicTurbulence().case(viscosity=0.02, peak=2.0, forcing=0.3, seed=5), (12,) * 3
    begun = case.problem.initial_state(case, sciml.Grid.uniform(case.geometry, shape))

    @jax.jit
    def march(cfl):
        method = stepper(case, shape, cfl)
        state = method.start({n: jnp.asarray(v) for n, v in begun.items()})
        return _time.march(method, _time.Controls(10_000, 1, "forward"), state, jnp.array([0.5])).state

    with jax.enable_x64(True):
        fine, *found = (np.asarray(march(c)) for c in (0.1, 1.2, 0.6, 0.3))
    errors = [np.abs(f - fine).max() for f in found]
    assert 3.6 < math.log2(errors[0] / errors[1]) < 4.6 and 3.6 < math.log2(errors[1] / errors[2]) < 4.6


def test_finer_grids_converge_faster_than_any_power():
    case = TaylorGreen3D().at_reynolds(40.0)
    figures = []
    for n in (8, 16, 24):
        found = velocity(PseudoSpectral(n, cfl=n / 64).solve(case, [0.0, 1.0]))  # about one step for all
        figures.append(float(energetics(found, [2 * math.pi] * 3).enstrophy))
    first, second = (abs(f / figures[2] - 1) for f in figures[:2])
    assert first > 1e-3 and math.log2(first / second) > 8


def test_energy_goes_where_the_balance_says():
    """⟨u·∂t u⟩ = −ε + 2 A E to rounding, since truncated fluxes carry energy and make none; and over time to the
    accuracy of the steps and of Simpson's rule."""
    case = IsotropicTurbulence().case(viscosity=0.02, density=2.0, peak=3.0, forcing=0.25, seed=2)
    times = np.linspace(0.0, 0.4, 17)
    found = PseudoSpectral(24, cfl=0.25).solve(case, times)
    u = np.stack([found[n].values for n in "uvw"], axis=1)
    rate = np.stack([found[f"{n}_tendency"].values for n in "uvw"], axis=1)
    e = energetics(u, [2 * math.pi] * 3)
    power = -e.dissipation(0.02 / 2.0) + 2 * 0.25 * e.energy
    np.testing.assert_allclose((u * rate).sum(1).mean((1, 2, 3)), power, rtol=1e-12)
    np.testing.assert_allclose(2 * e.strain, 2 * e.enstrophy, rtol=1e-12)
    simpson = (power[0] + power[-1] + 4 * power[1::2].sum() + 2 * power[2:-1:2].sum()) * 0.025 / 3
    assert e.energy[-1] - e.energy[0] == pytest.approx(simpson, rel=1e-5)


def test_taylor_green_follows_the_direct_simulation_until_the_grid_is_too_coarse():
    case = TaylorGreen3D().at_reynolds(1600.0)
    with pytest.warns(UserWarning, match=r"shortest waves hold .* of u, v, w; the solution is under-resolved"):
        found = PseudoSpectral(32, cfl=1.0).solve(case, [0.0, *DIRECT[:, 0], 4.0])
    e = energetics(np.stack([found[n].values for n in "uvw"], axis=1), [2 * math.pi] * 3)
    assert float(e.energy[0]) == pytest.approx(1 / 8, rel=1e-12)
    assert float(e.enstrophy[0]) == pytest.approx(3 / 8, rel=1e-12)
    dissipation = np.asarray(e.dissipation(case.viscosity))[1:-1]
    off = np.abs(dissipation / DIRECT[:, 2] - 1)
    assert off[:2].max() < 1e-5 and off.max() < 1e-2
    np.testing.assert_allclose(np.asarray(e.energy)[1:-1], DIRECT[:, 1], rtol=2e-5)
    assert abs(float(e.dissipation(case.viscosity)[-1]) / 0.002066236485 - 1) > 0.1  # and then it does not


def test_the_axes_are_alike():
    """x → y → z → x, and mirrors: the image of a solution is the solution from the image of its start."""
    case, solver = IsotropicTurbulence().case(viscosity=0.03, peak=2.0, seed=8), CUBE
    begun = solver.solve(case, [0.0])
    found = solver.resume(case, begun, [0.4])

    def turned(values):  # (component, z, y, x): what was along x is now along y
        return np.stack([np.moveaxis(values[c], (0, 1, 2), (2, 0, 1)) for c in (2, 0, 1)])

    turn = dict(zip("uvw", turned(velocity(begun)), strict=True))
    later = solver.resume(case, frame_of(case, turn, 12), [0.4])
    np.testing.assert_allclose(velocity(later), turned(velocity(found)), rtol=0, atol=1e-12)
    for mirror in TaylorGreen3D.symmetries:
        _, image = mirror.solution(case, {n: begun[n].values[0] for n in "uvw"})
        later = solver.resume(case, frame_of(case, image, 12), [0.4])
        _, expected = mirror.solution(case, {n: found[n].values[0] for n in "uvw"})
        np.testing.assert_allclose(velocity(later), [expected[n] for n in "uvw"], rtol=0, atol=1e-12)


def test_derivatives():
    """Of rates and pressure, in reverse, against central differences; steps and the march are those of the plane."""
    case = IsotropicTurbulence().case(viscosity=0.05, peak=1.0, forcing=0.2)
    _, inputs = PseudoSpectral(8).arrays(case)

    def loss(viscosity, u):
        method = stepper(case, (8,) * 3, 1.0, viscosity=viscosity)
        state = method.start({"u": u, "v": jnp.asarray(inputs["v"]), "w": jnp.asarray(inputs["w"])})
        out = method.frame(state, jnp.zeros(()))
        return jnp.sum(jnp.sin(out["u_tendency"]) * out["w_tendency"] + out["p"] * out["v"])

    with jax.enable_x64(True):
        at, way = (jnp.asarray(0.05), jnp.asarray(inputs["u"])), (0.3, jnp.asarray(inputs["v"]))
        both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
        _, parts = both(*at)
        ahead, back = (both(*(a + s * 1e-5 * d for a, d in zip(at, way, strict=True)))[0] for s in (1, -1))
        slope = sum(float(jnp.sum(p * d)) for p, d in zip(parts, way, strict=True))
    assert all(np.isfinite(p).all() for p in parts)
    assert slope == pytest.approx(float(ahead - back) / 2e-5, rel=1e-6)


def test_a_step_makes_no_more_transforms_than_it_needs():
    """Three fields back, and five of the six fluxes forth: the sixth acts as a pressure does."""

    def step(modes):
        return stepper(TaylorGreen3D().case(), (8,) * 3, 0.5).step(modes, 0.0, 1.0)

    text = jax.jit(step).lower(jnp.zeros((3, 8, 8, 5), jnp.complex64)).compile().as_text()
    assert text.count(" fft(") == 4 * 8


def test_audits():
    case = TaylorGreen3D().at_reynolds(50.0)
    found = PseudoSpectral(16).solve(case, [0.0, 1.0])
    audit = sciml.audit(found)
    whole = [r for r in audit.rows if r.check == "balance" and r.size == 0]
    assert [r.name for r in whole] == ["continuity", "momentum x", "momentum y", "momentum z"]
    assert all(r.rms <= r.floor for r in whole)
    single = audit.select("momentum z", 1)[0]
    assert single.rms < 4 * single.floor
    found["w"] = (found["w"].dims, -found["w"].values)
    for name in ("continuity", "momentum z"):
        row = sciml.audit(found).select(name, 1)[0]
        assert row.rms > 4 * row.floor, name


def test_the_eddy_viscosity_is_the_formula_s():
    """One wave in the last whole shell, and one elsewhere that is damped for it; without the first, nothing is."""
    n, last, case = 24, 7, TaylorGreen3D().case(viscosity=1e-3)
    x, z = np.meshgrid(*[2 * np.pi * (np.arange(n) + 0.5) / n] * 2)
    wave = {"u": 0.1 * np.cos(last * z), "v": 0.2 * np.sin(2 * x)}
    full = {c: np.broadcast_to(v[:, None, :], (n,) * 3) for c, v in wave.items()} | {"w": np.zeros((n,) * 3)}
    closure = SpectralEddyViscosity(1.5)

    @jax.jit
    def change(fields):
        found = []
        for c in (closure, None):
            method = stepper(case, (n,) * 3, 0.5, c)
            rate = method.rest(method.start(fields), jnp.zeros(()))[0]
            found.append([method.back(r) for r in rate])
        return [a - b for a, b in zip(*found, strict=True)]

    with jax.enable_x64(True):
        found = change({c: jnp.asarray(v) for c, v in full.items()})
        still = change({c: jnp.asarray(v) for c, v in (full | {"u": 0 * full["u"]}).items()})
    size = 0.441 * 1.5**-1.5 * math.sqrt(0.1**2 / 4 / last)
    for got, name, k in zip(found, "uv", (last, 2), strict=False):
        expected = -size * (1 + 34.47 * math.exp(-3.03 * last / k)) * k**2 * full[name]
        np.testing.assert_allclose(np.asarray(got), expected, rtol=0, atol=1e-13)
    assert max(float(np.abs(s).max()) for s in still) < 1e-9  # √ of what rounding leaves in the shell


@pytest.mark.parametrize("closure", [SpectralEddyViscosity(), None])
def test_settings_name_the_closure(closure):
    settings = PseudoSpectral(24, closure=closure).settings
    assert settings.get("closure", {}).get("name") == (None if closure is None else "spectral_eddy_viscosity")
    assert (PseudoSpectral(24, closure=closure) == PseudoSpectral(24)) == (closure is None)


def test_wrong_requests():
    with pytest.raises(InputError, match="3 counts"):
        PseudoSpectral((16, 16)).solve(TaylorGreen3D().case(), [1.0])
    with pytest.raises(InputError, match="closure is 'smagorinsky', expected a SpectralEddyViscosity"):
        PseudoSpectral(16, closure="smagorinsky")
    with pytest.raises(InputError, match="kolmogorov: expected a number > 0, got 0"):
        SpectralEddyViscosity(0)
    for problem in (TaylorGreen(), Burgers(), KolmogorovFlow()):
        assert not PseudoSpectral(16, closure=SpectralEddyViscosity()).supports(problem)
    case = TaylorGreen3D().case(velocity=1e200, viscosity=1e-3, label="too fast")
    with pytest.raises(SolverError, match=r"too fast.*not finite at t = .*finer resolution") as caught:
        EXACT.solve(case, [1.0])
    assert "\n" not in str(caught.value)
