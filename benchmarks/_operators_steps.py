"""Whether a frame tells what comes next, or two or three do: linear dynamics over one step."""

from __future__ import annotations

import math
from typing import Any

from benchmarks._ledger import Ledger
from benchmarks._operators_sets import SETS
from sciml import data
from sciml.solvers import DynamicModes
from sciml.training.samples import open_data, table


def measure(ledger: Ledger, work: Any) -> None:
    """The sets that change in time."""
    for name, kind in SETS.items():
        path = None if kind.steady else work.data(name)
        if path is not None:
            _of_set(ledger, name, path)


def _of_set(ledger: Ledger, name: str, path: Any) -> None:
    """How much of the step to the next frame linear dynamics get right from one, two and three frames, on validation
    cases: whether a frame tells what comes next."""
    dataset = open_data(path)[0]
    held = table(dataset, "validation", None)
    assert held.times is not None
    for history in (1, 2, 3):
        model = DynamicModes(history).fit(path)
        missed = moved = 0.0
        for i in range(len(held.cases)):
            case, truth = data.case(dataset, int(held.number[i]))
            for k in range(history - 1, len(held.times[i]) - 1):
                answer = model.resume(
                    case, truth.isel(time=slice(k + 1 - history, k + 1)), held.times[i][k + 1 : k + 2]
                )
                for group in SETS[name].groups:
                    for f in group:
                        now, then = truth[f].values[k].astype(float), truth[f].values[k + 1].astype(float)
                        missed += float(((answer[f].values[0] - then) ** 2).sum())
                        moved += float(((then - now) ** 2).sum())
        ledger.row(section="steps", set=name, title=SETS[name].title, frames=history, modes=model.settings["rank"],
                   error_of_a_step=math.sqrt(missed / moved))  # fmt: skip
