"""Proper orthogonal modes of frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

EQUAL = 1e-12  # share of a field's size that rounding makes of a spread


@dataclass(frozen=True, eq=False)
class ProperModes:
    """û = ū + Σ_{k ≤ r} c_k φ_k,  c_k = ⟨ψ_k, u − ū⟩: what r modes hold of frames.

    Of all bases of r modes this one leaves out least, Σ over frames of ‖u − û‖² = Σ_{k > r} σ_k² in the norm
    ‖u‖² = Σ_f ∫ u_f² dx / (|Ω| s_f²), s_f² being the mean square of field f about ū over frames and the domain.

    Args:
        mean: (field, *space) ū.
        modes: (mode, field, *space) φ, 0 where fields have no spread or no weight.
        reader: (mode, field, *space) ψ, which quadrature weights are part of.
        sizes: (all,) the singular values σ, of modes that are not kept too.
    """

    mean: np.ndarray
    modes: np.ndarray
    reader: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(
        cls, frames: Float[np.ndarray, "frame field *space"], weights: Float[np.ndarray, " *space"], most: int
    ) -> tuple[ProperModes, np.ndarray]:
        """At most so many modes of frames, and the frames' coefficients (frame, mode).

        There are none where frames do not differ.
        """
        mean, share = frames.mean(axis=0), weights / weights.sum()
        axes = (0, *range(2, frames.ndim))
        size, spread = (np.sqrt(((a**2) * share).sum(axis=axes) / len(frames)) for a in (frames, frames - mean))
        differs = spread > EQUAL * size
        factor = np.where(differs, 1.0 / np.where(differs, spread, 1.0), 0.0).reshape(-1, *[1] * weights.ndim)
        factor = factor * np.sqrt(share)
        scaled = ((frames - mean) * factor).reshape(len(frames), -1)
        left, sizes, right = np.linalg.svd(scaled, full_matrices=False)
        rank = min(int((sizes > 1e-10 * max(float(sizes[0]), 1e-300)).sum()), most)
        back = np.where(factor > 0, 1.0 / np.where(factor > 0, factor, 1.0), 0.0)
        shapes = right[:rank].reshape(rank, *mean.shape)
        return cls(mean, shapes * back, shapes * factor, sizes), (left * sizes)[:, :rank]

    def __len__(self) -> int:
        return len(self.modes)

    @property
    def left_out(self) -> float:
        """Σ_{k > r} σ_k² / Σ σ_k²: the share of the frames' deviation from their mean that the modes do not hold."""
        energy = self.sizes**2
        return float(energy[len(self) :].sum() / energy.sum())

    def coefficients(self, frames: Float[np.ndarray, " *frames"]) -> Float[np.ndarray, "*lead mode"]:
        """(..., mode) of frames (..., field, *space)."""
        lead = frames.shape[: frames.ndim - self.mean.ndim]
        return (frames - self.mean).reshape(*lead, -1) @ self.reader.reshape(len(self), -1).T

    def frames(self, coefficients: Float[np.ndarray, "*lead mode"]) -> Float[np.ndarray, " *frames"]:
        """(..., field, *space) of coefficients (..., mode)."""
        return self.mean + np.tensordot(coefficients, self.modes, axes=1)
