"""Fields that meshes are moved for, with their exact derivatives: random ones to learn from and to be judged by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from sciml.errors import InputError
from sciml.meshing._simplices import Points


@dataclass(frozen=True)
class Gaussians:
    """u = Σₖ hₖ exp(−|Wₖ (x − cₖ)|²).

    Args:
        centres: (K, D) cₖ.
        heights: (K,) hₖ.
        widths: (K, D, D) Wₖ; the inverse width along each axis of one that is not turned.

    Raises:
        InputError: shapes that do not fit.
    """

    centres: Float[np.ndarray, "bump dimension"]
    heights: Float[np.ndarray, " bump"]
    widths: Float[np.ndarray, "bump dimension dimension"]

    def __post_init__(self) -> None:
        k, d = np.shape(self.centres) if np.ndim(self.centres) == 2 else (0, 0)
        if not k or np.shape(self.heights) != (k,) or np.shape(self.widths) != (k, d, d):
            shapes = ", ".join(str(np.shape(a)) for a in (self.centres, self.heights, self.widths))
            raise InputError(f"gaussians: expected centres (K, D), heights (K,) and widths (K, D, D), got {shapes}")

    @classmethod
    def drawn(
        cls,
        rng: np.random.Generator,
        low: Float[np.ndarray, " dimension"],
        high: Float[np.ndarray, " dimension"],
        most: int = 6,
        thinnest: float = 0.05,
        widest: float = 0.35,
    ) -> Gaussians:
        """One to `most` bumps in a box, turned anyhow, with widths between shares of its shorter side.

        Args:
            rng: draws.
            low, high: corners of the box.
            most: bumps.
            thinnest, widest: the share of the shorter side in which a bump falls by e, its logarithm even.
        """
        d, k = len(low), int(rng.integers(1, most + 1))
        side = float((np.asarray(high) - low).min())
        wide = side * np.exp(rng.uniform(np.log(thinnest), np.log(widest), (k, d)))
        turned = np.linalg.qr(rng.standard_normal((k, d, d)))[0] if d > 1 else np.ones((k, 1, 1))
        centres = np.asarray(low) + rng.uniform(size=(k, d)) * (np.asarray(high) - low)
        return cls(
            centres, rng.uniform(0.2, 1.0, k) * rng.choice([-1.0, 1.0], k), np.swapaxes(turned, 1, 2) / wide[:, :, None]
        )

    def __call__(self, points: Points) -> Float[np.ndarray, " node"]:
        return sum((u for u, _, _ in self._parts(points)), np.zeros(len(points)))

    def gradient(self, points: Points) -> Float[np.ndarray, "node dimension"]:
        """∇u."""
        found = np.zeros(np.shape(points))
        for u, slope, _ in self._parts(points):
            for i, s in enumerate(slope):
                found[:, i] += u * s
        return found

    def hessian(self, points: Points) -> Float[np.ndarray, "node dimension dimension"]:
        """∇∇u."""
        d = np.shape(points)[1]
        found = np.zeros((len(points), d, d))
        for u, slope, bend in self._parts(points):
            for i in range(d):
                for j in range(i, d):
                    found[:, i, j] += u * (slope[i] * slope[j] + bend[i, j])
        for i in range(d):
            for j in range(i):
                found[:, i, j] = found[:, j, i]
        return found

    def _parts(self, points: Points) -> Iterator[Any]:
        """Of each bump its value, and of its exponent the slope along each axis and the curvature: bump by bump and
        axis by axis, which is ten times faster than all at once."""
        axes = np.ascontiguousarray(np.transpose(points))
        for centre, height, width in zip(self.centres, self.heights, self.widths, strict=True):
            off = [x - c for x, c in zip(axes, centre, strict=True)]
            metric = width.T @ width
            pulled = [sum(a * o for a, o in zip(row, off, strict=True)) for row in metric]
            square = sum(o * p for o, p in zip(off, pulled, strict=True))
            yield height * np.exp(-square), [-2 * p for p in pulled], -2 * metric


@dataclass(frozen=True)
class Ripples:
    """u = Σₖ hₖ sin(wₖ·x + φₖ).

    Args:
        waves: (K, D) wₖ.
        heights: (K,) hₖ.
        phases: (K,) φₖ.
    """

    waves: Float[np.ndarray, "wave dimension"]
    heights: Float[np.ndarray, " wave"]
    phases: Float[np.ndarray, " wave"]

    @classmethod
    def drawn(
        cls,
        rng: np.random.Generator,
        low: Float[np.ndarray, " dimension"],
        high: Float[np.ndarray, " dimension"],
        most: int = 4,
        shortest: float = 0.4,
        longest: float = 2.0,
    ) -> Ripples:
        """One to `most` waves of any direction, as long as these shares of a box's shorter side."""
        d, k = len(low), int(rng.integers(1, most + 1))
        side = float((np.asarray(high) - low).min())
        way = rng.standard_normal((k, d))
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        length = side * np.exp(rng.uniform(np.log(shortest), np.log(longest), k))
        return cls(2 * np.pi * way / length[:, None], rng.uniform(0.2, 1.0, k), rng.uniform(0, 2 * np.pi, k))

    def __call__(self, points: Points) -> Float[np.ndarray, " node"]:
        return np.sin(np.asarray(points) @ self.waves.T + self.phases) @ self.heights

    def gradient(self, points: Points) -> Float[np.ndarray, "node dimension"]:
        """∇u."""
        return (self.heights * np.cos(np.asarray(points) @ self.waves.T + self.phases)) @ self.waves

    def hessian(self, points: Points) -> Float[np.ndarray, "node dimension dimension"]:
        """∇∇u."""
        size = -self.heights * np.sin(np.asarray(points) @ self.waves.T + self.phases)
        return np.einsum("nk,ki,kj->nij", size, self.waves, self.waves)


@dataclass(frozen=True)
class Front:
    """u = tanh((|x − c| − r)/w): steep on a circle.

    Args:
        centre: (D,) c.
        radius, width: r and w.
    """

    centre: Float[np.ndarray, " dimension"]
    radius: float
    width: float

    @classmethod
    def drawn(
        cls,
        rng: np.random.Generator,
        low: Float[np.ndarray, " dimension"],
        high: Float[np.ndarray, " dimension"],
        thinnest: float = 0.03,
        widest: float = 0.12,
    ) -> Front:
        """A circle around a point of a box, of a fifth to two fifths of its shorter side, the width a share of that."""
        side = float((np.asarray(high) - low).min())
        centre = np.asarray(low) + rng.uniform(0.15, 0.85, len(low)) * (np.asarray(high) - low)
        width = side * float(np.exp(rng.uniform(np.log(thinnest), np.log(widest))))
        return cls(centre, side * float(rng.uniform(0.15, 0.4)), width)

    def __call__(self, points: Points) -> Float[np.ndarray, " node"]:
        return np.tanh((self._polar(points)[0] - self.radius) / self.width)

    def gradient(self, points: Points) -> Float[np.ndarray, "node dimension"]:
        """∇u."""
        r, normal = self._polar(points)
        t = np.tanh((r - self.radius) / self.width)
        return ((1 - t**2) / self.width)[:, None] * normal

    def hessian(self, points: Points) -> Float[np.ndarray, "node dimension dimension"]:
        """∇∇u."""
        r, n = self._polar(points)
        t = np.tanh((r - self.radius) / self.width)
        first, second = (1 - t**2) / self.width, -2 * t * (1 - t**2) / self.width**2
        outer = n[:, :, None] * n[:, None]
        return second[:, None, None] * outer + (first / r)[:, None, None] * (np.eye(n.shape[1]) - outer)

    def _polar(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        off = np.asarray(points) - self.centre
        r = np.maximum(np.linalg.norm(off, axis=1), 1e-9)
        return r, off / r[:, None]
