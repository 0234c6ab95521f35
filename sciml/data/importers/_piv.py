"""Frames of particle image velocimetry as plain arrays: .vec of TSI Insight, text of LaVision DaVis.

    TITLE="..." VARIABLES="X mm", "Y mm", "U m/s", "V m/s", "CHC", ... ZONE I=63, J=63, F=POINT
    0.31248, -0.31248, 0.009765, -0.000081, 1            the last one: > 0 good (> 1: put in by Insight), else bad

    #DaVis 8.1.6 2D-vector 32 64 64 "position" "mm" "position" "mm" "velocity" "m/s"
    -14,9635	32,4113	0	-0                             commas for points; vectors of 0, 0 were removed

Source: TSI Insight 4G User's Guide, "Vector file format"; LaVision DaVis manual, "Export as text".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from sciml.errors import FileFormatError

AXES = "xyz"
_QUOTED = re.compile(r'"([^"]*)"')
_SIZES = re.compile(r"\b([IJK])\s*=\s*(-?\d+)", re.I)


@dataclass(frozen=True)
class Frame:
    """One field of vectors on a grid.

    Args:
        axes: positions along x, y (z), increasing.
        values: u, v (w) and others, (ny, nx) or (nz, ny, nx); NaN where bad.
        good: where vectors are.
        units: of axes and values.
        filled: good ones that the program put in for bad ones.
        facts: what the head says, by name.
    """

    axes: tuple[Float[np.ndarray, " _"], ...]
    values: dict[str, Float[np.ndarray, "*grid"]]
    good: Bool[np.ndarray, "*grid"]
    units: dict[str, str]
    filled: int = 0
    facts: dict[str, str] = field(default_factory=dict)


def is_one(start: bytes) -> bool:
    """Whether a file begins like one of these."""
    text = start[:4096].lstrip(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"#DaVis") or (text[:5].upper() == b"TITLE" and b"CHC" in text.split(b"\n")[0].upper())


def parse(text: str, name: str) -> Frame:
    """One file.

    Raises:
        FileFormatError: damaged; names file and line.
    """
    lines = text.lstrip("\ufeff").splitlines()
    first = next((k for k, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise FileFormatError(f"{name}: the file is empty")
    head = lines[first]
    if head.startswith("#DaVis"):
        return _davis(head, lines, first + 1, name)
    count = next((k for k in range(first, len(lines)) if re.match(r"\s*[-+.\d]", lines[k])), len(lines))
    return _insight(" ".join(lines[first:count]), lines, count, name)


def _insight(head: str, lines: list[str], start: int, name: str) -> Frame:
    after = head.upper().find("VARIABLES")
    if after < 0:
        raise FileFormatError(f"{name}: line 1: expected VARIABLES=..., got {head[:60]!r}")
    stop = min((p for p in (head.find(w, after) for w in ("DATASETAUXDATA", "ZONE")) if p >= 0), default=len(head))
    columns = [_split(c) for c in _QUOTED.findall(head[after:stop])]
    names = [c[0].lower() for c in columns]
    sizes = {k.upper(): int(v) for k, v in _SIZES.findall(head[stop:])}
    d = sum(a in names for a in AXES)
    if names[:d] != list(AXES[:d]) or d < 2 or "chc" not in names:
        raise FileFormatError(
            f"{name}: line 1: expected columns X, Y, ..., U, V, ..., CHC, got {', '.join(names)[:80]}"
        )
    shape = tuple(sizes.get(k, 1) for k in "IJK"[:d])
    if any(n < 1 for n in shape):
        raise FileFormatError(f"{name}: line 1: a grid of {' x '.join(map(str, shape))}")
    facts = dict(re.findall(r'DATASETAUXDATA\s+(\w+)\s*=\s*"([^"]*)"', head))
    table = _table(lines, start, len(columns), int(np.prod(shape)), name, commas=False)
    flag = table[:, names.index("chc")]
    keep = [k for k in range(d, len(names)) if names[k] != "chc"]
    values = {names[k]: table[:, k] for k in keep}
    units = {names[k]: columns[k][1] for k in (*range(d), *keep)}
    return _gridded(table[:, :d], values, flag > 0, units, int((flag > 1).sum()), facts, shape, name)


def _davis(head: str, lines: list[str], start: int, name: str) -> Frame:
    quoted = _QUOTED.findall(head)
    pairs = list(zip(quoted[::2], quoted[1::2], strict=False))
    sizes = [int(w) for w in re.findall(r"(?<=\s)-?\d+(?=\s)", head[: head.find('"') if '"' in head else len(head)])]
    d = sum("position" in n.lower() for n, _ in pairs)
    if d < 2 or len(pairs) <= d or len(sizes) < d:
        raise FileFormatError(f"{name}: line 1: expected sizes, then names and units of columns, got {head[:80]!r}")
    shape = tuple(sizes[1 : 1 + d]) if len(sizes) > d else tuple(sizes[-d:])
    if any(n < 1 for n in shape):
        raise FileFormatError(f"{name}: line 1: a grid of {' x '.join(map(str, shape))}")
    probe = next((line for line in lines[start:] if line.strip()), "")
    width = len(probe.split())
    table = _table(lines, start, width, int(np.prod(shape)), name, commas=True)
    if width < d + 2:
        raise FileFormatError(
            f"{name}: line {start + 1}: {width} columns, expected {d} of places and those of a vector"
        )
    names = ["u", "v", "w"][: min(width - d, 3)] + [f"value_{k}" for k in range(3, width - d)]
    unit = pairs[d][1]
    good = (table[:, d : d + min(width - d, 3)] != 0).any(1)
    units = {a: pairs[k][1] for k, a in enumerate(AXES[:d])} | {n: unit for n in names[:3]}
    values = {n: table[:, d + k] for k, n in enumerate(names)}
    return _gridded(table[:, :d], values, good, units, 0, {"program": head.split('"')[0].strip("# ")}, shape, name)


def _split(label: str) -> tuple[str, str]:
    words = label.split()
    return (words[0] if words else "", words[1] if len(words) > 1 else "1")


def _table(lines: list[str], start: int, width: int, count: int, name: str, commas: bool) -> np.ndarray:
    """Numbers of lines; decimal commas where columns are parted by spaces."""
    rows = [(k, line) for k, line in enumerate(lines[start:], start + 1) if line.strip()]
    if len(rows) != count:
        raise FileFormatError(f"{name}: {len(rows)} vectors, but the head says {count}")
    found = np.empty((len(rows), width))
    for i, (k, line) in enumerate(rows):
        words = line.replace(",", ".").split() if commas else line.replace(",", " ").split()
        if len(words) != width:
            raise FileFormatError(f"{name}: line {k}: {len(words)} numbers, expected {width}")
        try:
            found[i] = [float(w) for w in words]
        except ValueError:
            raise FileFormatError(f"{name}: line {k}: expected numbers, got {line.strip()!r:.60}") from None
    return found


def _gridded(
    places: np.ndarray, values: dict[str, np.ndarray], good: np.ndarray, units: dict[str, str], filled: int,
    facts: dict[str, str], shape: tuple[int, ...], name: str,
) -> Frame:  # fmt: skip
    """Values in array order (z, y, x), axes increasing."""
    if not np.isfinite(places).all():
        raise FileFormatError(f"{name}: vector {int(np.argmin(np.isfinite(places).all(1)))} has no finite place")
    good = good & np.logical_and.reduce([np.isfinite(v) for v in values.values()])
    axes, flip, grid = [], [], shape[::-1]
    for axis in range(len(shape)):
        along = places[:, axis].reshape(grid)
        at = len(shape) - 1 - axis
        line = np.median(np.moveaxis(along, at, 0).reshape(shape[axis], -1), axis=1)
        spread = np.abs(along - line.reshape([-1 if k == at else 1 for k in range(len(shape))])).max()
        steps = np.diff(line)
        if not (np.all(steps > 0) or np.all(steps < 0)) or spread > 0.01 * np.abs(steps).min(initial=np.inf):
            raise FileFormatError(f"{name}: places along {AXES[axis]} are not those of a grid of "
                                  f"{' x '.join(map(str, shape))}, fastest along x")  # fmt: skip
        down = len(line) > 1 and line[0] > line[-1]
        flip.insert(0, slice(None, None, -1) if down else slice(None))
        axes.append(line[::-1] if down else line)
    turn = tuple(flip)
    inside = good.reshape(grid)[turn]
    arrays = {n: np.where(inside, v.reshape(grid)[turn], np.nan) for n, v in values.items()}
    return Frame(tuple(axes), arrays, inside, units, filled, facts)
