"""Particles: where they are by truth and prediction, what fills the box, their film, and what they come to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sciml.reporting import films, images, turbulence
from sciml.reporting._style import DIVERGING, INK, SEQUENTIAL, Look, number
from sciml.reporting.blocks import Cell, Figures, Film, Note, Table, Tabs
from sciml.reporting.curves import Line
from sciml.reporting.names import labelled, measured, unit_text
from sciml.reporting.particles import Shown, pixels, table
from sciml.reporting.sections._samples import describe, model_of
from sciml.reporting.sections.accuracy import styles
from sciml.reporting.sections.flow import squared
from sciml.reporting.stage import Followed
from sciml.reporting.study import Sample, Study
from sciml.support import Grid

TRUTH = "truth"
MOST = 4  # rollouts that are drawn
ERRORS = "cividis"
Entry = Mapping[str, Any]


def pictures(study: Study, sample: Sample, model: str) -> list[object]:
    """Snapshots, and in space a slab of them; what fills the box."""
    followed = sample.followed
    assert followed is not None
    true, made = sample.truth, sample.predictions[model]
    last = len(sample.times) - 1
    frames = sorted({max(1, round(last / 3)), max(1, round(2 * last / 3)), last} - {0}) or [0]
    name, unit, (shown, guessed) = coloured(study, true, made)
    columns, units = ["truth", model, "error"], [labelled(name, unit)] * 2 + ["off by (spacings)"]
    scale = images.limits(shown[frames])
    off = {k: followed.off(made, true, k) for k in frames}
    top = max((float(np.nanmax(o, initial=0.0, where=np.isfinite(o))) for o in off.values()), default=0.0)
    wrong = (0.0, top or 1.0, ERRORS)
    rows = []
    for k in frames:
        t = float(sample.times[k])
        here, there = followed.at(true, k), followed.at(made, k)
        rows.append(
            [Shown(here, shown[k], scale, t), Shown(there, guessed[k], scale, t), Shown(there, off[k], wrong, t)]
        )
    stage = followed.stage.near([panel.points for row in rows for panel in row])
    times = [f"t = {measured(float(sample.times[k]), study.time_unit)}" for k in frames]
    blocks: list[object] = [
        Figures([table(stage, columns, times, rows, units, study.length_unit, f"Particles by {name}")],
                _told(study, sample, model, frames[-1], off))
    ]  # fmt: skip
    if stage.dimensions == 3:
        blocks.append(_slab(study, followed, rows[-1], columns, times[-1], units))
    return [*blocks, _filled(study, sample, model, frames[-1], times[-1])]


def coloured(
    study: Study, true: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray]
) -> tuple[str, str, tuple[np.ndarray, np.ndarray]]:
    """(name, unit, values (T, N) of both) by which particles are coloured: speed, else how far they have come."""
    names = [n for n in study.velocity if n in true and n in made]
    if len(names) == len(study.velocity) and names:
        what, of = "speed", names
    else:
        what, of = "displacement", [n for n in true if n.startswith("displacement_")]
    both = (np.sqrt(sum(np.square(np.asarray(v[n], float)) for n in of)) for v in (true, made))
    return what, unit_text(study.fields.get(of[0], "1")), tuple(both)  # type: ignore[return-value]


def _told(study: Study, sample: Sample, model: str, last: int, off: Mapping[int, np.ndarray]) -> str:
    assert sample.followed is not None
    share, spacing = sample.followed.share, sample.followed.stage.spacing
    finite = np.isfinite(off[last])
    if not finite.any():
        return f"{model}: no particle has a finite place at the end."
    size = float(np.sqrt(share[finite] @ np.square(off[last][finite]) / share[finite].sum()))
    text = (
        f"At the end particles of {model} are off by {number(size)} spacings of {measured(spacing, study.length_unit)} "
        f"(root mean square), at most {number(float(off[last][finite].max()))}; errors are drawn where it has them."
    )
    if not finite.all():
        text += f" {int((~finite).sum())} have no finite place."
    return text


def _slab(
    study: Study, followed: Followed, row: Sequence[Shown], columns: Sequence[str], time: str, units: Sequence[str]
) -> Figures:
    stage = followed.stage
    cut = stage.cut()
    shown = []
    for panel in row:
        inside = stage.slab(panel.points)
        shown.append(Shown(stage.flat(panel.points)[inside], panel.values[inside], panel.scale, panel.time))
    near = "xyz"[stage.axes[2]]
    return Figures(
        [table(cut, columns, [time], [shown], units, study.length_unit, f"A slab in the middle of {near}")],
        f"Particles in a slab across {near} alone, seen along it.",
    )


def _filled(study: Study, sample: Sample, model: str, k: int, time: str) -> Figures:
    """What share of each cell matter fills."""
    followed = sample.followed
    assert followed is not None
    grid, true = followed.counted(followed.at(sample.truth, k))
    _, made = followed.counted(followed.at(sample.predictions[model], k))
    scale = (0.0, max(float(true.max()), 1.0 if followed.stage.dimensions == 2 else 0.0) or 1.0, SEQUENTIAL)
    most = min(float(np.abs(made - true).max()), scale[1]) or 1.0
    grid, true, made = _low(grid, true, made)
    right, up, near = followed.stage.axes
    names = ("xyz"[right], "xyz"[up])
    items = [
        images.field(values, grid, s, f"{title}, {time}", "volume fraction", study.length_unit, names)
        for title, values, s in (
            ("truth", true, scale), (model, made, scale), (f"{model} − truth", made - true, (-most, most, DIVERGING))
        )
    ]  # fmt: skip
    share = 0.5 * np.abs(made - true).sum() / true.sum() if true.sum() else float("nan")
    text = f"Volume fraction of matter in cells of a few spacings; {number(100 * share)} % of it is in other cells"
    text += " than it should be."
    if made.max() > 1.1 * scale[1]:
        text += f" Colours end where the truth does; {model} has up to {number(float(made.max()))} in a cell."
    if followed.stage.dimensions == 3:
        text += f" It is the mean along {'xyz'[near]}."
    return Figures(items, text)


def _low(grid: Grid, true: np.ndarray, made: np.ndarray) -> tuple[Grid, np.ndarray, np.ndarray]:
    """Without what lies above the matter, where that is much of the box, but no lower than is seen well."""
    held = np.flatnonzero((true + made).max(axis=1) > 1e-9)
    (left, right), (low, high) = grid.extents
    least = 0.45 * (right - left) / (high - low) * len(true)
    rows = min(max(int(held.max(initial=0)) + 3, int(np.ceil(least))), len(true))
    if rows > 0.75 * len(true):
        return grid, true, made
    return Grid((grid.faces[0], grid.faces[1][: rows + 1])), true[:rows], made[:rows]


def film(study: Study, samples: Sequence[Sample]) -> list[object]:
    """A film of each kind of case whose particles are followed."""
    tabs: list[tuple[str, list[object]]] = []
    for sample in samples:
        followed = sample.followed
        if followed is None or len(sample.times) < 3 or not sample.predictions:
            continue
        model = model_of(study, sample)
        made = sample.predictions[model]
        name, unit, (true, guessed) = coloured(study, sample.truth, made)
        count = range(len(sample.times))
        off = [followed.off(made, sample.truth, k) for k in count]
        finite = np.concatenate(off)
        finite = finite[np.isfinite(finite)]
        scales = [images.limits(true, signed=False)] * 2
        scales.append((0.0, float(np.percentile(finite, 99)) if finite.size and finite.any() else 1.0, ERRORS))
        places = [[followed.at(v, k) for k in count] for v in (sample.truth, made)]
        stage = followed.stage.near(places[0] + places[1])
        rows = [
            [
                pixels(stage, Shown(where, v, scale, float(t)))
                for where, v, t in zip(at, values, sample.times, strict=True)
            ]
            for at, values, scale in zip((*places, places[1]), (true, guessed, off), scales, strict=True)
        ]
        strips = [films.strip(np.stack(row), scale) for row, scale in zip(rows, scales, strict=True)]
        height, width = rows[0][0].shape
        times = [f"step {i}, t = {measured(float(t), study.time_unit)}" for i, t in enumerate(sample.times)]
        labels = [labelled(name, unit)] * 2 + ["off by (spacings)"]
        made_film = Film(
            strips, ["Truth", model, "Error"], width, height, times,
            [images.colour_bar(s, text) for s, text in zip(scales, labels, strict=True)],
            f"Shown are particles by {name}. {describe(study, sample)}",
        )  # fmt: skip
        tabs.append((sample.subset or sample.label, [made_film]))
    tabs = tabs[:MOST]
    return [Tabs(tabs)] if len(tabs) > 1 else tabs[0][1] if tabs else []


# -- over time --------------------------------------------------------------------------------------------------------


def histories(study: Study) -> list[object]:
    """What `ParticleHistory` and `ParticleErrors` came to; nothing where there are none."""
    found = {r["kind"]: r for r in study.statistics.values() if isinstance(r, Mapping) and "kind" in r}
    history, errors = (found.get(k) for k in ("ParticleHistory", "ParticleErrors"))
    if not history and not errors:
        return []
    blocks: list[object] = [Note(
        "Particles that meet often are chaotic: they change places, and cannot be followed one by one for long. What a "
        "prediction owes then is where the matter is as a whole."
    )]  # fmt: skip
    if errors:
        blocks.append(_table(study, errors, history))
    entries = (history or errors or {})["entries"]
    first: dict[str, int] = {}
    for e in entries:
        first.setdefault(json.dumps(e["parameters"]) + str(e.get("label", "")), e["rollout"])
    tabs = [(_label(entries, rollout), _courses(study, history, errors, rollout))
            for rollout in list(first.values())[:MOST]]  # fmt: skip
    return [*blocks, *([Tabs(tabs)] if len(tabs) > 1 else tabs[0][1])]


def _label(entries: Sequence[Entry], rollout: int) -> str:
    entry = next(e for e in entries if e["rollout"] == rollout)
    return str(entry.get("label") or f"rollout {rollout + 1}")


def _courses(study: Study, history: Entry | None, errors: Entry | None, rollout: int) -> list[object]:
    looks = {TRUTH: Look(INK, "-", "o", 3.0)} | styles(study)
    length, speed = study.length_unit, unit_text(study.fields.get(next(iter(study.velocity), ""), "1"))
    energy = squared(speed) if speed else ""
    share = 99.0 if history is None else 100 * history["entries"][0]["share"]
    axes = "xyz"[: len(study.velocity) or 3]
    shown = {f"centre_{a}": (f"Centre of mass, {a}", labelled(a, length)) for a in axes}
    shown |= {"kinetic_energy": ("Kinetic energy", labelled("½⟨v²⟩", energy)),
              "potential_energy": ("Potential energy", labelled("−g·x̄", energy))}  # fmt: skip
    shown |= {f"reach_{a}": (f"Reach, {a}", labelled(f"{share:.3g} % below", length)) for a in axes}
    off = {"position_error": ("Particles one by one", "off by (spacings)"),
           "carried": ("Matter as a whole", "to be carried (spacings)"),
           "misplaced": ("In other cells", "share of the mass")}  # fmt: skip
    items = []
    for result, names, truth in ((errors, off, False), (history, shown, True)):
        if not result:
            continue
        runs = [e for e in result["entries"] if e["rollout"] == rollout and e["run"] == 0]
        for name, (title, label) in names.items():
            lines = [
                Line(e["row"], np.array(e["time"], float), np.array(e[name], float))
                for e in runs
                if name in e and (truth or e["row"] != TRUTH) and any(v is not None for v in e[name])
            ]
            if lines:
                sizes = not truth or name == "kinetic_energy"
                time = labelled("time", study.time_unit)
                items.append(turbulence.course(lines, looks, title, time, label, sizes=sizes))
    return [Figures(items, "One rollout, from the first start; a cross marks where a row is not finite any more.")]


def _table(study: Study, errors: Entry, history: Entry | None) -> Table:
    rows = []
    for row in dict.fromkeys(e["row"] for e in errors["entries"]):
        if row == TRUTH:
            continue
        mine = [e for e in errors["entries"] if e["row"] == row]
        kind = next((k for m, k in study.models if m == row), "reference")
        lost = sum(e["position_error"][-1] is None for e in mine)
        cells = [Cell(str(row)), Cell(str(len(mine))), Cell(str(lost) if lost else "–")]
        cells += [Cell(_last(mine, name)) for name in ("position_error", "carried")]
        share = _last(mine, "misplaced", 100)
        cells += [Cell(share if share == "–" else f"{share} %")]
        if history:
            cells += [Cell(text) for text in _beside(history, row, errors)]
        rows.append((kind, cells))
    head = ["row", "rollouts", "not finite", "particles off by", "matter to be carried", "in other cells"]
    head += ["centre of mass off by", "kinetic energy over the truth's"] if history else []
    return Table(head, rows, "Means over rollouts at their last step; lengths in spacings between particles.")


def _last(entries: Sequence[Entry], name: str, factor: float = 1.0) -> str:
    values = [e[name][-1] for e in entries if e[name][-1] is not None]
    return number(factor * float(np.mean(values))) if values else "–"


def _beside(history: Entry, row: str, errors: Entry) -> tuple[str, str]:
    """(distance of the centres in spacings, ratio of kinetic energies) at the last step, means over rollouts."""
    true = {e["rollout"]: e for e in history["entries"] if e["row"] == TRUTH}
    spacing = {e["rollout"]: e["spacing"] for e in errors["entries"]}
    off, ratio = [], []
    for e in history["entries"]:
        if e["row"] != row or e["rollout"] not in true:
            continue
        t = true[e["rollout"]]
        names = [n for n in e if n.startswith("centre_")]
        if all(e[n][-1] is not None for n in names):
            away = np.sqrt(sum((e[n][-1] - t[n][-1]) ** 2 for n in names))
            off.append(float(away) / spacing.get(e["rollout"], 1.0))
        if e["kinetic_energy"][-1] is not None and t["kinetic_energy"][-1]:
            ratio.append(e["kinetic_energy"][-1] / t["kinetic_energy"][-1])
    return tuple(number(float(np.mean(v))) if v else "–" for v in (off, ratio))  # type: ignore[return-value]
