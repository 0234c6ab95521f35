"""Zarr folders, of format 2 and 3, with named dimensions where xarray or others wrote these."""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sciml.data.importers._labelled import MOST_VARIABLES, Labelled, Variable
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError

MARKS = (".zgroup", "zarr.json", ".zarray", ".zmetadata")
MOST_JSON = 1 << 24
RATIO, SPARE = 20_000, 1 << 26  # how far chunks shrink at most; what may be of the fill value alone
DEEPEST = 4


def is_store(path: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return path.is_dir() and any((path / mark).is_file() for mark in MARKS)


def stores(source: Source) -> list[str]:
    """Names of all stores of a source, "" for itself; those within others do not count."""
    if not source.is_folder:
        return []
    if is_store(source.root):
        return [""]
    found: list[str] = []
    for folder in sorted({n.rpartition("/")[0] for n in source.names if "/" in n}):
        parts = folder.split("/")
        for k in range(1, min(len(parts), DEEPEST) + 1):
            name = "/".join(parts[:k])
            if name in found:
                break
            if is_store(source.root / name):
                found.append(name)
                break
    return found


def labelled(source: Source, name: str) -> Labelled:
    """A store.

    Raises:
        FileFormatError: it is damaged.
        InputError: the package zarr is missing.
    """
    from sciml.data._zarr import _zarr

    zarr = _zarr()
    path = source.path(name)
    for folder, folders, files in os.walk(path):
        for entry in (*folders, *files):
            if os.path.islink(os.path.join(folder, entry)):
                raise FileFormatError(f"{path}: {entry!r} is a link; links in a store are refused")
    found: dict[str, Variable] = {}
    attrs = _noted(path)
    for at, inner in _arrays(path):
        if len(found) >= MOST_VARIABLES:
            raise FileFormatError(f"{path}: more than {MOST_VARIABLES} arrays")
        try:
            array = zarr.open_array(str(at), mode="r")
            note = dict(array.attrs)
            dims = note.pop("_ARRAY_DIMENSIONS", None) or getattr(array.metadata, "dimension_names", None)
            shape, dtype = tuple(int(n) for n in array.shape), np.dtype(array.dtype)
        except Exception as error:  # zarr raises its own kinds for what it does not know
            text = (str(error).splitlines() or [type(error).__name__])[0][:150]
            raise FileFormatError(f"{path}: variable {inner!r} is damaged or of an unknown kind ({text})") from None
        fill = array.fill_value
        old = array.metadata.zarr_format == 2 and dtype.kind in "iuf"  # whose fill value is a missing value by custom
        if old and "_FillValue" not in note and fill not in (None, 0):
            note["_FillValue"] = np.asarray(fill).item()
        dims = list(dims or [None] * len(shape))
        if len(dims) != len(shape):
            raise FileFormatError(f"{path}: variable {inner!r} has dimensions {dims} for shape {shape}")
        names = [str(d) if d else f"?{k}.{len(shape)}_of_{n}" for k, (d, n) in enumerate(zip(dims, shape, strict=True))]
        problem = "" if dtype.kind in "biuf" else f"type {dtype} is no number"
        _refuse_too_large(f"{path}: variable {inner!r}", at, shape, dtype)
        if _is_blosc(array):
            _refuse_short_chunks(f"{path}: variable {inner!r}", at)
        fetch = _fetch(array, f"{path}: variable {inner!r}")
        found[inner] = Variable(inner, tuple(names), shape, dtype, _plain(note), fetch, problem, str(path))
    return Labelled(str(path), "Zarr", found, attrs)


def _fetch(array: Any, where: str) -> Callable[[Any], np.ndarray]:
    def fetch(key: Any) -> np.ndarray:
        try:
            return np.asarray(array[key])
        except Exception as error:
            text = (str(error).splitlines() or [type(error).__name__])[0][:150]
            raise FileFormatError(f"{where}: damaged or in a codec that is not known ({text})") from None

    return fetch


def _arrays(root: Path) -> list[tuple[Path, str]]:
    """Folders of arrays, and their names."""
    found: list[tuple[Path, str]] = []
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        inner = os.path.relpath(folder, root).replace(os.sep, "/")
        is_array = ".zarray" in files or _about(here / "zarr.json").get("node_type") == "array"
        if is_array:
            found.append((here, here.name if inner == "." else inner))
        folders[:] = [] if is_array or inner.count("/") >= DEEPEST else sorted(folders)
    return found


def _noted(root: Path) -> dict[str, Any]:
    return _plain(_about(root / ".zattrs") or _about(root / "zarr.json").get("attributes", {}))


def _about(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    if path.stat().st_size > MOST_JSON:
        raise FileFormatError(f"{path}: {path.stat().st_size} bytes, expected at most {MOST_JSON}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: not JSON ({str(error)[:80]})") from None
    return found if isinstance(found, dict) else {}


def _plain(attrs: Any) -> dict[str, Any]:
    """Texts, numbers and lists of these."""
    if not isinstance(attrs, dict):
        return {}
    found = {}
    for key, value in attrs.items():
        if isinstance(value, str) and key in ("_FillValue", "missing_value"):
            value = _number(value)
        if isinstance(value, str | int | float | bool | list) or value is None:
            found[str(key)] = value
    return found


def _number(text: str) -> float | str:
    """A fill value as xarray writes it into JSON: "NaN", or the bytes of a float64 in base 64."""
    if text in ("NaN", "Infinity", "-Infinity"):
        return float(text.lower().replace("infinity", "inf"))
    try:
        (value,) = struct.unpack("<d", base64.b64decode(text, validate=True))
        return value
    except (ValueError, struct.error):
        return text


def _refuse_short_chunks(where: str, folder: Path) -> None:
    """Refuse chunks of Blosc that are shorter than their heads say: its decoder does not look, and reads on."""
    for chunk in folder.rglob("*"):
        if not chunk.is_file() or chunk.name in (*MARKS, ".zattrs"):
            continue
        with chunk.open("rb") as file:
            head = file.read(16)
        if len(head) < 16 or int.from_bytes(head[12:16], "little") != chunk.stat().st_size:
            raise FileFormatError(f"{where}: damaged: chunk {chunk.relative_to(folder)} is cut off; get it again")


def _is_blosc(array: Any) -> bool:
    """Whether the outermost codec is Blosc, and chunks are files of their own."""
    last = list(getattr(array, "compressors", ()) or ())[-1:]
    return bool(last) and "blosc" in type(last[0]).__name__.lower() and not getattr(array, "shards", None)


def _refuse_too_large(where: str, folder: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse an array that cannot be what it says; what has no chunk is of its fill value."""
    nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    stored = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and f.name not in (*MARKS, ".zattrs"))
    if nbytes > RATIO * stored + SPARE:
        raise FileFormatError(f"{where}: declares {nbytes} bytes (shape {shape}), but {stored} are stored")
