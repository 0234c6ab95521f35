"""From frames of particles and a recipe to a trained operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from sciml.contracts import Operator
from sciml.errors import InputError
from sciml.training.asked import cases_of, require_settings
from sciml.training.augmentations import Augmented
from sciml.training.fitting import Outcome, begun, carried_out, held_out, record_of
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


FittedParticles = Outcome[ParticleEncoding]


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
    operator = begun(cls, options, encoding, former, recipe.seed)
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
    record = record_of(cls, options, recipe, train, encoding, path, split, subset, former, processes)

    def loss(model: nn.Module, batch: Any, share: float) -> Tensor:
        return objective(ParticleModel(model, encoding), batch, share)

    kept, metrics = carried_out(operator, loss, batches, validate, recipe, running, record, processes)
    return FittedParticles(encoding, kept, recipe, record, metrics)
