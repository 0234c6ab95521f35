"""Coverage of calibrated error bars on plates that neither training nor the scale has seen, each on its own mesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ledger import Ledger, extremes
from benchmarks._operators_rows import rows_of
from benchmarks._operators_sets import SETS
from sciml import data, load
from sciml.evaluation import resplits
from sciml.solvers import Conformal
from sciml.training.samples import open_data, table

NOMINAL = 0.9
ROW = "FLARE"
SPLITS = 100
SHOWN = 100  # test cases on which the bars are tried as they come
SETS_OF_OUR_OWN = ("heat_plate", "elastic_plate")


def measure(ledger: Ledger, work: Any) -> None:
    """Mean coverage over random halves of the held-out cases, one calibrating, the other tried."""
    worst, told, each, cases = 0.0, [], [], 0
    nominal = 0.5 if work.given.quick else NOMINAL  # of few cases little can be promised
    for name in SETS_OF_OUR_OWN:
        path = work.data(name)
        assert path is not None
        run = work.runs(name, path).trained({ROW: rows_of(name)[ROW]})[ROW]
        solver: Any = load(run)
        bars = Conformal(solver, nominal, "point").calibrate(path, "validation", share=0.6)  # of which the scale stays
        scores, numbers = bars.score(path, "test")
        cases = len(numbers)
        shipped = _shipped(bars, path)
        for per, outside in (("point", 0.0), ("field", 0.0), ("field", 0.05)):
            found = resplits(scores, nominal, per, outside=outside, count=SPLITS)  # (split, field)
            for field, values in zip(solver.predicted, found.T, strict=True):
                mean = float(values.mean())
                ledger.row(section="intervals", set=name, title=SETS[name].title, row=ROW, field=field, per=per,
                           outside=outside, nominal=nominal, coverage=mean, least=float(values.min()),
                           most=float(values.max()), held_out_cases=cases, splits=SPLITS,
                           **(shipped[field] if per == "point" else {}))  # fmt: skip
                told.append(f"{name} {field} per {per}{' but for 5 %' if outside else ''} {mean:.3f}")
                each.append(abs(mean - nominal))
                worst = max(worst, abs(mean - nominal))
    note = f"{', '.join(told)}; {cases} held-out cases a set, {SPLITS} random halves"
    ledger.check("conformal_coverage_error_at_90_percent", worst, note,
                 spread=extremes([float(np.min(each)), worst], "fields and promises"), note=note)  # fmt: skip


def _shipped(bars: Conformal, path: Path) -> dict[str, dict[str, float]]:
    """Of the bars as they come from the validation cases, on some test cases: mean coverage, and mean width over the
    range of the field in a case."""
    held = table(open_data(path)[0], "test", None)
    every: dict[str, list[tuple[float, float]]] = {f: [] for f in bars.predicted or ()}
    for i in range(min(SHOWN, len(held.cases))):
        case, truth = data.case(data.open(path), int(held.number[i]))
        answer, weights = bars.solve(case), held.support(i).weights()
        for f, found in every.items():
            low, high, value = (d.values for d in (answer[f"{f}_lower"], answer[f"{f}_upper"], truth[f]))
            inside = (weights * ((low <= value) & (value <= high))).sum() / weights.sum()
            found.append((float(inside), float((weights * (high - low)).sum() / weights.sum() / np.ptp(value))))
    return {f: {"shipped_coverage": float(np.mean(c)), "width": float(np.mean(w))}
            for f, (c, w) in ((f, zip(*v, strict=True)) for f, v in every.items())}  # fmt: skip
