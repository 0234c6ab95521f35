"""A mover that has learned from meshes of the Monge-Ampère equation, for any mesh: graph transformer and graph
attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from sciml import registry
from sciml.errors import InputError, is_number
from sciml.meshing._learned import LearnedMover
from sciml.meshing._neighbours import Neighbours, Rest
from sciml.meshing._settings import check_steps, check_whole
from sciml.meshing._simplices import contents
from sciml.meshing.monge_ampere import MongeAmpere
from sciml.meshing.mover import Domain, Proposal
from sciml.meshing.samples import Sample
from sciml.operators._points import perceptron
from sciml.operators.layers.attention import HeterogeneousAttention, bias, check_heads, merge, split
from sciml.operators.layers.block import Block
from sciml.training.optimisers import AdamW
from sciml.training.recipe import Recipe, Steps

BOUND = 6.0  # of what an edge says of its share: e⁶ to e⁻⁶ of what it is on the mesh as it was

Look = Callable[[Tensor], Tensor]


@registry.movers.register("um2n")
@final
class UM2N(LearnedMover):
    """Nodes that see each other in a transformer, then layers of attention along edges, in each of which all nodes come
    to rest where they are averages of their neighbours:

        xᵢ = Σⱼ aᵢⱼ xⱼ,    aᵢⱼ = wᵢⱼ exp(lᵢⱼ) / Σₖ wᵢₖ exp(lᵢₖ),

    lᵢⱼ of the network, wᵢⱼ the mean value weights of the mesh as it was (`Neighbours`). Trained towards what
    `MongeAmpere` makes of the same mesh: small is

        areas · mean over cells of |A − A*|/A₀ + coordinates · mean over nodes of |x − x*|/√(mean A₀),

    A₀ being areas before and A* those of `MongeAmpere`; samples on which it fails or turns cells over are left out.

    Other than in the published system:

    - An even monitor moves nothing, whatever the weights: l is then 0.
    - Averages are taken at their fixed point, not once a layer, with which a node gets no further than one cell a
      layer, however fine the mesh. Meshes of rectangles do not tangle so, whatever the weights.
    - Nodes on the boundary slide; published, they are held, while those that are learned from slide.
    - What comes in does not change where a mesh is turned, moved, mirrored, swapped, renumbered or made larger, nor
      does the answer then; published, coordinates come in (`places`).
    - Attention between all nodes is linear in their number, and each has its share of the area; published, it is
      that of all pairs (`pairs`), by which the network is slower than what it learns from. Width 24 for 64 to 500.
    - What the network says of an edge is the same seen from both ends, as a conductivity is, so that it means the same
      on meshes of any size.
    - Each layer sees the monitor where nodes have come to, and how far areas there are from what it asks for; what an
      edge says is added to what it has said before, from (log mⱼAⱼ − log mᵢAᵢ)/2 on, which is right for monitors that
      are nearly even (A: areas around nodes over those before).
    - Nodes correspond to those that are learned from, so that no distance between sets of points is needed.

    Args:
        width: of vectors at nodes and edges.
        heads: of attention between all nodes, which share the width.
        blocks: of the encoder.
        layers: of attention along edges.
        areas, coordinates: weights in what is to be small.
        places: whether coordinates come in, as shares of the mesh's size, from its centre.
        pairs: whether attention is that of all pairs of nodes.
        seed: of the weights before training.

    Raises:
        InputError: settings out of range.

    Source: M. Zhang, C. Wang, S. Kramer, J. G. Wallwork, S. Li, J. Liu, X. Chen, M. D. Piggott, Towards universal mesh
    movement networks, NeurIPS 2024.
    """

    name = "um2n"

    def __init__(
        self,
        width: int = 24,
        heads: int = 4,
        blocks: int = 1,
        layers: int = 3,
        *,
        areas: float = 1.0,
        coordinates: float = 1.0,
        places: bool = False,
        pairs: bool = False,
        seed: int = 0,
    ):
        check_steps(self.name, width=width, heads=heads, layers=layers)
        check_whole(self.name, blocks=blocks, seed=seed)
        check_heads(width, heads)
        for key, value in (("areas", areas), ("coordinates", coordinates)):
            if not is_number(value) or value < 0:
                raise InputError(f"{self.name}: {key} is {value!r}, expected a number from 0 on")
        if not areas and not coordinates:
            raise InputError(f"{self.name}: areas and coordinates are 0, expected one that is positive")
        self.width, self.heads, self.blocks, self.layers = int(width), int(heads), int(blocks), int(layers)
        self.areas, self.coordinates = float(areas), float(coordinates)
        self.places, self.pairs, self.seed = bool(places), bool(pairs), int(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network: Any = Network(self.width, self.heads, self.blocks, self.layers, self.places, self.pairs)
        self.network.eval()
        self.training = {}

    def config(self) -> dict[str, Any]:
        return {
            "width": self.width, "heads": self.heads, "blocks": self.blocks, "layers": self.layers,
            "areas": self.areas, "coordinates": self.coordinates, "places": self.places, "pairs": self.pairs,
            "seed": self.seed,
        }  # fmt: skip

    @classmethod
    def recipe(cls) -> Recipe:
        return Recipe(length=Steps(600), batch=2, optimiser=AdamW(lr=3e-3, average=0.99))

    # -- training -----------------------------------------------------------------------------------------------

    def _lessons(self, samples: Sequence[Sample]) -> list[Any]:
        return [lesson for lesson in super()._lessons(samples) if lesson is not None]

    def lesson(self, domain: Domain, sample: Sample) -> Lesson | None:
        """None where `MongeAmpere` fails."""
        _check_plane(self.name, domain)
        found = MongeAmpere()._propose(domain)
        if not found.converged:
            return None
        step = domain.sliding.projected(found.points - domain.points)
        now, before = contents(domain.points + step, domain.cells), contents(domain.points, domain.cells)
        if (now <= 0).any():
            return None
        graph = Graph(domain)
        return Lesson(graph, torch.from_numpy(domain.points + step), torch.from_numpy(before), torch.from_numpy(now))

    def loss(self, network: nn.Module, lesson: Any, share: float) -> Tensor:
        x = network(lesson.graph)
        off = (areas(x, lesson.graph.cells) - lesson.areas).abs() / lesson.before
        away = torch.linalg.vector_norm(x - lesson.points, dim=1) / lesson.before.mean().sqrt()
        return self.areas * off.mean() + self.coordinates * away.mean()

    # -- use ----------------------------------------------------------------------------------------------------

    def _propose(self, domain: Domain) -> Proposal:
        _check_plane(self.name, domain)
        with torch.inference_mode():
            return Proposal(self.network(Graph(domain)).numpy(), self.layers)


@dataclass(frozen=True)
class Lesson:
    """A mesh and monitor, and what is made of it: points (N, 2), areas before and then (C,)."""

    graph: Graph
    points: Tensor
    before: Tensor
    areas: Tensor


class Graph:
    """A mesh with its monitor, as tensors.

    Attributes:
        points, cells, to, of, weight: see `Neighbours`.
        share: (N,) of nodes in the area.
        nodes: (N, 5) of what there is at nodes: whether they slide, whether they stay, the logarithm of the area around
            them over its mean, places from the centre over the size of the mesh.
    """

    def __init__(self, domain: Domain):
        self.near, self._domain = Neighbours(domain), domain
        near = self.near
        self.points, self.cells = torch.from_numpy(near.points), torch.from_numpy(near.cells)
        self.to, self.of = torch.from_numpy(near.to), torch.from_numpy(near.of)
        self.weight, self.length = torch.from_numpy(near.weight), torch.from_numpy(near.length)
        self.content = torch.from_numpy(near.content)
        self.share = self.content / self.content.sum()
        kind = torch.from_numpy(np.stack([near.sliding.slides, near.sliding.fixed], 1).astype(float))
        middle = self.share @ self.points
        size = self.content.sum().sqrt()
        self.nodes = torch.cat([kind, (self.share * near.count).log()[:, None], (self.points - middle) / size], 1)
        self.slope = size / self.length  # differences along edges to slopes over the size of the region

    def monitor(self, points: Tensor) -> Float64[Tensor, " node"]:
        """log m there."""
        if points is self.points:
            return torch.from_numpy(self.logarithm(self.near.points))
        found: Any = Monitor.apply(points, self)
        return found

    def logarithm(self, points: np.ndarray) -> np.ndarray:
        return np.log(self._domain.monitor(points))


class Monitor(torch.autograd.Function):
    """log m at points; its derivative by differences over a small part of an edge. Without that, what a layer learns
    would leave out that nodes which move see another monitor in the next."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, graph: Graph) -> Tensor:
        ctx.x, ctx.graph = points.detach().numpy(), graph
        return torch.from_numpy(graph.logarithm(ctx.x))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        step = 1e-5 * float(ctx.graph.length.mean())
        slope = [
            (ctx.graph.logarithm(ctx.x + way) - ctx.graph.logarithm(ctx.x - way)) / (2 * step)
            for way in step * np.eye(2)
        ]
        return grads[0][:, None] * torch.from_numpy(np.stack(slope, 1)), None


class Network(nn.Module):
    """From a `Graph` to the places of its nodes, (N, 2) in double precision."""

    def __init__(self, width: int, heads: int, blocks: int, layers: int, places: bool, pairs: bool):
        super().__init__()
        self.places = places
        self.nodes = perceptron([4 + 2 * places, width, width], "silu", last=False)
        self.edges = perceptron([4, width, width], "silu", last=False)
        self.blocks = nn.ModuleList(Block(width, (Pairs if pairs else Linear)(width, heads), 2) for _ in range(blocks))
        self.layers = nn.ModuleList(Layer(width, i < layers - 1) for i in range(layers))

    def forward(self, graph: Graph) -> Float64[Tensor, "node 2"]:
        kind = next(self.parameters()).dtype
        m = graph.monitor(graph.points)
        m = m - graph.share @ m
        spread = (graph.share @ m**2).sqrt()  # 0 for an even monitor
        share = graph.share.to(kind)
        told = graph.nodes if self.places else graph.nodes[:, :3]
        h = self.nodes(torch.cat([m[:, None], told], 1).to(kind))
        rise, size = along(m, graph), along(graph.share.log(), graph)
        links = torch.stack([rise, rise * graph.slope / 10, size, graph.weight * 6 - 1], 1).to(kind)
        h = h + averaged(self.edges(links), graph, graph.weight.to(kind))
        for block in self.blocks:
            h = block(h[None], share[None])[0]
        x, said = graph.points, torch.zeros_like(graph.weight)
        for i, layer in enumerate(self.layers):
            if i:
                m = graph.monitor(x)
                m = m - graph.share @ m
            x, h, said = layer(h, x, said, m, spread, graph)
        return x


class Layer(nn.Module):
    """Attention along edges: what edges say, added to what they have said before, makes shares, by which places come
    to rest and, unless it is the last layer, vectors are averaged."""

    def __init__(self, width: int, on: bool):
        super().__init__()
        self.on = on
        self.norm = nn.LayerNorm(width)
        self.told = nn.Linear(2, width)
        self.ends, self.link = nn.Linear(width, width), nn.Linear(2, width, bias=False)
        self.say = nn.Linear(width, 1, bias=False)
        self.plain = nn.Linear(3, 1, bias=False)
        with torch.no_grad():
            self.say.weight.mul_(0.1)
            self.plain.weight.copy_(torch.tensor([[0.5, 0.5, 0.0]]))  # what is right for monitors that are nearly even
        if on:
            self.value, self.update = nn.Linear(width, width), perceptron([2 * width, width, width], "silu", last=False)

    def forward(
        self, h: Tensor, x: Tensor, said: Tensor, m: Tensor, spread: Tensor, graph: Graph
    ) -> tuple[Tensor, Tensor, Tensor]:
        kind = h.dtype
        grown = (around(x, graph) / graph.content).clamp_min(1e-3).log()
        v = self.norm(h) + self.told(torch.stack([m, grown], 1).to(kind))
        ends = x.index_select(0, graph.of) - x.index_select(0, graph.to)
        stretch = (ends.square().sum(1) / graph.length**2).clamp_min(1e-6).log() / 2
        rise, growth = along(m, graph), along(grown, graph)
        # alike seen from both ends: what is not would draw nodes further the finer a mesh is
        links = self.link(torch.stack([stretch, (rise * graph.slope).abs() / 10], 1).to(kind))
        from_ends = self.ends(v)
        met = from_ends.index_select(0, graph.to) + from_ends.index_select(0, graph.of) + links
        plain = self.plain(torch.stack([rise, growth, stretch], 1).to(kind))
        new = plain + spread.to(kind) * self.say(nn.functional.silu(met))
        said = said + new[:, 0].double()
        shares = graph.weight * (BOUND * torch.tanh(said / BOUND)).exp()
        total = shares.new_zeros(graph.near.count).index_add(0, graph.to, shares)
        shares = shares / total.index_select(0, graph.to)
        x = Rest.apply(shares, graph.near)  # type: ignore[assignment]
        if not self.on:
            return x, h, said
        mixed = averaged(self.value(v).index_select(0, graph.of), graph, shares.to(kind))
        return x, h + self.update(torch.cat([v, mixed], 1)), said


class Linear(nn.Module):
    """Attention between all nodes as one source of `HeterogeneousAttention`."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attention = HeterogeneousAttention(width, heads)

    def forward(self, h: Tensor, share: Tensor) -> Tensor:
        return self.attention(h, [(h, share)])


class Pairs(nn.Module):
    """softmax(q·k/√c + log share) v over all pairs of nodes."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.parts, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, h: Tensor, share: Tensor) -> Tensor:
        q, k, v = (split(part, self.heads) for part in self.parts(h).chunk(3, -1))
        return self.mix(merge(nn.functional.scaled_dot_product_attention(q, k, v, bias(share))))


def along(values: Tensor, graph: Graph) -> Tensor:
    """Differences of what is at nodes, along edges."""
    return values.index_select(0, graph.of) - values.index_select(0, graph.to)


def averaged(values: Tensor, graph: Graph, shares: Tensor) -> Tensor:
    """Σⱼ aᵢⱼ vᵢⱼ at nodes."""
    return values.new_zeros(graph.near.count, values.shape[1]).index_add(0, graph.to, values * shares[:, None])


def areas(x: Tensor, cells: Tensor) -> Tensor:
    """Of triangles, signed."""
    a, b, c = x.index_select(0, cells.T.reshape(-1)).unflatten(0, (3, -1))
    u, v = b - a, c - a
    return (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2


def around(x: Tensor, graph: Graph) -> Tensor:
    """A third of the triangles around a node."""
    third = areas(x, graph.cells) / 3
    return x.new_zeros(graph.near.count).index_add(0, graph.cells.ravel(), third[:, None].expand(-1, 3).reshape(-1))


def _check_plane(name: str, domain: Domain) -> None:
    if domain.points.shape[1] != 2:
        raise InputError(f"{name}: got a mesh of intervals, expected triangles; on a line Equidistribution is exact")
