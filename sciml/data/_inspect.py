"""Structural inspection of an HDF5 file with the low-level HDF5 interface; runs in the isolated process only.

Everything that could reach outside the file, allocate without bound or run foreign code is refused before it is
touched: links other than hard ones, groups, external storage, virtual data sets, types and filters that are not on the
lists below, and sizes that the file's own size cannot account for.
"""

# pyright: reportAttributeAccessIssue=false
# (h5py is compiled and has no type stubs for its low-level modules)

from __future__ import annotations

import math
import os
from functools import partial
from typing import Any, NoReturn

import h5py
import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5l, h5o, h5p, h5s, h5t, h5z

from sciml.errors import FileFormatError

MOST_VARIABLES = 1000
MOST_ATTRIBUTES = 200
MOST_ATTRIBUTE_BYTES = 1 << 20
MOST_CHUNK_BYTES = 1 << 28
DEFLATE_RATIO = 1040  # deflate cannot shrink data further than 1032 : 1
FILTERS = {h5z.FILTER_DEFLATE: 1, h5z.FILTER_SHUFFLE: 2, h5z.FILTER_FLETCHER32: 3}
PURE_DIMENSION = b"This is a netCDF dimension but not a netCDF variable."

_TYPES = [
    (getattr(h5t, name), np.dtype(code))
    for name, code in (
        ("IEEE_F32LE", "<f4"), ("IEEE_F32BE", ">f4"), ("IEEE_F64LE", "<f8"), ("IEEE_F64BE", ">f8"),
        ("STD_I8LE", "i1"), ("STD_I16LE", "<i2"), ("STD_I32LE", "<i4"), ("STD_I64LE", "<i8"),
        ("STD_U8LE", "u1"), ("STD_U16LE", "<u2"), ("STD_U32LE", "<u4"), ("STD_U64LE", "<u8"),
        ("STD_I8BE", "i1"), ("STD_I16BE", ">i2"), ("STD_I32BE", ">i4"), ("STD_I64BE", ">i8"),
        ("STD_U8BE", "u1"), ("STD_U16BE", ">u2"), ("STD_U32BE", ">u4"), ("STD_U64BE", ">u8"),
    )
]  # fmt: skip


class Inspector:
    """One pass over one file; `describe` returns plain values only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = os.path.getsize(path)

    def fail(self, text: str, name: str = "") -> NoReturn:
        raise FileFormatError(f"{self.path}: " + (f"variable {name!r}: {text}" if name else text))

    def describe(self) -> dict[str, Any]:
        access = h5p.create(h5p.FILE_ACCESS)
        access.set_fclose_degree(h5f.CLOSE_STRONG)
        access.set_file_locking(False, True)  # read-only folders and busy network disks have no locks
        file = h5f.open(os.fsencode(self.path), h5f.ACC_RDONLY, access)
        try:
            root = h5g.open(file, b"/")
            names = self._links(root)
            found = [self._variable(h5d.open(file, name), name.decode("ascii")) for name in names]
            return {"attrs": self._attributes(root, "the root"), "variables": found}
        finally:
            file.close()

    def _links(self, root: Any) -> list[bytes]:
        if root.get_num_objs() > MOST_VARIABLES:
            self.fail(f"{root.get_num_objs()} objects, expected at most {MOST_VARIABLES}")
        names: list[bytes] = []
        root.links.iterate(lambda name: names.append(name))
        places: dict[int, bytes] = {}
        for name in names:
            info = root.links.get_info(name)
            if info.type != h5l.TYPE_HARD:
                kind = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "an external link"}.get(info.type, "a link")
                self.fail(f"{_text(name)!r} is {kind}, expected a variable; links are refused")
            about = h5o.get_info(root, name)
            if about.type != h5o.TYPE_DATASET:
                self.fail(f"{_text(name)!r} is not a variable; groups and named types are refused")
            if info.u in places:
                self.fail(f"{_text(name)!r} and {_text(places[info.u])!r} are the same object")
            places[info.u] = name
            try:
                name.decode("ascii")
            except UnicodeDecodeError:
                self.fail(f"variable name {_text(name)!r} is not ASCII")
        return sorted(names)

    def _variable(self, dset: Any, name: str) -> dict[str, Any]:
        plist = dset.get_create_plist()
        layout = plist.get_layout()
        if layout == h5d.VIRTUAL:
            self.fail("a virtual data set (values in other files) is refused", name)
        if plist.get_external_count():
            self.fail("external storage (values in another file) is refused", name)
        dtype = self._type(dset.get_type(), name)
        space = dset.get_space()
        if space.get_simple_extent_type() != h5s.SIMPLE and space.get_simple_extent_type() != h5s.SCALAR:
            self.fail("has no data space", name)
        shape = tuple(int(n) for n in space.get_simple_extent_dims()) if space.get_simple_extent_ndims() else ()
        nbytes = math.prod(shape) * dtype.itemsize
        filters = self._filters(plist, name)
        if nbytes > self.size * (DEFLATE_RATIO if 1 in filters else 1) and not self._pure(dset):
            self.fail(f"declares {nbytes} bytes (shape {shape}), but the file has {self.size}", name)
        attrs = self._attributes(dset, f"variable {name!r}")
        found = {
            "name": name, "dtype": dtype.str, "shape": shape, "attrs": attrs, "filters": filters,
            "chunk": None, "offsets": [0], "sizes": None, "dims": [],
        }  # fmt: skip
        if self._pure(dset):
            return found | {"pure": True}
        found["dims"] = self._dims(dset, shape, name)
        if nbytes == 0:
            return found
        if layout == h5d.CHUNKED:
            return found | self._chunks(dset, plist.get_chunk(), shape, dtype, filters, name)
        if layout != h5d.CONTIGUOUS:
            self.fail("has a compact layout, expected contiguous or chunked", name)
        offset = dset.get_offset()
        if offset is None or dset.get_storage_size() < nbytes:
            self.fail(f"has no stored values, although its shape is {shape}", name)
        if offset + nbytes > self.size:
            self.fail(f"values end at byte {offset + nbytes}, but the file has {self.size}", name)
        return found | {"offsets": [int(offset)]}

    def _type(self, htype: Any, name: str) -> np.dtype:
        for known, dtype in _TYPES:
            if htype.equal(known):
                return dtype
        if htype.get_class() == h5t.STRING and not htype.is_variable_str() and 0 < htype.get_size() <= 1 << 16:
            return np.dtype(f"S{htype.get_size()}")
        kind = _CLASSES.get(htype.get_class(), "unknown")
        self.fail(f"type {kind} is refused, expected plain integers, floating point or fixed-length text", name)

    def _filters(self, plist: Any, name: str) -> list[int]:
        codes = [plist.get_filter(k)[0] for k in range(plist.get_nfilters())]
        for code in codes:
            if code not in FILTERS:
                self.fail(f"filter {code} is refused, expected gzip, shuffle or fletcher32", name)
        if len(set(codes)) != len(codes):
            self.fail("applies the same filter twice", name)
        return [FILTERS[code] for code in codes]

    def _chunks(self, dset: Any, chunk: Any, shape: Any, dtype: np.dtype, filters: list[int], name: str) -> dict:
        size = math.prod(chunk) * dtype.itemsize
        grid = tuple(-(-n // c) for n, c in zip(shape, chunk, strict=True))
        count = math.prod(grid)
        if not 0 < size <= MOST_CHUNK_BYTES:
            self.fail(f"chunks of {size} bytes, expected at most {MOST_CHUNK_BYTES}", name)
        if count > self.size or dset.get_num_chunks() != count:
            self.fail(f"has {dset.get_num_chunks()} stored chunks, expected {count} for shape {shape}", name)
        places = np.full(count, -1, np.int64)
        sizes = np.zeros(count, np.int64)
        masks = []

        def visit(info: Any) -> None:
            at = tuple(int(o) // int(c) for o, c in zip(info.chunk_offset, chunk, strict=True))
            if any(k >= n for k, n in zip(at, grid, strict=True)):
                masks.append(-1)
                return
            number = 0
            for k, n in zip(at, grid, strict=True):
                number = number * n + k
            places[number], sizes[number] = info.byte_offset or -1, info.size
            if info.filter_mask:
                masks.append(info.filter_mask)

        dset.chunk_iter(visit)
        if masks or places.min() < 0:
            self.fail("chunks are missing, outside the shape or not filtered as declared", name)
        if not filters and np.any(sizes != size):
            self.fail(f"a chunk has {int(sizes[sizes != size][0])} bytes, expected {size}", name)
        order = np.argsort(places, kind="stable")
        ends = places[order] + sizes[order]
        if sizes.min() <= 0 or int(ends.max()) > self.size or np.any(ends[:-1] > places[order][1:]):
            self.fail(f"chunks overlap or end beyond the file's {self.size} bytes", name)
        if size * count > (DEFLATE_RATIO * int(sizes.sum()) + 65536 if 1 in filters else self.size):
            self.fail(f"declares {size * count} bytes in {int(sizes.sum())} stored ones", name)
        return {"chunk": tuple(int(c) for c in chunk), "offsets": places, "sizes": sizes if filters else None}

    def _pure(self, dset: Any) -> bool:
        """Whether this is a netCDF dimension that holds no values."""
        if not h5a.exists(dset, b"NAME") or not h5a.exists(dset, b"CLASS"):
            return False
        text = self._attribute(h5a.open(dset, b"NAME"), "NAME", "a dimension")
        return isinstance(text, str) and text.encode("utf-8", "replace").startswith(PURE_DIMENSION)

    def _dims(self, dset: Any, shape: tuple[int, ...], name: str) -> list[str]:
        if not shape:
            return []
        if not h5a.exists(dset, b"DIMENSION_LIST"):
            if h5a.exists(dset, b"CLASS") and len(shape) == 1:  # a coordinate variable is its own dimension
                return [name]
            self.fail("has no dimension scales", name)
        if h5py.h5ds.get_num_scales(dset, 0) < 0:
            self.fail("has broken dimension scales", name)
        dims = []
        for k in range(len(shape)):
            scales: list[bytes] = []
            h5py.h5ds.iterate(dset, k, partial(_note_scale, scales), 0)
            if len(scales) != 1:
                self.fail(f"dimension {k} has {len(scales)} scales, expected 1", name)
            dims.append(_text(scales[0].lstrip(b"/")))
        return dims

    def _attributes(self, holder: Any, where: str) -> dict[str, Any]:
        count = h5a.get_num_attrs(holder)
        if count > MOST_ATTRIBUTES:
            self.fail(f"{where} has {count} attributes, expected at most {MOST_ATTRIBUTES}")
        names: list[bytes] = []
        h5a.iterate(holder, lambda name, *_: names.append(name) and None)
        found = {}
        for name in names:
            if name in _HIDDEN:
                continue
            value = self._attribute(h5a.open(holder, name), _text(name), where)
            if value is not None:
                found[_text(name)] = value
            elif name in _MEANING:  # without it, values would be taken for what they are not
                self.fail(f"attribute {_text(name)!r} of {where} is of a type that cannot be read, expected a number")
        return found

    def _attribute(self, attribute: Any, name: str, where: str) -> Any:
        """The value, or None for what is neither one text nor a number or 1-D array: such attributes are left out."""
        htype, space = attribute.get_type(), attribute.get_space()
        kind = space.get_simple_extent_type()
        shape = space.get_simple_extent_dims() if kind == h5s.SIMPLE else ()
        if kind not in (h5s.SIMPLE, h5s.SCALAR) or len(shape) > 1:
            return None
        if htype.get_class() == h5t.STRING:
            if math.prod(shape) != 1:
                return None
            if attribute.get_storage_size() > MOST_ATTRIBUTE_BYTES:
                self.fail(f"attribute {name!r} of {where} is larger than {MOST_ATTRIBUTE_BYTES} bytes")
            return self._string(attribute, htype)
        dtype = next((d for known, d in _TYPES if htype.equal(known)), None)
        if dtype is None:
            return None
        if math.prod(shape) * dtype.itemsize > MOST_ATTRIBUTE_BYTES:
            self.fail(f"attribute {name!r} of {where} is larger than {MOST_ATTRIBUTE_BYTES} bytes")
        values = np.empty(shape, dtype)
        attribute.read(values)
        values = values.astype(dtype.newbyteorder("="))
        return {"dtype": values.dtype.str, "values": values.ravel().tolist(), "scalar": not shape}

    def _string(self, attribute: Any, htype: Any) -> str | None:
        shape = attribute.get_space().get_simple_extent_dims() or ()
        if htype.is_variable_str():
            coding = "utf-8" if htype.get_cset() == h5t.CSET_UTF8 else "ascii"
            holder = np.empty(shape, object)
            attribute.read(holder, mtype=h5t.py_create(h5py.string_dtype(coding)))
            raw = holder.reshape(-1)[0] or b""
            raw = raw if isinstance(raw, bytes) else str(raw).encode("utf-8", "surrogateescape")
        else:
            holder = np.empty(shape, f"S{htype.get_size()}")
            attribute.read(holder, mtype=htype)
            raw = holder.tobytes().rstrip(b"\0")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return None


_HIDDEN = {
    b"DIMENSION_LIST", b"REFERENCE_LIST", b"CLASS", b"NAME", b"_Netcdf4Dimid", b"_Netcdf4Coordinates",
    b"_NCProperties", b"_nc3_strict", b"DIMENSION_LABELS",
}  # fmt: skip
_MEANING = (b"_FillValue", b"missing_value", b"scale_factor", b"add_offset", b"_Unsigned")
_CLASSES = {
    getattr(h5t, code): text
    for code, text in (
        ("INTEGER", "integer of an unknown kind"), ("FLOAT", "floating point of an unknown kind"),
        ("STRING", "variable-length text"), ("BITFIELD", "bit field"), ("OPAQUE", "opaque"), ("COMPOUND", "compound"),
        ("REFERENCE", "reference"), ("ENUM", "enumeration"), ("VLEN", "variable-length"), ("ARRAY", "array"),
        ("TIME", "time"),
    )
}  # fmt: skip


def _note_scale(names: list[bytes], scale: Any) -> None:
    names.append(h5py.h5i.get_name(scale) or b"")


def _text(name: bytes) -> str:
    return name.decode("ascii", "backslashreplace")
