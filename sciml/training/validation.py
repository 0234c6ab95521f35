"""How good a model is on held-out cases while it is trained: what chooses weights, and what stops training early."""

from __future__ import annotations

import math
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sciml.errors import InputError
from sciml.metrics import Sums
from sciml.training.batches import Batch, MemoryBatches
from sciml.training.encoding import Encoding
from sciml.training.model import Model
from sciml.training.objectives import Objective
from sciml.training.processes import ALONE, Processes
from sciml.training.recipe import Recipe
from sciml.training.samples import CaseTable


class Validation:
    """Errors of rollouts as long as the objective's, pooled over held-out samples and the H steps of each:

        NMSE = Σ_k ‖û_k − u_k‖² / Σ_k ‖u_k‖²,   k = 1 ... H,

    of the fields in the problem's scales, û_k being H applications in a row, each to what the one before gave. H is
    that of the whole objective from the first validation to the last, also while training itself still takes single
    steps: figures of one run are of one thing, and what is best is best at what the run is for.

    "validation" is that NMSE (infinite where a rollout left all bounds), "validation_gain" how many times lower it is
    than that of persistence; where H > 1, "validation_one_step" is the NMSE of the first steps alone.

    Args:
        batches: held-out samples in a fixed order, with targets for the steps that are to be judged.
        processes: which share these batches.
    """

    def __init__(self, encoding: Encoding, batches: MemoryBatches, processes: Processes = ALONE):
        self.e, self.batches, self.processes = encoding, batches, processes
        s = encoding.state
        shape = (-1, *[1] * encoding.space)
        self.scale = torch.from_numpy(np.tile(s.scale, encoding.stepping.ahead)).reshape(shape)
        self.offset = torch.from_numpy(np.tile(s.offset, encoding.stepping.ahead)).reshape(shape)

    @classmethod
    def of(
        cls, held: CaseTable, encoding: Encoding, recipe: Recipe, objective: Objective, horizon: int,
        processes: Processes = ALONE,
    ) -> Validation | None:  # fmt: skip
        """That of a recipe, at the cost of at most `recipe.validation_items` applications of the model; None where no
        held-out case is long enough and the recipe does not need one.

        Raises:
            InputError: none is, and weights or the end of training are to be chosen by it.
        """
        most, size = max(1, recipe.validation_items // horizon), max(1, 64 // horizon)
        known = MemoryBatches(held.thin(), encoding, horizon=horizon, batch_size=size, shuffle=False, most=most)
        if len(known):
            return cls(encoding, known, processes)
        if recipe.keep == "best" or recipe.patience:
            raise InputError(
                f"validation: no case has the frames that {encoding.stepping!r} and {objective!r} need, and keep or "
                "patience choose by it"
            )
        return None

    def predictor(self, operator: nn.Module) -> Any:
        """The operator as what is judged, a `Predictor` that answers with frames."""
        return Model(operator, self.e)

    def __call__(self, operator: nn.Module) -> dict[str, float]:
        model = self.predictor(operator)
        mine = [
            self._batch(model, raw.to(model.device))
            for i, raw in enumerate(self.batches.epoch(0)) if i % self.processes.count == self.processes.rank
        ]  # fmt: skip
        each = [found for several in self.processes.gathered(mine) for found in several]
        errors, stills = ([reduce(add, step) for step in zip(*sums, strict=True)] for sums in zip(*each, strict=True))
        nmse = _pooled(errors)
        found = {"validation": nmse}
        if stills and nmse > 0:
            found["validation_gain"] = _pooled(stills) / nmse
        if len(errors) > 1:
            found["validation_one_step"] = _pooled(errors[:1])
        return found

    def _batch(self, model: Any, batch: Batch) -> tuple[list[Sums], list[Sums]]:
        """Sums of each step: of the model, and of what is nothing but the frame that went in."""
        weights, mask = batch.given.weights, batch.given.mask
        weights = mask if weights is None else weights
        w = None if weights is None else weights.double().cpu().numpy()
        last = None
        if batch.state is not None and not self.e.stepping.queries:
            last = self._physical(batch.state[:, -1].repeat(1, self.e.stepping.ahead, *[1] * self.e.space))
        state, errors, stills = model.start(batch), [], []
        for k in range(self.batches.horizon):
            new, state = model(state, batch, k)
            truth = self._physical(batch.target[:, k])
            errors.append(Sums.of(self._physical(new), truth, weights=w))
            if last is not None:
                stills.append(Sums.of(last, truth, weights=w))
        return errors, stills

    def _physical(self, values: Tensor) -> np.ndarray:
        return (values.double() * self.scale.to(values.device) + self.offset.to(values.device)).cpu().numpy()


def _pooled(sums: list[Sums]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        total = sums[0]
        for more in sums[1:]:
            total = total + more
        nmse = float(total.nmse)
    return nmse if math.isfinite(nmse) else math.inf
