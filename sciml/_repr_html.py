"""What a notebook shows for a problem, a case and a solver: small tables, numpy only.

Each function returns HTML with inline styles alone, so that it looks the same in every notebook viewer; every text
that comes from the object is escaped.
"""

from __future__ import annotations

import html
import inspect
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sciml.boundary import Series

if TYPE_CHECKING:
    from sciml._audit import Audit
    from sciml.problem import Case, Problem
    from sciml.solver import Solver

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_CELL = "text-align:left;padding:2px 12px 2px 0;border:0"


def pretty_unit(unit: str) -> str:
    """Return a unit as people write it: "m s-1" -> "m s⁻¹", "1" -> "–" (dimensionless)."""
    unit = str(unit or "").strip()
    if unit in ("", "1"):
        return "–"
    return re.sub(r"(?<=[A-Za-zµ])\^?(-?\d+)", lambda found: found.group(1).translate(_SUPERSCRIPT), unit)


def problem_html(problem: Problem) -> str:
    """Return a problem's equation, fields, parameters and inputs."""
    equation = (inspect.getdoc(type(problem)) or "").strip().split("\n\n")[0]
    parts = [_heading(problem.title, f"{problem.name}, {problem.dimensions}-D, {_steadiness(problem)}")]
    if equation:
        parts.append(f'<div style="font-family:monospace;margin:4px 0">{html.escape(equation)}</div>')
    parts.append(_table("fields", ("name", "unit", "role", "what it is"), [
        (f.name, pretty_unit(f.unit), f.role, f.description) for f in problem.fields
    ]))  # fmt: skip
    parts.append(_table("parameters", ("name", "default", "unit", "range", "what it is"), [
        (p.name, _number(p.default), pretty_unit(p.unit), _range(p), p.description) for p in problem.parameters
    ]))  # fmt: skip
    parts.append(_table("inputs", ("name", "unit", "kind", "over", "what it is"), [
        (i.name, pretty_unit(i.unit), i.kind, ", ".join(i.dims), i.description) for i in problem.inputs
    ]))  # fmt: skip
    return _box(parts)


def case_html(case: Case) -> str:
    """Return a case's parameter values, derived numbers and inputs, with a small drawing of each input."""
    problem = case.problem
    units = {p.name: p.unit for p in problem.parameters}
    said = {p.shown for p in problem.parameters}
    parts = [_heading(f"{problem.title}: {case.label}" if case.label else problem.title, case.subset)]
    rows = [(name, _number(value), pretty_unit(units.get(name, ""))) for name, value in case.parameters.items()]
    rows += [(name, _number(value), "") for name, value in problem.shown(case).items() if name not in said]
    parts.append(_table("parameters", ("name", "value", "unit"), rows))
    specs = {i.name: i for i in problem.inputs}
    drawn = []
    for name, value in case.inputs.items():
        unit = pretty_unit(specs[name].unit)
        if isinstance(value, Series):
            text = f"{len(value.times)} knots, {_number(value.values.min())} to {_number(value.values.max())} {unit}"
            picture = _polyline(np.asarray(value.times), np.asarray(value.values))
        else:
            array = np.asarray(value)
            text = f"{' × '.join(map(str, array.shape))}, {_number(array.min())} to {_number(array.max())} {unit}"
            picture = _thumbnail(array) if array.ndim == 2 else ""
        drawn.append(f'<tr><td style="{_CELL}">{html.escape(name)}</td><td style="{_CELL}">{html.escape(text)}</td>'
                     f'<td style="{_CELL}">{picture}</td></tr>')  # fmt: skip
    if drawn:
        parts.append(_wrap("inputs", ("name", "values", ""), "".join(drawn)))
    return _box(parts)


def solver_html(solver: Solver) -> str:
    """Return a solver's name, what it is and its settings."""
    what = (inspect.getdoc(type(solver)) or "").strip().split("\n\n")[0]
    parts = [_heading(type(solver).__name__, str(getattr(solver, "name", "")))]
    if what:
        parts.append(f'<div style="margin:4px 0">{html.escape(what)}</div>')
    rows = [(str(k), v if isinstance(v, str) else json.dumps(v, default=str)) for k, v in dict(solver.settings).items()]
    parts.append(_table("settings", ("name", "value"), rows))
    return _box(parts)


def audit_html(audit: Audit) -> str:
    """Return an audit as a table: every defect beside the floor of the audit's own discretisation."""
    parts = [_heading(f"Audit of {audit.problem}", f"{audit.case}, {audit.frames} frames")]
    rows = []
    for line in audit.rows:
        volume = "–" if line.size is None else "domain" if line.size == 0 else f"{line.size} cells"
        floor = "–" if line.floor is None else f"{line.floor:.1e}"
        figures = (f"{line.rms:.1e}", f"{line.largest:.1e}", floor, pretty_unit(line.unit), f"{line.relative:.1e}")
        rows.append((line.check, line.name, volume, *figures))
    parts.append(_table("defects", ("check", "name", "volume", "rms", "largest", "floor", "unit", "relative"), rows))
    parts += [f'<div style="opacity:.7">{html.escape(text)}</div>' for text in audit.notes]
    return _box(parts)


def _steadiness(problem: Problem) -> str:
    return "steady" if problem.steady else "changes in time"


def _box(parts: Iterable[str]) -> str:
    return f'<div style="font-size:13px;line-height:1.4">{"".join(parts)}</div>'


def _heading(title: str, detail: str) -> str:
    tail = f' <span style="opacity:.7">({html.escape(detail)})</span>' if detail else ""
    return f"<div><strong>{html.escape(title)}</strong>{tail}</div>"


def _table(name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    used = [i for i in range(len(head)) if any(str(row[i]) for row in rows)]
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{html.escape(str(row[i]))}</td>' for i in used) + "</tr>" for row in rows
    )
    return _wrap(name, [head[i] for i in used], body)


def _wrap(name: str, head: Sequence[str], body: str) -> str:
    cells = "".join(f'<th style="{_CELL};font-weight:normal;opacity:.7">{html.escape(text)}</th>' for text in head)
    return (
        f'<table style="border-collapse:collapse;margin:4px 0"><caption style="text-align:left;font-weight:600;'
        f'caption-side:top;color:inherit;padding:2px 0">{html.escape(name)}</caption>'
        f"<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
    )


def _number(value: float) -> str:
    return f"{float(value):.6g}"


def _range(spec: object) -> str:
    low, high = getattr(spec, "minimum", -math.inf), getattr(spec, "maximum", math.inf)
    if math.isinf(low) and math.isinf(high):
        return "any"
    if math.isinf(high):
        return f"{'>' if getattr(spec, 'open_minimum', False) else '≥'} {_number(low)}"
    if math.isinf(low):
        return f"≤ {_number(high)}"
    return f"{_number(low)} to {_number(high)}"


def _polyline(x: np.ndarray, y: np.ndarray, width: int = 140, height: int = 28) -> str:
    """Return a line drawing of y over x, at most 200 points."""
    if len(x) < 2:
        return ""
    pick = np.unique(np.linspace(0, len(x) - 1, min(len(x), 200)).astype(int))
    x, y = x[pick], y[pick]
    across = 2 + (width - 4) * (x - x[0]) / ((x[-1] - x[0]) or 1.0)
    up = height - 2 - (height - 4) * (y - y.min()) / (np.ptp(y) or 1.0)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, up, strict=True))
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="values in time">'
        f'<polyline points="{points}" fill="none" stroke="#0072b2" stroke-width="1.5"/></svg>'
    )


def _thumbnail(values: np.ndarray, cells: int = 24, size: int = 48) -> str:
    """Return a grey picture of a two-dimensional input, first row at the bottom."""
    rows = np.linspace(0, values.shape[0] - 1, min(cells, values.shape[0])).astype(int)
    columns = np.linspace(0, values.shape[1] - 1, min(cells, values.shape[1])).astype(int)
    small = np.asarray(values, float)[np.ix_(rows, columns)][::-1]
    level = np.nan_to_num((small - np.nanmin(small)) / (np.nanmax(small) - np.nanmin(small) or 1.0))
    grey = (245 - 215 * level).astype(int)
    high, wide = size / small.shape[0], size / small.shape[1]
    squares = "".join(
        f'<rect x="{j * wide:.1f}" y="{i * high:.1f}" width="{wide + 0.3:.1f}" height="{high + 0.3:.1f}" '
        f'fill="rgb({g},{g},{g})"/>'
        for (i, j), g in np.ndenumerate(grey)
    )
    return f'<svg width="{size}" height="{size}" role="img" aria-label="values in space">{squares}</svg>'
