"""Data sets made by numerical solvers, from the designs of problems."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import as_completed as futures_done
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml import registry
from sciml.errors import InputError, SolverError, is_number, is_whole, suggest
from sciml.particle_problem import ParticleProblem
from sciml.problem import Case, Problem
from sciml.problems.designs import Design, Request
from sciml.progress import Bar
from sciml.solvers import _choices
from sciml.solvers._coarse import joined
from sciml.solvers._numerical import Begin, NumericalSolver, frame_bytes, window
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
        meshes: whether values are at the nodes of meshes, or at particles; `resolution` is then the sides of cells
            along the longest extent.
        particles: whether they are at particles; `resolution` is that of the background grid.
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
    meshes: bool = False
    particles: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        where = f"of {' x '.join(map(str, self.resolution))} cells"
        if self.meshes:
            where = f"on meshes with {max(self.resolution)} sides along"
        if self.particles:
            where = f"of particles, {max(self.resolution)} cells along their box"
        parts = ", ".join(f"{n} {s}" for s, n in self.cases.items())
        cases, frames = _count(sum(self.cases.values()), "case"), _count(self.frames, "frame")
        lines = [f"{self.path}: {cases} ({parts}), {frames} {where}"]
        if self.under_resolved:
            highest = max(self.under_resolved.values())
            lines.append(
                f"under-resolved: {_count(len(self.under_resolved), 'case')} (by up to {highest:.3g}, see the design "
                "of the problem), which hold finer structures than the grid shows"
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
    fraction: float | None = None,
    options: Mapping[str, Any] | None = None,
    parameters: Mapping[str, float] | None = None,
    solver_options: Mapping[str, Any] | None = None,
    start: float | None = None,
    step: float | None = None,
) -> Summary:
    """Make a data set of a problem's cases with splits by case.

    Which cases, and at which times, the problem's design says (`sciml.problems.designs`). Finished cases are kept in
    `<out>.shards` until all are done, so that the same call goes on after an interruption; equal calls give equal
    bytes.

    Args:
        problem_name: registry name, for instance "lid_driven_cavity" or "cavity".
        out: the file to make.
        cases: how many, spread over subsets; None for all that the design has.
        subset: names of the design's subsets, or one string with commas; None for all, of profile "published" those
            that are.
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
        fraction: of all cases that the design has, instead of a number; they are chosen as evenly.
        options: of the problem, for instance {"drive": "flow_rate"} of a channel.
        parameters: values that all cases share, instead of those of the design.
        solver_options: further arguments of the solver, for instance {"closure": WALE()}. {"resolution": cells} is what
            cases are solved on, where that is to be something else than the design says; with a model of what the
            grid does not hold it is the stored grid, otherwise.
        start, step: time of the first frame and between frames, in the problem's unit, instead of the design's.

    Raises:
        InputError: an argument that does not fit; before anything is computed or written.
    """
    from sciml.data import ShardWriter, splits

    begun = time.monotonic()
    if not isinstance(out, str | os.PathLike):
        raise InputError(f"out: expected a path, got {out!r}")
    path = Path(os.fspath(out))
    work = prepare(
        problem_name, cases, subset, frames, resolution, profile, seed, solver, fields, dtype, fraction, options,
        parameters, solver_options, start, step,
    )  # fmt: skip
    made, request = work.cases, work.request
    if os.path.isdir(path) or (os.path.exists(path) and not overwrite):
        what = "is a folder" if path.is_dir() else "exists; expected a new file, or overwrite"
        raise InputError(f"{path}: {what}")

    tasks = work.tasks()
    cluster = contextlib.nullcontext() if scheduler == "local" else _client(scheduler)
    writer = _writer(ShardWriter, path, work.identity, work.stored, overwrite)
    todo = [task for task in tasks if not all(writer.done(i) for i in task.numbers)]
    computed = 0
    with cluster as client, Bar("generate", len(made), progress) as one_more:
        for _ in range(len(made) - sum(len(task.numbers) for task in todo)):
            one_more()
        for i, solution in _work(todo, client, work.solver.threads):
            if not writer.done(i):
                writer.write(i, solution)
                computed += 1
            one_more()

    coarse, profile = work.design.under_resolved(made, request.resolution), request.profile
    attrs = {
        "generator": "sciml generate", "profile": profile, "seed": seed, "under_resolved": json.dumps(coarse),
        "request": work.digest,
    }  # fmt: skip
    writer.merge(lambda subsets: splits.by_case(subsets, seed=seed), attrs, count=len(made))
    counts = {s: sum(c.subset == s for c in made) for s in request.subsets}
    failed, seconds = _failures(path, made), time.monotonic() - begun
    meshes = _on_meshes(made[0].problem)
    return Summary(
        str(path),
        profile,
        request.resolution,
        request.frames,
        counts,
        computed,
        failed,
        coarse,
        seconds,
        meshes,
        isinstance(made[0].problem, ParticleProblem),
    )


@dataclass(frozen=True)
class Plan:
    """What a generation would make.

    Args:
        cases: number of cases, by subset.
        cells: of the stored frames, in array order.
        solved_on: least and most cells on which cases are solved.
        bytes: of the file; on meshes, whose sizes are known once they are made, about.
        core_seconds: of computation on one core like those that the estimate was made on; None where the solver has no
            estimate.
        longest_case_seconds: of the longest case.
        worker_bytes: of memory that the largest case takes, about.
        meshes: whether values are at the nodes of meshes, whose cells have `cells` sides along the longest extent, or
            at particles.
        particles: whether they are at particles; `cells` are those of the background grid.
    """

    problem: str
    profile: str
    cases: dict[str, int]
    frames: int
    cells: tuple[int, ...]
    solved_on: tuple[int, int]
    bytes: int
    core_seconds: float | None
    longest_case_seconds: float | None
    worker_bytes: int
    meshes: bool = False
    particles: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        parts = ", ".join(f"{n} {s}" for s, n in self.cases.items())
        cells, (least, most) = " x ".join(map(str, self.cells)), self.solved_on
        solved = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        where = f"of {cells} cells, solved on {solved} cells; "
        if self.meshes:
            where = f"on meshes with {max(self.cells)} sides along; about "
        if self.particles:
            where = f"of particles, {max(self.cells)} cells along their box; about "
        cost = "no estimate of its cost"
        if self.core_seconds is not None and self.longest_case_seconds is not None:
            cost = (
                f"about {_duration(self.core_seconds)} of one core, {_duration(self.longest_case_seconds)} the longest "
                "case, without compilation"
            )
        cases, frames = _count(sum(self.cases.values()), "case"), _count(self.frames, "frame")
        return (
            f"{self.problem}, {self.profile}: {cases} ({parts}), {frames} each "
            f"{where}{self.bytes / 1e9:.3g} GB; {cost}; up to "
            f"{self.worker_bytes / 1e9:.2g} GB of memory a case"
        )


def published_flows() -> list[str]:
    """The problems with a published design of their own, by name: an inherited one makes the cases of its parent."""
    found = []
    for name in registry.problems.names():
        family = registry.problems.get(name)
        with contextlib.suppress(InputError):
            if "design" in vars(family) and "published" in family.design().profiles:
                found.append(name)
    return found


def _on_meshes(problem: Problem) -> bool:
    return any(f.location == "node" for f in problem.fields)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s"


@dataclass(frozen=True)
class Work:
    """What is to be done: cases, their times, and on how many cells each is solved."""

    problem: Problem
    design: Design
    request: Request
    solver: NumericalSolver
    stored: tuple[str, ...]
    dtype: str
    cases: list[Case]
    times: list[Any]
    solved: list[tuple[int, ...]]
    count: int | None
    solver_options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def identity(self) -> dict[str, Any]:
        from sciml.data._solution import version

        r = self.request
        found = {
            "problem": self.problem.name, "profile": r.profile, "subset": list(r.subsets), "cases": self.count,
            "frames": r.frames, "seed": r.seed, "fields": list(self.stored), "solver": self.solver.name,
            "settings": self.solver.settings,
        }  # fmt: skip
        digest = hashlib.sha256()
        for case, times, cells in zip(self.cases, self.times, self.solved, strict=True):
            told = [case.to_attrs()["case_json"], None if times is None else np.asarray(times).tolist(), list(cells)]
            digest.update(json.dumps(told).encode())
        return found | {"sha256": digest.hexdigest(), "version": version()}

    @property
    def digest(self) -> str:
        """What tells this request from others; files hold it as the attribute "request"."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    def solvers(self) -> list[tuple[NumericalSolver, list[int]]]:
        """(solver, numbers of its cases), by how fine they are solved."""
        found = []
        for cells in sorted(set(self.solved)):
            finer = self.solver
            if cells != self.request.resolution:
                rates = any(f.endswith("_tendency") for f in self.stored)
                finer = type(finer).on(cells, self.dtype, rates, **self.solver_options)
            found.append((finer, [i for i, c in enumerate(self.solved) if c == cells]))
        return found

    def tasks(self) -> list[_Task]:
        """Each its own unit of work, which depends on the request alone, so that equal requests give equal bytes."""
        found = []
        for solver, numbers in self.solvers():
            for portion in solver.portions([self.cases[i] for i in numbers], [self.times[i] for i in numbers]):
                mine = tuple(numbers[k] for k in portion)
                cases, times = [self.cases[i] for i in mine], [self.times[i] for i in mine]
                found.append(_Task(solver, self.request.resolution, self.stored, self.dtype, mine, cases, times))
        return found

    def plan(self) -> Plan:
        """What would be made, and about what it would cost."""
        request, cells = self.request, math.prod(self.request.resolution)
        solved = [math.prod(each) for each in self.solved]
        seconds = self.seconds()
        rows = sum(1 if t is None else len(t) for t in self.times)
        size, meshes = rows * cells * len(self.stored) * 4, _on_meshes(self.problem)
        if meshes:  # positions, and two or six cells a node
            d = self.problem.dimensions
            size += len(self.cases) * cells * (8 * d + 4 * (d + 1) * (1, 2, 6)[d - 1])
        return Plan(
            self.problem.name, request.profile, {s: sum(c.subset == s for c in self.cases) for s in request.subsets},
            request.frames, request.resolution, (min(solved), max(solved)), size,
            None if seconds is None else sum(seconds), None if seconds is None else max(seconds),
            max(frame_bytes([n], self.dtype) * min(request.frames, window([n], self.dtype)) for n in solved),
            meshes, isinstance(self.problem, ParticleProblem),
        )  # fmt: skip

    def seconds(self) -> list[float] | None:
        """Estimates by case."""
        found = [0.0] * len(self.cases)
        for solver, numbers in self.solvers():
            each = solver.seconds([self.cases[i] for i in numbers], [self.times[i] for i in numbers])
            if each is None:
                return None
            for i, value in zip(numbers, each, strict=True):
                found[i] = value
        return found


def prepare(
    problem_name: str,
    cases: int | None = None,
    subset: str | Sequence[str] | None = None,
    frames: int = 21,
    resolution: int | Sequence[int] = 64,
    profile: str | None = None,
    seed: int = 0,
    solver: str | None = None,
    fields: Sequence[str] | None = None,
    dtype: str = "float32",
    fraction: float | None = None,
    options: Mapping[str, Any] | None = None,
    parameters: Mapping[str, float] | None = None,
    solver_options: Mapping[str, Any] | None = None,
    start: float | None = None,
    step: float | None = None,
) -> Work:
    """The work of `generate`, whose arguments these are; nothing is computed.

    Raises:
        InputError: as `generate`.
    """
    family: type[Problem] = registry.problems.get(problem_name)
    design, problem = family.design(), family()
    for name, value, least in (("frames", frames, 1), ("cases", 1 if cases is None else cases, 1), ("seed", seed, 0)):
        if not is_whole(value) or not least <= value < 2**63:
            raise InputError(f"{name}: expected an integer from {least} on, got {value!r}")
    if subset is not None and not isinstance(subset, str | Sequence):
        raise InputError(f"subset: expected names, got {subset!r}")
    if fraction is not None and (not is_number(fraction) or not 0 < fraction <= 1 or cases is not None):
        more = ", or a number of cases, not both" if cases is not None else ""
        raise InputError(f"fraction: expected a number in (0, 1]{more}, got {fraction!r}")
    profile = design.profiles[0] if profile is None else profile
    problem = _choices.with_options(design.posed(problem, profile), options)
    usual = [s for s in design.subsets if profile != "published" or s not in design.unpublished]
    chosen = usual if subset is None else subset
    names = tuple(s.strip() for s in chosen.split(",")) if isinstance(chosen, str) else tuple(chosen)
    further = _choices.mapping("solver_options", solver_options)
    on = _counts(problem, further.pop("resolution")) if "resolution" in further else None
    numerical = _solver(problem, resolution, solver, fields, dtype, further)
    stored, counts = _fields(problem, numerical, fields), _counts(problem, resolution)
    request = Request(names, cases, profile, counts, 1 if problem.steady else frames, seed)
    made = design.cases(request)
    if fraction is not None:
        cases = max(1, round(fraction * len(made)))
        request = replace(request, count=cases)
        made = design.cases(request)
    made = _choices.held(made, options, parameters)
    times = [_choices.times_from(design.times(case, request), start, step) for case in made]
    solved = [_solved_on(numerical, design, case, counts, on) for case in made]
    return Work(problem, design, request, numerical, stored, dtype, made, times, solved, cases, further)


def _solved_on(
    solver: NumericalSolver, design: Design, case: Case, counts: tuple[int, ...], on: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Cells on which a case is solved that is stored on `counts`."""
    if on is None:
        return counts if solver.modelled else design.cells(case, counts)
    if on != counts and type(solver).stored is NumericalSolver.stored:
        raise InputError(f"solver_options: {solver.name} keeps all that it solves on; expected a resolution alone")
    if any(n < m for n, m in zip(on, counts, strict=True)):
        raise InputError(f"solver_options: resolution: expected at least the {counts} cells that are stored, got {on}")
    return on


def _counts(problem: Problem, resolution: Any) -> tuple[int, ...]:
    """Cells in array order."""
    several = isinstance(resolution, Sequence) and not isinstance(resolution, str)
    counts: tuple[Any, ...] = tuple(resolution) if several else (resolution,) * problem.dimensions
    if len(counts) != problem.dimensions or any(not is_whole(n) or n < 1 for n in counts):
        raise InputError(f"resolution: expected a number of cells, or {problem.dimensions} of them, got {resolution!r}")
    return tuple(int(n) for n in counts)


def _solver(
    problem: Problem, resolution: Any, name: str | None, fields: Sequence[str] | None, dtype: str, options: Any
) -> NumericalSolver:
    counts = _counts(problem, resolution)
    if dtype not in ("float32", "float64"):
        raise InputError(f"dtype: expected 'float32' or 'float64', got {dtype!r}")
    rates = any(str(f).endswith("_tendency") for f in fields or ())
    if name is None:
        found = reference(problem, counts)
        if found is None:
            raise InputError(f"solver: no numerical solver of this package solves {problem.name!r} on {counts} cells")
        cls = type(found)
        return cls.on(counts, dtype, rates, **_choices.of_solver(cls, options))
    cls = registry.solvers.get(name)
    if not issubclass(cls, NumericalSolver):
        raise InputError(f"solver: {name!r} is no numerical solver")
    solver = cls.on(counts, dtype, rates, **_choices.of_solver(cls, options))
    if not solver.supports(problem):
        raise InputError(f"solver: {name!r} does not solve {problem.name!r}")
    return solver


def _fields(problem: Problem, solver: NumericalSolver, fields: Sequence[str] | None) -> tuple[str, ...]:
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


TRIES = 4  # times that a task is handed out anew after the scheduler has given it up


@dataclass(frozen=True)
class _Task:
    """Cases that are solved together, and on which cells they are stored."""

    solver: NumericalSolver
    resolution: tuple[int, ...]
    fields: tuple[str, ...]
    dtype: str
    numbers: tuple[int, ...]
    cases: list[Case]
    times: list[Any]

    def run(self) -> list[tuple[int, xarray.Dataset]]:
        if len(self.cases) == 1 and self.times[0] is not None:
            held = self.solver.held(self.cases[0], self.dtype)
            if held is not None and held < len(self.times[0]):
                parts = math.ceil(len(self.times[0]) / held)
                return [(self.numbers[0], self._in_windows(self.cases[0], np.array_split(self.times[0], parts)))]
        found = self.solver._together(self.cases, self.times)
        each = zip(self.cases, found, strict=True)
        kept = [self.solver.stored(c, f, self.resolution, self.fields) for c, f in each]
        return list(zip(self.numbers, kept, strict=True))

    def _in_windows(self, case: Case, windows: Sequence[np.ndarray]) -> xarray.Dataset:
        """A case with more fine frames than are held at once: they are coarsened before the next are made."""
        begins, found, steps = None, [], 0
        for times in windows:
            (frames,) = self.solver.run([case], [times], begins)
            fine = self.solver.label(case, times, frames)
            status, steps = fine.attrs["status"], steps + int(frames["substeps"].sum())
            if fine.sizes["time"] or not found:  # a case that fails at once is stored without frames
                found.append(self.solver.stored(case, fine, self.resolution, self.fields))
            if status != "ok":
                break
            begins = [Begin({n: frames[n][-1] for n in self.solver.carried(case)}, float(times[-1]))]
        return joined(found).assign_attrs(status=status, substeps=steps)


def _work(tasks: list[_Task], client: Any, threads: int) -> Iterator[tuple[int, xarray.Dataset]]:
    """(number, solution) as they come."""
    if client is None:
        if threads == 1 or len(tasks) == 1:
            for task in tasks:
                yield from task.run()
            return
        with ThreadPoolExecutor(min(threads, max(len(tasks), 1))) as pool:
            local = [pool.submit(task.run) for task in tasks]
            try:
                for done in futures_done(local):
                    yield from done.result()
            finally:
                for job in local:
                    job.cancel()
        return
    from distributed import KilledWorker, as_completed

    jobs = {client.submit(task.run, pure=False): (task, 0) for task in tasks}
    coming = as_completed(list(jobs))
    for job in coming:
        task, tries = jobs.pop(job)
        try:
            found = job.result()
        except KilledWorker:  # the scheduler gives a task up after a few workers that it was on have gone
            if tries == TRIES:
                labels = ", ".join(case.label or repr(case) for case in task.cases)
                raise SolverError(
                    f"generate: too many workers died with {labels}; what is done is kept, the same command goes on"
                ) from None
            again = client.submit(task.run, pure=False)
            jobs[again] = task, tries + 1
            coming.add(again)
            continue
        yield from found
        job.release()


def _failures(path: Path, cases: list[Case]) -> dict[str, str]:
    from sciml.data import open as open_data

    with open_data(path) as data:
        bad = np.flatnonzero(np.asarray(data["status"].values) != 0)
        messages = np.asarray(data["status_message"].values) if "status_message" in data else None
    return {cases[i].label: "failed" if messages is None else str(messages[i]) for i in bad}
