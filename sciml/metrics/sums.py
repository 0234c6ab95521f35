"""Sums from which errors follow: added over cells, cases, shards and processes, and divided only at the end."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from sciml.metrics._array import Factor, Kept, Values, is_tensor, namespace, prepare, ratio, some

Axis = int | tuple[int, ...] | None


@dataclass(frozen=True, eq=False)
class Sums:
    """Σ w (p − t)², Σ w |p − t|, Σ w t² and Σ w over the cells of one or several fields.

    Sums of parts are added, `a + b` or `sum(parts)`; what follows from them is then that of the whole. Four arrays of
    one shape, one entry for each thing that is told apart, or numbers; of NumPy, of any library with the array API, or
    tensors of torch, through which gradients go.

    Args:
        error: Σ w (p − t)², in the field's unit squared times that of the weights.
        absolute: Σ w |p − t|.
        label: Σ w t².
        count: Σ w; the number of cells where they are not weighted.

    Edge cases: 0 / 0 is 0 (a zero field predicted exactly), a / 0 is ∞; an error where there is no cell at all.
    """

    error: Kept
    absolute: Kept
    label: Kept
    count: Kept

    @classmethod
    def of(
        cls, prediction: Values, target: Values, *, mask: Factor = None, weights: Factor = None, axis: Axis = None
    ) -> Sums:
        """The sums over `axis` (all axes by default); the other axes are kept.

        Args:
            prediction, target: arrays, tensors or `xarray.DataArray`s; see `sciml.metrics.pointwise`.
            mask: 1 = inside; values outside are never read.
            weights: quadrature weights, ≥ 0.
        """
        xp, p, t, w = prepare(prediction, target, mask, weights, tensors=True)
        gap = p - t
        return cls(*(_sum(xp, v, axis) for v in (w * gap**2, w * xp.abs(gap), w * t**2, w)))

    def __add__(self, other: Sums | int) -> Sums:
        if isinstance(other, int) and other == 0:  # what `sum` begins with
            return self
        if not isinstance(other, Sums):
            return NotImplemented
        return Sums(
            self.error + other.error,
            self.absolute + other.absolute,
            self.label + other.label,
            self.count + other.count,
        )

    __radd__ = __add__

    def pool(self, axis: Axis = None) -> Sums:
        """The sums with these of the kept axes (all by default) added up as well."""
        xp = self._namespace()
        return Sums(*(_sum(xp, v, axis) for v in (self.error, self.absolute, self.label, self.count)))

    @property
    def mse(self) -> Kept:
        """Mean squared error, ⟨(p − t)²⟩."""
        return self._mean(self.error)

    @property
    def rmse(self) -> Kept:
        """Root mean squared error, √⟨(p − t)²⟩."""
        return self._namespace().sqrt(self.mse)

    @property
    def mae(self) -> Kept:
        """Mean absolute error, ⟨|p − t|⟩."""
        return self._mean(self.absolute)

    @property
    def nmse(self) -> Kept:
        """Normalised mean squared error, ⟨(p − t)²⟩ / ⟨t²⟩."""
        xp = self._namespace()
        some(xp, self.count)
        return ratio(xp, self.error, self.label)

    @property
    def relative_l2(self) -> Kept:
        """Relative L² error, ‖p − t‖ / ‖t‖ = √nmse."""
        return self._namespace().sqrt(self.nmse)

    def _mean(self, total: Any) -> Any:
        some(self._namespace(), self.count)
        return total / self.count

    def _namespace(self) -> Any:
        return sys.modules["torch"] if is_tensor(self.error) else namespace(self.error)


def _sum(xp: Any, values: Any, axis: Axis) -> Any:
    return xp.sum(values) if axis is None else xp.sum(values, axis=axis)
