"""Error bars: what was promised, what came out on held-out cases, and a band to look at."""

from __future__ import annotations

import numpy as np

from sciml.reporting import curves, images
from sciml.reporting._style import DIVERGING, number
from sciml.reporting.blocks import Cell, Figures, Note, Table
from sciml.reporting.names import labelled, unit_text
from sciml.reporting.sections._samples import at_the_end, describe
from sciml.reporting.sections.accuracy import styles
from sciml.reporting.study import Sample, Study


def bars(study: Study) -> list[object]:
    if not study.bars:
        return []
    blocks: list[object] = [Note(_promises(study)), _table(study)]
    blocks += _calibration(study)
    return blocks + _band(study)


def _promises(study: Study) -> str:
    same: dict[str, list[str]] = {}
    for model, found in study.bars.items():
        same.setdefault(f"{found.promise}; from {found.calibrated} calibration cases.", []).append(model)
    text = [f"{_listed(models)}: {promise}" for promise, models in same.items()]
    text.append(
        "This holds for new cases like those that were calibrated on, whatever the model; it says nothing of a single "
        "place, nor of other kinds of cases. Shares of a field go by its quadrature weights."
    )
    if not study.steady:
        text.append("A field here is a whole rollout from the first frame of a case, over all of its times.")
    return " ".join(text)


def _listed(names: list[str]) -> str:
    """Names, apart from each other though they hold commas."""
    return "; ".join(names)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if np.isfinite(share) else "–"


def _table(study: Study) -> Table:
    head = ["row", "field", "promised", "inside, mean over cases", "wholly inside", "mean width", "width / truth's rms"]
    rows = []
    for model, found in study.bars.items():
        for name in found.per_point:
            cells = [Cell(model), Cell(name), Cell(_percent(found.nominal))]
            for per, values in (("point", found.per_point), ("field", found.per_field)):
                about = "this is what is promised" if per == found.per else ""
                cells.append(Cell(_percent(values[name]), per == found.per, about))
            width = f"{number(found.width[name])} {unit_text(study.fields.get(name, ''))}".strip()
            rows.append(("surrogate", [*cells, Cell(width), Cell(_percent(found.relative[name]))]))
    cases = ", ".join(str(n) for n in dict.fromkeys(b.cases for b in study.bars.values()))
    return Table(
        head, rows,
        f"Coverage on {cases} held-out cases (split “{study.split}”); marked is the figure that the promise is about. "
        f"With so many cases it scatters by about {_scatter(study)} percentage points where whole fields are counted.",
    )  # fmt: skip


def _scatter(study: Study) -> str:
    """One standard deviation of a share of n cases, and of the promise itself, which n' cases have set."""
    found = next(iter(study.bars.values()))
    each = found.nominal * (1 - found.nominal)
    return f"{100 * np.sqrt(each / max(found.cases, 1) + each / max(found.calibrated + 2, 1)):.0f}"


def _calibration(study: Study) -> list[object]:
    look = styles(study)
    names = list(dict.fromkeys(n for b in study.bars.values() for n in b.observed))
    items = []
    for name in names:
        lines, marks = [], []
        for model, found in study.bars.items():
            if name in found.observed and len(found.levels):
                lines.append(curves.Line(model, found.levels, found.observed[name]))
                came = (found.per_field if found.per == "field" else found.per_point)[name]
                marks.append((found.nominal, came, model))
        if lines:
            items.append(curves.reliability(lines, look, f"Calibration, {name}", marks))
    caption = (
        "Coverage on held-out cases of bands for other promises, from the same calibration cases; the ring is the "
        "promise that answers carry. Above the diagonal bands are too wide, below it too narrow."
    )
    return [Figures(items, caption)] if items else []


def _band(study: Study) -> list[object]:
    """One case's band, of the model with the least error that has one."""
    shown = [s for s in study.samples if s.bands]
    if not shown or shown[0].support.dimensions == 3:
        return []
    sample = shown[0]
    best = study.best
    model = best if best is not None and best in sample.bands else next(iter(sample.bands))
    blocks: list[object] = [Note(f"The band of {model}{at_the_end(study)}. {describe(study, sample)}")]
    for name, unit in study.fields.items():
        if name in sample.bands[model]:
            blocks.append(_picture(study, sample, model, name, unit_text(unit)))
    return blocks


def _picture(study: Study, sample: Sample, model: str, name: str, unit: str) -> Figures:
    support, half = sample.support, sample.bands[model][name][-1]
    true, made = sample.truth[name][-1], sample.predictions[model][name][-1]
    error = np.abs(made - true)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error == 0, 0.0, error / half)
    weights = support.weights()
    share = float((weights * (ratio <= 1 + 1e-5)).sum() / weights.sum())
    text = f"{name}: {_percent(share)} of the field lies in its band."
    if support.dimensions == 1:
        place = labelled("x", study.length_unit)
        drawn = images.line_band(support, true, (model, made, half), name, place, labelled(name, unit))
        return Figures([drawn], text)
    low, high, colours = images.limits(images.inside(half, support), signed=False)
    items = [
        images.field(half, support, (min(low, 0.0), high, colours), f"{name}, half width", unit, study.length_unit),
        images.field(np.minimum(ratio, 2.0), support, (0.0, 2.0, DIVERGING), f"{name}, |error| / half width", "",
                     study.length_unit),
    ]  # fmt: skip
    return Figures(items, f"{text} In the second picture, what is red lies outside.", pairs=True)
