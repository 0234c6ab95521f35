"""DeepXDE on Burgers' equation, each recipe in a process of its own (`_deepxde_burgers`)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._ledger import HERE

if TYPE_CHECKING:
    from benchmarks._physics_runs import Truth

PROGRAM = HERE / "_deepxde_burgers.py"
RECIPES = {"published": 900.0, "double": 900.0, "exact": 900.0, "adaptive": 900.0, "newton": 900.0}  # -> most seconds
SEEDS = 1


def measured(folder: Path, python: Path | None, truth: Truth, quick: bool) -> list[dict[str, Any]]:
    """What is there of DeepXDE's runs, and what `python`, that of its environment, adds to it."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for recipe, most in RECIPES.items():
        for seed in range(SEEDS):
            out = folder / f"deepxde_{recipe}_{seed}.json"
            if (not out.exists() or not out.stat().st_size) and python is not None:
                _run(out, python, recipe, seed, 5.0 if quick else most, truth, quick)
            if out.exists() and out.stat().st_size:
                found.append(json.loads(out.read_text()))
    return found


def _run(out: Path, python: Path, recipe: str, seed: int, most: float, truth: Truth, quick: bool) -> None:
    given = out.parent / "truth.npz"
    assert truth.times is not None
    np.savez(given, x=truth.points[:, 0] - 1.0, t=truth.times, u=truth.fields["u"])
    command = [str(python), str(PROGRAM), str(given), "--recipe", recipe, "--seed", str(seed), "--seconds", str(most)]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    made = subprocess.run(
        command + ["--quick"] * quick, env=os.environ | threads, check=True, stdout=subprocess.PIPE, text=True
    )
    temporary = out.with_suffix(".tmp")
    temporary.write_text(made.stdout.strip().splitlines()[-1])
    os.replace(temporary, out)
