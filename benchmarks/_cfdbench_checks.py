"""Checks of the CFDBench table: what the goals ask of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks._cfdbench_figures import STILL, Rows, best, over
from benchmarks._cfdbench_rows import DEEPCFD, FLOWS, STEPS
from benchmarks._ledger import Ledger, quantiles

USEFUL = 0.05  # NMSE: a surrogate that errs more answers nothing that anybody asks
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
    ratios, last = {}, {}
    for flow in FLOWS:
        here = found[flow]
        name = best(here, 1)[0]
        ratios[flow] = over(here, name, "persistence")
        last[flow] = (here[name]["rollout_nmse"][-1] / here["persistence"]["rollout_nmse"][-1], name)
    told = ", ".join(f"{flow} {value:.3g}" for flow, value in ratios.items())
    told += f'; {SQUARED} "nothing changes"'
    ledger.check("best_over_identity_three_flows_far", sorted(ratios.values())[2], told, note=told)
    worst = max(last, key=lambda flow: last[flow][0] if math.isfinite(last[flow][0]) else math.inf)
    told = ", ".join(f"{flow} {value:.2g} ({name})" for flow, (value, name) in last.items())
    told += f'; {SQUARED} "nothing changes"'
    ledger.check("rollout_20_best_over_identity_worst_flow", last[worst][0], told,
                 note=f"step {STEPS} of rollouts from the first frame, rows chosen by validation: {told}")  # fmt: skip


def cheaper(ledger: Ledger, lines: Sequence[Mapping[str, Any]]) -> None:
    """On how many flows some surrogate costs less than the cheapest solver that is as exact, asked for one case at a
    time; it must err less than what needs no training, and by no more than `USEFUL`."""
    told, count = [], 0
    for flow in dict.fromkeys(line["flow"] for line in lines):
        here = [line for line in lines if line["flow"] == flow and line["of"] == "all test cases"]
        free = {a: min(r["nmse"] for r in here if r["kind"] == "baseline" and r["asked"] == a) for a in _asked(here)}
        good = [r for r in here if r["kind"] == "learned" and (r["nmse"] or math.inf) < free[r["asked"]]]
        best = max(good, key=lambda r: (r["nmse"] < USEFUL, r.get("times_cheaper") or 0.0), default=None)
        if best is None or not best.get("times_cheaper"):
            told.append(f"{flow}: no surrogate errs less than what needs no training, or no solver is as exact")
            continue
        count += best["times_cheaper"] > 1 and best["nmse"] < USEFUL
        pays = best.get("pays_after_cases")
        told.append(
            f"{flow}, {best['asked']}: {best['row']} (NMSE {best['nmse']:.2g}"
            + (f", more than {USEFUL:g} and not counted" if best["nmse"] >= USEFUL else "")
            + f") costs {best['milliseconds']:.3g} ms, {best['as_exact']} {best['times_cheaper']:.3g} times as much"
            + (f", pays after {pays:.2g} cases" if pays else "")
        )
    ledger.check("flows_where_a_surrogate_is_cheaper_than_the_solver_at_equal_error", float(count), "; ".join(told),
                 note="; ".join(told) + "; rows were picked by these figures")  # fmt: skip


def _asked(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(line["asked"] for line in lines))


def _spread(found: Rows, name: str, still: str) -> dict[str, Any]:
    """Quantiles of the ratio over test cases drawn with replacement."""
    square, base = (np.asarray(found[n]["case_squares"]) for n in (name, still))
    drawn = np.random.default_rng(0).integers(0, len(square), (RESAMPLED, len(square)))
    ratio = square[drawn].sum(1) / base[drawn].sum(1)
    return quantiles(ratio.tolist(), f"{len(square)} test cases, drawn anew {RESAMPLED} times", 0.05, 0.95)


def _near(found: Rows, still: str) -> str:
    return ", ".join(f"{n} {over(found, n, still):.3g}" for n in best(found, 4)[1:])
