"""The demo from nothing to its page, timed, and its rows held against the goals: ledger `demo`.

    python -m benchmarks.demo [--out DIR] [--runs N]

Runs `sciml demo` N times, each in a folder of its own (removed first unless --keep), with seeds 0, 1, ... of weights
and batches; the data are the same. Figures are medians, beside them the least and the most; the picture is of seed 0.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks._ledger import HERE, Ledger, extremes

ALL = "all"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "work" / "demo")
    parser.add_argument("--runs", type=int, default=3, help="how many seeds")
    parser.add_argument("--keep", action="store_true", help="keep what is there, and time only what is left to do")
    arguments = parser.parse_args()
    sys.argv[1:] = [f"--runs {arguments.runs}"] if arguments.runs != 3 else []
    ledger, runs = Ledger("demo"), []
    for seed in range(arguments.runs):
        out = arguments.out / f"seed{seed}"
        if out.exists() and not arguments.keep:
            shutil.rmtree(out)
        began = time.monotonic()
        command = [sys.executable, "-m", "sciml.cli", "demo", "--out", str(out), "--seed", str(seed)]
        subprocess.run(command, check=True)
        runs.append({
            "minutes": (time.monotonic() - began) / 60,
            "results": json.loads((out / "results.json").read_text(encoding="utf-8")),
            "stages": json.loads((out / "demo.json").read_text(encoding="utf-8")),
        })  # fmt: skip
    write(ledger, runs, whole=not arguments.keep)
    picture(arguments.out / "seed0", runs[0]["results"], HERE.parent / "docs" / "demo.png")


def write(ledger: Ledger, runs: list[dict[str, Any]], whole: bool = True) -> None:
    """Fill the ledger from the results of the demos, one of each seed."""
    best, worst, won = [], [], []
    for seed, run in enumerate(runs):
        results = run["results"]
        ledger.seeds(seed)
        for row in results["rows"]:
            growth = row["rollout_nmse"]
            ledger.row(
                section="comparison", seed=seed, row=row["row"], kind=row["kind"],
                training_seconds=row["training_seconds"], milliseconds_per_step=_scaled(row["seconds_per_step"], 1e3),
                weights=row["weights"],
                **{f"one_step_nmse_{s}": row["one_step_nmse"][s] for s in growth},
                **{f"rollout_{results['steps']}_mean_nmse_{s}": sum(v) / len(v) for s, v in growth.items()},
            )  # fmt: skip
        for name, stage in run["stages"].items():
            ledger.row(section="stages", seed=seed, row=name, seconds=round(stage["seconds"], 1))
        gains = gains_of(results)
        best.append(max(gains.values()))
        worst.append(min(gains.values()))
        won.append(len(steps_won(results)))
    first = runs[0]["results"]
    ledger.row(section="verdict", row=first["verdict"])
    of = f"{len(runs)} seeds"
    counts = ", ".join(f"{n} of {s}" for s, n in first["cases"].items() if s != ALL)
    text = ", ".join(f"{name} {gain:.1f}" for name, gain in gains_of(first).items())
    metric = (
        "ratio of pooled NMSE, squared errors; as relative L2 its square root, {:.1f}; steps from 0, 1/4 and 1/2 of "
        "each held-out case"
    )
    for id, found in (
        ("best_one_step_gain_over_persistence", best),
        ("worst_one_step_gain_over_persistence", worst),
    ):
        middle = statistics.median(found)
        note = f"{metric.format(middle**0.5)}; seed 0: {text}"
        ledger.check(id, middle, "see the note", spread=extremes(found, of), note=note)
    ledger.check(
        "ic_rollout_steps_where_best_beats_every_unlearned_row", statistics.median(won), "see the rows",
        spread=extremes(won, of),
        note=f"of 20 steps, by the mean NMSE of each; numerical solvers are not counted; held-out cases: {counts}",
    )  # fmt: skip
    minutes = [run["minutes"] for run in runs]
    if whole:
        ledger.check(
            "minutes_after_install", statistics.median(minutes), "on this machine",
            spread=extremes(minutes, f"{len(runs)} runs"),
        )  # fmt: skip
    else:
        ledger.check("minutes_after_install", None, "timed only in part (--keep)")
    ledger.write()


def gains_of(results: dict[str, Any]) -> dict[str, float]:
    """Persistence's one-step NMSE over that of each trained row."""
    still = next(r for r in results["rows"] if r["kind"] == "baseline" and "persist" in r["row"])["one_step_nmse"][ALL]
    return {r["row"]: still / r["one_step_nmse"][ALL] for r in results["rows"] if r["kind"] == "surrogate"}


def best_of(results: dict[str, Any]) -> dict[str, Any]:
    """The trained row with the least error over all rollouts."""
    return min((r for r in results["rows"] if r["kind"] == "surrogate"), key=lambda r: sum(r["rollout_nmse"][ALL]))


def steps_won(results: dict[str, Any]) -> list[int]:
    """Steps of ic at which the best trained row has a smaller error than every row without training."""
    plain = [r["rollout_nmse"]["ic"] for r in results["rows"] if r["kind"] == "baseline"]
    mine = best_of(results)["rollout_nmse"]["ic"]
    return [k for k in range(results["steps"]) if mine[k] < min(row[k] for row in plain)]


def picture(folder: Path, results: dict[str, Any], out: Path) -> None:
    """The picture of the README: the held-out flow with random start and lid on which the better operator has its
    median error, its last step there, and how errors grow."""
    import numpy as np
    from matplotlib.figure import Figure

    import sciml
    from sciml import data
    from sciml.data import schema
    from sciml.solvers import Surrogate

    rows, steps = results["rows"], int(results["steps"])
    best = best_of(results)
    runs = [sciml.load(path.parent) for path in sorted(folder.glob("*/config.json"))]
    solver = next(r for r in runs if isinstance(r, Surrogate) and best["row"].startswith(r.title))
    dataset = data.open(folder / "cavity.h5")
    split, subset = (schema.flag_names(dataset[n]) for n in ("split", "subset"))
    shown = []
    for number in np.flatnonzero((split == "test") & (subset == "ic")):
        case, truth = data.case(dataset, int(number))
        made = solver.resume(case, truth.isel(time=[0]), truth["time"].values[1 : steps + 1])
        end, last = truth.isel(time=steps), made.isel(time=-1)
        u, v = (end[n].values / case.scales.velocity for n in ("u", "v"))
        p, q = (last[n].values / case.scales.velocity for n in ("u", "v"))
        off = float(((p - u) ** 2 + (q - v) ** 2).sum() / (u**2 + v**2).sum())
        shown.append((off, [np.hypot(u, v), np.hypot(p, q), np.hypot(p - u, q - v)]))
    size = sorted(shown, key=lambda pair: pair[0])[len(shown) // 2][1]

    figure = Figure(figsize=(12.4, 2.9), dpi=110, layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.5))
    titles = ("solver, |u| / U", f"{best['model']}, {steps} steps on", "error, same scale")
    for ax, values, title in zip(axes, size, titles, strict=False):
        image = ax.imshow(values, origin="lower", cmap="viridis", vmin=0, vmax=float(size[0].max()))
        ax.set_title(title, fontsize=10)
        ax.set_xticks([])
        ax.set_yticks([])
    figure.colorbar(image, ax=axes[2], fraction=0.05)
    styles = {"surrogate": "-", "baseline": "--", "reference": ":"}
    for row in rows:
        errors = row["rollout_nmse"]["ic"]
        axes[3].semilogy(np.arange(1, steps + 1), errors, styles[row["kind"]], label=row["row"])
    axes[3].set_title("error of rollouts, random starts and lids", fontsize=10)
    axes[3].set_xlabel("step of 0.25 L/U")
    axes[3].set_ylabel("NMSE")
    axes[3].set_xlim(0.5, steps)
    axes[3].legend(fontsize=7.5, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(out)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


if __name__ == "__main__":
    main()
