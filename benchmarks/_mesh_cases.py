"""Fields and meshes for the table of movers, all drawn anew; what kinds of them training had is said with each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.geometry import Box, Difference, Disc, Union
from sciml.meshing.fields import Front, Gaussians
from sciml.meshing.samples import meshed, polygons, rows

SEED = 8000  # training draws from others; an earlier table was made with 7000, and movers were chosen by it
#: kind -> (cases, cases of a quick run)
COUNTS = {
    "square, rows": (16, 1), "square, unstructured": (16, 1), "square, rows 50 × 50": (10, 1),
    "square, rows 100 × 100": (5, 0), "square, four triangles a cell": (12, 1), "square, graded": (12, 0),
    "convex polygons": (16, 1), "non-convex polygons": (40, 1), "square with holes": (12, 1),
}  # fmt: skip
#: kinds of which training had none of the sort, for no mover
UNSEEN = ("square, four triangles a cell", "square, graded", "non-convex polygons", "square with holes")
SQUARES = tuple(k for k in COUNTS if k.startswith("square, "))
NONCONVEX = ("non-convex polygons", "square with holes")
SMALL = 700  # nodes up to which the error itself is descended


@dataclass(frozen=True)
class Waves:
    """u = cos(2π k x) cos(2π l y)."""

    k: float
    l: float  # noqa: E741

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return np.cos(2 * np.pi * self.k * points[:, 0]) * np.cos(2 * np.pi * self.l * points[:, 1])

    def gradient(self, points: np.ndarray) -> np.ndarray:
        (a, b), (cx, cy), (sx, sy) = self._parts(points)
        return np.stack([-a * sx * cy, -b * cx * sy], 1)

    def hessian(self, points: np.ndarray) -> np.ndarray:
        (a, b), (cx, cy), (sx, sy) = self._parts(points)
        mixed = a * b * sx * sy
        return np.stack([np.stack([-(a**2) * cx * cy, mixed], 1), np.stack([mixed, -(b**2) * cx * cy], 1)], 1)

    def _parts(self, points: np.ndarray) -> Any:
        a, b = 2 * np.pi * self.k, 2 * np.pi * self.l
        x, y = points.T
        return (a, b), (np.cos(a * x), np.cos(b * y)), (np.sin(a * x), np.sin(b * y))


@dataclass(frozen=True)
class Layer:
    """u = (1 − exp(−d/w)) cos(π t), d and t the distances from a side of a box and along it, in its extents."""

    low: tuple[float, float]
    high: tuple[float, float]
    axis: int
    width: float

    def __call__(self, points: np.ndarray) -> np.ndarray:
        (a, _, _), (b, _, _) = self._parts(points)
        return a * b

    def gradient(self, points: np.ndarray) -> np.ndarray:
        (a, da, _), (b, db, _) = self._parts(points)
        return self._placed(da * b, a * db)

    def hessian(self, points: np.ndarray) -> np.ndarray:
        (a, da, dda), (b, db, ddb) = self._parts(points)
        first, second = self._placed(dda * b, da * db), self._placed(da * db, a * ddb)
        return np.stack([first, second] if self.axis == 0 else [second, first], 1)

    def _placed(self, across: np.ndarray, along: np.ndarray) -> np.ndarray:
        return np.stack([across, along] if self.axis == 0 else [along, across], 1)

    def _parts(self, points: np.ndarray) -> Any:
        extent = np.array(self.high) - self.low
        d, t = ((points - self.low) / extent).T[:: 1 if self.axis == 0 else -1]
        sx, sy = (1 / extent)[:: 1 if self.axis == 0 else -1]
        fall = np.exp(-d / self.width)
        across = 1 - fall, sx * fall / self.width, -(sx**2) * fall / self.width**2
        along = np.cos(np.pi * t), -np.pi * sy * np.sin(np.pi * t), -((np.pi * sy) ** 2) * np.cos(np.pi * t)
        return across, along


@dataclass(frozen=True)
class Case:
    """One field on one mesh.

    Args:
        kind: of the mesh; a key of `COUNTS`.
        field: "gaussians", "front", "waves" (of these kinds training had others) or "layer", of a kind that it had not.
        refined: `refined(n)` is a mesh of the same sort with edges 1/n as long.
    """

    kind: str
    number: int
    field: str
    u: Any
    points: np.ndarray
    cells: np.ndarray
    refined: Callable[[int], tuple[np.ndarray, np.ndarray]]

    @property
    def name(self) -> str:
        return f"{self.kind} {self.number}"


def cases(quick: bool, full: bool = False) -> Iterator[Case]:
    """All, in an order that is the same every time; `full` has three times as many, the first ones the same."""
    for place, (kind, counts) in enumerate(COUNTS.items()):
        for number in range(counts[quick] * (3 if full else 1)):
            rng = np.random.default_rng([SEED, place, number])
            points, cells = _mesh(kind, rng, number)
            name, u = _field(rng, number, points)
            yield Case(kind, number, name, u, points, cells, lambda n, p=points, c=cells: split(p, c, n))


def _field(rng: np.random.Generator, number: int, points: np.ndarray) -> tuple[str, Any]:
    low, high = points.min(0), points.max(0)
    if number % 5 == 2:
        return "waves", Waves(*rng.uniform(0.5, 2.0, 2).tolist())
    if number % 5 == 3:
        return "front", Front.drawn(rng, low, high)
    if number % 5 == 4:
        (a, b), (c, d) = low.tolist(), high.tolist()
        return "layer", Layer((a, b), (c, d), int(rng.integers(2)), float(rng.uniform(0.04, 0.12)))
    return "gaussians", Gaussians.drawn(rng, low, high)


def _mesh(kind: str, rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
    if kind == "square, rows":
        return rows(20, bool(number % 2))
    if kind == "square, unstructured":
        return meshed(Box((0.0, 0.0), (1.0, 1.0)), float(1 / rng.uniform(18, 26)))
    if kind == "square, rows 50 × 50":
        return rows(50, bool(number % 2))
    if kind == "square, rows 100 × 100":
        return rows(100, bool(number % 2))
    if kind == "square, four triangles a cell":
        return crossed(18)
    if kind == "square, graded":
        points, cells = rows(24)
        return points ** rng.uniform(0.8, 1.4, 2), cells
    if kind == "convex polygons":
        return polygons(rng, 1, 14, 28, convex=True)[0]
    if kind == "non-convex polygons":
        return polygons(rng, 1, 16, 32)[0]
    x, y = rng.uniform(0.25, 0.4, 2).tolist()
    holes = Union(Disc((x, y), 0.1), Disc((x + 0.35, y + 0.25), float(rng.uniform(0.08, 0.13))))
    return meshed(Difference(Box((0.0, 0.0), (1.0, 1.0)), holes), 0.05)


def crossed(n: int) -> tuple[np.ndarray, np.ndarray]:
    """n × n squares of the unit square, each with a node in its middle and four triangles around it."""
    points, _ = rows(n)
    i = np.arange((n + 1) ** 2).reshape(n + 1, n + 1)
    a, b, c, d = (k.ravel() for k in (i[:-1, :-1], i[:-1, 1:], i[1:, 1:], i[1:, :-1]))
    middle = (n + 1) ** 2 + np.arange(n * n)
    cells = np.concatenate([np.stack([p, q, middle], 1) for p, q in ((a, b), (b, c), (c, d), (d, a))])
    return np.concatenate([points, (points[a] + points[c]) / 2]), cells


def split(points: np.ndarray, cells: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Every triangle cut into n² that are like it."""
    steps = [(i, j) for i in range(n + 1) for j in range(n + 1 - i)]
    number = {s: k for k, s in enumerate(steps)}
    shares = np.array([(n - i - j, i, j) for i, j in steps]) / n
    every = np.einsum("sk,ckd->csd", shares, points[cells])
    small = [(number[i, j], number[i + 1, j], number[i, j + 1]) for i in range(n) for j in range(n - i)]
    small += [(number[i + 1, j], number[i + 1, j + 1], number[i, j + 1]) for i in range(n) for j in range(n - 1 - i)]
    keys = np.round(every.reshape(-1, 2) / np.ptp(points, axis=0).max() * 2**32).astype(np.int64)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    local = np.array(small)[None] + len(steps) * np.arange(len(cells))[:, None, None]
    return every.reshape(-1, 2)[first], inverse.ravel()[local.reshape(-1, 3)]
