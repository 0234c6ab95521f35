"""From frames and a recipe to a trained operator on sensors."""

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
from sciml.training.losses import Mse
from sciml.training.objectives import Supervised
from sciml.training.processes import Processes, present
from sciml.training.recipe import Recipe, Running
from sciml.training.samples import at_hand, open_data
from sciml.training.sensors.batches import SensorBatches, SensorSamples
from sciml.training.sensors.encoding import SensorEncoding, Sensors


@dataclass
class FittedSensors:
    """The outcome of training.

    Args:
        encoding: what the operator's tensors mean.
        operator: with the weights that were kept, in evaluation mode; they ask for no gradients.
        record: JSON values: recipe, data, and how it went.
        metrics: losses and validation figures on the way.
    """

    encoding: SensorEncoding
    operator: nn.Module
    recipe: Recipe
    record: dict[str, Any]
    metrics: list[dict[str, Any]]

    def __post_init__(self) -> None:
        self.operator.eval().requires_grad_(False)


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
    operator = _operator(cls, options, encoding, recipe, former)
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
    record: dict[str, Any] = {
        "operator": cls.name, "options": plain(options), "recipe": recipe.to_json(), "split": split,
        "subset": None if subset is None else [subset] if isinstance(subset, str) else list(subset),
        "cases": len(train.cases), "frames": int(train.length.sum()), "data": None if path is None else path.name,
        "threads": torch.get_num_threads(), "data_digest": digest_of(encoding.to_json()),
        "continued": former is not None, "processes": processes.count,
    }  # fmt: skip

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


def _operator(
    cls: type[Operator], options: Mapping[str, Any], encoding: SensorEncoding, recipe: Recipe,
    former: FittedSensors | None,
) -> Operator:  # fmt: skip
    if former is not None:
        kept: Any = unwrapped(former.operator)
        operator = anew(type(kept), kept.config(), encoding)
        operator.load_state_dict(kept.state_dict())
        return operator
    with borrowed(torch.device("cpu"), recipe.seed, dtype=torch.float32):
        operator = build(cls, encoding.signature(), options)
        return to_float64(operator) if encoding.torch_dtype == torch.float64 else operator  # type: ignore[return-value]
