"""A picture of part `triangles`: a test case at its last frame on its mesh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation

from sciml import data
from sciml.reporting import _style
from sciml.support import support_of

FIELD = "u"
SHOWN = 0.99  # of the nodes have errors within the colours


@_style.style()
def answers(path: Path, number: int, solvers: Mapping[str, Any], out: Path) -> None:
    """Truth on the mesh, the first solver's answer after a rollout from the first frame to the last, and the error of
    each, all errors by one colour bar.

    Args:
        path: the data set at nodes.
        number: of the case.
        solvers: row -> what can go on from a frame.
    """
    case, truth = data.case(data.open(path), number)
    mesh: Any = support_of(case, truth)
    position, cells = mesh.points(), mesh.cells["triangle"]
    drawn = Triangulation(position[:, 0], position[:, 1], cells)
    times = truth["time"].values
    exact = truth[FIELD].values[-1]
    found = {}
    for name, solver in solvers.items():
        found[name] = np.asarray(solver.resume(case, truth.isel(time=[0]), times[1:])[FIELD].values[-1])
    limits = {"vmin": float(exact.min()), "vmax": float(exact.max()), "cmap": _style.SEQUENTIAL}
    most = max(float(np.quantile(np.abs(f - exact), SHOWN)) for f in found.values())
    figure = Figure(figsize=(10.5, 5.4), layout="constrained")
    axes = figure.subplots(2, 2)
    first = next(iter(found))
    for a, values, title in zip(axes[0], (exact, found[first]), ("truth, and the mesh", first), strict=True):
        image = a.tripcolor(drawn, values, shading="gouraud", **limits)
        a.set_title(title)
    axes[0, 0].triplot(drawn, lw=0.35, color="white", alpha=0.75)
    figure.colorbar(image, ax=list(axes[0]), shrink=0.85, label=f"{FIELD} (m/s)")
    for a, (name, values) in zip(axes[1], found.items(), strict=False):
        image = a.tripcolor(drawn, values - exact, shading="gouraud", vmin=-most, vmax=most, cmap=_style.DIVERGING)
        a.set_title(f"error of {name}")
    figure.colorbar(image, ax=list(axes[1]), shrink=0.85, extend="both", label=f"error of {FIELD} (m/s)")
    for a in axes.ravel():
        a.set_aspect("equal")
        a.set_axis_off()
    reynolds = case.problem.shown(case)["Reynolds number"]
    when = f"after {len(times) - 1} steps, {times[-1]:g} s"
    figure.supxlabel(f"test case {case.label}, Reynolds number {reynolds:.0f}, {when}", fontsize=10)
    out.write_bytes(_style.png(figure))  # smooth colours need more than a palette
