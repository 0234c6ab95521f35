"""Parameters that lie beside arrays: a table with a row for each case, or JSON or TOML by case or by parameter."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sciml.data.importers._source import Source
from sciml.errors import FileFormatError, is_number

MOST = 1 << 28


@dataclass
class Beside:
    """What files beside arrays say.

    Args:
        columns: name -> a number for each row, in order.
        by_label: label of a case -> name -> number.
        single: name -> number for all.
        notes: what was not understood.
        origin: column or label -> the file that it is from.
    """

    columns: dict[str, np.ndarray] = field(default_factory=dict)
    by_label: dict[str, dict[str, float]] = field(default_factory=dict)
    single: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    origin: dict[str, str] = field(default_factory=dict)

    def fitting(self, labels: Sequence[str], count: int) -> tuple[Beside, list[str]]:
        """What is of so many cases with these labels, and what of the rest is to be said."""
        kept, said = {n: v for n, v in self.columns.items() if len(v) == count}, []
        known = [label for label in labels if self._labelled(label)]
        for file in dict.fromkeys(self.origin.values()):
            mine = [n for n, v in self.columns.items() if self.origin.get(n) == file and n not in kept]
            theirs = [n for n in self.by_label if self.origin.get(n) == file]
            if mine and not (theirs and known):
                rows = len(self.columns[mine[0]])
                said.append(f"{file}: {', '.join(mine[:5])} of {rows} rows for {count} cases: left out")
            elif theirs and not known and not any(self.origin.get(n) == file for n in kept):
                said.append(f"{file}: {', '.join(theirs[:5])} are no cases: left out")
        return replace(self, columns=kept, by_label=self.by_label if known else {}), said

    def of(self, label: str, number: int, count: int) -> dict[str, float]:
        """Parameters of a case by its label, or by its number where rows are as many as cases."""
        found = dict(self.single)
        for name, values in self.columns.items():
            if len(values) == count:
                found[name] = float(values[number])
        return found | self._labelled(label)

    def _labelled(self, label: str) -> dict[str, float]:
        tail = label.rpartition("/")[2]
        for key in (label, tail, tail.rpartition(".")[0] or tail):
            if key in self.by_label:
                return self.by_label[key]
        return {}

    @property
    def rows(self) -> int:
        """How many rows all columns have; 0 where these differ or there are none."""
        counts = {len(v) for v in self.columns.values()}
        return counts.pop() if len(counts) == 1 else 0

    def names(self, count: int) -> list[str]:
        found = [*self.single, *(n for n, v in self.columns.items() if len(v) == count)]
        return list(dict.fromkeys([*found, *(n for row in self.by_label.values() for n in row)]))


def beside(source: Source, names: Sequence[str]) -> Beside:
    """What such files say, for all cases or by case.

    Raises:
        FileFormatError: a damaged one.
    """
    found = Beside()
    for name in names:
        folder = name.rpartition("/")[0]
        content = _content(source, name, found)
        if content is not None:
            numbers = _numbers(content)[0] if folder else {}
            if numbers:
                found.by_label.setdefault(folder, {}).update(numbers)
            else:
                _enter(content, name, found)
        for key in (*found.columns, *found.by_label):
            found.origin.setdefault(key, name)
    return found


def _content(source: Source, name: str, found: Beside) -> Any:
    ending = name.rpartition(".")[2].lower()
    text = source.text(name, MOST)
    path = source.path(name)
    try:
        if ending == "json":
            return json.loads(text)
        if ending == "toml":
            content = tomllib.loads(text)
            return None if "layout" in content else content  # a plan of one's own
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: not {ending.upper()}: {str(error).splitlines()[0][:120]}") from None
    from sciml.data.importers._text import columns

    try:
        table = columns(text, str(path))
    except FileFormatError as error:
        found.notes.append(f"{str(error).partition(': ')[2]} ({name}): left out")
        return None
    if not table.headed:
        found.notes.append(f"{name}: a table without a heading is left out")
        return None
    labels = next(iter(table.texts.values()), None)
    rows = {n: table.values[:, k] for k, n in enumerate(table.names) if k not in table.texts}
    if labels is not None:
        for r, label in enumerate(labels):
            found.by_label.setdefault(label, {}).update(
                {n: float(v[r]) for n, v in rows.items() if np.isfinite(v[r])}
            )  # fmt: skip
    return {n: v.tolist() for n, v in rows.items()}


def _enter(content: Any, name: str, found: Beside) -> None:
    if isinstance(content, list) and content and all(isinstance(row, Mapping) for row in content):
        keys = [k for k in content[0] if all(is_number(row.get(k)) for row in content)]
        for k in keys:
            found.columns[str(k)] = np.array([float(row[k]) for row in content])
        left = [k for k in content[0] if k not in keys]
    elif isinstance(content, Mapping):
        numbers, left = _numbers(content)
        found.single |= numbers
        for key in list(left):
            value = content[key]
            if isinstance(value, list) and value and all(isinstance(v, float) or is_number(v) for v in value):
                found.columns[key] = np.array(value, dtype=np.float64)
                left.remove(key)
            elif isinstance(value, Mapping) and (inner := _numbers(value)[0]):
                found.by_label.setdefault(key, {}).update(inner)
                left.remove(key)
    else:
        found.notes.append(f"{name}: expected a table, got {type(content).__name__}: left out")
        return
    if left:
        shown = ", ".join(map(str, left[:5])) + (" ..." if len(left) > 5 else "")
        found.notes.append(f"{name}: what is no number is left out: {shown}")


def _numbers(content: Any) -> tuple[dict[str, float], list[str]]:
    if not isinstance(content, Mapping):
        return {}, []
    numbers = {str(k): float(v) for k, v in content.items() if is_number(v)}
    return numbers, [str(k) for k in content if str(k) not in numbers]
