"""Import what COMSOL Multiphysics exports as text ("Data", "Spreadsheet"): values of expressions at points.

    % Model:              cavity.mph
    % Nodes:              4
    % x                   y                   u (m/s) @ Re=100         u (m/s) @ Re=200
    0                     0                   0                        0

Lines of "%" come first; the last of them names the columns: coordinates, then an expression, its unit in parentheses,
and behind "@" what it was evaluated at (time as `t`, parameters by their names). Texts may be in any language; a file
without a head, of numbers alone, is read as coordinates and one field.

Source: COMSOL Multiphysics Reference Manual, "Data", file format "Spreadsheet".
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from sciml.data import _files, splits
from sciml.errors import FileFormatError, InputError

if TYPE_CHECKING:
    import xarray as xr

MOST_BYTES = 1 << 31
_COORDINATES = ("x", "y", "z")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_SETTING = re.compile(rf"([^\W\d]\w*)=({_NUMBER})(?:\[[^\]]*\])?,?\Z")  # a unit in brackets may follow the number


@dataclass(frozen=True)
class Column:
    """One column of values.

    Args:
        name: the expression.
        unit: as printed, "1" where there is none.
        settings: what it was evaluated at, by name ("t" is the time).
    """

    name: str
    unit: str = "1"
    settings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """The content of one file.

    Args:
        points: (N, D) places.
        columns: what the columns behind the coordinates are.
        values: (N, C) their values; NaN where COMSOL gave none.
        head: "Model", "Date" and the like, as printed.
    """

    points: Float[np.ndarray, "points dimensions"]
    columns: tuple[Column, ...]
    values: Float[np.ndarray, "points columns"]
    head: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The expressions, each once, in their order."""
        return tuple(dict.fromkeys(c.name for c in self.columns))

    @property
    def times(self) -> Float[np.ndarray, " times"] | None:
        """The times, increasing; None where no column has one."""
        found = sorted({c.settings["t"] for c in self.columns if "t" in c.settings})
        return np.array(found) if found else None

    @property
    def cases(self) -> tuple[Mapping[str, float], ...]:
        """The combinations of parameters (all settings but the time), in their order; one empty one without any."""
        found = [{k: v for k, v in c.settings.items() if k != "t"} for c in self.columns]
        return tuple(p for i, p in enumerate(found) if p not in found[:i])

    def field(self, name: str, **parameters: float) -> Float[np.ndarray, "*times points"]:
        """The values of an expression: (N,), or (T, N) over `times`.

        Args:
            parameters: which case, where there are several.

        Raises:
            InputError: no such expression, an unclear case, or a time that it lacks.
        """
        if name not in self.names:
            raise InputError(f"field: no expression is called {name!r}; known: {', '.join(self.names)}")
        mine = [(i, c.settings) for i, c in enumerate(self.columns) if c.name == name]
        mine = [(i, s) for i, s in mine if all(s.get(k) == v for k, v in parameters.items())]
        found = {s.get("t"): i for i, s in mine}
        if not mine or len(found) < len(mine):
            raise InputError(f"field: {name!r} has {len(mine)} columns for {parameters}, expected one for each time")
        times = self.times
        if times is None or set(found) == {None}:
            return self.values[:, mine[0][0]]
        missing = [t for t in times.tolist() if t not in found]
        if missing:
            raise InputError(f"field: {name!r} has no column at t = {missing[0]:g}")
        return np.ascontiguousarray(self.values[:, [found[t] for t in times.tolist()]].T)


def read(path: str | os.PathLike[str], names: Sequence[str] | None = None) -> Table:
    """Read one file.

    Args:
        names: of all columns, for a file without a head; by default coordinates x, y, z and one field u.

    Raises:
        InputError: no such file, or names that do not fit.
        FileFormatError: not such a file; names the file and line.
    """
    name = _files.given(path, "path")
    if not os.path.isfile(name):
        raise InputError(f"{name}: {'not a file' if os.path.exists(name) else 'no such file'}")
    if os.path.getsize(name) > MOST_BYTES:
        raise FileFormatError(f"{name}: {os.path.getsize(name)} bytes, expected at most {MOST_BYTES}")
    lines = _text(Path(name).read_bytes()).splitlines()
    count = next((i for i, line in enumerate(lines) if not line.startswith("%")), len(lines))
    head, labels = _head(lines[:count], name)
    values = _numbers(lines[count:], count, name)
    width = values.shape[1]
    if labels is None:
        columns = _named(names, width, name)
    elif names is not None:
        raise InputError(f"names: {name} names its columns itself, expected none")
    else:
        columns = labels
    if len(columns) != width:
        raise FileFormatError(f"{name}: the head names {len(columns)} columns, the lines have {width}")
    axes = [c.name.lower() for c in columns]
    dimensions = next((d for d in (3, 2, 1) if tuple(axes[:d]) == _COORDINATES[:d]), 0)
    if not dimensions or dimensions == width:
        raise FileFormatError(f"{name}: expected coordinates x, y, z, then values, got columns {', '.join(axes)[:80]}")
    for key, expected in (("Nodes", len(values)), ("Dimension", dimensions), ("Expressions", width - dimensions)):
        if key in head and head[key] != str(expected):
            raise FileFormatError(f"{name}: {key} is {head[key]!r:.40} in the head, but the lines say {expected}")
    points = values[:, :dimensions]
    if not np.isfinite(points).all():
        raise FileFormatError(f"{name}: coordinates that are not finite")
    return Table(points, tuple(columns[dimensions:]), values[:, dimensions:], head)


def solutions(table: Table, name: str, **settings: float) -> list[xr.Dataset]:
    """The cases of a table as solutions of a `DataProblem` called `name`, on loose points. Points where COMSOL gave no
    values are left out.

    Args:
        settings: parameters that the file does not tell, the same for all its cases.
    """
    from sciml.data import solution
    from sciml.problem import FieldSpec, ParameterSpec
    from sciml.problems.own_data import DataProblem
    from sciml.support import Points

    units = {c.name: c.unit for c in table.columns}
    known = dict.fromkeys([*(k for case in table.cases for k in case), *settings])
    problem = DataProblem(
        name, [FieldSpec(_plain(n), units[n], "node") for n in table.names],
        [ParameterSpec(k, "1", (settings | dict(table.cases[0])).get(k, 0.0)) for k in known],
        table.points.shape[1], steady=table.times is None,
    )  # fmt: skip
    found = []
    for parameters in table.cases:
        fields = {_plain(n): table.field(n, **parameters) for n in table.names}
        there = np.all([np.isfinite(np.atleast_2d(v)).all(axis=0) for v in fields.values()], axis=0)
        if not there.any():
            raise InputError(f"{name}: no point has values of all fields")
        values: dict[str, Any] = {**settings, **parameters}
        case = problem.case(**values)
        kept = {n: v[..., there] for n, v in fields.items()}
        note = {"imported": "comsol", "model": table.head.get("Model", "")}
        found.append(solution(case, table.times, kept, Points(table.points[there]), attrs=note))
    return found


def import_tree(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    name: str = "comsol",
    parameters: Mapping[str, Mapping[str, float]] | None = None,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
) -> Path:
    """Import a file, or all .dat, .txt and .csv files of a folder, into one data-set file of loose points.

    Args:
        source: the file or folder; every file holds the same fields.
        out: the file to write.
        name: of the problem.
        parameters: file name -> parameters that the file does not tell.
        fractions, seed: of the split by case; cases that hold the same are in one part, and a warning names them.

    Raises:
        InputError: files that are not there, or do not go together.
        FileFormatError: a file that is damaged, or holds something else; names the file.
    """
    from sciml.data._pack import pack
    from sciml.data._write import write

    root = Path(_files.given(source, "source"))
    if not root.exists():
        raise InputError(f"{root}: no such file or folder")
    paths = sorted(p for p in root.iterdir() if p.suffix in (".dat", ".txt", ".csv")) if root.is_dir() else [root]
    if not paths:
        raise InputError(f"{root}: expected files that end in .dat, .txt or .csv, found none")
    told = dict(parameters or {})
    lost = [n for n in told if n not in {p.name for p in paths}]
    if lost:
        raise InputError(f"parameters: {lost[0]!r} is not one of the files")
    parts = [part for p in paths for part in solutions(read(p), name, **told.get(p.name, {}))]
    split, repeats = splits.together(
        splits.by_case(["all"] * len(parts), fractions, seed), [_content(p) for p in parts]
    )
    if repeats:
        warnings.warn(splits.repeated(repeats), stacklevel=2)
    attrs = {"imported": "comsol", "split_seed": int(seed), "split_source": "made"}
    write(pack(parts, split, dtype=None, attrs=attrs), out)
    return Path(_files.given(out, "out"))


def _content(solution: Any) -> str:
    """A digest of all values of a solution and of the parameters of its case."""
    told = json.loads(solution.attrs.get("case_json", "{}")).get("parameters", {})
    found = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name in sorted(map(str, solution.variables)):
        if (values := solution[name].values).dtype.kind in "fiub":
            found.update(f"{name}|{values.shape}".encode() + np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


def _text(content: bytes) -> str:
    """UTF-8, or what COMSOL writes on a Chinese Windows, or else Latin 1, which takes any bytes."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def _head(lines: Sequence[str], path: str) -> tuple[dict[str, str], list[Column] | None]:
    """What the head says, and its columns; None without a head."""
    if not lines:
        return {}, None
    pairs = (line[1:].partition(":") for line in lines[:-1])
    head = {key.strip(): value.strip() for key, colon, value in pairs if colon}
    return head, _columns(lines[-1][1:], path)


def _columns(line: str, path: str) -> list[Column]:
    """`x  y  u (m/s) @ t=0.1, Re=100  v (m/s) @ ...`"""
    found: list[tuple[str, str, dict[str, float]]] = []
    waiting = 0  # parentheses that are open
    settings = False
    for word in line.replace(",", ", ").split():
        here = found[-1] if found else ("", "", {})
        if waiting or (found and word.startswith("(") and not here[1]):
            waiting += word.count("(") - word.count(")")
            found[-1] = (here[0], f"{here[1]} {word}".strip(), here[2])
        elif word == "@" and found:
            settings = True
        elif settings and (match := _SETTING.match(word)):
            here[2][match[1]] = float(match[2])
        elif settings and re.fullmatch(r"\d+:", word):
            continue  # the number of the solution
        else:
            settings = False
            found.append((word, "", {}))
    if waiting:
        raise FileFormatError(f"{path}: parentheses in the line of names do not close")
    return [Column(n, unit.removeprefix("(").removesuffix(")") or "1", s) for n, unit, s in found]


def _numbers(lines: Sequence[str], before: int, path: str) -> np.ndarray:
    """(lines, columns) numbers, blank lines left out."""
    rows, width = [], 0
    for number, line in enumerate(lines, before + 1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            raise FileFormatError(f"{path}: line {number}: expected real numbers, got {line.strip()[:60]!r}") from None
        width = width or len(row)
        if len(row) != width:
            raise FileFormatError(f"{path}: line {number}: {len(row)} numbers, expected {width} as before")
        rows.append(row)
    if not rows:
        raise FileFormatError(f"{path}: holds no numbers")
    return np.array(rows)


def _named(names: Sequence[str] | None, width: int, path: str) -> list[Column]:
    if names is None:
        if not 2 <= width <= 4:
            raise InputError(f"names: {path} has {width} columns and no head, expected a name for each")
        names = (*_COORDINATES[: width - 1], "u")
    if isinstance(names, str) or len(names) != width:
        raise InputError(f"names: expected {width} for the columns of {path}, got {names!r:.80}")
    return [Column(str(n)) for n in names]


def _plain(name: str) -> str:
    """An expression as a name that files take: `comp1.spf.U` is comp1_spf_U."""
    found = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return found if re.match(r"[A-Za-z]", found) else f"f_{found}"
