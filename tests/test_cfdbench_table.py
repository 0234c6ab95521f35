"""What the CFDBench table says of its rows: winners, ratios, and where a surrogate is worth its cost."""

import math

import pytest

from benchmarks import _cfdbench_checks as checks
from benchmarks import _cfdbench_figures as figures
from benchmarks._cfdbench_rows import ENTRIES, FLOWS, PUBLISHED, STEADY
from benchmarks._ledger import Ledger
from sciml import registry


def row(kind, one, rollout, ms=1.0, restarts=True, runs=1, std=0.0):
    return {
        "kind": kind, "runs": runs, "restarts": restarts, "query": not restarts, "one_step_nmse": one,
        "one_step_std": std, "case_squares": [one, one], "case_labels": [1.0, 1.0],
        "case_answer_squares": [0.75 * rollout, 0.75 * rollout], "field_squares": {"u": one, "v": 2 * one},
        "nmse_per_frame": {"u": one} if restarts else {}, "answers_nmse": 0.75 * rollout,
        "rollout_nmse": [rollout / 2, rollout], "rollout_of_u": {"mse": [1.0, 2.0], "mae": [0.1, 0.2]},
        "milliseconds_per_step": ms, "weights": 10, "worst_case": "3",
        "worst_case_nmse": 1.0, "median_case_nmse": 0.5, "validation": one, "steps": 100,
        "recipe": {"batch": 4, "rate": 1e-3}, "far": None,
    }  # fmt: skip


def found():
    return {
        "persistence": row("baseline", 0.1, 0.5),
        "mean field": row("baseline", 0.2, 0.2),
        "reference 16 × 16": row("solver", 0.01, 0.04, ms=2.0),
        "reference 32 × 32": row("solver", 0.001, 0.01, ms=8.0),
        "FNO": row("learned", 0.004, 0.02, ms=5.0),
        "U-Net": row("learned", 0.002, 0.6, ms=4.0),
        "DeepONet": row("learned", 0.001, 0.25, ms=0.1, restarts=False),
    }


def test_the_best_row_goes_from_frame_to_frame_and_the_validation_chooses_it():
    assert figures.best(found(), 2) == ["U-Net", "FNO"]
    chosen = found()
    chosen["FNO"]["validation"] = 0.0
    assert figures.best(chosen, 1) == ["FNO"]
    steady = {n: r | {"query": n != "DeepONet"} for n, r in found().items()}
    assert figures.best({n: r | {"query": True} for n, r in steady.items()}, 1) == ["DeepONet"]


def test_answers_at_any_time_are_held_against_rollouts_of_identity():
    assert figures.over(found(), "DeepONet", "persistence") == pytest.approx(0.75 * 0.25 / (0.75 * 0.5))
    assert figures.over(found(), "FNO", "persistence") == pytest.approx(0.04)


def test_a_surrogate_is_cheaper_than_the_cheapest_solver_that_is_as_exact():
    """FNO's 0.015 is reached by 32 × 32 cells alone, in 8 ms. U-Net's 0.45 is no better than the mean field's."""
    rows = found()
    assert checks.cheaper_than_solver(rows) == (False, "what needs no training is as exact as U-Net")
    rows["FNO"]["validation"] = 0.0
    assert checks.cheaper_than_solver(rows) == (True, "FNO 5.0 ms against 8.0 ms")
    rows["FNO"]["milliseconds_per_step"] = 9.0
    assert checks.cheaper_than_solver(rows) == (False, "FNO 9.0 ms against 8.0 ms")
    rows["FNO"]["rollout_nmse"] = [1e-9, 1e-9]
    assert "no row of the solver is as exact as FNO" in checks.cheaper_than_solver(rows)[1]
    assert checks.cheaper_than_solver({n: r for n, r in rows.items() if r["kind"] != "solver"})[1] == (
        "the solver is no row"
    )


def test_rows_say_what_their_figures_are_of():
    ledger = Ledger("cfdbench", part="test")
    manifest = [{"case": str(k), "subset": "bc" if k else "geo", "split": "test", "sha256": "0"} for k in range(2)]
    rows = found()
    rows["FNO"]["case_squares"] = [0.05, 0.02]
    figures.rows(ledger, "cavity", rows, manifest)
    made = {r["row"]: r for r in ledger._rows if r["section"] == "comparison"}
    assert list(made) == ["persistence", "mean field", "U-Net", "FNO", "DeepONet", *list(made)[-2:]]
    assert made["FNO"]["over_identity_geo"] == pytest.approx(0.5) and made["FNO"]["over_identity_bc"] == pytest.approx(
        0.2
    )
    assert made["FNO"]["median_over_identity"] == pytest.approx(0.35)
    assert made["U-Net"]["v_over_identity"] == pytest.approx(0.02)
    asked = made["DeepONet"]
    assert asked["one_step_nmse"] is None and asked["v_over_identity"] is None and asked["task"] == "any time"
    assert asked["over_identity_bc"] == asked["over_identity"] == pytest.approx(0.5)


def checked(flows):
    ledger = Ledger("cfdbench", part="test")
    for flow, rows in flows.items():
        checks.check(ledger, flow, rows)
    checks.across(ledger, flows)
    return {c["id"]: c for c in ledger._checks}


def test_checks_are_of_the_rows():
    flows = {flow: found() for flow in FLOWS}
    for name in ("U-Net", "FNO"):
        flows["dam"][name]["one_step_nmse"] = 0.05
    flows["cavity"]["FNO"]["validation"] = 0.0
    for r in flows["tube"].values():
        r["rollout_nmse"] = [r["rollout_nmse"][0], 0.5]
    values = {n: (c["value"], c["status"]) for n, c in checked(flows).items()}
    assert values["best_over_identity_cavity"] == (pytest.approx(0.04), "holds")
    assert values["best_over_identity_dam"] == (pytest.approx(0.5), "holds")
    assert values["best_over_identity_three_flows_far"] == (pytest.approx(0.04), "holds")
    assert values["rollout_20_best_over_identity_worst_flow"] == (pytest.approx(1.2), "missed")
    assert values["flows_where_a_surrogate_is_cheaper_than_the_solver_at_equal_error"][0] == 1
    assert list(checked({"dam": found()})) == ["best_over_identity_dam"]


def test_intervals_are_of_other_test_cases():
    rows = found()
    rows["U-Net"]["case_squares"], rows["persistence"]["case_squares"] = [0.0, 0.2, 0.1], [1.0, 1.0, 1.0]
    spread = checks._spread(rows, "U-Net", "persistence")
    assert 0 <= spread["low"] < 0.1 < spread["high"] <= 0.2


def test_a_row_that_diverged_wins_nothing():
    flows = {flow: found() for flow in FLOWS}
    for here in flows.values():
        here["U-Net"]["validation"] = math.inf
        here["FNO"]["rollout_nmse"] = [math.nan, math.nan]
    check = checked(flows)["rollout_20_best_over_identity_worst_flow"]
    assert check["value"] is None and check["status"] != "holds"


def test_every_row_is_an_operator_with_options_that_it_takes():
    for entry in (ENTRIES | STEADY).values():
        cls = registry.operators.get(entry.operator)
        assert set(entry.options) <= set(cls.options())
        plan = entry.plan(1.0, (4, 1e-3), 0, ("u", "v"))
        assert plan.from_json(plan.to_json()) == plan
    assert set(PUBLISHED) - {"persistence"} <= set(ENTRIES)
