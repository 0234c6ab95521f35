"""Particles from step to step: what operators are told of them, and what becomes of their answer.

With x the positions and Δ the differences of two that follow each other, one step is

    Δ ← Δ + σ·operator(Δ's of the past, walls, bodies),   x ← x + Δ

in float64, whatever the operator computes in: steps are small beside positions. Where a side of the box would be
crossed, particles stop at it. An operator that answers 0 is free flight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sciml.contracts import ParticleBatch
from sciml.errors import InputError
from sciml.support.neighbours import radius_graph
from sciml.training.particles.bodies import Bodies

if TYPE_CHECKING:
    from sciml.training.particles.encoding import ParticleEncoding

MOST = 400  # neighbours of a particle on average, beyond which particles have collapsed


@dataclass(frozen=True, eq=False)
class Motion:
    """Where particles are and how they came there; those of all samples one after another.

    Args:
        place: (node, D), positions, not wrapped around periodic boxes; float64.
        moved: (node, past, D), differences of positions over past steps, the oldest first; float64.
    """

    place: Float[Tensor, "node dimension"]
    moved: Float[Tensor, "node past dimension"]


@dataclass(frozen=True, eq=False)
class Scene:
    """What stays the same through a rollout of several samples.

    Args:
        counts: particles of each sample.
        low, lengths: (graph, D), lower ends and extents of the boxes; float64.
        params: (graph, step, feature), normalised.
        bodies: of each sample; None where it has none.
    """

    counts: tuple[int, ...]
    low: Float[Tensor, "graph dimension"]
    lengths: Float[Tensor, "graph dimension"]
    params: Float[Tensor, "graph step feature"]
    bodies: tuple[Bodies | None, ...]

    @property
    def graph(self) -> Int64[Tensor, " node"]:
        """(node,) the sample that each particle belongs to."""
        counts = torch.tensor(self.counts, device=self.low.device)
        return torch.repeat_interleave(torch.arange(len(counts), device=self.low.device), counts)

    def to(self, device: Any) -> Scene:
        return replace(
            self, low=self.low.to(device), lengths=self.lengths.to(device), params=self.params.to(device)
        )  # fmt: skip

    @staticmethod
    def together(scenes: list[Scene]) -> Scene:
        """Several as one."""
        steps = max(s.params.shape[1] for s in scenes)
        # of rollouts that are shorter, the last features are never asked for
        params = [torch.cat([s.params, s.params[:, -1:].expand(-1, steps - s.params.shape[1], -1)], 1) for s in scenes]
        return Scene(
            tuple(n for s in scenes for n in s.counts), torch.cat([s.low for s in scenes]),
            torch.cat([s.lengths for s in scenes]), torch.cat(params), tuple(b for s in scenes for b in s.bodies),
        )  # fmt: skip


def inputs(e: ParticleEncoding, state: Motion, scene: Scene, step: int) -> ParticleBatch:
    """What an operator is given before a step.

    Raises:
        InputError: particles that have collapsed into each other, or are no numbers.
    """
    graph = scene.graph
    low, lengths = scene.low.index_select(0, graph), scene.lengths.index_select(0, graph)
    past, d = state.moved.shape[1:]
    parts = [(state.moved / e.velocity).reshape(-1, past * d)]
    walls = [a for a in range(d) if not e.around[a]]
    if walls:
        below = (state.place - low)[:, walls] / e.radius
        above = (low + lengths - state.place)[:, walls] / e.radius
        parts.append(torch.cat([below, above], 1).clamp(-1.0, 1.0))
    if e.bodies:
        parts.append(_bodies(e, state, scene, step))
    share = (state.place - low) / lengths
    around = torch.tensor(e.around, device=share.device)
    edges = joined(e, share.detach(), scene)
    way = share.index_select(0, edges[1]) - share.index_select(0, edges[0])
    way = way - torch.where(around, torch.round(way.detach()), torch.zeros((), dtype=way.dtype, device=way.device))
    offsets = way * lengths.index_select(0, edges[0]) / e.radius
    dtype = e.torch_dtype
    params = scene.params[:, step].to(dtype) if scene.params.shape[2] else None
    return ParticleBatch(
        torch.cat(parts, 1).to(dtype), share.to(dtype), edges, offsets.to(dtype), graph, params,
        lengths=(scene.lengths / e.radius).to(dtype),
    )  # fmt: skip


def joined(e: ParticleEncoding, share: Tensor, scene: Scene) -> Int64[Tensor, "2 edge"]:
    """The edges of all samples."""
    found, first = [], 0
    lengths = scene.lengths.cpu().numpy()
    values = share.cpu().numpy()
    for k, count in enumerate(scene.counts):
        points = values[first : first + count] * lengths[k]
        most = None if count < 64 else MOST * count
        edges = radius_graph(points, e.radius, lengths=lengths[k], periodic=e.around, most=most)
        found.append(edges + first)
        first += count
    return torch.from_numpy(np.concatenate(found, axis=1)).to(share.device)


def _bodies(e: ParticleEncoding, state: Motion, scene: Scene, step: int) -> Tensor:
    """(node, 1 + 2 D): distance over the radius, direction and movement of the nearest body, the latter two fading out
    at the radius."""
    found, first = [], 0
    d = state.place.shape[1]
    for count, bodies in zip(scene.counts, scene.bodies, strict=True):
        place = state.place[first : first + count]
        first += count
        if bodies is None:
            far = place.new_zeros(count, 1 + 2 * d)
            far[:, 0] = 1.0
            found.append(far)
            continue
        distance, normal, move = bodies.seen(place, step, e.radius)
        share = (distance / e.radius).clamp(-1.0, 1.0)[:, None]
        near = 1.0 - share.clamp(min=0.0)
        found.append(torch.cat([share, near * normal, near * move / e.velocity], 1))
    return torch.cat(found)


def advanced(e: ParticleEncoding, state: Motion, scene: Scene, answer: Float[Tensor, "node dimension"]) -> Motion:
    """One step with normalised accelerations."""
    move = state.moved[:, -1] + answer.to(state.place.dtype) * e.acceleration
    place = state.place + move
    walls = [a for a in range(place.shape[1]) if not e.around[a]]
    if walls:
        graph = scene.graph
        low, lengths = scene.low.index_select(0, graph), scene.lengths.index_select(0, graph)
        inside = torch.minimum(torch.maximum(place, low), low + lengths)
        held = torch.tensor([not p for p in e.around], device=place.device)
        held = held & (move.abs() <= lengths)  # what goes further in one step has blown up, and is to be seen
        place = torch.where(held, inside, place)
        move = place - state.place
    return Motion(place, torch.cat([state.moved[:, 1:], move[:, None]], 1))


def applied(operator: nn.Module, e: ParticleEncoding, state: Motion, scene: Scene, step: int) -> Tensor:
    """(node, D) normalised accelerations."""
    return operator(**inputs(e, state, scene, step).arguments())


def blown_up(state: Motion, scene: Scene) -> list[bool]:
    """For each sample, whether a particle is no number, or goes further than the box is long in one step."""
    size = scene.lengths.amax(1)
    wrong = ~torch.isfinite(state.place).all(1) | ~torch.isfinite(state.moved).flatten(1).all(1)
    wrong |= state.moved[:, -1].abs().amax(1) > size.index_select(0, scene.graph)
    return [bool(part.any()) for part in wrong.split(list(scene.counts))]


def require_particles(fields: tuple[str, ...], dimensions: int) -> None:
    """Refuse fields other than displacement and velocity along each axis.

    Raises:
        InputError: names what is missing.
    """
    wanted = field_names(dimensions)
    missing = [n for n in wanted if n not in fields]
    if missing:
        raise InputError(
            f"data: expected particles with fields {', '.join(wanted)}, got {', '.join(fields)}; "
            f"{missing[0]!r} is missing"
        )


def field_names(dimensions: int) -> tuple[str, ...]:
    """displacement_x, ..., velocity_x, ..."""
    return tuple(f"{kind}_{a}" for kind in ("displacement", "velocity") for a in "xyz"[:dimensions])
