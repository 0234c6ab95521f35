"""Centre-line profiles, energy spectra, and the audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sciml import metrics
from sciml._repr_html import pretty_unit
from sciml.problem import Profile
from sciml.reporting import curves
from sciml.reporting._style import INK, Look, number
from sciml.reporting.blocks import Cell, Figures, Note, Table, Tabs
from sciml.reporting.names import labelled, unit_text
from sciml.reporting.sections._samples import at_the_end, describe
from sciml.reporting.sections.accuracy import styles
from sciml.reporting.study import Sample, Study
from sciml.support import Grid, Mesh, Points, Support

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
    flows = [s for s in study.samples if s.predictions and _has_centre_lines(study, s)]
    if flows:
        tabs = [
            (
                s.subset or s.label,
                [Note(describe(study, s)), Figures(_lines(study, s)), *_phases(study, s), *_forces(study, s)],
            )
            for s in flows
        ]
        where = "along lines that tell much of the flow" if any(s.profiles for s in flows) else "on the centre lines"
        lead = Note(f"Velocities {where}{at_the_end(study)}, truth beside every surrogate.")
        blocks += [lead, Tabs(tabs)] if len(tabs) > 1 else [lead, *tabs[0][1]]
    elif not blocks:
        return []
    if not study.benchmarks:
        blocks.append(Note("There is no published table to draw for this problem.", quiet=True))
    return blocks


def _has_centre_lines(study: Study, sample: Sample) -> bool:
    """Whether there is a plane velocity with something between its points."""
    known = set(study.velocity) <= set(sample.truth) and len(study.velocity) == 2
    return known and sample.support.dimensions == 2 and not isinstance(sample.support, Points)


def _centre_lines(study: Study, sample: Sample) -> list[Profile]:
    u, v = study.velocity
    middle = tuple((a + b) / 2 for a, b in sample.support.extents)
    return [
        Profile(f"{u} on the vertical centre line", u, 1, middle),
        Profile(f"{v} on the horizontal centre line", v, 0, middle),
    ]


def _lines(study: Study, sample: Sample) -> list[str]:
    look = {"truth": _TRUTH} | styles(study)
    sets = {"truth": sample.truth} | {m: p for m, p in sample.predictions.items() if set(study.velocity) <= set(p)}
    items = []
    for line in sample.profiles or _centre_lines(study, sample):
        name, along, upright = line.field, line.axis, line.axis == 1
        where, points = _line(sample.support, along, line.through)
        curves_ = [curves.Line(n, where, _on_line(f[name][-1], sample.support, points)) for n, f in sets.items()]
        value = labelled(name, unit_text(study.fields.get(name, "1")))
        place = labelled("xy"[along], study.length_unit)
        words = (value, place) if upright else (place, value)
        items.append(curves.profile(curves_, look, line.title, *words, upright=upright))
    return items


def _phases(study: Study, sample: Sample) -> list[object]:
    """Of two fluids: how much there is of the first one over time, and where they meet at the end."""
    name, grid = study.phase, sample.support
    if not name or name not in sample.truth or not isinstance(grid, Grid) or grid.dimensions != 2:
        return []
    look = {"truth": _TRUTH} | styles(study)
    sets = {"truth": sample.truth[name]} | {m: p[name] for m, p in sample.predictions.items() if name in p}
    unit = study.length_unit
    inside = np.ones(grid.shape) if grid.inside is None else grid.inside
    areas = grid.volumes() * inside
    volumes = [
        curves.Line(who, sample.times[: len(f)], (f * areas).sum((1, 2))) for who, f in sets.items()
    ]  # fmt: skip
    meets = [curves.Line(who, *_contour(f[-1], grid)) for who, f in sets.items()]
    items = [
        curves.profile(
            volumes,
            look,
            f"Area where {name} = 1",
            labelled("time", study.time_unit),
            labelled("area", unit and f"{unit}²"),
        ),
        curves.profile(meets, look, f"Where {name} = 1/2{at_the_end(study)}", labelled("x", unit), labelled("y", unit)),
    ]
    return [Figures(items, f"Left: {name} summed over the domain. Right: where the fluids meet.")]


def _contour(values: np.ndarray, grid: Grid, level: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the lines where values are at a level, NaN between two lines."""
    from contourpy import contour_generator

    known = np.ma.masked_array(values, mask=np.zeros(grid.shape, bool) if grid.inside is None else ~grid.inside)
    lines = contour_generator(grid.centres[0], grid.centres[1], known).lines(level)
    pieces = [np.vstack([np.asarray(line), [[np.nan, np.nan]]]) for line in lines]
    found = np.concatenate(pieces) if pieces else np.full((1, 2), np.nan)
    return found[:, 0], found[:, 1]


def _forces(study: Study, sample: Sample) -> list[object]:
    """What the truth tells over time beside its fields."""
    items = []
    for text, unit, values in sample.quantities.values():
        name = text.partition(":")[0]
        words = labelled("time", study.time_unit), labelled(name, unit_text(unit))
        line = curves.Line("truth", sample.times, values)
        items.append(curves.profile([line], {"truth": _TRUTH}, f"{name.capitalize()} of the truth", *words))
    return [Figures(items)] if items else []


def _line(support: Support, along: int, through: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Positions along x or y through a point of a plane support, and the points there: a grid's own cells."""
    low, high = support.extents[along]
    where = support.centres[along] if isinstance(support, Grid) else np.linspace(low, high, 101)
    points = np.tile(np.array(through, dtype=float), (len(where), 1))
    points[:, along] = where
    return where, points


def _on_line(values: np.ndarray, support: Support, points: np.ndarray) -> np.ndarray:
    """Values at points of a line; NaN, a gap, where a mask or the edge of a mesh leaves nothing."""
    flat = np.asarray(values, float).reshape(-1)
    if isinstance(support, Grid) and support.inside is not None:  # its own stencil would reach for cells inside
        stencil = Grid(support.faces, support.periodic, None, support.at).stencil(points)
        solid = ~support.inside.reshape(-1)
        touched = (solid[stencil.index] & (np.abs(stencil.weight) > 1e-9)).any(axis=1)
        return np.where(touched, np.nan, stencil(np.where(solid, 0.0, flat)))
    stencil = support.stencil(points)
    found = stencil(flat)
    if isinstance(support, Mesh):  # beyond a mesh its stencil is one node alone
        found = np.where((stencil.index == stencil.index[:, :1]).all(axis=1), np.nan, found)
    return found


def spectra(study: Study) -> list[object]:
    usable = [s for s in study.samples if s.predictions and isinstance(s.support, Grid)
              and s.support.uniform_cells and s.support.inside is None]  # fmt: skip
    items = []
    look = {"truth": _TRUTH} | styles(study)
    name_of = "energy"
    around: set[bool] = set()
    for sample in usable:
        grid = sample.support
        assert isinstance(grid, Grid)
        names = [n for n in study.velocity if n in sample.truth] or [n for n in study.fields if n in sample.truth][:1]
        if not names or any(n not in p for p in sample.predictions.values() for n in names):
            continue
        extents = [b - a for a, b in reversed(grid.extents)]
        periodic = list(reversed(grid.periodic))
        cutoff = min(np.pi * n / length for n, length in zip(grid.shape, extents, strict=True))
        lines = []
        for label, values in {"truth": sample.truth, **sample.predictions}.items():
            stack = np.stack([np.asarray(values[n][-1], float) for n in names])
            if not np.isfinite(stack).all():
                continue
            wavenumber, energy = metrics.energy_spectrum(stack, extents, periodic=periodic)
            # Beyond the largest wavenumber of the coarsest axis, shells are cut by the corners of the grid.
            keep = slice(1, int(np.searchsorted(np.asarray(wavenumber), cutoff, side="right")))
            lines.append(curves.Line(label, np.asarray(wavenumber)[keep], np.asarray(energy)[keep]))
        around |= set(periodic)
        name_of = "kinetic energy" if len(names) > 1 else f"energy of {names[0]}"
        unit = unit_text(study.fields.get(names[0], "1"))
        title = (sample.subset or sample.label) + ("" if study.steady else ", last step")
        items.append(curves.spectrum(lines, look, title, f"wavenumber (rad/{study.length_unit})".replace("/)", ")"),
                                     labelled("E", squared(unit) if unit else "")))  # fmt: skip
    if not items:
        return []
    kinds = " and ".join(
        (["cosine transform between walls"] if False in around else [])
        + (["Fourier transform along periodic axes"] if True in around else [])
    )
    caption = (
        f"Spectra of {name_of}{at_the_end(study)} ({kinds}, summed over shells of "
        "wavenumbers). At the right end a surrogate that blurs falls below the truth, one that adds noise rises above."
    )
    return [Figures(items, caption)]


def squared(unit: str) -> str:
    if unit.isalpha():
        return f"{unit}²"
    return {"m s⁻¹": "m² s⁻²"}.get(unit, f"({unit})²")


_LAWS = (
    "What each solution violates, computed from the problem's own equations on control volumes of growing size: "
    "the root mean square defect and, in brackets, the floor of the audit's own discretisation. A defect near its "
    "floor says no more than “as right as this grid can tell”. Hover over a figure for it in parts of the law's "
    "natural magnitude. Laws that need pressure or rates of change are left out where a solution has none. Where "
    "the data themselves jump, as the velocity does in the corners under a moving lid, the floor is an estimate "
    "from too coarse a grid: there the reference solver stands above it, too."
)
_DATA = (
    "No equation is known for these data, so solutions are held against what the training data keep: the range of "
    "their values, integrals that stay constant, and how free of divergence a velocity is. In brackets stands the "
    "floor: what the training data themselves show. Hover over a figure for it in parts of its natural magnitude."
)

_MATTER = (
    "What each solution violates of the laws that matter obeys whatever it is of: the root mean square over time and, "
    "in brackets, the floor, as far as one is known. Each is a share of its own scale, 0 where the law holds."
)


def laws(study: Study) -> bool:
    """Whether solutions are held against laws of matter in particles."""
    return any(x["check"] == "law" for s in study.samples for lines in s.audits.values() for x in lines)


def audits(study: Study) -> list[object]:
    usable = [s for s in study.samples if s.audits]
    if not usable and study.equations and study.on_nodes:
        return [Note("No audit: it takes solutions on grids, and these live on nodes.", quiet=True)]
    if not usable:
        return [Note("No audit: the solutions shown here do not carry what it needs.", quiet=True)]
    lead = Note(_LAWS if study.equations else _MATTER if laws(study) else _DATA)
    tabs = []
    for s in usable:
        remarks: list[object] = [Note(". ".join(n[:1].upper() + n[1:] for n in s.notes) + ".", True)] if s.notes else []
        tabs.append((s.subset or s.label, [Note(describe(study, s)), *_audit_tables(s), *remarks]))
    return [lead, Tabs(tabs)] if len(tabs) > 1 else [lead, *tabs[0][1]]


_CHECKS = (
    ("balance", "Balances: defect (floor)"),
    ("law", "Laws: defect (floor)"),
    ("boundary", "Boundary conditions: defect (floor)"),
    ("invariant", "Invariants: drift (floor)"),
    ("divergence", "Divergence: root mean square (floor)"),
    ("bounds", "Bounds: share of values beyond (floor)"),
)


def _audit_tables(sample: Sample) -> list[Table]:
    """Return one table for each kind of check; a column for every solution."""
    tables = []
    for check, title in _CHECKS:
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
        tables.append(Table(head, rows, f"{title}."))
    return tables


def _defect(line: Mapping[str, Any] | None) -> Cell:
    if line is None:
        return Cell("–")
    floor = line.get("floor")
    text = number(line["rms"]) + (f" ({number(floor)})" if floor is not None else "")
    return Cell(text, note=f"relative {number(line['relative'])}, largest {number(line['largest'])}")
