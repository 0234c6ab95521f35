"""Linear maps as nodes of the graph of torch, and A A* x = b by a factorisation or by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch

Map = Callable[[torch.Tensor], torch.Tensor]

SHIFT = 1e-10  # of a matrix with a diagonal of ones, so that a singular one can be factorised
REFINEMENTS = 8  # at most
ENOUGH = 4e-16  # residual of what is solved, of its right-hand side, below which nothing is gained
GOAL = 1e-8  # that of one round of conjugate gradients
FLAT = 1e-13  # curvature, of a matrix with a diagonal of ones, that is none


def csr(matrix: Any) -> Any:
    """A sparse or dense matrix by rows, in float64."""
    return scipy.sparse.csr_array(matrix, dtype=np.float64)


def diagonal(values: np.ndarray) -> Any:
    """A sparse matrix with these on its diagonal."""
    return scipy.sparse.diags_array(np.asarray(values, dtype=np.float64)).tocsr()


class _Pair(torch.autograd.Function):
    """x -> A x, whose derivative is A and whose adjoint is Aᵀ, both given; to any order, forwards and backwards."""

    @staticmethod
    def forward(x: torch.Tensor, forward: Map, adjoint: Map) -> torch.Tensor:
        return forward(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, Map, Map], output: torch.Tensor) -> None:
        ctx.maps = inputs[1:]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # type: ignore[override]
        forward, adjoint = ctx.maps
        return linear(gradient, adjoint, forward), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: torch.Tensor, *_: None) -> torch.Tensor:  # type: ignore[override]
        return linear(tangent, *ctx.maps)


def linear(x: torch.Tensor, forward: Map, adjoint: Map) -> torch.Tensor:
    """A x for a map of the last axis, given with its adjoint.

    Args:
        x: (..., n).
        forward: (..., n) -> (..., m).
        adjoint: (..., m) -> (..., n).
    """
    return _Pair.apply(x, forward, adjoint)  # type: ignore[return-value]


class Sparse:
    """A sparse matrix that multiplies the last axis of float64 tensors, on any device.

    On the CPU SciPy multiplies, elsewhere torch, which holds a copy there.
    """

    def __init__(self, matrix: Any):
        self.matrix = matrix
        self.transposed = matrix.T.tocsr()
        self._there: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    def __deepcopy__(self, memory: Any) -> Sparse:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Sparse, (self.matrix,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._times(x, 0)

    def adjoint(self, x: torch.Tensor) -> torch.Tensor:
        return self._times(x, 1)

    def _times(self, x: torch.Tensor, transposed: int) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        if x.device.type == "cpu":
            matrix = (self.matrix, self.transposed)[transposed]
            found = torch.from_numpy(np.ascontiguousarray((matrix @ flat.detach().numpy().T).T))
        else:
            if x.device not in self._there:
                self._there[x.device] = (_on(self.matrix, x.device), _on(self.transposed, x.device))
            found = (self._there[x.device][transposed] @ flat.detach().T).T
        return found.reshape(*x.shape[:-1], found.shape[-1])


def _on(matrix: Any, device: torch.device) -> torch.Tensor:
    parts = (torch.as_tensor(a, device=device) for a in (matrix.indptr, matrix.indices, matrix.data))
    return torch.sparse_csr_tensor(*parts, size=matrix.shape, dtype=torch.float64, device=device)


class Normal:
    """y = (B Bᵀ)⁺ b up to what Bᵀ makes zero, for a B whose rows have length one, or are zero.

    B Bᵀ may be singular, b has to lie in its range. On the CPU B Bᵀ + εI is factorised once and

        y ← y + (B Bᵀ + εI)⁻¹ (b − B Bᵀ y)

    repeated until the residual is at rounding, two or three times: what B Bᵀ sees of an error falls by ε/(ε + λ), λ its
    least eigenvalue but zero. Elsewhere rounds of conjugate gradients, which stay in the range of b.

    Args:
        matrix: B.
        factorise: False for conjugate gradients on the CPU too.
    """

    def __init__(self, matrix: Any, factorise: bool = True):
        self.matrix, self.factorise = Sparse(matrix), factorise
        self._factor: Any = None

    def __deepcopy__(self, memory: Any) -> Normal:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Normal, (self.matrix.matrix, self.factorise)

    def solve(self, b: torch.Tensor) -> torch.Tensor:
        """y (..., m) for b (..., m)."""
        if self.factorise and b.device.type == "cpu":
            return self._directly(b.detach())
        return self._refined(b.detach(), self._by_gradients)

    def once(self, b: torch.Tensor) -> torch.Tensor:
        """y (..., m) to some digits, without refinement."""
        direct = self.factorise and b.device.type == "cpu"
        return self._by_factor(b.detach()) if direct else self._by_gradients(b.detach())

    def _product(self, y: torch.Tensor) -> torch.Tensor:
        return self.matrix.forward(self.matrix.adjoint(y))

    def _directly(self, b: torch.Tensor) -> torch.Tensor:
        return self._refined(b, self._by_factor)

    def _by_factor(self, b: torch.Tensor) -> torch.Tensor:
        if self._factor is None:
            square = (self.matrix.matrix @ self.matrix.transposed).tocsc()
            shifted = square + SHIFT * scipy.sparse.eye_array(square.shape[0], format="csc")
            self._factor = scipy.sparse.linalg.splu(
                shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
            )
        found = self._factor.solve(np.ascontiguousarray(b.reshape(-1, b.shape[-1]).numpy().T)).T
        return torch.from_numpy(np.ascontiguousarray(found)).reshape(b.shape)

    def _refined(self, b: torch.Tensor, solve: Map) -> torch.Tensor:
        y, residual = torch.zeros_like(b), b
        size, last = float(b.abs().max()) if b.numel() else 0.0, float("inf")
        for _ in range(REFINEMENTS):
            now = float(residual.abs().max()) if b.numel() else 0.0
            if now <= ENOUGH * size or not now < last / 4:
                break
            last = now
            y = y + solve(residual)
            residual = b - self._product(y)
        return y

    def _by_gradients(self, b: torch.Tensor) -> torch.Tensor:
        y, r, p = torch.zeros_like(b), b, b
        square = (r * r).sum(-1, keepdim=True)
        goal, going = square * GOAL**2, square > 0
        for k in range(10 * b.shape[-1]):
            # whether all are done is asked now and then alone: a device has to be waited for
            if k % 16 == 0 and not bool(going.any()):
                break
            product = self._product(p)
            curvature = (p * product).sum(-1, keepdim=True)
            # what is left where there is no curvature is no part of the range
            going = going & (curvature > FLAT * (p * p).sum(-1, keepdim=True))
            step = torch.where(going, square / torch.where(going, curvature, 1.0), 0.0)
            y, r = y + step * p, r - step * product
            new = (r * r).sum(-1, keepdim=True)
            p = torch.where(going, r + new / torch.where(going, square, 1.0) * p, p)
            square = torch.where(going, new, square)
            going = going & (square > goal)
        return y
