"""Pictures of forecasts of a cylinder's wake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks._ledger import HERE
from sciml.reporting import _style

INK = "#1b1f24"
LOOKS: dict[str, tuple[str, Any]] = {
    "persistence": ("#8d939c", (0, (1, 1.5))), "dynamic modes, history 1": ("#8d939c", (0, (4, 2))),
    "linear, best rank and history": ("#8d939c", "-"),
    "linear by log Re, best rank, history and degree": ("#D55E00", "-"), "neural ODE": ("#0072B2", "-"),
}  # fmt: skip
SHORT = {"linear, best rank and history": "linear, at its best",
         "linear by log Re, best rank, history and degree": "linear by Re, at its best"}  # fmt: skip


@_style.style()
def drawn(
    courses: Mapping[str, np.ndarray], lead: np.ndarray, frames: Mapping[str, np.ndarray],
    errors: Mapping[str, Sequence[float]], title: str,
) -> None:  # fmt: skip
    """Errors over the time ahead, the course of a place in the wake, and the last frames.

    Args:
        courses: row -> v (time,) behind the cylinder, over U.
        lead: (time,) D/U.
        frames: row -> v (y, x) at the end, over U.
        errors: row -> error by time ahead.
        title: which forecast courses and frames are of.
    """
    figure = Figure(figsize=(12.5, 7.0), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    above, below = parts
    left, right = above.subplots(1, 2)
    for row, values in errors.items():
        if row not in LOOKS:
            continue
        colour, dash = LOOKS[row]
        left.plot(lead, values, color=colour, ls=dash, label=SHORT.get(row, row))
    left.set(
        xlabel="time ahead, D/U",
        ylabel="error over deviation from the mean",
        ylim=(0, 1.6),
        title="all unseen forecasts",
    )
    left.legend(fontsize=8)
    for row, values in courses.items():
        colour, dash = LOOKS.get(row, (INK, "-"))
        right.plot(lead, values, color=colour, ls=dash, lw=2.2 if row == "truth" else 1.2, label=SHORT.get(row, row))
    right.set(xlabel="time ahead, D/U", ylabel="v / U, 2.6 D behind the cylinder", title=title)
    right.legend(fontsize=8)
    panels = np.atleast_1d(below.subplots(1, len(frames), sharey=True))
    size = max(float(np.abs(f).max()) for n, f in frames.items() if n == "truth")
    for axis, (row, values) in zip(panels, frames.items(), strict=True):
        image = axis.imshow(values, origin="lower", extent=(-3, 8, -3, 3), cmap="RdBu_r", vmin=-size, vmax=size)
        axis.set(title=f"v / U at the end: {SHORT.get(row, row)}", xlabel="x / D")
    panels[0].set(ylabel="y / D")
    below.colorbar(image, ax=list(panels), shrink=0.8)
    figure.savefig(HERE.parent / "docs" / "neural_ode.png", dpi=130)
