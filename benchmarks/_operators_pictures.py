"""Pictures of the table of operators: errors of all rows, a case of each set on its mesh, and the cost of attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation

from benchmarks._cfdbench_pictures import MARKERS, small, ticks
from benchmarks._operators_figures import STEPS, Rows, best
from benchmarks._operators_rows import ENTRIES
from benchmarks._operators_sets import SETS
from sciml import data, load
from sciml.reporting import _style
from sciml.support import Mesh
from sciml.training.samples import open_data
from sciml.training.samples import table as cases_of


def _look(row: Mapping[str, Any]) -> dict[str, Any]:
    """Colour and marker of a row: colours come round again with another marker. Means of several trainings are hollow,
    a cross is not trained."""
    names = list(ENTRIES)
    name = row["row"].partition(", mean of ")[0]
    if row["kind"] == "untrained" or name not in names:
        return {"color": "#6b7280", "marker": "x"}
    k = names.index(name)
    look = {"color": _style.LEARNED[k % len(_style.LEARNED)], "marker": MARKERS[k // len(_style.LEARNED)]}
    return look | {"markerfacecolor": "none"} if row["kind"] == "ensemble" else look


@_style.style()
def overview(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """A panel a set: the relative error of every row, learned or not.

    Args:
        rows: of the ledger.
    """
    names = [n for n in SETS if any(r.get("set") == n and r["section"] == "comparison" for r in rows)]
    columns = 2 if len(names) > 1 else 1
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(4.9 * columns, 3.3 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for a, name in zip(axes, names, strict=False):
        own = [r for r in rows if r.get("set") == name and r["section"] == "comparison"]
        own = sorted((r for r in own if r.get("relative_l2")), key=lambda r: -r["relative_l2"])
        for k, r in enumerate(own):
            a.plot(r["relative_l2"], k, ms=7, ls="none", **_look(r))
        a.set_xscale("log")
        a.set_yticks(range(len(own)), [r["row"] for r in own], fontsize=8)
        ticks(a.xaxis, *a.get_xlim())
        a.set_title(SETS[name].title)
        a.set_xlabel("relative L2 error (× not trained, hollow: mean of several)", fontsize=8)
    for a in axes[len(names) :]:
        a.set_axis_off()
    out.write_bytes(small(_style.png(figure)))


@_style.style()
def case(name: str, path: Path, found: Rows, runs: Mapping[str, list[Path]], out: Path) -> None:
    """The test case of middling error of the row that the validation chooses: truth, answer and difference on the mesh;
    of a case in time the frame with the largest fields in the second half of its rollout."""
    row = best(found, 1)[0]
    held = cases_of(open_data(path)[0], "test", None)
    errors = np.asarray(found[row]["cases"])
    middle = int(np.argsort(errors)[len(errors) // 2])
    one, truth = data.case(data.open(path), int(held.number[middle]))
    solver: Any = load(runs[row][0])
    when = ""
    if SETS[name].steady:
        answer = solver.solve(one)
    else:
        history = SETS[name].history
        times = truth["time"].values[history - 1 : STEPS + history]
        named = [f for group in SETS[name].groups for f in group]
        size = np.sum([(truth[f].values[history : history + len(times) - 1] ** 2).sum(-1) for f in named], axis=0)
        late = (len(times) - 1) // 2
        shown = late + int(np.argmax(size[late:]))
        answer = solver.resume(one, truth.isel(time=slice(history)), times[1:]).isel(time=shown)
        truth, when = truth.isel(time=shown + history), f", {shown + 1} steps on"
    mesh = held.support(middle)
    assert isinstance(mesh, Mesh)
    position = mesh.points()
    drawn = Triangulation(position[:, 0], position[:, 1], mesh.cells["triangle"])
    fields = [f for group in SETS[name].groups for f in group]
    (left, right), (low, high) = mesh.extents
    ratio = (high - low) / (right - left)
    figure = Figure(figsize=(10.5, len(fields) * (3.1 * max(ratio, 0.35) + 0.6) + 0.4), layout="constrained")
    axes = figure.subplots(len(fields), 3, squeeze=False)
    for line, f in zip(axes, fields, strict=True):
        values = (truth[f].values, answer[f].values)
        limits = float(np.min(values[0])), float(np.max(values[0]))
        for a, values_of, title in zip(line, values, ("truth", row), strict=False):
            image = a.tripcolor(drawn, values_of, shading="gouraud", vmin=limits[0], vmax=limits[1], cmap="viridis")
            a.set_title(f"{f}: {title}")
        figure.colorbar(image, ax=list(line[:2]), shrink=0.85)
        miss = values[1] - values[0]
        most = float(np.abs(miss).max()) or 1.0
        image = line[2].tripcolor(drawn, miss, shading="gouraud", vmin=-most, vmax=most, cmap=_style.DIVERGING)
        line[2].set_title("difference, on its own scale")
        figure.colorbar(image, ax=line[2], shrink=0.85)
    for a in axes.ravel():
        a.set_aspect("equal" if 0.1 < ratio < 10 else "auto")
        a.set_axis_off()
    figure.supxlabel(f"{SETS[name].title}: the test case of middling error, {errors[middle]:.2g}{when}", fontsize=9)
    out.write_bytes(_style.png(figure))  # smooth colours need more than a palette


@_style.style()
def costs(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Seconds and memory of one step of each kind of attention over the number of points."""
    own = [r for r in rows if r["section"] == "attention"]
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots(1, 2)
    for k, name in enumerate(dict.fromkeys(r["row"] for r in own)):
        mine = [r for r in own if r["row"] == name]
        points = [r["points"] for r in mine]
        look = dict(color=_style.LEARNED[k % len(_style.LEARNED)], marker=MARKERS[k % len(MARKERS)], ms=4, lw=1.2)
        axes[0].loglog(points, [r["seconds"] for r in mine], label=name, **look)
        axes[1].loglog(points, [r["megabytes"] for r in mine], **look)
    for a, words in zip(axes, ("seconds, forward and backward", "megabytes held for the backward pass"), strict=True):
        a.set_xlabel("points")
        a.set_ylabel(words)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    out.write_bytes(small(_style.png(figure)))
