"""Figures of the CFDBench table: errors of each row."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._cfdbench_rows import DEEPCFD, PUBLISHED, STEPS
from benchmarks._ledger import Ledger, source
from benchmarks._runs import recipe, records, validation
from sciml import evaluate, load
from sciml.evaluation import certificate
from sciml.solvers import Surrogate, references
from sciml.training.checkpoint import replace_bytes
from sciml.training.samples import open_data, table

Rows = dict[str, dict[str, Any]]
STILL = {True: "mean field", False: "persistence"}  # what a steady and an unsteady task is held against
NUMERICAL = "reference "  # how rows of the solver on fewer cells are called
OWN = ("U-Net", "FNO")  # rows of this package's own that stand beside the published figures


def figures(work: Any, flow: str, runs: Mapping[str, list[Path]], loaded: Mapping[str, Any] | None = None) -> Rows:
    """Of each row, of what needs no training, and of the solver on fewer cells; kept beside the runs.

    Args:
        loaded: what answers for a row, where that is not simply what its run holds.
    """
    names = {n: [p.name for p in several] for n, several in runs.items()}
    key = {"runs": names, "source": source(), "here": hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}
    place = work.runs / flow / f"figures-{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:10]}.json"
    if place.exists():
        kept = json.loads(place.read_text())
        if kept["key"] == key:
            return kept["rows"]
    given = {name: [solver] for name, solver in (loaded or {}).items()}
    solvers: dict[str, Any] = {n: [load(p) for p in several] for n, several in runs.items() if n not in given} | given
    if flow != DEEPCFD and work.given.release is None and not work.given.join:
        held = table(open_data(work.data(flow))[0], "test", work.fields(flow))
        solvers |= references.references(
            held.problem, held.support(0), held.cases, (Fraction(1, 8), *references.SHARES)
        )
    with one_core():
        made = evaluate(
            solvers, work.data(flow), steps=STEPS, starts=("0",), subset=work.subset(flow), examples=0, progress=True
        )
    labels = {m["number"]: m["case"] for m in work.manifest(flow)}
    found = {
        entry["name"]: _figures(made, entry, solvers.get(entry["name"]), runs.get(entry["name"]), labels)
        for entry in made.summary["rows"]
    }
    for name in runs:
        found[name]["far"] = _far(solvers[name][0], work.data(flow))
    replace_bytes(place, json.dumps({"key": key, "rows": found}).encode())
    return found


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Timings are of one core: torch's threads and XLA's, too, run on the first that there is."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores, tasks = os.sched_getaffinity(0), Path("/proc/self/task")
    before = torch.get_num_threads()

    def pin(wanted: set[int]) -> None:
        for task in tasks.iterdir():
            with contextlib.suppress(OSError):  # a thread that has ended
                os.sched_setaffinity(int(task.name), wanted)

    torch.set_num_threads(1)
    pin({min(cores)})
    try:
        yield
    finally:
        pin(cores)
        torch.set_num_threads(before)


def _figures(made: Any, entry: dict[str, Any], solvers: Any, runs: list[Path] | None, labels: dict[int, str]) -> dict:
    """The figures of one row: pooled over cases, its steady ones with fields counted alike."""
    errors, count = made.errors, entry["runs"]
    own = errors.sel(row=entry["name"]).isel(run=slice(count))
    square, label = own["error_square"].values, errors["label_square"].values  # (run, rollout, step, field)
    square = np.where(np.isnan(square) & np.isfinite(label), np.inf, square)  # an answer that is none
    every, every_label = own["every_frame_square"].values, errors["every_frame_label"].values  # (run, case, field)
    every = np.where(np.isnan(every), np.inf, every)
    query = bool(runs) and solvers[0].encoding.stepping.queries
    restarts = not query and bool(entry["restarts"])
    if not query and not restarts:  # steady: the units of a field do not make it count more
        total = np.nansum(label, (0, 1))
        square, label = square / total, label / total
    names = [str(f) for f in errors["field"].values]
    parts = (every, every_label) if restarts else (np.nansum(square, 2), np.nansum(label, 1))  # (run, case, field)
    square, label = square.sum(-1), label.sum(-1)
    growth = np.nansum(square, 1) / np.nansum(label, 0)
    per_case = (parts[0].sum(-1), parts[1].sum(-1))
    of_cases = np.nansum(square, -1) / np.nansum(label, -1)  # (run, rollout)
    worst = np.unravel_index(int(np.argmax(of_cases)), of_cases.shape)
    one = per_case[0].sum(-1) / per_case[1].sum()
    frames = entry["every_frame"]["all"] if restarts else {}
    return {
        "kind": entry["kind"], "runs": count, "restarts": restarts, "query": query,
        # one step from every true frame; of what is asked for times, and of a steady task, all answers
        "one_step_nmse": float(one.mean()), "one_step_std": float(one.std()),
        "case_squares": per_case[0].mean(0).tolist(), "case_labels": per_case[1].tolist(),
        "case_answer_squares": np.nansum(square, -1).mean(0).tolist(),
        "field_squares": dict(zip(names, parts[0].sum(1).mean(0).tolist(), strict=True)),
        "nmse_per_frame": {f: float(v["nmse_per_frame"]["mean"]) for f, v in frames.items()},
        "rollout_nmse": [float(v) for v in growth.mean(0)],
        "rollout_of_u": {k: _rollout(entry, k) for k in ("mse", "mae")},
        "answers_nmse": float((np.nansum(square, (1, 2)) / np.nansum(label)).mean()),
        "milliseconds_per_step": 1e3 * entry["seconds_per_step"]["alone"],
        "weights": None if runs is None else sum(p.numel() for p in solvers[0].operator.parameters()),
        "worst_case": labels[int(errors["case"].values[worst[1]])], "worst_case_nmse": float(of_cases[worst]),
        "worst_run": None if runs is None else str(runs[int(worst[0])]),
        "median_case_nmse": float(np.nanmedian(of_cases)), "far": None,
        "validation": None if runs is None else float(np.mean([validation(p) for p in runs])),
        "steps": None if runs is None else float(np.mean([records(p)[-1]["step"] for p in runs])),
        "recipe": None if runs is None else recipe(runs[0]),
    }  # fmt: skip


def _rollout(entry: dict[str, Any], figure: str) -> list[float]:
    """(step,) of u, in physical units."""
    return [float(v) for v in entry["rollout"]["all"]["u"][figure]["mean"]]


def _far(solver: Any, data: Path) -> dict[str, Any] | None:
    """What becomes of rollouts ten times as long as the data; None of what is not rolled out."""
    if not isinstance(solver, Surrogate) or solver.encoding.problem.steady or solver.encoding.stepping.queries:
        return None
    found = certificate(solver, data)
    growth = found.divergence_growth
    return {
        "share_bounded": found.share, "fewest_bounded_steps": int(found.bounded.min()), "steps": int(found.steps.max()),
        "median_divergence_growth": float(np.median(growth)) if np.isfinite(growth).any() else None,
    }  # fmt: skip


def best(found: Rows, count: int) -> list[str]:
    """The trained rows with the least validation losses, of those that go from frame to frame."""
    learned = [n for n, r in found.items() if r["kind"] == "learned"]
    going = [n for n in learned if not found[n]["query"]] or learned
    return sorted(going, key=lambda n: found[n]["validation"])[:count]


def over(found: Rows, name: str, still: str) -> float:
    """Of one step, or of all answers of what is asked for times, over those of what nothing was learned for."""
    part = "answers_nmse" if found[name]["query"] else "one_step_nmse"
    return found[name][part] / found[still][part]


def rows(ledger: Ledger, flow: str, found: Rows, manifest: list[dict[str, Any]]) -> None:
    """The rows of one flow, and its cases."""
    comparison(ledger, flow, found, manifest)
    counts = {part: sum(m["split"] == part for m in manifest) for part in ("train", "validation", "test", "failed")}
    ledger.row(section="cases", flow=flow, **counts)
    for m in manifest:
        ledger.row(section="manifest", flow=flow, **m)


def comparison(
    ledger: Ledger, flow: str, found: Rows, manifest: list[dict[str, Any]], section: str = "comparison"
) -> None:
    """What needs no training, the trained ones from the best on, the solvers."""
    still = STILL[flow == DEEPCFD]
    kinds = ("baseline", "learned", "solver")
    subsets = np.array([m["subset"] for m in manifest if m["split"] == "test"])  # those that were evaluated
    for name in sorted(found, key=lambda n: (kinds.index(found[n]["kind"]), over(found, n, still))):
        r = found[name]
        task = "steady" if flow == DEEPCFD else "any time" if r["query"] else "frame after frame"
        published, identity = (PUBLISHED.get(n, {}).get(flow) for n in (name, "persistence"))
        ratio = None if published is None or identity is None else published / identity
        like = None  # the published mean over frames of u, over that of "nothing changes"
        if r["nmse_per_frame"] and found[still]["nmse_per_frame"]:
            like = r["nmse_per_frame"]["u"] / found[still]["nmse_per_frame"]["u"]
        row: dict[str, Any] = dict(
            section=section, flow=flow, row=name, kind=r["kind"], task=task, seeds=r["runs"], weights=r["weights"],
            steps=r["steps"], **(r["recipe"] or {}), validation=r["validation"],
            one_step_nmse=None if r["query"] else r["one_step_nmse"],
            one_step_std=r["one_step_std"] if r["runs"] > 1 and not r["query"] else None,
            answers_nmse=r["answers_nmse"], over_identity=over(found, name, still), per_frame_u_over_identity=like,
            median_over_identity=_median(found, name, still),
            **{f"{f}_over_identity": _of_field(found, name, still, f) for f in r["field_squares"]},
            published_nmse=published,
            published_over_identity=None if r["query"] else ratio,
            rollout_nmse_last=r["rollout_nmse"][-1], rollout_nmse_mean=float(np.mean(r["rollout_nmse"])),
            rollout_nmse_last_over_identity=r["rollout_nmse"][-1] / found[still]["rollout_nmse"][-1],
            **{f"rollout_{k}_of_u_last": v[-1] for k, v in r["rollout_of_u"].items()},
            **{f"over_identity_{s}": of_cases(found, name, still, subsets == s) for s in dict.fromkeys(subsets)},
            median_case_nmse=r["median_case_nmse"], worst_case_nmse=r["worst_case_nmse"], worst_case=r["worst_case"],
            milliseconds_per_step=r["milliseconds_per_step"], **{f"far_{k}": v for k, v in (r["far"] or {}).items()},
        )  # fmt: skip
        row = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        ledger.row(**row)
        if section == "comparison" and (published is not None or (name in OWN and flow != DEEPCFD)):
            ledger.row(**row | {"section": "published"})


def of_cases(found: Rows, name: str, still: str, which: np.ndarray) -> float:
    """`over` of some of the test cases alone."""
    mine, base = (np.asarray(found[n][_part(found, name)])[which].sum() for n in (name, still))
    return float(mine / base)


def _median(found: Rows, name: str, still: str) -> float:
    """The middle of the cases' own ratios: a pooled one is that of the cases that change most."""
    mine, base = (np.asarray(found[n][_part(found, name)]) for n in (name, still))
    return float(np.median(mine / base))


def _of_field(found: Rows, name: str, still: str, field: str) -> float:
    """`over` of one field alone; of one step, and so none of what is asked for times."""
    return (
        math.nan if found[name]["query"] else found[name]["field_squares"][field] / found[still]["field_squares"][field]
    )


def _part(found: Rows, name: str) -> str:
    """Of one step, or of all answers of what is asked for times."""
    return "case_answer_squares" if found[name]["query"] else "case_squares"
