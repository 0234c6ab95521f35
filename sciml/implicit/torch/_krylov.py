"""Iterative solves of A x = b from products with A alone, each row a system of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from sciml.implicit.torch._members import Rows

RESTART, CYCLES = 60, 40


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=-1)


def _over(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b is 0."""
    return torch.where(b == 0, 0.0, a / torch.where(b == 0, 1.0, b))


def gmres(product: Rows, b: Tensor, rtol: float) -> Tensor:
    """Restarted GMRES.

    Args:
        product: A, from (B, n) to (B, n).
        b: (B, n).
        rtol: ‖b − A x‖ / ‖b‖ at which a member is done.

    Source: Y. Saad, M. H. Schultz (1986), SIAM J. Sci. Stat. Comput. 7, 856.
    """
    x, before = torch.zeros_like(b), _norm(b)
    goal, m = rtol * before, min(RESTART, b.shape[1])
    for cycle in range(CYCLES):
        residual = b - product(x) if cycle else b
        size = _norm(residual)
        open_ = (size > goal) & ((size < 0.99 * before) | (cycle == 0))
        if not bool(open_.any()):
            break
        basis, triangle, right = (
            b.new_zeros(len(b), m + 1, b.shape[1]),
            b.new_zeros(len(b), m, m),
            b.new_zeros(len(b), m),
        )
        turned = torch.eye(m + 1, dtype=b.dtype, device=b.device).repeat(len(b), 1, 1)  # all rotations so far
        basis[:, 0], left, n = _over(residual, size[:, None]), size, 0
        for j in range(m):
            w, known, column = product(basis[:, j]), basis[:, : j + 1], b.new_zeros(len(b), j + 1)
            for _ in range(2):  # twice is enough
                part = torch.einsum("bkn,bn->bk", known, w)
                w, column = w - torch.einsum("bkn,bk->bn", known, part), column + part
            below = _norm(w)
            column = torch.einsum("bij,bj->bi", turned[:, : j + 1, : j + 1], column)
            pivot = torch.hypot(column[:, j], below)
            on = open_ & (left.abs() > goal) & (pivot > 0)
            c, s = _over(column[:, j], pivot), _over(below, pivot)
            upper, lower = turned[:, j].clone(), turned[:, j + 1].clone()
            turned[:, j] = c[:, None] * upper + s[:, None] * lower
            turned[:, j + 1] = c[:, None] * lower - s[:, None] * upper
            column[:, j] = pivot
            unit = torch.zeros_like(column)
            unit[:, j] = 1.0
            triangle[:, : j + 1, j] = torch.where(on[:, None], column, unit)
            right[:, j], left, n = torch.where(on, c * left, 0.0), torch.where(on, -s * left, left), j + 1
            basis[:, j + 1] = _over(w, below[:, None])
            if not bool((on & (left.abs() > goal)).any()):
                break
        step = torch.linalg.solve_triangular(triangle[:, :n, :n], right[:, :n, None], upper=True)[..., 0]
        x = torch.where(open_[:, None], x + torch.einsum("bkn,bk->bn", basis[:, :n], step), x)
        before = torch.where(open_, size, before)
    return x


def conjugate_gradients(product: Rows, b: Tensor, rtol: float) -> Tensor:
    """Conjugate gradients, for symmetric positive A; a member whose A is seen not to be stands still from there on.

    Args:
        product: A, from (B, n) to (B, n).
        b: (B, n).
        rtol: ‖b − A x‖ / ‖b‖ at which a member is done.

    Source: M. R. Hestenes, E. Stiefel (1952), J. Res. Natl. Bur. Stand. 49, 409.
    """
    x, residual, goal = torch.zeros_like(b), b, rtol * _norm(b)
    direction, square = residual, (residual**2).sum(-1)
    for _ in range(RESTART * CYCLES):
        image = product(direction)
        curvature = (direction * image).sum(-1)
        on = (square.sqrt() > goal) & (curvature > 0)
        if not bool(on.any()):
            break
        length = torch.where(on, _over(square, curvature), 0.0)[:, None]
        x, residual = x + length * direction, residual - length * image
        after = (residual**2).sum(-1)
        direction = torch.where(on[:, None], residual + _over(after, square)[:, None] * direction, direction)
        square = torch.where(on, after, square)
    return x


def relative_residual(product: Rows, x: Tensor, b: Tensor) -> Tensor:
    """(B,) ‖b − A x‖ / ‖b‖; 0 where both are."""
    return _over(_norm(b - product(x)), _norm(b))
