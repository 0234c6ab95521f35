"""Advection and Allen-Cahn: exact and limiting solutions, solvers at their orders, what the equations keep."""

import math

import numpy as np
import pytest

import sciml
from sciml import Grid, Points
from sciml.derivatives import numpy as provider
from sciml.problems import Advection, AllenCahn
from sciml.solvers import FiniteVolume, PseudoSpectral


def gap(case, solver, times):
    """Largest difference of a solver from the exact solution at its own points."""
    found = solver.solve(case, times)
    exact = case.exact(times, (found["x"].values,))["u"]
    if isinstance(solver, FiniteVolume):  # these are means over cells
        width = case.length / len(found["x"])
        exact = exact * np.sinc(width / case.length)
    return float(np.abs(found["u"].values - exact).max())


def test_pseudo_spectral_waves_travel_at_fourth_order_in_time():
    case = Advection().case(speed=-2.0, length=2 * math.pi)
    coarse, fine = (gap(case, PseudoSpectral(32, cfl=cfl), [0.0, 0.7, 3.0]) for cfl in (0.5, 0.25))
    assert fine < 1e-4 and 3.8 < math.log2(coarse / fine) < 5.2


def test_finite_volumes_carry_waves_at_their_order():
    case = Advection().case(speed=1.5, length=3.0, amplitude=2.0)
    coarse, fine = (gap(case, FiniteVolume(n), [2.0]) for n in (64, 128))
    assert math.log2(coarse / fine) > 1.8


@pytest.mark.parametrize("speed", [30.0, 50.0, 80.0])
def test_fast_waves_come_back(speed):
    """After whole periods the exact solution is the initial state."""
    case = Advection().case(speed=speed, length=2 * math.pi)
    x = np.linspace(0, 2 * math.pi, 33)
    u = case.exact([0.0, 2 * math.pi / speed, 10 * 2 * math.pi / speed], (x,))["u"]
    np.testing.assert_allclose(u[1:], np.broadcast_to(u[0], (2, 33)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(u[0], np.sin(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "case",
    [
        Advection().case(length=2.0, initial_concentration=np.arange(4.0)),
        AllenCahn().case(initial_phase=np.arange(4.0)),
    ],
)
def test_initial_values_of_one_s_own_on_cells_and_on_points(case):
    low = case.geometry.lower[0]
    grid = Grid.uniform(case.geometry, 4)
    np.testing.assert_array_equal(case.problem.initial_state(case, grid)["u"], np.arange(4.0))
    points = Points(np.array([[low + 0.25], [low + 0.5], [low + 1.0], [low + 2.0]]))
    found = case.problem.initial_state(case, points)["u"]
    np.testing.assert_allclose(found, [0.0, 0.5, 1.5, 1.5], rtol=0, atol=1e-14)  # across the seam: between 3 and 0


def test_a_front_of_allen_cahn_stands_still():
    """u = tanh(x √(γ/2κ)) has no residual, away from where the period cuts it."""
    case = AllenCahn().case(diffusivity=5e-3, rate=2.0)
    worst = []
    for n in (200, 400):
        grid = Grid.uniform(case.geometry, n)
        u = np.tanh(grid.centres[0] * math.sqrt(case.rate / (2 * case.diffusivity)))
        left = provider.strong(
            case.problem.balances()["phase"], grid, {"u": u}, parameters=case.parameters, rates={"u": np.zeros(n)}
        )
        worst.append(np.abs(left[..., n // 4 : -n // 4]).max())
    assert worst[1] < 0.05 and math.log2(worst[0] / worst[1]) > 1.8


@pytest.mark.parametrize(("solver", "error"), [(PseudoSpectral(16, cfl=0.05), 2e-5), (FiniteVolume(16), 1e-4)])
@pytest.mark.parametrize("start", [0.1, -0.6, 1.3])
def test_a_uniform_phase_follows_the_logistic_law(solver, error, start):
    """u(t)² = 1/(1 + (1/u₀² − 1) e^(−2γt))."""
    case = AllenCahn().case(initial_phase=np.full(16, start))
    t = np.array([0.05, 0.2, 1.0])
    found = solver.solve(case, t)["u"].values
    exact = np.sign(start) / np.sqrt(1 + (1 / start**2 - 1) * np.exp(-2 * case.rate * t))
    np.testing.assert_allclose(
        found, np.broadcast_to(exact[:, None], found.shape), rtol=0, atol=error
    )  # of their steps in time


def onto(values, n):
    """The trigonometric polynomials through values at cell centres, at the centres of n cells over the same period."""
    m = values.shape[-1]
    k = np.arange(m // 2 + 1)
    turn = np.exp(2j * np.pi * k * ((np.arange(n) + 0.5) / n - 0.5 / m)[:, None])
    weights = np.where((k == 0) | (2 * k == m), 1, 2)
    return (np.fft.rfft(values) * weights @ turn.T).real / m


def test_two_solvers_agree_on_the_benchmark_and_its_energy_never_grows():
    case = AllenCahn().case()
    t = np.linspace(0.0, 1.0, 6)
    truth = PseudoSpectral(1024).solve(case, t)["u"].values

    def gaps(values):
        there = onto(truth, values.shape[-1])
        return np.linalg.norm(values - there, axis=1) / np.linalg.norm(there, axis=1)

    coarse, fine = (gaps(FiniteVolume(n).solve(case, t)["u"].values) for n in (128, 256))
    assert fine.max() < 2e-3 and math.log2(coarse[-1] / fine[-1]) > 1.8
    assert gaps(PseudoSpectral(512).solve(case, t)["u"].values)[1:].max() < 1e-4
    energy = case.problem.energy(case, truth)
    assert np.all(np.diff(energy) < 0)
    assert np.abs(truth).max() < 1 + 1e-6
    np.testing.assert_allclose(truth, truth[:, ::-1], rtol=0, atol=1e-9)  # even, as it began


def test_energy_of_a_known_wave():
    """∫ κ/2 (A k cos kx)² + γ/4 (A² sin² kx − 1)² dx over the period of 2."""
    case = AllenCahn().case(diffusivity=0.3, rate=2.0)
    x = -1 + 2 * np.arange(64) / 64
    a, k = 0.7, 3 * math.pi
    expected = 0.3 / 2 * a**2 * k**2 + 2.0 / 4 * 2 * (3 / 8 * a**4 - a**2 + 1)
    assert case.problem.energy(case, a * np.sin(k * x)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["advection", "allen_cahn"])
def test_designs_make_cases_that_a_solver_solves(name, tmp_path):
    out = tmp_path / "set.h5"
    sciml.solvers.generate(name, out, cases=2, frames=3, resolution=64, progress=False)
    found = sciml.data.open(out)
    assert found.sizes["case"] == 2 and np.isfinite(found["u"].values).all()
