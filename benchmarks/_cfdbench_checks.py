"""Checks of the CFDBench table: what the goals ask of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks._cfdbench_figures import NUMERICAL, STILL, Rows, best, over
from benchmarks._cfdbench_rows import DEEPCFD, FLOWS, STEPS
from benchmarks._ledger import Ledger, quantiles

RESAMPLED = 2000  # draws of test cases, for intervals
SQUARED = "NMSE, squared, over that of"


def check(ledger: Ledger, flow: str, found: Rows, more: str = "") -> None:
    """What the goals ask of one flow: of the row that the validation chose, with the interval that other test cases
    would give.

    Args:
        more: for the note.
    """
    steady = flow == DEEPCFD
    still, name = STILL[steady], best(found, 1)[0]
    least = min((n for n in found if found[n]["kind"] == "learned"), key=lambda n: over(found, n, still))
    note = f"{name}, chosen by its validation loss; next {_near(found, still)}"
    if least != name:
        note += f"; least on the test {least} {over(found, least, still):.3g}"
    note += f"; {SQUARED} " + ("the mean field, of each of the three fields" if steady else '"nothing changes"')
    ledger.check(
        "deepcfd_best_over_mean_field" if steady else f"best_over_identity_{flow}", over(found, name, still),
        _near(found, still), spread=_spread(found, name, still), note=note + more,
    )  # fmt: skip


def across(ledger: Ledger, found: dict[str, Rows]) -> None:
    """What the goals ask of the four flows together."""
    if not set(FLOWS) <= set(found):
        return
    ratios, last, cheaper = {}, {}, {}
    for flow in FLOWS:
        here = found[flow]
        name = best(here, 1)[0]
        ratios[flow] = over(here, name, "persistence")
        last[flow] = (here[name]["rollout_nmse"][-1] / here["persistence"]["rollout_nmse"][-1], name)
        cheaper[flow] = cheaper_than_solver(here)
    told = ", ".join(f"{flow} {value:.3g}" for flow, value in ratios.items())
    told += f'; {SQUARED} "nothing changes"'
    ledger.check("best_over_identity_three_flows_far", sorted(ratios.values())[2], told, note=told)
    worst = max(last, key=lambda flow: last[flow][0] if math.isfinite(last[flow][0]) else math.inf)
    told = ", ".join(f"{flow} {value:.2g} ({name})" for flow, (value, name) in last.items())
    told += f'; {SQUARED} "nothing changes"'
    ledger.check("rollout_20_best_over_identity_worst_flow", last[worst][0], told,
                 note=f"step {STEPS} of rollouts from the first frame, rows chosen by validation: {told}")  # fmt: skip
    told = "; ".join(f"{flow}: {words}" for flow, (_, words) in cheaper.items())
    ledger.check("flows_where_a_surrogate_is_cheaper_than_the_solver_at_equal_error",
                 float(sum(yes for yes, _ in cheaper.values())), told, note=told)  # fmt: skip


def cheaper_than_solver(found: Rows) -> tuple[bool, str]:
    """Whether rollouts of the row that the validation chose cost less than the solver on the fewest cells that is as
    exact, and why or why not; no where what needs no training is as exact."""

    def error(r: dict[str, Any]) -> float:
        return float(np.mean(r["rollout_nmse"]))

    name = best(found, 1)[0]
    mine, numerical = found[name], [r for n, r in found.items() if n.startswith(NUMERICAL)]
    if not error(mine) < min(error(r) for r in found.values() if r["kind"] == "baseline"):
        return False, f"what needs no training is as exact as {name}"
    if not numerical:
        return False, "the solver is no row"
    exact = [s["milliseconds_per_step"] for s in numerical if error(s) <= error(mine)]
    if not exact:
        return False, f"no row of the solver is as exact as {name}, on at most 64 × 64 cells"
    cost = f"{name} {mine['milliseconds_per_step']:.1f} ms against {min(exact):.1f} ms"
    return mine["milliseconds_per_step"] < min(exact), cost


def _spread(found: Rows, name: str, still: str) -> dict[str, Any]:
    """Quantiles of the ratio over test cases drawn with replacement."""
    square, base = (np.asarray(found[n]["case_squares"]) for n in (name, still))
    drawn = np.random.default_rng(0).integers(0, len(square), (RESAMPLED, len(square)))
    ratio = square[drawn].sum(1) / base[drawn].sum(1)
    return quantiles(ratio.tolist(), f"{len(square)} test cases, drawn anew {RESAMPLED} times", 0.05, 0.95)


def _near(found: Rows, still: str) -> str:
    return ", ".join(f"{n} {over(found, n, still):.3g}" for n in best(found, 4)[1:])
