"""Pictures of the CFDBench table: errors, growth and cost of all rows, each row's worst case, maps over parameters."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from PIL import Image

from benchmarks._cfdbench_figures import NUMERICAL, STILL, Rows, best, over
from benchmarks._cfdbench_rows import DEEPCFD, ENTRIES, STEADY, STEPS
from sciml import data, load
from sciml.data import schema
from sciml.reporting import _style

COLOURS = 128  # of a picture's palette
MARKERS = "osD^v"
CEILING = 10.0  # NMSE beyond which a rollout is no longer drawn


def small(png: bytes) -> bytes:
    """The picture with a palette: a quarter of the bytes."""
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        out, "png", optimize=True
    )
    return out.getvalue()


def _look(name: str) -> tuple[str, str]:
    """Colour and marker of a row: colours come round again with another marker."""
    names = list(ENTRIES | STEADY)
    if name not in names:
        return "#6b7280", "x"
    k = names.index(name)
    return _style.LEARNED[k % len(_style.LEARNED)], MARKERS[k // len(_style.LEARNED)]


@_style.style()
def figures(found: dict[str, Rows], out: Path) -> None:
    """A column a flow: errors over "nothing changes", growth of rollouts, cost against error beside the solver."""
    flows = list(found)
    figure = Figure(figsize=(max(4.2 * len(flows), 8.4), 12.5), layout="constrained")
    axes = figure.subplots(3, len(flows), squeeze=False, height_ratios=(1.3, 1, 1))
    shown: dict[str, Any] = {}
    for k, flow in enumerate(flows):
        here = found[flow]
        _ratios(axes[0, k], flow, here)
        if flow == DEEPCFD:
            for a in axes[1:, k]:
                a.set_axis_off()
            continue
        shown |= _growth(axes[1, k], here) | _cost(axes[2, k], here)
        axes[1, k].set_ylabel("NMSE" if k == 0 else "")
        axes[2, k].set_ylabel("milliseconds a step, one case" if k == 0 else "")
    columns = min(6, 2 * len(flows))
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    out.write_bytes(small(_style.png(figure)))


def _ratios(axes: Any, flow: str, here: Rows) -> None:
    still = STILL[flow == DEEPCFD]
    shown = [n for n in here if here[n]["kind"] != "solver" and n != still]
    order = sorted(shown, key=lambda n: -over(here, n, still))
    for k, name in enumerate(order):
        colour, marker = _look(name)
        axes.plot(over(here, name, still), k, marker, color=colour, ms=7,
                  mfc="none" if here[name]["query"] else colour)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yticks(range(len(order)), order, fontsize=8)
    axes.axvline(1.0, color=_style.INK, lw=0.8, ls="--")
    ticks(axes.xaxis, *axes.get_xlim())
    any_time = any(here[n]["query"] for n in order)
    more = "\n(open: any time, over rollouts of persistence)" if any_time else ""
    _style.caption(axes, flow, f"NMSE over that of {still}{more}", "")


def _growth(axes: Any, here: Rows) -> dict[str, Any]:
    handles = {}
    for name, r in here.items():
        errors = np.array(r["rollout_nmse"])
        errors[~(errors <= CEILING)] = np.nan
        colour, marker = _look(name)
        line = {"learned": "-", "baseline": "--", "solver": ":"}[r["kind"]]
        (drawn,) = axes.semilogy(np.arange(1, len(errors) + 1), errors, line, color=colour, lw=1.2, ms=4,
                                 marker=marker if r["kind"] == "learned" else None, markevery=4)  # fmt: skip
        if r["kind"] == "learned":
            handles[name] = drawn
        elif np.isfinite(errors[-1]):
            axes.annotate(name.removeprefix(NUMERICAL), (len(errors), errors[-1]), fontsize=6.5, va="center")
    axes.set_xlim(right=STEPS * 1.25)
    _style.caption(axes, "", f"rollout step (curves end at NMSE {CEILING:g})", "")
    return handles


def _cost(axes: Any, here: Rows) -> dict[str, Any]:
    handles = {}
    for name, r in here.items():
        mean, cost = float(np.mean(r["rollout_nmse"])), r["milliseconds_per_step"]
        if not math.isfinite(mean) or mean > CEILING or mean <= 0 or cost <= 0:
            continue
        colour, marker = _look(name)
        if r["kind"] == "learned":
            (handles[name],) = axes.loglog(mean, cost, marker, color=colour, ms=5.5)
        else:
            solver = r["kind"] == "solver"
            axes.loglog(mean, cost, "P" if solver else marker, color=_style.INK if solver else colour, ms=6)
            axes.annotate(name.removeprefix(NUMERICAL), (mean, cost), fontsize=7, xytext=(4, 3),
                          textcoords="offset points")  # fmt: skip
    for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        ticks(axis, *ends)
    _style.caption(axes, "", "mean NMSE of rollouts\n(+ the solver on at most 64 × 64 cells, × untrained)", "")
    return handles


@_style.style()
def worst(work: Any, flow: str, found: Rows, out: Path) -> None:
    """Each row's worst case, at the last frame that was asked for: truth, answer, error, by the share of water where
    there is one, else by speed."""
    path, names = work.data(flow), [n for n, r in found.items() if r["kind"] == "learned" and r["worst_run"]]
    dataset = data.open(path)
    labels = [data.case(dataset, i)[0].label for i in range(dataset.sizes["case"])]
    figure = Figure(figsize=(9.0, 1.2 * len(names) + 0.4), layout="constrained")
    axes = figure.subplots(len(names), 3, squeeze=False)
    what = "share of water" if "alpha" in dataset else "speed"
    for a, title in zip(axes[0], (f"reference: {what}", f"answer: {what}", "size of the difference"), strict=True):
        a.set_title(title)
    for line, name in zip(axes, names, strict=True):
        r = found[name]
        case, truth = data.case(dataset, labels.index(r["worst_case"]))
        solver: Any = load(r["worst_run"])
        if flow == DEEPCFD:
            answer = solver.solve(case)
            last = truth
        else:
            times = truth["time"].values[: STEPS + 1]
            answer = solver.resume(case, truth.isel(time=[0]), times[1:]).isel(time=-1)
            last = truth.isel(time=len(times) - 1)
        truth_values, values, miss = _size(last), _size(answer), _miss(last, answer)
        high = float(np.nanmax(truth_values))
        for a, shown in zip(line, (truth_values, values, miss), strict=True):
            image = a.imshow(shown, origin="lower", vmin=0, vmax=high, cmap="viridis", aspect="auto")
            a.set_xticks([])
            a.set_yticks([])
        told = f"{name}\n{r['worst_case']}, NMSE {r['worst_case_nmse']:.2g}"
        line[0].set_ylabel(told, rotation=0, ha="right", va="center", fontsize=8)
        figure.colorbar(image, ax=line, shrink=0.8)
    shown = "" if flow == DEEPCFD else " of the whole rollout; shown is its last frame"
    figure.supxlabel(f"NMSE of all fields{shown}; colours end at the largest value of the reference", fontsize=9)
    out.write_bytes(small(_style.png(figure)))


def _size(dataset: Any) -> np.ndarray:
    """The share of water, or else the speed; NaN in solids."""
    if "alpha" in dataset:
        return _hidden(dataset, dataset["alpha"].values.squeeze())
    return _hidden(dataset, np.hypot(dataset["u"].values.squeeze(), dataset["v"].values.squeeze()))


def _miss(truth: Any, answer: Any) -> np.ndarray:
    names = ("alpha",) if "alpha" in truth else ("u", "v")
    parts = [(answer[n].values.squeeze() - truth[n].values.squeeze()) ** 2 for n in names]
    return _hidden(truth, np.sqrt(sum(parts)))


def _hidden(dataset: Any, values: np.ndarray) -> np.ndarray:
    mask = dataset["mask"].values if "mask" in dataset else None
    return values if mask is None else np.where(mask.reshape(values.shape) > 0, values, np.nan)


@_style.style()
def maps(work: Any, found: dict[str, Rows], out: Path) -> None:
    """Where in the space of parameters the best row of each flow errs: a panel for each subset, test cases alone."""
    flows = [f for f in found if f != DEEPCFD]
    if not flows:
        return
    figure = Figure(figsize=(11, 3.0 * len(flows)), layout="constrained")
    axes = figure.subplots(len(flows), 3, squeeze=False)
    for line, flow in zip(axes, flows, strict=True):
        name = best(found[flow], 1)[0]
        r = found[flow][name]
        dataset = data.open(work.data(flow))
        subset = schema.flag_names(dataset["subset"])
        test = [m["number"] for m in work.manifest(flow) if m["split"] == "test"]  # those that were evaluated
        error = np.asarray(r["case_squares"]) / np.asarray(r["case_labels"])
        parameters = str(dataset.attrs["parameters"]).split()
        colours = LogNorm(error.min(), error.max() * 1.001)
        for a, part in zip(line, ("bc", "prop", "geo"), strict=True):
            members = np.flatnonzero(subset == part)
            held = [(k, n) for k, n in enumerate(test) if subset[n] == part]
            ranges = {p: np.ptp(np.log(np.abs(dataset[p].values[members]) + 1e-300)) for p in parameters}
            vary = sorted((p for p in parameters if ranges[p] > 0), key=lambda p: -ranges[p])[:2]
            _map(a, dataset, vary, members, held, error, colours)
            a.set_title(f"{flow}, {part}: {name}" if a is line[0] else part)
        figure.colorbar(ScalarMappable(colours, "viridis"), ax=line, label="NMSE of one step")
    out.write_bytes(small(_style.png(figure)))


def _map(axes: Any, dataset: Any, vary: list[str], members: Any, held: list, error: Any, colours: Any) -> None:
    """Test cases over the two parameters that a subset varies most, or the error over the only one; others in grey."""
    if not vary:
        axes.set_axis_off()
        return
    own, values = [n for _, n in held], [error[k] for k, _ in held]
    x = dataset[vary[0]].values
    if len(vary) == 2:
        y = dataset[vary[1]].values
        axes.plot(x[members], y[members], ".", color="#9ca3af", ms=5)
        axes.scatter(x[own], y[own], c=values, s=70, norm=colours, cmap="viridis", edgecolors=_style.INK)
    else:
        y = error
        axes.plot(x[members], np.full(len(members), colours.vmin), "|", color="#9ca3af", ms=8)
        axes.scatter(x[own], values, c=values, s=70, norm=colours, cmap="viridis", edgecolors=_style.INK)
    _scale(axes, "x", x[members])
    _scale(axes, "y", y[members] if len(vary) == 2 else y)
    axes.set_xlabel(vary[0].replace("_", " "))
    axes.set_ylabel(vary[1].replace("_", " ") if len(vary) == 2 else "NMSE of one step")


def _scale(axes: Any, axis: str, values: np.ndarray) -> None:
    """Logarithmic where values span half a decade and more."""
    if values.min() > 0 and values.max() >= 3 * values.min():
        axes.set(**{f"{axis}scale": "log"})
        own = axes.xaxis if axis == "x" else axes.yaxis
        ticks(own, values.min(), values.max())


def ticks(axis: Any, low: float, high: float) -> None:
    """Of a logarithmic axis: labels at 1, 2 and 5 where it spans less than two decades, none between decades else."""
    if high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
