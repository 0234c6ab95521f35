"""The Zarr form of a data set: the same variables, fields in shards of many one-frame chunks (Zarr format 3)."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from sciml.data import _files, schema
from sciml.data._decoded import coding_of
from sciml.errors import FileFormatError, InputError

SHARD_BYTES = 64 << 20
MOST_BYTES = 1 << 30  # of variables that are read at once
_CODECS = {"sharding_indexed", "bytes", "zstd", "gzip", "crc32c", "vlen-utf8"}
_MOST_JSON = 1 << 20


def _zarr() -> Any:
    try:
        import zarr
    except ImportError:
        raise InputError("zarr: this needs the package zarr >= 3; pip install 'sciml[zarr]'") from None
    return zarr


def write(packed: Any, variables: dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]], target: Path) -> None:
    """Write a packed data set as a Zarr folder, which must not exist; it appears whole or not at all.

    Args:
        variables: of `packed`, as they are stored: name -> (dims, encoded array, attrs).
    """
    zarr = _zarr()
    from sciml.data.digest import Digests, blocks

    if os.path.lexists(target):
        raise InputError(f"{target}: exists already; a Zarr store is not replaced")
    if not os.path.isdir(target.parent):
        raise InputError(f"{target}: the folder {str(target.parent)!r} does not exist")
    part = target.parent / f".{secrets.token_hex(8)}.part"
    digests = Digests(packed)
    try:
        group = zarr.create_group(str(part), zarr_format=3, attributes=_plain(packed.attrs))
        for name, (dims, encoded, attrs) in variables.items():
            source = packed.variables[name]
            if encoded.dtype.kind == "S":  # text, in the type that xarray reads
                values = np.asarray(source.values).astype(object)
                how: dict[str, Any] = {"dimension_names": source.dims, "attributes": _plain(source.attrs)}
                array = group.create_array(name, shape=values.shape, dtype=str, compressors=None, **how)
                array[...] = values
                if digests.covers(name, tuple(source.dims)):
                    digests.stream(name, source)
                continue
            dtype = encoded.dtype.newbyteorder("<")
            array = group.create_array(
                name,
                shape=encoded.shape,
                dtype=dtype,
                dimension_names=dims,
                attributes=_plain(attrs),
                **_layout(dims, encoded),
            )

            def put(start: int, block: np.ndarray, array: Any = array) -> None:
                array[start : start + len(block)] = block

            if digests.covers(name, tuple(source.dims)):
                digests.stream(name, source, put)
                continue
            for start, block in blocks(encoded):
                put(start, block)
        sums = digests.result()
        array = group.create_array("sha256", shape=sums.shape, dtype="u1", dimension_names=("case", "digest"))
        array[...] = sums
        with warnings.catch_warnings():  # that this is no part of the format yet: readers without it lose nothing
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(str(part))
        for folder, _, files in os.walk(part):
            for file in files:
                _files.sync(Path(folder) / file)
            _files.sync(Path(folder))
        part.rename(target)
        _files.sync(target.parent)
    except OSError as error:
        raise InputError(f"{target}: cannot write: {_files.reason(error)}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _plain(attrs: Any) -> dict[str, Any]:
    return {str(k): v.tolist() if isinstance(v, np.ndarray | np.generic) else v for k, v in sorted(attrs.items())}


def _layout(dims: tuple[str, ...], variable: Any) -> dict[str, Any]:
    shape = tuple(max(n, 1) for n in variable.shape)
    if dims[0] != "frame" or len(dims) < 2:
        return {"chunks": shape}
    frame = int(np.prod(shape[1:])) * variable.dtype.itemsize
    return {"chunks": (1, *shape[1:]), "shards": (min(max(SHARD_BYTES // frame, 1), shape[0]), *shape[1:])}


def open(name: str) -> Any:
    """Open a Zarr folder as a lazy data set, after checking its metadata: types, codecs, no links out of the folder."""
    zarr = _zarr()
    import dask.array
    import xarray as xr

    root = Path(name)
    if not (root / "zarr.json").is_file():
        raise FileFormatError(f"{name}: not a Zarr store of format 3 (no zarr.json)")
    for folder, folders, files in os.walk(root):
        for entry in (*folders, *files):
            if os.path.islink(os.path.join(folder, entry)):
                raise FileFormatError(f"{name}: {entry!r} is a link; links are refused")
    try:
        attrs = _metadata(root / "zarr.json")["attributes"]
        data: dict[str, Any] = {}
        for place in sorted(p for p in root.iterdir() if p.is_dir()):
            about = _metadata(place / "zarr.json")
            if not schema.NAME.match(place.name) or about.get("node_type") != "array":
                raise FileFormatError(f"{name}: {place.name[:60]!r} is not a variable")
            _check_codecs(name, place.name, about.get("codecs", []))
            array: Any = zarr.open_array(str(place), mode="r")
            dims, note = tuple(about["dimension_names"]), dict(array.attrs)
            if about["data_type"] == "string":
                data[place.name] = (dims, _text(name, place, array, about), _arrays(note))
                continue
            if array.dtype.kind not in "fiu" or len(dims) != array.ndim:
                raise FileFormatError(f"{name}: variable {place.name!r} has type {array.dtype} over {dims}")
            where = f"{name}: variable {place.name!r}"
            coding = coding_of(_numbers(note, array.dtype), array.dtype, where)
            if array.ndim > 1 and dims[0] == "frame":
                chunks: Any = (array.shards or array.chunks)[:1] + array.shape[1:]
                lazy = dask.array.from_array(array, chunks=chunks)
                if coding is not None:
                    lazy = lazy.map_blocks(coding.decode, where, dtype=coding.dtype)
                data[place.name] = (dims, lazy, _arrays(note))
                continue
            if array.nbytes > MOST_BYTES:
                raise FileFormatError(f"{name}: variable {place.name!r} declares {array.nbytes} bytes")
            values = np.asarray(array[...]) if coding is None else coding.decode(array[...], where)
            data[place.name] = (dims, values, _arrays(note))
        coords = {"time": data.pop("time")} if "time" in data else {}
        dataset = xr.Dataset(data, coords, {k: _arrays({k: v})[k] for k, v in attrs.items()})
        schema.check(dataset, name)
    except InputError:
        raise
    except Exception as error:  # zarr raises its own kinds for damaged metadata and chunks
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileFormatError(f"{name}: the store is damaged: {text[:300]}") from None
    dataset.encoding["source"] = name
    return dataset


def _text(name: str, place: Path, array: Any, about: dict[str, Any]) -> np.ndarray:
    """Text, whose size only its files tell: what they hold must fit into memory, compressed or not."""
    codecs = [codec["name"] for codec in about.get("codecs", [])]
    if codecs not in (["vlen-utf8"], ["vlen-utf8", "zstd"]):
        raise FileFormatError(f"{name}: variable {place.name!r}: text with the codecs {codecs}, expected vlen-utf8")
    files = [p for p in place.rglob("*") if p.is_file() and p.name != "zarr.json"]
    held = sum(_zstd_size(p) if "zstd" in codecs else p.stat().st_size for p in files)
    if array.size > MOST_BYTES >> 6 or held > MOST_BYTES >> 2:
        raise FileFormatError(f"{name}: variable {place.name!r} declares {array.size} texts of {held} bytes")
    values = np.asarray(array[...])
    return np.array([str(text) for text in values.ravel()], dtype=str).reshape(values.shape)


def _zstd_size(path: Path) -> int:
    """Bytes of a Zstandard file once decompressed, as its frame header says (RFC 8878, 3.1.1.1)."""
    with path.open("rb") as file:
        head = file.read(18)
    if head[:4] != b"\x28\xb5\x2f\xfd" or len(head) < 6:
        raise ValueError(f"{path.name} of {path.parent.name} is not compressed by zstd")
    flags, single = head[4] >> 6, bool(head[4] & 0x20)
    at = 5 + (not single) + (0, 1, 2, 4)[head[4] & 3]
    width = (int(single), 2, 4, 8)[flags]
    if not width:
        raise ValueError(f"{path.name} of {path.parent.name} does not say how large it is")
    return int.from_bytes(head[at : at + width], "little") + (256 if flags == 1 else 0)


def _numbers(note: dict[str, Any], dtype: np.dtype) -> dict[str, Any]:
    """Attributes with the fill value as a number: xarray writes that of floating-point values in base 64."""
    fill = note.get("_FillValue")
    if dtype.kind == "f" and isinstance(fill, str):
        note["_FillValue"] = struct.unpack("<d", base64.standard_b64decode(fill))[0]
    return note


def _metadata(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        raw = file.read(_MOST_JSON + 1)
    content = json.loads(raw)
    if len(raw) > _MOST_JSON or not isinstance(content, dict):
        raise ValueError(f"{path.parent.name}/zarr.json is not as expected")
    return content


def _check_codecs(name: str, variable: str, codecs: Any) -> None:
    for codec in codecs:
        if codec["name"] not in _CODECS:
            raise FileFormatError(f"{name}: variable {variable!r}: codec {codec['name']!r} is refused")
        inner = codec.get("configuration") or {}
        _check_codecs(name, variable, [*inner.get("codecs", []), *inner.get("index_codecs", [])])


def _arrays(note: dict[str, Any]) -> dict[str, Any]:
    return {
        k: np.array(v, np.uint8 if k == "flag_values" else None) if isinstance(v, list) else v for k, v in note.items()
    }
