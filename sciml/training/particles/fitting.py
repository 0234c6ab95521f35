"""From frames of particles and a recipe to a trained operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sciml.contracts import Operator, build
from sciml.errors import InputError
from sciml.training.asked import cases_of, require_settings
from sciml.training.augmentations import Augmented
from sciml.training.checkpoint import plain
from sciml.training.devices import borrowed, to_float64, unwrapped
from sciml.training.fitting import anew, carried_out, digest_of, held_out
from sciml.training.objectives import Objective, Supervised, WithPhysics
from sciml.training.particles.batches import ParticleBatches
from sciml.training.particles.encoding import Nodes, ParticleEncoding, require_places
from sciml.training.particles.model import ParticleModel, Validation
from sciml.training.particles.motion import field_names, require_particles
from sciml.training.processes import present
from sciml.training.recipe import Recipe, Running
from sciml.training.samples import at_hand, open_data, table
from sciml.training.stepping import Autoregressive

JUDGED = 32  # steps of held-out samples at most: a step of some thousand particles takes as long as many of a grid


@dataclass
class FittedParticles:
    """The outcome of training.

    Args:
        encoding: what the operator's tensors mean.
        operator: with the weights that were kept, in evaluation mode; they ask for no gradients.
        record: JSON values: recipe, data, and how it went.
        metrics: losses and validation figures on the way.
    """

    encoding: ParticleEncoding
    operator: nn.Module
    recipe: Recipe
    record: dict[str, Any]
    metrics: list[dict[str, Any]]

    def __post_init__(self) -> None:
        self.operator.eval().requires_grad_(False)


def fit_particles(
    cls: type[Operator], options: Mapping[str, Any], stepping: Autoregressive, nodes: Nodes, data: Any, recipe: Recipe,
    running: Running, *, radius: float | None = None, told: Sequence[str] | None = None, split: str | None = "train",
    validation: str | None = "validation", subset: Sequence[str] | str | None = None,
    former: FittedParticles | None = None,
) -> FittedParticles:  # fmt: skip
    """Train an operator on particles; see `ParticleSurrogate.fit`.

    Args:
        former: what was trained before: scales and weights to go on from.
    """
    require_settings(recipe, running)
    processes = present()
    dataset, path = open_data(data)
    dataset = at_hand(dataset, running.memory_limit)
    known = table(dataset, split)
    require_particles(known.fields, known.problem.dimensions)
    before = None if former is None else former.encoding.problem
    train = cases_of(dataset, split, subset, field_names(known.problem.dimensions), before)
    require_places(train)
    held = held_out(dataset, validation, train, subset)
    dtype = "float64" if recipe.precision == "float64" else "float32"
    if former is None:
        encoding = ParticleEncoding.fit(train, stepping, nodes, radius=radius, told=told, dtype=dtype)
    else:
        encoding = former.encoding
    operator = _operator(cls, options, encoding, recipe, former)
    objective = recipe.objective or operator.objective() or Supervised()
    if not isinstance(objective, Objective) or isinstance(objective, WithPhysics):
        raise InputError(f"objective: expected Supervised or Rollout for particles, got {objective!r:.60}")
    batches: Any = ParticleBatches(
        train, encoding, horizon=objective.horizon, batch_size=recipe.batch, seed=recipe.seed,
        repeats=recipe.sampler.repeats, memory=running.memory_limit, processes=processes,
    )  # fmt: skip
    if len(batches) < 1:
        raise InputError(f"data: no case of the split has the frames that {encoding.stepping!r} and {objective!r} need")
    if recipe.augmentations:
        batches = Augmented(batches, recipe.augmentations, recipe.seed, processes.rank)
    validate = None
    if held is not None and held.cases:
        most = max(1, min(recipe.validation_items, JUDGED) // objective.horizon)
        some = ParticleBatches(
            held, encoding, horizon=objective.horizon, batch_size=1, shuffle=False, most=most,
            memory=running.memory_limit,
        )  # fmt: skip
        validate = Validation(encoding, some, processes) if len(some) else None
        if validate is None and (recipe.keep == "best" or recipe.patience):
            raise InputError(
                f"validation: no case has the frames that {objective!r} needs, and keep or patience choose by it"
            )
    record: dict[str, Any] = {
        "operator": cls.name, "options": plain(options), "recipe": recipe.to_json(), "split": split,
        "subset": None if subset is None else [subset] if isinstance(subset, str) else list(subset),
        "cases": len(train.cases), "frames": int(train.length.sum()), "data": None if path is None else path.name,
        "threads": torch.get_num_threads(), "data_digest": digest_of(encoding.to_json()),
        "continued": former is not None, "processes": processes.count,
    }  # fmt: skip

    def loss(model: nn.Module, batch: Any, share: float) -> Tensor:
        return objective(ParticleModel(model, encoding), batch, share)

    kept, metrics = carried_out(operator, loss, batches, validate, recipe, running, record, processes)
    return FittedParticles(encoding, kept, recipe, record, metrics)


def _operator(
    cls: type[Operator], options: Mapping[str, Any], encoding: ParticleEncoding, recipe: Recipe,
    former: FittedParticles | None,
) -> Operator:  # fmt: skip
    if former is not None:
        kept: Any = unwrapped(former.operator)
        operator = anew(type(kept), kept.config(), encoding)
        operator.load_state_dict(kept.state_dict())
        return operator
    with borrowed(torch.device("cpu"), recipe.seed, dtype=torch.float32):
        operator = build(cls, encoding.signature(), options)
        return to_float64(operator) if encoding.torch_dtype == torch.float64 else operator  # type: ignore[return-value]
