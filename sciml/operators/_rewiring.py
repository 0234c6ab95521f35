"""Which nodes of a graph are joined beside its edges."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

AT_ONCE = 1 << 23  # distances that are worked out at once


def added(
    state: Float[Tensor, "all channel"],
    points: Float[Tensor, "all dimension"],
    edges: Int64[Tensor, "2 edge"],
    own: Int64[Tensor, " node"],
    curvature: Float[Tensor, " all"],
    share: float,
) -> Int64[Tensor, "2 pair"]:
    """Bottlenecks of one sample, each with the node whose state differs most from its own, as pairs of numbers, the
    smaller first, each once.

    Args:
        state: what is compared, of the nodes of all samples.
        points: where they are; decides between equals.
        edges: of all samples; neighbours are not joined again.
        own: numbers of the sample's nodes.
        curvature: of all nodes.
        share: of the nodes, rounded up.
    """
    if len(own) < 2:
        return own.new_zeros(2, 0)
    order = own
    for key in (*points.unbind(1)[::-1], curvature):  # by curvature, among equals by the first coordinate, ...
        order = order[torch.argsort(key[order], stable=True)]
    low = order[: math.ceil(share * len(own) - 1e-9)]
    near = edges[:, torch.isin(edges[1], low)]
    found = [_farthest(state, points, near, own, some) for some in low.split(max(1, AT_ONCE // len(own)))]
    return torch.unique(torch.cat(found, dim=1).sort(0).values, dim=1)


def _farthest(state: Tensor, points: Tensor, edges: Tensor, own: Tensor, some: Tensor) -> Tensor:
    """(2, pair) some nodes, and of the sample's own that are no neighbours the one that differs most; not those from
    which none differs."""
    rank, place = (torch.full((len(points),), -1, device=own.device) for _ in range(2))
    rank[some], place[own] = torch.arange(len(some), device=own.device), torch.arange(len(own), device=own.device)
    apart = _squares(state, some, own)
    apart[rank[some], place[some]] = -1
    near = edges[:, (rank[edges[1]] >= 0) & (place[edges[0]] >= 0)]
    apart[rank[near[1]], place[near[0]]] = -1
    most = apart.amax(1, keepdim=True)
    partner = torch.where(apart == most, _squares(points, some, own), -1).argmax(1)
    linked = most[:, 0] > 0
    return torch.stack((some[linked], own[partner[linked]]))


def _squares(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(row, column) squared distances; channel after channel, without the cancellation of a product of matrices."""
    total = values.new_zeros(len(rows), len(columns))
    for channel in values.unbind(1):
        total += (channel[rows, None] - channel[columns]).square()
    return total


def random_pairs(
    own: Int64[Tensor, " node"], edges: Int64[Tensor, "2 edge"], count: int, seed: int
) -> Int64[Tensor, "2 pair"]:
    """`count` different pairs of nodes that are no neighbours, fewer where there are hardly so many; the same for every
    sample of the same graph."""
    generator = torch.Generator().manual_seed(seed)
    base = int(edges.max()) + int(own.max()) + 2 if edges.numel() and len(own) else 1
    taken = edges.amin(0) * base + edges.amax(0)
    found: dict[int, None] = {}
    for _ in range(16):
        if len(found) >= count or not len(own):
            break
        drawn = own[torch.randint(len(own), (2, 2 * count + 16), generator=generator).to(own.device)]
        keys = drawn.amin(0) * base + drawn.amax(0)
        keys = keys[(drawn[0] != drawn[1]) & ~torch.isin(keys, taken)]
        found |= dict.fromkeys(keys.tolist())
    keys = torch.tensor(list(found)[:count], dtype=torch.int64, device=own.device)
    return torch.stack((keys // base, keys % base))
