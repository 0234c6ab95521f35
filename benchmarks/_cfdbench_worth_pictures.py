"""Error against cost of whole cases: surrogates beside solvers on several grids."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLOURS = {"solver": "#1b4f8a", "openfoam": "#7a7a7a", "learned": "#c8551b", "baseline": "#3c8c5a"}
NAMES = {"solver": "this package's solver", "openfoam": "OpenFOAM", "learned": "surrogates", "baseline": "no training"}
COLUMNS = 2
MOST = 1.0  # NMSE: what errs more than saying 0 is not shown
MARKS = {"solver": "o", "openfoam": "s", "learned": "D", "baseline": "^"}


def fronts(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A panel for each flow and each thing that is asked; surrogates go by numbers, named below."""
    panels = list(dict.fromkeys((r["flow"], r["asked"], r["of"]) for r in lines))
    learned = {name: k for k, name in enumerate(dict.fromkeys(r["row"] for r in lines if r["kind"] == "learned"), 1)}
    height = -(-len(panels) // COLUMNS)
    figure, axes = plt.subplots(height, COLUMNS, figsize=(11, 3.9 * height + 1), squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for panel, axis in zip(panels, axes.flat, strict=False):
        here = [r for r in lines if (r["flow"], r["asked"], r["of"]) == panel and r["nmse"]]
        for kind in COLOURS:
            _kind(axis, kind, sorted((r for r in here if r["kind"] == kind), key=lambda r: r["milliseconds"]), learned)
        flow, asked, of = panel
        axis.set(xscale="log", yscale="log", title=f"{flow}: {asked}, {of}")
        axis.set(xlabel="milliseconds a case, one core", ylabel="NMSE")
        if any(r["nmse"] > MOST for r in here):
            axis.set_ylim(top=1.5 * MOST)
        axis.grid(alpha=0.25, which="major")
        axis.margins(x=0.12, y=0.1)
    handles, names = axes.flat[0].get_legend_handles_labels()
    words = ";  ".join(f"{k} {name}" for name, k in learned.items())
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(textwrap.fill(words, 150), fontsize=8, color=COLOURS["learned"])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _kind(axis: Any, kind: str, rows: Sequence[Mapping[str, Any]], learned: Mapping[str, int]) -> None:
    if not rows:
        return
    line = "-" if kind == "solver" and "stopped" not in rows[0]["row"] else "none"
    cost, error = [r["milliseconds"] for r in rows], [r["nmse"] for r in rows]
    above = 3 if kind == "learned" else 2
    axis.plot(cost, error, MARKS[kind], color=COLOURS[kind], ms=5, label=NAMES[kind], ls=line, lw=1, zorder=above)
    for r in rows:
        if kind == "solver" and line == "none" and any(s["nmse"] < r["nmse"] for s in rows[: rows.index(r)]):
            continue  # stopped too early or too late: another grid is as exact for less
        words, place, side = _short(r["row"]), (5, 3), "left"
        if kind == "learned":
            words = str(learned[r["row"]])
        elif kind == "solver":
            place, side = (-5, -7), "right"
        if r["nmse"] > MOST:
            continue
        under: Any = {"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.5} if kind == "learned" else None
        axis.annotate(
            words, (r["milliseconds"], r["nmse"]), place, textcoords="offset points", fontsize=7, ha=side,
            color=COLOURS[kind], zorder=above + 2, bbox=under,
        )  # fmt: skip


def _short(name: str) -> str:
    for long, short in (("reference ", ""), (", stopped at ", ", "), ("OpenFOAM ", ""), (" and more", "+")):
        name = name.replace(long, short)
    return name
