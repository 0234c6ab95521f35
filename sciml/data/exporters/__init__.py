"""Writers of other formats: each `sciml.data.exporters.<format>.export_tree(data, folder, ...)`."""

from __future__ import annotations

import importlib
from typing import Any

from sciml.errors import InputError, suggest

FORMATS = ("cfdbench", "lagrangebench", "vtr", "vtu")


def get(name: str) -> Any:
    """The module that exports to a format.

    Raises:
        InputError: no such format.
    """
    if name not in FORMATS:
        raise InputError(f"format: no exporter is called {name!r}{suggest(name, FORMATS)}")
    return importlib.import_module(f"{__name__}.{name}")


def __getattr__(name: str) -> Any:
    if name in FORMATS:
        return get(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
