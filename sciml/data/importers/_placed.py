"""Along which axes an array runs: found by the lengths of axes that are known, or as somebody told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from sciml.data.importers._stored import Stored
from sciml.errors import FileFormatError, InputError

ORDER = ("case", "time", "z", "y", "x", "node", "component")
SPACE = ("z", "y", "x", "node")
MOST_COMPONENTS = 16


@dataclass(frozen=True)
class Placed:
    """An array whose axes are known.

    Args:
        name: what it becomes.
        stored: the array.
        axes: of its axes that are longer than 1.
        component: which entry along "component", where it has that axis.
        unit: as it is written.
        scale, offset: what values are multiplied by, and what is added then.
        kind: of inputs.
        part: "real" or "imag" of complex values.
    """

    name: str
    stored: Stored
    axes: tuple[str, ...]
    component: int | None = None
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    kind: str = "coefficient"
    part: str = ""

    def length(self, axis: str) -> int:
        return self.stored.long[self.axes.index(axis)] if axis in self.axes else 1

    def of_case(self, values: np.ndarray, case: int, wanted: Sequence[str]) -> np.ndarray:
        """The values of one case over the axes `wanted`, in the unit that is stored.

        Args:
            values: all that is stored.
        """
        found, axes = values.reshape(self.stored.long), list(self.axes)
        if "component" in axes:
            found = np.take(found, self.component or 0, axis=axes.index("component"))
            axes.remove("component")
        if "case" in axes:
            found = np.take(found, case, axis=axes.index("case"))
            axes.remove("case")
        found = np.transpose(found, [axes.index(a) for a in wanted if a in axes])
        missing = tuple(i for i, a in enumerate(wanted) if a not in axes)
        found = np.expand_dims(found, missing) if missing else found
        if self.part:
            found = np.real(found) if self.part == "real" else np.imag(found)
        if found.dtype.kind in "biu":
            found = found.astype(np.float64 if found.dtype.itemsize > 2 else np.float32)
        elif found.dtype.kind == "f" and found.dtype.itemsize not in (4, 8):
            found = found.astype(np.float32 if found.dtype.itemsize < 4 else np.float64)
        if self.scale != 1.0 or self.offset != 0.0:
            found = found * self.scale + self.offset
        return np.ascontiguousarray(found)


def labellings(
    shape: Sequence[int], known: Mapping[str, int], dimensions: int, cases: bool, guess: bool = True
) -> list[tuple[str, ...]]:
    """The likeliest ways in which axes of these lengths can be named, all equally likely; none where none fits.

    Args:
        shape: without axes of length 1.
        known: lengths of axes; all axes of space of them are in every way.
        dimensions: of space.
        cases: whether there may be an axis of cases.
        guess: whether times or cases whose number is not known may be.
    """
    space = [a for a in SPACE if a in known and known[a] > 1]
    best: list[tuple[str, ...]] = []
    least = np.inf
    for way in _ways(tuple(shape), known, space, cases, guess):
        cost = _cost(way, shape, known, dimensions)
        if cost < least - 1e-9:
            best, least = [way], cost
        elif cost < least + 1e-9:
            best.append(way)
    return best


def _ways(
    shape: tuple[int, ...], known: Mapping[str, int], space: Sequence[str], cases: bool, guess: bool
) -> Iterator[tuple[str, ...]]:
    names = [*space, "component"]
    for axis, possible in (("case", cases), ("time", True)):
        if possible and (guess or axis in known):
            names.append(axis)

    def more(so_far: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if len(so_far) == len(shape):
            if all(a in so_far for a in space) or not any(a in so_far for a in space):
                yield so_far
            return
        length = shape[len(so_far)]
        for a in names:
            if a in so_far or length != known.get(a, length):
                continue
            if a == "component" and length > MOST_COMPONENTS:
                continue
            yield from more((*so_far, a))

    yield from more(())


def _cost(way: Sequence[str], shape: Sequence[int], known: Mapping[str, int], dimensions: int) -> float:
    rank = [ORDER.index(a) for a in way if a != "component"]
    cost = float(sum(a > b for a, b in combinations(rank, 2)))
    if not any(a in SPACE for a in way):
        cost += 3.0
    for axis, length in zip(way, shape, strict=True):
        if axis == "component":
            at = way.index("component")
            first = min((i for i, a in enumerate(way) if a in SPACE), default=len(way))
            cost += 0.5 + (0.0 if at == len(way) - 1 else 0.1 if at == first - 1 else 1.0)
            cost += 0.0 if length == dimensions else 1.4 if length <= 4 else 2.0
        elif axis == "time" and "time" not in known:
            cost += 1.0 if length > 4 else 2.0
        elif axis == "case" and "case" not in known:
            cost += 1.0 if length > 4 else 2.0
    return cost


def told_axes(
    stored: Stored, order: Sequence[str], exact: bool, known: Mapping[str, int], where: str
) -> tuple[str, ...]:
    """The axes of an array as a plan names them, without those of length 1.

    Args:
        order: names; of all axes where `exact`, else some of them may be missing here.

    Raises:
        InputError: they do not fit.
    """
    for a in order:
        if a not in ORDER:
            raise InputError(f"{where}: no axis is called {a!r}, expected some of {', '.join(ORDER)}")
    if len(set(order)) < len(order):
        raise InputError(f"{where}: {list(order)}: every axis once, expected")
    told = f"{where}: {list(order)}, but {stored.name} has shape {stored.shape}"
    if len(order) == len(stored.shape):
        found = tuple(a for a, n in zip(order, stored.shape, strict=True) if n != 1)
        return _agreeing(found, stored, known, told)
    if len(order) == len(stored.long):
        return _agreeing(tuple(order), stored, known, told)
    if exact or len(order) < len(stored.long):
        raise InputError(told)
    fitting = []
    for kept in combinations(range(len(order)), len(stored.long)):
        way = tuple(order[i] for i in kept)
        if all(known.get(a, n) == n for a, n in zip(way, stored.long, strict=True)):
            fitting.append(way)
    space = [a for a in order if a in SPACE]
    whole = [w for w in fitting if all(a in w for a in space)] or fitting
    if not whole:
        raise InputError(f"{told} and lengths are {dict(known)}")
    return whole[0] if len(whole) == 1 else min(whole, key=lambda w: ("component" in w, "time" not in w))


def _agreeing(way: tuple[str, ...], stored: Stored, known: Mapping[str, int], told: str) -> tuple[str, ...]:
    for a, n in zip(way, stored.long, strict=True):
        if known.get(a, n) != n:
            raise InputError(f"{told}: {n} along {a}, where others have {known[a]}")
    return way


def components(name: str, count: int, dimensions: int, taken: Sequence[str]) -> list[str]:
    """What the components of a field are called."""
    if count == 1:
        return [name]
    if count == dimensions:
        plain = ["u", "v", "w"][:count]
        velocity = name.lower() in ("velocity", "velocities", "vel", "flow", "uv", "uvw", "velocity_field", "v_field")
        if velocity and not set(plain) & set(taken):
            return plain
        return [f"{name}_{a}" for a in "xyz"[:count]]
    return [f"{name}_{k + 1}" for k in range(count)]


def parts(placed: Placed, dimensions: int, taken: Sequence[str], values: Any = None) -> list[Placed]:
    """One for each component, and two for complex values."""
    found = [placed]
    if "component" in placed.axes and placed.component is None:
        count = placed.length("component")
        names = components(placed.name, count, dimensions, taken)
        found = [replace(placed, name=n, component=k) for k, n in enumerate(names)]
    elif placed.component is not None and not 0 <= placed.component < placed.length("component"):
        raise InputError(
            f"fields.{placed.name}: component {placed.component}, but {placed.stored.name} has "
            f"{placed.length('component')} (shape {placed.stored.shape}, axes {list(placed.axes)})"
        )
    if placed.stored.dtype.kind != "c":
        return found
    return [replace(p, name=f"{p.name}_{e}", part=k) for p in found for e, k in (("re", "real"), ("im", "imag"))]


def positions(stored: Stored, values: np.ndarray) -> np.ndarray:
    """(N, D), or (C, N, D), from either order of axes; a third coordinate that is the same everywhere is left out.

    Raises:
        FileFormatError: no positions.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim == 3 and found.shape[0] == 1:
        found = found[0]
    if found.ndim == 2 and found.shape[1] > 3 and found.shape[0] <= 3:
        found = found.T
    if found.ndim not in (2, 3) or not 1 <= found.shape[-1] <= 3:
        raise FileFormatError(f"{stored.file}: {stored.name}: shape {stored.shape}, expected positions (node, 1 to 3)")
    if found.shape[-1] == 3 and np.ptp(found[..., 2]) == 0:
        found = found[..., :2]
    return found


def connectivity(stored: Stored, values: np.ndarray, nodes: int) -> tuple[np.ndarray, bool]:
    """(M, vertices) numbers of nodes from 0, or (C, M, vertices), and whether they were counted from 1.

    Raises:
        FileFormatError: no numbers of nodes.
    """
    where = f"{stored.file}: {stored.name}"
    found = values
    if found.dtype.kind not in "iu":
        whole = np.asarray(np.nan_to_num(found, nan=-7.5)).astype(np.int64)
        if not np.array_equal(whole, found):
            raise FileFormatError(f"{where}: expected numbers of nodes, got numbers that are not whole")
        found = whole
    found = found.astype(np.int64)
    if found.ndim == 3 and found.shape[0] == 1:
        found = found[0]
    if found.ndim == 2 and found.shape[0] <= 8 < found.shape[1]:
        found = found.T
    if found.ndim not in (2, 3) or not 2 <= found.shape[-1] <= 8 or not found.size:
        raise FileFormatError(f"{where}: shape {stored.shape}, expected cells (cell, 2 to 8 nodes)")
    low, high = int(found.min()), int(found.max())
    if low == 1 and high == nodes:
        return found - 1, True
    if low < 0 or high >= nodes:
        raise FileFormatError(
            f"{where}: names node {low if low < 0 else high}, but there are {nodes} (0 to {nodes - 1})"
        )
    return found, False
