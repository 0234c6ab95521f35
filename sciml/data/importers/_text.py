"""Columns of numbers in text: delimiter, decimal sign, heading and units are found out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from sciml.data.importers import _names
from sciml.errors import FileFormatError

#: delimiter (None: blanks) and decimal sign, the likelier first
FORMS = ((";", "."), (";", ","), ("\t", "."), ("\t", ","), (",", "."), ("|", "."), (None, "."), (None, ","))
MISSING = ("", "nan", "na", "n/a", "null", "none", "-", "--", "---", "*", "#n/a", "nil", "missing", "?")
COMMENTS = ("#", "%", "!", "//")
LOOKED_AT = 200  # lines that tell the form
MOST_COLUMNS = 100_000
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?\Z")
_WORDS = re.compile(r"[^\s\[\]()|,;]+(?:\s*(?:\[[^\[\]]*\]|\([^()]*\)))?")


@dataclass(frozen=True)
class Columns:
    """A table.

    Args:
        names: of the columns, as written, without units; made up ("c1") where there is no heading.
        units: as written, "" where none is.
        values: (row, column) numbers, NaN where missing or text.
        texts: number of a column -> its cells, where these are no numbers.
        headed: whether there is a heading.
        remarks: lines of comments.
        notes: what was assumed.
        dates: names of columns that were dates, and are seconds.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    values: np.ndarray
    texts: dict[int, list[str]] = field(default_factory=dict)
    headed: bool = True
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()

    def column(self, name: str) -> np.ndarray:
        return self.values[:, self.names.index(name)]


def columns(text: str, path: str, most: int | None = None) -> Columns:
    """The table in a text.

    Args:
        path: for messages.
        most: rows to read; all by default.

    Raises:
        FileFormatError: no table, or a line that does not fit; names it.
    """
    lines = text.splitlines()
    numbered = [(k, line.strip("\r\n ")) for k, line in enumerate(lines, 1) if line.strip()]
    remarks = [line for _, line in numbered if line.startswith(COMMENTS)]
    body = [(k, line) for k, line in numbered if not line.startswith(COMMENTS)]
    body = [(k, line) for k, line in body if line[0] not in "-=_*|+zZtTsS" or not _zone(line)]
    if not body:
        raise FileFormatError(f"{path}: holds no line of numbers")
    delimiter, decimal, count, start = _form([line for _, line in body[: LOOKED_AT * 2]], path)
    heads, data = [line for _, line in body[:start]], body[start:]
    notes: list[str] = []
    data = _without_headings(heads, data, notes)
    if most is not None and len(data) > most:
        data = data[:most]
    elif len(data) > 2 and len(_cells(data[-1][1], delimiter)) != count:
        raise FileFormatError(
            f"{path}: line {data[-1][0]}, the last one, has {len(_cells(data[-1][1], delimiter))} columns, others "
            f"{count}; is the file truncated?"
        )
    values, texts = _numbers(data, delimiter, decimal, count, path)
    names, units, headed = _heading(heads, remarks, delimiter, count)
    if decimal == ",":
        notes.append("numbers have decimal commas")
    if values.shape[1] > 1 and np.isnan(values[:, -1]).all() and (values.shape[1] - 1) not in texts and (
        not names[-1] or not headed or names[-1] == f"c{count}"
    ):  # fmt: skip
        values, names, units = values[:, :-1], names[:-1], units[:-1]  # a delimiter behind every line
    return Columns(tuple(names), tuple(units), values, texts, headed, tuple(remarks), tuple(notes))


def _zone(line: str) -> bool:
    """Lines of TECPLOT and of spreadsheets that are neither heading nor numbers, and rules."""
    return bool(re.match(r"(?i)(zone\b|title\s*=|sep=.$|[-=_*\s|+]+$)", line))


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    return [c.strip().strip('"').strip() for c in _parts(line, delimiter)]


def _parts(line: str, delimiter: str) -> list[str]:
    """Split, but not within quotation marks."""
    if '"' not in line:
        return line.split(delimiter)
    found, inside, part = [], False, ""
    for c in line:
        if c == '"':
            inside = not inside
        if c == delimiter and not inside:
            found.append(part)
            part = ""
        else:
            part += c
    return [*found, part]


def _is_number(cell: str, decimal: str) -> bool:
    if decimal == "," and "." in cell:
        return False
    return bool(_NUMBER.match(cell.replace(",", ".") if decimal == "," else cell))


def _form(lines: Sequence[str], path: str) -> tuple[str | None, str, int, int]:
    """Delimiter, decimal sign, number of columns, and how many lines of heading come first."""
    best: tuple[float, int, tuple[str | None, str, int, int]] | None = None
    for rank, (delimiter, decimal) in enumerate(FORMS):
        rows = [_cells(line, delimiter) for line in lines]
        good, numbers = [], 0
        for k, row in enumerate(rows):
            inside = [c for c in row if c.lower() not in MISSING]
            figures = sum(_is_number(c, decimal) for c in inside)
            if figures and figures >= 0.5 * len(inside):
                good.append(k)
                numbers += figures
        if not good:
            continue
        counts = Counter(len(rows[k]) for k in good)
        count, often = counts.most_common(1)[0]
        alike = [k for k in good if len(rows[k]) == count]
        shapes = [tuple(c.lower() not in MISSING and not _is_number(c, decimal) for c in rows[k]) for k in alike]
        usual = Counter(shapes).most_common(1)[0][0]  # a heading may be of numbers for the most part
        start = alike[shapes.index(usual)]
        words = sum(len(r) for r in rows[start:]) or 1
        figures = sum(
            _is_number(c, decimal) or c.lower() in MISSING for r in rows[start:] if len(r) == count for c in r
        )
        score = figures / words * often / max(len(rows) - start, 1) + (0.0 if count > 1 else -0.3)
        if best is None or score > best[0] + 1e-9:
            best = (score, -rank, (delimiter, decimal, count, start))
    if best is None or best[2][2] > MOST_COLUMNS:
        raise FileFormatError(f"{path}: holds no columns of numbers; its first line is {lines[0]!r:.80}")
    return best[2]


def _without_headings(heads: Sequence[str], data: list[tuple[int, str]], notes: list[str]) -> list[tuple[int, str]]:
    if not heads:
        return data
    again = {h.strip() for h in heads if h.strip()}
    kept = [(k, line) for k, line in data if line not in again]
    if len(kept) < len(data):
        notes.append(f"the heading is repeated {len(data) - len(kept)} times within the numbers: left out there")
    return kept


def _numbers(
    data: Sequence[tuple[int, str]], delimiter: str | None, decimal: str, count: int, path: str
) -> tuple[np.ndarray, dict[int, list[str]]]:
    quick = _quickly([line for _, line in data], delimiter, decimal, count)
    if quick is not None:
        return quick, {}
    rows = [_cells(line, delimiter) for _, line in data]
    for (k, line), row in zip(data, rows, strict=True):
        if len(row) != count:
            raise FileFormatError(f"{path}: line {k} has {len(row)} columns, others {count}: {line!r:.80}")
    flat = list(chain.from_iterable(rows))
    if decimal == ",":
        flat = [c.replace(",", ".") for c in flat]
    try:
        return np.array(flat, dtype=np.float64).reshape(len(rows), count), {}
    except ValueError:
        pass
    values = np.empty((len(rows), count))
    texts: dict[int, list[str]] = {}
    for c in range(count):
        cells = flat[c::count]
        wrong: list[int] = []
        for r, cell in enumerate(cells):
            try:
                values[r, c] = float(cell)
            except ValueError:
                if cell.lower() in MISSING:
                    values[r, c] = np.nan
                elif _NUMBER.match(cell):  # Fortran's double precision
                    values[r, c] = float(cell.replace("D", "E").replace("d", "e"))
                else:
                    values[r, c] = np.nan
                    wrong.append(r)
        if wrong and len(wrong) >= 0.5 * len(rows):
            texts[c] = cells
        elif wrong:
            k, line = data[wrong[0]]
            raise FileFormatError(f"{path}: line {k}: expected a number in column {c + 1}, got {cells[wrong[0]]!r:.40}")
    return values, texts


def _quickly(lines: Sequence[str], delimiter: str | None, decimal: str, count: int) -> np.ndarray | None:
    """The numbers of lines that all are as they should be; None otherwise."""
    if delimiter is not None and any(line.count(delimiter) != count - 1 for line in lines):
        return None
    text = "\n".join(lines)
    if decimal == ",":
        text = text.replace(",", ".")
    if delimiter is None:
        if any(len(line.split()) != count for line in lines):
            return None
        cells = text.split()
    else:
        cells = text.replace("\n", delimiter).split(delimiter)
    try:
        return np.array(cells, dtype=np.float64).reshape(len(lines), count)
    except ValueError:
        return None


def _heading(
    heads: Sequence[str], remarks: Sequence[str], delimiter: str | None, count: int
) -> tuple[list[str], list[str], bool]:
    """Names and units of columns."""
    heads = [re.sub(r"(?i)\A\s*variables\s*=\s*", "", h) for h in heads]
    rows = [r for h in heads if (r := _headed(h, delimiter, count))]
    if not rows and not heads:
        for remark in reversed(remarks):
            if row := _headed(remark.lstrip("#%!/ \t"), delimiter, count):
                rows = [row]
                break
    if not rows:
        return [f"c{k + 1}" for k in range(count)], [""] * count, False
    pairs = [_names.unit_of(c) for c in rows[0]]
    names, units = [p[0] for p in pairs], [p[1] for p in pairs]
    if len(rows) > 1 and not any(units):
        units = [c.strip("[]() ") if c.strip("[]() -") else "" for c in rows[1]]
    seen: dict[str, int] = {}
    for k, n in enumerate(names):
        n = n or f"c{k + 1}"
        seen[n] = seen.get(n, 0) + 1
        names[k] = n if seen[n] == 1 else f"{n}_{seen[n]}"
    return names, units, True


def _headed(line: str, delimiter: str | None, count: int) -> list[str]:
    """The cells of a line of headings, if they are as many as there are columns."""
    for cut in (delimiter, ",", "\t", ";", "|"):
        if cut is not None:
            cells = [c.strip().strip('"').strip() for c in _parts(line.strip().strip("|"), cut)]
            if len(cells) == count and count > 1:
                return cells
    dashes = re.split(r"\s+-\s+", line.strip())
    for cells in (dashes, re.split(r"\s{2,}|\t", line.strip()), line.replace(",", " ").split(), _WORDS.findall(line)):
        cells = [c.strip().strip('"') for c in cells if c.strip()]
        if len(cells) == count:
            return cells
    return []
