"""Export particles that move to the layout of LagrangeBench (see `sciml.data.importers.lagrangebench`)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from sciml.data import _pack as packing
from sciml.data import schema
from sciml.data._nodes import COUNT
from sciml.data.exporters._folder import appearing, folder_of, opened, wanted
from sciml.errors import InputError, is_number
from sciml.support import Points

if TYPE_CHECKING:
    from jaxtyping import Float, Integer

FILES = {"train": "train.h5", "validation": "valid.h5", "test": "test.h5"}
RADIUS = 1.45  # spacings: what the authors' own sets have as their default_connectivity_radius


def export_tree(data: Any, folder: str | os.PathLike[str], *, subset: str | Sequence[str] | None = None) -> Path:
    """Write `<folder>/<problem>/{metadata.json, train.h5, valid.h5, test.h5}`; splits without a case have no file.

        00000/position         (T, N, D) float32, within the box where it is periodic
        00000/particle_type    (N) int32: the attribute "type" of the nodes, else 0, which is fluid

    metadata.json holds "dim", "dt" (between frames, so that "write_every" is 1), "bounds",
    "periodic_boundary_conditions", the counts of frames, trajectories and particles, "dx" (the median distance between
    neighbours at the start, or what was imported), "default_connectivity_radius" (1.45 dx), and "vel_mean", "vel_std",
    "acc_mean", "acc_std" for each axis: of r(t_k+1) - r(t_k) and of its change from step to step (lengths a step, and a
    step squared, as the authors' readers expect), the shorter way round where the box is periodic, over particles of
    type 0 (all, if there are none) of train.h5 and valid.h5 (of test.h5, where there is no other), each case of which
    counts alike. So are the numbers of the authors' set of three particles, to five digits.

    Of what was imported from this layout without leaving out frames between others, the frame before the first, which
    an import leaves out, is put back by its velocities: it comes out with the same positions.

    Args:
        data: a data-set file, or an open data set; without splits all cases go to train.h5, and "unused" ones to none.
        folder: where to put the problem's folder, which must not exist yet.
        subset: export these subsets only.

    Raises:
        InputError: anything but loose points that move and stay the same ones, frames that are not evenly spaced,
            alike in all cases, boxes that differ where they are periodic, no such subset, or a place that cannot be
            written; nothing is left behind then.
    """
    dataset = opened(data)
    chosen = wanted(dataset, subset)
    splits = schema.flag_names(dataset["split"]) if "split" in dataset.variables else None
    parts = {i: "train" if splits is None else str(splits[i]) for i, *_ in chosen}
    if not set(parts.values()) & set(FILES):
        raise InputError("export: lagrangebench: expected cases with frames that are used, got none")
    target, about = folder_of(dataset, folder), _About()
    with appearing(target) as place:
        for part, name in FILES.items():
            numbers = [i for i in parts if parts[i] == part]
            if not numbers:
                continue
            with h5py.File(place / name, "w") as file:
                for k, i in enumerate(numbers):
                    position, kinds = _trajectory(dataset, i, about)
                    group = file.create_group(f"{k:05d}")
                    group.create_dataset("position", data=position.astype(np.float32), compression="gzip")
                    group.create_dataset("particle_type", data=kinds)
                    about.take(part, position, kinds)
        text = json.dumps(about.content(dataset), indent=4) + "\n"
        (place / "metadata.json").write_text(text, encoding="utf-8")
    return target


@dataclass
class _About:
    """What all trajectories have in common, and sums over them."""

    step: float = 0.0
    bounds: np.ndarray | None = None
    periodic: tuple[bool, ...] = ()
    spacing: list[float] = field(default_factory=list)
    counts: dict[str, list[int]] = field(default_factory=dict)
    particles: int = 0
    last: float = 0.0
    #: means of velocities and accelerations and of their squares, of each trajectory
    means: list[np.ndarray] = field(default_factory=list)
    tested: list[np.ndarray] = field(default_factory=list)  # the same of those that a model is tested on

    def agree(self, i: int, case: Any, times: np.ndarray) -> None:
        """Take in the box and the step of a case, which have to be those of the others."""
        where = f"export: lagrangebench: case {i}"
        steps = np.diff(times)
        if len(times) < 2:
            raise InputError(f"{where}: has one frame, expected two at least")
        # times in a file are sums of steps, each of which is rounded
        slack = 1e-6 * steps.mean() + 4 * np.finfo(np.float64).eps * np.abs(times).max()
        if np.ptp(steps) > 2 * slack:
            raise InputError(f"{where}: frames are {steps.min():g} to {steps.max():g} apart, expected even steps")
        step = float((times[-1] - times[0]) / len(steps))
        if self.bounds is None:
            self.step = step
        if abs(step - self.step) > 2 * slack:
            raise InputError(f"{where}: steps of {step:g}, expected {self.step:g}, as in the cases before it")
        box, around = np.array(case.geometry.extents), tuple(bool(p) for p in case.geometry.periodic)
        if self.bounds is None:
            self.bounds, self.periodic = box, around
        same = np.abs(box - self.bounds).max(axis=1) <= 1e-9 * np.ptp(self.bounds, axis=1)
        if around != self.periodic or not all(s or not p for s, p in zip(same, around, strict=True)):
            raise InputError(f"{where}: another periodic box than that of the cases before it, expected one for all")
        low, high = np.minimum(box, self.bounds)[:, 0], np.maximum(box, self.bounds)[:, 1]
        self.bounds, self.last = np.stack([low, high], axis=1), max(self.last, float(times[-1]))

    def take(
        self, part: str, position: Float[np.ndarray, "time node axis"], kinds: Integer[np.ndarray, " node"]
    ) -> None:
        """Take in a trajectory of one of the files."""
        self.counts.setdefault(part, []).append(len(position))
        self.particles = max(self.particles, len(kinds))
        self.spacing.append(Points(position[0]).spacing())
        fluid = kinds == 0
        velocity = self.shorter(np.diff(position[:, fluid] if fluid.any() else position, axis=0))
        acceleration = np.diff(velocity, axis=0)
        found = []
        for values in (velocity, acceleration):
            flat = values.reshape(-1, position.shape[2])
            found += [flat.mean(0), np.square(flat).mean(0)] if len(flat) else [np.zeros(position.shape[2])] * 2
        (self.tested if part == "test" else self.means).append(np.stack(found))

    def shorter(self, moved: np.ndarray) -> np.ndarray:
        """Differences (..., D) the shorter way round the box."""
        assert self.bounds is not None
        length = np.ptp(self.bounds, axis=1)
        return np.where(self.periodic, moved - length * np.round(moved / length), moved)

    def within(self, position: np.ndarray) -> np.ndarray:
        """Positions (..., D), such as are outside of the box along a periodic axis brought into it."""
        assert self.bounds is not None
        (low, high), length = self.bounds.T, np.ptp(self.bounds, axis=1)
        out = ((position < low) | (position > high)) & np.array(self.periodic)
        return np.where(out, position - length * np.floor((position - low) / length), position)

    def content(self, dataset: Any) -> dict[str, Any]:
        """Of metadata.json."""
        assert self.bounds is not None
        v, v2, a, a2 = np.mean(self.means or self.tested, axis=0)
        imported = _numbers(dataset)
        spacing = float(np.median(self.spacing))
        found: dict[str, Any] = {
            "case": str(dataset.attrs.get("problem", "")), "solver": str(dataset.attrs.get("solver", "")),
            "dim": len(self.bounds), "dx": spacing, "dt": self.step, "write_every": 1, "t_end": self.last,
        } | imported  # fmt: skip
        for part, name in (("train", "train"), ("test", "test")):
            found[f"sequence_length_{name}"] = max(self.counts.get(part, [0]))
            found[f"num_trajs_{name}"] = len(self.counts.get(part, []))
        return found | {
            "num_particles_max": self.particles, "periodic_boundary_conditions": list(self.periodic),
            "bounds": self.bounds.tolist(), "default_connectivity_radius": RADIUS * found["dx"],
            "vel_mean": v.tolist(), "vel_std": np.sqrt(np.maximum(v2 - v**2, 0.0)).tolist(),
            "acc_mean": a.tolist(), "acc_std": np.sqrt(np.maximum(a2 - a**2, 0.0)).tolist(),
        }  # fmt: skip


def _numbers(dataset: Any) -> dict[str, float]:
    """What an import found in metadata.json of all cases."""
    if str(dataset.attrs.get("imported", "")) != "lagrangebench":
        return {}
    try:
        found = json.loads(str(dataset.attrs.get("metadata", "{}")))
    except ValueError:
        return {}
    return {k: float(v) for k, v in found.items() if is_number(v)} if isinstance(found, dict) else {}


def _trajectory(
    dataset: Any, i: int, about: _About
) -> tuple[Float[np.ndarray, "time node axis"], Integer[np.ndarray, " node"]]:
    """Positions of a case as they are to be written, and what its particles are."""
    case, solution = packing.case(dataset, i)
    where = f"export: lagrangebench: case {i}"
    axes = "xyz"[: case.problem.dimensions]
    if "node" not in solution.dims or any(n.startswith("connectivity") for n in map(str, solution.variables)):
        raise InputError(f"{where}: expected loose points that move, got a grid or a mesh")
    if COUNT in solution.variables:
        raise InputError(f"{where}: expected the same particles in all frames, got some that come and go")
    if case.problem.dimensions not in (2, 3) or any("time" not in solution[a].dims for a in axes):
        raise InputError(f"{where}: expected points that move in two or three dimensions, got others")
    about.agree(i, case, np.asarray(solution["time"].values, dtype=np.float64))
    position = about.within(np.stack([np.asarray(solution[a].values, dtype=np.float64) for a in axes], axis=-1))
    if str(dataset.attrs.get("imported", "")) == "lagrangebench":
        position = np.concatenate([*_before(solution, case.problem.velocity, position, about), position])
    kinds = np.zeros(position.shape[1], np.int32)
    if "node_type" in solution.variables:
        kinds = np.asarray(solution["node_type"].values).astype(np.int32)
    return position, kinds


def _before(solution: Any, names: Sequence[str], position: np.ndarray, about: _About) -> list[np.ndarray]:
    """The frame (1, N, D) before the first; none where frames were left out, so that velocities are not differences
    over the step from one to the next."""
    if len(names) != position.shape[2] or not all(n in solution.variables for n in names):
        return []
    moved = about.step * np.stack([np.asarray(solution[n].values, dtype=np.float64) for n in names], axis=-1)
    known = about.shorter(np.diff(position, axis=0))
    assert about.bounds is not None
    # positions and velocities may both be in single precision
    slack = 8 * np.finfo(np.float32).eps * (np.abs(about.bounds).max() + np.abs(moved).max())
    if np.abs(about.shorter(moved[1:] - known)).max() > slack or np.abs(about.shorter(moved) - moved).max() > slack:
        return []
    return [about.within(position[:1] - moved[:1])]
