"""What becomes of rollouts whose velocity is kept free of divergence: the CFDBench table's FNO and U-Net, three ways.

Each as it is; the same weights held to the law afterwards; and trained with the law in every step, for as many minutes
of the processor, batch and rate chosen alike. Errors are of the 20 steps of a test case from its first frame on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import sciml
from benchmarks import cfdbench
from benchmarks._cfdbench_figures import one_core
from benchmarks._cfdbench_rows import ENTRIES, STEPS
from benchmarks._ledger import Ledger, extremes, quantiles
from sciml import data, evaluate
from sciml.solvers import Surrogate
from sciml.training import DivergenceFree

FLOWS = ("cavity", "cylinder")
ROWS = ("FNO", "U-Net")
AFTERWARDS, TRAINED = "divergence-free afterwards", "divergence-free"


def measure(ledger: Ledger, work: Any) -> None:
    """Rows of both flows, and the check of the aim: the worst of what was trained with the law over what was not."""
    quick, ratios, notes = work.given.quick, {}, []
    for flow in FLOWS:
        given = argparse.Namespace(
            quick=quick, fraction=cfdbench.SHARE, minutes=cfdbench.MINUTES, release=None, published_frames=False,
            published_split=False, pressure=False, subset=None, join=True, work=work.given.cfdbench,
        )  # fmt: skip
        held = cfdbench.Work(given)
        chosen = {n: ENTRIES[n] for row in ROWS for n in (row, f"{row}, {TRAINED}")}
        runs = held.trained(flow, chosen)
        solvers = {name: Surrogate.load(run, device="cpu") for name, run in runs.items()}
        for row in ROWS:
            if row in solvers:
                solvers[f"{row}, {AFTERWARDS}"] = solvers[row].constrained(DivergenceFree())
        with one_core():
            made = evaluate(
                solvers, held.data(flow), steps=STEPS, starts=("0",), examples=0, baselines=False, progress=True
            )
        defects = {n: _defects(s, held.data(flow)) for n, s in solvers.items()} | {"the data": _given(held.data(flow))}
        errors = {e["name"]: _errors(made, e["name"]) for e in made.summary["rows"]}
        seconds = {e["name"]: e["seconds_per_step"]["alone"] for e in made.summary["rows"]}
        for name, defect in defects.items():
            own = errors.get(name)
            plain = name.split(", ")[0]
            ledger.row(
                section="flows", flow=flow, row=name, rollout_nmse=None if own is None else float(own.mean()),
                over_plain=None if own is None or plain == name else float(own.mean() / errors[plain].mean()),
                over_plain_median=None if own is None or plain == name else float(np.median(own / errors[plain])),
                divergence=defect[0], divergence_over_scale=defect[1],
                milliseconds_a_step=None if own is None else 1e3 * seconds[name],
                time_over_plain=None if own is None or plain == name else seconds[name] / seconds[plain],
                steps=None if name not in runs else solvers[name].training["steps"],
            )  # fmt: skip
        for row in ROWS:
            name = f"{row}, {TRAINED}"
            if name in errors:
                each = np.sqrt(errors[name] / errors[row])
                ratios[f"{row}, {flow}"] = float(np.sqrt(errors[name].mean() / errors[row].mean()))
                notes.append(quantiles(each.tolist(), f"{len(each)} test cases, {name}, {flow}"))
    worst = max(ratios, key=lambda k: ratios[k])
    note = "root mean square of 20 steps, trained with the law over trained without, worst of " + ", ".join(
        f"{name} {value:.3g}" for name, value in ratios.items()
    )
    ledger.check(
        "constrained_rollout_error_over_plain", ratios[worst], note, spread=extremes(list(ratios.values()), "rows"),
        note=note,
    )  # fmt: skip


def _errors(made: Any, row: str) -> np.ndarray:
    """(case,) squared errors of 20 steps over the squares of what happened."""
    errors = made.errors
    square = errors.sel(row=row).isel(run=0)["error_square"].values.sum(-1)
    label = errors["label_square"].values.sum(-1)
    return np.nansum(square, -1) / np.nansum(label, -1)


def _defects(solver: Any, path: Path) -> tuple[float, float]:
    """The largest continuity defect of a control volume over all test cases and steps: in 1/s, over its scale."""
    dataset = data.open(path).load()
    found = []
    for i in np.flatnonzero(data.schema.flag_names(dataset["split"]) == "test"):
        case, truth = data.case(dataset, int(i))
        times = truth.time.values[: STEPS + 1]
        found.append(_continuity(solver.resume(case, truth.isel(time=0), times[1:])))
    return tuple(np.max(found, axis=0).tolist())  # type: ignore[return-value]


def _given(path: Path) -> tuple[float, float]:
    dataset = data.open(path).load()
    test = np.flatnonzero(data.schema.flag_names(dataset["split"]) == "test")
    return tuple(np.max([_continuity(data.case(dataset, int(i))[1]) for i in test], axis=0).tolist())  # type: ignore


def _continuity(solution: Any) -> tuple[float, float]:
    rows = sciml.audit(solution).select("continuity", 1)
    return max(r.largest for r in rows), max(r.relative for r in rows)
