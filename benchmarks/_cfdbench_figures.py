"""Figures of the CFDBench table: errors of each row, checks, and the picture."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._cfdbench_rows import DEEPCFD, ENTRIES, FLOWS, PUBLISHED, STEPS
from benchmarks._ledger import Ledger
from sciml import evaluate, load
from sciml.solvers import references
from sciml.training.samples import open_data, table

Rows = dict[str, dict[str, Any]]
STILL = {True: "mean field", False: "persistence"}  # what a steady and an unsteady task is held against
NUMERICAL = "reference "  # how rows of the solver on fewer cells are called


def figures(work: Any, flow: str, runs: Mapping[str, list[Path]]) -> Rows:
    """Of each row, of what needs no training, and of the solver on fewer cells; kept beside the runs."""
    key = {"runs": {n: [p.name for p in several] for n, several in runs.items()}}
    place = work.folder / flow / "figures.json"
    if place.exists():
        kept = json.loads(place.read_text())
        if kept["key"] == key:
            return kept["rows"]
    solvers: dict[str, Any] = {name: [load(p) for p in several] for name, several in runs.items()}
    if flow != DEEPCFD:
        held = table(open_data(work.data(flow))[0], "test")
        solvers |= references.references(held.problem, held.support(0), held.cases)
    made = evaluate(solvers, work.data(flow), steps=STEPS, starts=("0",), examples=0, progress=True)
    found = {}
    for entry in made.summary["rows"]:
        own = made.errors.sel(row=entry["name"])
        square = own["error_square"].values[: entry["runs"]].sum(-1)  # run, rollout, step
        label = made.errors["label_square"].values.sum(-1)  # NaN where a case has no such step
        square = np.where(np.isnan(square) & np.isfinite(label), np.inf, square)  # an answer that is none
        growth = np.nansum(square, 1) / np.nansum(label, 0)
        answers = np.nansum(square, (1, 2)) / np.nansum(label)
        every = entry["every_frame"]["all"].get("joint") if entry["every_frame"]["all"] else None
        # one step from every true frame; of what is asked for times all its answers are of one step
        one = {"mean": float(answers.mean()), "std": float(answers.std())} if every is None else every["nmse"]
        per_case = np.nansum(square[0], -1) / np.nansum(label, -1)
        worst = int(np.argmax(per_case))
        found[entry["name"]] = {
            "kind": entry["kind"], "runs": entry["runs"], "restarts": every is not None,
            "one_step_nmse": float(one["mean"]), "one_step_std": float(one["std"]),
            "one_step_nmse_per_frame": None if every is None else float(every["nmse_per_frame"]["mean"]),
            "rollout_nmse": [float(v) for v in growth.mean(0)],
            "milliseconds_per_step": 1e3 * entry["seconds_per_step"]["alone"],
            "weights": _weights(runs.get(entry["name"])), "worst_case": str(made.errors["case"].values[worst]),
            "worst_case_nmse": float(per_case[worst]), "median_case_nmse": float(np.nanmedian(per_case)),
            "training_seconds": [t.get("seconds") for t in entry.get("training", [])],
        }  # fmt: skip
    place.write_text(json.dumps({"key": key, "rows": found}))
    return found


def _weights(runs: list[Path] | None) -> int | None:
    if runs is None:
        return None
    loaded: Any = load(runs[0])
    return sum(p.numel() for p in loaded.operator.parameters())


def best(found: Rows, count: int) -> list[str]:
    """The trained rows with the least errors of one step, of those that go from frame to frame."""
    learned = [n for n, r in found.items() if r["kind"] == "learned"]
    going = [n for n in learned if found[n]["restarts"]] or learned
    return sorted(going, key=lambda n: found[n]["one_step_nmse"])[:count]


def rows(ledger: Ledger, flow: str, found: Rows, manifest: list[dict[str, Any]]) -> None:
    """The rows of one flow, and its cases."""
    still = found.get(STILL[flow == DEEPCFD])
    base = still["one_step_nmse"] if still is not None else math.nan
    for name, r in found.items():
        entry = ENTRIES.get(name)
        task = "any time" if entry is not None and entry.query else "frame after frame"
        if flow == DEEPCFD:
            task = "steady"
        published = PUBLISHED.get(name, {}).get(flow)
        identity = PUBLISHED["persistence"].get(flow)
        row: dict[str, Any] = dict(
            section="comparison", flow=flow, row=name, kind=r["kind"], task=task, seeds=r["runs"],
            weights=r["weights"], one_step_std=r["one_step_std"], one_step_nmse=r["one_step_nmse"],
            over_identity=r["one_step_nmse"] / base,
            one_step_nmse_per_frame=r["one_step_nmse_per_frame"],
            published_nmse=published,
            published_over_identity=None if published is None or identity is None else published / identity,
            rollout_nmse_last=r["rollout_nmse"][-1],
            rollout_nmse_mean=float(np.mean(r["rollout_nmse"])),
            median_case_nmse=r["median_case_nmse"], worst_case_nmse=r["worst_case_nmse"], worst_case=r["worst_case"],
            milliseconds_per_step=r["milliseconds_per_step"],
        )  # fmt: skip
        ledger.row(**{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()})
    counts = {part: sum(m["split"] == part for m in manifest) for part in ("train", "validation", "test")}
    ledger.row(section="cases", flow=flow, **counts)
    for m in manifest:
        ledger.row(section="manifest", flow=flow, **m)


def checks(ledger: Ledger, found: dict[str, Rows]) -> None:
    """What the goals ask, of the flows that were run."""
    ratios, last, cheaper = {}, {}, []
    for flow, rows_here in found.items():
        if flow == DEEPCFD:
            continue
        still = rows_here["persistence"]
        name = best(rows_here, 1)[0]
        won, base = rows_here[name], still["one_step_nmse"]
        ratios[flow] = won["one_step_nmse"] / base
        spread = None
        if won["runs"] > 1:
            low, high = (ratios[flow] + sign * won["one_step_std"] / base for sign in (-1, 1))
            spread = {"low": low, "high": high, "of": f"one standard deviation of {won['runs']} seeds"}
        ledger.check(
            f"best_over_identity_{flow}", ratios[flow], _near(rows_here, still), spread=spread,
            note=f"{name}; next {_near(rows_here, still)}",
        )  # fmt: skip
        learned = {n: r for n, r in rows_here.items() if r["kind"] == "learned"}
        rolled = {n: r["rollout_nmse"][-1] / still["rollout_nmse"][-1] for n, r in learned.items()}
        winner = min(rolled, key=lambda n: rolled[n] if math.isfinite(rolled[n]) else math.inf)
        last[flow] = (rolled[winner], winner)
        cheaper += _cheaper(flow, rows_here)
    if set(ratios) == set(FLOWS):
        third = sorted(ratios.values())[2]
        told = ", ".join(f"{flow} {value:.3g}" for flow, value in ratios.items())
        ledger.check("best_over_identity_three_flows_far", third, told, note=told)
        worst = max(last, key=lambda flow: last[flow][0])
        told = ", ".join(f"{flow} {value:.2g} ({name})" for flow, (value, name) in last.items())
        ledger.check("rollout_20_best_over_identity_worst_flow", last[worst][0], told,
                     note=f"step {STEPS} of rollouts from the first frame: {told}")  # fmt: skip
        ledger.check("flows_where_a_surrogate_is_cheaper_than_the_solver_at_equal_error",
                     float(len({flow for flow, _ in cheaper})), "; ".join(t for _, t in cheaper) or "none is",
                     note="; ".join(t for _, t in cheaper) or "none is")  # fmt: skip
    if DEEPCFD in found:
        rows_here = found[DEEPCFD]
        name = best(rows_here, 1)[0]
        ratio = rows_here[name]["one_step_nmse"] / rows_here["mean field"]["one_step_nmse"]
        ledger.check("deepcfd_best_over_mean_field", ratio, "see the rows",
                     note=f"{name}; NMSE over the fluid of the three fields together")  # fmt: skip


def _near(found: Rows, still: dict[str, Any]) -> str:
    base = still["one_step_nmse"]
    return ", ".join(f"{n} {found[n]['one_step_nmse'] / base:.3g}" for n in best(found, 4)[1:])


def _cheaper(flow: str, found: Rows) -> list[tuple[str, str]]:
    """Surrogates whose rollouts cost less than the solver on the fewest cells that is as exact."""
    numerical = [r for n, r in found.items() if n.startswith(NUMERICAL)]

    def error(r: dict[str, Any]) -> float:
        return float(np.mean(r["rollout_nmse"]))

    told = []
    for name, r in found.items():
        if r["kind"] != "learned" or not math.isfinite(error(r)):
            continue
        exact = [s["milliseconds_per_step"] for s in numerical if error(s) <= error(r)]
        if exact and r["milliseconds_per_step"] < min(exact):
            told.append((flow, f"{flow}: {name} {r['milliseconds_per_step']:.1f} ms against {min(exact):.1f} ms"))
    return told


def picture(found: dict[str, Rows], out: Path) -> None:
    """Bars of one step over identity, growth of rollouts, cost against error; a column for each flow."""
    from matplotlib.figure import Figure

    from sciml.reporting import _style

    flows = [f for f in found if f != DEEPCFD]
    colours = {n: _style.LEARNED[k % len(_style.LEARNED)] for k, n in enumerate(ENTRIES)}
    with _style.style():
        figure = Figure(figsize=(3.6 * len(flows), 9.6), layout="constrained")
        axes = figure.subplots(3, len(flows), squeeze=False, height_ratios=(1.3, 1, 1))
        for k, flow in enumerate(flows):
            here = found[flow]
            base = here["persistence"]["one_step_nmse"]
            learned = [n for n in here if here[n]["kind"] == "learned"]
            order = sorted(learned, key=lambda n: -here[n]["one_step_nmse"])
            values = [here[n]["one_step_nmse"] / base for n in order]
            bars = axes[0, k]
            bars.barh(range(len(order)), values, color=[colours.get(n, "grey") for n in order], height=0.7)
            bars.set_xscale("log")
            bars.set_yticks(range(len(order)), order, fontsize=7.5)
            bars.axvline(1.0, color=_style.INK, lw=0.8, ls="--")
            _style.caption(bars, flow, "one-step NMSE over identity's", "")
            growth, cost = axes[1, k], axes[2, k]
            for name, r in here.items():
                errors = r["rollout_nmse"]
                colour = colours.get(name, "grey")
                style = {"learned": "-", "baseline": "--", "solver": ":"}[r["kind"]]
                growth.semilogy(np.arange(1, len(errors) + 1), errors, style, color=colour, lw=1.2)
                mean = float(np.mean(errors))
                mark = {"learned": "o", "solver": "s"}.get(r["kind"])
                if mark and math.isfinite(mean):
                    cost.loglog(
                        mean, r["milliseconds_per_step"], mark, color=colour if mark == "o" else _style.INK, ms=5
                    )
                    if mark == "s":
                        cost.annotate(name.removeprefix(NUMERICAL), (mean, r["milliseconds_per_step"]), fontsize=7)
            growth.set_ylim(top=min(growth.get_ylim()[1], 10.0))
            _style.caption(growth, "", "rollout step", "NMSE" if k == 0 else "")
            _style.caption(cost, "", "mean NMSE of rollouts", "ms a step" if k == 0 else "")
        out.write_bytes(_style.png(figure))
