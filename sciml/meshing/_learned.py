"""What movers with weights share: how they are trained, saved and read again."""

from __future__ import annotations

import hashlib
import json
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sciml.data.loader import order
from sciml.errors import InputError
from sciml.meshing._checked import checked_mesh, checked_monitor
from sciml.meshing._sliding import Sliding
from sciml.meshing.mover import Domain, MeshMover
from sciml.meshing.samples import Sample
from sciml.solvers._saved import reading, write_parts
from sciml.training.callbacks import Callback
from sciml.training.checkpoint import load_weights
from sciml.training.recipe import Recipe, Running, Steps
from sciml.training.trainer import Trainer

LENGTH = Steps(2000)


class LearnedMover(MeshMover):
    """Abstract: a mover with weights, `network`.

    A subclass says what it makes of a sample before training (`lesson`: factors, labels), and what is to be minimised
    (`loss`). Whatever the weights are, no cell is turned over: that is `MeshMover.move`.

    Attributes:
        network: a plain torch module.
        training: what decided the weights, and how long it took; empty before.
    """

    network: nn.Module
    training: dict[str, Any]

    # -- what a mover says --------------------------------------------------------------------------------------

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The arguments that make such a mover, as JSON values."""

    @abstractmethod
    def lesson(self, domain: Domain, sample: Sample) -> Any:
        """What of a sample is needed in every step of training."""

    @abstractmethod
    def loss(self, network: nn.Module, lesson: Any, share: float) -> Tensor:
        """What is to be small for a lesson; `share` is the part of training that is done."""

    def mean_loss(self, network: nn.Module, lessons: Sequence[Any], share: float) -> Tensor:
        """The mean of `loss` over lessons; for movers to override that are faster with many at once."""
        return torch.stack([self.loss(network, one, share) for one in lessons]).mean()

    @classmethod
    def recipe(cls) -> Recipe:
        """How it is trained where nothing is said."""
        return Recipe(length=LENGTH, batch=4)

    # -- what all do --------------------------------------------------------------------------------------------

    def fit(
        self,
        samples: Sequence[Sample],
        recipe: Recipe | None = None,
        *,
        validation: Sequence[Sample] | None = None,
        running: Running | None = None,
    ) -> Self:
        """Train the weights, from those that there are.

        Args:
            samples: meshes and monitors.
            recipe: length, batch, optimiser, schedule, seed and so on; None for `recipe()`. Its objective,
                augmentations and sampler are of no use here.
            validation: samples whose mean loss is looked at now and then.
            running: where checkpoints go, and so on; always on the processor.

        Returns:
            itself, trained; `training` says with what, how long, and the losses on the way.

        Raises:
            InputError: samples that are none, or settings of no use.
            TrainingError: a loss that is not finite.
        """
        chosen = type(self).recipe() if recipe is None else recipe
        if not isinstance(chosen, Recipe):
            raise InputError(f"{self.name}: recipe is {chosen!r:.80}, expected a Recipe")
        for name in ("objective", "augmentations"):
            if getattr(chosen, name):
                raise InputError(f"{self.name}: recipe: {name} is {getattr(chosen, name)!r}; movers bring their own")
        given = (running or Running()).replace(device="cpu")
        began, worked = time.perf_counter(), time.process_time()
        lessons, tests = self._lessons(samples), self._lessons(validation or ())
        if not lessons:
            raise InputError(f"{self.name}: samples: expected at least one")
        prepared = time.process_time() - worked

        def validate(network: nn.Module) -> dict[str, float]:
            with torch.no_grad():
                return {"validation": float(self.mean_loss(network, tests, 1.0))}

        losses = _Losses(self._digest(samples), self.name)
        given = given.replace(callbacks=(*given.callbacks, losses))
        trainer = Trainer(
            self.network, self.mean_loss, chosen, given, to_device=lambda batch, device, dtype: batch, title=self.name
        )
        found = trainer.fit(_Batches(lessons, chosen.batch, chosen.seed), validate if tests else None)
        self.network = found.requires_grad_()  # an average of weights comes without
        self.training = {
            "recipe": chosen.to_json(), "samples": len(lessons), "steps": trainer.step,
            "preparing_cpu_seconds": prepared, "cpu_seconds": prepared + losses.spent,
            "seconds": time.perf_counter() - began,
            "losses": losses.kept, "validations": trainer.history,
        }  # fmt: skip
        return self

    def _lessons(self, samples: Sequence[Sample]) -> list[Any]:
        if not isinstance(samples, Sequence):
            raise InputError(f"{self.name}: samples: expected a list of Sample, got {samples!r:.80}")
        found = []
        for number, sample in enumerate(samples):
            if not isinstance(sample, Sample):
                raise InputError(f"{self.name}: samples: number {number} is {sample!r:.80}, expected a Sample")
            try:
                found.append(self.lesson(self._domain(sample), sample))
            except InputError as error:
                raise InputError(f"{self.name}: samples: number {number}: {error}") from None
        return found

    @staticmethod
    def _domain(sample: Sample) -> Domain:
        points, cells = checked_mesh(sample.points, sample.cells)
        given: Any = sample.monitor if callable(sample.monitor) else checked_monitor(sample.monitor, len(points))
        return Domain(points, cells, Sliding.of(points, cells, None), given)

    def _digest(self, samples: Sequence[Sample]) -> str:
        """Of what decides the weights beside the recipe."""
        found = hashlib.sha256(json.dumps(self.config(), sort_keys=True).encode())
        for sample in samples:
            given: Any = sample.monitor
            m: Any = given(np.array(sample.points)) if callable(given) else given
            for values in (sample.points, sample.cells, np.round(m, 9)):
                found.update(np.ascontiguousarray(values, np.float64).tobytes())
        return found.hexdigest()

    @property
    def count(self) -> int:
        """Of weights."""
        return sum(p.numel() for p in self.network.parameters())

    def save(self, directory: str | Path) -> None:
        """Write weights.safetensors and config.json.

        Raises:
            InputError: a place that cannot be written.
        """
        weights = {k: v.detach().cpu().numpy() for k, v in self.network.state_dict().items()}
        write_parts(directory, self.name, {"mover": self.config(), "training": self.training}, {"weights": weights})

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """What `save` wrote.

        Raises:
            InputError: no such directory.
            FileFormatError: a file that is missing, broken, or does not belong to the others.
        """
        with reading(directory, cls.name, ("weights",)) as (config, arrays):
            found = cls(**config["mover"])
            tensors = {k: torch.from_numpy(np.array(v)) for k, v in arrays["weights"].items()}
            if tensors and next(iter(tensors.values())).dtype == torch.float64:
                found.network.double()
            load_weights(found.network, tensors, Path(directory) / "weights.safetensors")
            found.network.eval()
            found.training = dict(config["training"])
        return found


class _Losses(Callback):
    """Mean losses of twenty steps, and the processor's time, over interruptions too."""

    def __init__(self, digest: str, name: str) -> None:
        self.kept: list[dict[str, float]] = []
        self._digest, self._name = digest, name
        self._sum, self._spent, self._began = 0.0, 0.0, time.process_time()

    @property
    def spent(self) -> float:
        return self._spent + time.process_time() - self._began

    def on_step(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self._sum += float(record["loss"]) / 20
        if trainer.step % 20 == 0:
            self.kept.append({"step": trainer.step, "loss": self._sum})
            self._sum = 0.0

    def state(self) -> Any:
        return {"kept": self.kept, "sum": self._sum, "spent": self.spent, "digest": self._digest}

    def restore(self, state: Any) -> None:
        if state["digest"] != self._digest:
            raise InputError(
                f"{self._name}: the run to go on with was begun with other samples or settings of the mover"
            )
        self.kept, self._sum, self._spent = state["kept"], state["sum"], state["spent"]


class _Batches:
    """Lessons in batches, in an order that (seed, epoch) decides."""

    def __init__(self, lessons: Sequence[Any], batch: int, seed: int):
        self.lessons, self.batch, self.seed = lessons, min(batch, len(lessons)), seed

    def __len__(self) -> int:
        return max(1, len(self.lessons) // self.batch)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Any]]:
        numbers = order(len(self.lessons), self.seed, epoch)
        for i in range(start, len(self)):
            yield [self.lessons[int(k)] for k in numbers[i * self.batch : (i + 1) * self.batch]]
