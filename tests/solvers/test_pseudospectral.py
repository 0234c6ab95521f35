"""The pseudo-spectral solver against exact solutions, symmetries of the equations, and finite differences."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sciml
from sciml.derivatives import numpy as provider
from sciml.errors import InputError, SolverError
from sciml.problems import Burgers, Darcy, TaylorGreen
from sciml.solvers import PseudoSpectral, _fourier

pytestmark = pytest.mark.compiled_quickly


def waves(n, seed=0, length=2 * math.pi, modes=3):
    """A smooth random periodic stream function on (n + 1)² nodes."""
    rng = np.random.default_rng(seed)
    s = 2 * np.pi * np.arange(n + 1) / n
    psi = np.zeros((n + 1, n + 1))
    for i in range(-modes, modes + 1):
        for j in range(modes + 1):
            a, phase = rng.standard_normal() / (1 + i * i + j * j), rng.uniform(0, 2 * np.pi)
            psi += a * np.cos(i * s[None, :] + j * s[:, None] + phase)
    return psi * length / (2 * math.pi)


def nodes(n, length=2 * math.pi):
    return np.linspace(0, length, n + 1)


def test_burgers_reaches_cole_hopf():
    case = Burgers().case(viscosity=1e-2)
    times = [0.0, 0.1, 0.3, 0.5, 1.0]
    found = PseudoSpectral(512).solve(case, times)
    gap = found["u"].values - case.exact(times, (found["x"].values,))["u"]
    assert np.abs(gap).max() < 1e-8
    np.testing.assert_array_equal(found["time"].values, times)


def test_burgers_is_fourth_order_in_time():
    case = Burgers().case(viscosity=2e-2, length=3.0, velocity=0.5)
    errors = []
    for cfl in (0.5, 0.25):
        found = PseudoSpectral(256, cfl=cfl).solve(case, [2.0])
        errors.append(np.abs(found["u"].values - case.exact([2.0], (found["x"].values,))["u"]).max())
    assert 3.6 < math.log2(errors[0] / errors[1]) < 4.6


def test_burgers_converges_faster_than_any_power():
    case = Burgers().case(viscosity=5e-2)
    errors = []
    for n in (16, 32, 64, 128):
        found = PseudoSpectral(n, cfl=2.0 * n / 4096).solve(case, [0.3])  # the same small time step for all
        errors.append(np.abs(found["u"].values - case.exact([0.3], (found["x"].values,))["u"]).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders[0] > 2 and orders[1] > 4 and (orders[2] > 8 or errors[3] < 1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_taylor_green_is_exact_to_rounding(dtype):
    case = TaylorGreen().case(viscosity=0.02, density=1.7, velocity=0.8, length=3.0)
    times = [0.0, 0.4, 2.0]
    found = PseudoSpectral((16, 24), dtype=dtype).solve(case, times)
    exact = case.exact(times, (found["x"].values, found["y"].values))
    decay = -2 * case.viscosity / case.density * (2 * math.pi / case.length) ** 2
    tolerance = 400 * np.finfo(dtype).eps
    for name in ("u", "v", "p"):
        assert found[name].dtype == dtype and found[name].dims == ("time", "y", "x")
        np.testing.assert_allclose(found[name].values, exact[name], rtol=0, atol=tolerance)
    np.testing.assert_allclose(found["u_tendency"].values, decay * exact["u"], rtol=0, atol=tolerance)


def test_the_tendencies_satisfy_the_problem_s_own_balances():
    """A band-limited field: the spectral strong form of continuity and momentum vanishes to rounding."""
    case = TaylorGreen().case(viscosity=0.03, density=1.4, initial_streamfunction=waves(24) + 0.3 * nodes(24)[:, None])
    found = PseudoSpectral(32).solve(case, [0.0])
    grid = sciml.Grid.uniform(case.geometry, 32)
    for name, balance in case.problem.balances().items():
        left = provider.strong(
            balance,
            grid,
            {k: found[k].values[0] for k in ("u", "v", "p")},
            parameters=case.parameters,
            rates={k: found[f"{k}_tendency"].values[0] for k in ("u", "v")},
            method="spectral",
        )
        assert np.abs(left).max() < 1e-12, name

    case = Burgers().case(viscosity=0.03, initial_velocity=0.2 + np.sin(2 * np.pi * (np.arange(24) + 0.5) / 24))
    found = PseudoSpectral(32).solve(case, [0.0])
    left = provider.strong(
        case.problem.balances()["momentum"],
        sciml.Grid.uniform(case.geometry, 32),
        {"u": found["u"].values[0]},
        parameters=case.parameters,
        rates={"u": found["u_tendency"].values[0]},
        method="spectral",
    )
    assert np.abs(left).max() < 1e-12


def test_a_mean_flow_carries_the_field_unchanged():
    """Galilean invariance: with mean flow (U, V) the solution is that at rest, moved by (U, V) t."""
    n, time = 32, 0.75
    psi = waves(n)
    speed = 2 * math.pi / n * 3 / time, -2 * math.pi / n * 2 / time  # three cells along x, two back along y
    moving = psi + speed[0] * nodes(n)[:, None] - speed[1] * nodes(n)[None, :]
    solver = PseudoSpectral(n, cfl=0.1)
    still = solver.solve(TaylorGreen().case(viscosity=0.05, initial_streamfunction=psi), [time])
    moved = solver.solve(TaylorGreen().case(viscosity=0.05, initial_streamfunction=moving), [time])
    for name, mean in (("u", speed[0]), ("v", speed[1]), ("p", 0.0)):
        expected = np.roll(still[name].values[0], (-2, 3), axis=(0, 1)) + mean
        np.testing.assert_allclose(moved[name].values[0], expected, rtol=0, atol=2e-6)
    assert np.mean(moved["u"].values) == pytest.approx(speed[0], abs=1e-12)


def test_energy_and_enstrophy_are_kept_without_viscosity():
    case = TaylorGreen().case(viscosity=1e-12, initial_streamfunction=waves(64, seed=3))
    found = PseudoSpectral(64).solve(case, [0.0, 0.5])
    u, v = found["u"].values, found["v"].values
    energy = (u**2 + v**2).mean(axis=(1, 2))
    assert energy[1] == pytest.approx(energy[0], rel=1e-7)


def test_the_requested_times_do_not_change_the_answer():
    case = TaylorGreen().case(viscosity=0.02, initial_streamfunction=waves(32, seed=1))
    solver = PseudoSpectral(32, cfl=0.1)
    one, many = solver.solve(case, [1.0]), solver.solve(case, [0.013, 0.3, 0.31, 1.0])
    np.testing.assert_allclose(many["u"].values[-1], one["u"].values[-1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("m", "n"), [(12, 12), (12, 20), (13, 32), (20, 14), (31, 15)])
def test_refit_reproduces_band_limited_samples(m, n):
    def f(x):
        return 0.3 + np.cos(2 * np.pi * x) - 2 * np.sin(4 * np.pi * x + 0.3)

    with jax.enable_x64(True):
        values = jnp.asarray(f((np.arange(m) + 0.5) / m))[:, None]
        got = _fourier.refit(values, n, 0, 0.5, 0.25)
    np.testing.assert_allclose(np.asarray(got)[:, 0], f((np.arange(n) + 0.25) / n), rtol=0, atol=1e-13)


def test_initial_fields_of_another_resolution_are_interpolated():
    coarse = TaylorGreen().case(viscosity=0.02, initial_streamfunction=waves(16))
    fine = TaylorGreen().case(viscosity=0.02, initial_streamfunction=waves(48))
    solver = PseudoSpectral(32)
    gap = solver.solve(coarse, [0.2])["u"].values - solver.solve(fine, [0.2])["u"].values
    assert np.abs(gap).max() < 1e-12


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_gradients_equal_finite_differences(mode):
    solver, problem = PseudoSpectral(16, derivative=mode), TaylorGreen()
    parameters, inputs = solver.arrays(problem.case(viscosity=0.05, initial_streamfunction=waves(16)))
    change = solver.arrays(problem.case(initial_streamfunction=waves(16, seed=9)))[1]["u"]

    def loss(viscosity, length, u):
        lengths = jnp.stack([length, 1.1 * length])
        given = parameters | {"viscosity": viscosity}
        out = solver.simulate(given, inputs | {"lengths": lengths, "u": u}, [0.2, 0.5], problem)
        return jnp.sum(jnp.sin(out["u"]) + out["p"] * out["v"])

    with jax.enable_x64(True):
        at = (jnp.asarray(0.05), jnp.asarray(6.0), jnp.asarray(inputs["u"]))
        direction = (jnp.asarray(0.3), jnp.asarray(-0.7), jnp.asarray(change))
        # one program gives values and slopes: it is compiled once
        if mode == "forward":
            both = jax.jit(lambda *at: jax.jvp(loss, at, direction))
            slope = both(*at)[1]
        else:
            both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
            slope = sum(jnp.sum(g * d) for g, d in zip(both(*at)[1], direction, strict=True))
        h = 1e-5
        ahead, back = (both(*(a + s * h * d for a, d in zip(at, direction, strict=True)))[0] for s in (1, -1))
    assert float(slope) == pytest.approx(float((ahead - back) / (2 * h)), rel=1e-6)


def test_simulate_is_vmappable_and_equals_solve():
    solver, problem = PseudoSpectral(32), Burgers()
    parameters, inputs = solver.arrays(problem.case())
    with jax.enable_x64(True):
        many = jax.vmap(lambda nu: solver.simulate(parameters | {"viscosity": nu}, inputs, [0.1, 0.2], problem)["u"])(
            jnp.array([0.05, 0.2])
        )
    for row, viscosity in zip(np.asarray(many), (0.05, 0.2), strict=True):
        one = solver.solve(Burgers().case(viscosity=viscosity), [0.1, 0.2])["u"].values
        np.testing.assert_allclose(row, one, rtol=0, atol=1e-12)


def test_a_failed_case_keeps_its_frames_and_the_others_go_on():
    solver = PseudoSpectral(16, max_substeps=40)
    hopeless = Burgers().case(velocity=100.0, viscosity=0.5, label="too fast")
    data = solver.solve_many([Burgers().case(viscosity=0.1), hopeless], [0.001, 0.5], progress=False)
    np.testing.assert_array_equal(data["status"].values, [0, 1])
    np.testing.assert_array_equal(data["row_size"].values, [2, 1])
    message = str(data["status_message"].values[1])
    assert "too fast" in message and "max_substeps = 40" in message
    with pytest.raises(SolverError, match=r"too fast.*max_substeps = 40 at t = "):
        solver.solve(hopeless, [0.001, 0.5])


def test_values_that_are_not_finite_stop_the_case():
    solver = PseudoSpectral(16, dtype="float32")
    case = Burgers().case(initial_velocity=np.full(16, 1e30) * np.sin(np.arange(16)), viscosity=1e-3)
    with pytest.raises(SolverError, match=r"not finite at t = .*finer resolution"):
        solver.solve(case, [1e-29, 1.0])


def test_under_resolved_solutions_say_so():
    with pytest.warns(UserWarning, match="under-resolved"):
        found = PseudoSpectral(32).solve(Burgers().case(viscosity=1e-4), [0.5])
    assert found.attrs["spectrum_tail"] > 0.01
    assert PseudoSpectral(256).solve(Burgers().case(), [0.5]).attrs["spectrum_tail"] < 1e-3


def test_solutions_are_labelled():
    found = PseudoSpectral(16, cfl=0.3).solve(TaylorGreen().case(label="mine"), [1.0])
    assert found.attrs["solver"] == "pseudo_spectral" and found.attrs["status"] == "ok"
    assert json.loads(found.attrs["settings"]) == {
        "resolution": 16, "dtype": "float64", "cfl": 0.3, "max_substeps": 200_000,
    }  # fmt: skip
    assert found["x"].values[0] == pytest.approx(math.pi / 16)
    assert "PseudoSpectral" in PseudoSpectral(16)._repr_html_()
    assert sciml.registry.solvers.get("pseudo_spectral") is PseudoSpectral


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resolution": 4}, "resolution"),
        ({"resolution": 32.0}, "resolution"),
        ({"dtype": "float16"}, "dtype"),
        ({"cfl": 2.0}, "cfl"),
        ({"cfl": math.nan}, "cfl"),
        ({"max_substeps": 0}, "max_substeps"),
        ({"derivative": "backward"}, "derivative"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        PseudoSpectral(**arguments)


def test_bad_requests_are_refused_before_anything_is_computed():
    solver = PseudoSpectral(16)
    with pytest.raises(InputError, match="cannot solve the problem 'darcy'"):
        solver.solve(Darcy().case())
    with pytest.raises(InputError, match="points"):
        solver.solve(TaylorGreen().case(), [1.0], points=[0.0, 0.0])
    with pytest.raises(InputError, match="2 counts"):
        PseudoSpectral((16, 16, 16)).solve(TaylorGreen().case(), [1.0])
    with pytest.raises(InputError, match="not periodic along x"):
        psi = waves(16) + nodes(16)[None, :] * np.cos(nodes(16))[:, None]
        solver.solve(TaylorGreen().case(initial_streamfunction=psi), [1.0])
    with pytest.raises(InputError, match="expected at least one"):
        solver.solve_many([], [1.0])
    with pytest.raises(InputError, match="one sequence for each"):
        solver.solve_many([TaylorGreen().case()] * 3, [[1.0], [2.0]])
