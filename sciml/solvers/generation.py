"""Data sets made by the reference solver."""

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
from sciml.errors import InputError, is_whole
from sciml.problem import Case
from sciml.problems.lid_driven_cavity import LidDrivenCavity
from sciml.solvers import _cavity_cases, _flow_batches, _many
from sciml.solvers.incompressible import IncompressibleFlow

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class Summary:
    """What a generation made.

    Args:
        cases: number of cases, by subset.
        computed: cases computed in this run; the others were there from an interrupted one.
        failed: label -> what went wrong; these cases hold the frames before it.
        under_resolved: label -> cell Reynolds number U Δx/ν, of cases whose wall layers the grid does not resolve.
    """

    path: str
    profile: str
    resolution: tuple[int, int]
    frames: int
    cases: dict[str, int]
    computed: int
    failed: dict[str, str]
    under_resolved: dict[str, float]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        ny, nx = self.resolution
        parts = ", ".join(f"{n} {s}" for s, n in self.cases.items())
        lines = [f"{self.path}: {sum(self.cases.values())} cases ({parts}), {self.frames} frames of {ny} x {nx} cells"]
        if self.under_resolved:
            highest = max(self.under_resolved.values())
            lines.append(
                f"{len(self.under_resolved)} cases are under-resolved (cell Reynolds numbers up to {highest:.3g}): "
                "their wall layers are thinner than the grid shows"
            )
        lines += [f"failed: {label}: {what}" for label, what in self.failed.items()]
        return "\n".join(lines)


def generate(
    problem_name: str,
    out: str | os.PathLike[str],
    cases: int | None = None,
    subset: str | Sequence[str] = _cavity_cases.SUBSETS,
    frames: int = 21,
    resolution: int | tuple[int, int] = 64,
    profile: str = "resolved",
    seed: int = 0,
    solver: str = "incompressible",
    scheduler: str = "local",
    progress: bool = True,
    overwrite: bool = False,
    fields: Sequence[str] = ("u", "v", "p"),
    dtype: str = "float32",
) -> Summary:
    """Make a data set of lid-driven cavity flows with splits by case.

    The parameters are in `sciml.solvers._cavity_cases`. Frames are Δt = 0.25 width/U apart from t = 0 in profile
    "resolved", 0.1 s apart from t = 0.1 s in profile "published". Finished cases are kept in `<out>.shards` until all
    are done, so that the same call goes on after an interruption; equal calls give equal bytes.

    Args:
        problem_name: "lid_driven_cavity" or "cavity".
        out: the file to make.
        cases: how many, spread over subsets and their axes; None for all (159 published ones and 100 of ic).
        subset: names out of "bc", "prop", "geo", "ic", or one string with commas.
        frames: frames of each case.
        resolution: cells along both axes, or (ny, nx).
        profile: "resolved" or "published".
        seed: of the random starts and lids, and of the splits.
        solver: registry name of the solver.
        scheduler: "local" for threads of this process, or the address of a Dask scheduler.
        progress: whether to show a bar.
        overwrite: whether an existing file may be replaced.
        fields: what to store; "u_face", "v_face", "u_tendency" and "v_tendency" are available too.
        dtype: type to compute in; stored is float32.

    Raises:
        InputError: an argument that does not fit; before anything is computed or written.
    """
    from sciml.data import ShardWriter, splits

    begun = time.monotonic()
    if not isinstance(out, str | os.PathLike):
        raise InputError(f"out: expected a path, got {out!r}")
    path = Path(os.fspath(out))
    if registry.problems.get(problem_name) is not LidDrivenCavity:
        raise InputError(f"problem: generation is available for 'lid_driven_cavity', got {problem_name!r}")
    cls = registry.solvers.get(solver)
    if cls is not IncompressibleFlow:
        raise InputError(f"solver: {solver!r} does not solve the cavity, expected 'incompressible'")
    for name, value, least in (("frames", frames, 1), ("cases", 1 if cases is None else cases, 1), ("seed", seed, 0)):
        if not is_whole(value) or not least <= value < 2**63:
            raise InputError(f"{name}: expected an integer from {least} on, got {value!r}")
    if not isinstance(subset, str | Sequence):
        raise InputError(f"subset: expected names, got {subset!r}")
    names = [s.strip() for s in subset.split(",")] if isinstance(subset, str) else list(subset)
    _check_fields(fields)
    flow = IncompressibleFlow(resolution, dtype=dtype, tendencies=any(f.endswith("_tendency") for f in fields))
    made = _cavity_cases.cases(names, cases, profile, flow.resolution, frames, seed)
    times = [_times(case, frames, profile) for case in made]
    if os.path.isdir(path) or (os.path.exists(path) and not overwrite):
        what = "is a folder" if path.is_dir() else "exists; expected a new file, or overwrite"
        raise InputError(f"{path}: {what}")

    identity = {
        "problem": LidDrivenCavity.name,
        "profile": profile,
        "subset": names,
        "cases": cases,
        "frames": frames,
        "seed": seed,
        "fields": list(fields),
        "solver": flow.name,
        "settings": flow.settings,
    }
    batches = _flow_batches.plan(flow, made, times)
    cluster = contextlib.nullcontext() if scheduler == "local" else _client(scheduler)
    writer = _writer(ShardWriter, path, identity, fields, overwrite)
    todo = [b for b in batches if not all(writer.done(i) for i in b.numbers)]
    computed = 0
    with cluster as client, _many._bar("generate", len(made), progress) as step:
        for _ in range(len(made) - sum(len(b.numbers) for b in todo)):
            step()
        for done in _run(flow, made, times, todo, client):
            for i, solution in done:
                if not writer.done(i):
                    writer.write(i, solution)
                    computed += 1
                step()

    coarse = _under_resolved(made, flow.resolution)
    attrs = {"generator": "sciml generate", "profile": profile, "seed": seed, "under_resolved": json.dumps(coarse)}
    writer.merge(lambda subsets: splits.by_case(subsets, seed=seed), attrs, count=len(made))
    counts = {s: sum(c.subset == s for c in made) for s in names}
    failed = _failures(path, made)
    return Summary(
        str(path), profile, flow.resolution, frames, counts, computed, failed, coarse, time.monotonic() - begun
    )


def _times(case: Case, frames: int, profile: str) -> np.ndarray:
    if profile == "published":
        return _cavity_cases.PUBLISHED_STEP * np.arange(1, frames + 1)
    return 0.25 * case.scales.time * np.arange(frames)


def _check_fields(fields: Sequence[str]) -> None:
    known = ("u", "v", "p", "u_face", "v_face", "u_tendency", "v_tendency")
    if isinstance(fields, str) or not isinstance(fields, Sequence) or not fields or len(set(fields)) < len(fields):
        raise InputError(f"fields: expected names out of {', '.join(known)}, each once, got {fields!r}")
    for name in fields:
        if name not in known:
            from sciml.errors import suggest

            raise InputError(f"fields: the solver gives no field {name!r}{suggest(name, known)}")


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


def _run(
    flow: IncompressibleFlow, cases: list[Case], times: list[np.ndarray], batches: list[Any], client: Any
) -> Iterator[list[tuple[int, xarray.Dataset]]]:
    if client is None:
        yield from _flow_batches.run(flow, cases, times, batches)
        return
    from distributed import as_completed

    jobs = [client.submit(_remote, flow, cases, times, batch, pure=False) for batch in batches]
    for job in as_completed(jobs):
        yield job.result()


def _remote(flow: IncompressibleFlow, cases: list[Case], times: list[np.ndarray], batch: Any) -> list[Any]:
    return [(i, flow._label(cases[i], times[i], found)) for i, found in _flow_batches._solve(flow, cases, times, batch)]


def _under_resolved(cases: list[Case], resolution: tuple[int, int]) -> dict[str, float]:
    """Cell Reynolds numbers of the cases beyond `largest_reynolds`."""
    limit = _cavity_cases.largest_reynolds(resolution)
    found = {}
    for case in cases:
        reynolds = case.density * abs(case.lid_velocity) * case.width / case.viscosity
        if reynolds > limit * (1 + 1e-9):
            found[case.label] = round(reynolds / resolution[1], 3)
    return found


def _failures(path: Path, cases: list[Case]) -> dict[str, str]:
    from sciml.data import open as open_data

    with open_data(path) as data:
        bad = np.flatnonzero(np.asarray(data["status"].values) != 0)
        messages = np.asarray(data["status_message"].values) if "status_message" in data else None
    return {cases[i].label: "failed" if messages is None else str(messages[i]) for i in bad}
