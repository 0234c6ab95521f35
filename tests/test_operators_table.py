"""What the table of operators says of its rows: errors by case, winners, floors, and what is trained how."""

import argparse

import numpy as np
import pytest

from benchmarks import _operators_checks as checks
from benchmarks import _operators_figures as figures
from benchmarks import operators
from benchmarks._ledger import Ledger
from benchmarks._operators_rows import ENTRIES, TRIALS, rows_of
from benchmarks._operators_sets import SETS, Set, _parts
from sciml import data, registry
from sciml.operators import DeepONet
from sciml.problems import DataProblem
from sciml.solvers import Surrogate
from sciml.support import Points
from sciml.training import Recipe, Running, Steps
from sciml.training.stepping import Autoregressive, Query, Steady


def row(kind, error, validation=1.0, runs=1):
    return {
        "kind": kind, "relative_l2": error, "cases": [0.5 * error, 1.5 * error], "each_run": [error] * runs,
        "runs": runs, "validation": validation,
    }  # fmt: skip


def found():
    return {
        "persistence": row("untrained", 0.5), "mean field": row("untrained", 0.2),
        "FLARE": row("learned", 0.02, 0.1), "DeepONet": row("learned", 0.01, 0.2),
    }  # fmt: skip


def test_the_error_of_a_case_is_the_mean_over_groups_of_fields():
    square, label = np.array([[9.0, 16.0, 1.0]]), np.array([[100.0, 525.0, 4.0]])
    assert figures.relative(square, label, [[0, 1], [2]]) == pytest.approx([(5 / 25 + 1 / 2) / 2])


def test_the_validation_chooses_the_row_of_a_check(tmp_path, monkeypatch):
    ledger = Ledger("operators", part="test")
    checks.check(ledger, "elastic_block", found())
    (check,) = ledger._checks
    assert check["value"] == pytest.approx(0.02) and check["status"] == "holds"
    assert check["note"].startswith(
        "FLARE, chosen among all rows by its error on validation cases; least on the test D"
    )
    assert "without training mean field 0.2" in check["note"]
    checks.check(ledger, "elastic_block", found() | {"interpolation": row("untrained", 0.015, 0.05)})
    check = ledger._checks[-1]
    assert check["value"] == pytest.approx(0.015)
    assert "which needs no training; of the operators FLARE, chosen alike, 0.02" in check["note"]


def test_heat_is_held_against_persistence():
    ledger = Ledger("operators", part="test")
    checks.check(ledger, "unsteady_heat", found())
    assert ledger._checks[0]["value"] == pytest.approx(0.02 / 0.5)
    checks.check(ledger, "afterburner", found())
    assert len(ledger._checks) == 1


def test_every_row_can_be_planned_and_names_an_operator():
    for name, kind in SETS.items():
        for entry in rows_of(name).values():
            assert registry.operators.get(entry.operator).name == entry.operator
            for trial in TRIALS:
                plan = entry.plan(name, 1.0, trial, 0)
                stepping = plan.surrogate.stepping
                assert isinstance(stepping, Steady if kind.steady else Autoregressive if entry.frames else Query)
                few = not entry.whole and trial.points is not None
                assert bool(plan.recipe.augmentations) == (few or (entry.frames and not kind.steady))
    assert {s for e in ENTRIES.values() for s in e.sets} == set(SETS)


def test_no_case_is_in_two_parts_of_a_split():
    split = _parts(80, range(60, 80))
    assert split[60:] == ["test"] * 20 and split.count("validation") == 7 and split.count("train") == 53


def test_rows_and_what_needs_no_training_are_held_against_the_same_cases(tmp_path, monkeypatch):
    """Errors by hand; what chooses between rows are those on validation cases, without these among what floors
    learn from."""
    places, r = Points(np.random.default_rng(0).random((12, 2))), np.random.default_rng(1)
    problem = DataProblem("tiny", ["T"], ["level"], 2, steady=True)
    levels, parts = 1 + r.random(9), ["train"] * 5 + ["validation"] * 2 + ["test"] * 2
    truth = levels[:, None] * np.sin(places.points()[:, 0]) + 0.1 * r.random((9, 12))
    made = [
        data.solution(problem.case(level=v).on(places), None, {"T": (("node",), t)}, places)
        for v, t in zip(levels.tolist(), truth, strict=True)
    ]
    path = tmp_path / "tiny.h5"
    data.write(data.pack(made, parts, dtype=None), path)
    monkeypatch.setitem(SETS, "tiny", Set(lambda *_: None, "tiny", (("T",),)))
    running = Running(out=tmp_path / "run", progress=False, device="cpu")
    model = Surrogate(DeepONet, width=8, basis=4, depth=2).fit(path, Recipe(length=Steps(2), batch=2), running=running)
    work = operators.Work(argparse.Namespace(work=tmp_path, quick=True, minutes=1.0))
    floors, alone = work.floors("tiny", path), work.floors("tiny", path, joined=False)
    assert (
        {"mean field", "interpolation", "POD regression"} < set(floors)
        and "persistence" not in floors
        and "dynamic modes" not in floors
    )
    found = figures.figures("tiny", path, tmp_path, {"DeepONet": [tmp_path / "run"]}, (floors, alone))
    assert set(found) == {"DeepONet", *floors}

    def miss(answers, cases):
        return np.mean(
            [np.linalg.norm(a - truth[i]) / np.linalg.norm(truth[i]) for a, i in zip(answers, cases, strict=True)]
        )

    def answers(cases):
        return [model.solve(data.case(data.open(path), i)[0])["T"].values for i in cases]

    assert found["mean field"]["relative_l2"] == pytest.approx(miss([truth[:7].mean(0)] * 2, [7, 8]), rel=1e-5)
    assert found["DeepONet"]["relative_l2"] == pytest.approx(miss(answers([7, 8]), [7, 8]), rel=1e-5)
    assert found["DeepONet"]["validation"] == pytest.approx(miss(answers([5, 6]), [5, 6]), rel=1e-5)
    assert found["mean field"]["validation"] == pytest.approx(miss([truth[:5].mean(0)] * 2, [5, 6]), rel=1e-5)
    assert figures.figures("tiny", path, tmp_path, {"DeepONet": [tmp_path / "run"]}, (floors, alone)) == found
