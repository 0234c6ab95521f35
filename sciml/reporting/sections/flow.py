"""Centre-line profiles, energy spectra, and the audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sciml import metrics
from sciml._repr_html import pretty_unit
from sciml.reporting import curves
from sciml.reporting._style import INK, Look, number
from sciml.reporting.blocks import Cell, Figures, Note, Table, Tabs
from sciml.reporting.sections.accuracy import styles
from sciml.reporting.sections.pictures import at_the_end, describe, labelled
from sciml.reporting.study import Sample, Study

_TRUTH = Look(INK, "-", "o", 3.0)


def profiles(study: Study) -> list[object]:
    blocks: list[object] = []
    if study.benchmarks:
        items = []
        for made in study.benchmarks:
            look = {made.name: _TRUTH}
            items.append(curves.profile([curves.Line(made.name, made.x, made.y)], look, made.title, made.xlabel,
                                        made.ylabel, (*made.points, made.source), made.upright))  # fmt: skip
        items = [i for i, m in sorted(zip(items, study.benchmarks, strict=True), key=lambda pair: not pair[1].upright)]
        worst = "; ".join(f"{m.title}: {m.deviation:.4f}" for m in study.benchmarks)
        blocks.append(Figures(items, f"The reference solver beside the published table. Largest deviations: {worst}."))
    flows = [s for s in study.samples if {"u", "v"} <= set(s.truth) and s.truth["u"].ndim == 3 and s.predictions]
    if flows:
        tabs = [(s.subset or s.label, [Note(describe(study, s)), Figures(_centre_lines(study, s))]) for s in flows]
        lead = Note(f"Velocities on the centre lines{at_the_end(study)}, truth beside every surrogate.")
        blocks += [lead, Tabs(tabs)] if len(tabs) > 1 else [lead, *tabs[0][1]]
    elif not blocks:
        return []
    if not study.benchmarks:
        blocks.append(Note("There is no published table to draw for this problem.", quiet=True))
    return blocks


def _centre_lines(study: Study, sample: Sample) -> list[str]:
    look = {"truth": _TRUTH} | styles(study)
    unit = pretty_unit(study.fields["u"])
    x, y = np.asarray(sample.coords["x"]), np.asarray(sample.coords["y"])
    sets = {"truth": sample.truth} | {m: p for m, p in sample.predictions.items() if {"u", "v"} <= set(p)}
    vertical = [curves.Line(n, y, _middle(v["u"][-1], 1)) for n, v in sets.items()]
    horizontal = [curves.Line(n, x, _middle(v["v"][-1], 0)) for n, v in sets.items()]
    return [
        curves.profile(vertical, look, "u on the vertical centre line", f"u ({unit})", f"y ({study.length_unit})",
                       upright=True),
        curves.profile(horizontal, look, "v on the horizontal centre line", f"x ({study.length_unit})", f"v ({unit})"),
    ]  # fmt: skip


def _middle(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the values midway along `axis`: the mean of the two middle cells where their number is even."""
    n = values.shape[axis]
    return np.take(values, [(n - 1) // 2, n // 2], axis=axis).mean(axis=axis)


def spectra(study: Study) -> list[object]:
    usable = [s for s in study.samples if s.predictions and s.mask is None]
    items = []
    look = {"truth": _TRUTH} | styles(study)
    name_of = "energy"
    for sample in usable:
        names = [n for n in ("u", "v", "w") if n in sample.truth] or [n for n in study.fields if n in sample.truth][:1]
        axes = list(sample.coords)
        if not names or any(n not in p for p in sample.predictions.values() for n in names):
            continue
        if sample.truth[names[0]].ndim != 1 + len(axes):
            continue
        extents = [sample.extents[a][1] - sample.extents[a][0] for a in axes]
        cutoff = min(np.pi * len(sample.coords[a]) / length for a, length in zip(axes, extents, strict=True))
        lines = []
        for label, values in {"truth": sample.truth, **sample.predictions}.items():
            stack = np.stack([np.asarray(values[n][-1], float) for n in names])
            wavenumber, energy = metrics.energy_spectrum(stack, extents, periodic=[a in sample.periodic for a in axes])
            # Beyond the largest wavenumber of the coarsest axis, shells are cut by the corners of the grid.
            keep = slice(1, int(np.searchsorted(np.asarray(wavenumber), cutoff, side="right")))
            lines.append(curves.Line(label, np.asarray(wavenumber)[keep], np.asarray(energy)[keep]))
        unit = pretty_unit(study.fields.get(names[0], "1"))
        name_of = "kinetic energy" if names[0] == "u" and len(names) > 1 else f"energy of {names[0]}"
        shown = labelled("E", "" if unit == "–" else _squared(unit))
        title = (sample.subset or sample.label) + ("" if study.steady else ", last step")
        items.append(curves.spectrum(lines, look, title,
                                     f"wavenumber (rad/{study.length_unit})", shown))  # fmt: skip
    if not items:
        return []
    around = {a in s.periodic for s in usable for a in s.coords}
    kinds = " and ".join(
        (["cosine transform between walls"] if False in around else [])
        + (["Fourier transform along periodic axes"] if True in around else [])
    )
    caption = (
        f"Spectra of {name_of}{at_the_end(study)} ({kinds}, summed over shells of "
        "wavenumbers). At the right end a surrogate that blurs falls below the truth, one that adds noise rises above."
    )
    return [Figures(items, caption)]


def _squared(unit: str) -> str:
    if unit.isalpha():
        return f"{unit}²"
    return {"m s⁻¹": "m² s⁻²"}.get(unit, f"({unit})²")


def audits(study: Study) -> list[object]:
    usable = [s for s in study.samples if s.audits]
    if not usable:
        return [Note("No audit: the solutions shown here do not carry what it needs.", quiet=True)]
    lead = Note(
        "What each solution violates, computed from the problem's own equations on control volumes of growing size: "
        "the root mean square defect and, in brackets, the floor of the audit's own discretisation. A defect near its "
        "floor says no more than “as right as this grid can tell”. Hover over a figure for it in parts of the law's "
        "natural magnitude. Laws that need pressure or rates of change are left out where a solution has none. Where "
        "the data themselves jump, as the velocity does in the corners under a moving lid, the floor is an estimate "
        "from too coarse a grid: there the reference solver stands above it, too."
    )
    tabs = [(s.subset or s.label, [Note(describe(study, s)), *_audit_tables(s)]) for s in usable]
    return [lead, Tabs(tabs)] if len(tabs) > 1 else [lead, *tabs[0][1]]


def _audit_tables(sample: Sample) -> list[Table]:
    """Return one table for balances and invariants, one for boundaries; a column for every solution."""
    tables = []
    for check, title in (("balance", "Balances"), ("boundary", "Boundary conditions"), ("invariant", "Invariants")):
        found = {who: {(x["name"], x.get("size")): x for x in lines if x["check"] == check}
                 for who, lines in sample.audits.items()}  # fmt: skip
        keys = list(dict.fromkeys(key for lines in found.values() for key in lines))
        if not keys:
            continue
        sized = any(size is not None for _, size in keys)
        head = ["law", *(["volume"] if sized else []), "unit", *found]
        rows = []
        for name, size in keys:
            unit = next(lines[name, size]["unit"] for lines in found.values() if (name, size) in lines)
            volume = "–" if size is None else "domain" if size == 0 else f"{size} cell{'s' if size > 1 else ''}"
            cells = [Cell(str(name)), *([Cell(volume)] if sized else []), Cell(pretty_unit(unit))]
            rows.append(("plain", [*cells, *(_defect(lines.get((name, size))) for lines in found.values())]))
        tables.append(Table(head, rows, f"{title}: defect (floor)."))
    return tables


def _defect(line: Mapping[str, Any] | None) -> Cell:
    if line is None:
        return Cell("–")
    floor = line.get("floor")
    text = number(line["rms"]) + (f" ({number(floor)})" if floor is not None else "")
    return Cell(text, note=f"relative {number(line['relative'])}, largest {number(line['largest'])}")
