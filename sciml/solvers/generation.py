"""Data sets made by numerical solvers, from the designs of problems."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml import registry
from sciml.errors import InputError, is_whole, suggest
from sciml.problem import Case, Problem
from sciml.problems.designs import Request
from sciml.progress import Bar
from sciml.solvers._numerical import GridSolver
from sciml.solvers.references import reference

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class Summary:
    """What a generation made.

    Args:
        cases: number of cases, by subset.
        computed: cases computed in this run; the others were there from an interrupted one.
        failed: label -> what went wrong; these cases hold the frames before it.
        under_resolved: label -> how far a case goes beyond what the grid shows, as its design says.
    """

    path: str
    profile: str
    resolution: tuple[int, ...]
    frames: int
    cases: dict[str, int]
    computed: int
    failed: dict[str, str]
    under_resolved: dict[str, float]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        cells = " x ".join(map(str, self.resolution))
        parts = ", ".join(f"{n} {s}" for s, n in self.cases.items())
        lines = [f"{self.path}: {sum(self.cases.values())} cases ({parts}), {self.frames} frames of {cells} cells"]
        if self.under_resolved:
            highest = max(self.under_resolved.values())
            lines.append(
                f"{len(self.under_resolved)} cases are under-resolved (by up to {highest:.3g}, see the design of the "
                "problem): they hold finer structures than the grid shows"
            )
        lines += [f"failed: {label}: {what}" for label, what in self.failed.items()]
        return "\n".join(lines)


def generate(
    problem_name: str,
    out: str | os.PathLike[str],
    cases: int | None = None,
    subset: str | Sequence[str] | None = None,
    frames: int = 21,
    resolution: int | Sequence[int] = 64,
    profile: str | None = None,
    seed: int = 0,
    solver: str | None = None,
    scheduler: str = "local",
    progress: bool = True,
    overwrite: bool = False,
    fields: Sequence[str] | None = None,
    dtype: str = "float32",
) -> Summary:
    """Make a data set of a problem's cases with splits by case.

    Which cases, and at which times, the problem's design says (`sciml.problems.designs`). Finished cases are kept in
    `<out>.shards` until all are done, so that the same call goes on after an interruption; equal calls give equal
    bytes.

    Args:
        problem_name: registry name, for instance "lid_driven_cavity" or "cavity".
        out: the file to make.
        cases: how many, spread over subsets; None for all that the design has.
        subset: names of the design's subsets, or one string with commas; None for all.
        frames: frames of each case; steady problems have one.
        resolution: cells along every axis, or counts in array order (ny, nx).
        profile: one of the design's; None for its first.
        seed: of what is random, and of the splits.
        solver: registry name of the solver; None for the problem's reference.
        scheduler: "local" for threads of this process, or the address of a Dask scheduler.
        progress: whether to show a bar.
        overwrite: whether an existing file may be replaced.
        fields: what to store; None for the problem's fields. Solvers also give "<field>_tendency", and
            `IncompressibleFlow` "u_face" and "v_face".
        dtype: "float32" or "float64": type to compute in, where the solver has a choice; stored is float32.

    Raises:
        InputError: an argument that does not fit; before anything is computed or written.
    """
    from sciml.data import ShardWriter, splits

    begun = time.monotonic()
    if not isinstance(out, str | os.PathLike):
        raise InputError(f"out: expected a path, got {out!r}")
    path = Path(os.fspath(out))
    family: type[Problem] = registry.problems.get(problem_name)
    design, problem = family.design(), family()
    for name, value, least in (("frames", frames, 1), ("cases", 1 if cases is None else cases, 1), ("seed", seed, 0)):
        if not is_whole(value) or not least <= value < 2**63:
            raise InputError(f"{name}: expected an integer from {least} on, got {value!r}")
    if subset is not None and not isinstance(subset, str | Sequence):
        raise InputError(f"subset: expected names, got {subset!r}")
    chosen = design.subsets if subset is None else subset
    names = tuple(s.strip() for s in chosen.split(",")) if isinstance(chosen, str) else tuple(chosen)
    profile = design.profiles[0] if profile is None else profile
    numerical = _solver(problem, resolution, solver, fields, dtype)
    stored = _fields(problem, numerical, fields)
    counts_of = _counts(problem, resolution)
    frames = 1 if problem.steady else frames
    request = Request(names, cases, profile, counts_of, frames, seed)
    made = design.cases(request)
    times = [design.times(case, request) for case in made]
    if os.path.isdir(path) or (os.path.exists(path) and not overwrite):
        what = "is a folder" if path.is_dir() else "exists; expected a new file, or overwrite"
        raise InputError(f"{path}: {what}")

    identity = {
        "problem": problem.name,
        "profile": profile,
        "subset": list(names),
        "cases": cases,
        "frames": frames,
        "seed": seed,
        "fields": list(stored),
        "solver": numerical.name,
        "settings": numerical.settings,
    }
    portions = numerical.portions(made, times)
    cluster = contextlib.nullcontext() if scheduler == "local" else _client(scheduler)
    writer = _writer(ShardWriter, path, identity, stored, overwrite)
    todo = [p for p in portions if not all(writer.done(i) for i in p)]
    computed = 0
    with cluster as client, Bar("generate", len(made), progress) as step:
        for _ in range(len(made) - sum(len(p) for p in todo)):
            step()
        for i, solution in _work(numerical, made, times, todo, client):
            if not writer.done(i):
                writer.write(i, solution)
                computed += 1
            step()

    coarse = design.under_resolved(made, counts_of)
    attrs = {"generator": "sciml generate", "profile": profile, "seed": seed, "under_resolved": json.dumps(coarse)}
    writer.merge(lambda subsets: splits.by_case(subsets, seed=seed), attrs, count=len(made))
    counts = {s: sum(c.subset == s for c in made) for s in names}
    failed = _failures(path, made)
    return Summary(str(path), profile, counts_of, frames, counts, computed, failed, coarse, time.monotonic() - begun)


def _counts(problem: Problem, resolution: Any) -> tuple[int, ...]:
    """Cells in array order."""
    several = isinstance(resolution, Sequence) and not isinstance(resolution, str)
    counts: tuple[Any, ...] = tuple(resolution) if several else (resolution,) * problem.dimensions
    if len(counts) != problem.dimensions or any(not is_whole(n) or n < 1 for n in counts):
        raise InputError(f"resolution: expected a number of cells, or {problem.dimensions} of them, got {resolution!r}")
    return tuple(int(n) for n in counts)


def _solver(
    problem: Problem, resolution: Any, name: str | None, fields: Sequence[str] | None, dtype: str
) -> GridSolver:
    counts = _counts(problem, resolution)
    if dtype not in ("float32", "float64"):
        raise InputError(f"dtype: expected 'float32' or 'float64', got {dtype!r}")
    rates = any(str(f).endswith("_tendency") for f in fields or ())
    if name is None:
        found = reference(problem, counts)
        if found is None:
            raise InputError(f"solver: no numerical solver of this package solves {problem.name!r} on {counts} cells")
        return type(found).on(counts, dtype, rates)
    cls = registry.solvers.get(name)
    if not issubclass(cls, GridSolver):
        raise InputError(f"solver: {name!r} is no numerical solver on a grid")
    solver = cls.on(counts, dtype, rates)
    if not solver.supports(problem):
        raise InputError(f"solver: {name!r} does not solve {problem.name!r}")
    return solver


def _fields(problem: Problem, solver: GridSolver, fields: Sequence[str] | None) -> tuple[str, ...]:
    """What is stored."""
    if fields is None:
        return tuple(f.name for f in problem.fields)
    known = solver.answers(problem)
    if isinstance(fields, str) or not isinstance(fields, Sequence) or not fields or len(set(fields)) < len(fields):
        raise InputError(f"fields: expected names out of {', '.join(known)}, each once, got {fields!r}")
    for name in fields:
        if name not in known:
            raise InputError(f"fields: the solver gives no field {name!r}{suggest(name, known)}")
    return tuple(fields)


def _writer(cls: Any, path: Path, identity: Any, fields: Sequence[str], overwrite: bool) -> Any:
    try:
        return cls(path, identity=identity, fields=list(fields))
    except InputError:
        folder = Path(f"{path}.shards")
        if not overwrite or not (folder / "run.json").exists():
            raise
        shutil.rmtree(folder)  # cases of another call, which `overwrite` gives up
        return cls(path, identity=identity, fields=list(fields))


def _client(scheduler: str) -> Any:
    """A client of a Dask scheduler, which is reached before anything is written."""
    try:
        from distributed import Client
    except ImportError:
        raise InputError("scheduler: an address needs the package 'distributed'; install it, or use 'local'") from None
    try:
        return Client(scheduler, timeout=10)
    except (OSError, ValueError, TypeError, TimeoutError) as error:
        raise InputError(f"scheduler: cannot reach {scheduler!r}: {error}") from None


def _work(
    solver: GridSolver, cases: list[Case], times: list[Any], portions: list[tuple[int, ...]], client: Any
) -> Iterator[tuple[int, xarray.Dataset]]:
    if client is None:
        yield from solver.work(cases, times, portions)
        return
    from distributed import as_completed

    jobs = {}
    for portion in portions:
        mine = [cases[i] for i in portion], [times[i] for i in portion]
        jobs[client.submit(_remote, solver, *mine, pure=False)] = portion
    for job in as_completed(jobs):
        yield from zip(jobs[job], job.result(), strict=True)


def _remote(solver: GridSolver, cases: list[Case], times: list[Any]) -> list[Any]:
    return solver._together(cases, times)


def _failures(path: Path, cases: list[Case]) -> dict[str, str]:
    from sciml.data import open as open_data

    with open_data(path) as data:
        bad = np.flatnonzero(np.asarray(data["status"].values) != 0)
        messages = np.asarray(data["status_message"].values) if "status_message" in data else None
    return {cases[i].label: "failed" if messages is None else str(messages[i]) for i in bad}
