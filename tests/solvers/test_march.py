"""The one march: requested times, failure, derivatives; and solvers that go on from any state."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sciml
from sciml.errors import InputError
from sciml.problems import Burgers, Darcy, HeatEquation, LidDrivenCavity, TaylorGreen
from sciml.solver import Start
from sciml.solvers import FiniteVolume, IncompressibleFlow, PseudoSpectral
from sciml.solvers._time import Controls, Stepper, march
from sciml.support import Grid


class Midpoint(Stepper):
    """∂t a = rate(t) a by the explicit midpoint rule, steps of at most `size`."""

    def __init__(self, rate, size=0.01):
        self.rate, self.size = rate, size

    def step(self, state, time, remaining):
        steps = jnp.maximum(jnp.ceil(remaining / self.size * (1 - 1e-9)), 1) + 0 * jnp.sum(state["a"])
        tau = remaining / steps
        middle = state["a"] * (1 + tau / 2 * self.rate(time))
        return {"a": state["a"] + tau * self.rate(time + tau / 2) * middle}, tau, steps

    def frame(self, state, time):
        return {"a": state["a"], "rate": self.rate(time)}


def run(rate, times, start=0.0, size=0.01, most=1000, derivative="forward"):
    times = jnp.asarray(times, float)
    return march(Midpoint(rate, size), Controls(most, 8, derivative), {"a": jnp.ones(2)}, times, start)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def test_times_are_met_exactly_and_the_clock_runs_on():
    found = run(jnp.cos, [0.5, 0.5 + 1e-9, 2.0], start=0.25)
    expected = np.exp(np.sin([0.5, 0.5, 2.0]) - math.sin(0.25))
    np.testing.assert_allclose(found.values["a"][:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(found.values["rate"], np.cos([0.5, 0.5, 2.0]), rtol=1e-8)
    assert found.substeps.tolist() == [25, 1, 150] and found.reached.tolist() == [0.5, 0.5 + 1e-9, 2.0]
    # where it begins at a requested time, nothing is done
    assert run(jnp.cos, [0.25, 0.5], start=0.25).substeps.tolist() == [0, 25]


def test_it_is_of_the_order_of_its_stepper():
    exact = math.exp(math.sin(2.0))
    errors = [abs(float(run(jnp.cos, [2.0], size=h).values["a"][0, 0]) - exact) for h in (0.02, 0.01)]
    assert 1.9 < math.log2(errors[0] / errors[1]) < 2.1


def test_failure_is_nan_from_there_on():
    late = run(lambda t: jnp.where(t > 0.3, jnp.nan, 1.0), [0.2, 0.5, 0.6])
    assert np.isfinite(late.values["a"][0]).all() and np.isnan(late.values["a"][1:]).all()
    assert 0.29 < late.reached[1] < 0.5 and np.isnan(late.state["a"]).all()
    short = run(jnp.cos, [0.2, 5.0, 5.1], most=100)
    assert np.isfinite(short.values["a"][0]).all() and np.isnan(short.values["a"][1:]).all()
    assert short.substeps.tolist() == [20, 100, 0] and short.reached[1] == pytest.approx(1.2)
    # steps that would never end are not taken one by one
    stuck = run(jnp.cos, [0.2, 5.0], size=1e-20)
    assert np.isnan(stuck.values["a"]).all() and stuck.substeps.tolist() == [1, 0]


def test_loops_in_python_do_the_same():
    def rate(t):
        return jnp.where(t > 1.3, jnp.nan, jnp.cos(t))

    one, other = (run(rate, [0.25, 0.5, 1.2, 1.5, 2.0], start=0.25, derivative=d) for d in ("none", "forward"))
    assert other.substeps[-1] == 0 and np.isnan(other.values["a"][3:]).all()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), one, other)


def test_both_modes_differentiate_it():
    def end(scale, derivative):
        return run(lambda t: scale * jnp.cos(t), [0.3, 2.0], derivative=derivative).values["a"][-1, 0]

    forward = jax.jvp(lambda s: end(s, "forward"), (1.0,), (1.0,))[1]
    reverse = jax.grad(lambda s: end(s, "reverse"))(1.0)
    difference = (end(1 + 1e-6, "forward") - end(1 - 1e-6, "forward")) / 2e-6
    assert float(forward) == pytest.approx(float(difference), rel=1e-7)
    assert float(reverse) == pytest.approx(float(forward), rel=1e-12)


# -- restarts --------------------------------------------------------------------------------------------------------

CAVITY = LidDrivenCavity().case(viscosity=0.02)
DRIVEN = LidDrivenCavity().case(
    viscosity=0.02, lid_motion=sciml.Series(np.linspace(0, 2, 9), np.cos(np.linspace(0, 2, 9)))
)
RESTARTS = {
    "cavity": (IncompressibleFlow(32, dtype="float64"), CAVITY, 1e-2),
    "lid that changes": (IncompressibleFlow(32, dtype="float64"), DRIVEN, 1e-2),
    "periodic": (IncompressibleFlow(32, dtype="float64"), TaylorGreen().case(viscosity=0.4), 1e-3),
    "vortices": (PseudoSpectral(32), TaylorGreen().case(viscosity=0.4), 1e-10),
    "burgers": (PseudoSpectral(64), Burgers().case(viscosity=0.05), 1e-6),
    "heat": (FiniteVolume(32), HeatEquation().case(), 1e-10),
    "fronts": (FiniteVolume(64), Burgers().case(viscosity=0.05), 1e-10),
}


@pytest.mark.parametrize("name", RESTARTS)
def test_going_on_equals_never_having_stopped(name):
    """What a restart loses is what the cells do not tell (faces), and the rounding of one step."""
    solver, case, tolerance = RESTARTS[name]
    exact = 1e-6 if name == "burgers" else 0.0  # whose steps are of other sizes after a restart
    times = case.scales.time * np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    whole = solver.solve(case, times)
    rest = solver.resume(case, whole.isel(time=[2]), times[2:])
    assert rest.attrs["status"] == "ok" and np.array_equal(rest.time, times[2:])
    state = [f.name for f in case.problem.fields if f.role != "diagnostic"]
    bare = solver.resume(case, whole[state].isel(time=[2]).assign_attrs(whole.attrs), times[2:])  # no values on faces
    for field in state:
        truth = whole[field].values[2:]
        np.testing.assert_allclose(rest[field].values, truth, rtol=0, atol=1e-9 * np.abs(truth).max() + exact)
        assert np.linalg.norm(bare[field].values - truth) < tolerance * np.linalg.norm(truth)
    # step by step, on another grid, several at once, at clocks of their own
    grid = Grid.uniform(case.geometry, tuple(2 * n for n in whole[state[0]].shape[1:]))
    own = solver.grid(case)
    held = [own.onto(np.stack([whole[f].values[k] for f in state]), grid) for k in range(len(times))]
    starts = [Start(case, grid, held[k][None], times[k], None, tuple(state)) for k in (1, 2)]
    frames = list(solver.rollout(starts, np.stack([times[2:4], times[3:5]])))
    for j, several in enumerate(frames):
        for k, frame in zip((1, 2), several, strict=True):
            truth = held[k + 1 + j]
            assert frame.shape == truth.shape
            # lost is what goes to the solver's grid and back, and on staggered grids once more on the way to the faces
            lost = np.linalg.norm(own.onto(grid.onto(held[k], own), grid) - held[k])
            assert np.linalg.norm(frame - truth) < 2 * lost < 0.5 * np.linalg.norm(truth - held[k])


def test_restarts_that_cannot_be_are_refused():
    solver = IncompressibleFlow(16)
    whole = solver.solve(CAVITY, [0.0, 0.5])
    with pytest.raises(InputError, match=r"times: expected times from that of the frame on, 0\.5"):
        solver.resume(CAVITY, whole.isel(time=[1]), [0.2, 0.6])
    with pytest.raises(InputError, match="no field 'v'"):
        solver.resume(CAVITY, whole.isel(time=[1]).drop_vars("v"), [0.6])
    with pytest.raises(InputError, match="steady"):
        FiniteVolume(8).resume(Darcy().case(), whole, [1.0])


def test_answers_come_as_they_are_made():
    cases = [LidDrivenCavity().case(viscosity=v) for v in (0.01, 0.02, 0.05)]
    solver = IncompressibleFlow(16)
    found = dict(solver.stream(cases, [0.1, 0.2]))
    assert sorted(found) == [0, 1, 2]
    for i, case in enumerate(cases):
        alone = solver.solve(case, [0.1, 0.2])[
            "u"
        ].values  # another number of cases side by side rounds in another order
        np.testing.assert_allclose(found[i]["u"].values, alone, rtol=0, atol=50 * np.finfo(np.float32).eps)


def test_points_are_answered_from_the_grid():
    points = np.array([[0.3, 0.4], [0.71, 0.9]])
    case = TaylorGreen().case(length=1.0, viscosity=1e-3)
    found = PseudoSpectral(64).solve(case, [0.05], points=points)
    assert found["u"].dims == ("time", "node") and np.array_equal(found["x"], points[:, 0])
    exact = case.problem.exact(case, [0.05], (points[:, 0], points[:, 1]))["u"][0]
    np.testing.assert_allclose(found["u"].values[0], np.diag(exact), atol=5e-3)
