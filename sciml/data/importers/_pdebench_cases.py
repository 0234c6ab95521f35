"""One case of a file of PDEBench, by layout; see `sciml.data.importers.pdebench`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.data.importers._gridded import axis, every, grid, note, times_of, told_axis, told_times
from sciml.data.importers._hdf5 import Stored, Tree
from sciml.data.importers._layout import Raw
from sciml.data.importers._mapping import Plan
from sciml.data.importers._pdebench_files import File

if TYPE_CHECKING:
    from sciml.support import Grid


def _turned(values: np.ndarray, first: int) -> np.ndarray:
    """(…, x, y, z) as (…, z, y, x), behind `first` axes."""
    return np.ascontiguousarray(values.transpose(*range(first), *range(values.ndim - 1, first - 1, -1)))


def _support(tree: Tree, file: File, plan: Plan, around: Any, paths: Mapping[str, str], notes: list[str]) -> Grid:
    """The grid by coordinates of the file, or as told."""
    centres = []
    for a, count in zip("xyz", file.shape, strict=False):
        told = told_axis(plan, a, count)
        if told is None and tree.has(paths[a]):
            stored = tree[paths[a]]
            others = [tree[p].shape for b, p in paths.items() if b != a and tree.has(p)]
            if stored.shape != (count,) and (count,) in others and len(set(file.shape)) > 1:
                tree.fail(
                    f"has {stored.shape[0]} positions, but fields have {file.shape} values along x, y, z: axes are "
                    "swapped; PDEBench's run case, time, x, y, z", paths[a],
                )  # fmt: skip
            told, turned = axis(stored[()], count, f"{tree.label}: variable {paths[a]!r}")
            if turned:
                tree.fail(f"decreases, expected increasing positions along {a}", paths[a])
        if told is None:
            told = (np.arange(count) + 0.5) / count
            note(notes, f"there are no positions along {a}: taken as cells of 0 to 1 (or tell coordinates.{a})")
        centres.append(told)
    return grid(centres, around)


def _flat(tree: Tree, file: File, n: int, plan: Plan, around: Any, notes: list[str]) -> Raw:
    """Scalar and compressible files."""
    variables: Mapping[str, Stored] = {f: tree["tensor" if file.kind == "scalar" else f] for f in file.fields}
    step = every(plan)
    fields = {f: _turned(v[n, ::step], 1) for f, v in variables.items()}
    times = told_times(plan, file.frames)
    if times is None:
        times = times_of(tree["t-coordinate"][()], file.frames, f"{tree.label}: variable 't-coordinate'", notes)
    paths = {a: f"{a}-coordinate" for a in "xyz"}
    return Raw(fields, _support(tree, file, plan, around, paths, notes), times[::step])


def _darcy(tree: Tree, file: File, n: int, plan: Plan, around: Any, notes: list[str]) -> Raw:
    fields = {"u": _turned(tree["tensor"][n][0], 0)}
    inputs = {"nu": _turned(tree["nu"][n], 0)}
    paths = {a: f"{a}-coordinate" for a in "xyz"}
    return Raw(fields, _support(tree, file, plan, around, paths, notes), inputs=inputs)


def _grouped(tree: Tree, file: File, n: int, plan: Plan, around: Any, notes: list[str]) -> Raw:
    g = file.groups[n]
    count, step = tree[f"{g}/data"].shape[0], every(plan)
    values = tree[f"{g}/data"][::step]
    fields = {f: _turned(values[..., k], 1) for k, f in enumerate(file.fields)}
    times = told_times(plan, count)
    if times is None:
        times = times_of(tree[f"{g}/grid/t"][()], count, f"{tree.label}: variable '{g}/grid/t'", notes)
    paths = {a: f"{g}/grid/{a}" for a in "xyz"}
    return Raw(fields, _support(tree, file, plan, around, paths, notes), times[::step])


def _incompressible(tree: Tree, file: File, n: int, plan: Plan, around: Any, notes: list[str]) -> Raw:
    step = every(plan)
    velocity, particles = tree["velocity"][n, ::step], tree["particles"]
    if particles.shape[:-1] != tree["velocity"].shape[:-1] or particles.shape[-1] != 1:
        tree.fail(f"has shape {particles.shape}, expected {(*tree['velocity'].shape[:-1], 1)}", "particles")
    axes = "xyz"[: velocity.shape[-1]]
    fields = {f"velocity_{a}": _turned(velocity[..., k], 1) for k, a in enumerate(axes)}
    fields["particles"] = _turned(particles[n, ::step][..., 0], 1)
    inputs = {}
    if tree.has("force"):
        force = tree["force"]
        wanted = (file.count, *file.shape, len(axes))
        if force.shape != wanted:
            tree.fail(f"has shape {force.shape}, expected {wanted}", "force")
        values = force[n]
        inputs = {f"force_{a}": _turned(values[..., k], 0) for k, a in enumerate(axes)}
    times = told_times(plan, file.frames)
    if times is None:
        t = tree["t"]
        if t.ndim == 2 and t.shape[0] != file.count:
            tree.fail(f"has shape {t.shape}, expected {(file.count, file.frames)}", "t")
        times = times_of(t[n] if t.ndim == 2 else t[()], file.frames, f"{tree.label}: variable 't'", notes)
    paths = {a: f"{a}-coordinate" for a in "xyz"}
    return Raw(fields, _support(tree, file, plan, around, paths, notes), times[::step], inputs=inputs)


READERS = {
    "scalar": _flat, "compressible": _flat, "darcy": _darcy, "groups": _grouped, "incompressible": _incompressible,
}  # fmt: skip
