"""Losses as parts of a recipe: `loss(prediction, target, on)`, a scalar.

`prediction` and `target` are (batch, channel, *space) in units of order one; `on` says where the values live. The
mathematics, with masks and quadrature weights, is in `sciml.training.norms`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sciml.errors import InputError
from sciml.training.parts import Part

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped
    from torch import Tensor

    Values = Float[Tensor, "batch channel *space"]


@dataclass(frozen=True, eq=False)
class On:
    """Where the values of a batch live, sample by sample.

    Args:
        mask: (batch or 1, 1, *space), 1 inside; None: all is.
        weights: (batch or 1, 1, *space) quadrature weights (cell volumes, dual areas); None: all are equal.
        axes: for grids, positions of the cells along each axis in the arrays' order, each (batch or 1, n); None off
            grids.
        periodic: for grids, whether each axis is; () for none.
        lengths: (batch or 1, d): length of the domain along each axis, which the seam of a periodic axis needs.
    """

    mask: Shaped[Tensor, "#batch 1 *#space"] | None = None
    weights: Shaped[Tensor, "#batch 1 *#space"] | None = None
    axes: tuple[Float[Tensor, "#batch _cell"], ...] | None = None
    periodic: tuple[bool, ...] = ()
    lengths: Float[Tensor, "#batch axis"] | None = None

    def __post_init__(self) -> None:
        d = len(self.axes or ())
        if self.periodic and len(self.periodic) != d:
            raise InputError(f"periodic: expected one entry for each of {d} axes, got {len(self.periodic)}")
        if any(self.periodic) and (self.lengths is None or self.lengths.shape[-1] != d):
            got = "none" if self.lengths is None else f"shape {tuple(self.lengths.shape)}"
            raise InputError(f"lengths: expected (batch or 1, {d}) for the periodic axes, got {got}")

    def to(self, device: Any, dtype: Any = None) -> On:
        """The same on another device; floating-point values as `dtype`."""
        from sciml.training.devices import move

        return On(
            move(self.mask, device, dtype), move(self.weights, device, dtype), move(self.axes, device, dtype),
            self.periodic, move(self.lengths, device, dtype),
        )  # fmt: skip

    @property
    def periods(self) -> tuple[Tensor | None, ...]:
        """The length of each axis that is periodic, None for the others."""
        if self.lengths is None or not self.periodic:
            return (None,) * len(self.axes or ())
        return tuple(self.lengths[..., i].reshape(-1) if p else None for i, p in enumerate(self.periodic))


class Loss(Part, family="loss"):
    """A scalar that says how far a prediction is from its target."""

    @abstractmethod
    def __call__(self, prediction: Values, target: Values, on: On) -> Float[Tensor, ""]:
        """The loss of a batch.

        Args:
            prediction, target: (batch, channel, *space).
            on: where they live.

        Raises:
            InputError: shapes that do not fit each other, a sample without a cell, or values on what the loss cannot
                use.
        """


@dataclass(frozen=True)
class _Floored(Loss):
    floor: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("floor", 0)


@dataclass(frozen=True)
class Mse(Loss):
    """Mean square error, ⟨‖p − t‖²⟩ / channels."""

    def __call__(self, prediction: Values, target: Values, on: On) -> Float[Tensor, ""]:
        from sciml.training.norms import mse

        return mse(prediction, target, mask=on.mask, weights=on.weights)


@dataclass(frozen=True)
class Nmse(_Floored):
    """CFDBench's loss, Σ_batch ‖p − t‖² / (Σ_batch ‖t‖² + floor²): one ratio for the batch (Luo et al. 2023)."""

    floor: float = 1e-6

    def __call__(self, prediction: Values, target: Values, on: On) -> Float[Tensor, ""]:
        from sciml.training.norms import nmse

        return nmse(prediction, target, mask=on.mask, weights=on.weights, floor=self.floor)


@dataclass(frozen=True)
class SampleNmse(_Floored):
    """⟨‖p − t‖² / (‖t‖² + floor²)⟩: quiet samples count as much as loud ones, down to `floor`."""

    def __call__(self, prediction: Values, target: Values, on: On) -> Float[Tensor, ""]:
        from sciml.training.norms import sample_nmse

        return sample_nmse(prediction, target, mask=on.mask, weights=on.weights, floor=self.floor)


@dataclass(frozen=True)
class RelativeL2(_Floored):
    """⟨‖p − t‖ / √(‖t‖² + floor²)⟩ (Li et al. 2021)."""

    def __call__(self, prediction: Values, target: Values, on: On) -> Float[Tensor, ""]:
        from sciml.training.norms import relative_l2

        return relative_l2(prediction, target, mask=on.mask, weights=on.weights, floor=self.floor)


@dataclass(frozen=True)
class H1(Loss):
    """⟨√((‖e‖² + γ‖∇e‖²) / (‖t‖² + γ‖∇t‖² + floor²))⟩, e = p − t, γ = `gradient_weight` in squares of the axes' unit.

    Gradients are second-order differences on the grid's own axes, across the seam of periodic ones; see
    `sciml.training.norms.differences`. There is no such loss off grids.
    """

    gradient_weight: float = 1.0
    floor: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("gradient_weight", 0)
        self._range("floor", 0)

    def __call__(self, prediction: Values, target: Values, on: On) -> Float[Tensor, ""]:
        from sciml.training.norms import h1

        if on.axes is None:
            raise InputError("loss: H1 needs values on a grid, got nodes or cells of a mesh; use RelativeL2")
        return h1(
            prediction, target, mask=on.mask, weights=on.weights, axes=on.axes, periods=on.periods,
            gradient_weight=self.gradient_weight, floor=self.floor,
        )  # fmt: skip


@dataclass(frozen=True)
class Sobolev(Loss):
    """⟨‖e‖_s / √(‖t‖_s² + floor²)⟩, e = p − t, in the norm ‖u‖_s² = Σ_k (1 + ℓ²|k|²)^s |û_k|² of the order s.

    On equal cells of boxes that are periodic on every axis it is taken by Fourier transform, of any real order: less
    than 0 for what matters in the mean. Elsewhere, and around bodies, by differences of order 1, 2, ..., as
    ‖u‖_s² = ‖u‖_{s−1}² + ℓ² Σ_i ‖∂_i u‖_{s−1}². Spacing and periodicity are those of each case.

    Args:
        order: s, from -4 to 4.
        length: ℓ, in the unit of the axes: waves longer than 2πℓ count as they do in L².
        relative: False for ⟨‖e‖_s²⟩ / channels.
    """

    order: float = 1.0
    length: float = 1.0
    relative: bool = True
    floor: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("order", -4, 4)
        self._range("length", above=0)
        self._range("floor", 0)

    def __call__(self, prediction: Values, target: Values, on: On) -> Float[Tensor, ""]:
        from sciml.training.norms import sobolev

        if on.axes is None:
            raise InputError("loss: Sobolev needs values on a grid, got nodes or cells of a mesh; use RelativeL2")
        return sobolev(
            prediction, target, order=self.order, axes=on.axes, periods=on.periods, mask=on.mask, weights=on.weights,
            length=self.length, relative=self.relative, floor=self.floor,
        )  # fmt: skip
