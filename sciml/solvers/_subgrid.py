"""Subgrid models of large-eddy simulation: the stress of what a grid does not show, from what it shows.

    τ_ij − δ_ij τ_kk/3 = −2 ν_t S_ij,   S_ij = (∂j u_i + ∂i u_j)/2;   the isotropic part goes into the pressure.

The filter is that of the grid: Δ = (Δx Δy Δz)^(1/3), with Δx, Δz the periods over the number of waves that are kept and
Δy the size of a cell. Arrays have y as their first axis of space, (y, z, x), the inner Chebyshev points of a channel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import InputError, is_number
from sciml.solvers import _chebyshev

Gradient = Any  # 3 × 3 arrays (y, z, x), ∂j u_i as [i][j]


@dataclass(frozen=True)
class Closure(ABC):
    """Abstract: a model of the eddy viscosity ν_t."""

    name = ""
    title = ""

    @property
    def settings(self) -> dict[str, Any]:
        return {"model": self.name, **asdict(self)}

    @abstractmethod
    def coefficient(self, velocity: jax.Array, gradient: Gradient, stepper: Any) -> jax.Array:
        """(y,) what is found once a step, at its beginning.

        Args:
            velocity: (3, y, z, x), m/s.
            gradient: 3 × 3 arrays (y, z, x), ∂j u_i as [i][j], 1/s.
            stepper: with `planes` and `width`.
        """

    @abstractmethod
    def viscosity(self, gradient: Gradient, coefficient: jax.Array, width: jax.Array) -> jax.Array:
        """(y, z, x) ν_t in m²/s, of `coefficient` (y,) and the filter's `width` (y,) in m."""

    def stress(self, gradient: Gradient, coefficient: jax.Array, width: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        """(τ_xx, τ_yy, τ_zz, τ_xy, τ_xz, τ_yz; ν_t), over density and without a trace."""
        eddy = self.viscosity(gradient, coefficient, width)
        return [-2 * eddy * s for s in strain(gradient)], eddy


@dataclass(frozen=True)
class WALE(Closure):
    """The wall-adapting local eddy viscosity,

        ν_t = (C Δ)² (Sᵈ:Sᵈ)^(3/2) / ((S:S)^(5/2) + (Sᵈ:Sᵈ)^(5/4)),   Sᵈ = ½ (g² + g²ᵀ) − I tr(g²)/3,   g_ij = ∂j u_i,

    which vanishes as y³ at a wall and in pure shear.

    Args:
        constant: C; 0.325 in channels, up to 0.6 in isotropic turbulence.

    Source: F. Nicoud, F. Ducros, Flow Turbul. Combust. 62, 183 (1999), equation 13.
    """

    constant: float = 0.325
    name = "wale"
    title = "WALE"

    def __post_init__(self) -> None:
        if not is_number(self.constant) or self.constant < 0:
            raise InputError(f"wale: constant is {self.constant!r}, expected a number from 0 on")

    def coefficient(self, velocity: jax.Array, gradient: Gradient, stepper: Any) -> jax.Array:
        return jnp.full(velocity.shape[1], self.constant**2, velocity.dtype)

    def viscosity(self, gradient: Gradient, coefficient: jax.Array, width: jax.Array) -> jax.Array:
        g = gradient
        square = [[sum(g[i][k] * g[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
        third = (square[0][0] + square[1][1] + square[2][2]) / 3
        part = [square[i][i] - third for i in range(3)]
        part += [(square[i][j] + square[j][i]) / 2 for i, j in ((0, 1), (0, 2), (1, 2))]
        # below, powers of it would be no numbers; where it is chosen twice, neither they nor their slopes are infinite
        least = jnp.finfo(coefficient.dtype).tiny ** 0.4
        turned, strained = _square(part), _square(strain(gradient))
        seen = turned > least
        turned = jnp.where(seen, turned, 1.0)
        strained = jnp.where(seen & (strained > least), strained, least)
        root = jnp.sqrt(turned)  # powers by roots, which are cheap
        below = strained**2 * jnp.sqrt(strained) + turned * jnp.sqrt(root)
        size = jnp.where(seen, turned * root / below, 0.0)
        return (coefficient * width**2)[:, None, None] * size


@dataclass(frozen=True)
class DynamicSmagorinsky(Closure):
    """Smagorinsky's model whose coefficient the flow itself says, ν_t = C Δ² |S|, |S| = (2 S:S)^½:

        C Δ² = −½ ⟨L:M⟩ / ⟨M:M⟩,   L_ij = (u_i u_j)^ − û_i û_j (its trace taken away),
        M_ij = α² |Ŝ| Ŝ_ij − (|S| S_ij)^,   α = Δ^/Δ = 2^(2/3),

    with ^ a sharp filter that leaves the lower half of the wave numbers along x and z, ⟨⟩ means over planes (Lilly's
    least squares). A negative coefficient is taken as 0.

    Sources: M. Germano, U. Piomelli, P. Moin, W. H. Cabot, Phys. Fluids A 3, 1760 (1991); D. K. Lilly, Phys. Fluids A
    4, 633 (1992).
    """

    name = "dynamic_smagorinsky"
    title = "dynamic Smagorinsky"

    def coefficient(self, velocity: jax.Array, gradient: Gradient, stepper: Any) -> jax.Array:
        s = strain(gradient)
        size = _size(s)
        pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
        products = [velocity[i] * velocity[j] for i, j in pairs]
        smooth = _coarse(jnp.stack([*velocity, *s, *products, *(size * part for part in s)]), stepper.planes)
        u, sh, uu, ss = smooth[:3], smooth[3:9], smooth[9:15], smooth[15:]
        large = _size(list(sh))
        ratio = 2 ** (4 / 3)
        m = [ratio * large * a - b for a, b in zip(sh, ss, strict=True)]
        ell = [uu[n] - u[i] * u[j] for n, (i, j) in enumerate(pairs)]  # M has no trace, so that L's does not count
        above = _product(ell, m).mean((-2, -1))
        below = _product(m, m).mean((-2, -1))
        tiny = jnp.finfo(below.dtype).tiny
        return jnp.maximum(jnp.where(below > tiny, -above / (2 * jnp.where(below > tiny, below, 1)), 0.0), 0.0)

    def viscosity(self, gradient: Gradient, coefficient: jax.Array, width: jax.Array) -> jax.Array:
        return coefficient[:, None, None] * _size(strain(gradient))


def strain(gradient: Gradient) -> list[jax.Array]:
    """S_xx, S_yy, S_zz, S_xy, S_xz, S_yz."""
    g = gradient
    return [g[0][0], g[1][1], g[2][2]] + [(g[i][j] + g[j][i]) / 2 for i, j in ((0, 1), (0, 2), (1, 2))]


def _product(a: Any, b: Any) -> jax.Array:
    """a:b of symmetric tensors."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + 2 * (a[3] * b[3] + a[4] * b[4] + a[5] * b[5])


def _square(a: Any) -> jax.Array:
    return _product(a, a)


def _size(a: Any) -> jax.Array:
    """(2 a:a)^½, whose derivative is a number where a is 0."""
    square = 2 * _square(a)
    return jnp.sqrt(jnp.maximum(square, jnp.finfo(square.dtype).tiny))


def _coarse(values: jax.Array, planes: Any) -> jax.Array:
    """(..., y, z, x) without the upper half of the wave numbers along x and z."""
    keep_x = np.arange(planes.mx + 1) <= planes.mx // 2
    keep_z = np.abs(planes.rows) <= planes.mz // 2
    return planes.back(planes.forth(values) * (keep_z[:, None] & keep_x[None, :]))


def filter_width(planes: Any, lengths: tuple[Any, Any], cells: int, half_height: Any) -> jax.Array:
    """(y,) Δ in m."""
    dx, dz = lengths[0] / (2 * planes.mx + 1), lengths[1] / (2 * planes.mz + 1)
    return (dx * dz * jnp.asarray(np.diff(_chebyshev.faces(cells))) * half_height) ** (1 / 3)
