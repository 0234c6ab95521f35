"""Open and validate data-set files."""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
from typing import Any

import numpy as np

from sciml.data import probe, schema
from sciml.data._decoded import Decoded, coding_of
from sciml.data._files import absolute
from sciml.data._store import Stored, release
from sciml.errors import FileFormatError, InputError

CHUNK_BYTES = 64 << 20
EAGER_BYTES = 8 << 20  # what is smaller is read at once, fields excepted
MOST_TEXT = 1 << 28


def open(path: str | os.PathLike[str]) -> Any:
    """Open a data set (a .h5 or .nc file, or a .zarr folder) as a lazy `xarray.Dataset`.

    Fields are Dask arrays in chunks of about 64 MiB; indices, parameters and text are read at once. The file may come
    from anywhere: it is checked in full against the schema (field values excepted, see `validate`) before anything is
    returned, the HDF5 library never parses it in this process, and no other file is opened, whatever it says.

    Raises:
        InputError: no such file.
        FileFormatError: not a data set of this schema, or damaged; names the file and variable.
    """
    name = absolute(path, "data")
    if os.path.isdir(name):
        from sciml.data import _zarr

        return _zarr.open(name)
    return open_stored(name)[0]


def _after_fork() -> None:
    """In a forked child: Dask would wait for ever for the threads of its pool, which stayed with the parent."""
    threaded = sys.modules.get("dask.threaded")
    if threaded is not None:
        threaded.default_pool = None  # type: ignore[attr-defined]
        threaded.pools.clear()
        threaded.pools_lock = threading.Lock()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):  # absent on Windows
    os.register_at_fork(after_in_child=_after_fork)


def open_stored(name: str) -> tuple[Any, dict[str, Stored | Decoded]]:
    """The data set in an HDF5 file, and where each of its variables is stored."""
    probe.start()  # it starts while xarray is imported
    import dask.array
    import xarray as xr

    identity, attrs, found = probe.inspect(name)
    sizes = _sizes(name, found)
    for variable, about in found.items():
        if about["stored"] is not None:
            coding = coding_of(about["attrs"], about["stored"].dtype, f"{name}: variable {variable!r}")
            about["stored"] = about["stored"] if coding is None else Decoded(about["stored"], coding)
    widest = 1
    data: dict[str, Any] = {}
    for variable, about in found.items():
        stored: Stored | Decoded | None = about["stored"]
        if stored is None or (variable in sizes and about["dims"] == (variable,)):
            continue
        if about["dims"][:1] in (("frame",), ("obs",)) and stored.dtype.kind == "f":
            widest = max(widest, stored.row_bytes())
    try:
        for variable, about in found.items():
            stored = about["stored"]
            if stored is None:
                continue
            dims, note = about["dims"], about["attrs"]
            if stored.dtype.kind == "S":
                dims, values = _text(name, variable, stored, dims, note)
            elif _lazy(stored, dims):
                ragged = dims[0] in ("frame", "obs")
                depth = max(CHUNK_BYTES // max(widest if ragged else stored.row_bytes(), 1), 1)
                chunks: Any = (min(depth, max(stored.shape[0], 1)), *stored.shape[1:])
                values = dask.array.from_array(
                    stored, chunks=chunks, name=f"{variable}-{_token(stored)}", asarray=False, fancy=True, lock=False
                )
            else:
                values = stored[...]
            coding = {"dtype": "S1"} if stored.dtype.kind == "S" else {}  # text is written again as it is stored here
            data[variable] = (dims, values, note, coding)
        coords = {"time": data.pop("time")} if "time" in data else {}
        dataset = xr.Dataset(data, coords, attrs)
        if "sha256" not in dataset.variables:
            raise FileFormatError(f"{name}: variable 'sha256' is missing, the checksums of the cases")
        schema.check(dataset, name)
        _consistent(dataset, name)
    except (KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        release(identity)
        if isinstance(error, InputError):
            raise
        raise FileFormatError(f"{name}: not a data set of this schema: {str(error).splitlines()[0][:300]}") from None
    dataset.encoding["source"] = name
    dataset.set_close(functools.partial(release, identity))
    return dataset, {k: about["stored"] for k, about in found.items() if about["stored"] is not None}


def _lazy(stored: Stored | Decoded, dims: tuple[str, ...]) -> bool:
    fields = (stored.ndim > 1 and dims[0] == "frame") or dims[:1] == ("obs",)
    return fields or (stored.ndim > 1 and stored.nbytes > EAGER_BYTES)


def _token(stored: Stored | Decoded) -> str:
    from dask.base import tokenize

    f = stored.file
    return tokenize(f.path, f.device, f.inode, f.size, f.modified, stored.name)


def _sizes(path: str, found: dict[str, dict[str, Any]]) -> dict[str, int]:
    """Sizes of all dimensions, which all variables must agree on."""
    sizes: dict[str, int] = {}
    for name, about in found.items():
        if not schema.NAME.match(name):
            raise FileFormatError(f"{path}: {name[:60]!r} is not a name for a variable")
        if about["stored"] is None:
            sizes[name] = about["shape"][0] if len(about["shape"]) == 1 else -1
    for name, about in found.items():
        if about["stored"] is None:
            continue
        if len(about["dims"]) != len(about["shape"]) or len(set(about["dims"])) != len(about["dims"]):
            raise FileFormatError(f"{path}: variable {name!r}: dimensions {about['dims']} for shape {about['shape']}")
        for dim, n in zip(about["dims"], about["shape"], strict=True):
            if sizes.setdefault(dim, n) != n:
                raise FileFormatError(f"{path}: variable {name!r} has {n} along {dim!r}, expected {sizes[dim]}")
    for needed in ("case", "frame"):
        if needed not in sizes and "node_row_size" not in found:
            raise FileFormatError(f"{path}: dimension {needed!r} is missing; is this a sciml data set?")
    return sizes


def _text(path: str, name: str, stored: Any, dims: tuple[str, ...], note: dict[str, Any]) -> tuple[Any, Any]:
    """Text stored as characters over a last dimension of its own, as NetCDF does."""
    if stored.nbytes > MOST_TEXT:
        raise FileFormatError(f"{path}: variable {name!r} holds {stored.nbytes} bytes of text, expected less")
    raw = np.ascontiguousarray(stored[...])
    if stored.dtype.itemsize == 1 and raw.ndim > 1:
        raw, dims = raw.view(f"S{raw.shape[-1]}")[..., 0], dims[:-1]
    note.pop("_Encoding", None)
    try:
        return dims, np.array([t.decode("utf-8") for t in raw.ravel().tolist()], dtype=str).reshape(raw.shape)
    except UnicodeDecodeError:
        raise FileFormatError(f"{path}: variable {name!r} is not UTF-8 text") from None


def _consistent(dataset: Any, path: str) -> None:
    """What the case texts say must be what the parameter variables say."""
    for variable in ("case_json", "case_attrs_json"):
        if variable not in dataset.variables:
            continue
        names = schema.parameter_names(dataset)
        columns = {n: dataset[n].values for n in names}
        for i, text in enumerate(dataset[variable].values):
            try:
                content = json.loads(str(text))
                told = content["parameters"] if variable == "case_json" else dict(content)
            except (ValueError, KeyError, TypeError, RecursionError):
                raise FileFormatError(f"{path}: variable {variable!r} is not as expected for case {i}") from None
            if variable == "case_attrs_json":
                continue
            for n in names:
                if told.get(n) != columns[n][i]:
                    got = f"{columns[n][i]} for case {i}, but its case_json says {told.get(n)}"
                    raise FileFormatError(f"{path}: variable {n!r} is {got}")


def validate(path_or_dataset: Any, checksums: bool = True) -> dict[str, Any]:
    """Check a data set in depth: everything that `open` checks, every field value, every checksum.

    Args:
        path_or_dataset: a file, or a packed data set.
        checksums: compare the SHA-256 of every case with the stored one, where the file has them.

    Returns:
        {"cases", "frames", "bytes", "checksums": number compared}.

    Raises:
        FileFormatError: the first fault found, with file, variable, case and frame.
    """
    if isinstance(path_or_dataset, str | os.PathLike):
        dataset = open(path_or_dataset)
        where = str(dataset.encoding["source"])
    else:
        dataset, where = path_or_dataset, str(path_or_dataset.encoding.get("source", "data set"))
        if not schema.is_packed(dataset):
            raise InputError("validate: expected a file or a packed data set (sciml.data.pack)")
        schema.check(dataset, where)
    from sciml.data.digest import Digests

    digests = Digests(dataset)
    fields = set(schema.field_names(dataset))
    good = np.asarray(dataset["status"].values) == 0 if "status" in dataset.variables else None
    total = 0
    for name, variable in dataset.variables.items():
        if not digests.covers(str(name), variable.dims):
            continue
        bounds = digests.bounds[str(variable.dims[0])]
        check = str(name) in fields or str(name) in ("x", "y", "z")

        def look(start: int, block: np.ndarray, name: Any = name, bounds: Any = bounds) -> None:
            if np.isfinite(block).all():
                return
            for at in np.flatnonzero(~np.isfinite(block.reshape(len(block), -1)).all(axis=1)):
                i = int(np.searchsorted(bounds, start + at, side="right")) - 1
                if good is None or good[i]:
                    kind = "frame" if "frame" in dataset[name].dims else "entry"
                    place = f"case {i}, {kind} {start + at - bounds[i]}"
                    raise FileFormatError(f"{where}: variable {name!r} is not finite in {place}")

        digests.stream(str(name), variable, look if check else None)
        total += variable.size * variable.dtype.itemsize
    compared = 0
    if checksums and "sha256" in dataset.variables:
        stored, found = np.asarray(dataset["sha256"].values), digests.result()
        wrong = np.flatnonzero((stored != found).any(axis=1)) if stored.shape == found.shape else [0]
        if len(wrong):
            raise FileFormatError(
                f"{where}: variable 'sha256' does not agree with the values of case {wrong[0]}: the file was changed"
            )
        compared = len(found)
    return {"cases": dataset.sizes["case"], "frames": dataset.sizes["frame"], "bytes": total, "checksums": compared}
