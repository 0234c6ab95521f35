"""All solvers on one kind of linear system, in a process of its own: `python -m benchmarks._linear_child SPEC`.

SPEC is JSON: {"family", "shape", "seed", "rhs", "threads", "tolerances", "rows"}. Whoever starts the process gives it
as many processors as threads. Right-hand sides are random (normal, in the range of singular systems); solvers take
turns on each of them. Residuals are computed anew from x in float64 by the sparse matrix, whatever a solver says.
Prints one JSON object as its last line.

"Moving" sequences give a system for each right-hand side, whose obstacles move by up to a cell: every solver sets up
anew for each; compiled functions stay. "Recorded" ones are those that a flow solver met, at even distances of its
march, with their own right-hand sides.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.sparse

from sciml.errors import InputError, SolverError
from sciml.problems import CylinderFlow, DamFlow
from sciml.solvers import IncompressibleFlow, TwoPhaseFlow, linear
from sciml.solvers.linear import families

#: what is drawn from
FAMILIES: dict[str, families.Family] = {
    "constant": families.Constant(),
    "jumps": families.Jumps(1e4),
    "log-normal": families.LogNormal(2.0, 0.1),
    "obstacles": families.Obstacles(),
}
MOST = 5000  # iterations of any row


def rows(tolerance: float) -> dict[str, Callable[[], Any]]:
    """Row -> solver."""
    cg = linear.ConjugateGradient
    common = {"tolerance": tolerance, "max_iterations": MOST}
    found: dict[str, Callable[[], Any]] = {
        "CG": lambda: cg(None, **common),
        "Jacobi-CG": lambda: cg(linear.Jacobi(), **common),
        "IC(0)-CG": lambda: cg(linear.IncompleteCholesky(), **common),
        "geometric multigrid-CG": lambda: linear.MultigridCG(tolerance, MOST),
        "learned multigrid-CG": lambda: linear.LearnedMultigrid(None, tolerance, MOST),
        "Ruge-Stüben-CG (pyamg)": lambda: PyAMG("ruge_stuben_solver", tolerance),
        "smoothed aggregation-CG (pyamg)": lambda: PyAMG("smoothed_aggregation_solver", tolerance),
        "SuperLU": lambda: linear.SparseDirect(),
        "CHOLMOD": lambda: linear.SparseDirect("cholesky"),
        "transforms": lambda: linear.Direct(),
    }
    return found


class PyAMG:
    """A hierarchy of pyamg with its own conjugate gradients, as its authors would call it."""

    def __init__(self, kind: str, tolerance: float):
        self.kind, self.tolerance = kind, tolerance

    def supports(self, system: linear.LinearSystem) -> bool:
        return system.symmetric

    def prepare(self, system: linear.LinearSystem) -> Any:
        import pyamg

        live = np.flatnonzero(np.asarray(system.live(np)).ravel())
        whole = len(live) == system.size
        matrix = system.matrix() if whole else system.matrix()[live][:, live]
        null = system.null_space()
        began = time.perf_counter()
        # sums of coarse levels of singular matrices are singular, too
        coarse = {} if null is None else {"coarse_solver": ("pinv", {"rtol": 1e-10})}
        hierarchy = getattr(pyamg, self.kind)(scipy.sparse.csr_matrix(matrix), **coarse)
        seconds = time.perf_counter() - began
        size = sum(
            a.data.nbytes + a.indices.nbytes + a.indptr.nbytes
            for level in hierarchy.levels
            for n in ("A", "P", "R")
            if (a := getattr(level, n, None)) is not None
        )

        def answer(rhs: np.ndarray, guess: Any) -> tuple[np.ndarray, linear.Info]:
            b = np.ravel(rhs)[live]
            found: list[float] = []
            x = hierarchy.solve(b, tol=self.tolerance, accel="cg", maxiter=MOST, residuals=found)
            whole_x = np.zeros(system.size)
            whole_x[live] = x
            return whole_x.reshape(system.shape), linear.Info(len(found) - 1, found[-1] / found[0], True)

        return linear.Prepared(system, answer, seconds, size)


def systems_of(spec: dict[str, Any]) -> list[Any]:
    """One system, or one for each right-hand side."""
    shape, seed = tuple(spec["shape"]), spec["seed"]
    if spec["family"] == "moving obstacles":
        return families.Obstacles().moving(seed, shape, spec["rhs"], pace=1.0, changes=max(spec["rhs"] // 2, 1))
    return [FAMILIES[spec["family"]].draw(seed, shape)]


def recorded(spec: dict[str, Any]) -> list[tuple[Any, np.ndarray]]:
    """Systems and right-hand sides of a march, in double precision."""
    shape = tuple(spec["shape"])
    if spec["family"] == "recorded two-phase":
        met = linear.record(TwoPhaseFlow(shape, dtype="float64"), DamFlow().case(), [0.1, 0.3])
    else:
        flow = IncompressibleFlow(shape, dtype="float64")
        met = linear.record(flow, CylinderFlow().case(viscosity=2e-3), [0.005, 0.02])
    chosen = np.linspace(len(met) // 4, len(met) - 1, spec["rhs"]).round().astype(int)
    found, same = [], {}
    for k in chosen:
        system, b = met[int(k)]
        leaves = jax.tree.leaves(system)
        key = hash(tuple(np.asarray(leaf).tobytes() for leaf in leaves))
        found.append((same.setdefault(key, system), np.asarray(b)))
    return found


def right(system: Any, rng: np.random.Generator) -> np.ndarray:
    """A random right-hand side in the range of the system."""
    live = np.asarray(system.live(np)).ravel()
    b = np.where(live, rng.standard_normal(system.size), 0.0)
    null = system.null_space()
    if null is not None:
        b -= null @ (null.T @ b)
    return b.reshape(system.shape)


def measured(system: Any, matrix: Any, null: Any, prepared: Any, b: np.ndarray) -> dict[str, Any]:
    began = time.perf_counter()
    x, info = prepared(b)
    x = np.asarray(jax.block_until_ready(x), np.float64).ravel()
    seconds = time.perf_counter() - began
    rest = b.ravel() - matrix @ x
    if null is not None:
        rest = rest - null @ (null.T @ rest)
    residual = float(np.linalg.norm(rest) / np.linalg.norm(b))
    return {"seconds": seconds, "iterations": int(info.iterations), "residual": residual}


def main(spec: dict[str, Any]) -> list[dict[str, Any]]:
    if spec["family"].startswith("recorded"):
        problems = recorded(spec)
        systems = list({id(s): s for s, _ in problems}.values())
    else:
        systems = systems_of(spec)
        rng = np.random.default_rng(spec["seed"] + 1)
        problems = [(s, right(s, rng)) for k in range(spec["rhs"]) for s in [systems[k % len(systems)]]]
    facts = {id(s): (s.matrix(), s.null_space()) for s in systems}
    table = []
    with jax.enable_x64(True):
        for tolerance in spec["tolerances"]:
            wanted = rows(tolerance).items()
            found = {name: make() for name, make in wanted if spec["rows"] is None or name in spec["rows"]}
            solvers = {n: s for n, s in found.items() if all(s.supports(each) for each in systems)}
            times: dict[str, dict[str, Any]] = {}
            for name, solver in solvers.items():
                times[name] = {"setup": [], "first": None, "each": [], "failed": None, "bytes": None}
                try:  # compiling, loading
                    began = time.perf_counter()
                    prepared = solver.prepare(systems[0])
                    measured(systems[0], *facts[id(systems[0])], prepared, problems[0][1])
                    times[name]["first"] = time.perf_counter() - began
                except (SolverError, InputError, MemoryError) as error:
                    times[name]["failed"] = str(error)
            kept: dict[tuple[str, int], Any] = {}
            for system, b in problems:
                for name, solver in solvers.items():
                    mine = times[name]
                    if mine["failed"] is not None:
                        continue
                    key = name, id(system)
                    if key not in kept:
                        tries = []
                        for _ in range(1 if len(systems) > 1 or mine["first"] > 5 else 3):
                            began = time.perf_counter()
                            kept[key] = solver.prepare(system)
                            tries.append(time.perf_counter() - began)
                        mine["setup"].append(min(tries))
                        mine["bytes"] = kept[key].bytes
                    one = measured(system, *facts[id(system)], kept[key], b)
                    mine["each"].append(one)
                    if not one["residual"] <= 1.01 * tolerance and name not in ("SuperLU", "CHOLMOD", "transforms"):
                        mine["failed"] = f"residual {one['residual']:.1e} after {one['iterations']} iterations"
            for name, mine in times.items():
                each = mine["each"]
                seconds = [e["seconds"] for e in each]
                table.append({
                    "row": name, "tolerance": tolerance, "failed": mine["failed"], "solves": len(each),
                    "iterations": statistics.median(e["iterations"] for e in each) if each else None,
                    "iterations_most": max((e["iterations"] for e in each), default=None),
                    "residual": max((e["residual"] for e in each), default=None),
                    "setup_ms": 1e3 * statistics.median(mine["setup"]) if mine["setup"] else None,
                    "solve_ms": 1e3 * statistics.median(seconds) if each else None,
                    "solve_ms_least": 1e3 * min(seconds, default=0.0) if each else None,
                    "solve_ms_most": 1e3 * max(seconds, default=0.0) if each else None,
                    "first_ms": None if mine["first"] is None else 1e3 * mine["first"],
                    "setup_bytes": mine["bytes"],
                })  # fmt: skip
    size = int(np.sum(systems[0].live(np)))
    for each in table:
        each["unknowns"] = size
        if each["solve_ms"] is not None and each["setup_ms"] is not None:
            each["total_ms"] = each["setup_ms"] + each["solve_ms"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"rows": table, "peak_bytes": peak}))
    return table


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
