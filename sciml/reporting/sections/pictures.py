"""Fields at the end of a rollout, and the animation."""

from __future__ import annotations

import numpy as np

from sciml._repr_html import pretty_unit
from sciml.reporting import images
from sciml.reporting._style import DIVERGING, LEARNED, number
from sciml.reporting.blocks import Figures, Film, Note, Tabs
from sciml.reporting.study import Sample, Study


def unit_text(unit: str) -> str:
    """Return a unit as people write it, "" for a number without one."""
    shown = pretty_unit(unit)
    return "" if shown == "–" else shown


def labelled(name: str, unit: str) -> str:
    """Return what stands at an axis: the name, and the unit in brackets if there is one."""
    return f"{name} ({unit})" if unit else name


def fields(study: Study) -> list[object]:
    shown = [s for s in study.samples if s.predictions]
    if not shown:
        return [Note("No sample solutions were kept, so there are no fields to show.", quiet=True)]
    tabs = [(_tab(sample, shown), _fields_of(study, sample)) for sample in shown]
    model = study.best or next(iter(shown[0].predictions))
    lead = Note(
        f"Held-out cases: truth, prediction of {model} and error{at_the_end(study)}, all on one scale, and the error "
        "once more on a scale of its own, symmetric about zero."
    )
    return [lead, Tabs(tabs)] if len(tabs) > 1 else [lead, *tabs[0][1]]


def _tab(sample: Sample, all_of_them: list[Sample]) -> str:
    same = [s for s in all_of_them if s.subset == sample.subset]
    name = sample.subset or sample.label
    return name if len(same) == 1 else f"{name} {same.index(sample) + 1}"


def _model(study: Study, sample: Sample) -> str:
    best = study.best
    return best if best is not None and best in sample.predictions else next(iter(sample.predictions))


def _fields_of(study: Study, sample: Sample) -> list[object]:
    model = _model(study, sample)
    prediction = sample.predictions[model]
    blocks: list[object] = [Note(describe(study, sample))]
    for name, unit in study.fields.items():
        if name not in sample.truth or name not in prediction:
            continue
        true, made = sample.truth[name][-1], prediction[name][-1]
        shown_unit = unit_text(unit)
        error = made - true
        total = float(np.nansum(np.square(true)))
        nmse = float(np.nansum(np.square(error))) / total if total > 0 else float("nan")
        largest = f"{number(float(np.nanmax(np.abs(error))))} {shown_unit}".strip()
        caption = f"{name}: NMSE {number(nmse)}, largest error {largest}."
        if true.ndim == 1:
            ((axis, x),) = sample.coords.items()
            items = [images.line_field(x, [("truth", true, "#1b1f24"), (model, made, LEARNED[0])], f"{name}",
                                       f"{axis} ({study.length_unit})", labelled(name, shown_unit)),
                     images.line_field(x, [("error", error, LEARNED[1])], f"{name}, error",
                                       f"{axis} ({study.length_unit})", labelled(name, shown_unit))]  # fmt: skip
            blocks.append(Figures(items, caption))
            continue
        if true.ndim != 2:
            blocks.append(Note(f"{name} has {true.ndim} space dimensions; only one and two are drawn.", quiet=True))
            continue
        extent = (*sample.extents["x"], *sample.extents["y"])
        scale = images.limits(true, made)
        bound = float(np.nanmax(np.abs(error))) or 1.0
        most = max(abs(scale[0]), abs(scale[1]))
        items = [
            images.field(values, extent, scaled, title, shown_unit, study.length_unit, sample.mask)
            for values, scaled, title in (
                (true, scale, f"{name}, truth"),
                (made, scale, f"{name}, {model}"),
                (error, (-most, most, DIVERGING), f"{name}, error on the same scale"),
                (error, (-bound, bound, DIVERGING), f"{name}, error enlarged (±{number(bound)})"),
            )
        ]
        blocks.append(Figures(items, caption, pairs=True))
    return blocks


def at_the_end(study: Study) -> str:
    """Return where in a rollout pictures are taken, as the end of a phrase; "" for a steady problem."""
    return "" if study.steady else " at the end of the rollout"


def describe(study: Study, sample: Sample) -> str:
    """Return one line that says which case this is."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in sample.parameters.items())
    start = ""
    if not study.steady:
        first, last = sample.times[0], sample.times[-1]
        start = f" Rollout of {len(sample.times) - 1} steps, from t = {first:.3g} to {last:.3g} {study.time_unit}."
    label = sample.label + (f", subset {sample.subset}" if sample.subset else "")
    return f"{label}{': ' if values else ''}{values}.{start}"


def film(study: Study) -> list[object]:
    if study.steady:
        return []
    usable = [s for s in study.samples if s.predictions and len(s.times) > 2
              and all(v.ndim == 3 for v in s.truth.values())]  # fmt: skip
    if not usable:
        return []
    sample = next((s for s in usable if s.subset == "ic"), usable[-1])
    name, unit, true, made = _speed(study, sample)
    model = _model(study, sample)
    error = made - true
    rows = [images.shrink(values) for values in (true, made, error)]
    low, high, colours = images.limits(true)
    bound = float(np.nanmax(np.abs(error))) or 1.0
    scales = [(low, high, colours), (low, high, colours), (-bound, bound, DIVERGING)]
    times = [f"step {i}, t = {t:.3g} {study.time_unit}" for i, t in enumerate(sample.times)]
    pictures = [images.strip(values, scale) for values, scale in zip(rows, scales, strict=True)]
    shown = unit_text(unit)
    width, height = rows[0].shape[2], rows[0].shape[1]
    return [
        Film(pictures, ["Truth", model, "Error"], width, height, times,
             [images.colour_bar(s, labelled(name if i < 2 else "error", shown)) for i, s in enumerate(scales)],
             f"{name.capitalize()}. {describe(study, sample)}")
    ]  # fmt: skip


def _speed(study: Study, sample: Sample) -> tuple[str, str, np.ndarray, np.ndarray]:
    """Return (name, unit, truth, prediction) of what the film shows: the speed of a flow, or else the first field."""
    made = sample.predictions[_model(study, sample)]
    if "u" in sample.truth and "v" in sample.truth and "u" in made and "v" in made:
        return ("speed", study.fields.get("u", "m s-1"), np.hypot(sample.truth["u"], sample.truth["v"]),
                np.hypot(made["u"], made["v"]))  # fmt: skip
    name = next(n for n in study.fields if n in sample.truth and n in made)
    return name, study.fields[name], sample.truth[name], made[name]
