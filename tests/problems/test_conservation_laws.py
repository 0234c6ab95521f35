"""Conservation laws with known masses: exact solutions, what passes their ends, solvers through fronts and jumps."""

import math
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import erf
from scipy.integrate import quad

from sciml import Flux, Grid, Points
from sciml.derivatives import jax as on_functions
from sciml.derivatives import numpy as on_arrays
from sciml.errors import InputError
from sciml.problems import (
    Advection,
    Burgers,
    BurgersRamp,
    Darcy,
    Diffusion,
    HeatEquation,
    PorousMedium,
    Stefan,
    StepTransport,
    TaylorGreen,
)
from sciml.problems.designs import Request
from sciml.solvers import FiniteVolume, ShockCapturing
from sciml.solvers.references import reference


def porous(m):
    return PorousMedium().case(exponent=m), lambda t: m ** (1 + 1 / m) * t ** (1 + 1 / m) / (m + 1), lambda t: t


def stefan(threshold):
    case = Stefan().case(threshold=threshold)
    alpha, c = case.problem.front(case)
    return case, lambda t: 2 * c * math.sqrt(t / math.pi), lambda t: alpha * math.sqrt(t)


def ramp(a):
    place = lambda t: (a * t - 1) / 2 if a * t > 1 else a * t - 1  # noqa: E731
    return BurgersRamp().case(height=a), lambda t: a / 2 * (1 + a * t), place


#: case, its mass in closed form, where it has a kink or a jump, times
KNOWN = {
    "diffusion": (Diffusion().case(diffusivity=5.0), lambda t: 0.0, lambda t: 1.0, [0.0, 0.2, 1.0]),
    "porous, m = 1": (*porous(1.0), [0.0, 0.1, 0.5, 1.0]),
    "porous, m = 3": (*porous(3.0), [0.0, 0.1, 0.5, 1.0]),
    "porous, m = 6": (*porous(6.0), [0.0, 0.1, 0.5, 1.0]),
    "stefan, 0.6": (*stefan(0.6), [0.0, 0.01, 0.05, 0.1]),
    "stefan, 0.5": (*stefan(0.5), [0.0, 0.01, 0.05, 0.1]),
    "step": (StepTransport().case(speed=3.0), lambda t: 0.5 + min(3 * t, 0.5), lambda t: 0.5 + 3 * t, [0.0, 0.1, 0.5]),
    "ramp, a = 1": (*ramp(1.0), [0.0, 0.5, 1.5]),
    "ramp, a = 3": (*ramp(3.0), [0.0, 0.2, 0.5, 0.9]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_mass_from_the_balance_is_that_of_the_exact_solution(name):
    case, closed, place, times = KNOWN[name]
    box = case.geometry
    found = case.problem.mass(case, times)
    np.testing.assert_allclose(found, [closed(t) for t in times], rtol=1e-12, atol=1e-14)
    for t, mass in zip(times, found, strict=True):
        inner = [place(t)] if box.lower[0] < place(t) < box.upper[0] else []
        inner += [0.0] if box.lower[0] < 0 else []
        ends = np.unique([box.lower[0], *inner, box.upper[0]])
        u = lambda x, t=t: case.exact([t], (np.array([x]),))["u"][0, 0]  # noqa: E731
        parts = [quad(u, a + 1e-13, b - 1e-13, epsabs=1e-11)[0] for a, b in pairwise(ends)]
        assert sum(parts) == pytest.approx(mass, abs=1e-8)


@pytest.mark.parametrize("name", ["porous", "stefan", "ramp", "step"])
def test_mass_after_it_has_got_to_the_other_end(name):
    """What passes the right end is counted as well, so that the balance holds for all times."""
    case, t = {"porous": (PorousMedium().case(exponent=2.0), 1.7), "stefan": (Stefan().case(), 1.3),
               "ramp": (BurgersRamp().case(), 4.0), "step": (StepTransport().case(), 2.0)}[name]  # fmt: skip
    u = lambda x: case.exact([t], (np.array([x]),))["u"][0, 0]  # noqa: E731
    inside = quad(u, case.geometry.lower[0], case.geometry.upper[0])[0]
    assert case.problem.mass(case, t)[0] == pytest.approx(inside, rel=1e-9)


SMOOTH = {  # where it is smooth, typed once more
    "diffusion": (Diffusion().case(diffusivity=0.4), lambda z: jnp.exp(-0.4 * z[1]) * jnp.sin(z[0]), (0, 6), (0, 2)),
    "porous": (
        PorousMedium().case(exponent=2.5), lambda z: (2.5 * (z[1] - z[0])) ** 0.4, (0.0, 0.4), (0.5, 0.9),
    ),
    "stefan": (
        Stefan().case(threshold=0.6, diffusivity=2.0),
        lambda z: 1 - Stefan().front(Stefan().case(threshold=0.6))[1] * erf(z[0] / (2 * jnp.sqrt(2.0 * z[1]))),
        (0.0, 0.2), (0.05, 0.1),
    ),
    "ramp": (BurgersRamp().case(height=2.0), lambda z: -2 * z[0] / (1 - 2 * z[1]), (-0.5, -0.1), (0.0, 0.2)),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_exact_solutions_satisfy_the_balance(name):
    case, u, places, times = SMOOTH[name]
    points = np.random.default_rng(0).uniform((places[0], times[0]), (places[1], times[1]), (50, 2))
    (balance,) = case.problem.balances().values()
    with jax.enable_x64(True):
        left = on_functions.residual(balance, {"u": u}, jnp.asarray(points), parameters=case.parameters)
        values = jax.vmap(u)(jnp.asarray(points))
    assert np.abs(np.asarray(left)).max() < 1e-11
    exact = [case.exact([t], (np.array([x]),))["u"][0, 0] for x, t in points]
    np.testing.assert_allclose(values, exact, rtol=1e-12)


def test_the_front_of_ice_keeps_the_jump_condition():
    """u* dX/dt = −∂x u at X = α√t, where u = u*; and what has no heat stays so."""
    for threshold in (0.1, 0.5, 0.6, 0.9):
        case = Stefan().case(threshold=threshold)
        alpha, c = case.problem.front(case)
        t = 0.07
        place = alpha * math.sqrt(t)
        before, behind = case.exact([t], (np.array([place * (1 - 1e-12), place * (1 + 1e-12)]),))["u"][0]
        assert before == pytest.approx(threshold, rel=1e-10) and behind == 0
        slope = -c / math.sqrt(math.pi * t) * math.exp(-(alpha**2) / 4)
        assert threshold * alpha / (2 * math.sqrt(t)) == pytest.approx(-slope, rel=1e-12)


def orders(case, solver, times, cells):
    """L1 errors a time and observed orders between the first and the last resolution."""
    errors = []
    for n in cells:
        found = solver(n).solve(case, times)
        gap = np.abs(found["u"].values - case.exact(times, (found["x"].values,))["u"])
        errors.append(gap.mean(1))
    return np.log(errors[0] / errors[-1]) / np.log(cells[-1] / cells[0]), errors[-1], found


def test_finite_volumes_follow_the_front_of_the_porous_medium():
    """u = (m(t − x))^(1/m) is no smoother than its power: first order in L1, and the front is where it should be."""
    times = [0.25, 0.5]
    found, last, solution = orders(PorousMedium().case(exponent=3.0), FiniteVolume, times, (25, 100))
    assert (found > 1.0).all() and (last < 6e-4).all()
    u, x = solution["u"].values, solution["x"].values
    assert u.min() >= 0 and (np.diff(u) <= 1e-9).all()
    for frame, t in zip(u, times, strict=True):
        assert abs(x[frame > 0.05].max() - t) < 1.5 / 100


def test_finite_volumes_follow_the_front_of_ice():
    """u jumps, so that L1 errors are those of the cell with the front, up to (1 − u*) u* h: first order at best."""
    case, times = Stefan().case(threshold=0.6), [0.02, 0.05]
    solution = FiniteVolume(100).solve(case, times)
    u, x = solution["u"].values, solution["x"].values
    assert np.abs(u - case.exact(times, (x,))["u"]).mean() < 0.6 / 100
    assert u.min() >= 0 and u.max() <= 1 and (np.diff(u) <= 1e-9).all()
    alpha, _ = case.problem.front(case)
    for frame, t in zip(u, times, strict=True):
        assert abs(x[frame > 0.3].max() - alpha * math.sqrt(t)) < 1 / 100
    np.testing.assert_allclose(u.mean(1), case.problem.mass(case, times), rtol=5e-4)  # as exact as the flux at the wall
    # what is in all changes by what passes the ends, to rounding
    grid = FiniteVolume(100).grid(case)
    (balance,) = case.problem.balances().values()
    for frame, rate, t in zip(u, solution["u_tendency"].values, times, strict=True):
        ((flux,),) = on_arrays.fluxes(
            balance, grid, {"u": frame}, parameters=case.parameters, time=t, boundary=case.boundary_conditions
        )
        assert rate.sum() / 100 == pytest.approx(flux[0] - flux[-1], rel=1e-12)


def test_diffusion_on_a_ring_keeps_its_mass():
    found, _, solution = orders(Diffusion().case(diffusivity=1.0), FiniteVolume, [0.5], (32, 64))
    assert found[0] > 1.9 and abs(solution["u"].values.mean()) < 1e-15


@pytest.mark.parametrize(
    ("case", "times", "least"),
    [
        (Advection().case(), [1.0], 1.8),  # smooth
        (StepTransport().case(), [0.25], 0.65),  # a jump that nothing sharpens: theory says 2/3
        (BurgersRamp().case(height=3.0), [0.1], 1.3),  # kinks
        (BurgersRamp().case(height=3.0), [0.5, 0.9], 0.9),  # a shock
    ],
)
def test_orders_through_jumps(case, times, least):
    found, _, _ = orders(case, ShockCapturing, times, (50, 100, 200))
    assert (found > least).all()


@pytest.mark.parametrize("case", [StepTransport().case(speed=2.0), BurgersRamp().case(height=3.0)])
def test_jumps_keep_mass_and_do_not_overshoot(case):
    times = np.linspace(0.0, 0.2, 5)
    solution = ShockCapturing(100).solve(case, times)
    u = solution["u"].values
    length = case.geometry.upper[0] - case.geometry.lower[0]
    top = case.boundary_conditions["x_min"]["u"].value
    gap = length * u.mean(1) - case.problem.mass(case, times)
    assert np.abs(gap).max() < 1e-6  # of the first cell of the ramp, whose state at the wall is not the given one
    assert np.abs(np.diff(gap[1:])).max() < 1e-13
    assert u.min() >= -1e-15 and u.max() <= top * (1 + 1e-14)
    variation = np.abs(np.diff(u, prepend=top)).sum(1)
    assert (np.diff(variation) <= 1e-13).all()


def test_explicit_diffusion_agrees_with_the_implicit_solver():
    case = Stefan().case(threshold=0.6)
    ours, theirs = (solver.solve(case, [0.01])["u"].values for solver in (ShockCapturing(32), FiniteVolume(32)))
    assert np.abs(ours - theirs).max() < 2e-3
    case = Burgers().case(viscosity=0.05)
    found, _, _ = orders(case, ShockCapturing, [0.3], (25, 50))
    assert found[0] > 1.7


def test_going_on_from_a_frame_is_going_on():
    case, solver = BurgersRamp().case(height=2.0), ShockCapturing(60)
    whole = solver.solve(case, [0.2, 0.6])
    again = solver.resume(case, whole.isel(time=[0]), [0.6])
    np.testing.assert_allclose(again["u"].values[-1], whole["u"].values[-1], rtol=0, atol=1e-14)


def test_who_solves_what():
    solver = ShockCapturing(16)
    assert all(map(solver.supports, (Advection(), Burgers(), HeatEquation(), Stefan(), PorousMedium(), BurgersRamp())))
    assert not any(map(solver.supports, (TaylorGreen(), Darcy())))
    chosen = {p.name: type(reference(p, (64,))) for p in (Advection(), Diffusion(), PorousMedium(), Stefan())}
    assert set(chosen.values()) == {FiniteVolume}
    assert {type(reference(p, (64,))) for p in (StepTransport(), BurgersRamp())} == {ShockCapturing}
    with pytest.raises(InputError, match=r"courant is 0\.8, expected a number in"):
        ShockCapturing(courant=0.8)
    with pytest.raises(InputError, match=r"resolution is \(8, 8\), expected one count"):
        ShockCapturing.on((8, 8))

    class Closed(StepTransport):
        def boundary_conditions(self, case):
            return super().boundary_conditions(case) | {"x_max": {"u": Flux(0.0)}}

    with pytest.raises(InputError, match="x_max: a Flux is given"):
        solver.solve(Closed().case(), [0.1])


@pytest.mark.parametrize("problem", [Diffusion, PorousMedium, Stefan, StepTransport, BurgersRamp])
def test_designs_beginnings_and_refusals(problem):
    design = problem.design()
    request = Request(("random",), 3, "standard", (16,), 5, 7)
    cases, more = design.cases(request), design.cases(Request(("random",), 4, "standard", (16,), 5, 7))
    assert cases == more[:3] and len({c for c in cases}) == 3
    assert design.spans
    for name, (low, high) in design.spans.items():
        assert all(low <= c.parameters[name] <= high for c in cases)
    times = design.times(cases[0], request)
    assert times[0] == 0 and times[-1] == design.last and len(times) == 5
    case = cases[0]
    grid = Grid.uniform(case.geometry, 10)
    on_cells = case.problem.initial_state(case, grid)["u"]
    width = (case.geometry.upper[0] - case.geometry.lower[0]) / 10
    assert on_cells.sum() * width == pytest.approx(case.problem.initial_mass(case), abs=1e-14)
    on_points = case.problem.initial_state(case, Points(grid.points().reshape(-1, 1)))["u"]
    np.testing.assert_array_equal(on_points, case.exact([0.0], grid.centres)["u"][0])
    with pytest.raises(InputError, match="from time 0 on, got -1"):
        case.exact([-1.0], grid.centres)
    with pytest.raises(InputError, match="expected times from 0 on, got -1"):
        case.problem.mass(case, -1.0)
