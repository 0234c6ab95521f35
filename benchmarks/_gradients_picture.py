"""The picture of part `gradients`: of each flow its frames, a gradient by all rows, and values beside derivatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks._cfdbench_pictures import small
from benchmarks._gradients_flows import Asked
from sciml.reporting import _style

SHOWN = {"solver": ("solver", _style.INK, "o"), "FNO": ("FNO", _style.LEARNED[0], "s"),
         "U-Net": ("U-Net", _style.LEARNED[1], "D"),
         "quadratic fit of J": ("quadratic fit of J", "#6b7280", "x")}  # fmt: skip
LIMITS = (7e-4, 5.0), (0.04, 2.0)  # of errors: of values, of gradients
SHORT = {
    "inlet_velocity": "U", "viscosity": "μ", "profile_1": "a₁", "profile_2": "a₂", "profile_3": "a₃", "radius": "R",
    "place": "y", "velocity": "U", "density": "ρ", "gravity": "g", **{f"lid_{k}": f"lid {k / 2:g}" for k in range(5)},
}  # fmt: skip


@_style.style()
def draw(every: dict[str, tuple[Asked, dict[str, Any]]], out: Path) -> None:
    """A column a flow. Above: by how much J changes over half a span of each number, in all test cases and in the
    median; below: the error of the gradient against that of the value, a mark a test case."""
    figure = Figure(figsize=(12.5, 7.6), layout="constrained")
    axes = figure.subplots(2, len(every), squeeze=False)
    handles: dict[str, Any] = {}
    for k, (flow, found) in enumerate(every.values()):
        handles |= _gradient(axes[0, k], flow, found)
        _errors(axes[1, k], flow, found)
    axes[0, 0].set_ylabel("change of J over half a span,\nover the spread of J")
    axes[1, 0].set_ylabel("error of the gradient, relative")
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    out.write_bytes(small(_style.png(figure)))


def _gradient(axes: Any, flow: Asked, found: dict[str, Any]) -> dict[str, Any]:
    """Of all test cases: small marks; their middle: large ones."""
    handles, rows = {}, [r for r in SHOWN if r in found]
    for r, row in enumerate(rows):
        words, colour, marker = SHOWN[row]
        each = np.array(found[row]["gradient"]) * flow.sizes / found["spread"]
        at = np.arange(each.shape[1]) + 0.2 * (r - (len(rows) - 1) / 2)
        for k, x in enumerate(at):
            axes.plot(np.full(len(each), x), each[:, k], ".", color=colour, ms=3, alpha=0.6)
        (handles[words],) = axes.plot(at, np.median(each, 0), marker, color=colour, ms=6, ls="none",
                                      mfc="none" if row != "solver" else colour)  # fmt: skip
    axes.axhline(0, color=_style.INK, lw=0.6)
    axes.set_xticks(range(len(flow.spans)), [SHORT[n] for n in flow.spans])
    _style.caption(axes, f"{flow.name}: {flow.title}", "by", "")
    return handles


def _errors(axes: Any, flow: Asked, found: dict[str, Any]) -> None:
    truth = found["solver"]
    for row, (_, colour, marker) in SHOWN.items():
        if row == "solver" or row not in found:
            continue
        mine = found[row]
        value = np.abs(np.array(mine["value"]) - truth["value"]) / found["spread"]
        g, t = (np.array(r["gradient"]) * flow.sizes for r in (mine, truth))
        away = np.linalg.norm(g - t, axis=1) / np.linalg.norm(t, axis=1)
        axes.loglog(value, away, marker, color=colour, ms=6, ls="none", mfc="none")
    axes.axhline(1, color=_style.INK, lw=0.8, ls="--")
    axes.set(xlim=LIMITS[0], ylim=LIMITS[1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    _style.caption(axes, "", "error of the value, over the spread of J", "")
