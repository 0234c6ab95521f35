"""From physical frames to the batches that operators take, and back."""

from __future__ import annotations

from sciml.contracts import (
    Batch,
    CellGraphBatch,
    CloudBatch,
    CurvedGraphBatch,
    GraphBatch,
    GridBatch,
    ParticleBatch,
    PointBatch,
    SensorBatch,
)
from sciml.errors import FileFormatError, InputError
from sciml.training.encoding._base import Encoding
from sciml.training.encoding.cloud import CloudEncoding
from sciml.training.encoding.given import Given
from sciml.training.encoding.graph import CellGraphEncoding, CurvedGraphEncoding, GraphEncoding
from sciml.training.encoding.grid import GridEncoding
from sciml.training.encoding.points import PointEncoding

_OF: dict[type[Batch], type[Encoding]] = {
    GridBatch: GridEncoding,
    PointBatch: PointEncoding,
    CloudBatch: CloudEncoding,
    GraphBatch: GraphEncoding,
    CurvedGraphBatch: CurvedGraphEncoding,
    CellGraphBatch: CellGraphEncoding,
}


def encoding_for(batch: type[Batch]) -> type[Encoding]:
    """The encoding that makes batches of this type."""
    if issubclass(batch, ParticleBatch):
        raise InputError("operator: moves particles by their accelerations; it is trained by ParticleSurrogate")
    if issubclass(batch, SensorBatch):
        raise InputError("operator: answers from sensors; it is trained by SensorSurrogate")
    for kind in batch.__mro__:
        if kind in _OF:
            return _OF[kind]
    raise InputError(f"operator: takes {batch.__name__}, expected one of {', '.join(b.__name__ for b in _OF)}")


def encoding_named(name: str, where: str) -> type[Encoding]:
    """The encoding of this class name, for files."""
    for kind in _OF.values():
        if kind.__name__ == name:
            return kind
    raise FileFormatError(f"{where}: no encoding is called {name!r}")


__all__ = [
    "CellGraphEncoding",
    "CloudEncoding",
    "CurvedGraphEncoding",
    "Encoding",
    "Given",
    "GraphEncoding",
    "GridEncoding",
    "PointEncoding",
    "encoding_for",
    "encoding_named",
]
