"""Import the two arrays in which DeepCFD's data were published (see `sciml.data._deepcfd`)."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sciml.data import _deepcfd, _files, _pickled, splits
from sciml.errors import FileFormatError, InputError, is_number

_NAMES = ("dataX", "dataY")


def import_tree(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    size: tuple[float, float] | None = None,
    fractions: Sequence[float] = (0.6, 0.1, 0.3),
    seed: int = 0,
) -> Path:
    """Import dataX and dataY, each a pickle of one array or a .npy file, into one data-set file.

    Arrays are (case, 3, x, y): distance to the obstacle, region (0 is the obstacle), distance to the walls; velocity
    along x and y, and pressure over density. Of a pickle nothing is executed; one that holds anything but an array of
    real numbers is refused, and the message says how to convert it.

    Args:
        source: the folder that holds both.
        out: the file to write.
        size: (length, height) of the channel in m, which the arrays do not tell; None for the cell as unit of length.
        fractions, seed: of the split by case; cases that hold the same are in one part, and a warning names them.

    Raises:
        InputError: files that are not there.
        FileFormatError: a file that is damaged, or holds something else; names the file.
    """
    from sciml.data._write import write

    root = Path(_files.given(source, "source"))
    if not root.is_dir():
        raise InputError(f"{root}: {'no such folder' if not root.exists() else 'not a folder'}")
    if size is not None and (len(size) != 2 or not all(is_number(n) and n > 0 for n in size)):
        raise InputError(f"size: expected (length, height) in m, got {size!r}")
    (given, at), (wanted, where) = (_array(root, name) for name in _NAMES)
    if given.shape != wanted.shape:
        raise FileFormatError(f"{where}: shape {wanted.shape}, but {at.name} has {given.shape}")
    cases = ((f"case{k:04d}", _turned(given[k]), _turned(wanted[k])) for k in range(len(given)))
    content = [hashlib.sha256(given[k].tobytes() + wanted[k].tobytes()).digest() for k in range(len(given))]
    split, repeats = splits.together(splits.by_case(["all"] * len(given), fractions, seed), content)
    if repeats:
        warnings.warn(splits.repeated(repeats), stacklevel=2)
    attrs = {"imported": "deepcfd", "split_seed": int(seed), "split_source": "made"}
    packed = _deepcfd.packed(cases, size, split, attrs)
    write(packed, out)
    return Path(_files.given(out, "out"))


def _turned(values: np.ndarray) -> np.ndarray:
    """(3, y, x) from (3, x, y)."""
    return np.ascontiguousarray(values.transpose(0, 2, 1))


def _array(root: Path, name: str) -> tuple[np.ndarray, Path]:
    """(case, 3, x, y) and its file."""
    found = [root / f"{name}{end}" for end in (".npy", ".pkl") if (root / f"{name}{end}").exists()]
    if not found:
        raise InputError(f"{root}: expected {name}.pkl or {name}.npy, found neither")
    path = found[0]
    if path.suffix == ".npy":
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise FileFormatError(f"{path}: not a .npy file of numbers: {str(error).splitlines()[0][:160]}") from None
    else:
        values = _pickled.array(path)
    if values.ndim != 4 or values.shape[1] != 3 or min(values.shape) < 1 or values.dtype.kind not in "fiu":
        raise FileFormatError(f"{path}: {values.dtype} of shape {values.shape}, expected numbers (case, 3, x, y)")
    if not np.isfinite(values).all():
        raise FileFormatError(f"{path}: holds values that are not finite")
    return values, path
