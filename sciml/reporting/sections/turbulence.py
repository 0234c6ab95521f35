"""Statistics of turbulence: profiles across walls, spectra, correlations, energy over time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.evaluation import profile_error
from sciml.problems import _mkm
from sciml.reporting import curves, turbulence
from sciml.reporting._style import INK, Look, number
from sciml.reporting.blocks import Cell, Figures, Note, Table, Tabs
from sciml.reporting.curves import Line
from sciml.reporting.names import labelled, unit_text
from sciml.reporting.sections.accuracy import styles
from sciml.reporting.sections.flow import squared
from sciml.reporting.study import Study

TRUTH = "truth"
MOST = 4  # sets of parameters, and rollouts, that are drawn
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class _Rows:
    """The entries of one set of parameters: row -> those of its runs, the truth first."""

    study: Study
    label: str
    entries: Mapping[str, Sequence[Entry]]

    @property
    def looks(self) -> dict[str, Look]:
        return {TRUTH: Look(INK, "-", "o", 3.0)} | styles(self.study)

    @property
    def first(self) -> Entry:
        return next(iter(self.entries.values()))[0]

    def mean(self, row: str, *path: str | int) -> np.ndarray:
        """What lies at a path, the mean over runs; NaN where there is none."""
        return np.mean([_at(e, path) for e in self.entries[row]], axis=0)

    def kind(self, row: str) -> str:
        return next((k for m, k in self.study.models if m == row), "reference")


def _at(entry: Any, path: Sequence[str | int]) -> np.ndarray:
    for key in path:
        if isinstance(entry, Mapping) and key not in entry:
            return np.array(np.nan)
        entry = entry[key]
    return np.array(entry, dtype=np.float64)


def statistics(study: Study) -> list[object]:
    """Return what the statistics of an evaluation came to; nothing where none were gathered."""
    blocks: list[object] = []
    for result in study.statistics.values():
        kind = result.get("kind") if isinstance(result, Mapping) else None
        if kind not in _DRAWN or not any(e.get("frames", 1) for e in result["entries"]):
            continue
        if blocks == []:
            blocks.append(Note(
                "A chaotic flow cannot be followed point by point for long; what a surrogate owes then are its "
                "averages. These are over all rollouts and steps, of rows and of the truth at the same times; bands "
                "are ± 2 standard errors of the average, from blocks of frames."
            ))  # fmt: skip
        blocks += _DRAWN[kind](study, result)
    return blocks


def _sets(study: Study, entries: Sequence[Entry], more: Sequence[str] = ()) -> list[_Rows]:
    """Entries by their parameters (and further keys)."""
    found: dict[str, dict[str, list[Entry]]] = {}
    for entry in entries:
        if not entry.get("frames", 1):
            continue
        told = entry["parameters"] | {k: entry[k] for k in more if k in entry}
        rows = found.setdefault(json.dumps(told), {})
        rows.setdefault(str(entry["row"]), []).append(entry)
    sets = []
    for key, rows in list(found.items())[:MOST]:
        sets.append(_Rows(study, _kind(json.loads(key)), rows))
    return sets


def _kind(numbers: Mapping[str, float]) -> str:
    """A kind of flow in words."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in numbers.items())


def _tabbed(sets: Sequence[_Rows], draw: Callable[[_Rows], list[object]]) -> list[object]:
    if len(sets) == 1:
        return draw(sets[0])
    return [Tabs([(s.label or "all", draw(s)) for s in sets])] if sets else []


# -- profiles -----------------------------------------------------------------------------------------------------


def _profiles(study: Study, result: Entry) -> list[object]:
    return _tabbed(_sets(study, result["entries"]), _profile)


def _profile(rows: _Rows) -> list[object]:
    first, study = rows.first, rows.study
    friction = first.get("friction_velocity")
    speed, height = (friction["value"] if friction else 1.0), float(first["height"])
    unit = unit_text(study.fields.get(first["streamwise"], "1"))
    plus = "⁺" if friction else ""
    place = _at(first, ("wall_distance",) if first["folded"] else ("place",)) / height
    lower = np.asarray(_at(first, ("place",)) <= _at(first, ("place",))[0] + height, bool)
    reference = friction is not None and abs(friction["reynolds"] / _mkm.REYNOLDS - 1) < 0.05
    inner = _mkm.y() / _mkm.REYNOLDS - (0.0 if first["folded"] else 1.0)
    value = labelled("U" + plus, "" if friction else unit)
    s, n = first["streamwise"], first["normal"]
    shear = "".join(sorted((s, n)))

    def lines(kind: str, name: str, power: int = 1, sign: float = 1.0, where: np.ndarray | None = None) -> list[Line]:
        x = place if where is None else where
        keep = slice(None) if where is None else lower
        found = []
        for row in rows.entries:
            y = sign * rows.mean(row, kind, name, "value") / speed**power
            e = 2 * rows.mean(row, kind, name, "standard_error") / speed**power
            band = (row == TRUTH or rows.kind(row) == "surrogate") and np.isfinite(e).all()
            found.append(Line(row, x, y[keep], (y - e)[keep] if band else None, (y + e)[keep] if band else None))
        return found

    def known(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, str] | None:
        return (inner, values, _mkm.SOURCE) if reference else None

    axis = f"{first['axis']}/h" + (" from the wall" if first["folded"] else "")
    items = [turbulence.across(lines("mean", s), rows.looks, "Mean velocity", axis, value, known(_mkm.mean()))]
    if friction:
        plussed = _at(first, ("wall_distance_plus",))[lower]
        points = (_mkm.y()[1:], _mkm.mean()[1:], _mkm.SOURCE) if reference else None
        items.append(turbulence.law_of_the_wall(
            lines("mean", s, where=plussed), rows.looks, "Law of the wall", points))  # fmt: skip
    for name in first["rms"]:
        label = labelled(f"rms of {name}" + plus, "" if friction else unit)
        component = {s: "uu", n: "vv"}.get(name, "ww")
        table = known(np.sqrt(_mkm.stress(component)))
        items.append(turbulence.across(lines("rms", name), rows.looks, f"Fluctuations of {name}", axis, label, table))
    straight = None
    if friction:
        straight = (place, _at(first, ("stress", "linear")) / speed**2)
    items.append(turbulence.across(
        lines("covariance", shear, 2, -1.0), rows.looks, "Reynolds shear stress", axis,
        labelled(f"−⟨{s}'{n}'⟩" + plus, "" if friction or not unit else squared(unit)),
        known(-_mkm.stress("uv")), straight,
    ))  # fmt: skip
    text = "Averages over planes along the walls, time and rollouts"
    text += ", both halves of the channel together." if first["folded"] else "."
    if friction:
        text += (
            f" All rows are over the friction velocity of the {next(iter(rows.entries))}, {speed:.4g} "
            f"{unit} ({friction['source']}), Re_τ = {friction['reynolds']:.4g}; dashed: u⁺ = y⁺, and the total stress "
            "that a developed flow has; dotted: u⁺ = ln(y⁺)/0.41 + 5.2."
        ).replace("  ", " ")
    return [_profile_table(rows, s, shear), Figures(items, text)]


def _profile_table(rows: _Rows, s: str, shear: str) -> Table:
    first = rows.first
    names = list(first["rms"])
    friction = first.get("friction_velocity")
    head = ["row", "frames", "left out", "mean velocity", *(f"rms of {n}" for n in names), "shear stress"]
    head += ["u_τ from the slope", "defect of the total stress"] if friction else []
    table = []
    for row, runs in rows.entries.items():
        frames, out = (sum(e[k] for e in runs) for k in ("frames", "left_out"))
        paths = [("mean", s), *(("rms", n) for n in names), ("covariance", shear)]
        errors = [_error(rows, row, path) for path in paths]
        cells = [Cell(row), Cell(str(frames)), Cell(str(out) if out else "–")]
        cells += [Cell("–" if row == TRUTH else number(v)) for v in errors]
        if friction:
            slope = rows.mean(row, "friction_velocity", "from_slope")
            error = rows.mean(row, "friction_velocity", "standard_error_from_slope")
            cells += [
                Cell(f"{slope:.4g} ± {error:.1g}"),
                Cell(number(float(rows.mean(row, "stress", "relative_defect")))),
            ]
        table.append((rows.kind(row), cells))
    told = "Relative error (L2 over the cells) of each profile against the truth's"
    longest = rows.first["mean"][s]["integral_time"]
    if longest is not None:
        unit = rows.study.time_unit
        told += f"; the truth's mean velocity has an integral time of up to {longest:.2g} {unit}".rstrip()
        told += "." if first["mean"][s]["resolved"] else ", and too few frames to say its sampling error well."
    return Table(head, table, told.rstrip(".") + ".")


def _error(rows: _Rows, row: str, path: tuple[str, str]) -> float:
    first = rows.first
    if row == TRUTH or TRUTH not in rows.entries:
        return float("nan")
    place, width = _at(first, ("place",)), _at(first, ("width",))
    mine, true = (rows.mean(r, *path, "value") for r in (row, TRUTH))
    if mine.shape != place.shape or not np.isfinite(mine).all():
        return float("nan")
    return profile_error(place, mine, place, true, widths=width)["relative_l2"]


# -- spectra and correlations -----------------------------------------------------------------------------------------


def _spectra(study: Study, result: Entry) -> list[object]:
    def draw(rows: _Rows, k: int) -> list[object]:
        items = []
        unit = unit_text(next(iter(study.fields.values()), "1"))
        for axis, part in rows.first["spectra"].items():
            wave = _at(part, ("wavenumber",))
            keep = slice(1, None if len(wave) < 3 else -1)  # the last one holds half of what it should
            for name in part.get("energy", {}):
                lines = [
                    Line(row, wave[keep], _seen(rows.mean(row, "spectra", axis, "energy", name, k)[keep]))
                    for row in rows.entries
                ]
                items.append(curves.spectrum(lines, rows.looks, f"{name} along {axis}",
                             f"wavenumber (rad/{study.length_unit})".replace("/)", ")"),
                             labelled("E", squared(unit) if unit else "")))  # fmt: skip
        text = "One-sided spectra; their sums over all wave numbers, zero with them, are the variances of the profiles."
        return [Figures(items, text)]

    return _at_heights(study, result, draw, "Spectra along the walls")


def _seen(energy: np.ndarray) -> np.ndarray:
    """Without what is rounding: waves that a solver does not keep."""
    return np.where(energy > 1e-10 * np.nanmax(energy, initial=0.0), energy, 0.0)


def _correlations(study: Study, result: Entry) -> list[object]:
    def draw(rows: _Rows, k: int) -> list[object]:
        items = []
        for axis, part in rows.first["correlations"].items():
            lag = _at(part, ("lag",))
            for name in part.get("correlation", {}):
                lines = [
                    Line(row, lag, rows.mean(row, "correlations", axis, "correlation", name, k)) for row in rows.entries
                ]
                items.append(turbulence.across(lines, rows.looks, f"{name} along {axis}",
                             labelled("distance", study.length_unit), "correlation"))  # fmt: skip
        text = "Two-point correlations up to half of the domain; where they do not fall to about nothing, it is short."
        return [Figures(items, text)]

    return _at_heights(study, result, draw, "Correlations along the walls")


def _at_heights(study: Study, result: Entry, draw: Callable[[_Rows, int], list[object]], title: str) -> list[object]:
    """One tab for each height, of the first set of parameters."""
    sets = _sets(study, result["entries"])
    if not sets:
        return []
    rows = sets[0]
    plus = rows.first.get("wall_distance_plus")
    heights = rows.first["wall_distance_over_height"] if plus is None else plus
    names = [f"{'y/h' if plus is None else 'y⁺'} = {v:.3g}" for v in heights]
    which = f" ({rows.label})" if rows.label else ""
    return [Note(f"{title}, at distances from the wall{which}:"),
            Tabs([(name, draw(rows, k)) for k, name in enumerate(names)])]  # fmt: skip


def _shells(study: Study, result: Entry) -> list[object]:
    unit = unit_text(study.fields.get(next(iter(study.velocity), ""), "1"))
    items = []
    for rows in _sets(study, result["entries"], ("step",)):
        wave = _at(rows.first, ("wavenumber",))
        lines = [Line(row, wave[1:], _seen(rows.mean(row, "energy")[1:])) for row in rows.entries]
        items.append(curves.spectrum(lines, rows.looks, rows.label or "Energy by wave number",
                     f"wavenumber (rad/{study.length_unit})".replace("/)", ")"),
                     labelled("E", squared(unit) if unit else "")))  # fmt: skip
    return [Figures(items, "Kinetic energy summed over shells of wave numbers, averaged over rollouts and time.")]


# -- energy -------------------------------------------------------------------------------------------------------


def _energy(study: Study, result: Entry) -> list[object]:
    entries = result["entries"]
    looks = {TRUTH: Look(INK, "-", "o", 3.0)} | styles(study)
    unit = unit_text(study.fields.get(next(iter(study.velocity), ""), "1"))
    energy = squared(unit) if unit else ""
    shown = {"kinetic_energy": labelled("kinetic energy", energy),
             "fluctuation_energy": labelled("energy of fluctuations", energy),
             "enstrophy": "enstrophy", "dissipation": "dissipation"}  # fmt: skip
    kinds: dict[str, int] = {}
    for e in entries:  # the first rollout of each kind of flow
        kinds.setdefault(json.dumps(e["parameters"]), e["rollout"])
    tabs: list[tuple[str, Sequence[object]]] = []
    for key, rollout in list(kinds.items())[:MOST]:
        runs = [e for e in entries if e["rollout"] == rollout and e["run"] == 0]
        items = []
        for name, label in shown.items():
            if name not in runs[0] or (name == "fluctuation_energy" and _alike(runs[0], name)):
                continue
            lines = [Line(e["row"], np.array(e["time"], float), _at(e, (name,))) for e in runs]
            most = runs[0]["largest_energy"]
            bound = result["bound"] * most if name == "kinetic_energy" and most else None
            title = label.split(" (")[0].capitalize()
            items.append(turbulence.course(lines, looks, title, labelled("time", study.time_unit), label, bound))
        text = "Means over the volume along the first rollout; a cross marks where one ends."
        tabs.append((_kind(json.loads(key)) or "all", [Figures(items, text)]))
    rows = []
    for row in dict.fromkeys(e["row"] for e in entries):
        mine = [e for e in entries if e["row"] == row]
        gone = [e["diverged"] for e in mine if e["diverged"]]
        first = min(gone, key=lambda g: g["step"], default=None)
        kind = next((k for m, k in study.models if m == row), "reference")
        rows.append((kind, [Cell(row), Cell(str(len(mine))), Cell(str(len(gone)) if gone else "–"),
                            Cell("–" if first is None else f"{first['step']}, {first['why']}"),
                            Cell(_last(entries, mine))]))  # fmt: skip
    bound = f"{result['bound']:g}"
    table = Table(
        ["row", "rollouts", "diverged", "first at step", "energy at the end over the truth's"], rows,
        f"A rollout has diverged where it is not finite, where its energy is beyond {bound} times the largest of the "
        "truth of its case, or where that of its fluctuations about the mean along periodic axes is beyond "
        f"{bound} times the largest, or below 1/{bound} of the least.",
    )  # fmt: skip
    return [table, Tabs(tabs)] if len(tabs) > 1 else [table, *tabs[0][1]]


def _alike(entry: Entry, name: str) -> bool:
    """Whether all energy is that of the fluctuations, so that one curve says both."""
    return np.allclose(_at(entry, (name,)), _at(entry, ("kinetic_energy",)), rtol=1e-3, equal_nan=True)


def _last(entries: Sequence[Entry], mine: Sequence[Entry]) -> str:
    """Energy of the last step over that of the truth, the mean over rollouts that have both."""
    true = {e["rollout"]: e for e in entries if e["row"] == TRUTH}
    found = []
    for e in mine:
        if e["rollout"] in true and e["kinetic_energy"][-1] is not None and true[e["rollout"]]["kinetic_energy"][-1]:
            found.append(e["kinetic_energy"][-1] / true[e["rollout"]]["kinetic_energy"][-1])
    return number(float(np.mean(found))) if found else "–"


_DRAWN: dict[str, Callable[[Study, Entry], list[object]]] = {
    "EnergyHistory": _energy, "Profiles": _profiles, "Spectra": _spectra, "Correlations": _correlations,
    "ShellSpectra": _shells,
}  # fmt: skip
