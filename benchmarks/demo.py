"""The demo from nothing to its page, timed, and its rows held against the goals: ledger `demo`.

    python -m benchmarks.demo [--out DIR]

Runs `sciml demo` in a folder of its own (removed first unless --keep), so that every stage is done.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks._ledger import HERE, Ledger

ALL = "all"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "work" / "demo")
    parser.add_argument("--keep", action="store_true", help="keep what is there, and time only what is left to do")
    arguments = parser.parse_args()
    if arguments.out.exists() and not arguments.keep:
        shutil.rmtree(arguments.out)
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "sciml.cli", "demo", "--out", str(arguments.out)], check=True)
    minutes = (time.monotonic() - began) / 60
    results = json.loads((arguments.out / "results.json").read_text(encoding="utf-8"))
    stages = json.loads((arguments.out / "demo.json").read_text(encoding="utf-8"))
    write(results, stages, minutes, whole=not arguments.keep)
    picture(arguments.out, results, HERE.parent / "docs" / "demo.png")


def write(results: dict[str, Any], stages: dict[str, Any], minutes: float, whole: bool = True) -> None:
    """Fill the ledger from the demo's results."""
    ledger = Ledger("demo")
    rows = results["rows"]
    for row in rows:
        growth = row["rollout_nmse"]
        ledger.row(
            section="comparison", row=row["row"], kind=row["kind"],
            training_seconds=row["training_seconds"], milliseconds_per_step=_scaled(row["seconds_per_step"], 1e3),
            weights=row["weights"],
            **{f"one_step_nmse_{s}": row["one_step_nmse"][s] for s in growth},
            **{f"rollout_{results['steps']}_mean_nmse_{s}": sum(v) / len(v) for s, v in growth.items()},
        )  # fmt: skip
    for name, stage in stages.items():
        ledger.row(section="stages", row=name, seconds=round(stage["seconds"], 1))
    ledger.row(section="verdict", row=results["verdict"])
    learned = [r for r in rows if r["kind"] == "surrogate"]
    plain = [r for r in rows if r["kind"] == "baseline"]
    still = next(r for r in plain if "persist" in r["row"])["one_step_nmse"][ALL]
    gains = {r["row"]: still / r["one_step_nmse"][ALL] for r in learned}
    ledger.seeds(*(r["seed"] for r in learned if r["seed"] is not None))
    best = min(learned, key=lambda r: sum(r["rollout_nmse"][ALL]))
    bars = [min(r["rollout_nmse"]["ic"][k] for r in plain) for k in range(results["steps"])]
    won = sum(mine < bar for mine, bar in zip(best["rollout_nmse"]["ic"], bars, strict=True))
    text = ", ".join(f"{name} {gain:.1f}" for name, gain in gains.items())
    ledger.check("best_one_step_gain_over_persistence", max(gains.values()), f"gains: {text}")
    ledger.check("worst_one_step_gain_over_persistence", min(gains.values()), f"gains: {text}")
    lost = [k + 1 for k in range(results["steps"]) if best["rollout_nmse"]["ic"][k] >= bars[k]]
    ledger.check("ic_rollout_steps_where_best_beats_every_unlearned_row", won, f"{best['row']} loses at steps {lost}")
    if whole:
        ledger.check("minutes_after_install", minutes, f"{minutes:.2f} minutes on this machine")
    else:
        ledger.check("minutes_after_install", None, "timed only in part (--keep)")
    ledger.write()


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
    best = min((r for r in rows if r["kind"] == "surrogate"), key=lambda r: r["rollout_nmse"]["ic"][-1])
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
