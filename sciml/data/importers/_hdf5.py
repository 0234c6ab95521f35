"""A foreign HDF5 file as a tree: groups, variables, attributes as plain values, slices that are read on demand.

HDF5 opens files that another file names by itself, below everything that guards Python. So what could reach outside of
the file is refused before it is touched: external links, external storage, virtual data sets, links to what is not in
the file. So are filters that run foreign code, and sizes that the stored bytes cannot account for. Nothing is looked at
before somebody asks for it: a file of a hundred thousand groups opens at once.
"""

# pyright: reportAttributeAccessIssue=false
# (h5py is compiled and has no type stubs for its low-level modules)

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5l, h5o, h5r, h5s, h5t, h5z

from sciml.data._inspect import _CLASSES, DEFLATE_RATIO, MOST_ATTRIBUTE_BYTES, PURE_DIMENSION
from sciml.data.importers._heaps import endless
from sciml.errors import FileFormatError

if TYPE_CHECKING:
    from sciml.data.importers._source import Source

MOST_OBJECTS, DEEPEST = 200_000, 16  # of one group; of groups in groups
MOST_ATTRIBUTES = 2000
MOST_CHUNK_BYTES = 1 << 31
MOST_TEXTS = 1 << 20
LZF = 32000
#: filters of HDF5 itself and of h5py -> how far they shrink at most
FILTERS = {
    h5z.FILTER_DEFLATE: DEFLATE_RATIO, h5z.FILTER_SHUFFLE: 1, h5z.FILTER_FLETCHER32: 1, LZF: 100,
    h5z.FILTER_SCALEOFFSET: DEFLATE_RATIO, h5z.FILTER_NBIT: 64,
}  # fmt: skip
_NAMES = {4: "szip", 307: "bzip2", 32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32013: "ZFP", 32015: "Zstandard",
          32026: "Blosc2", 32017: "SZ", 32024: "SZ3"}  # fmt: skip
_HIDDEN = ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME", "_Netcdf4Dimid", "_Netcdf4Coordinates", "_nc3_strict",
           "_NCProperties", "DIMENSION_LABELS")  # fmt: skip


@dataclass(frozen=True)
class Group:
    """What a group holds.

    Args:
        path: from the root, without the first "/"; "" for the root.
        groups, variables: names, sorted.
        others: name -> why it is neither.
        attrs: plain values.
    """

    path: str
    groups: tuple[str, ...]
    variables: tuple[str, ...]
    others: Mapping[str, str] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.groups or name in self.variables


class Tree:
    """An open file.

    Args:
        path: of the file.
        label: what messages call it; by default the path.
    """

    def __init__(self, path: str | os.PathLike[str], label: str = ""):
        self.path, self.label = os.fspath(path), label or os.fspath(path)
        self.size = os.path.getsize(path)
        self._groups: dict[str, Group] = {}
        self._open: dict[str, Any] = {}
        if endless(self.path):
            self.fail("damaged: a heap of values of variable length has no end; get the file again")
        try:
            self._file = h5py.File(self.path, "r", locking=False)
        except (OSError, ValueError, RuntimeError) as error:
            self.fail(_opening(str(error)))

    def close(self) -> None:
        self._open.clear()
        self._file.close()

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def fail(self, text: str, name: str = "") -> NoReturn:
        raise FileFormatError(f"{self.label}: " + (f"variable {name!r}: {text}" if name else text))

    @property
    def root(self) -> Group:
        return self.group("")

    @property
    def attrs(self) -> Mapping[str, Any]:
        return self.root.attrs

    def group(self, path: str) -> Group:
        """A group by its path.

        Raises:
            FileFormatError: there is none, it is damaged, or it holds a link that leads out of the file.
        """
        path = path.strip("/")
        if path not in self._groups:
            with self._reading(path or "/"):
                handle = self._group(path)
                self._groups[path] = self._listed(path, handle)
        return self._groups[path]

    def has(self, path: str) -> bool:
        """Whether there is such a group or variable."""
        above, _, name = path.strip("/").rpartition("/")
        return not name or ((not above or self.has(above)) and self.is_group(above) and name in self.group(above))

    def is_group(self, path: str) -> bool:
        above, _, name = path.strip("/").rpartition("/")
        return not name or (self.is_group(above) and name in self.group(above).groups)

    def __getitem__(self, path: str) -> Stored:
        """A variable by its path.

        Raises:
            FileFormatError: there is none, or it keeps values in other files.
        """
        path = path.strip("/")
        above, _, name = path.rpartition("/")
        if not self.is_group(above) or name not in self.group(above).variables:
            known = self.group(above).variables if self.is_group(above) else ()
            self.fail(f"variable {path!r} is missing" + (f"; there are {', '.join(known[:20])}" if known else ""))
        with self._reading(path):
            return Stored(self, path, self._member(self._group(above), above, name))

    def walk(self, path: str = "") -> Iterator[Group]:
        """A group and all groups below, each once.

        Raises:
            FileFormatError: too many, or too deep.
        """
        seen: set[Any] = set()
        waiting, count = [path.strip("/")], 0
        while waiting:
            here = waiting.pop()
            with self._reading(here or "/"):
                about = h5o.get_info(self._group(here))
            if (about.fileno, about.addr) in seen:  # a group within itself, or under two names
                continue
            seen.add((about.fileno, about.addr))
            found = self.group(here)
            count += 1 + len(found.variables)
            if count > MOST_OBJECTS:
                self.fail(f"more than {MOST_OBJECTS} groups and variables")
            yield found
            waiting += [f"{here}/{name}".lstrip("/") for name in reversed(found.groups)]

    # -- below the surface ------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        """What HDF5 says of damage, in one line that names the place."""
        try:
            yield
        except FileFormatError:
            raise
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
            first = (str(error).splitlines() or [""])[0][:200]
            raise FileFormatError(f"{self.label}: {path!r} is damaged or cannot be read: {first}") from None

    def _group(self, path: str) -> Any:
        """The open group, every step of the way being a link within the file."""
        if path in self._open:
            return self._open[path]
        if not path:
            handle = h5g.open(self._file.id, b"/")
        else:
            above, _, name = path.rpartition("/")
            if path.count("/") >= DEEPEST:
                self.fail(f"{path[:80]!r}: groups in groups, more than {DEEPEST} deep")
            handle = self._member(self._group(above), above, name)
            if not isinstance(handle, h5g.GroupID):
                self.fail(f"{path!r} is a variable, expected a group")
        if len(self._open) > 1000:
            self._open.clear()
        self._open[path] = handle
        return handle

    def _member(self, handle: Any, above: str, name: str, steps: int = 0) -> Any:
        """An object in an open group; of soft links, what they lead to, if that is in the file."""
        code = name.encode("utf-8", "surrogateescape")
        info = handle.links.get_info(code)
        if info.type == h5l.TYPE_HARD:
            return h5o.open(handle, code)
        where = f"{above}/{name}".lstrip("/")
        if info.type != h5l.TYPE_SOFT:
            kind = "an external link" if info.type == h5l.TYPE_EXTERNAL else "a link of an unknown kind"
            self.fail(f"{where!r} is {kind}: values in other files are refused; copy the file with h5repack or h5copy")
        target = os.fsdecode(handle.links.get_val(code))
        parts = [
            p for p in (target if target.startswith("/") else f"{above}/{target}").split("/") if p not in ("", ".")
        ]
        if steps >= DEEPEST or ".." in parts:
            self.fail(f"{where!r} is a soft link to {target[:80]!r} that leads in circles or out of the file")
        here, path = self._group(""), ""
        for k, part in enumerate(parts):
            if not isinstance(here, h5g.GroupID) or not here.links.exists(part.encode("utf-8", "surrogateescape")):
                self.fail(f"{where!r} is a soft link to {target[:80]!r}, which is not in the file")
            here, path = self._member(here, path, part, steps + 1), "/".join(parts[: k + 1])
        return here

    def _listed(self, path: str, handle: Any) -> Group:
        if handle.get_num_objs() > MOST_OBJECTS:
            self.fail(f"{path or 'the root'!r}: {handle.get_num_objs()} objects, expected at most {MOST_OBJECTS}")
        codes: list[bytes] = []
        handle.links.iterate(lambda name: codes.append(name))
        groups, variables, others = [], [], {}
        for code in codes:
            name = code.decode("utf-8", "surrogateescape")
            if handle.links.get_info(code).type == h5l.TYPE_HARD:
                kind = h5o.get_info(handle, code).type
            else:
                kind = h5o.get_info(self._member(handle, path, name)).type
            if kind == h5o.TYPE_GROUP:
                groups.append(name)
            elif kind == h5o.TYPE_DATASET:
                variables.append(name)
            else:
                others[name] = "a named type"
        return Group(
            path, tuple(sorted(groups)), tuple(sorted(variables)), others, self._attributes(handle, path or "/")
        )

    def _attributes(self, handle: Any, where: str) -> dict[str, Any]:
        count = h5a.get_num_attrs(handle)
        if count > MOST_ATTRIBUTES:
            self.fail(f"{where!r} has {count} attributes, expected at most {MOST_ATTRIBUTES}")
        names: list[bytes] = []
        h5a.iterate(handle, lambda name, *_: names.append(name) and None)
        found = {}
        for code in names:
            name = code.decode("utf-8", "replace")
            if name not in _HIDDEN:
                value = self._attribute(h5a.open(handle, code))
                if value is not None:
                    found[name] = value
        return found

    @staticmethod
    def _attribute(attribute: Any) -> Any:
        """Text, a number, true or false, or a list of such; None for anything else."""
        kind = attribute.get_type().get_class()
        if attribute.get_space().get_simple_extent_type() not in (h5s.SIMPLE, h5s.SCALAR):
            return None
        if kind not in (h5t.STRING, h5t.INTEGER, h5t.FLOAT, h5t.ENUM):
            return None
        if 0 in attribute.shape or attribute.get_storage_size() > MOST_ATTRIBUTE_BYTES:
            return None
        try:
            values = np.empty(attribute.shape, attribute.dtype)
            attribute.read(values, mtype=h5t.py_create(attribute.dtype))
        except (OSError, TypeError, ValueError):
            return None
        return _plain(values)


class Stored:
    """A variable of a file; `v[...]` reads values.

    Args:
        tree: the file.
        path: from the root.
        handle: of HDF5.

    Raises:
        FileFormatError: values in other files.
    """

    def __init__(self, tree: Tree, path: str, handle: Any):
        self.tree, self.path, self._handle = tree, path, handle
        if not isinstance(handle, h5d.DatasetID):
            tree.fail(f"{path!r} is a group, expected a variable")
        self._plist = handle.get_create_plist()
        if self._plist.get_layout() == h5d.VIRTUAL:
            tree.fail("a virtual data set (values in other files) is refused; copy the values into one file", path)
        if self._plist.get_external_count():
            tree.fail("external storage (values in another file) is refused; copy the file with h5repack", path)
        space = handle.get_space()
        if space.get_simple_extent_type() not in (h5s.SIMPLE, h5s.SCALAR):
            tree.fail("has no data space", path)
        self.shape: tuple[int, ...] = tuple(int(n) for n in handle.shape)
        self._checked = False

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @cached_property
    def attrs(self) -> Mapping[str, Any]:
        with self.tree._reading(self.path):
            return self.tree._attributes(self._handle, self.path)

    @cached_property
    def problem(self) -> str:
        """Why its values are of a type that is not read; "" where they are."""
        try:
            kind = self.dtype.kind
        except (TypeError, ValueError):
            kind = "?"
        if kind in "bSO" or (kind in "iu" and self.dtype.itemsize <= 8) or (kind == "f" and self.dtype.itemsize <= 8):
            text = kind != "O" or h5py.check_string_dtype(self.dtype) is not None
            return "" if text else "values of variable length, or references"
        if kind == "c" or (kind == "V" and self.pair):
            return ""
        what = _CLASSES.get(self._handle.get_type().get_class(), "unknown")
        return f"type {what} is not read, expected integers, floating point or text"

    @cached_property
    def dtype(self) -> np.dtype:
        return self._handle.dtype

    @property
    def pair(self) -> bool:
        """Whether values are pairs of floats that make up complex numbers."""
        fields = self.dtype.fields or {}
        return tuple(fields) in (("real", "imag"), ("r", "i")) and all(t[0].kind == "f" for t in fields.values())

    @property
    def is_number(self) -> bool:
        return not self.problem and self.dtype.kind in "biuf"

    @cached_property
    def pure(self) -> bool:
        """Whether this is a dimension of netCDF alone, without values."""
        if not h5a.exists(self._handle, b"NAME"):
            return False
        text = self.tree._attribute(h5a.open(self._handle, b"NAME"))
        return isinstance(text, str) and text.encode("utf-8", "replace").startswith(PURE_DIMENSION)

    @cached_property
    def dims(self) -> tuple[str, ...] | None:
        """Paths of the dimension scales, one an axis, "" for an axis without; None where there are none at all."""
        with self.tree._reading(self.path):
            if h5a.exists(self._handle, b"CLASS") and not h5a.exists(self._handle, b"DIMENSION_LIST"):
                return (self.path,) if self.ndim == 1 else None
            if not h5a.exists(self._handle, b"DIMENSION_LIST"):
                return None
            held = h5a.open(self._handle, b"DIMENSION_LIST")
            if held.shape != (self.ndim,) or held.get_storage_size() > MOST_ATTRIBUTE_BYTES:
                self.tree.fail("has broken dimension scales", self.path)
            scales: Any = np.empty(held.shape, held.dtype)
            held.read(scales, mtype=h5t.py_create(held.dtype))
            found = [_path(self.tree._file.id, s[0]) if s is not None and len(s) else "" for s in scales]
            return tuple(found) if any(found) else None

    def check(self) -> None:
        """That values can be read, and that there are as many as the shape says.

        Raises:
            FileFormatError: a type or filter that is not read, or a size that the file cannot account for.
        """
        if self._checked:
            return
        tree = self.tree
        if self.problem:
            tree.fail(self.problem, self.path)
        with tree._reading(self.path):
            self._check_size()
        self._checked = True

    def _check_size(self) -> None:
        tree, plist = self.tree, self._plist
        nbytes = math.prod(self.shape) * self._handle.get_type().get_size()
        stored = int(self._handle.get_storage_size())
        if not nbytes:
            return
        ratio, codes = 1, [plist.get_filter(k)[0] for k in range(plist.get_nfilters())]
        for code in codes:
            if code not in FILTERS or codes.count(code) > 1:
                what = _NAMES.get(code, f"number {code}") if code not in FILTERS else "applied twice"
                tree.fail(
                    f"filter {what} is not read, expected gzip, lzf, shuffle, fletcher32; rewrite the file with "
                    "h5repack -f GZIP=4 IN OUT", self.path,
                )  # fmt: skip
            ratio = max(ratio, FILTERS[code])
        if stored > tree.size:
            tree.fail(f"has {stored} stored bytes, but the file has {tree.size}: it is cut off or damaged", self.path)
        if not stored:
            tree.fail(f"has no stored values, although its shape is {self.shape}: it was never written", self.path)
        if plist.get_layout() == h5d.CHUNKED:
            chunk = plist.get_chunk()
            size = math.prod(chunk) * self._handle.get_type().get_size()
            count = math.prod(-(-n // c) for n, c in zip(self.shape, chunk, strict=True))
            if not 0 < size <= MOST_CHUNK_BYTES:
                tree.fail(f"chunks of {size} bytes, expected at most {MOST_CHUNK_BYTES}", self.path)
            if nbytes > ratio * stored + 65536:
                tree.fail(f"declares {nbytes} bytes (shape {self.shape}), but {stored} are stored", self.path)
            there = self._handle.get_num_chunks()
            if there < count:
                tree.fail(
                    f"only {there} of {count} chunks for shape {self.shape} are stored: it was not written to the end",
                    self.path,
                )
        elif nbytes > stored:
            tree.fail(f"declares {nbytes} bytes (shape {self.shape}), but {stored} are stored", self.path)
        elif plist.get_layout() == h5d.CONTIGUOUS:
            offset = self._handle.get_offset()
            if offset is None or offset + nbytes > tree.size:
                tree.fail(f"values end beyond the file's {tree.size} bytes: it is cut off", self.path)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Values in the machine's byte order; texts as an array of objects `str`.

        Raises:
            FileFormatError: as `check` says, or damage found when reading.
        """
        self.check()
        with self.tree._reading(self.path):
            if self.dtype.kind in "SO" and math.prod(self.shape) > MOST_TEXTS:
                self.tree.fail(f"{math.prod(self.shape)} texts, expected at most {MOST_TEXTS}", self.path)
            values = h5py.Dataset(self._handle)[key]
        values = np.asarray(values)
        if self.pair and self.dtype.kind == "V":
            real, imaginary = tuple(self.dtype.fields or {})
            return values[real] + 1j * values[imaginary]
        if values.dtype.kind in "SO":
            texts = [_text(v) for v in values.ravel().tolist()]
            return np.array([*texts, ""], object)[:-1].reshape(values.shape)
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    def __repr__(self) -> str:
        return f"Stored({self.path!r}, {self.shape})"


def is_tree(source: Source, name: str = "") -> bool:
    """Whether a file is HDF5, a block of somebody's own before it or not."""
    kind = source.signature(name)
    return kind in ("HDF5", "MATLAB 7.3") or (not kind and h5py.is_hdf5(os.fspath(source.path(name))))


def open_tree(source: Source, name: str = "") -> Tree:
    """A file of a source.

    Raises:
        FileFormatError: no HDF5 file, or a damaged one.
    """
    path = source.path(name)
    if not is_tree(source, name):
        kind = source.signature(name)
        got = f"it is {kind}" if kind else ("it is empty" if not source.size(name) else "it begins otherwise")
        raise FileFormatError(f"{path}: not an HDF5 file: {got}")
    return Tree(path)


def _opening(text: str) -> str:
    if "truncated" in text:
        return f"cut off: {text[text.find('truncated') :].splitlines()[0][:150].rstrip(')')}; get the file again"
    return f"damaged or no HDF5 file: {(text.splitlines() or [''])[0][:150]}"


def _path(file: Any, scale: Any) -> str:
    """Of an object that a reference leads to."""
    return (h5r.get_name(scale, file) or b"").decode("utf-8", "surrogateescape").strip("/")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.rstrip(b"\0").decode("utf-8")
        except UnicodeDecodeError:
            return value.rstrip(b"\0").decode("latin-1")
    return str(value)


def _plain(values: np.ndarray) -> Any:
    if values.dtype.kind in "SO":
        found: Any = [_text(v) for v in values.ravel().tolist()]
    else:
        found = values.ravel().tolist()
    return found if values.ndim else found[0]
