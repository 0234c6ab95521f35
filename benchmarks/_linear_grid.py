"""Rows of classical and learned solvers on systems that are drawn: set-up, solve, iterations, memory.

Each system is measured by a process of its own (`_linear_child`), with as many processors as threads; all solvers take
turns on the same right-hand sides, and every residual is computed anew from the answer. The seeds of these systems are
none of those that learned solvers were trained on.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks._ledger import HERE, Kept, Ledger, extremes
from sciml.solvers.linear import LearnedMultigrid

TOLERANCES = (1e-4, 1e-6, 1e-8)
KINDS = ("constant", "jumps", "log-normal", "obstacles")
SEEDS = (1000, 1001, 1002)  # training draws from generators of seeds below
SLOW = ("CG", "Jacobi-CG", "IC(0)-CG")  # left out of the largest grids
LEARNED, OURS, THEIRS = "learned multigrid-CG", "geometric multigrid-CG", "Ruge-Stüben-CG (pyamg)"
ABSENT = "the learned multigrid did not converge"
FACTORS = ("SuperLU", "CHOLMOD")
#: figures of a row that are shown
SHOWN = ("tolerance", "unknowns", "iterations", "iterations_most", "residual", "setup_ms", "solve_ms", "solve_ms_least",
         "solve_ms_most", "total_ms", "first_ms", "setup_bytes", "solves", "failed")  # fmt: skip


def asked(kept: Kept, **spec: Any) -> list[dict[str, Any]]:
    """The rows of one process."""
    spec = {"rows": None, "threads": 1, "seed": SEEDS[0], "tolerances": list(TOLERANCES)} | spec

    def run() -> list[dict[str, Any]]:
        command = [sys.executable, "-m", "benchmarks._linear_child", json.dumps(spec)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=HERE.parent, env=confined(spec["threads"]),
            preexec_fn=lambda: _few(spec["threads"]),
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{json.dumps(spec)}: {done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])["rows"]

    return kept(run, what="linear", **spec)


def confined(threads: int) -> dict[str, str]:
    """An environment in which libraries make so many threads."""
    eigen = "true" if threads > 1 else "false"
    flags = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}"
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, "XLA_FLAGS": flags, **dict.fromkeys(names, str(threads))}


def _few(threads: int) -> None:
    """Leave a process the last `threads` of the processors that it may have."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def table(ledger: Ledger, kept: Kept, section: str, **spec: Any) -> list[dict[str, Any]]:
    """The rows of one process, in the ledger too."""
    found = asked(kept, **spec)
    shape = " × ".join(map(str, spec["shape"]))
    for each in found:
        told = {key: each.get(key) for key in SHOWN}
        ledger.row(section=section, system=spec["family"], cells=shape, threads=spec.get("threads", 1),
                   seed=spec.get("seed", SEEDS[0]), row=each["row"], **told)  # fmt: skip
    done = {e["row"]: e["iterations"] for e in found if e["tolerance"] == 1e-6}
    print(f"{spec['family']} {shape} seed {spec.get('seed', SEEDS[0])}: {done}", flush=True)
    return found


def shapes(work: Any) -> list[tuple[int, ...]]:
    if work.quick:
        return [(32, 32), (8, 8, 8)]
    sides = (64, 128, 256, 512, 1024) if work.full else (64, 128, 256)
    return [*((n, n) for n in sides), (32, 32, 32), (64, 64, 64)]


def fits(shape: Sequence[int]) -> list[str]:
    """The rows that a grid is asked of: the slow ones not of the largest, factors not of many unknowns in space."""
    from benchmarks._linear_child import rows

    names = list(rows(1e-6))
    if len(shape) == 3 and shape[0] >= 64:
        names = [n for n in names if n not in FACTORS]
    if len(shape) == 2 and shape[0] >= 1024:
        names = [n for n in names if n not in (*SLOW, *FACTORS)]
    return names


def measure(ledger: Ledger, work: Any) -> None:
    """All kinds of systems on all grids, and the checks against Ruge-Stüben."""
    ledger.seeds(*SEEDS)
    kept = Kept("linear", packages=("pyamg",), dry=work.quick)
    solves, totals = [], []
    for shape in shapes(work):
        for kind in KINDS:
            # one draw of a grid is one draw: the size that is judged has three, with the rows that are judged
            several = SEEDS if shape == (256, 256) and not work.quick else SEEDS[:1]
            for seed in several:
                asked_of = fits(shape) if seed == SEEDS[0] else [OURS, LEARNED, THEIRS]
                found = table(ledger, kept, "grid", family=kind, shape=shape, rhs=work.rhs, seed=seed, rows=asked_of)
                rows = {r["row"]: r for r in found if r["tolerance"] == 1e-6}
                if shape == (256, 256) and rows[OURS]["failed"] is None and rows[THEIRS]["failed"] is None:
                    solves.append(rows[OURS]["solve_ms"] / rows[THEIRS]["solve_ms"])
                    totals.append(rows[THEIRS]["total_ms"] / rows[OURS]["total_ms"])
    for family, shape in (("recorded two-phase", (64, 240)), ("recorded cylinder", (48, 88))):
        cells = (16, 60) if work.quick else shape
        # of two fluids every face of one is a body's to transforms, whose set-up then takes minutes
        names = [n for n in fits(cells) if n != "transforms" or family == "recorded cylinder"]
        table(ledger, kept, "recorded", family=family, shape=cells, rhs=work.rhs, rows=names)
    if work.threads == 2:
        for shape in ((256, 256), (64, 64, 64)):
            for kind in KINDS:
                table(ledger, kept, "two threads", family=kind, shape=shape, rhs=work.rhs, threads=2, rows=fits(shape),
                      tolerances=[1e-6])  # fmt: skip
    if not solves:
        return
    of = f"{len(solves)} draws of systems of 256 × 256 cells: {', '.join(KINDS)}"
    said = "the worst of them; to 1e-6, one thread, without compiling, which only the first solve of a shape takes"
    ledger.check(
        "multigrid_solve_vs_ruge_stuben_256", max(solves), "see the table", spread=extremes(solves, of), note=said
    )
    ledger.check(
        "multigrid_total_vs_ruge_stuben_256", min(totals), "see the table", spread=extremes(totals, of), note=said
    )


def moving(ledger: Ledger, work: Any) -> None:
    """Obstacles that move, so that every solve has a set-up; and the learned multigrid's goals.

    Rows that take hundreds of iterations (`SLOW`) stand in the grid alone.
    """
    ledger.seeds(*SEEDS)
    kept = Kept("linear", packages=("pyamg",), dry=work.quick)
    gains: dict[str, list[float]] = {"moving obstacles": [], "jumps": []}
    fastest: dict[str, list[str]] = {kind: [] for kind in gains}
    savings: list[float] = []
    training = LearnedMultigrid().training["cpu_seconds"]
    cells = [(32, 32)] if work.quick else [(128, 128), (256, 256), *([(512, 512)] if work.full else [])]
    for shape in cells:
        for kind in gains:
            spared: dict[str, list[float]] = {"one solve": [], "solves after it": []}
            for seed in SEEDS:
                found = table(ledger, kept, "moving", family=kind, shape=shape, rhs=work.rhs, seed=seed,
                              rows=[n for n in fits(shape) if n not in SLOW], tolerances=[1e-6])  # fmt: skip
                rows = {r["row"]: r for r in found}
                mine, ours = rows[LEARNED], rows[OURS]
                if mine["failed"] is not None:
                    continue
                others = {n: r["total_ms"] for n, r in rows.items() if n != LEARNED and r["failed"] is None}
                best = min(others, key=others.__getitem__)
                gains[kind].append(others[best] / mine["total_ms"])
                fastest[kind].append(best)
                savings.append(1 - mine["iterations"] / ours["iterations"])
                spared["one solve"].append(ours["total_ms"] - mine["total_ms"])
                spared["solves after it"].append(ours["solve_ms"] - mine["solve_ms"])
            for of, several in spared.items():
                if several:
                    saved = statistics.median(several)
                    ledger.row(section="break_even", system=kind, cells=" × ".join(map(str, shape)), of=of,
                               training_seconds=training, saved_ms=saved,
                               solves=1e3 * training / saved if saved > 0 else None)  # fmt: skip
    for key, kind in (("moving_obstacles", "moving obstacles"), ("jumps", "jumps")):
        values = gains[kind]
        if not values:
            ledger.check(f"learned_total_vs_best_classical_{key}", None, ABSENT)
            continue
        ledger.check(
            f"learned_total_vs_best_classical_{key}", statistics.median(values),
            "a cycle costs what the classical one costs, which takes few iterations already; the page says why",
            spread=extremes(values, f"{len(values)} draws of {len(cells)} grids"),
            note="set-up and one solve of the fastest classical row over those of the learned; the fastest was "
            + ", ".join(f"{n} {fastest[kind].count(n)} times" for n in dict.fromkeys(fastest[kind])),
        )  # fmt: skip
    if not savings:
        ledger.check("learned_multigrid_iteration_saving", None, ABSENT)
    else:
        ledger.check(
            "learned_multigrid_iteration_saving", statistics.median(savings), "see the page",
            spread=extremes(savings, f"{len(savings)} draws"),
            note="against our geometric multigrid, whose cycle it is, number for number",
        )  # fmt: skip


def growth(ledger: Ledger, work: Any) -> None:
    """Iterations of the cycles from 64² to 1024²."""
    ledger.seeds(*SEEDS)
    kept = Kept("linear", packages=("pyamg",), dry=work.quick)
    worst, cells = [], [(32, 32), (64, 64)] if work.quick else [(n, n) for n in (64, 128, 256, 512, 1024)]
    for kind in KINDS:
        counts = {}
        for shape in cells:
            found = table(ledger, kept, "growth", family=kind, shape=shape, rhs=min(work.rhs, 3), tolerances=[1e-6],
                          rows=[OURS, LEARNED, THEIRS])  # fmt: skip
            counts[shape] = {r["row"]: r["iterations"] for r in found if r["failed"] is None}
        first, last = counts[cells[0]].get(LEARNED), counts[cells[-1]].get(LEARNED)
        if first and last:
            worst.append(last / first)
    if not worst:
        ledger.check("learned_iteration_growth_64_to_1024", None, ABSENT)
    else:
        ledger.check(
            "learned_iteration_growth_64_to_1024", max(worst), "see the table",
            spread=extremes(worst, f"kinds of systems: {', '.join(KINDS)}"), note="the worst of them, to 1e-6",
        )  # fmt: skip
