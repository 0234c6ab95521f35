"""What exporters share: which cases are wanted, and a folder that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sciml.data import _files, schema
from sciml.errors import InputError, suggest


def opened(data: Any) -> Any:
    """A data set from its path, or itself."""
    from sciml.data._open import open as open_data

    return open_data(data) if isinstance(data, str | os.PathLike) else data


def folder_of(dataset: Any, folder: str | os.PathLike[str]) -> Path:
    """`<folder>/<problem>`, with "_" for what file systems do not take."""
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in str(dataset.attrs.get("problem")))
    return Path(_files.given(folder, "folder")) / name


def wanted(dataset: Any, subset: str | Sequence[str] | None) -> list[tuple[int, str, int]]:
    """(number, subset, number within it) of the cases to export; such as have no frames are left out with a warning.

    Raises:
        InputError: no such subset.
    """
    count = dataset.sizes["case"]
    subsets = schema.flag_names(dataset["subset"]) if "subset" in dataset.variables else np.full(count, "all")
    words = [subset] if isinstance(subset, str) else subset
    for word in words or ():
        if word not in subsets:
            raise InputError(f"subset: the data set has no subset {word!r}{suggest(word, set(subsets.tolist()))}")
    found, numbers = [], dict.fromkeys(map(str, subsets), -1)
    for i, name in enumerate(map(str, subsets)):
        numbers[name] += 1
        if words is not None and name not in words:
            continue
        if int(dataset["row_size"].values[i]) == 0:
            warnings.warn(f"export: case {i} ({name}, number {numbers[name]}) has no frames: left out", stacklevel=4)
            continue
        found.append((i, name, numbers[name]))
    return found


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """Give a folder beside `target` to write into, which becomes `target` when the block ends well; else nothing is
    left behind, folders above it that were made for it among them.

    Raises:
        InputError: `target` exists already, or cannot be written.
    """
    if target.exists():
        raise InputError(f"{target}: exists already")
    part = target.parent / f".{secrets.token_hex(8)}.part"
    made = [p for p in (target.parent, *target.parent.parents) if not p.exists()]
    try:
        part.mkdir(parents=True)
        yield part
        _files.sync(part)
        part.rename(target)
    except OSError as error:
        raise InputError(f"{target}: cannot write: {_files.reason(error)}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if not target.exists():
            for place in made:
                try:
                    place.rmdir()
                except OSError:
                    break
