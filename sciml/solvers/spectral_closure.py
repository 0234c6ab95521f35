"""What stands for eddies that a spectral grid does not hold."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import InputError, is_number


class SpectralEddyViscosity:
    """∂t û = ... − ν_t(k) k² û with the eddy viscosity of the waves k by those beyond the last one kept, k_c,

        ν_t(k) = 0.441 C^(−3/2) (1 + 34.47 e^(−3.03 k_c/k)) √(E(k_c)/k_c),

    a plateau for long waves and a cusp at k_c, in a ball of waves up to the last whole shell. E(k_c) is the energy of
    that shell over its thickness; without energy there, as in a laminar flow, there is no eddy viscosity. The constants
    belong to a spectrum E ∝ k^(−5/3) about k_c in three dimensions: where k_c lies among the eddies that carry the
    energy, or well within the dissipation, they promise less.

    Args:
        kolmogorov: the constant C of E = C ε^(2/3) k^(−5/3).

    Source: J.-P. Chollet, M. Lesieur, J. Atmos. Sci. 38, 2747 (1981); M. Lesieur, O. Métais, Annu. Rev. Fluid Mech. 28,
    45 (1996), for this form.
    """

    def __init__(self, kolmogorov: float = 1.4):
        if not is_number(kolmogorov) or not kolmogorov > 0:
            raise InputError(f"kolmogorov: expected a number > 0, got {kolmogorov!r}")
        self.kolmogorov = float(kolmogorov)

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": "spectral_eddy_viscosity", "kolmogorov": self.kolmogorov}

    def kept(self, shape: tuple[int, ...]) -> np.ndarray:
        """(*modes) which waves stay beside those of the 2/3 rule: whole shells alone. Waves in the corners of the cube
        would take energy that the viscosity takes already."""
        m = [np.fft.fftfreq(n, 1 / n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1], 1 / shape[-1])]
        return np.sqrt(sum(a**2 for a in np.meshgrid(*m, indexing="ij"))) <= _last(shape) + 0.5

    def damping(self, modes: Any, k: Any, shape: tuple[int, ...]) -> jax.Array:
        """(*modes) the rate ν_t(k) k².

        Args:
            modes: (component, *modes) of the velocity, of a real transform without factors.
            k: wave numbers along x, y, z, each along its axis of the modes.
            shape: cells in array order.
        """
        unit = k[0].reshape(-1)[1]
        last = _last(shape)
        square = sum(a * a for a in k)
        sizes = jnp.sqrt(square) / unit
        shell = jnp.abs(sizes - last) <= 0.5
        twice = jnp.where(k[0] > 0, 2.0, 1.0)  # such a mode stands for its conjugate, too
        power = jnp.sum(jnp.where(shell, jnp.sum(jnp.real(modes) ** 2 + jnp.imag(modes) ** 2, axis=0) * twice, 0))
        energy = power / 2 / float(np.prod(shape)) ** 2 / unit
        size = 0.441 * self.kolmogorov**-1.5 * jnp.sqrt(energy / (last * unit))
        cusp = 1 + 34.47 * jnp.exp(-3.03 * last / jnp.where(sizes > 0, sizes, 1e-3))
        return size * cusp * square

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SpectralEddyViscosity) and self.settings == other.settings

    def __hash__(self) -> int:
        return hash(self.kolmogorov)

    def __repr__(self) -> str:
        return f"SpectralEddyViscosity(kolmogorov={self.kolmogorov:g})"


def _last(shape: tuple[int, ...]) -> int:
    """The last shell that the 2/3 rule keeps whole."""
    return (min(shape) - 1) // 3
