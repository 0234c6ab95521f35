"""Products with the rows M of constraints, and solutions of (M F Mᵀ + μ) w = r, F diagonal of zeros and ones.

Rows of which no two hold the same value are kept as a table, and M F Mᵀ is diagonal. Others are dense, and conjugate
gradients take two products a step, where M F Mᵀ itself costs as many as M has rows. They are preconditioned by

    S (M Mᵀ + ε)⁻¹ S,    S = diag(M F Mᵀ)^(-1/2),

which is exact for rows that are normal to one another or values that are all between bounds.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

PADDED = 4  # times as many places as values in a table of rows, at most
LARGE = 4_000_000  # m² n, from where on conjugate gradients are cheaper
STEPS = 40  # of conjugate gradients, after which the matrix is formed
RIDGE = 1e-5
SINGLE = 1e-4  # of the right side, what single precision solves to safely


class Table(NamedTuple):
    """Rows without common values: places (m, k) and weights there, zero beyond a row's end; and of each value its row
    and weight, zero where none holds it."""

    places: Tensor
    weights: Tensor
    row: Tensor
    weight: Tensor


class Rows(NamedTuple):
    """M (m, n), rows of length one or zero; for conjugate gradients in single precision M, its squares, and
    (M Mᵀ + ε)⁻¹."""

    matrix: Tensor
    single: Tensor | None
    squared: Tensor | None
    nearby: Tensor | None
    table: Table | None

    @classmethod
    def of(cls, matrix: Tensor, boxed: bool) -> Rows:
        """The cheapest form of it."""
        table = _table(matrix)
        m, n = matrix.shape
        if table is not None or not boxed or m * m * n < LARGE:
            return cls(matrix, None, None, None, table)
        nearby = torch.linalg.inv(matrix @ matrix.T + RIDGE * torch.eye(m, dtype=matrix.dtype))
        return cls(matrix, matrix.float(), (matrix**2).float(), ((nearby + nearby.T) / 2).float(), None)

    @property
    def iterative(self) -> bool:
        return self.nearby is not None

    def along(self, x: Tensor) -> Tensor:
        """(batch, m) M x."""
        if self.table is None:
            return x @ self.matrix.T
        found = x[:, self.table.places.reshape(-1)].reshape(len(x), *self.table.places.shape)
        return (found * self.table.weights).sum(-1)

    def back(self, y: Tensor) -> Tensor:
        """(batch, n) Mᵀ y."""
        return y @ self.matrix if self.table is None else y[:, self.table.row] * self.table.weight

    def diagonal(self, free: Tensor) -> Tensor:
        """(batch, m) of M F Mᵀ."""
        if self.table is None:
            return free.to(self.matrix.dtype) @ (self.matrix**2).T
        found = free[:, self.table.places.reshape(-1)].reshape(len(free), *self.table.places.shape)
        return (found * self.table.weights**2).sum(-1)

    def curvature(self, free: Tensor) -> Tensor:
        """(batch, m, m) M F Mᵀ; one matrix for all where F = 1."""
        if bool(free.all()):
            return (self.matrix @ self.matrix.T).expand(len(free), -1, -1)
        return (self.matrix * free.to(self.matrix.dtype)[:, None]) @ self.matrix.T

    def solved(self, free: Tensor, moving: Tensor, more: Tensor, right: Tensor, goal: Tensor) -> Tensor:
        """(batch, m) w, zero where rows do not move; by conjugate gradients with a rest below `goal` (batch, 1) of the
        right side's, but not below what single precision can.

        Args:
            free, moving: (batch, n) and (batch, m), of zeros and ones.
            more: (batch, 1) μ.
            right: (batch, m) r.
        """
        if not self.iterative:
            return self._direct(free, moving, more, right)
        w, met = self.gradients(free, moving, more, right, goal)
        if not bool(met.all()):
            rest = ~met
            w[rest] = self._direct(free[rest], moving[rest], more[rest], right[rest])
        return w

    def _direct(self, free: Tensor, moving: Tensor, more: Tensor, right: Tensor) -> Tensor:
        part = self.curvature(free) * moving[:, :, None] * moving[:, None, :]
        part = part + torch.diag_embed(more * moving + (1 - moving))
        return torch.linalg.solve(part, (right * moving)[..., None])[..., 0]

    def gradients(
        self, free: Tensor, moving: Tensor, more: Tensor, right: Tensor, goal: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`solved` by conjugate gradients alone, and (batch,) whether they did."""
        single, squared, nearby = self.single, self.squared, self.nearby
        assert single is not None and squared is not None and nearby is not None
        kind, given = single.dtype, right * moving
        size = given.abs().amax(-1, keepdim=True).clamp(min=1e-300)
        rest, goal = (given / size).to(kind), goal.to(kind).clamp(min=SINGLE)
        between, moving, more = free.to(kind), moving.to(kind), more.to(kind)
        scale = moving * (between @ squared.T + more).clamp(min=RIDGE).rsqrt()
        w, along, before = torch.zeros_like(rest), torch.zeros_like(rest), torch.ones_like(more)
        met = rest.abs().amax(-1, keepdim=True) <= goal
        for _ in range(STEPS):
            if bool(met.all()):
                break
            near = scale * ((scale * rest) @ nearby)
            now = (rest * near).sum(-1, keepdim=True)
            along = near + now / before * along
            bent = moving * torch.addmm(more * along, (along @ single).mul_(between), single.T)
            bend = (along * bent).sum(-1, keepdim=True)
            share = torch.where((bend > 0) & ~met, now / bend, 0.0)
            w = torch.where(met, w, w + share * along)
            rest, before = torch.where(met, rest, rest - share * bent), now.clamp(min=1e-30)
            met = met | (rest.abs().amax(-1, keepdim=True) <= goal)
        return w.to(right.dtype) * size, met[:, 0] & w.isfinite().all(-1)


def _table(matrix: Tensor) -> Table | None:
    """None where two rows hold a value, or where their lengths differ so much that a table would be large."""
    some = matrix != 0
    m, n = matrix.shape
    if not m or int(some.sum(0).max()) > 1:
        return None
    longest = max(int(some.sum(1).max()), 1)
    if m * longest > PADDED * n:
        return None
    places = torch.zeros(m, longest, dtype=torch.int64)
    weights = torch.zeros(m, longest, dtype=matrix.dtype)
    for i in range(m):
        held = some[i].nonzero()[:, 0]
        places[i, : len(held)], weights[i, : len(held)] = held, matrix[i, held]
    return Table(places, weights, some.to(torch.int64).argmax(0), matrix.sum(0))
