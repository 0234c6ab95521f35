"""Discrete projection of velocities on the faces of masked staggered grids.

    u' = u − M⁻¹ Dᵀ φ,    (D M⁻¹ Dᵀ) φ = D u − D g

D sums what leaves a fluid cell through its faces, M are the volumes between the centres on both sides of a face. Faces
of solid cells and those with given velocities are no unknowns, their velocities g come in from the right. The matrix is
the Laplacian that is the divergence of the gradient, so that each fluid cell is in balance to rounding.

Source: F. H. Harlow, J. E. Welch, Phys. Fluids 8, 2182 (1965).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Bool, Shaped
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from sciml.constraints._linear import Sparse, csr, diagonal, linear
from sciml.constraints.discrete import DiscreteProjection
from sciml.errors import InputError

Faces = tuple[Tensor, ...]


class StaggeredProjection(nn.Module):
    """The nearest face velocities, in the kinetic energy, that are free of divergence in every fluid cell.

    Velocities are u (..., ny, nx + 1), v (..., ny + 1, nx), in space u (..., nz, ny, nx + 1) and so on, of which the
    first and the last layer along a periodic axis are the same faces (the first one is taken).

    Args:
        widths: for each axis x, y, z the (n,) widths of cells.
        periodic: for each axis, whether its ends are identified.
        fluid: (*grid) True in fluid cells; all by default.
        open_faces: for each axis which of its faces, (..., n + 1 along it), are unknown although they are ends of the
            axis; by default ends are given. Faces of solid cells and between them never are unknown.
        adjust: whether given velocities that do not balance are made to by what leaves through given faces at the ends
            of axes, by one velocity added to all of them. Without it they are refused.

    Raises:
        InputError: sizes that do not fit, widths that are not positive.
    """

    def __init__(
        self,
        widths: Sequence[Shaped[np.ndarray, " _cell"]],
        periodic: Sequence[bool] = (),
        fluid: Bool[np.ndarray, "*grid"] | None = None,
        open_faces: Sequence[Any] | None = None,
        adjust: bool = False,
    ):
        super().__init__()
        self.widths = tuple(np.asarray(w, dtype=np.float64) for w in widths)
        d = len(self.widths)
        if d not in (2, 3) or not all(w.ndim == 1 and len(w) and (w > 0).all() for w in self.widths):
            raise InputError("widths: expected positive widths of cells along two or three axes")
        self.periodic = tuple(periodic) or (False,) * d
        self.cells = tuple(len(w) for w in reversed(self.widths))
        wet = np.ones(self.cells, bool) if fluid is None else np.asarray(fluid) != 0
        if wet.shape != self.cells or len(self.periodic) != d:
            raise InputError(f"fluid: expected cells {self.cells} and {d} entries of periodic, got {wet.shape} and "
                             f"{len(self.periodic)}")  # fmt: skip
        self.fluid, self.adjust = wet, adjust
        self.shapes = tuple(tuple(n + (d - 1 - a == k) for k, n in enumerate(self.cells)) for a in range(d))
        opened = [np.zeros(s, bool) for s in self.shapes] if open_faces is None else [np.asarray(o) for o in open_faces]
        if [o.shape for o in opened] != list(self.shapes):
            raise InputError(f"open_faces: expected arrays {self.shapes}, got {[o.shape for o in opened]}")
        matrix, mass, free = self._assembled(opened)
        self.free, self._sizes = free, [int(np.prod(s)) for s in self.shapes]
        self._all, self._known = Sparse(matrix), Sparse((matrix @ diagonal(1.0 - free)).tocsr())
        self._free = torch.from_numpy(free)
        self.projection = DiscreteProjection((matrix @ diagonal(free.astype(float))).tocsr(), weights=mass)
        self._parts = self._closed_parts(matrix, free)

    def _assembled(self, opened: list[np.ndarray]) -> tuple[Any, np.ndarray, np.ndarray]:
        """The flux balance of fluid cells over all faces, the volumes that faces stand for, and which are unknown."""
        d, wet = len(self.widths), self.fluid
        number = np.full(wet.shape, -1)
        number[wet] = np.arange(wet.sum())
        rows, columns, entries, mass, free, start = [], [], [], [], [], 0
        for axis, shape in enumerate(self.shapes):
            at, n = d - 1 - axis, self.cells[d - 1 - axis]
            area = np.ones(())
            for other, w in enumerate(self.widths):
                area = (np.ones(1) if other == axis else w).reshape((-1,) + (1,) * other) * area
            faces = np.arange(start, start + int(np.prod(shape))).reshape(shape)
            start += faces.size
            if self.periodic[axis]:  # the last faces are the first ones
                faces = np.concatenate([np.take(faces, range(n), at), np.take(faces, [0], at)], at)
            for side, sign in ((0, -1.0), (1, 1.0)):
                here = np.take(faces, range(side, n + side), at)[wet]
                rows.append(number[wet])
                columns.append(here)
                entries.append(sign * np.broadcast_to(area, wet.shape)[wet])
            beside = np.moveaxis(wet, at, 0)
            edge = (beside[-1:], beside[:1]) if self.periodic[axis] else (beside[:1], beside[-1:])
            both = np.concatenate([edge[0], beside]) & np.concatenate([beside, edge[1]])
            inner = np.ones(n + 1, bool)
            inner[[0, -1]] = self.periodic[axis]
            allowed = np.moveaxis(inner[(slice(None),) + (None,) * (d - 1)] | np.moveaxis(opened[axis], at, 0), 0, at)
            unknown = np.moveaxis(both, 0, at) & allowed
            if self.periodic[axis]:
                np.moveaxis(unknown, at, 0)[-1] = False  # a copy
            w = self.widths[axis]
            ends = (w[-1], w[0]) if self.periodic[axis] else (0.0, 0.0)
            gap = (np.append(ends[0], w) + np.append(w, ends[1])) / 2
            mass.append(np.broadcast_to(area * gap.reshape((-1,) + (1,) * axis), shape).ravel())
            free.append(unknown.ravel())
        parts = (np.concatenate(rows), np.concatenate(columns))
        matrix = csr(scipy.sparse.coo_array((np.concatenate(entries), parts), shape=(int(wet.sum()), start)))
        return matrix, np.concatenate(mass), np.concatenate(free)

    def _closed_parts(self, matrix: Any, free: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each connected part of the fluid that no unknown face leads out of, its cells and its given faces."""
        unknown = (matrix @ diagonal(free.astype(float))).tocsr()
        unknown.eliminate_zeros()
        count, part = connected_components(abs(unknown) @ abs(unknown).T, directed=False)
        leads = np.bincount(unknown.indices, minlength=matrix.shape[1]) == 1  # a face of one fluid cell alone
        found = []
        for cells in (np.flatnonzero(part == k) for k in range(count)):
            if not leads[unknown[cells].indices].any():
                found.append((cells, np.unique(matrix[cells].indices[~free[matrix[cells].indices]])))
        return found

    def forward(self, velocity: Faces, given: Faces | None = None) -> Faces:
        """Velocities of no divergence.

        Args:
            velocity: on all faces, u, v (and w).
            given: the velocities of faces that are no unknowns, in arrays like `velocity`, whose other values are not
                read; zero on all of them by default.

        Raises:
            InputError: given velocities that let more into a closed part of the fluid than out of it.
        """
        flat, known = self._joined("velocity", velocity), None
        free = self._free.to(flat.device)
        if given is not None:
            known = torch.where(free, 0.0, self._joined("given", given).to(torch.float64))
            known = self._balanced(known)
        moving = torch.where(free, flat, 0.0)
        target = None if known is None else -linear(known, self._known.forward, self._known.adjoint)
        found = self.projection(moving.to(torch.float64), target)
        found = (found if known is None else found + known).to(flat.dtype)
        return self._split(found)

    def divergence(self, velocity: Faces) -> Tensor:
        """(..., *grid) what leaves each cell over its volume; zero in solid cells."""
        flat = self._joined("velocity", velocity).to(torch.float64)
        outwards = linear(flat, self._all.forward, self._all.adjoint)
        volumes = np.ones(())
        for axis, w in enumerate(self.widths):
            volumes = w.reshape((-1,) + (1,) * axis) * volumes
        found = flat.new_zeros(*flat.shape[:-1], self.fluid.size)
        where = torch.as_tensor(np.flatnonzero(self.fluid), device=flat.device)
        per = outwards / torch.as_tensor(volumes[self.fluid], device=flat.device)
        return found.index_copy(-1, where, per).reshape(*flat.shape[:-1], *self.cells)

    def _joined(self, name: str, faces: Faces) -> Tensor:
        d = len(self.widths)
        if [tuple(f.shape[-d:]) for f in faces] != list(self.shapes):
            raise InputError(f"{name}: expected faces {self.shapes}, got {[tuple(f.shape) for f in faces]}")
        return torch.cat([f.reshape(*f.shape[:-d], -1) for f in faces], dim=-1)

    def _split(self, flat: Tensor) -> Faces:
        d, found = len(self.widths), []
        for axis, part in enumerate(flat.split(self._sizes, dim=-1)):
            shaped = part.reshape(*flat.shape[:-1], *self.shapes[axis])
            if self.periodic[axis]:
                at = shaped.ndim - 1 - axis
                shaped = torch.cat([shaped.narrow(at, 0, shaped.shape[at] - 1), shaped.narrow(at, 0, 1)], dim=at)
            found.append(shaped)
        assert len(found) == d
        return tuple(found)

    def _balanced(self, known: Tensor) -> Tensor:
        """Given velocities whose sum over each closed part vanishes."""
        matrix, eps = self._all.matrix, torch.finfo(known.dtype).eps
        for number, (cells, faces) in enumerate(self._parts):
            if not len(faces):
                continue
            columns = torch.as_tensor(faces, device=known.device)
            into = torch.as_tensor(-np.asarray(matrix[cells][:, faces].sum(axis=0)), device=known.device)
            flux = known[..., columns] * into  # what comes in through each
            net, size = flux.sum(-1), flux.abs().sum(-1)
            off = net.abs() > 1e3 * eps * size
            if not bool(off.any()):
                continue
            leaving = (flux < 0) & torch.as_tensor(self._outer(faces), device=known.device)
            area = (into.abs() * leaving).sum(-1)
            if not self.adjust or bool((off & (area == 0)).any()):
                worst = int((net.abs() / size.clamp(min=1e-300)).argmax())
                inflow = float(flux.clamp(min=0).sum(-1).reshape(-1)[worst])
                outflow = float(-flux.clamp(max=0).sum(-1).reshape(-1)[worst])
                raise InputError(
                    f"given: {inflow:.6g} comes into part {number + 1} of the fluid and {outflow:.6g} leaves it, "
                    f"expected as much ({inflow - outflow:+.3g})" + (", and no given outflow" * self.adjust)
                )
            more = net / area.clamp(min=1e-300)
            shift = -torch.where(leaving, more[..., None], 0.0) * torch.sign(into)
            known = known.index_add(-1, columns, shift)
        return known

    def _outer(self, faces: np.ndarray) -> np.ndarray:
        """Which faces are ends of an axis."""
        found = []
        for axis, shape in enumerate(self.shapes):
            at = len(shape) - 1 - axis
            index = np.arange(shape[at]).reshape([-1 if k == at else 1 for k in range(len(shape))])
            found.append(np.broadcast_to((index == 0) | (index == shape[at] - 1), shape).ravel())
        return np.concatenate(found)[faces]
