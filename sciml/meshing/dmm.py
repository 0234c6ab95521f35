"""A mover that learns without data: a network's potential, held to the equation of Monge and Ampère."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sciml import registry
from sciml.errors import InputError, is_whole
from sciml.meshing._learned import LearnedMover
from sciml.meshing._settings import check_steps
from sciml.meshing._simplices import contents, stiffness
from sciml.meshing.mover import Domain, Proposal
from sciml.meshing.samples import Sample
from sciml.operators.layers.potential_map import PotentialMap
from sciml.operators.layers.transport import transport_loss
from sciml.support import Mesh
from sciml.training.optimisers import AdamW
from sciml.training.recipe import Recipe, Steps

POINTS = 300  # at which a sample's equation is asked, in one step
WHOLE = 1e-6  # share of the box that a region may lack and still be the whole of it


@final
@registry.movers.register("dmm")
class DMM(LearnedMover):
    """Nodes x = ξ + ∇φ(ξ; m), φ by a `PotentialMap` of log(m/θ), trained on

        (m(x) det(I + H)/θ − 1)²,    H = ∇∇φ,    θ = ∫ m dx/∫ dx,

    with terms that keep I + H positive definite, and ∂φ/∂n = 0 on the boundary, see `transport_loss`; no mesh that was
    moved by another is needed. Coordinates are those of the box around the region, each axis from 0 to 1. There the
    condition on the boundary holds exactly where the region is the box. Of other regions the loss asks for it in the
    mean; what is left is cut off, since nodes slide, and from nodes inside harmonically: a polygon's mesh is moved less
    well near its slanted sides. A rectangle that is turned counts as a polygon.

    m is taken at the nodes, and linear between them; one move is one evaluation of the network, in time that goes with
    the number of nodes.

    Args:
        dimensions: D, 1 or 2.
        width, modes, layers: of the `PotentialMap`; cells much finer than 1/modes are not told apart.
        refine: iterations of L-BFGS on the coefficients of φ, its last layer, for every mesh that is moved, on the
            same loss at points of this mesh; 0 for none.
        seed: of the weights to begin with.

    Raises:
        InputError: settings out of range; on `move` a mesh of other dimensions.

    Source: P. Hu, Y. Wang, Z.-M. Ma, Better neural PDE solvers through data-free mesh movers, ICLR 2024.
    """

    name = "dmm"

    def __init__(
        self, dimensions: int = 2, *, width: int = 16, modes: int = 16, layers: int = 3, refine: int = 0, seed: int = 0
    ):
        check_steps(self.name, dimensions=dimensions, width=width, modes=modes, layers=layers)
        if dimensions > 2:
            raise InputError(f"{self.name}: dimensions is {dimensions}, expected 1 or 2")
        for key, value in (("refine", refine), ("seed", seed)):
            if not is_whole(value) or value < 0:
                raise InputError(f"{self.name}: {key} is {value!r}, expected a whole number from 0 on")
        self._settings = {
            "dimensions": int(dimensions), "width": int(width), "modes": int(modes), "layers": int(layers),
            "refine": int(refine), "seed": int(seed),
        }  # fmt: skip
        self.refine, self.dimensions = int(refine), int(dimensions)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network: PotentialMap = PotentialMap(1, dimensions, width, modes, layers)
        self.network.eval()
        self.training = {}

    def config(self) -> dict[str, Any]:
        return dict(self._settings)

    @classmethod
    def recipe(cls) -> Recipe:
        return Recipe(length=Steps(8000), batch=8, optimiser=AdamW(lr=3e-3, weight_decay=1e-5))

    # -- moving ---------------------------------------------------------------------------------------------------

    def _propose(self, domain: Domain) -> Proposal:
        dtype = next(self.network.parameters()).dtype
        seen = _Seen.of(domain, self.dimensions)
        at = torch.tensor((domain.points - seen.low) / seen.size, dtype=dtype)[None]
        with torch.no_grad():
            potential = self.network.potential(*(part.to(dtype)[None] for part in seen.given))
        count, rest = 0, float("nan")
        if self.refine:
            potential, count, rest = self._refined(potential, seen.lesson(domain, self.network.modes))
        with torch.no_grad():
            step = self.network.gradient(potential, at)[0].double().numpy()
        return Proposal(domain.points + _held_in(domain, step * seen.size), count, rest)

    def _refined(self, potential: Tensor, lesson: Lesson) -> tuple[Tensor, int, float]:
        """Coefficients that fit one mesh, iterations, and the root of the loss with them."""
        points, k = lesson.corners.mean(1), self.network.modes
        if len(points) > 6 * k**self.dimensions:
            chosen = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[: 6 * k**self.dimensions]
            points = points[chosen]
        bounded = len(lesson.sides) > 0
        # of coefficients of −∇²φ, whose sizes are alike
        squares = torch.meshgrid(*[torch.arange(k) ** 2] * self.dimensions, indexing="ij")
        scale = torch.stack(squares).sum(0).clamp_min(1)
        inner = (potential * scale).double().requires_grad_()
        optimizer = torch.optim.LBFGS([inner], max_iter=self.refine, history_size=20, line_search_fn="strong_wolfe",
                                      tolerance_grad=1e-8, tolerance_change=1e-10)  # fmt: skip

        def loss() -> Tensor:
            one = (lesson.monitor, lesson.mean, points, lesson.sides.mean(1), lesson.normals)
            m, mean, at, s, n = (part.double()[None] for part in one)
            edge: dict[str, Any] = {"sides": s, "normals": n} if bounded else {}
            return transport_loss(self.network, inner / scale, m, mean, at, **edge)

        def closure() -> float:
            optimizer.zero_grad()
            value = loss()
            value.backward()
            return float(value.detach())

        with torch.enable_grad():
            optimizer.step(closure)
        count = int(optimizer.state[inner]["n_iter"])
        with torch.no_grad():
            return (inner / scale).detach().to(potential.dtype), count, float(loss()) ** 0.5

    # -- training -------------------------------------------------------------------------------------------------

    def lesson(self, domain: Domain, sample: Sample) -> Lesson:
        return _Seen.of(domain, self.dimensions).lesson(domain, self.network.modes)

    def loss(self, network: nn.Module, lesson: Lesson, share: float) -> Tensor:
        return self.mean_loss(network, [lesson], share)

    def mean_loss(self, network: nn.Module, lessons: Sequence[Lesson], share: float) -> Tensor:
        """Of lessons at once: their points are filled up with some of weight 0 to equal numbers."""
        assert isinstance(network, PotentialMap)
        dtype = next(network.parameters()).dtype
        padded = [pad_sequence([one.given[i].to(dtype) for one in lessons], batch_first=True) for i in range(3)]
        drawn = [one.drawn() for one in lessons]
        points, sides, normals = (torch.stack([one[i] for one in drawn]).to(dtype) for i in range(3))
        monitor, mean = (torch.stack([getattr(one, key) for one in lessons]).to(dtype) for key in ("monitor", "mean"))
        bounded = any(len(one.sides) for one in lessons)
        edge: dict[str, Any] = {"sides": sides, "normals": normals} if bounded else {}
        return transport_loss(network, network.potential(*padded), monitor, mean, points, **edge)


def _held_in(domain: Domain, steps: np.ndarray) -> np.ndarray:
    """Steps that keep to the boundary: what leads off it there is taken from the nodes inside as well, harmonically, so
    that cells beside it are not crushed."""
    sides = np.unique(domain.sliding.sides)
    held = domain.sliding.fixed | np.isin(np.arange(len(steps)), sides)
    off = domain.sliding.projected(steps) - steps
    off[~held] = 0
    size = np.ptp(domain.points, axis=0).max()
    inner = np.flatnonzero(~held)
    if not len(inner) or np.abs(off).max() < 1e-6 * size:
        return steps
    matrix: Any = stiffness(domain.points, domain.cells).tocsr()[inner]
    off[inner] = scipy.sparse.linalg.splu(matrix[:, inner].tocsc()).solve(-(matrix @ off))
    return steps + off


@dataclass(frozen=True)
class Lesson:
    """A mesh and its monitor in the coordinates of the box.

    Args:
        given: points (P, D), log(m/θ) (P, 1) and weights (P,) of a quadrature, as `PotentialMap` takes them.
        monitor: m on a lattice of the box, beyond the region that of the nearest node.
        mean: () θ.
        corners: (C, D + 1, D) of the cells.
        chances: (C,) with which points are drawn from cells, summed up.
        sides: (S, D, D) ends of the sides of the boundary; none where the region is the whole box.
        lengths: (S,) of them, summed up, the last 1.
        normals: (S, D) out of the region.
    """

    given: tuple[Tensor, Tensor, Tensor]
    monitor: Tensor
    mean: Tensor
    corners: Tensor
    chances: Tensor
    sides: Tensor
    lengths: Tensor
    normals: Tensor

    def drawn(self, count: int = POINTS) -> tuple[Tensor, Tensor, Tensor]:
        """Points of the region, half of them even, half as m is; and of its boundary, with normals (0 for a box)."""
        number = torch.searchsorted(self.chances, torch.rand(count)).clamp_max(len(self.chances) - 1)
        share = -torch.log(torch.rand(count, self.corners.shape[1]).clamp_min(1e-30))
        points = ((share / share.sum(1, keepdim=True))[..., None] * self.corners[number]).sum(1)
        few = count // 4
        if not len(self.sides):
            return points, points[:few], torch.zeros_like(points[:few])
        side = torch.searchsorted(self.lengths, torch.rand(few)).clamp_max(len(self.lengths) - 1)
        ends, at = self.sides[side], torch.rand(few, 1)
        return points, ends[:, 0] + at * (ends[:, 1] - ends[:, 0]), self.normals[side]


@dataclass(frozen=True)
class _Seen:
    """A mesh in the coordinates of its box, as the network is given it.

    Args:
        low, size: of the box.
        mean: θ.
        given: as of `Lesson`.
        chances: (C,) with which points are drawn from cells.
        covered: the region's share of the box.
    """

    low: np.ndarray
    size: np.ndarray
    mean: float
    given: tuple[Tensor, Tensor, Tensor]
    chances: np.ndarray
    covered: float

    @classmethod
    def of(cls, domain: Domain, dimensions: int) -> _Seen:
        points, cells, d = domain.points, domain.cells, domain.points.shape[1]
        if d != dimensions:
            raise InputError(f"dmm: points: expected (N, {dimensions}), got {points.shape}")
        low = points.min(0)
        size = points.max(0) - low
        unit, m = (points - low) / size, domain.monitor(points)
        area = contents(unit, cells)
        mean = float((m[cells].mean(1) * area).sum() / area.sum())
        # exact for quadratics on cells: corners and middles
        corner = np.bincount(cells.ravel(), np.repeat(area / ((d + 1) * (d + 2)), d + 1), len(points))
        places = np.concatenate([unit, unit[cells].mean(1)])
        values = np.concatenate([m, m[cells].mean(1)]) / mean
        weights = np.concatenate([corner, area * (d + 1) / (d + 2)])
        given = (_tensor(places), _tensor(np.log(values)[:, None]), _tensor(weights))
        chances = area * (1 + m[cells].mean(1) / mean) / (2 * area.sum())
        return cls(low, size, mean, given, chances, float(area.sum()))

    def lesson(self, domain: Domain, modes: int) -> Lesson:
        cells, d = domain.cells, domain.points.shape[1]
        axis = np.linspace(0, 1, 4 * modes + 1)
        lattice = np.stack(np.meshgrid(*[axis] * d, indexing="ij"), -1)
        mesh = Mesh(domain.points, {"line" if d == 1 else "triangle": cells})
        # a monitor that is a function is asked between the nodes as well, but never beyond the region
        m = domain.monitor(mesh.sample(domain.points.T, lattice.reshape(-1, d) * self.size + self.low).T)
        corners = (domain.points[cells] - self.low) / self.size
        ends, normals, lengths = np.zeros((0, max(d, 1), d)), np.zeros((0, d)), np.zeros(0)
        if d == 2 and self.covered < 1 - WHOLE:
            ends = domain.points[domain.sliding.sides]
            along = ends[:, 1] - ends[:, 0]
            length = np.linalg.norm(along, axis=1)
            # steps across the boundary are judged in the mesh's own coordinates, over the box's size
            normals = np.stack([along[:, 1], -along[:, 0]], 1) / length[:, None] * self.size / self.size.max()
            lengths, ends = np.cumsum(length) / length.sum(), (ends - self.low) / self.size

        return Lesson(
            self.given, _tensor(m.reshape(lattice.shape[:-1])), _tensor(self.mean), _tensor(corners),
            _tensor(np.cumsum(self.chances)), _tensor(ends), _tensor(lengths), _tensor(normals),
        )  # fmt: skip


def _tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
