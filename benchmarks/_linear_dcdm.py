"""The deep conjugate direction method beside classical ones, at the size it was trained at and at twice that.

The system is that of a smoke box: a unit cube, walls all around (Neumann), open at the top (Dirichlet). The network is
the published one of 97,457 weights, trained on this box without an obstacle at 32³, on right-hand sides made of Ritz
vectors, at three times the published rate and after a beginning at 16³, for 20 minutes instead of days. The same
weights then serve 32³ and 64³ cells, each with and without a ball in the box. Right-hand sides are white noise and
divergences of rising plumes. Counts at 1e-4 are read off the residuals of the solve to 1e-6.

    python -m benchmarks._linear_dcdm [--minutes 20]

trains alone (one core, minutes of processor time); it goes on from the files in benchmarks/work/linear.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from benchmarks._ledger import WORK, Kept, Ledger, extremes
from sciml.solvers.linear import (
    ConjugateGradient,
    DeepConjugateDirection,
    DirectionNetwork,
    End,
    GridSystem,
    IncompleteCholesky,
    Jacobi,
    LinearSolver,
    MultigridCG,
)
from sciml.training.checkpoint import digest

MINUTES = 20.0  # of one core, of training in all
FIRST = 0.15  # of them at half the size
CELLS = 32
LESSON: dict[str, Any] = {"lanczos": 300, "combinations": 2000, "held_out": 20, "batch": 10, "lr": 3e-4, "seed": 0}
TOLERANCES = (1e-4, 1e-6)
CHECK = "dcdm_iteration_growth_32_to_64_cubed"


def box(cells: int, ball: bool = False) -> GridSystem:
    """The box, with a solid ball of a quarter of its width below the middle or without."""
    shape, wall = (cells,) * 3, (End.WALL, End.WALL)
    faces = None
    if ball:
        z, y, x = np.meshgrid(*[(np.arange(cells) + 0.5) / cells] * 3, indexing="ij")
        fluid = (x - 0.5) ** 2 + (y - 0.5) ** 2 + (z - 0.4) ** 2 > 0.125**2
        faces = []
        for axis in (2, 1, 0):
            wide = np.pad(fluid, [(int(a == axis),) * 2 for a in range(3)], mode="edge")
            low, high = (np.take(wide, range(start, start + cells + 1), axis) for start in (0, 1))
            faces.append((low & high).astype(float))
        faces = tuple(faces)
    return GridSystem(shape, (wall, wall, (End.WALL, End.OPEN)), (1 / cells,) * 3, faces)


def right_hand_sides(system: GridSystem, count: int) -> list[tuple[str, np.ndarray]]:
    """(kind, values): noise, and −∂w/∂z of a plume w that rises from somewhere below."""
    random = np.random.default_rng(7)
    live, found = system.live(np), []
    z, y, x = np.meshgrid(*[(np.arange(n) + 0.5) / n for n in system.shape], indexing="ij")
    for _ in range(count):
        found.append(("noise", np.where(live, random.standard_normal(system.shape), 0)))
        a, b, c, r = random.uniform(0.3, 0.7), random.uniform(0.3, 0.7), random.uniform(0.2, 0.4), 0.12
        plume = np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * r**2))
        found.append(("plume", np.where(live, (z - c) / r * plume, 0)))
    return found


def trained(
    minutes: float, cells: int = CELLS, tell: Any = print, folder: Path = WORK / "linear"
) -> DeepConjugateDirection:
    """The published network, trained for that many minutes of one core; goes on where it was interrupted."""
    torch.set_num_threads(1)
    solver = DeepConjugateDirection(DirectionNetwork(3), tolerance=min(TOLERANCES))
    for n, share in ((cells // 2, FIRST), (cells, 1 - FIRST)):
        # what has been learned at half the size depends on the minutes, and so does what goes on from it
        name = f"dcdm_{n}_{minutes:g}min.safetensors"
        solver.fit(
            box(n), **LESSON, epochs=1000, minutes=share * minutes, every=200 if n < cells else 25,
            checkpoint=folder / name, tell=lambda row, n=n: tell({"cells": n, **row}),
        )  # fmt: skip
    return solver


def solved(solver: LinearSolver, system: GridSystem, sides: list[tuple[str, np.ndarray]]) -> dict[str, Any]:
    """Counts, times and residuals, a right-hand side each."""
    torch.set_num_threads(1)
    with jax.enable_x64(True):
        return _solved(solver, system, sides)


def _solved(solver: LinearSolver, system: GridSystem, sides: list[tuple[str, np.ndarray]]) -> dict[str, Any]:
    prepared = solver.prepare(system)
    found: dict[str, Any] = {"set_up_seconds": prepared.seconds, "solves": []}
    for kind, b in sides:
        if isinstance(solver, MultigridCG) and not found["solves"]:
            jax.block_until_ready(prepared(b))  # compiled
        began, worked = time.perf_counter(), time.process_time()
        _, info = jax.block_until_ready(prepared(b))
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
        counts = {}
        if info.history is not None:
            history = np.asarray(info.history)
            counts = {f"{t:g}": int(np.argmax(history <= t)) for t in TOLERANCES if (history <= t).any()}
        elif isinstance(solver, MultigridCG) and bool(info.converged):
            counts = {f"{t:g}": int(info.iterations) for t in TOLERANCES if t == solver.tolerance}
        found["solves"].append({
            "rhs": kind, "iterations": int(info.iterations), "counts": counts, "residual": float(info.residual),
            "switched": int(info.switched), "seconds": seconds, "cpu_seconds": cpu,
        })  # fmt: skip
    return found


def measure(ledger: Ledger, work: Any) -> None:
    """Rows, and the growth of the count of iterations with the grid."""
    kept = Kept("linear", dry=work.quick)
    cells, minutes, count = (8, 0.2, 1) if work.quick else (CELLS, work.minutes, 2)
    folder = WORK / "linear_quick" if work.quick else WORK / "linear"
    solver = trained(minutes, cells, folder=folder)
    for row in solver.record["losses"][:: max(len(solver.record["losses"]) // 20, 1)]:
        ledger.row(section="dcdm_training", cells=cells, **row)
    weights = digest(solver.network.state_dict())[:16]
    learned: dict[tuple[int, bool], dict[str, Any]] = {}
    for n in (cells, 2 * cells):
        for ball in (False, True):
            system = box(n, ball)
            sides = right_hand_sides(system, count)
            for name, method in methods(solver):
                settings = {"method": name, "cells": n, "ball": ball, "weights": weights if method is solver else None}
                found = kept(lambda m=method, s=system, b=sides: solved(m, s, b), of="dcdm", **settings)
                if method is solver:
                    learned[n, ball] = found
                for row in rows(found):
                    ledger.row(section="dcdm", method=name, cells=n, ball=ball, **row)
                print(f"{n}³{' with a ball' * ball}, {name}: {[s['counts'] for s in found['solves']]}", flush=True)
    ledger.seeds(LESSON["seed"])
    growth(ledger, learned, cells, solver.record)


def methods(learned: DeepConjugateDirection) -> list[tuple[str, LinearSolver]]:
    least, most = min(TOLERANCES), max(TOLERANCES)
    return [
        ("conjugate gradients", ConjugateGradient(None, least)),
        ("Jacobi", ConjugateGradient(Jacobi(), least)),
        ("incomplete Cholesky", ConjugateGradient(IncompleteCholesky(), least)),
        (f"multigrid to {most:g}", MultigridCG(most)),
        (f"multigrid to {least:g}", MultigridCG(least)),
        ("deep conjugate direction", learned),
    ]


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """For each tolerance and kind of right-hand side: medians of counts, milliseconds an iteration, and all in all."""
    made = []
    for tolerance in TOLERANCES:
        for kind in dict.fromkeys(s["rhs"] for s in found["solves"]):
            chosen = [s for s in found["solves"] if s["rhs"] == kind and f"{tolerance:g}" in s["counts"]]
            if not chosen:
                continue
            counts = [s["counts"][f"{tolerance:g}"] for s in chosen]
            each = min(1e3 * s["cpu_seconds"] / max(s["iterations"], 1) for s in chosen)
            count = statistics.median(counts)
            made.append({
                "rhs": kind, "tolerance": tolerance, "iterations": count, "milliseconds_an_iteration": each,
                "milliseconds_in_all": each * count, "set_up_milliseconds": 1e3 * found["set_up_seconds"],
                "largest_residual": max(s["residual"] for s in chosen),
                "switched": sum(0 <= s["switched"] < n for s, n in zip(chosen, counts, strict=True)),
            })  # fmt: skip
    return made


def growth(ledger: Ledger, learned: dict[tuple[int, bool], dict[str, Any]], cells: int, record: dict[str, Any]) -> None:
    """Iterations to 1e-4 at twice the size over those at the size of training, of the box without a ball."""
    key = f"{max(TOLERANCES):g}"
    pairs = list(zip(learned[cells, False]["solves"], learned[2 * cells, False]["solves"], strict=True))
    minutes = record["cpu_seconds"] / 60
    if any(key not in s["counts"] for pair in pairs for s in pair):
        ledger.check(CHECK, None, reason=f"not all solves reached {key}")
        return
    ratios = [b["counts"][key] / a["counts"][key] for a, b in pairs]
    switched = sum(0 <= s["switched"] < s["counts"][key] for pair in pairs for s in pair)
    note = (f"{minutes:.1f} minutes of one core at {cells}³ after a beginning at {cells // 2}³; {switched} of "
            f"{2 * len(pairs)} solves switched")  # fmt: skip
    ledger.check(
        CHECK, statistics.median(ratios), spread=extremes(ratios, f"{len(ratios)} right-hand sides"), note=note
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of one core, of training in all")
    solver = trained(parser.parse_args().minutes, tell=lambda row: print(row, flush=True))
    solver.save(WORK / "linear" / "dcdm")


if __name__ == "__main__":
    main()
