"""Data sets of solutions: schema, files, random windows for training, importers and exporters.

    solution     label the arrays of one solved case
    pack, case   many solutions to one ragged data set, and back
    support      where the values of a case live
    open, write, validate, ShardWriter      files
    select, merge, split                    data sets from data sets
    Windows, Loader                         random windows of frames, for training
    splits, importers, exporters, schema    sub-modules

`sciml.data.open` never lets the HDF5 library parse a file in this process: see `sciml.data.probe`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "sampled": "_solution",
    "solution": "_solution",
    "pack": "_pack",
    "concat": "_pack",
    "case": "_pack",
    "support": "_support",
    "open": "_open",
    "validate": "_open",
    "select": "_sets",
    "merge": "_sets",
    "split": "_sets",
    "write": "_write",
    "ShardWriter": "_shards",
    "Windows": "windows",
    "Loader": "loader",
}
_MODULES = ("exporters", "importers", "schema", "splits")
__all__ = [
    "Loader",
    "ShardWriter",
    "Windows",
    "case",
    "concat",
    "exporters",
    "importers",
    "merge",
    "open",
    "pack",
    "sampled",
    "schema",
    "select",
    "solution",
    "split",
    "splits",
    "support",
    "validate",
    "write",
]

if TYPE_CHECKING:
    from sciml.data import exporters as exporters
    from sciml.data import importers as importers
    from sciml.data import schema as schema
    from sciml.data import splits as splits
    from sciml.data._open import open as open
    from sciml.data._open import validate as validate
    from sciml.data._pack import case as case
    from sciml.data._pack import concat as concat
    from sciml.data._pack import pack as pack
    from sciml.data._sets import merge as merge
    from sciml.data._sets import select as select
    from sciml.data._sets import split as split
    from sciml.data._shards import ShardWriter as ShardWriter
    from sciml.data._solution import sampled as sampled
    from sciml.data._solution import solution as solution
    from sciml.data._support import support as support
    from sciml.data._write import write as write
    from sciml.data.loader import Loader as Loader
    from sciml.data.windows import Windows as Windows


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"sciml.data.{_HOMES[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"sciml.data.{name}")
    else:
        raise AttributeError(f"module 'sciml.data' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
