"""Least change onto linear equations: x − M⁻¹Aᵀ (A M⁻¹ Aᵀ)⁺ (A x − b), for any sparse A.

The nearest x' to x, in ‖x' − x‖² = Σ Mᵢ (x'ᵢ − xᵢ)², of all with A x' = b. With A a discrete divergence it is the
discrete Helmholtz projection, A M⁻¹ Aᵀ the Laplacian that is the divergence of the gradient, so that the divergence
is zero to rounding and not to the order of a scheme. Rows of A may depend on each other, as those of a divergence
between walls or on decoupled checkerboards do.

Source: A. J. Chorin, Math. Comp. 22, 745 (1968); K. Goda, J. Comput. Phys. 30, 76 (1979), for staggered fields.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.constraints._linear import Normal, Sparse, csr, diagonal, linear
from sciml.errors import InputError

ROUNDINGS = 1e3  # of the largest term of a sum, beyond which what is left of equations is none
SETTLED = 4  # of the same, below which nothing is gained


class DiscreteProjection(nn.Module):
    """The nearest values that obey A x = b; linear in x and b, with exact derivatives to any order.

    It has no parameters. Numbers are float64 inside: what comes in as float32 leaves as float32, its defect at the
    rounding of float32. On the CPU one factorisation serves all calls, elsewhere conjugate gradients are run.

    Args:
        matrix: A (m, n), a SciPy sparse array or a dense one.
        target: b (m,); zeros by default.
        weights: M, (n,) or of `shape`, positive, for instance volumes of cells; ones by default. The projection is
            orthogonal, and its linear part self-adjoint, in the inner product that they give.
        shape: of values, n numbers in all, for instance (2, ny, nx); (n,) by default.
        factorise: False for conjugate gradients on the CPU too, where a factorisation would not fit in memory.

    Raises:
        InputError: numbers that are not finite, sizes that do not fit, weights that are not positive.
    """

    def __init__(
        self,
        matrix: Any,
        target: Any = None,
        weights: Any = None,
        shape: tuple[int, ...] | None = None,
        factorise: bool = True,
    ):
        super().__init__()
        plain = csr(matrix).copy()
        plain.sum_duplicates()
        m, n = plain.shape
        self.shape = (n,) if shape is None else tuple(shape)
        if math.prod(self.shape) != n:
            raise InputError(
                f"matrix: has {n} columns, expected {math.prod(self.shape)}, as many as values {self.shape}"
            )
        if not np.isfinite(plain.data).all():
            raise InputError("matrix: holds numbers that are not finite")
        mass = np.ones(n) if weights is None else np.asarray(weights, np.float64).ravel()
        if mass.shape != (n,):
            raise InputError(f"weights: expected {n} numbers, one for each value, got {mass.size}")
        if not (np.isfinite(mass).all() and (mass > 0).all()):
            raise InputError("weights: expected positive numbers")
        # rows of length one in the metric of the weights: then residuals have one scale
        length = np.sqrt((plain.multiply(plain) @ (1 / mass)).ravel())
        scale = np.where(length > 0, 1 / np.where(length > 0, length, 1.0), 1.0)
        rows, root = diagonal(scale), diagonal(1 / np.sqrt(mass))
        self.matrix = plain
        self._rows, self._scale = Sparse((rows @ plain).tocsr()), torch.from_numpy(scale)
        self._scales: dict[torch.device, Tensor] = {self._scale.device: self._scale}
        self._largest = float(np.abs(self._rows.matrix.data).max(initial=0.0))
        self._change = Sparse((rows @ plain @ diagonal(1 / mass)).tocsr())
        self._normal = Normal((rows @ plain @ root).tocsr(), factorise)
        given = torch.zeros(m, dtype=torch.float64) if target is None else torch.as_tensor(target, dtype=torch.float64)
        self.target = self._checked(given)

    def extra_repr(self) -> str:
        return f"{self.matrix.shape[0]} equations of values {self.shape}"

    def _checked(self, target: Tensor) -> Tensor:
        m = self.matrix.shape[0]
        if target.shape[-1:] != (m,):
            raise InputError(f"target: expected one number for each of {m} equations, got shape {tuple(target.shape)}")
        return target

    def defect(
        self, values: Float[Tensor, "*shape"], target: Float[Tensor, "*batch m"] | None = None
    ) -> Float[Tensor, "*defects m"]:
        """A x − b, (..., m), in float64."""
        return self._residual(values, target) / self._scale_on(values.device)

    def _scale_on(self, device: torch.device) -> Tensor:
        """Copied there once."""
        if device not in self._scales:
            self._scales[device] = self._scale.to(device)
        return self._scales[device]

    def _residual(self, values: Tensor, target: Tensor | None) -> Tensor:
        at = values.ndim - len(self.shape)
        if at < 0 or tuple(values.shape[at:]) != self.shape:
            raise InputError(f"values: expected (..., {str(self.shape)[1:]}, got {tuple(values.shape)}")
        flat = values.reshape(*values.shape[:at], -1).to(torch.float64)
        given = self.target if target is None else self._checked(target)
        given = (given.to(values.device, torch.float64)) * self._scale_on(values.device)
        return linear(flat, self._rows.forward, self._rows.adjoint) - given

    def forward(
        self, values: Float[Tensor, "*shape"], target: Float[Tensor, "*batch m"] | None = None
    ) -> Float[Tensor, "*projected"]:
        """The nearest values that obey the equations.

        Args:
            values: (..., *shape).
            target: b of this call, (m,) or (..., m); that of the projection by default.

        Raises:
            InputError: equations that no values obey.
        """
        residual = self._residual(values, target)
        y = linear(residual, self._normal.solve, self._normal.solve)
        change = linear(y, self._change.adjoint, self._change.forward)
        found = values.to(torch.float64) - change.reshape(*change.shape[:-1], *self.shape)
        left = self._met(found.detach(), residual.detach(), target)
        return self._settled(found, left, torch.finfo(values.dtype).eps).to(values.dtype)

    def _settled(self, found: Tensor, left: Tensor, eps: float) -> Tensor:
        """Once more, from the residual of the values themselves.

        M⁻¹Aᵀ y takes differences of y, which is far larger than they are where a domain is long or its cells are flat;
        what is left is a rounding of y then, and not of the values. To derivatives this is a constant: they are those
        of the projection already.
        """
        if not left.numel():
            return found
        rounding = eps * float(found.detach().abs().max()) * self._largest
        if not float(left.abs().max()) > SETTLED * rounding:  # of NaN too
            return found
        more = self._change.adjoint(self._normal.once(left))
        return found - more.reshape(*more.shape[:-1], *self.shape)

    def _met(self, found: Tensor, before: Tensor, target: Tensor | None) -> Tensor:
        """What is left of the residual; refuses equations that contradict each other, where it is no rounding."""
        residual = self._residual(found, target).detach()
        left = residual.abs()
        if not left.numel() or not bool(torch.isfinite(left).all()):
            return residual  # of values that are no numbers: who computed them has to say so
        given = (self.target if target is None else target).detach()
        size = max(float(before.abs().max()), float((given.to(before) * self._scale_on(before.device)).abs().max()))
        # sums of values leave their own rounding, however small the residual was
        size_of_sums = float(found.abs().max()) * self._largest
        most, eps = float(left.max()), torch.finfo(given.dtype).eps
        if most > eps**0.5 * size + ROUNDINGS * torch.finfo(torch.float64).eps * size_of_sums:
            row = int(left.reshape(-1, left.shape[-1]).amax(0).argmax())
            raise InputError(
                f"target: the equations contradict each other: the nearest values miss that of row {row} by "
                f"{most / float(self._scale[row]):.3g}"
            )
        return residual
