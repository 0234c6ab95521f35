"""What the CFDBench table says of its rows: winners, ratios, and where a surrogate is worth its cost."""

import math

import pytest

from benchmarks import _cfdbench_figures as figures
from benchmarks._cfdbench_rows import ENTRIES, FLOWS, PUBLISHED, STEADY
from benchmarks._ledger import Ledger
from sciml import registry


def row(kind, one, rollout, ms=1.0, restarts=True, runs=1, std=0.0):
    return {
        "kind": kind, "runs": runs, "restarts": restarts, "one_step_nmse": one, "one_step_std": std,
        "one_step_nmse_per_frame": one, "rollout_nmse": [rollout / 2, rollout], "milliseconds_per_step": ms,
        "weights": 10, "worst_case": "3", "worst_case_nmse": 1.0, "median_case_nmse": 0.5, "training_seconds": [],
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


def test_the_best_row_goes_from_frame_to_frame():
    assert figures.best(found(), 2) == ["U-Net", "FNO"]
    steady = {n: r | {"restarts": False} for n, r in found().items()}
    assert figures.best(steady, 1) == ["DeepONet"]


def test_a_surrogate_is_cheaper_than_the_cheapest_solver_that_is_as_exact():
    """FNO's 0.015 is reached by 32 × 32 cells alone, in 8 ms; DeepONet's 0.19 by 16 × 16; U-Net's 0.45 too, in 2 ms."""
    told = [text for _, text in figures._cheaper("dam", found())]
    assert [t.split(": ")[1].split(" ")[0] for t in told] == ["FNO", "DeepONet"]


def test_checks_are_of_the_rows(monkeypatch):
    ledger = Ledger("cfdbench", part="test")
    flows = {flow: found() for flow in FLOWS}
    flows["dam"]["U-Net"]["one_step_nmse"] = flows["dam"]["FNO"]["one_step_nmse"] = 0.05
    for r in flows["tube"].values():
        r["rollout_nmse"] = [r["rollout_nmse"][0], 0.5]
    figures.checks(ledger, flows)
    values = {c["id"]: (c["value"], c["status"]) for c in ledger._checks}
    assert values["best_over_identity_cavity"] == (pytest.approx(0.02), "holds")
    assert values["best_over_identity_dam"] == (pytest.approx(0.5), "holds")
    assert values["best_over_identity_three_flows_far"] == (pytest.approx(0.02), "holds")
    assert values["rollout_20_best_over_identity_worst_flow"] == (pytest.approx(1.0), "holds")
    assert values["flows_where_a_surrogate_is_cheaper_than_the_solver_at_equal_error"][0] == 4
    part = Ledger("cfdbench", part="test")
    figures.checks(part, {"dam": found()})
    assert [c["id"] for c in part._checks] == ["best_over_identity_dam"]


def test_a_row_that_diverged_wins_nothing():
    ledger, flows = Ledger("cfdbench", part="test"), {flow: found() for flow in FLOWS}
    for here in flows.values():
        here["FNO"]["rollout_nmse"] = [math.nan, math.nan]
        here["DeepONet"]["rollout_nmse"] = [math.inf, math.inf]
    figures.checks(ledger, flows)
    (check,) = (c for c in ledger._checks if c["id"] == "rollout_20_best_over_identity_worst_flow")
    assert check["value"] == pytest.approx(0.6 / 0.5) and check["status"] == "missed"


def test_every_row_is_an_operator_with_options_that_it_takes():
    for entry in (ENTRIES | STEADY).values():
        cls = registry.operators.get(entry.operator)
        assert set(entry.options) <= set(cls.options())
        plan = entry.plan(1.0, 1e-3, 0, ("u", "v"))
        assert plan.from_json(plan.to_json()) == plan
    assert set(PUBLISHED) - {"persistence"} <= set(ENTRIES)
