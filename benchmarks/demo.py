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


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


if __name__ == "__main__":
    main()
