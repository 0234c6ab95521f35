"""Pictures of the linear solvers' table: residual against time, iterations against the size of a grid.

    python -m benchmarks._linear_pictures

draws them anew from the ledger. A curve of the first is one row: set-up and one solve to 10⁻⁴, 10⁻⁶ and 10⁻⁸; direct
solvers are points. In the second all rows stand that were asked of more than one size, of the same draw.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks._ledger import HERE, RESULTS
from sciml.reporting import _style

DOCS = HERE.parent / "docs"
CELLS, SEED = "256 × 256", 1000
SYSTEMS = ("constant", "jumps", "log-normal", "obstacles")
#: row -> colour, marker
LOOKS = {
    "CG": ("#a3a8b0", "v"), "Jacobi-CG": ("#6b7280", "^"), "IC(0)-CG": ("#4b5563", "s"),
    "geometric multigrid-CG": ("#0072B2", "o"), "learned multigrid-CG": ("#D55E00", "D"),
    "Ruge-Stüben-CG (pyamg)": ("#009E73", "P"), "smoothed aggregation-CG (pyamg)": ("#56B4E9", "X"),
    "SuperLU": ("#CC79A7", "<"), "CHOLMOD": ("#882255", ">"), "transforms": ("#E69F00", "*"),
}  # fmt: skip

DIRECT = ("SuperLU", "CHOLMOD", "transforms")
Rows = list[dict[str, Any]]


@_style.style()
def residuals(rows: Rows, out: Path) -> None:
    """A panel a kind of system of 256 × 256 cells."""
    figure = Figure(figsize=(9.5, 7.4), layout="constrained")
    panels, shown = figure.subplots(2, 2, sharex=True, sharey=True), {}
    for panel, system in zip(panels.flat, SYSTEMS, strict=True):
        here = [r for r in rows if r["section"] == "grid" and r["system"] == system and r["cells"] == CELLS
                and r["seed"] == SEED and r["failed"] is None]  # fmt: skip
        for name, (colour, marker) in LOOKS.items():
            mine = sorted((r for r in here if r["row"] == name), key=lambda r: r["tolerance"])
            mine = mine[1:2] if name in DIRECT else mine
            if mine:
                (drawn,) = panel.loglog([r["total_ms"] for r in mine], [r["residual"] for r in mine], color=colour,
                                        marker=marker, ms=6, lw=1.2)  # fmt: skip
                shown[name] = drawn
        _style.caption(panel, system, "", "")
    for panel in panels[1]:
        panel.set_xlabel("set-up and one solve (ms)")
    for panel in panels[:, 0]:
        panel.set_ylabel("relative residual")
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    out.write_bytes(_style.png(figure))


@_style.style()
def sizes(rows: Rows, out: Path) -> None:
    """Iterations to 10⁻⁶ on squares, a panel a kind of system."""
    figure = Figure(figsize=(9.5, 7.4), layout="constrained")
    panels, shown = figure.subplots(2, 2, sharex=True, sharey=True), {}
    for panel, system in zip(panels.flat, SYSTEMS, strict=True):
        counts: dict[str, dict[int, float]] = {}
        for r in rows:
            sides = str(r.get("cells", "")).split(" × ")
            wanted = r["section"] in ("grid", "growth") and r["system"] == system and len(sides) == 2
            if wanted and r["seed"] == SEED and r["tolerance"] == 1e-6 and r["failed"] is None and r["iterations"]:
                mine = counts.setdefault(r["row"], {})
                mine[int(sides[0])] = max(mine.get(int(sides[0]), 0), r["iterations"])
        for name, (colour, marker) in LOOKS.items():
            if len(counts.get(name, {})) > 1:
                several = sorted(counts[name])
                (drawn,) = panel.loglog(several, [counts[name][n] for n in several], color=colour, marker=marker,
                                        ms=6, lw=1.2)  # fmt: skip
                shown[name] = drawn
                panel.set_xticks(sorted({*panel.get_xticks(), *several} & {64, 128, 256, 512, 1024}))
                panel.set_xticklabels([f"{n:g}²" for n in panel.get_xticks()])
                panel.minorticks_off()
        _style.caption(panel, system, "", "")
    for panel in panels[1]:
        panel.set_xlabel("cells")
    for panel in panels[:, 0]:
        panel.set_ylabel("iterations to 10⁻⁶")
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    out.write_bytes(_style.png(figure))


def draw() -> None:
    rows = json.loads((RESULTS / "linear.json").read_text())["rows"]
    if any(r["section"] == "grid" for r in rows):
        residuals(rows, DOCS / "linear_residuals.png")
        sizes(rows, DOCS / "linear_sizes.png")


if __name__ == "__main__":
    draw()
