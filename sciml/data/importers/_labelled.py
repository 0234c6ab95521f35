"""Files of variables with named dimensions and attributes, whatever holds them: NetCDF-3, NetCDF-4 (HDF5), Zarr."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sciml.data._decoded import Coding, coding_of
from sciml.data.importers._source import natural
from sciml.errors import FileFormatError

MOST_VARIABLES = 5000
FRAMES = ("step", "frame", "time", "t", "timestep", "snapshot", "level", "layer", "block", "zone", "part")
MOST_BYTES = 8 << 30  # that are read at once
NEVER_WRITTEN = 9.969209968386869e36  # what NetCDF fills floating point with where nobody says otherwise


@dataclass(frozen=True)
class Variable:
    """A variable of a file.

    Args:
        name: as in the file, "group/name" within groups.
        dims: names of its dimensions; "?" before names that were made up.
        shape: lengths.
        dtype: of stored values.
        attrs: plain values.
        fetch: reads stored values by integers and slices.
        problem: why values are not read, "" where they are.
        label: of the file.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    attrs: Mapping[str, Any]
    fetch: Callable[[tuple[int | slice, ...]], np.ndarray]
    problem: str = ""
    label: str = ""

    @property
    def is_number(self) -> bool:
        return not self.problem and self.dtype.kind in "biuf"

    @property
    def where(self) -> str:
        return f"{self.label}: variable {self.name!r}"

    @property
    def unit(self) -> str:
        value = self.attrs.get("units", "")
        return value.strip() if isinstance(value, str) else ""

    def read(self, at: Mapping[str, int | slice] | None = None) -> np.ndarray:
        """Values as they are meant, missing ones as NaN: all, or those at an index or slice of some dimensions.

        Raises:
            FileFormatError: more than can be read at once, or damaged.
        """
        if self.problem:
            raise FileFormatError(f"{self.where}: {self.problem}")
        key = tuple((at or {}).get(d, slice(None)) for d in self.dims)
        counts = [1 if isinstance(k, int) else len(range(*k.indices(n))) for k, n in zip(key, self.shape, strict=True)]
        nbytes = int(np.prod(counts, dtype=object)) * self.dtype.itemsize
        if nbytes > MOST_BYTES:
            raise FileFormatError(f"{self.where}: {nbytes} bytes at once, expected at most {MOST_BYTES}; thin it out")
        raw = np.asarray(self.fetch(key))
        if raw.dtype.kind not in "biuf":
            return raw
        return self._decoded(raw)

    def _decoded(self, raw: np.ndarray) -> np.ndarray:
        attrs, raw = dict(self.attrs), raw.astype(raw.dtype.newbyteorder("="), copy=False)
        if str(attrs.pop("_Unsigned", "false")).lower() == "true" and raw.dtype.kind == "i":
            raw = raw.view(f"u{raw.dtype.itemsize}")
        for key in ("_FillValue", "missing_value"):  # text that says a number, or one that no such type has
            if isinstance(attrs.get(key), str):
                attrs.pop(key)
        coding = coding_of(attrs, raw.dtype, self.where)
        if coding is None:
            unwritten = raw == raw.dtype.type(NEVER_WRITTEN) if raw.dtype.kind == "f" and raw.itemsize > 2 else False
            return np.where(unwritten, raw.dtype.type(np.nan), raw) if np.any(unwritten) else raw
        if raw.dtype.kind in "biu":
            coding = replace(coding, dtype=np.dtype("f4" if raw.dtype.itemsize <= 2 else "f8"))
        elif coding.scale == 1.0 and coding.offset == 0.0:
            coding = Coding(raw.dtype, coding.fills)
        return coding.decode(raw, self.where)


@dataclass(frozen=True)
class Labelled:
    """An open file.

    Args:
        label: for messages.
        kind: "NetCDF-3", "HDF5" or "Zarr".
        variables: by name.
        attrs: plain values.
        left: what is not looked at, name -> why.
        groups: attributes of groups, path -> plain values.
    """

    label: str
    kind: str
    variables: Mapping[str, Variable]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def cases(self) -> list[str]:
        """Groups that hold a case each: they are numbered and hold the same variables, fields among them."""
        held: dict[str, list[tuple[str, int]]] = {}
        for name, v in self.variables.items():
            group, _, rest = name.partition("/")
            if rest:
                held.setdefault(group, []).append((rest, len(v.dims)))
        stems = {re.sub(r"\d+\Z", "", g).strip("_- ").lower() for g in held}
        numbered = all(re.search(r"\d\Z", g) for g in held) and len(stems) == 1 and not stems & {*FRAMES, ""}
        alike = len({tuple(sorted(v)) for v in held.values()}) == 1
        fields = any(n > 1 for v in held.values() for _, n in v)
        return sorted(held, key=natural) if len(held) > 1 and numbered and alike and fields else []

    def within(self, group: str) -> Labelled:
        """What a group holds, and what lies beside all groups."""
        of_all = {n: v for n, v in self.variables.items() if "/" not in n}
        own = {
            n.partition("/")[2]: replace(v, name=n.partition("/")[2], label=f"{v.label}: {group}")
            for n, v in self.variables.items() if n.startswith(f"{group}/")
        }  # fmt: skip
        left = {n: why for n, why in self.left.items() if "/" not in n or n.startswith(f"{group}/")}
        attrs = {**self.attrs, **self.groups.get(group, {})}
        return Labelled(f"{self.label}: {group}", self.kind, of_all | own, attrs, left)

    @property
    def sizes(self) -> dict[str, int]:
        """Lengths of dimensions.

        Raises:
            FileFormatError: two of one name that differ.
        """
        found: dict[str, int] = {}
        for v in self.variables.values():
            for dim, n in zip(v.dims, v.shape, strict=True):
                if found.setdefault(dim, n) != n:
                    raise FileFormatError(f"{v.where}: dimension {dim!r} has length {n}, but {found[dim]} elsewhere")
        return found
