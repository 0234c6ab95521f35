"""A picture of trajectories before and after refinement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks._ledger import HERE
from sciml.reporting import _style

COLOURS = {"SpaceTimeFNO": "#0072B2", "FNO": "#D55E00"}


@_style.style()
def picture(step: float, courses: Mapping[str, Any], maps: Mapping[str, Sequence[Any]]) -> None:
    """Errors in time, and the vorticity at the end.

    Args:
        step: s between frames.
        courses: row -> "before", "after" -> (trajectory, frame) errors.
        maps: row -> vorticity (y, x), the simulation first.
    """
    figure = Figure(figsize=(13.0, 6.4), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.2, 1))
    left, right = parts[0].subplots(1, 2)
    for row, several in courses.items():
        for which, dash in (("before", (0, (4, 2))), ("after", "-")):
            errors = np.array(several[which])
            times = step * np.arange(1, errors.shape[1] + 1)
            name = f"{row}, refined" if which == "after" else row
            left.fill_between(times, errors.min(0), errors.max(0), color=COLOURS[row], alpha=0.12, lw=0)
            left.plot(times, errors.mean(0), color=COLOURS[row], ls=dash, label=name)
        gain = np.array(several["before"]) / np.array(several["after"])
        right.fill_between(times, gain.min(0), gain.max(0), color=COLOURS[row], alpha=0.12, lw=0)
        right.plot(times, np.exp(np.log(gain).mean(0)), color=COLOURS[row], label=row)
    left.set(xlabel="time ahead, s", ylabel="error of a frame, relative L²", yscale="log",
             title="mean, least and most over test flows and seeds")  # fmt: skip
    left.legend(fontsize=8, ncol=2)
    right.axhline(1.0, color="#8d939c", lw=1)
    right.set(xlabel="time ahead, s", ylabel="error over that of the refined frame", yscale="log",
              title="what refinement gains, by frame")  # fmt: skip
    right.legend(fontsize=8)
    panels = np.atleast_1d(parts[1].subplots(1, len(maps), sharey=True))
    size = float(np.abs(np.array(maps["simulation"])).max())
    for axis, (row, values) in zip(panels, maps.items(), strict=True):
        image = axis.imshow(np.array(values), origin="lower", cmap="RdBu_r", vmin=-size, vmax=size)
        axis.set(title=row, xticks=[], yticks=[])
        axis.grid(False)
    parts[1].colorbar(image, ax=list(panels), shrink=0.8, label="vorticity, 1/s")
    parts[1].suptitle(f"a test flow after {step * len(courses['FNO']['after'][0]):g} s", fontsize=10)
    figure.savefig(HERE.parent / "docs" / "refiner.png", dpi=130)
