"""Matrices that no grid made: finite elements on triangles and tetrahedra, and those that pyamg and others keep.

Each is solved to 1e-8 by the rows that take it, with random right-hand sides; those of a few thousand unknowns say how
many iterations are needed, not how long anything takes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse

import sciml
from benchmarks._ledger import Ledger
from sciml.errors import InputError, SolverError
from sciml.solvers import linear

TOLERANCE = 1e-8
#: title -> (problem, parameters, sides of cells along the longest extent, degree)
ELEMENTS: dict[str, tuple[Any, int, int]] = {
    "Poisson, linear triangles": (sciml.problems.Poisson, 128, 1),
    "Poisson, quadratic triangles": (sciml.problems.Poisson, 64, 2),
    "elastic plate with a hole, linear triangles": (sciml.problems.ElasticPlate, 48, 1),
}
EXAMPLES = ("airfoil", "bar", "knot", "local_disc_galerkin_diffusion", "unit_cube", "unit_square", "recirc_flow",
            "helmholtz_2D")  # fmt: skip
FILES = ("bcsstk01.tri", "bcsstk02.tri", "cryg2500.mtx")


def rows() -> dict[str, Any]:
    cg = linear.ConjugateGradient
    many = {"tolerance": TOLERANCE, "max_iterations": 5000}
    return {
        "CG": cg(None, **many), "Jacobi-CG": cg(linear.Jacobi(), **many),
        "IC(0)-CG": cg(linear.IncompleteCholesky(), **many), "Ruge-Stüben-CG": cg(linear.RugeStuben(), **many),
        "smoothed aggregation-CG": cg(linear.SmoothedAggregation(), **many),
        "MINRES": linear.MINRES(tolerance=TOLERANCE), "GMRES": linear.GMRES(tolerance=TOLERANCE),
        "SuperLU": linear.SparseDirect(), "CHOLMOD": linear.SparseDirect("cholesky"),
    }  # fmt: skip


def matrices(work: Any) -> dict[str, tuple[str, linear.LinearSystem]]:
    """Title -> (where it is from, system)."""
    import pyamg.gallery

    found: dict[str, tuple[str, linear.LinearSystem]] = {}
    for title, (problem, cells, order) in ELEMENTS.items():
        scheme = sciml.solvers.FiniteElements(cells // (4 if work.quick else 1), order)
        found[title] = "finite elements", linear.system(problem().case(), scheme=scheme).system
    for name in EXAMPLES:
        matrix: Any = scipy.sparse.csr_array(pyamg.gallery.load_example(name)["A"])
        ones = np.ones(matrix.shape[0])
        singular = np.abs(matrix @ ones).max() <= 1e-10 * abs(matrix).max()
        found[name] = "pyamg", linear.MatrixSystem(matrix, ones if singular else None)
    for name in FILES:
        path = None if work.data is None else Path(work.data) / "matrices" / name
        if path is not None and path.exists():
            matrix = scipy.io.mmread(path) if path.suffix == ".mtx" else _triangle(path)
            found[name] = "SuiteSparse", linear.MatrixSystem(matrix)
    return found


def _triangle(path: Path) -> scipy.sparse.csr_array:
    """The lower triangle of a symmetric matrix: a line of sizes, then a row, a column and a value a line."""
    table = np.loadtxt(path, comments="%", skiprows=0, usecols=(0, 1, 2))[1:]
    if not np.array_equal(table[:, :2], np.round(table[:, :2])):
        raise InputError(f"{path}: expected rows, columns and values")
    i, j = (table[:, k].astype(int) - int(table[:, :2].min()) for k in (0, 1))
    n = int(max(i.max(), j.max())) + 1
    half = scipy.sparse.coo_array((table[:, 2], (i, j)), shape=(n, n)).tocsr()
    return half + half.T - scipy.sparse.diags_array(half.diagonal())


def measure(ledger: Ledger, work: Any) -> None:
    """A row for each matrix and solver; what refuses a matrix says why."""
    ledger.seeds(0)
    for title, (origin, system) in matrices(work).items():
        rng, matrix, null = np.random.default_rng(0), system.matrix(), system.null_space()
        several = [rng.standard_normal(system.shape) for _ in range(1 if work.quick else 3)]
        if null is not None:
            several = [b - null @ (null.conj().T @ b) for b in several]
        done: dict[str, Any] = {}
        for name, solver in rows().items():
            told = {"section": "meshes", "matrix": title, "origin": origin, "unknowns": system.size, "row": name,
                    "symmetric": system.symmetric, "entries": int(matrix.nnz)}  # fmt: skip
            try:
                prepared = solver.prepare(system)
                counts, seconds, rests = [], [], []
                for b in several:
                    began = time.perf_counter()
                    x, info = prepared(b)
                    seconds.append(time.perf_counter() - began)
                    rest = b - matrix @ x
                    rest = rest if null is None else rest - null @ (null.conj().T @ rest)
                    counts.append(int(info.iterations))
                    rests.append(float(np.linalg.norm(rest) / np.linalg.norm(b)))
            except (InputError, SolverError) as error:
                ledger.row(**told, refused=str(error))
                continue
            met = max(rests) <= 1.01 * TOLERANCE or name in ("SuperLU", "CHOLMOD")
            ledger.row(**told, iterations=float(np.median(counts)), residual=max(rests), reached=met,
                       setup_ms=1e3 * prepared.seconds, solve_ms=1e3 * float(np.median(seconds)))  # fmt: skip
            done[name] = counts[0]
        print(f"{title}: {done}", flush=True)
