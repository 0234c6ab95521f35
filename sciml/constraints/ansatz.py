"""Boundary values by construction: u = g + φ N.

φ vanishes on the boundary and nowhere else, g has the given values there, N is what is learned. What u is on the
boundary then does not depend on N at all.

Source: I. E. Lagaris, A. Likas, D. I. Fotiadis, IEEE Trans. Neural Networks 9, 987 (1998); N. Sukumar, A. Srivastava,
Comput. Methods Appl. Mech. Eng. 389, 114333 (2022); D. Shepard, Proc. ACM 23rd Nat. Conf., 517 (1968), for g.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.constraints.distances import Piece, joined, shares
from sciml.errors import InputError, positive, suggest


class Ansatz(nn.Module):
    """Values that are given on named parts of a boundary, and free elsewhere.

    Args:
        parts: for each name its pieces.
        order: of the joining of pieces: derivatives along the normal up to it are those of the nearest piece.
        scale: a length; φ is measured in it, so that N has the size of u where that is the size of the domain.

    Raises:
        InputError: no part, or one without pieces.
    """

    def __init__(self, parts: Mapping[str, Sequence[Piece] | Piece], order: int = 2, scale: float = 1.0):
        super().__init__()
        self.parts = {k: (p,) if isinstance(p, Piece) else tuple(p) for k, p in parts.items()}
        if not self.parts or not all(self.parts.values()):
            raise InputError(f"parts: expected at least one, each with a piece, got {parts!r}")
        if not scale > 0:
            raise InputError(f"scale: expected a positive length, got {scale!r}")
        self.order, self.scale = positive("order", order), scale

    def distances(self, points: Float[Tensor, "*batch d"]) -> dict[str, Float[Tensor, "*batch"]]:
        """φ of each part, in the unit of the points."""
        return {k: joined([p.distance(points) for p in pieces], self.order) for k, pieces in self.parts.items()}

    def distance(self, points: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """φ over `scale`."""
        return joined(list(self.distances(points).values()), self.order) / self.scale

    def extension(self, points: Float[Tensor, "*batch d"], given: Mapping[str, Any]) -> Float[Tensor, "*values"]:
        """g: the given values on their parts, between them means weighted by inverse distances.

        Args:
            points: (..., D).
            given: by part a number, an array (..., *batch) of values that continue those on the part to all points,
                axes in front of those of the points being of samples, or (..., *batch, C) with channels, or a function
                of the points that gives one of these.
        """
        for name in given:
            if name not in self.parts:
                raise InputError(f"given: {name!r} is no part{suggest(name, self.parts)}")
        missing = [k for k in self.parts if k not in given]
        if missing:
            raise InputError(f"given: expected values on {', '.join(missing)} too")
        weights = shares(list(self.distances(points).values()))
        values = [given[k](points) if callable(given[k]) else given[k] for k in self.parts]
        values = [torch.as_tensor(v, dtype=points.dtype, device=points.device) for v in values]
        shape = tuple(points.shape[:-1])
        if any(_channels(v, shape) for v in values):  # they come last, of all or of those that are not alike in them
            values = [v if _channels(v, shape) else v.unsqueeze(-1) for v in values]
            weights = [w.unsqueeze(-1) for w in weights]
        total: Any = 0.0
        for weight, value in zip(weights, values, strict=True):
            total = total + weight * value
        return total

    def forward(
        self, network: Float[Tensor, "*values"], points: Float[Tensor, "*batch d"], given: Mapping[str, Any]
    ) -> Float[Tensor, "*found"]:
        """g + φ N.

        Args:
            network: N (..., *batch) at the points, or (..., *batch, C) of C channels; axes in front of those of the
                points are of samples.
            points: (*batch, D).
            given: see `extension`; with channels arrays (*batch, C).
        """
        shape = tuple(points.shape[:-1])
        several = _channels(network, shape)
        if not several and tuple(network.shape[network.ndim - len(shape) :]) != shape:
            raise InputError(f"network: expected values at points {shape}, got {tuple(network.shape)}")
        phi, g = self.distance(points), self.extension(points, given)
        if several:
            phi, g = phi.unsqueeze(-1), g if _channels(g, shape) else g.unsqueeze(-1)
        return g + phi * network


def _channels(values: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether values at points of this shape have an axis more at their end."""
    k, n = len(shape), values.ndim
    return tuple(values.shape[max(n - k, 0) :]) != shape and n > k and tuple(values.shape[n - 1 - k : n - 1]) == shape
