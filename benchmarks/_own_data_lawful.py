"""Measured velocities brought to zero divergence: how much is left, how far the values move, what noise is taken away.

Data: velocities in a carotid artery by magnetic resonance (76 x 49 x 45, noisy), and frames of particle image
velocimetry of a soap film whose bad vectors are masked. Divergences are central differences in float64 where all
neighbours are inside, before and after the nearest field without one (`sciml.training.laws.enforce`).

What such a projection can take away of noise is known: the share rank A / n of its energy, if it has no pattern. So
noise of a known size is put on the divergence-free fields, and what is left of it is beside what must be.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ledger import HERE, Ledger
from sciml import data
from sciml.data import importers
from sciml.derivatives import central
from sciml.support import Grid
from sciml.training.laws import Change, enforce

PICTURE = HERE.parent / "docs" / "own_data_lawful.png"
NOISES = (0.05, 0.2)  # of the root mean square speed
#: name -> title, where below the folder of data, what importing is told, unit of velocity over that of length, and
#: the speed below which a place is a wall: in the tissue around the artery most are below 0.1, in the artery above 1
SETS: dict[str, tuple[str, str, dict[str, Any], str, float | None]] = {
    "carotid": (
        "Carotid artery, magnetic resonance",
        "vtk/carotid.vtk",
        {"options": {"velocity": "vectors"}},
        "1",
        0.5,
    ),
    "soap film": ("Soap film, particle image velocimetry", "piv", {}, "m/s/mm", None),
}


def measure(ledger: Ledger, work: Any) -> None:
    """Rows, and a picture of the middle planes."""
    if work.data is None or not all((Path(work.data) / place).exists() for _, place, *_ in SETS.values()):
        ledger.row(section="lawful", left_out="no folder with these data: --data")
        return
    shown = {}
    names = ("soap film",) if work.quick else tuple(SETS)
    for name in names:
        title, place, plan, unit, walls = SETS[name]
        found = imported(Path(work.data) / place, plan)
        began = time.process_time()
        lawful = enforce(found, still=walls)
        seconds = time.process_time() - began
        for change in lawful.changes:
            ledger.row(
                section="lawful", data=name, walls_below_speed=walls, unit_of_divergence=unit, cpu_seconds=seconds,
                **columns(change),
            )  # fmt: skip
            print(f"{name}: divergence {change.divergence_before:.3g} -> {change.divergence_after:.2g} {unit}, moved "
                  f"by {change.change:.1%}, {seconds:.0f} s", flush=True)  # fmt: skip
        shown[name] = (title, found, lawful.data)
        if walls is not None:  # beside it: the whole box taken as fluid
            ledger.row(section="lawful", data=name, walls_below_speed=None, unit_of_divergence=unit,
                       **columns(enforce(found).changes[0]))  # fmt: skip
        for noise in NOISES:
            ledger.row(section="lawful_noise", data=name, **noisy(lawful.data, noise, walls))
    if not work.quick:
        ledger.seeds(0)
        picture(shown)


def imported(source: Path, plan: dict[str, Any]) -> Any:
    """The data set of a file, or of the numbered frames of Insight in a folder."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if source.is_dir():  # other programs' frames beside them have another grid
            place = Path(folder) / "frames"
            place.mkdir()
            for file in sorted(source.glob("*.vec")):
                (place / file.name).write_bytes(file.read_bytes())
            source = place
        out = importers.import_data(source, Path(folder) / "set.h5", plan=plan)
        with data.open(out.path) as found:
            return found.load()


def columns(change: Change) -> dict[str, Any]:
    """A row of what was done to a case."""
    return {
        "divergence_rms_before": change.divergence_before, "divergence_rms_after": change.divergence_after,
        "divergence_largest_before": change.largest_before, "divergence_largest_after": change.largest_after,
        "divergence_after_times_width_over_speed": change.relative, "relative_l2_change": change.change,
        "rms_change": change.root_mean_square_change, "cells_held": change.equations, "cells": change.cells,
        "cells_of_walls": change.walls,
    }  # fmt: skip


def fields(found: Any, frame: int = 0) -> tuple[np.ndarray, Grid]:
    """(D, *grid) velocity of the first case, in float64, and its grid."""
    case, solution = data.case(found, 0)
    grid = case.support
    assert isinstance(grid, Grid)
    one = solution if "time" not in solution.dims else solution.isel(time=frame)
    return np.stack([np.asarray(one[n].values, np.float64) for n in case.problem.velocity]), grid


def noisy(lawful: Any, noise: float, walls: float | None) -> dict[str, Any]:
    """Noise of a known size on fields without divergence: what is left of it, beside what must be."""
    random, dirty = np.random.default_rng(0), lawful.copy(deep=True)
    case, _ = data.case(lawful, 0)
    truth, grid = fields(lawful)
    inside = np.ones(grid.shape, bool) if grid.inside is None else grid.inside
    inside = inside & truth.any(axis=0) if walls is not None else inside
    size = float(np.sqrt(np.square(truth[:, inside]).sum(0).mean()))
    for name in case.problem.velocity:
        values = dirty[name].values
        added = random.standard_normal(values.shape) * noise * size / np.sqrt(grid.dimensions) * inside
        dirty[name] = (dirty[name].dims, values + added, dirty[name].attrs)
    after = enforce(dirty, still=None if walls is None else 0.0)  # noise is put on moving places alone
    before, left = fields(dirty)[0] - truth, fields(after.data)[0] - truth
    ratio = float(np.sqrt(np.square(left).sum() / np.square(before).sum()))
    free = grid.dimensions * int(inside.sum())
    expected = float(np.sqrt(1 - after.changes[0].equations / free))  # of one sample of noise, to some thousandths
    print(f"  noise {noise:.0%}: {ratio:.4f} of it is left, {expected:.4f} expected", flush=True)
    return {
        "noise_over_rms_speed": noise, "noise_left_over_noise": ratio, "expected_noise_left_over_noise": expected,
        "relative_l2_change": after.changes[0].change,
    }  # fmt: skip


def cut(plane: np.ndarray, grid: Grid) -> tuple[np.ndarray, list[float]]:
    """What of a plane has values, with a margin, and where that is."""
    shown = np.isfinite(plane)
    box, extent = [], []
    for axis in (0, 1):
        at = np.flatnonzero(shown.any(axis=axis))
        a, b = max(int(at[0]) - 2, 0), min(int(at[-1]) + 3, plane.shape[1 - axis])
        box.append(slice(a, b))
        extent += [float(grid.faces[axis][a]), float(grid.faces[axis][b])]
    return plane[box[1], box[0]], extent


def picture(shown: dict[str, tuple[str, Any, Any]]) -> None:
    """Speed before and after and their difference, divergence before and after, in the middle planes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, rows = plt.subplots(len(shown), 5, figsize=(13, 2.7 * len(shown)), dpi=80, squeeze=False)
    for axes, (name, (title, before, after)) in zip(rows, shown.items(), strict=True):
        u, grid = fields(before)
        v, _ = fields(after)
        middle = (grid.shape[0] // 2,) if grid.dimensions == 3 else ()
        inside = np.ones(grid.shape, bool) if grid.inside is None else grid.inside
        if SETS[name][4] is not None:
            inside = inside & v.any(axis=0)
        old, new = (np.where(inside, np.abs(central.divergence(w, grid)), np.nan) for w in (u, v))
        speeds = [np.linalg.norm(w, axis=0) for w in (u, v, v - u)]
        top, worst = float(np.quantile(speeds[0][inside], 0.999)), float(np.nanquantile(old, 0.95))
        tops = (top, top, float(np.quantile(speeds[2][inside], 0.99)))
        kinds = [(a, "viridis", t) for a, t in zip(speeds, tops, strict=True)] + [
            (old, "magma", worst),
            (new, "magma", worst),
        ]
        words = ("speed", "speed, made lawful", "|change|", "|divergence|", "|divergence|, made lawful")
        for axis, (array, colours, most), text in zip(axes, kinds, words, strict=True):
            plane = np.where(inside, array, np.nan)[middle]
            plane, extent = cut(plane, grid)
            image = axis.imshow(plane, origin="lower", cmap=colours, vmin=0, vmax=most, extent=extent)
            axis.set_title(text if text != words[4] else f"{text}\nlargest {np.nanmax(new):.0e}", fontsize=9)
            axis.set_xticks([])
            axis.set_yticks([])
            figure.colorbar(image, ax=axis, shrink=0.75)
        axes[0].set_ylabel(title.replace(", ", ",\n"), fontsize=9)
    figure.tight_layout()
    figure.savefig(PICTURE)
    plt.close(figure)
