"""Checks of the table of operators: what the goals ask of it."""

from __future__ import annotations

from benchmarks._ledger import Ledger, extremes, quantiles
from benchmarks._operators_figures import Rows, best
from benchmarks._operators_sets import SETS

#: sets with a goal -> its name
GOALS = {
    "elastic_block": "elastic_block_relative_l2",
    "graetz": "graetz_moving_nodes_relative_l2",
    "back_step": "back_step_20_cases_relative_l2",
}
HEAT = "unsteady_heat_rollout_99_over_persistence"


def check(ledger: Ledger, name: str, found: Rows) -> None:
    """What the goals ask of the best row of one set: of that which the validation chooses, whether it is an operator or
    needs no training. The note says which row that is, which has the least error on the test, and the best of the
    other kind."""
    goal = HEAT if name == "unsteady_heat" else GOALS.get(name)
    if goal is None:
        return
    over = found["persistence"]["relative_l2"] if name == "unsteady_heat" else 1.0

    def figure(row: str) -> float:
        return found[row]["relative_l2"] / over

    chosen = min(found, key=lambda n: found[n]["validation"])
    learned = best(found, 1)[0]
    least = min(found, key=figure)
    note = f"{chosen}, chosen among all rows by its error on validation cases"
    if least != chosen:
        note += f"; least on the test {least} {figure(least):.3g}"
    if found[chosen]["kind"] != "untrained":
        floors = sorted((n for n in found if found[n]["kind"] == "untrained"), key=figure)
        note += f"; without training {', '.join(f'{n} {figure(n):.3g}' for n in floors[:2])}"
    else:
        note += f", which needs no training; of the operators {learned}, chosen alike, {figure(learned):.3g}"
    if name == "graetz":
        note += "; the nodes of the file do not move: they are the same in all cases, up to rounding"
    row = found[chosen]
    if row["kind"] == "ensemble":
        note += f"; single networks {figure(row['single']):.3g}"
    if row["runs"] > 1:
        spread = extremes([v / over for v in row["each_run"]], f"{row['runs']} seeds, {SETS[name].title}")
    else:
        spread = quantiles([v / over for v in row["cases"]], f"{len(row['cases'])} test cases, {SETS[name].title}")
    ledger.check(goal, figure(chosen), note, spread=spread, note=note)
