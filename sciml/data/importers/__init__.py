"""Readers of other formats: `sciml.data.importers.<format>.import_tree(source, out, ...)` writes a data-set file."""

from __future__ import annotations

import importlib
from typing import Any

from sciml.errors import InputError, suggest

FORMATS = ("cfdbench", "comsol", "deepcfd")


def get(name: str) -> Any:
    """The module that imports a format.

    Raises:
        InputError: no such format.
    """
    if name not in FORMATS:
        raise InputError(f"format: no importer is called {name!r}{suggest(name, FORMATS)}")
    return importlib.import_module(f"{__name__}.{name}")


def __getattr__(name: str) -> Any:
    if name in FORMATS:
        return get(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
