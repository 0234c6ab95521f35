"""Restarts that once went on from another state, another clock or another domain than was given."""

import jax
import numpy as np
import pytest

from sciml import InputError, Series, Start
from sciml.boundary import Dirichlet, InTime
from sciml.problems import Burgers, HeatEquation, LidDrivenCavity, TaylorGreen
from sciml.solvers import FiniteVolume, IncompressibleFlow, PseudoSpectral

pytestmark = pytest.mark.compiled_quickly

SOLVER = IncompressibleFlow(16)


@pytest.fixture(scope="module")
def frame():
    return SOLVER.solve(LidDrivenCavity().case(), [0.5])


def test_a_changed_frame_is_what_a_flow_goes_on_from(frame):
    case = LidDrivenCavity().case()
    rest = frame.copy(deep=True)
    rest["u"], rest["v"] = 0 * rest.u, 0 * rest.v
    fresh = SOLVER.solve(case, [2**-3]).u.values  # a power of two: both intervals are one number
    assert np.array_equal(SOLVER.resume(case, rest, [0.5 + 2**-3]).u.values, fresh)
    assert np.abs(SOLVER.resume(case, frame, [0.5 + 2**-3]).u.values - fresh).max() > 0.1


@pytest.mark.parametrize(
    "solver, problem", [(SOLVER, LidDrivenCavity()), (PseudoSpectral(16, dtype="float32"), TaylorGreen())]
)
def test_how_late_it_is_changes_nothing(solver, problem):
    case = problem.case()
    early = solver.solve(case, [0.5])
    late = early.assign_coords(time=early.time + 1e6)
    one, other = solver.resume(case, early, [0.5 + 2**-8]), solver.resume(case, late, [1e6 + 0.5 + 2**-8])
    assert np.array_equal(one.u.values, other.u.values) and other.time.values[-1] == 1e6 + 0.5 + 2**-8
    assert np.abs(one.u.values - early.u.values).max() > 1e-5


def test_a_wall_that_moves_is_where_it_is_at_the_restart():
    """As a series whose knots are early, with the clock far on; and as a function, whatever times were asked for."""

    class Shaken(LidDrivenCavity):
        def boundary_conditions(self, case):
            return super().boundary_conditions(case) | {"y_max": {
                "u": Dirichlet(InTime(lambda t: np.sin(2 * np.pi * t))),
                "v": Dirichlet(0.0),
            }}  # fmt: skip

    case, solver = Shaken().case(), IncompressibleFlow(16, dtype="float64")
    every = solver.solve(case, np.arange(0.5, 8.01, 0.5))
    size = np.abs(every.u.values[-1]).max()
    # 64 straight pieces in a period are within (2π/64)²/8 of the sine, and fluid moves no faster than its lid
    assert np.abs(solver.solve(case, [8.0]).u.values[-1] - every.u.values[-1]).max() < (2 * np.pi / 64) ** 2 / 8
    again = solver.resume(case, every.isel(time=slice(0, 15)), [8.0])
    assert np.abs(again.u.values[-1] - every.u.values[-1]).max() < 1e-9 * size

    moving = LidDrivenCavity().case(lid_motion=Series([0.0, 1.0, 2.0], [0.0, 1.0, 0.5]))
    whole = solver.solve(moving, [0.5, 1.5])
    assert np.allclose(solver.resume(moving, whole.isel(time=[0]), [1.5]).u.values[-1], whole.u.values[-1], atol=1e-9)


def test_a_frame_of_another_domain_is_refused(frame):
    with pytest.raises(InputError, match="cut along x, or of another domain; expected all of 0 to 2"):
        SOLVER.resume(LidDrivenCavity().case(width=2.0), frame, [0.6])
    heat = FiniteVolume(16).solve(HeatEquation().case(), [0.1])
    with pytest.raises(InputError, match="of another domain"):
        FiniteVolume(16).resume(HeatEquation().case(length=1.4), heat, [0.2])
    waves = PseudoSpectral(16).solve(TaylorGreen().case(), [0.1])
    larger = waves.assign_coords(x=waves.x * 1.02, y=waves.y * 1.02)
    with pytest.raises(InputError, match="of another domain"):
        PseudoSpectral(16).resume(TaylorGreen().case(), larger, [0.2])
    with pytest.raises(InputError, match="cut along x"):
        SOLVER.resume(LidDrivenCavity().case(), frame.isel(x=slice(0, 12)), [0.6])


def test_times_that_rounding_makes_one_are_refused():
    with pytest.raises(InputError, match="are one in float32"):
        SOLVER.solve(LidDrivenCavity().case(), [1, 1 + 1e-9])
    with pytest.raises(InputError, match="more than max_substeps"):
        FiniteVolume(8).solve(HeatEquation().case(), [1e12])


def test_rollouts_go_forward(frame):
    start = Start(LidDrivenCavity().case(), SOLVER.grid(LidDrivenCavity().case()), np.stack([frame.u, frame.v], 1), 0.5)
    with pytest.raises(InputError, match="strictly increasing"):
        next(SOLVER.rollout([start], np.array([[0.7, 0.6]])))
    with pytest.raises(InputError, match="from that of the frame on"):
        next(SOLVER.rollout([start], np.array([[0.4, 0.6]])))
    assert list(SOLVER.rollout([], np.zeros((0, 2)))) == []


def test_what_simulate_would_not_act_on_is_refused():
    flow = {"density": 1.0, "viscosity": 0.01, "width": 1.0, "height": 1.0}
    for call in (
        lambda: SOLVER.simulate(flow | {"viscocity": 1.0}, {}, [1.0]),
        lambda: SOLVER.simulate(flow, {"ymax_u": 1.0}, [1.0]),
        lambda: FiniteVolume(8).simulate({"visc": 1.0}, {}, [0.1], Burgers().case()),
        lambda: FiniteVolume(8).simulate({}, {"initail": 1.0}, [0.1], Burgers().case()),
    ):
        with pytest.raises(InputError, match="nothing is called"):
            call()
    for times in (1.0, []):
        with pytest.raises(InputError, match="expected a sequence of times"):
            SOLVER.simulate(flow, {}, times)


def test_simulate_has_no_answer_where_its_iteration_finds_none():
    coarse = FiniteVolume(16, time_step=50.0)
    case = Burgers().case(viscosity=1e-4)
    with jax.enable_x64(True):
        assert np.isnan(coarse.simulate({}, {}, [50.0], case)["u"]).all()


def test_simulate_starts_where_it_is_told():
    case, solver = HeatEquation().case(), FiniteVolume(32)
    with jax.enable_x64(True):
        whole = solver.simulate({}, {}, [0.1, 0.3], case)["T"]
        rest = solver.simulate({}, {"initial": whole[0], "start": 0.1}, [0.3], case)["T"]
    assert np.allclose(rest[-1], whole[-1], atol=1e-12 * np.abs(whole).max())
