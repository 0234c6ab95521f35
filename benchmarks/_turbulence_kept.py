"""Long marches that go on where they were stopped, and figures that are made once."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray

import sciml
from benchmarks._ledger import WORK, commit
from sciml.problem import Case
from sciml.solver import Restartable
from sciml.solvers import PseudoSpectral, follow

#: what makes figures of frames; texts within them do not count
SOURCES = ("solvers/following.py", "metrics/energetics.py")


@cache
def _texts() -> str:
    """Of the code that makes figures of frames, without comments and texts."""
    found = hashlib.sha256()
    for name in SOURCES:
        tree = ast.parse((Path(sciml.__file__).parent / name).read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [n for n in body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]  # type: ignore[attr-defined]
        found.update(ast.dump(tree).encode())
    return found.hexdigest()


def digest(solver: PseudoSpectral, case: Case) -> str:
    """Of what is computed: the program that a march is traced to, and the initial state, both on a small grid."""
    small = PseudoSpectral(16, solver.dtype, solver.cfl, solver.max_substeps, closure=solver.closure)
    parameters, inputs = small.arrays(case)
    found = hashlib.sha256(_texts().encode())
    with jax.enable_x64(small.dtype == "float64"):
        program = jax.make_jaxpr(lambda p, i, t: small._simulate(p, i, t, case.problem, "forward"))  # type: ignore[arg-type]
        found.update(str(program(parameters, inputs, np.array([1.0]))).encode())
    for name in sorted(inputs):
        found.update(np.asarray(inputs[name]).tobytes())
    return found.hexdigest()[:16]


def kept(folder: Path | None, code: str, make: Callable[[Path], dict[str, Any]], **settings: Any) -> dict[str, Any]:
    """What `make` gives, JSON values, or what it gave before with these settings and the same code.

    Args:
        code: a `digest`.
        folder: where it is kept; None for benchmarks/work/turbulence.
        make: takes a path without suffix beside which it may keep what it needs to go on.
    """
    home = WORK / "turbulence" if folder is None else folder
    home.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(json.dumps([code, settings], sort_keys=True).encode()).hexdigest()[:16]
    path = home / f"{settings['what']}_{settings['cells']}_{key}"
    done = path.with_suffix(".json")
    if done.exists():
        return json.loads(done.read_text())["result"]
    result = make(path)
    _write(done, {"settings": settings, "commit": commit(), "code": code, "result": result})
    for rest in (path.with_suffix(".part"), path.with_suffix(".npz")):
        rest.unlink(missing_ok=True)
    return result


def marched(
    solver: Restartable,
    case: Case,
    times: np.ndarray,
    measure: Callable[[xarray.Dataset], dict[str, Any]],
    path: Path,
    frame: xarray.Dataset | None = None,
    every: float = 60.0,
) -> dict[str, Any]:
    """Figures by name over the times, with the seconds they took; kept about every so many seconds.

    Args:
        frame: where it begins instead of the beginning of the case.
    """
    part, state, names = path.with_suffix(".part"), path.with_suffix(".npz"), solver_fields(case)
    record: dict[str, Any] = {"rows": [], "cpu_seconds": 0.0, "wall_seconds": 0.0}
    if part.exists() and state.exists():
        saved = json.loads(part.read_text())
        with np.load(state) as arrays:
            if float(arrays["time"]) == times[len(saved["rows"]) - 1]:
                record, frame = saved, _frame(case, {n: arrays[n] for n in names}, float(arrays["time"]))
    last = time.monotonic()
    for now, cpu, wall in _timed(follow(solver, case, times[len(record["rows"]) :], frame)):
        record["rows"].append(measure(now))
        record["cpu_seconds"] += cpu
        record["wall_seconds"] += wall
        if time.monotonic() - last > every:
            with open(state.with_suffix(".new"), "wb") as file:
                np.savez(file, time=float(now["time"].values[-1]), **{n: now[n].values[-1] for n in names})
            os.replace(state.with_suffix(".new"), state)
            _write(part, record)
            last = time.monotonic()
    columns = {n: [row[n] for row in record["rows"]] for n in record["rows"][0]}
    return {"time": list(map(float, times)), **columns, **{k: record[k] for k in ("cpu_seconds", "wall_seconds")}}


def solver_fields(case: Case) -> tuple[str, ...]:
    return case.problem.velocity


def _frame(case: Case, fields: dict[str, np.ndarray], at: float) -> xarray.Dataset:
    grid = sciml.Grid.uniform(case.geometry, fields["u"].shape)
    return sciml.data.solution(case, [at], {n: (("time", *grid.dims), v[None]) for n, v in fields.items()}, grid)


def _timed(frames: Iterator[xarray.Dataset]) -> Iterator[tuple[xarray.Dataset, float, float]]:
    while True:
        cpu, wall = time.process_time(), time.monotonic()
        now = next(frames, None)
        if now is None:
            return
        yield now, time.process_time() - cpu, time.monotonic() - wall


def _write(path: Path, content: Any) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(content, allow_nan=False) + "\n")
    os.replace(temporary, path)


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
