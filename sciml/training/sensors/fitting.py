"""From frames and a recipe to a trained operator on sensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sciml.contracts import Operator
from sciml.errors import InputError
from sciml.training.asked import cases_of, require_settings
from sciml.training.augmentations import Augmented
from sciml.training.fitting import Outcome, begun, carried_out, held_out, record_of
from sciml.training.losses import Mse
from sciml.training.objectives import Supervised
from sciml.training.processes import Processes, present
from sciml.training.recipe import Recipe, Running
from sciml.training.samples import at_hand, open_data
from sciml.training.sensors.batches import SensorBatches, SensorSamples
from sciml.training.sensors.encoding import SensorEncoding, Sensors

FittedSensors = Outcome[SensorEncoding]


def fit_sensors(
    cls: type[Operator], options: Mapping[str, Any], sensors: Sensors, fields: Sequence[str] | None, data: Any,
    recipe: Recipe, running: Running, *, split: str | None = "train", validation: str | None = "validation",
    subset: Sequence[str] | str | None = None, former: FittedSensors | None = None,
) -> FittedSensors:  # fmt: skip
    """Train an operator on sensors; see `SensorSurrogate.fit`.

    Args:
        former: what was trained before: scales and weights to go on from.
    """
    require_settings(recipe, running)
    processes = present()
    dataset, path = open_data(data)
    dataset = at_hand(dataset, running.memory_limit)
    before = None if former is None else former.encoding.problem
    train = cases_of(dataset, split, subset, fields if former is None else former.encoding.fields, before)
    held = held_out(dataset, validation, train, subset)
    dtype = "float64" if recipe.precision == "float64" else "float32"
    encoding = SensorEncoding.fit(train, sensors, dtype) if former is None else former.encoding
    operator = begun(cls, options, encoding, former, recipe.seed)
    objective = recipe.objective or Supervised()
    if not isinstance(objective, Supervised):
        raise InputError(f"objective: expected Supervised for answers at queries, got {objective!r:.60}")
    measure = objective.loss or Mse()
    common: dict[str, Any] = {"batch_size": recipe.batch, "seed": recipe.seed}
    batches: Any = SensorBatches(train, encoding, repeats=recipe.sampler.repeats, processes=processes, **common)
    if len(batches) < 1:
        raise InputError(f"data: no case of the split has more than the {sensors.instants} frames of a sample")
    if recipe.augmentations:
        batches = Augmented(batches, recipe.augmentations, recipe.seed, processes.rank)
    validate = None
    if held is not None and held.cases:
        some = SensorBatches(held, encoding, shuffle=False, most=max(1, recipe.validation_items), **common)
        validate = Validation(some, processes) if len(some) else None
    record = record_of(cls, options, recipe, train, encoding, path, split, subset, former, processes)

    def loss(model: nn.Module, samples: SensorSamples, share: float) -> Tensor:
        return measure(answered(model, samples), samples.target, samples.on)

    kept, metrics = carried_out(operator, loss, batches, validate, recipe, running, record, processes)
    return FittedSensors(encoding, kept, recipe, record, metrics)


def answered(model: nn.Module, samples: SensorSamples) -> Tensor:
    """(batch, field, query)."""
    return model(**samples.batch.arguments()).movedim(2, 1)


class Validation:
    """Its "validation" is Σ |û − u|² / Σ |u|² over queries of held-out cases, in units of the fields' scales; what is
    drawn is the same each time."""

    def __init__(self, batches: SensorBatches, processes: Processes):
        self.batches, self.processes = batches, processes

    def __call__(self, operator: nn.Module) -> dict[str, float]:
        first, sums = next(operator.parameters()), torch.zeros(2, dtype=torch.float64)
        for i, samples in enumerate(self.batches.epoch(0)):
            if i % self.processes.count == self.processes.rank:
                samples = samples.to(first.device)
                gap = answered(operator, samples) - samples.target
                sums += torch.stack([gap.double().square().sum(), samples.target.double().square().sum()]).cpu()
        error, size = sum(self.processes.gathered(sums), torch.zeros(2, dtype=torch.float64)).tolist()
        return {"validation": error / max(size, 1e-300)}
