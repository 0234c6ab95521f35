"""Coverage of calibrated error bars on plates that neither training nor the scale has seen, each on its own mesh."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks._ledger import Ledger, extremes
from benchmarks._operators_rows import rows_of
from benchmarks._operators_sets import SETS
from sciml import load
from sciml.evaluation import resplits
from sciml.solvers import Conformal

NOMINAL = 0.9
ROW = "FLARE"
SPLITS = 100
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
        for per, outside in (("point", 0.0), ("field", 0.0), ("field", 0.05)):
            found = resplits(scores, nominal, per, outside=outside, count=SPLITS)  # (split, field)
            for field, values in zip(solver.predicted, found.T, strict=True):
                mean = float(values.mean())
                ledger.row(section="intervals", set=name, title=SETS[name].title, row=ROW, field=field, per=per,
                           outside=outside, nominal=nominal, coverage=mean, least=float(values.min()),
                           most=float(values.max()), held_out_cases=cases, splits=SPLITS)  # fmt: skip
                told.append(f"{name} {field} per {per}{' but for 5 %' if outside else ''} {mean:.3f}")
                each.append(abs(mean - nominal))
                worst = max(worst, abs(mean - nominal))
    note = f"{', '.join(told)}; {cases} held-out cases a set, {SPLITS} random halves"
    ledger.check("conformal_coverage_error_at_90_percent", worst, note,
                 spread=extremes([float(np.min(each)), worst], "fields and promises"), note=note)  # fmt: skip
