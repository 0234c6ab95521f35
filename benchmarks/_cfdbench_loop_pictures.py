"""Error against cost of corrected coarse solvers and of solvers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

FRONTS = {
    "alone": ("solver alone", "#1b4f8a", "o-"), "details kept": ("alone, details kept", "#6fa3d8", "s-"),
    "in the loop": ("corrected, in the loop", "#c8551b", "D-"),
    "one step": ("corrected, not in the loop", "#e0a46c", "^--"),
    "5 times as long": ("in the loop, trained 5 times as long", "#8c1f1f", "P"),
    "learned": ("surrogates", "#3c8c5a", "*"),
}  # fmt: skip
ASKED = {"one_step_nmse": "one step from every true frame", "rollout_nmse": "rollouts over 20 frames"}


def _kind(row: Mapping[str, Any]) -> str:
    return str(row["row"]).rpartition(", ")[2] if row["kind"] == "corrected" else str(row["kind"])


def front(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A panel for single steps and one for rollouts.

    Args:
        lines: the rows of the section `loop`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for (column, title), axis in zip(ASKED.items(), axes, strict=True):
        for kind, (words, colour, style) in FRONTS.items():
            rows = sorted((r for r in lines if _kind(r) == kind and r[column]), key=lambda r: r["cells"] or 0)
            if not rows:
                continue
            x, y = [r["milliseconds_per_step"] for r in rows], [r[column] for r in rows]
            axis.plot(x, y, style, color=colour, ms=6, lw=1, label=words)
            for r, a, b in zip(rows, x, y, strict=True):
                name = str(r["cells"] or r["row"])
                axis.annotate(name, (a, b), xytext=(5, 3), textcoords="offset points", fontsize=7, color=colour)
        axis.set(xscale="log", yscale="log", title=title, xlabel="milliseconds a step, one core", ylabel="NMSE")
        axis.grid(alpha=0.25, which="both")
        axis.margins(x=0.12, y=0.1)
    axes[1].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
