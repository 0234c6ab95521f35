"""Opening of files with named dimensions, whichever kind they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sciml.data.importers import _classic, _stores
from sciml.data.importers._hdf5 import Stored, Tree, is_tree, open_tree
from sciml.data.importers._labelled import MOST_VARIABLES, Labelled, Variable
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError


@contextmanager
def open_labelled(source: Source, name: str = "") -> Iterator[Labelled]:
    """A file, or a Zarr folder, of a source.

    Raises:
        FileFormatError: none of these, or damaged.
    """
    path = source.path(name)
    if path.is_dir():
        yield _stores.labelled(source, name)
    elif source.signature(name) == "NetCDF-3":
        yield _classic.labelled(path)
    elif is_tree(source, name):
        with open_tree(source, name) as tree:
            yield _of_tree(tree)
    else:
        kind = source.signature(name) or ("an empty file" if not source.size(name) else "unknown")
        raise FileFormatError(f"{path}: neither NetCDF nor HDF5: it is {kind}")


def _of_tree(tree: Tree) -> Labelled:
    found: dict[str, Variable] = {}
    left: dict[str, str] = {}
    bare: dict[str, Stored] = {}
    groups: dict[str, dict[str, Any]] = {}
    for group in tree.walk():
        groups[group.path] = _single(group.attrs)
        left |= {f"{group.path}/{n}".lstrip("/"): why for n, why in group.others.items()}
        for name in group.variables:
            stored = tree[f"{group.path}/{name}"]
            if stored.pure:
                continue
            if len(found) + len(bare) >= MOST_VARIABLES:
                tree.fail(f"more than {MOST_VARIABLES} variables")
            if stored.problem:
                left[stored.path] = stored.problem
            elif stored.ndim and stored.dims is None:
                bare[stored.path] = stored
            else:
                dims = [_short(p) if p else _nameless(stored, k) for k, p in enumerate(stored.dims or ())]
                found[stored.path] = _variable(tree, stored, tuple(dims))
    named = {s.name: s.shape[0] for s in bare.values() if s.ndim == 1}
    for path, stored in bare.items():
        found[path] = _variable(tree, stored, _made_up(stored, named))
    order = [n for g in tree.walk() for n in (f"{g.path}/{v}".lstrip("/") for v in g.variables) if n in found]
    return Labelled(tree.label, "HDF5", {n: found[n] for n in order}, _single(tree.attrs), left, groups)


def _short(path: str) -> str:
    return path.rpartition("/")[2]


def _variable(tree: Tree, stored: Stored, dims: tuple[str, ...]) -> Variable:
    if len(set(dims)) < len(dims):  # a dimension twice: which is which nobody can tell by its name
        dims = tuple(f"{d}_{k}" if dims.count(d) > 1 else d for k, d in enumerate(dims))
    attrs = _single(stored.attrs)
    return Variable(stored.path, dims, stored.shape, stored.dtype, attrs, stored.__getitem__, label=tree.label)


def _nameless(stored: Stored, k: int) -> str:
    return f"?{k}.{stored.ndim}_of_{stored.shape[k]}"


def _made_up(stored: Stored, named: Mapping[str, int]) -> tuple[str, ...]:
    """Names of dimensions where a file has none: those of 1-D variables of their lengths, if there is one each."""
    if stored.ndim == 1:
        return (stored.name,)
    dims: list[str] = []
    for k, n in enumerate(stored.shape):
        fits = [name for name, length in named.items() if length == n]
        once = stored.shape.count(n) == 1 and len(fits) == 1
        dims.append(fits[0] if once else _nameless(stored, k))
    return tuple(dims)


def _single(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """NetCDF knows no attribute that is one number: it writes lists of one."""
    return {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in attrs.items()}
