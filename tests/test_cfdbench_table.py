"""What the CFDBench table says of its rows: winners, ratios, and where a surrogate is worth its cost."""

import math

import numpy as np
import pytest

from benchmarks import _cfdbench_checks as checks
from benchmarks import _cfdbench_figures as figures
from benchmarks import _cfdbench_worth as worth
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


def test_a_solver_that_is_as_exact_lies_between_two_grids():
    """Errors 0.04, 0.01 at 2 and 8 s: at 0.02, half the way in logarithms, 4 s."""
    points = [(0.04, 2.0, "16 × 16"), (0.01, 8.0, "32 × 32"), (0.005, 90.0, "64 × 64")]
    between = worth.beside(0.02, 0.5, points)
    assert between["as_exact"] == "32 × 32" and between["times_cheaper"] == pytest.approx(8.0)
    assert between["saved_milliseconds"] == pytest.approx(3500.0)
    assert worth.beside(0.01, 2.0, points)["times_cheaper"] == pytest.approx(4.0)
    assert worth.beside(0.3, 4.0, points, "_together") == {
        "as_exact_together": "16 × 16", "times_cheaper_together": 0.5, "saved_milliseconds_together": -2000.0
    }  # fmt: skip
    assert worth.beside(0.001, 1.0, points) == {}
    assert worth.beside(0.02, 0.5, [*points, (0.03, 70.0, "dear")])["times_cheaper"] == pytest.approx(8.0)


def line(row, kind, nmse, **more):
    told = {"flow": "dam", "asked": "all frames", "of": "all test cases", "milliseconds": 5.0, "as_exact": "16 × 16"}
    return told | {"row": row, "kind": kind, "nmse": nmse} | more


@pytest.mark.parametrize(
    ("nmse", "times", "count", "words"),
    [
        (0.04, 3.0, 1.0, "costs 5 ms, 16 × 16 3 times as much"),
        (0.04, 0.5, 0.0, "0.5 times as much"),
        (0.06, 3.0, 0.0, "more than 0.05 and not counted"),
        (0.5, 3.0, 0.0, "no surrogate errs less than what needs no training"),
        (0.04, None, 0.0, "no solver is as exact"),
    ],
)
def test_flows_count_where_a_useful_surrogate_costs_less_than_a_solver(nmse, times, count, words):
    ledger = Ledger("cfdbench", part="test")
    mine = line("U-Net", "learned", nmse, times_cheaper=times)
    other = line("U-Net", "learned", 1e-3, times_cheaper=9.0, of="new flows")
    checks.cheaper(ledger, [line("mean field", "baseline", 0.2), mine, other])
    (check,) = ledger._checks
    assert check["value"] == count and words in check["note"]


def test_costs_are_of_the_least_round_and_of_the_cases_that_are_meant():
    row = worth.Row("a", "learned", None)
    row.squares = {"all": np.array([[1.0, 10.0], [3.0, 10.0]])}
    row.seconds, row.together = {"all": [[2.0, 4.0], [3.0, 1.0]]}, {"all": [9.0, 2.0]}
    assert row.error("all") == pytest.approx(0.2) and row.error("all", np.array([False, True])) == pytest.approx(0.3)
    assert row.alone("all") == 1.5 and row.alone("all", np.array([True, False])) == 2.0
    assert row.many("all") == 1.5  # one after another, which is faster here
    assert worth.paid({"saved_milliseconds": 10.0, "saved_milliseconds_together": -1.0}, 5.0) == {
        "pays_after_cases": pytest.approx(500.0), "pays_after_cases_together": None
    }  # fmt: skip


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
