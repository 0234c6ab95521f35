"""Error against cost of whole cases: surrogates beside solvers on several grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLOURS = {"solver": "#1b4f8a", "openfoam": "#7a7a7a", "learned": "#c8551b", "baseline": "#3c8c5a"}
NAMES = {"solver": "this package's solver", "openfoam": "OpenFOAM", "learned": "surrogates", "baseline": "no training"}
MARKS = {"solver": "o", "openfoam": "s", "learned": "D", "baseline": "^"}


def fronts(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A panel for each flow and each thing that is asked."""
    panels = list(dict.fromkeys((r["flow"], r["asked"], r["of"]) for r in lines))
    columns = 2
    height = -(-len(panels) // columns)
    figure, axes = plt.subplots(height, columns, figsize=(11, 3.9 * height), squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for (flow, asked, of), axis in zip(panels, axes.flat, strict=False):
        here = [r for r in lines if (r["flow"], r["asked"], r["of"]) == (flow, asked, of) and r["nmse"]]
        for kind, colour in COLOURS.items():
            rows = sorted((r for r in here if r["kind"] == kind), key=lambda r: r["milliseconds"])
            cost, error = [r["milliseconds"] for r in rows], [r["nmse"] for r in rows]
            axis.plot(
                cost,
                error,
                MARKS[kind],
                color=colour,
                ms=5,
                label=NAMES[kind],
                ls="-" if kind == "solver" and "stopped" not in str(rows[0]["row"]) else "none",
                lw=1,
            ) if rows else None
            for r in rows:
                if kind != "baseline" or r["row"] == "interpolation":
                    axis.annotate(
                        _short(r["row"]),
                        (r["milliseconds"], r["nmse"]),
                        xytext=(4, 2),
                        textcoords="offset points",
                        fontsize=6,
                        color=colour,
                    )
        axis.set(
            xscale="log",
            yscale="log",
            title=f"{flow}: {asked}, {of}",
            xlabel="milliseconds a case, one core",
            ylabel="NMSE",
        )
        axis.grid(alpha=0.25, which="major")
        axis.margins(x=0.18, y=0.1)
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _short(name: str) -> str:
    for long, short in ((", 1000 points", ""), ("reference ", ""), ("stopped at ", ""), ("OpenFOAM ", "")):
        name = name.replace(long, short)
    return name
