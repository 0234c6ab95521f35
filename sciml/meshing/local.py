"""A mover that is learned without labels, from patches of cells."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, final

import torch
from torch import Tensor, nn

from sciml import registry
from sciml.errors import InputError, is_number
from sciml.meshing._learned import LearnedMover
from sciml.meshing._patches import Lesson, Patchwork, edges, logs, monitored, moved
from sciml.meshing._settings import check_steps, check_whole
from sciml.meshing.mover import Domain, Proposal
from sciml.meshing.samples import Sample
from sciml.training.optimisers import AdamW
from sciml.training.recipe import Recipe, Steps


@final
@registry.movers.register("local")
class LocalMover(LearnedMover):
    """Rounds of an elastic medium whose cells say their own stress, by small networks on their patches:

        ∫ ∇δ : ∇w = ∫ σ : ∇w    for all w,    x ← x + δ,
        σ = −(a r + b r̄) I + c dev(g ⊗ g)/(1 + |g|²) + d dev(F Fᵀ)/(tr F Fᵀ/D),

    r = log(m |K|/(θ |K₀|)) of a cell, r̄ its mean over the patch, g = h ∇log m, F = ∂x/∂ξ with its volume taken out. The
    coefficients a, b, c, d come from a perceptron of each round, which sees six invariants: r, r̄, |g|, log det F, the
    stretch of F, and how much r differs within the patch; a is between 0 and 3/2, the others
    within ± 3/4. So a mesh that is turned, scaled or renumbered moves alike, an even monitor moves nothing, and with
    a = step, b = c = d = 0, near which it starts, it is `Elastic`. Steps are halved where a cell would lose more than
    four fifths of its content.

    It is trained through all rounds, factors and monitors included, with no labels, on

        ∫ r² / ∫ 1  +  error · log(‖u − Iu‖²/‖u − I₀u‖²),

    I and I₀ being linear interpolation on the moved mesh and on the mesh as it was.

    Args:
        rounds: of moving; each has weights of its own.
        width: of the two hidden layers.
        alone: without the medium: of its matrix only the diagonal counts, so that in a round a node knows nothing from
            beyond its own patch.
        error: weight of the second term, for which samples must have a field; 0 for m |K| alone.
        seed: of the first weights.

    Raises:
        InputError: settings out of range.

    Source: the first term and patches after the idea of M-uniform losses, W. Huang, R. D. Russell, Adaptive Moving Mesh
    Methods, Springer (2011), section 4; `alone` is kin to unsupervised movers by message passing within patches.
    """

    name = "local"

    def __init__(self, rounds: int = 4, width: int = 16, alone: bool = False, error: float = 0.0, seed: int = 0):
        check_steps(self.name, rounds=rounds, width=width)
        if not is_number(error) or error < 0:
            raise InputError(f"{self.name}: error is {error!r}, expected a number from 0 on")
        check_whole(self.name, seed=seed)
        self.rounds, self.width, self.alone, self.error, self.seed = rounds, width, bool(alone), float(error), seed
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.network = Patchwork(rounds, width, 0.8 if alone else 0.6).double()
        self.training: dict[str, Any] = {}

    @classmethod
    def pretrained(cls) -> LocalMover:
        """With the weights that come with the package; `python -m benchmarks._mesh_learned` makes them."""
        kept = json.loads(files("sciml.meshing").joinpath("local_mover.json").read_text(encoding="utf-8"))
        found = cls(**kept["mover"])
        found.network.load_state_dict({k: torch.tensor(v, dtype=torch.float64) for k, v in kept["weights"].items()})
        found.training = kept["training"]
        return found

    def config(self) -> dict[str, Any]:
        return {k: getattr(self, k) for k in ("rounds", "width", "alone", "error", "seed")}

    @classmethod
    def recipe(cls) -> Recipe:
        return Recipe(length=Steps(1500), batch=4, optimiser=AdamW(lr=5e-3), precision="float64")

    def lesson(self, domain: Domain, sample: Sample) -> Lesson:
        if self.error and not callable(getattr(sample.field, "gradient", None)):
            raise InputError(f"{self.name}: samples: expected each with a field and its gradient, as error is above 0")
        return Lesson.of(domain, self.alone, sample.field if self.error else None)

    def loss(self, network: nn.Module, lesson: Lesson, share: float) -> Tensor:
        x, total = torch.from_numpy(lesson.domain.points), 0.0
        weights = lesson.size / lesson.size.sum()
        for number in range(self.rounds):
            x, ratio = moved(network, lesson, number, x)
            if number:
                total = total + 0.1 * (weights * ratio.square()).sum() / self.rounds
        ratio = logs(lesson, edges(x, lesson.cells), monitored(lesson, x))
        total = total + (weights * ratio.square()).sum()
        if self.error:
            total = total + self.error * torch.log(lesson.error(x) / lesson.floor)
        return total

    def _propose(self, domain: Domain) -> Proposal:
        lesson = Lesson.of(domain, self.alone)
        x: Any = torch.from_numpy(domain.points)
        with torch.inference_mode():
            for number in range(self.rounds):
                x, _ = moved(self.network, lesson, number, x)
        return Proposal(x.numpy(), self.rounds)
