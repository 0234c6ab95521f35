"""Import a folder tree in the layout of CFDBench (see `sciml.data._cfdbench`)."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.data import _files, schema, splits
from sciml.data._cfdbench import LAYOUTS, SUBSETS, Layout, by_keys
from sciml.errors import FileFormatError, InputError, is_number, suggest

if TYPE_CHECKING:
    import xarray as xr

_CASE = re.compile(r"case(\d+)\Z")
_MOST_JSON = 1 << 20
_MOST_HEADER = 10_000


class NpyFile:
    """A .npy file of floating-point numbers (T, y, x): header checked at once, values read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                if version not in ((1, 0), (2, 0)):
                    raise ValueError(f"version {version}")
                read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
                shape, self.fortran, self.dtype = read(file, max_header_size=_MOST_HEADER)
                self.offset = file.tell()
                file.seek(0)
                self.header = file.read(self.offset)
        except OSError as error:
            raise InputError(f"{path}: cannot open: {error.strerror}") from None
        except (ValueError, SyntaxError, RecursionError) as error:
            raise FileFormatError(f"{path}: not a .npy file: {str(error).splitlines()[0][:200]}") from None
        self.shape = tuple(int(n) for n in shape)
        if self.dtype.kind != "f" or self.dtype.itemsize not in (4, 8):
            raise FileFormatError(f"{path}: type {self.dtype}, expected float32 or float64")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise FileFormatError(f"{path}: shape {self.shape}, expected (time, y, x)")
        expected = self.offset + math.prod(self.shape) * self.dtype.itemsize
        if size != expected:
            raise FileFormatError(f"{path}: {size} bytes, expected {expected} for shape {self.shape}; truncated?")
        self.ndim = 3

    def __getitem__(self, key: Any) -> np.ndarray:
        order = "F" if self.fortran else "C"
        values = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order)[key]
        values = np.array(values, dtype=self.dtype.newbyteorder("="))
        if not np.isfinite(values).all():
            frame = int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(axis=1)))
            first = key[0].start or 0 if isinstance(key, tuple) and isinstance(key[0], slice) else 0
            raise FileFormatError(f"{self.path}: frame {first + frame} holds values that are not finite")
        return values


def import_tree(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    problem: str | None = None,
    *,
    time_step: float | None = None,
    first_time: float | None = None,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> Path:
    """Import cases into one data-set file.

    Values keep their type, `case.json` is kept as it is in `source_json`, and the headers of the arrays in
    `source_layout`: `sciml.data.exporters.cfdbench.export_tree` gives the same bytes back. Cases are numbered by
    subset (alphabetically), then by folder number; cases that lie in the problem's folder itself are of subset "all".
    Splits are by case, stratified by subset; cases that hold the same are in one part. A warning names those, and
    folders that are not understood and left out.

    Args:
        source: the folder that holds problem folders, or one problem folder.
        out: the file to write.
        problem: "cavity", "tube", "dam" or "cylinder"; needed where the folder holds several, else found from the
            folder names and the keys in the case files.
        time_step: time between frames in s; default the published one (cavity and dam 0.1, tube 0.01, cylinder 0.001),
            or "time_step" in case.json.
        first_time: time of the first frame; default one time step, or "first_time" in case.json.
        fractions, seed: of the split.

    Raises:
        InputError: nothing to import, or several problems.
        FileFormatError: a file that is missing, damaged, of the wrong shape or not finite; names the file.
    """

    from sciml.data._pack import concat
    from sciml.data._write import write

    root = Path(_files.given(source, "source"))
    for name, value in (("time_step", time_step), ("first_time", first_time)):
        if value is not None and not (math.isfinite(value) and value >= 0 and (value > 0 or name == "first_time")):
            raise InputError(f"{name}: expected a positive number of seconds, got {value!r}")
    layout, folders = _find(root, problem)
    parts: list[xr.Dataset] = []
    shapes: dict[tuple[int, ...], Path] = {}
    for subset, folder in folders:
        parts.append(_case(layout, subset, folder, time_step, first_time))
        shapes[parts[-1]["u"].shape[1:]] = folder
        if len(shapes) > 1:
            (a, pa), (b, pb) = shapes.items()
            raise FileFormatError(f"{pb}: grid of {b} cells, but {pa} has {a}; one grid shape a data set")
    widest = np.result_type(*(p["u"].dtype for p in parts), *(p["v"].dtype for p in parts))
    for part in parts:
        for name in ("u", "v"):
            part[name] = part[name].astype(widest)
    split, repeats = splits.together(
        splits.by_case([subset for subset, _ in folders], fractions, seed), [_content(part) for part in parts]
    )
    if repeats:
        warnings.warn(splits.repeated(repeats), stacklevel=2)
    packed = concat(parts, split, {"imported": "cfdbench", "split_seed": int(seed), "split_source": "made"})
    write(packed, out)
    return Path(_files.given(out, "out"))


def _content(part: Any) -> str:
    """A digest of the fields of a case and of its parameters, extents and times, read a few frames at a time."""
    found = hashlib.sha256()
    for name in sorted(n for n in part.variables if part[n].dtype.kind == "f"):
        values = part[name]
        found.update(f"{name}|{values.shape}".encode())
        step = max((64 << 20) // max(8 * math.prod(values.shape[1:]), 1), 1)
        for at in range(0, values.shape[0], step):
            found.update(np.ascontiguousarray(values[at : at + step].values, dtype=np.float64).tobytes())
    return found.hexdigest()


def _find(root: Path, problem: str | None) -> tuple[Layout, list[tuple[str, Path]]]:
    """The problem, and the (subset, folder) of every case."""
    if not root.is_dir():
        raise InputError(f"{root}: {'no such folder' if not root.exists() else 'not a folder'}")
    names = [layout.folder for layout in LAYOUTS]
    if problem is not None and problem not in [*names, *(layout.problem for layout in LAYOUTS)]:
        raise InputError(f"problem: {problem!r} is not in this format{suggest(problem, names)}")
    inside = [n for n in names if (root / n).is_dir()]
    wanted = next((found for found in LAYOUTS if problem in (found.folder, found.problem)), None)
    if inside:
        if wanted is None and len(inside) > 1:
            raise InputError(f"{root}: holds the problems {', '.join(inside)}; choose one with problem=")
        chosen = wanted.folder if wanted else inside[0]
        if chosen not in inside:
            raise InputError(f"{root}: holds no folder {chosen!r}, only {', '.join(inside)}")
        others = [p.name for p in _places(root) if p.name not in names]
        if others:
            text = f"{root}: left out folders that are no problems of this format ({', '.join(map(ascii, others[:5]))})"
            warnings.warn(text, stacklevel=3)
        root, wanted = root / chosen, next(found for found in LAYOUTS if found.folder == chosen)
    elif wanted is None:
        wanted = next((found for found in LAYOUTS if found.folder == root.resolve().name), None)
    folders, odd = _cases(root)
    named = ", ".join(odd[:5]) + (f" and {len(odd) - 5} more" if len(odd) > 5 else "")
    if not folders:
        hint = f"; not understood: {named}" if odd else ""
        expected = "expected folders such as bc/case0000 with u.npy, v.npy and case.json"
        raise InputError(f"{root}: no cases; {expected}{hint}")
    if odd:
        text = f"{root}: left out folders that are no cases ({named}); expected names such as case0000"
        warnings.warn(text, stacklevel=3)
    told = by_keys(set(_json(folders[0][1])[1]))
    if wanted is None and told is None:
        raise InputError(f"{root}: neither folder names nor case.json tell the problem; give problem=")
    return wanted or told, folders  # type: ignore[return-value]


def _places(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _cases(root: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """The (subset, folder) of every case, and the names of folders that are not understood. Cases that lie in `root`
    itself, without folders of subsets, are of subset "all"."""
    found: list[tuple[str, Path]] = []
    odd: list[str] = []
    places = _places(root)
    groups = [("all", [p for p in places if _CASE.match(p.name)])]
    for place in (p for p in places if not _CASE.match(p.name)):
        inside = _places(place)
        cases = [p for p in inside if _CASE.match(p.name)]
        groups.append((place.name, cases))
        if not cases:
            odd.append(ascii(place.name))
            continue
        odd += [ascii(f"{place.name}/{p.name}") for p in inside if p not in cases]
        if not re.fullmatch(r"\w{1,40}", place.name):
            raise InputError(f"{place}: {place.name!r} cannot name a subset; expected {', '.join(SUBSETS)}")
    for subset, cases in groups:
        found += [(subset, p) for p in sorted(cases, key=lambda p: (int(p.name.removeprefix("case")), p.name))]
    return sorted(found, key=lambda pair: pair[0]), odd


def _json(folder: Path) -> tuple[str, dict[str, Any]]:
    """The text of a case.json and what it says."""
    path = folder / "case.json"
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_JSON + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot open: {error.strerror}") from None
    try:
        if len(raw) > _MOST_JSON:
            raise ValueError(f"more than {_MOST_JSON} bytes")
        text = raw.decode("utf-8")
        content = json.loads(text.removeprefix("\ufeff"))
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}, expected an object")
        if "\0" in text:
            raise ValueError("holds a zero byte")
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: not JSON as expected: {error}") from None
    return text, content


def _number(content: dict[str, Any], key: str, path: Path) -> float:
    value = content[key]
    if not is_number(value):
        raise FileFormatError(f"{path}: {key!r} is {value!r:.60}, expected a finite number")
    return float(value)


def _case(layout: Layout, subset: str, folder: Path, time_step: float | None, first_time: float | None) -> Any:
    """One case as a packed data set whose fields are read when they are written."""
    import dask.array
    import xarray as xr

    from sciml.data._pack import describe, label_subset

    text, content = _json(folder)
    path = folder / "case.json"
    told = by_keys(set(content))
    if told is not None and told is not layout:
        key = next(k for k in told.telling if k in content)
        raise FileFormatError(f"{path}: key {key!r} is of problem {told.folder!r}, expected {layout.folder!r}")
    missing = [k for k in layout.keys if k not in content]
    if missing:
        near = suggest(missing[0], [k for k in content if k not in layout.keys])
        hint = near if "did you mean" in near else f"; expected {', '.join(layout.keys)}"
        raise FileFormatError(f"{path}: key {missing[0]!r} is missing{hint}")
    given = {key: _number(content, key, path) for key in layout.keys}
    u, v = NpyFile(folder / "u.npy"), NpyFile(folder / "v.npy")
    if u.shape != v.shape:
        raise FileFormatError(f"{v.path}: shape {v.shape}, but u.npy has {u.shape}")
    dt = time_step or (_number(content, "time_step", path) if "time_step" in content else layout.time_step)
    start = first_time
    if start is None:
        start = _number(content, "first_time", path) if "first_time" in content else dt
    if dt <= 0:
        raise FileFormatError(f"{path}: 'time_step' is {dt:g}, expected a positive number of seconds")
    times = start + np.arange(u.shape[0]) * dt
    extents = layout.extents(given)
    if not (extents["x_min"] < extents["x_max"] and extents["y_min"] < extents["y_max"]):
        raise FileFormatError(f"{path}: the domain is empty: {extents}")
    parameters = {layout.keys[key][0]: value for key, value in given.items()}
    data: dict[str, Any] = {
        "row_size": (("case",), np.array([u.shape[0]]), {"long_name": "frames", "sample_dimension": "frame"}),
        "time": (("frame",), times, {"units": "s", "long_name": "time", "axis": "T"}),
    }
    problem = schema.known_problem(layout.problem)
    if problem is not None:
        try:
            case = problem.case(label=f"{subset}/{folder.name}", subset=subset, **parameters)
        except InputError as error:
            raise FileFormatError(f"{path}: {error}") from None
        data |= describe(case, times)
        parameters = dict(case.parameters)
    else:
        for key, (name, unit) in layout.keys.items():
            data[name] = (("case",), np.array([given[key]]), {"units": unit, "long_name": name.replace("_", " ")})
        data |= label_subset(subset)
    for name, file, text_of in (("u", u, "velocity along x"), ("v", v, "velocity along y")):
        step = max((64 << 20) // max(math.prod(file.shape[1:]) * file.dtype.itemsize, 1), 1)
        lazy = dask.array.from_array(
            file,  # type: ignore[arg-type]
            chunks=(step, -1, -1),  # type: ignore[arg-type]
            asarray=False,
            meta=np.empty((0, 0, 0), file.dtype.newbyteorder("=")),
        )
        data[name] = (("frame", "y", "x"), lazy, {"units": "m s-1", "long_name": text_of})
    for end, value in extents.items():
        data[end] = (("case",), np.array([value]), {"units": "m", "long_name": f"end of the domain {end}"})
    if layout.mask is not None:
        x = extents["x_min"] + (np.arange(u.shape[2]) + 0.5) * (extents["x_max"] - extents["x_min"]) / u.shape[2]
        y = extents["y_min"] + (np.arange(u.shape[1]) + 0.5) * (extents["y_max"] - extents["y_min"]) / u.shape[1]
        note = {"units": "1", **schema.flag_attrs(("solid", "fluid"), "cells that are fluid")}
        data["mask"] = (("case", "y", "x"), layout.mask(given, x, y)[None], note)
    headers = {"u": u.header.decode("latin-1"), "v": v.header.decode("latin-1"), "folder": folder.name}
    data["source_json"] = (("case",), np.array([text]), {"long_name": "case.json as it was found"})
    data["source_layout"] = (("case",), np.array([json.dumps(headers)]), {"long_name": "folder and array headers"})
    attrs = {
        "Conventions": schema.CONVENTIONS,
        "schema_version": schema.VERSION,
        "problem": layout.problem,
        "fields": "u v",
        "parameters": " ".join(parameters),
    }
    from sciml.data._pack import concat

    return concat([xr.Dataset(data, attrs=attrs)])
