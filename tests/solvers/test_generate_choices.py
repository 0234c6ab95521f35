"""Data sets that are made otherwise than the design of their problem says."""

import json

import numpy as np
import pytest

import sciml.data
from sciml.errors import InputError
from sciml.solvers import WALE, ChannelFlow, generate
from sciml.solvers.generation import prepare

SMALL = {"cases": 2, "frames": 3, "resolution": (6, 9, 8)}
CHANNEL = {
    **SMALL, "options": {"drive": "flow_rate"}, "parameters": {"viscosity": 1 / 40, "bulk_velocity": 9.0},
    "solver_options": {"closure": WALE(0.4), "resolution": (6, 13, 8)}, "start": 0.02, "step": 0.01,
}  # fmt: skip


def test_drive_viscosity_closure_cells_and_times_are_chosen(tmp_path):
    generate("turbulent_channel", tmp_path / "a.h5", progress=False, **CHANNEL)
    with sciml.data.open(tmp_path / "a.h5") as found:
        assert np.all(found["status"] == 0) and np.allclose(found["viscosity"], 1 / 40)
        case, solution = sciml.data.case(found, 1)
        assert case.problem.options == {"drive": "flow_rate"} and case.bulk_velocity == 9.0
        np.testing.assert_allclose(solution.time, [0.02, 0.03, 0.04])
        assert solution.u.shape == (3, 6, 9, 8)
    solver = ChannelFlow((6, 13, 8), WALE(0.4), dtype="float32")
    direct = solver.stored(case, solver.solve(case, solution.time.values), (6, 9, 8), ("u",))
    np.testing.assert_allclose(solution.u, direct.u, atol=1e-4)
    plain = ChannelFlow((6, 13, 8), dtype="float32")
    other = plain.stored(case, plain.solve(case, solution.time.values), (6, 9, 8), ("u",))
    assert float(abs(other.u - direct.u).max()) > 1e-2  # the closure was there


def test_what_is_chosen_is_part_of_the_request():
    base = prepare("turbulent_channel", **CHANNEL)
    assert base.solver.settings["closure"] == {"model": "wale", "constant": 0.4}
    assert [s.settings["closure"] for s, _ in base.solvers()] == [{"model": "wale", "constant": 0.4}]
    others = (
        {"options": {}}, {"parameters": {"viscosity": 1 / 50}}, {"solver_options": {"closure": WALE()}}, {"start": 0.0},
        {"step": 0.02},
    )  # fmt: skip
    assert len({prepare("turbulent_channel", **{**CHANNEL, **o}).digest for o in ({}, *others)}) == 6


def test_with_a_closure_cases_are_solved_on_the_stored_grid():
    assert set(prepare("turbulent_channel", **SMALL).solved) == {(36, 83, 48)}
    assert set(prepare("turbulent_channel", **SMALL, solver_options={"closure": WALE()}).solved) == {(6, 9, 8)}
    assert set(prepare("turbulent_channel", **SMALL, parameters={"viscosity": 1 / 90}).solved) == {(24, 59, 24)}


def test_times_are_moved_or_spread():
    usual = prepare("turbulent_channel", **SMALL).times[0]
    np.testing.assert_allclose(usual, [6.0, 6.04, 6.08])
    np.testing.assert_allclose(prepare("turbulent_channel", **SMALL, start=2.0).times[0], [2.0, 2.04, 2.08])
    np.testing.assert_allclose(prepare("turbulent_channel", **SMALL, step=0.5).times[0], [6.0, 6.5, 7.0])


def test_other_problems_have_options_and_parameters_too():
    work = prepare("burgers_front", 3, frames=2, resolution=8, options={"dimensions": 2}, parameters={"height": 1.0})
    assert work.request.resolution == (8, 8) and {c.height for c in work.cases} == {1.0}
    assert len({c.viscosity for c in work.cases}) == 3
    work = prepare("cavity", 4, "bc", 2, 16, parameters={"viscosity": 0.02}, solver_options={"cfl": 0.5})
    assert {c.viscosity for c in work.cases} == {0.02} and len({c.lid_velocity for c in work.cases}) == 4
    assert work.solver.settings["cfl"] == 0.5 and work.solver.settings["resolution"] == [16, 16]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"options": {"drove": "flow_rate"}}, r"options: turbulent_channel takes no 'drove'.*'drive'"),
        ({"options": {"drive": "pump"}}, "expected one of pressure_gradient, flow_rate"),
        ({"options": "flow_rate"}, "options: expected values by name"),
        ({"parameters": {"viscosty": 1.0}}, "has no parameter 'viscosty'.*'viscosity'"),
        ({"parameters": {"viscosity": -1.0}}, "viscosity"),
        ({"parameters": {"seed": 1.0}}, "with seed held, cases 'random0000' and 'random0001' are the same"),
        ({"solver_options": {"closer": None}}, "solver_options: channel_flow takes no 'closer'.*'closure'"),
        ({"solver_options": {"dtype": "float64"}}, "takes no 'dtype'"),
        ({"solver_options": {"closure": "wale"}}, "closure is 'wale'"),
        ({"solver_options": {"resolution": (6, 7, 8)}}, r"at least the \(6, 9, 8\) cells that are stored"),
        ({"solver_options": [1]}, "solver_options: expected values by name"),
        ({"start": -1.0}, "start: expected a time from 0 on"),
        ({"step": 0.0}, "step: expected a time > 0"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, given, words):
    with pytest.raises(InputError, match=words):
        generate("turbulent_channel", tmp_path / "a.h5", **SMALL, **given)
    assert not list(tmp_path.iterdir())


def test_steady_problems_have_no_times():
    with pytest.raises(InputError, match="start: expected none, the problem is steady"):
        prepare("poisson", 2, resolution=8, start=1.0)
    with pytest.raises(InputError, match="keeps all that it solves on"):
        prepare("heat_plate", 2, resolution=8, solver_options={"resolution": 16})


def test_costs_of_channels_are_told():
    """Beside 28 s and 4.7 s of one core that turbulent flow at Re_τ 180 took for a unit of time, the latter when a step
    with a model took 1.47 times what it does; in wide boxes more."""
    case = sciml.problems.TurbulentChannel().case()
    times = [np.linspace(0, 1, 26)]
    assert 14 < ChannelFlow((36, 83, 48)).seconds([case], times)[0] < 56
    assert 1.6 < ChannelFlow((24, 33, 24), WALE()).seconds([case], times)[0] < 6.4
    plan = prepare("turbulent_channel", **SMALL).plan()
    wide = prepare("turbulent_channel", **SMALL, profile="wide").plan()
    assert plan.core_seconds is not None and wide.core_seconds is not None
    assert wide.core_seconds > 4 * plan.core_seconds > 0
    longer = prepare("turbulent_channel", **SMALL, start=12.0).plan()
    assert longer.longest_case_seconds is not None and plan.longest_case_seconds is not None
    assert longer.longest_case_seconds / plan.longest_case_seconds == pytest.approx(12.08 / 6.08)
    assert "of one core" in str(plan) and json.dumps(plan.to_dict())
