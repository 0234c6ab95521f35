"""Numerical solvers as rows: they start from the same true frames as all others."""

import numpy as np
import pytest

import sciml
from sciml.evaluation import _work
from sciml.problems import Burgers, LidDrivenCavity
from sciml.solvers import IncompressibleFlow, PseudoSpectral


@pytest.fixture(scope="module")
def waves():
    problem = Burgers()
    cases = [problem.case(viscosity=v) for v in (0.03, 0.05, 0.1)]
    times = [c.scales.time * np.linspace(0, 0.8, 9) for c in cases]
    solutions = [PseudoSpectral(48).solve(c, t) for c, t in zip(cases, times, strict=True)]
    return sciml.data.pack(solutions, splits=["train", "test", "test"], dtype=None)


def test_the_solver_that_made_the_truth_finds_it_again(waves):
    rows = {"same": PseudoSpectral(48), "coarse": PseudoSpectral(24), "early": PseudoSpectral(48, cfl=0.05)}
    found = sciml.evaluate(rows, waves, steps=4, baselines=False)
    for name, bound in (("same", 1e-10), ("early", 1e-10), ("coarse", 1e-2)):
        row = found.row(name)
        assert row["restarts"] is True and row["kind"] != "learned"
        assert row["rollout"]["all"]["joint"]["nmse"]["mean"][-1] < bound
        assert row["one_step"]["all"]["joint"]["nmse"]["mean"] < bound
    assert found.summary["starts"] == ["0", "1/4", "1/2"]
    coarse = np.array(found.row("coarse")["rollout"]["all"]["joint"]["nmse"]["mean"])
    assert coarse[0] > 1e-12  # and a coarser grid does not


class Watched(PseudoSpectral):
    """Notes the times that it is asked to march to in one go, from a state."""

    def run(self, cases, times, begins=None):
        self.asked.append((len(cases), [list(t) for t in times], begins is not None))
        return super().run(cases, times, begins)


def test_the_time_of_a_step_is_that_of_a_few(waves, monkeypatch):
    """Three marches over the first frames of the longest rollout; no flow is solved as a whole, or a second time."""
    monkeypatch.setattr(_work, "TIMED", 2)
    solver = Watched(48)
    solver.asked = []
    found = sciml.evaluate({"row": solver}, waves, steps=4, baselines=False, every_frame=False, starts=("1/4",))
    assert all(from_a_state for *_, from_a_state in solver.asked)
    together, by_itself = solver.asked[:-3], solver.asked[-3:]
    assert [(n, len(t[0])) for n, t, _ in together] == [(2, 1)] * 4
    first = sciml.data.case(waves, 1)[1].time.values[3:5]
    assert all(n == 1 and np.allclose(t[0], first) for n, t, _ in by_itself)
    assert 0 < found.row("row")["seconds_per_step"]["alone"] < 5


def test_a_row_does_not_carry_errors_of_what_was_before_its_start(waves):
    """A wrong beginning is forgotten: the truth is another solver's, shifted, and each rollout starts from it."""
    shifted = waves.copy(deep=True)
    shifted["u"].values[:] += 0.2
    found = sciml.evaluate({"same": PseudoSpectral(48)}, shifted, steps=1, starts=("1/2",), baselines=False)
    row = found.row("same")["one_step"]["all"]["joint"]["nmse"]["mean"]
    assert row < 0.02  # what a step of the shifted flow differs from a shifted step; from time 0 it would be 0.1


def test_flows_of_cells_alone_restart_on_their_own_grid():
    cases = [LidDrivenCavity().case(lid_velocity=v) for v in (0.8, 1.0, 1.2)]
    solutions = [
        IncompressibleFlow(24).solve(c, c.scales.time * np.linspace(0, 1.5, 7))[["u", "v", "p"]] for c in cases
    ]
    packed = sciml.data.pack(solutions, splits=["train", "test", "test"])
    rows = {"own grid": IncompressibleFlow(24), "half": IncompressibleFlow(12)}
    found = sciml.evaluate(rows, packed, steps=3, every_frame=False)  # of rollouts alone: one size of batches
    own, half, still = (
        found.row(n)["one_step"]["all"]["joint"]["nmse"]["mean"] for n in ("own grid", "half", "persistence")
    )
    assert own < 1e-3 < half < still


def test_solvers_around_bodies_are_rows_where_their_grids_can_hold_them():
    from sciml.problems import CylinderFlow
    from sciml.solvers.references import references
    from sciml.support import Grid

    problem = CylinderFlow()
    cases = [problem.case(), problem.case(radius=0.005)]
    grid = Grid.uniform(cases[0].geometry, 24, masked=True)
    assert list(references(problem, grid, cases[:1])) == [f"reference {n} × {n}" for n in (8, 12, 16, 24)]
    assert list(references(problem, grid, cases)) == ["reference 24 × 24"]
