"""Pictures and films of particles.

    python -m benchmarks._particles_pictures [--film]

draws the courses of the ledger anew, and the particles that the parts `learned` and `control` left in
benchmarks/work.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks._ledger import HERE, RESULTS
from benchmarks._particles_control import FRAMES, GOAL, LAST, RESOLUTION, case_of
from benchmarks._particles_learned import MATERIALS
from benchmarks._particles_rows import FOLDER, STEP
from sciml.reporting import _style
from sciml.reporting.moving import save_film
from sciml.solvers import MaterialPoint

DOCS = HERE.parent / "docs"
INK = "#1b1f24"
LOOKS = {
    "truth": INK, "GIOROM, a quarter of the particles": "#0072B2", "GNS": "#D55E00", "grid particle model": "#009E73",
    "GNS, a quarter of the particles": "#E69F00", "grid particle model, a quarter of the particles": "#56B4E9",
    "material points, 2 times coarser": "#8d939c", "material points, 3 times coarser": "#c3c8ce",
    "interpolation": "#CC79A7", "mean field": "#9c755f", "persistence": "#d9c27e",
}  # fmt: skip
SHOWN = (
    "truth", "GIOROM, a quarter of the particles", "GNS", "grid particle model",
    "grid particle model, a quarter of the particles", "material points, 2 times coarser",
)  # fmt: skip
METHODS = {
    "lbfgs, material points": ("#0072B2", "-"), "adam, material points": ("#56B4E9", "-"),
    "cobyqa, material points": ("#D55E00", "-"), "cma, material points": ("#E69F00", "-"),
    "nelder_mead, material points": ("#CC79A7", "-"),
}  # fmt: skip
EVERY = 8  # steps between frames of a film


def pictures(problem: str) -> dict[str, np.ndarray] | None:
    path = FOLDER / f"{problem}-pictures.npz"
    return dict(np.load(path)) if path.exists() else None


def _cloud(axes: Axes, position: np.ndarray, colour: np.ndarray, title: str = "") -> None:
    axes.scatter(*position.T, c=colour, s=1.6, cmap="viridis", vmin=0, vmax=1, linewidths=0)
    axes.set(xlim=(0, 1), ylim=(0, 0.75), aspect="equal", xticks=[], yticks=[])
    if title:
        axes.set_title(title.replace(", ", ",\n"), fontsize=8)


def _height(first: np.ndarray) -> np.ndarray:
    """A colour for each particle by how high it lay at first."""
    y = first[:, 1]
    return (y - y.min()) / max(float(np.ptp(y)), 1e-9)


@_style.style()
def materials(out: Path, at: tuple[int, ...] = (49, 199)) -> None:
    """Of each material, the first test case at two times: truth and rows side by side."""
    known = {m: p for m, problem in MATERIALS.items() if (p := pictures(problem)) is not None}
    figure = Figure(figsize=(2.6 * len(SHOWN), 2.1 * len(known) * len(at)), layout="constrained")
    grid = figure.subplots(len(known) * len(at), len(SHOWN), squeeze=False)
    for i, (material, frames) in enumerate(known.items()):
        colour = _height(frames["first"][0])
        for j, step in enumerate(at):
            for axes, row in zip(grid[i * len(at) + j], SHOWN, strict=True):
                if row in frames:
                    _cloud(axes, frames[row][step], colour, row if i == j == 0 else "")
            grid[i * len(at) + j, 0].set_ylabel(f"{material}, {(step + 1) * STEP:.1f} s", fontsize=9)
    figure.savefig(out, dpi=75)


@_style.style()
def courses(rows: list[dict[str, Any]], out: Path) -> None:
    """Share of the mass that is misplaced, and kinetic energy, over time."""
    figure = Figure(figsize=(12.5, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, len(MATERIALS))
    for axes, below, material in zip(upper, lower, MATERIALS, strict=True):
        for row in _of(rows, "learned_course", material):
            axes.plot(row["time"], _numbers(row["misplaced"]), color=LOOKS[row["row"]], lw=1.3, label=row["row"])
        for row in _of(rows, "learned_history", material):
            thick = 2.0 if row["row"] == "truth" else 1.2
            below.plot(row["time"], _numbers(row["kinetic_energy"]), color=LOOKS[row["row"]], lw=thick)
        axes.set(title=material, ylim=(0, 1))
        below.set(xlabel="time (s)", ylim=(0, None))
    upper[0].set_ylabel("share of the mass misplaced")
    lower[0].set_ylabel("kinetic energy (J/kg)")
    handles = [Rectangle((0, 0), 1, 1, color=c) for c in LOOKS.values()]
    figure.legend(handles, list(LOOKS), loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    figure.savefig(out, dpi=110)


@_style.style()
def control(rows: list[dict[str, Any]], out: Path) -> None:
    """The heap before, after the first motion and after the best one; and how methods came there."""
    kept = np.load(FOLDER / "control.npz")
    figure = Figure(figsize=(12.0, 3.1), layout="constrained")
    before, first, best, course = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.1))
    solver = MaterialPoint(RESOLUTION)
    for axes, u, time, title in (
        (before, kept["start"], 0.0, "before"), (first, kept["start"], LAST, "first motion"),
        (best, kept["u"], LAST, "found by gradients"),
    ):  # fmt: skip
        _heap(axes, solver, u, np.array([time]))
        axes.set_title(title, fontsize=9)
    for name, (colour, dash) in METHODS.items():
        for row in (r for r in rows if r.get("section") == "control_course" and r["row"] == name):
            course.plot(1 + np.arange(len(row["value"])), row["value"], color=colour, ls=dash, label=name.split(",")[0])
    course.set(xscale="log", xlabel="evaluations", ylabel="share of the mass outside, smooth")
    course.legend(fontsize=7, frameon=False)
    figure.savefig(out, dpi=110)


def _heap(axes: Axes, solver: MaterialPoint, u: np.ndarray, times: np.ndarray) -> None:
    case = case_of(u)
    solution = solver.solve(case, times)
    _scene(axes, case, np.stack([solution[a].values[-1] for a in "xy"], -1), float(times[-1]))


def _scene(axes: Axes, case: Any, position: np.ndarray, time: float) -> None:
    axes.scatter(*position.T, c="#b8860b", s=4, linewidths=0)
    body = case.problem.plate(case)
    low, high = np.array(body.shape.extents).T
    low = low + body.displacement(time)
    axes.add_patch(Rectangle(tuple(low), *(high - np.array(body.shape.extents).T[0]), color="#5b6470"))
    left, right = GOAL.lower[0], GOAL.upper[0]
    assert left is not None and right is not None
    axes.add_patch(Rectangle((left, 0.0), right - left, 0.6, color="#009E73", alpha=0.15, lw=0))
    axes.set(xlim=(0, 1), ylim=(0, 0.6), aspect="equal", xticks=[], yticks=[])


def _of(rows: list[dict[str, Any]], section: str, material: str) -> Iterator[dict[str, Any]]:
    found = [r for r in rows if r.get("section") == section and r["material"] == material]
    return iter(sorted(found, key=lambda r: list(LOOKS).index(r["row"])))


def _numbers(values: Any) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def film(out: Path) -> None:
    """All materials: truth beside rows, one test case of each."""
    known = {m: p for m, problem in MATERIALS.items() if (p := pictures(problem)) is not None}

    def draw(k: int) -> Figure:
        figure = Figure(figsize=(2.5 * len(SHOWN), 1.95 * len(known)), layout="constrained")
        grid = figure.subplots(len(known), len(SHOWN), squeeze=False)
        for i, (material, frames) in enumerate(known.items()):
            colour = _height(frames["first"][0])
            for axes, row in zip(grid[i], SHOWN, strict=True):
                if row in frames:
                    _cloud(axes, frames[row][k], colour, row if i == 0 else "")
            grid[i, 0].set_ylabel(material, fontsize=9)
        return figure

    count = min(len(p["truth"]) for p in known.values())
    save_film((draw(k) for k in range(0, count, EVERY)), out)


def film_of_control(out: Path) -> None:
    """The motion that was found, beside the one that it began from."""
    kept = np.load(FOLDER / "control.npz")
    solver, times = MaterialPoint(RESOLUTION), np.linspace(0.0, LAST, FRAMES)
    cases = [case_of(kept[n]) for n in ("start", "u")]
    found = [solver.solve(c, times) for c in cases]

    def draw(k: int) -> Figure:
        figure = Figure(figsize=(8.0, 2.6), layout="constrained")
        for axes, case, solution, title in zip(
            figure.subplots(1, 2), cases, found, ("first motion", "found by gradients"), strict=True
        ):
            _scene(axes, case, np.stack([solution[a].values[k] for a in "xy"], -1), float(times[k]))
            axes.set_title(title, fontsize=9)
        return figure

    save_film((draw(k) for k in range(FRAMES)), out)


def main() -> None:
    rows = json.loads((RESULTS / "particles.json").read_text())["rows"]
    if any(r.get("section") == "learned_course" for r in rows):
        courses(rows, DOCS / "particles_courses.png")
        materials(DOCS / "particles_materials.png")
    if any(r.get("section") == "control_course" for r in rows):
        control(rows, DOCS / "particles_control.png")
    if "--film" in sys.argv[1:]:
        film(DOCS / "particles_materials.webp")
        film_of_control(DOCS / "particles_control.webp")


if __name__ == "__main__":
    main()
