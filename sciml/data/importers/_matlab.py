"""Arrays of MATLAB's files: versions 4 and 5, and 7.3 as the HDF5 that they are."""

from __future__ import annotations

import numpy as np

from sciml.data.importers import _matlab5
from sciml.data.importers._hdf5 import Stored, Tree, is_tree, open_tree
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError

NUMBERS = (
    "double", "single", "logical", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip
DEEPEST = 4  # structs in structs
ROUNDING = 1e-5  # of the largest real part: what single precision leaves of a real field


def matlab_arrays(source: Source, name: str = "") -> dict[str, np.ndarray]:
    """Arrays of numbers of a .mat file by the names of variables, of structs' fields "struct.field"; in MATLAB's order
    of axes, none squeezed (a row vector is (1, n)). Complex numbers whose imaginary part is rounding are real.

    Raises:
        FileFormatError: not such a file, or a damaged one; or it holds no array of numbers, and says what else.
    """
    found, left = matlab_contents(source, name)
    if not found:
        held = ", ".join(f"{n} ({why})" for n, why in list(left.items())[:5]) or "nothing"
        raise FileFormatError(f"{source.path(name)}: holds no array of numbers: {held}")
    return found


def matlab_contents(source: Source, name: str = "") -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays, as `matlab_arrays`; and of what was left out why, by name.

    Raises:
        FileFormatError: not such a file, or a damaged one.
    """
    if is_tree(source, name):
        with open_tree(source, name) as tree:
            found, left = _of_tree(tree, "")
    else:
        path, size = source.path(name), source.size(name)
        if size > _matlab5.MOST_BYTES:
            raise FileFormatError(f"{path}: {size} bytes, expected at most {_matlab5.MOST_BYTES}; save it by -v7.3")
        with source.open(name) as file:
            found, left = _matlab5.read(path, file.read())
    for key, values in found.items():
        if values.dtype.kind == "c":
            most, beside = (float(np.abs(part(values)).max(initial=0)) for part in (np.real, np.imag))
            if beside <= ROUNDING * most:
                found[key] = np.ascontiguousarray(np.real(values))
                if beside:
                    left[f"imaginary part of {key}"] = f"rounding, at most {beside:.1g}"
    return found, left


# -- version 7.3 ----------------------------------------------------------------------------------------------------


def _of_tree(tree: Tree, path: str, depth: int = 0) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    found: dict[str, np.ndarray] = {}
    left: dict[str, str] = {}
    group = tree.group(path)
    for name in group.variables:
        stored = tree[f"{path}/{name}"]
        key = stored.path.replace("/", ".")
        kind = str(stored.attrs.get("MATLAB_class", ""))
        if "MATLAB_empty" in stored.attrs:
            left[key] = "empty"
        elif kind and kind not in NUMBERS:
            left[key] = kind
        elif stored.problem or not (stored.is_number or stored.dtype.kind in "cV"):
            left[key] = stored.problem or "text"
        else:
            found[key] = _turned(stored, kind)
    for name in group.groups:
        key = f"{path}/{name}".lstrip("/")
        attrs = tree.group(key).attrs
        if name.startswith("#"):  # what cells and objects refer to
            continue
        if "MATLAB_sparse" in attrs:
            left[key.replace("/", ".")] = "sparse"
        elif str(attrs.get("MATLAB_class", "struct")) != "struct" or depth >= DEEPEST:
            left[key.replace("/", ".")] = str(attrs.get("MATLAB_class", "structs in structs"))
        else:
            more, rest = _of_tree(tree, key, depth + 1)
            found, left = found | more, left | rest
    return found, left


def _turned(stored: Stored, kind: str) -> np.ndarray:
    """MATLAB writes columns first; who writes without its attributes does not."""
    values = stored[()]
    values = values.astype(bool) if kind == "logical" else values
    return values.T if kind else values
