"""The nearest x to z, in ‖x − z‖, with A x = b, C x ≤ d and l ≤ x ≤ h.

Bounds alone are a clamp, equations alone one factorisation, rows without common values one root each (`_separate`);
anything else takes Newton's method on the dual (`_active`), whose steps are solved for by conjugate gradients where
rows are many (`_rows`). Each of the latter finds what holds with
equality, rows K of M = [A; C] and bounds; with F the values that are between theirs the answer is

    x_F = z_F − M_KFᵀ w,    M_KF M_KFᵀ w = M_K (z_F, bounds) − r_K,

one more linear solve, which is all that is differentiated. That is implicit differentiation of the conditions of
optimality: exact wherever the active constraints do not change, for one graph of fixed size whatever the number of
steps before.

Source: B. Amos, J. Z. Kolter, ICML 2017 (OptNet), for derivatives of quadratic programmes; P. D. Grontas, A. Terpin,
E. C. Balta, R. D'Andrea, J. Lygeros (2025), for projections as output layers.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.constraints._active import Active, Constraints, by_newton
from sciml.constraints._rows import Rows, Table
from sciml.constraints._separate import by_rows
from sciml.constraints.discrete import DiscreteProjection
from sciml.errors import InputError, positive

MET = 1e-9  # of their size, within which constraints are met after all
EXACT = 1e-13  # of their size, what may be left of active rows without a graph
REFINED = 1e-3  # of what is left after the last step, without a graph
DIGITS = 1e-5  # of the largest length in a Cholesky factor, below which it is not used
RANK = 1e-10  # of the longest row, below which a row depends on others


class Projection(nn.Module):
    """Onto equations, inequalities and bounds, any of which may be left out; batches step together.

    Numbers are float64 inside; float32 goes out as it came in, with the rounding of float32. Derivatives are with
    respect to z, b, d, l and h, of any order. A sparse A alone stays sparse; with inequalities or bounds all rows
    together make a dense matrix: for tens or hundreds of rows. With a graph M F Mᵀ is formed and inverted once a call.

    Args:
        size: n, values in a sample.
        equations: (A (m, n), b (m,)).
        inequalities: (C (p, n), d (p,)).
        low, high: l and h, numbers or (n,); infinite where there is none.

    Raises:
        InputError: sizes that do not fit, l > h, dependent or contradicting equations.
    """

    _matrix: Tensor
    _scale: Tensor
    _inverse: Tensor
    _single: Tensor | None
    _squared: Tensor | None
    _nearby: Tensor | None

    def __init__(
        self,
        size: int,
        equations: tuple[Any, Any] | None = None,
        inequalities: tuple[Any, Any] | None = None,
        low: Any = None,
        high: Any = None,
    ):
        super().__init__()
        self.size = positive("size", size)
        a, self.b = self._rows("equations", equations)
        c, self.d = self._rows("inequalities", inequalities)
        self.low, self.high = self._bound("low", low, -np.inf), self._bound("high", high, np.inf)
        self._ordered(self.low, self.high)
        self._boxed = bool((self.low.isfinite() | self.high.isfinite()).any())
        self._sparse = None
        self.counts = a.shape[0], c.shape[0]
        self._alone = bool(a.shape[0] and not c.shape[0] and not self._boxed)  # equations
        if self._alone and scipy.sparse.issparse(a):
            self._sparse = DiscreteProjection(a, self.b)
            return
        dense = [m.toarray() if scipy.sparse.issparse(m) else m for m in (a, c)]
        self._independent(dense[0])
        whole = np.concatenate(dense)
        length = np.linalg.norm(whole, axis=1)
        scale = np.where(length > 0, 1 / np.where(length > 0, length, 1.0), 1.0)
        whole = whole * scale[:, None]
        self.register_buffer("_matrix", torch.from_numpy(whole), persistent=False)
        found = Rows.of(self._matrix, self._boxed)
        for name in ("single", "squared", "nearby"):
            self.register_buffer(f"_{name}", getattr(found, name), persistent=False)
        for name in Table._fields:
            self.register_buffer(f"_{name}", found.table and getattr(found.table, name), persistent=False)
        self.register_buffer("_scale", torch.from_numpy(scale), persistent=False)
        if self._alone:
            self.register_buffer("_inverse", torch.from_numpy(np.linalg.pinv(whole).T.copy()), persistent=False)

    def extra_repr(self) -> str:
        return f"{self.size}, {self.counts[0]} equations, {self.counts[1]} inequalities, bounds: {self._boxed}"

    def _rows(self, name: str, given: tuple[Any, Any] | None) -> tuple[Any, Tensor]:
        if given is None:
            return np.zeros((0, self.size)), torch.zeros(0, dtype=torch.float64)
        matrix, right = given
        sparse = scipy.sparse.issparse(matrix)
        made = scipy.sparse.csr_array(matrix, dtype=np.float64) if sparse else np.asarray(matrix, np.float64)
        matrix = cast(Any, made)
        right = torch.as_tensor(np.asarray(right, dtype=np.float64))
        if matrix.ndim != 2 or matrix.shape[1] != self.size or tuple(right.shape) != (matrix.shape[0],):
            raise InputError(
                f"{name}: expected a matrix (m, {self.size}) and (m,) numbers, got shapes {matrix.shape} and "
                f"{tuple(right.shape)}"
            )
        if not (np.isfinite(matrix.data if sparse else matrix).all() and bool(right.isfinite().all())):
            raise InputError(f"{name}: expected finite numbers")
        return matrix, right

    def _bound(self, name: str, given: Any, none: float) -> Tensor:
        found = torch.as_tensor(np.asarray(none if given is None else given, dtype=np.float64))
        if found.shape not in ((), (self.size,)) or bool(found.isnan().any()):
            raise InputError(f"{name}: expected one number or {self.size}, got shape {tuple(found.shape)}")
        return found.expand(self.size)

    def _ordered(self, low: Tensor, high: Tensor) -> None:
        wrong = low.detach() > high.detach()
        if bool(wrong.any()):
            at = int(wrong.reshape(-1, self.size).any(0).nonzero()[0])
            raise InputError(f"low: expected none above high, but it is for value {at}: no point lies within")

    def _independent(self, a: np.ndarray) -> None:
        if not len(a):
            return
        _, r, order = cast(Any, scipy.linalg.qr(a.T, mode="economic", pivoting=True))
        sizes = np.abs(np.diag(r))
        rank = int((sizes > RANK * sizes[0]).sum()) if sizes[0] > 0 else 0
        if rank == len(a):
            return
        kept, rest = order[:rank], order[rank:]
        weights = np.linalg.lstsq(a[kept].T, a[rest].T, rcond=None)[0] if rank else np.zeros((0, len(rest)))
        gap = np.abs(self.b.numpy()[rest] - self.b.numpy()[kept] @ weights)
        size = np.abs(self.b.numpy()).max(initial=0.0)
        if gap.max() > MET * size:
            row = int(rest[gap.argmax()])
            raise InputError(f"equations: no point meets all, row {row} contradicts the others by {gap.max():.3g}")
        raise InputError(
            f"equations: expected independent rows, got {rank} of {len(a)}; leave out {sorted(map(int, rest))}, which "
            "follow from the others"
        )

    def forward(
        self,
        values: Float[Tensor, "*batch n"],
        b: Float[Tensor, "*b_batch m"] | None = None,
        d: Float[Tensor, "*d_batch p"] | None = None,
        low: Float[Tensor, "*l_batch n"] | None = None,
        high: Float[Tensor, "*h_batch n"] | None = None,
    ) -> Float[Tensor, "*batch n"]:
        """The nearest values that meet all constraints.

        Args:
            values: z (..., n).
            b, d, low, high: of this call, for each sample or for all; those of the projection by default.

        Raises:
            InputError: constraints that no point meets.
        """
        if values.shape[-1] != self.size:
            raise InputError(f"values: expected (..., {self.size}), got {tuple(values.shape)}")
        batch = values.shape[:-1]

        def of_call(name: str, given: Tensor | None, own: Tensor) -> Tensor:
            found = (own if given is None else given).to(values.device, torch.float64)
            if found.shape[-1] != own.shape[-1]:
                raise InputError(f"{name}: expected (..., {own.shape[-1]}), got {tuple(found.shape)}")
            return found.expand(*batch, own.shape[-1])

        z = values.to(torch.float64)
        if self._alone and not (low is None and high is None):
            raise InputError("low, high: expected a projection that was made with bounds")
        if self._sparse is not None:
            return self._sparse(z, None if b is None else of_call("b", b, self.b)).to(values.dtype)
        if self._alone:
            right = of_call("b", b, self.b) * self._scale
            for _ in range(2):  # the second time for rounding
                z = z - (z @ self._matrix.T - right) @ self._inverse
            return z.to(values.dtype)
        lower, upper = of_call("low", low, self.low), of_call("high", high, self.high)
        self._ordered(lower, upper)
        if not sum(self.counts):
            return torch.clamp(z, lower, upper).to(values.dtype)
        right = torch.cat([of_call("b", b, self.b), of_call("d", d, self.d)], dim=-1) * self._scale
        z, right, lower, upper = (t.reshape(-1, t.shape[-1]) for t in (z, right, lower, upper))
        rows = self._all_rows()
        constraints = Constraints(rows, right, lower, upper, self.counts[0])
        with torch.no_grad():
            fixed = Constraints(rows, right.detach(), lower.detach(), upper.detach(), self.counts[0])
            active = (by_newton if rows.table is None else by_rows)(z.detach(), fixed)
        graph = torch.is_grad_enabled() and any(t.requires_grad for t in (z, right, lower, upper))
        found = _exact(z, constraints, active) if graph or not rows.iterative else _refined(z.detach(), fixed, active)
        self._met(found.detach(), fixed)
        return found.reshape(values.shape).to(values.dtype)

    def _all_rows(self) -> Rows:
        parts = [getattr(self, f"_{name}") for name in Table._fields]
        return Rows(
            self._matrix, self._single, self._squared, self._nearby, None if parts[0] is None else Table(*parts)
        )

    def _met(self, x: Tensor, c: Constraints) -> None:
        over = c.slope(x)
        k = c.equations
        off = torch.cat([over[:, :k].abs(), over[:, k:].clamp(min=0)], dim=1)
        if bool(torch.isfinite(off).all()) and off.numel():
            worst = off.amax(0)
            size = max(float(x.abs().max()), float(c.right.abs().max()))
            if float(worst.max()) > MET * size:
                row = int(worst.argmax())
                kind, number = ("equation", row) if row < k else ("inequality", row - k)
                raise InputError(
                    f"constraints: no point meets all of them; the nearest one found misses {kind} {number} by "
                    f"{float(worst[row] / self._scale[row]):.3g}"
                )


def _exact(z: Tensor, c: Constraints, active: Active) -> Tensor:
    """x from what holds with equality, in float64 and with a graph."""
    free = ~(active.low | active.high)
    x = torch.where(active.low, c.low, torch.where(active.high, c.high, z))
    rows = active.rows.to(z.dtype)
    inverse = None if c.rows.table is not None else _inverse(c.rows.curvature(free), rows)
    for _ in range(2):  # the second time for rounding
        over = c.slope(x) * rows
        if inverse is None:
            diagonal = c.rows.diagonal(free)
            w = torch.where(diagonal > 0, over / torch.where(diagonal > 0, diagonal, 1.0), 0.0)
        else:
            w = (inverse @ over[..., None])[..., 0]
        x = torch.where(free, x - c.rows.back(w), x)
    # an equality that was weakly active may leave a bound by a rounding
    return x + (torch.clamp(x, c.low, c.high) - x).detach()


def _refined(z: Tensor, c: Constraints, active: Active) -> Tensor:
    """The same x without a graph, from the multipliers that are known to a rounding or two."""
    free = ~(active.low | active.high)
    x = c.point(z, active.multipliers)
    rows = active.rows.to(z.dtype)
    more, goal = torch.zeros_like(rows[:, :1]), torch.full_like(rows[:, :1], REFINED)
    w, met = c.rows.gradients(free, rows, more, c.slope(x), goal)
    x = torch.clamp(torch.where(free, x - c.rows.back(w), x), c.low, c.high)
    size = torch.maximum(x.abs().amax(-1), c.right.abs().amax(-1))
    poor = ~met | ~((c.slope(x) * rows).abs().amax(-1) <= EXACT * size)
    if bool(poor.any()):
        x[poor] = _exact(z[poor], c.of(poor), Active(*(t[poor] for t in active)))
    return x


@torch.no_grad()
def _inverse(curvature: Tensor, rows: Tensor) -> Tensor:
    """(batch, m, m) of the part of active rows, zero elsewhere. A vertex has more active constraints than values
    between bounds: without a Cholesky factor there, or with one of few digits, the pseudo-inverse."""
    part = curvature * rows[:, :, None] * rows[:, None]
    factor, failed = torch.linalg.cholesky_ex(part + torch.diag_embed(1 - rows))
    lengths = factor.diagonal(dim1=1, dim2=2).nan_to_num(0.0)
    poor = (failed != 0) | (lengths.amin(1) < DIGITS * lengths.amax(1))
    eye = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
    inverse = torch.cholesky_inverse(torch.where(poor[:, None, None], eye, factor)) * rows[:, :, None] * rows[:, None]
    if bool(poor.any()):
        inverse[poor] = torch.linalg.pinv(part[poor], hermitian=True, rtol=1e-13)
    return inverse
