"""Values that mean something else than what is stored (CF): fill values, scale and offset.

    value = stored · scale_factor + add_offset,     missing (NaN) where stored is _FillValue or missing_value

Files of this package hold no such values; tools that save them again may make some.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.data._store import FileId, Stored
from sciml.errors import FileFormatError

CODING = ("_FillValue", "missing_value", "scale_factor", "add_offset")


@dataclass(frozen=True)
class Coding:
    """How stored values are turned into what they mean.

    Args:
        dtype: type of the decoded values.
        fills: stored values that stand for a missing one: NaN, or an error where values are integers.
    """

    dtype: np.dtype
    fills: tuple[Any, ...] = ()
    scale: float = 1.0
    offset: float = 0.0

    def decode(self, raw: Any, where: str) -> np.ndarray:
        """Raises FileFormatError where an integer is missing; `where` opens the message."""
        raw = np.asarray(raw)
        missing = np.zeros(raw.shape, bool)
        for fill in self.fills:
            missing |= raw == (fill.astype(raw.dtype) if raw.dtype.kind == "f" else fill)
        if self.dtype.kind != "f":
            if missing.any():
                raise FileFormatError(f"{where} has {int(missing.sum())} missing values, expected integers everywhere")
            return raw.astype(self.dtype, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.scale != 1.0 or self.offset != 0.0:
                raw = raw.astype(np.float64) * self.scale + self.offset
            return np.where(missing, np.asarray(np.nan, self.dtype), raw.astype(self.dtype))


def coding_of(attrs: dict[str, Any], dtype: np.dtype, where: str) -> Coding | None:
    """What the CF attributes among `attrs`, which are taken out, say about values of type `dtype`; None where values
    are what they are.

    Raises:
        FileFormatError: attributes that are no numbers; `where` opens the message.
    """
    found = {key: attrs.pop(key) for key in CODING if key in attrs}
    if dtype.kind == "S":
        return None
    if str(attrs.get("_Unsigned", "false")).lower() != "false":
        raise FileFormatError(f"{where} has the attribute '_Unsigned', expected a type that says so itself")
    for key, value in found.items():
        if np.asarray(value).dtype.kind not in "fiu" or (key != "missing_value" and np.size(value) != 1):
            raise FileFormatError(f"{where} has the attribute {key!r} {value!r:.60}, expected a number")
    fills = [f for key in CODING[:2] for f in np.atleast_1d(found.get(key, [])) if np.isfinite(f)]
    scale, offset = (
        np.asarray(found.get(key, default)).ravel()[0] for key, default in zip(CODING[2:], (1, 0), strict=True)
    )
    if not (np.isfinite(scale) and np.isfinite(offset)):
        raise FileFormatError(f"{where} has the scale {scale} and the offset {offset}, expected finite numbers")
    if not fills and not any(key in found for key in CODING[2:]):
        return None
    kind = dtype.newbyteorder("=")
    if any(key in found for key in CODING[2:]):
        kind = np.result_type(
            kind if kind.kind == "f" else "f4", *(v.dtype for v in (scale, offset) if v.dtype.kind == "f")
        )
    return Coding(kind, tuple(fills), float(scale), float(offset))


@dataclass(frozen=True, eq=False)
class Decoded:
    """A stored array with its coding; reads as `Stored` does."""

    source: Stored
    coding: Coding

    @property
    def file(self) -> FileId:
        return self.source.file

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def dtype(self) -> np.dtype:
        return self.coding.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.float64)) * self.dtype.itemsize

    def row_bytes(self) -> int:
        """Bytes of one decoded entry along the first axis."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    def row_layout(self) -> None:
        """No row is stored as it is read."""

    def rows(self, start: int, stop: int) -> np.ndarray:
        return self._decode(self.source.rows(start, stop))

    def __getitem__(self, key: Any) -> np.ndarray:
        return self._decode(self.source[key])

    def _decode(self, raw: np.ndarray) -> np.ndarray:
        return self.coding.decode(raw, f"{self.file.path}: variable {self.name!r}")
