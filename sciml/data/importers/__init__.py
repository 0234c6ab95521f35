"""Readers of other layouts.

    import_data(source, out)        any layout, recognised, into one data set file; says what it did not understand
    recognise(source)               what a file or folder is, None where no layout fits
    draft(source)                   a plan in TOML for what a source does not tell, to be edited
    Plan                            such a plan
    <layout>.import_tree(...)       readers of layouts with arguments of their own: cfdbench, comsol, deepcfd

All foreign files are read in a process of its own: see `sciml.data.importers._guarded`.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sciml.data.importers._table import LAYOUTS as LAYOUTS
from sciml.data.importers._table import get as get
from sciml.errors import InputError

if TYPE_CHECKING:
    from sciml.data.importers._layout import Imported as Imported
    from sciml.data.importers._layout import Recognised as Recognised
    from sciml.data.importers._mapping import Plan as Plan

TREES = ("cfdbench", "comsol", "deepcfd")  # with `import_tree`
FORMATS = tuple(LAYOUTS)
FRACTIONS = (0.7, 0.15, 0.15)

_HOMES = {"Imported": "_layout", "Recognised": "_layout", "Plan": "_mapping"}


def recognise(source: str | os.PathLike[str], seconds: float = 60.0) -> Recognised | None:
    """What a file or folder is; None where no layout fits.

    Args:
        seconds: patience with the process that looks.

    Raises:
        InputError: nothing is there.
    """
    from sciml.data.importers import _guarded
    from sciml.data.importers._layout import Recognised

    found = _guarded.ask({"do": "recognise", "source": _place(source)}, seconds=seconds)
    return None if found is None else Recognised(**found)


def draft(source: str | os.PathLike[str], layout: str | None = None) -> tuple[Recognised, str]:
    """What a source is, and a plan in TOML with what it tells and remarks on what it does not.

    Raises:
        InputError, FileFormatError: no layout fits; says what the source holds.
    """
    from sciml.data.importers import _guarded
    from sciml.data.importers._layout import Recognised

    found = _guarded.ask({"do": "draft", "source": _place(source), "layout": _named(layout)})
    return Recognised(**found["recognised"]), str(found["toml"])


def import_data(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    layout: str | None = None,
    plan: Plan | Mapping[str, Any] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    tell: Callable[[int, int], None] | None = None,
    seconds: float = 60.0,
) -> Imported:
    """Read a file or folder of any known layout into one data set file.

    Args:
        source: what to read.
        out: the file to write.
        layout: how to read it; found out by default.
        plan: what the source does not tell; see `sciml.data.importers.Plan`.
        seed: of the split by case into train, validation and test (70, 15, 15 %), where the source has none.
        overwrite: replace `out` if it exists.
        tell: called with (cases read, of how many).
        seconds: patience with the process that reads, from one sign of life to the next.

    Returns:
        Where the file is, and notes: what was not understood, was assumed, or looks wrong.

    Raises:
        InputError: no such source, a plan that does not fit, or `out` exists.
        FileFormatError: no layout fits, or a file is damaged; names it and the way out.
    """
    from sciml.data import _files
    from sciml.data.importers import _guarded
    from sciml.data.importers._layout import Imported
    from sciml.data.importers._mapping import Plan

    target = _files.absolute(out, "out")
    if os.path.exists(target) and not overwrite:
        raise InputError(f"out: {target} exists")
    if not os.path.isdir(os.path.dirname(target)):
        raise InputError(f"out: the folder {os.path.dirname(target)!r} does not exist")
    told = plan.to_json() if isinstance(plan, Plan) else Plan.from_json(plan or {}).to_json()
    folder = _guarded.folder_of(_path(target))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        request = {
            "do": "read", "source": _place(source), "layout": _named(layout), "plan": told, "seed": int(seed),
            "folder": str(folder),
        }  # fmt: skip
        found = _guarded.ask(request, tell, seconds)
        if found["whole"]:
            cases = _moved(folder, target)
        else:
            cases = _joined(folder, found, target, seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Imported(_path(target), found["layout"], found["title"], cases, tuple(found["notes"]))


def _joined(folder: Any, found: Mapping[str, Any], target: str, seed: int) -> int:
    from sciml.data import _open, _pack, _write, splits

    parts = [_open.open(folder / f"group_{k:06d}.h5") for k in range(found["groups"])]
    split = list(found["splits"])
    source = "brought" if all(split) else "brought for some" if any(split) else "made"
    if not all(split):  # the source has none, or not for all
        made = splits.by_case(found["subsets"], FRACTIONS, seed)
        split = [s or str(m) for s, m in zip(split, made, strict=True)] if any(split) else made.tolist()
    for first, again in found["repeats"]:
        split[again] = split[first]
    try:
        attrs = dict(found["attrs"]) | {"split_seed": int(seed), "split_source": source}
        _write.write(_pack.concat(parts, split, attrs), target)
    finally:
        for part in parts:
            part.close()
    return len(split)


def _moved(folder: Any, target: str) -> int:
    """What a reader wrote as a whole, looked at as warily as any file."""
    from sciml.data import _files, _open

    with _open.open(folder / "whole.h5") as found:
        cases = int(found.sizes["case"])
    beside = _files.side_car(folder / "whole.h5")
    if os.path.exists(beside):
        os.replace(beside, _files.side_car(_path(target)))
    os.replace(folder / "whole.h5", target)
    return cases


def _path(name: str) -> Any:
    from pathlib import Path

    return Path(name)


def _place(source: Any) -> str:
    from sciml.data import _files

    name = _files.absolute(source, "source")
    if not os.path.exists(name):
        raise InputError(f"{name}: no such file or folder")
    return name


def _named(layout: str | None) -> str:
    if layout:
        get(layout)
    return layout or ""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in TREES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
