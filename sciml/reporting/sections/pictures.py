"""Fields at the end of a rollout, and the animation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sciml.derivatives import central
from sciml.reporting import films, images
from sciml.reporting._style import DIVERGING, INK, LEARNED, number
from sciml.reporting.blocks import Figures, Film, Note, Tabs
from sciml.reporting.names import labelled, measured, unit_text
from sciml.reporting.sections import particles
from sciml.reporting.sections._samples import at_the_end, describe, model_of
from sciml.reporting.study import ALL, Sample, Study
from sciml.support import Grid, Points


def fields(study: Study) -> list[object]:
    shown = [s for s in study.samples if s.predictions]
    if not shown:
        return [Note("No sample solutions were kept, so there are no fields to show.", quiet=True)]
    tabs = [(_tab(sample, shown), _fields_of(study, sample)) for sample in shown]
    model = study.best or next(iter(shown[0].predictions))
    lead = Note(f"Held-out cases: truth, prediction of {model} and error{at_the_end(study)}.{_how(shown[0])}")
    lead_in = [lead, *_moving(study)]
    return [*lead_in, Tabs(tabs)] if len(tabs) > 1 else [*lead_in, *tabs[0][1]]


def _how(sample: Sample) -> str:
    """How fields on this kind of support are drawn."""
    support = sample.support
    if support.dimensions == 1:
        return ""
    if sample.followed is not None:
        return " Dots are about as large as particles; the error is the distance between places of the same particle."
    if support.dimensions == 3:
        return (
            " Truth and prediction share one scale; that of the error is its own, symmetric about zero. "
            + ("Three slices are drawn." if isinstance(support, Grid) else
               "The nodes of a thin slab in the middle of z are drawn, projected along z.")
        )  # fmt: skip
    where = ""
    if isinstance(support, Points):
        where = " Values live on loose points, which are drawn as dots."
    elif not isinstance(support, Grid):
        where = " Values live on the nodes of a mesh; colours run linearly over its triangles."
    elif not support.uniform_cells:
        where = " Cells of the stretched grid are drawn as they are."
    return (
        " All are on one scale, and the error is shown once more on a scale of its own, symmetric about zero." + where
    )


def _moving(study: Study) -> list[object]:
    """What a rollout does to nodes that move."""
    moving = [s for s in study.samples if s.moving]
    if not moving:
        return []
    text = "Nodes move in these data; in a rollout they stay where they are at its start. Values belong to the nodes."
    if all(s.followed is not None for s in moving):
        text = (
            "Particles move, in a rollout too: each is at its first position plus the displacement that truth or "
            "prediction has for it, and is drawn there; errors are of the same particle. Grey: bodies in the way."
        )
        if not any(s.followed is not None and s.followed.stage.body is not None for s in moving):
            text = text.removesuffix(" Grey: bodies in the way.")
    return [Note(text, quiet=True)]


def _tab(sample: Sample, all_of_them: list[Sample]) -> str:
    same = [s for s in all_of_them if s.subset == sample.subset]
    name = sample.subset or sample.label
    return name if len(same) == 1 else f"{name} {same.index(sample) + 1}"


def _fields_of(study: Study, sample: Sample) -> list[object]:
    model = model_of(study, sample)
    prediction, support = sample.predictions[model], sample.support
    blocks: list[object] = [Note(describe(study, sample))]
    if sample.followed is not None:
        return [*blocks, *particles.pictures(study, sample, model)]
    for name, unit in study.fields.items():
        if name not in sample.truth or name not in prediction:
            continue
        true, made = (images.inside(v[name][-1], support) for v in (sample.truth, prediction))
        shown = unit_text(unit)
        error = made - true
        caption = _figures_of(name, error, true, support.weights(), shown)
        draw = (_lines, _plane, _space)[support.dimensions - 1]
        blocks += draw(study, sample, model, name, shown, (true, made, error), caption)
    return blocks + _vorticity(study, sample, model)


def _vorticity(study: Study, sample: Sample, model: str) -> list[object]:
    """∂v/∂x − ∂u/∂y of plane velocities on a grid, by central differences of what is at cell centres."""
    support, names = sample.support, study.velocity
    both = (sample.truth, sample.predictions[model])
    if not isinstance(support, Grid) or len(names) != 2 or support.dimensions != 2:
        return []
    if not all(name in one for one in both for name in names):
        return []
    true, made = (
        central.derivative(one[names[1]][-1], support, 0) - central.derivative(one[names[0]][-1], support, 1)
        for one in both
    )
    if np.isnan(true).all():
        return []
    speed, length = study.fields.get(names[0], ""), study.length_unit
    unit = unit_text("s-1" if speed == f"{length} s-1" else "")
    caption = _figures_of("vorticity", made - true, true, support.weights(), unit)
    most = float(np.nanpercentile(np.abs(true), 99)) or 1.0
    shown = (np.clip(true, -most, most), np.clip(made, -most, most), np.clip(made - true, -most, most))
    return list(
        _plane(study, sample, model, "vorticity", unit, shown, f"{caption} Colours end where 1 % of it lies beyond.")
    )


def _figures_of(name: str, error: np.ndarray, true: np.ndarray, weights: np.ndarray, unit: str) -> str:
    """The errors of one field in words, by the quadrature of its support."""
    weights = np.broadcast_to(weights, true.shape)
    total = float(np.nansum(weights * np.square(true)))
    nmse = float(np.nansum(weights * np.square(error))) / total if total > 0 else float("nan")
    if np.isnan(error).all() or not np.isfinite(error[~np.isnan(error)]).all():
        return f"{name}: the prediction is not finite."
    return f"{name}: NMSE {number(nmse)}, largest error {number(float(np.nanmax(np.abs(error))))} {unit}".strip() + "."


def _bound(error: np.ndarray) -> float:
    finite = error[np.isfinite(error)]
    return float(np.abs(finite).max(initial=0.0)) or 1.0


Values = tuple[np.ndarray, np.ndarray, np.ndarray]


def _lines(
    study: Study, sample: Sample, model: str, name: str, unit: str, values: Values, caption: str
) -> list[Figures]:
    true, made, error = values
    place = labelled("x", study.length_unit)
    return [Figures([
        images.line_field(sample.support, [("truth", true, INK), (model, made, LEARNED[0])], name, place,
                          labelled(name, unit)),
        images.line_field(sample.support, [("error", error, LEARNED[1])], f"{name}, error", place,
                          labelled(name, unit)),
    ], caption)]  # fmt: skip


def _plane(
    study: Study, sample: Sample, model: str, name: str, unit: str, values: Values, caption: str
) -> list[Figures]:
    true, made, error = values
    scale = images.limits(true, made)
    bound, most = _bound(error), max(abs(scale[0]), abs(scale[1]))
    items = [
        images.field(shown, sample.support, scaled, title, unit, study.length_unit)
        for shown, scaled, title in (
            (true, scale, f"{name}, truth"),
            (made, scale, f"{name}, {model}"),
            (error, (-most, most, DIVERGING), f"{name}, error on the same scale"),
            (error, (-bound, bound, DIVERGING), f"{name}, error enlarged (±{number(bound)})"),
        )
    ]
    return [Figures(items, caption, pairs=True)]


def _space(
    study: Study, sample: Sample, model: str, name: str, unit: str, values: Values, caption: str
) -> list[Figures]:
    """Truth, prediction and error on three slices of a grid, or on the nodes of a slab."""
    true, made, error = values
    bound = _bound(error)
    scale = images.limits(true, made)
    rows = ((true, scale, "truth"), (made, scale, model), (error, (-bound, bound, DIVERGING), "error"))
    if isinstance(sample.support, Grid):
        items = [
            images.stack([(who, images.taken(v, index, names), s) for v, s, who in rows], plane, f"{name}, {at}",
                         unit, study.length_unit, names)
            for at, names, index, plane in images.slices(sample.support)
        ]  # fmt: skip
        return [Figures(items, caption)]
    points = sample.support.points()
    near, low, high = images.slab(points)
    flat = Points(points[near, :2])
    items = [images.field(v[near], flat, s, f"{name}, {who}", unit, study.length_unit) for v, s, who in rows]
    caption += (
        f" Drawn are the {int(near.sum())} of {len(points)} nodes with z from {low:.3g} to "
        f"{measured(high, study.length_unit)}; figures are over all nodes."
    )
    return [Figures(items, caption)]


def film(study: Study) -> list[object]:
    if study.steady:
        return []
    if any(s.followed is not None for s in study.samples):
        return particles.film(study, study.samples)
    usable = [cut for s in study.samples if s.predictions and len(s.times) > 2 and not s.moving
              and films.raster((cut := _on_plane(s)).support) is not None]  # fmt: skip
    if not usable:
        return []
    sample = _liveliest(study, usable)
    name, unit, true, made = _shown(study, sample)
    model = model_of(study, sample)
    raster = films.raster(sample.support)
    assert raster is not None
    picture, note = raster
    rows = [films.frames_on(values, sample.support, picture) for values in (true, made, made - true)]
    low, high, colours = images.limits(rows[0])
    bound = _bound(rows[2])
    scales = [(low, high, colours), (low, high, colours), (-bound, bound, DIVERGING)]
    times = [f"step {i}, t = {measured(t, study.time_unit)}" for i, t in enumerate(sample.times)]
    pictures = [films.strip(values, scale) for values, scale in zip(rows, scales, strict=True)]
    shown = unit_text(unit)
    width, height = rows[0].shape[2], rows[0].shape[1]
    return [
        Film(pictures, ["Truth", model, "Error"], width, height, times,
             [images.colour_bar(s, labelled(name if i < 2 else "error", shown)) for i, s in enumerate(scales)],
             f"Shown is {name}{sample.plane}. {describe(study, sample)} {note}".strip())
    ]  # fmt: skip


def _on_plane(sample: Sample) -> Sample:
    """A sample on a 3-D grid as one on a plane: along the walls near one of them, else the middle one across z."""
    if not isinstance(sample.support, Grid) or sample.support.dimensions != 3:
        return sample
    cuts = images.slices(sample.support)
    at, names, index, plane = next((c for c in cuts if c[0].endswith("near the wall")), cuts[0])

    def cut(fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {n: images.taken(v, index, names) for n, v in fields.items()}

    return replace(
        sample, support=plane, truth=cut(sample.truth), plane=f" on the plane {at}",
        predictions={m: cut(p) for m, p in sample.predictions.items()},
    )  # fmt: skip


def _liveliest(study: Study, usable: list[Sample]) -> Sample:
    """The sample of the subset in which repeating the last state errs most; without subsets, the one that is predicted
    worst."""
    hardest = study.hardest
    found = [s for s in usable if s.subset == hardest and hardest != ALL]
    return max(found or usable, key=lambda s: _median_error(study, s))


def _median_error(study: Study, sample: Sample) -> float:
    """Median over the frames of the relative square error of what the film shows."""
    _, _, true, made = _shown(study, sample)
    axes = tuple(range(1, true.ndim))
    size = np.nansum(np.square(true), axis=axes)
    error = np.nansum(np.square(made - true), axis=axes) / np.where(size > 0, size, np.inf)
    return float(np.median(np.where(np.isfinite(error), error, np.inf)))


def _shown(study: Study, sample: Sample) -> tuple[str, str, np.ndarray, np.ndarray]:
    """Return (name, unit, truth, prediction) of what the film shows: the speed of a flow, or else the first field."""
    made = sample.predictions[model_of(study, sample)]
    names = [n for n in study.velocity if n in sample.truth and n in made]
    if len(names) > 1 and len(names) == len(study.velocity):
        speeds = (np.sqrt(sum(np.square(np.asarray(v[n], float)) for n in names)) for v in (sample.truth, made))
        return ("speed", study.fields.get(names[0], "1"), *speeds)  # type: ignore[return-value]
    name = next(n for n in study.fields if n in sample.truth and n in made)
    return name, study.fields[name], np.asarray(sample.truth[name], float), np.asarray(made[name], float)
