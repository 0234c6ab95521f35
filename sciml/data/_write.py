"""Write data-set files: NetCDF-4-compatible HDF5, atomically, and the same bytes for the same content."""

# pyright: reportAttributeAccessIssue=false
# (h5py is compiled and has no type stubs for its low-level modules)

from __future__ import annotations

import datetime
import errno
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sciml.arrays import cast, storable
from sciml.data import _files, schema
from sciml.data._pack import single
from sciml.data._solution import VOLATILE
from sciml.data.digest import BLOCK
from sciml.errors import InputError
from sciml.progress import Bar

FRAME_BYTES = 4 << 20  # larger frames are split in space
OBS_BYTES = 1 << 20
MOST_ATTRIBUTE = 60_000  # bytes: HDF5 keeps an attribute in the object header up to 64 KiB


def write(
    dataset: Any,
    path: str | os.PathLike[str],
    *,
    compression: int | None = None,
    volatile: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> None:
    """Write a packed data set (or one solution, as a data set of one case) to `path`; ".zarr" makes a Zarr store.

    The file appears whole or not at all; a file of that name is replaced only then. Equal content gives equal bytes;
    what differs between equal runs (the time of day, `volatile`) goes to `<path>.json`. Fields are stored one frame a
    chunk; Dask-backed ones are streamed.

    Args:
        compression: gzip level 1 to 9; None (default) stores values as they are, which reads fastest.
        volatile: facts for the side-car file, for instance the wall time.
        progress: whether to show a bar.

    Raises:
        InputError: content that breaks the schema, or a place that cannot be written; nothing is left behind then.
    """
    packed = dataset if schema.is_packed(dataset) else single(dataset, dtype=None)
    packed = packed.copy(deep=False)
    facts = {k: packed.attrs.pop(k) for k in VOLATILE if k in packed.attrs} | dict(volatile or {})
    target = Path(_files.given(path))
    _files.require_name(os.path.realpath(_files.absolute(path)), ".json")
    for name, variable in packed.variables.items():
        if variable.dtype != storable(variable.dtype):
            values = cast(f"{name!r}", variable.data, storable(variable.dtype))
            packed[name] = (variable.dims, values, variable.attrs)
    schema.check(packed, "data set")
    if compression is not None and compression not in range(1, 10):
        raise InputError(f"compression: expected a level from 1 to 9 or None, got {compression!r}")
    if target.suffix == ".zarr":
        from sciml.data import _zarr

        _zarr.write(packed, _prepare(packed), target)
    else:
        count = sum(-(-v.size * v.dtype.itemsize // BLOCK) for v in packed.variables.values())
        with _files.replacing(target) as part, Bar("write", int(count), progress) as step:
            _write_hdf5(packed, part, compression, step)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    _files.write_json(_files.side_car(target), {"written": now, **facts})


def _prepare(packed: Any) -> dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]]:
    """Variables in the order of a file: name -> (dims, xarray variable or encoded array, attrs). Text becomes
    characters over a dimension of its own."""
    import xarray as xr

    found = {}
    for name in sorted(str(n) for n in packed.variables):
        variable = packed.variables[name]
        if name == "sha256":
            continue
        if variable.dtype.kind in "OUT":
            raw = np.array([str(t).encode("utf-8") for t in np.asarray(variable.values).ravel()], dtype="S")
            width = max(raw.dtype.itemsize, 1)
            cells = np.frombuffer(raw.tobytes().ljust(width * raw.size, b"\0"), "S1").reshape(*variable.shape, width)
            attrs = dict(variable.attrs) | {"_Encoding": "utf-8"}
            found[name] = ((*variable.dims, f"{name}_length"), xr.Variable((*variable.dims, "c"), cells), attrs)
        else:
            found[name] = (tuple(str(d) for d in variable.dims), variable, dict(variable.attrs))
    return found


def _write_hdf5(packed: Any, part: Path, compression: int | None, step: Callable[[], None] = lambda: None) -> None:
    import h5py
    from h5py import h5d, h5f, h5p, h5s, h5t

    from sciml.data.digest import Digests, blocks

    variables = _prepare(packed)
    needed = sum(v.size * v.dtype.itemsize for _, v, _ in variables.values())
    free = shutil.disk_usage(part.parent).free
    if not compression and needed > free:
        text = f"{os.strerror(errno.ENOSPC)}: {needed / 1e9:.3g} GB needed, {free / 1e9:.3g} GB free"
        raise OSError(errno.ENOSPC, text)
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_libver_bounds(h5f.LIBVER_V110, h5f.LIBVER_V110)
    creation = h5p.create(h5p.FILE_CREATE)
    creation.set_link_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
    creation.set_obj_track_times(False)
    handle = h5f.create(os.fsencode(part), h5f.ACC_EXCL, creation, access)
    file = h5py.File(handle)
    places: dict[str, tuple[int, Any]] = {}
    digests = Digests(packed)
    try:
        for key, value in sorted(packed.attrs.items()):
            _attribute(file, str(key), value)
        sizes: dict[str, int] = {}
        for dims, variable, _ in variables.values():
            sizes.update(zip(dims, (int(n) for n in variable.shape), strict=True))
        sizes |= {"digest": 32}
        scales = {d: _scale(file, d, n) for d, n in sizes.items()}
        tables = {n: (dims, v.shape, np.dtype(v.dtype), attrs) for n, (dims, v, attrs) in variables.items()}
        note = {"long_name": "SHA-256 of each case"}
        tables["sha256"] = (("case", "digest"), (packed.sizes["case"], 32), np.dtype("u1"), note)
        for name, (dims, shape, dtype, attrs) in tables.items():
            plist = h5p.create(h5p.DATASET_CREATE)
            plist.set_obj_track_times(False)
            plist.set_alloc_time(h5d.ALLOC_TIME_EARLY)
            plist.set_fill_time(h5d.FILL_TIME_NEVER)
            chunk = chunk_of(dims, shape, dtype)
            filtered = bool(compression) and chunk is not None
            if chunk is not None:
                plist.set_chunk(chunk)
                if filtered:
                    plist.set_alloc_time(h5d.ALLOC_TIME_INCR)
                    plist.set_shuffle()
                    plist.set_deflate(int(compression or 0))
            htype = h5t.py_create(dtype.newbyteorder("<"), logical=True)
            did = h5d.create(handle, name.encode(), htype, h5s.create_simple(shape), plist)
            dset = h5py.Dataset(did)
            for key, value in sorted(attrs.items()):
                _attribute(dset, str(key), value)
            for k, dim in enumerate(dims):
                dset.dims[k].attach_scale(scales[dim])
            if filtered:
                data = variables[name][1]

                def put(start: int, block: np.ndarray, dset: Any = dset) -> None:
                    dset[start : start + len(block)] = block
                    step()

                digests.stream(name, data, put)
            elif math.prod(shape):
                places[name] = (_place(did, chunk, shape, dtype), chunk)
    finally:
        file.close()
    # values go straight to their places: a full disk is then an ordinary error of the operating system, whereas the
    # HDF5 library cannot always close a file that it failed to write
    fd = os.open(part, os.O_RDWR)
    try:
        for name, (offset, chunk) in places.items():
            if name == "sha256":
                continue
            source, encoded = packed.variables[name], variables[name][1]
            row = math.prod(encoded.shape[1:]) * encoded.dtype.itemsize

            def store(start: int, block: np.ndarray, offset: int = offset, row: int = row, chunk: Any = chunk) -> None:
                _pwrite(fd, _chunked(block, chunk), offset + start * row)
                step()

            if digests.covers(name, tuple(source.dims)) and source.dtype.kind not in "OUT":
                digests.stream(name, source, store)
            else:
                for start, block in blocks(encoded):
                    store(start, block)
        for name in variables:
            source = packed.variables[name]
            if name not in digests.lines and digests.covers(name, tuple(source.dims)):
                digests.stream(name, source)
        _pwrite(fd, digests.result(), places["sha256"][0])
    finally:
        os.close(fd)


def chunk_of(dims: tuple[str, ...], shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...] | None:
    """Chunk shape of a variable: one frame, split along its first axes where it is above FRAME_BYTES; None (contiguous)
    for small variables. A split chunk must divide the frame, or else the frame is left whole."""
    if not math.prod(shape) or len(dims) < 2 or dims[0] not in ("frame", "case") or dtype.kind == "S":
        return None
    if dims[0] == "case" and math.prod(shape[1:]) * dtype.itemsize < 4096:
        return None
    chunk = [1, *shape[1:]]
    for axis in range(1, len(chunk)):
        while math.prod(chunk) * dtype.itemsize > FRAME_BYTES and chunk[axis] > 1:
            chunk[axis] = _largest_divisor(chunk[axis])
    return tuple(chunk)


def _largest_divisor(n: int) -> int:
    """The largest proper divisor of n."""
    for d in range(2, math.isqrt(n) + 1):
        if n % d == 0:
            return n // d
    return 1


def _place(did: Any, chunk: Any, shape: tuple[int, ...], dtype: np.dtype) -> int:
    """File offset at which the values of a variable start; its chunks follow each other without gaps."""
    if chunk is None:
        return int(did.get_offset())
    first = did.get_chunk_info(0).byte_offset
    count = math.prod(s // c for s, c in zip(shape, chunk, strict=True))
    last = did.get_chunk_info(count - 1).byte_offset
    if last - first != (count - 1) * math.prod(chunk) * dtype.itemsize:
        raise InputError("this HDF5 library does not lay out chunks one after another; h5py 3.16 or later is needed")
    return int(first)


def _chunked(block: np.ndarray, chunk: Any) -> np.ndarray:
    """Values in the order of their chunks."""
    if chunk is None or tuple(chunk[1:]) == block.shape[1:]:
        return block
    split = [block.shape[0]]
    for n, c in zip(block.shape[1:], chunk[1:], strict=True):
        split += [n // c, c]
    order = [0, *range(1, len(split), 2), *range(2, len(split), 2)]
    return np.ascontiguousarray(block.reshape(split).transpose(order))


def _pwrite(fd: int, array: np.ndarray, offset: int) -> None:
    view = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        done += os.pwrite(fd, view[done : done + (1 << 30)], offset + done)


def _scale(file: Any, name: str, size: int) -> Any:
    """A netCDF dimension without coordinate values: a data set whose values are never stored."""
    from h5py import Dataset, h5d, h5p, h5s, h5t

    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_obj_track_times(False)
    plist.set_fill_time(h5d.FILL_TIME_NEVER)
    did = h5d.create(file.id, name.encode(), h5t.IEEE_F32BE, h5s.create_simple((size,)), plist)
    dset = Dataset(did)
    dset.make_scale(f"This is a netCDF dimension but not a netCDF variable.{size:10d}")
    return dset


def _attribute(holder: Any, name: str, value: Any) -> None:
    import h5py

    if isinstance(value, str):
        raw = value.encode("utf-8")
        if len(raw) > MOST_ATTRIBUTE:
            raise InputError(f"attrs: {name!r} has {len(raw)} bytes, expected at most {MOST_ATTRIBUTE}")
        dtype = h5py.string_dtype("utf-8", max(len(raw), 1))
        holder.attrs.create(name, np.array(raw, dtype=dtype), dtype=dtype)
    elif isinstance(value, bool) or not isinstance(value, int | float | np.number | np.ndarray | list | tuple):
        raise InputError(f"attrs: {name!r} is a {type(value).__name__}, expected text, a number or a 1-D array")
    else:
        array = np.asarray(value)
        if array.ndim > 1 or array.dtype.kind not in "fiu" or array.nbytes > MOST_ATTRIBUTE:
            raise InputError(f"attrs: {name!r} is {array.dtype} of shape {array.shape}, expected 1-D numbers")
        holder.attrs.create(name, array.astype(array.dtype.newbyteorder("<")))
