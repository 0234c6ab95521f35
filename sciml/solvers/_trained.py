"""What a solver that holds one trained operator tells of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import nn

from sciml.contracts import Operator
from sciml.errors import InputError
from sciml.problem import Problem
from sciml.solver import TrainableSolver
from sciml.solvers import _saved
from sciml.training.checkpoint import digest, plain
from sciml.training.devices import device as find_device
from sciml.training.devices import unwrapped
from sciml.training.fitting import Outcome as Encoded
from sciml.training.processes import present
from sciml.training.recipe import Recipe, Running

E = TypeVar("E")


class Outcome(Protocol):
    """Of a training."""

    recipe: Recipe
    record: dict[str, Any]
    metrics: list[dict[str, Any]]

    @property
    def operator(self) -> nn.Module: ...


class OneOperator(TrainableSolver):
    """A learned solver that is one operator, once it is trained."""

    options: dict[str, Any]

    @property
    @abstractmethod
    def _outcome(self) -> Outcome | None:
        """None before any training."""

    @property
    @abstractmethod
    def operator(self) -> nn.Module:
        """With the trained weights.

        Raises:
            InputError: it has not been trained.
        """

    @property
    def fitted(self) -> bool:
        return self._outcome is not None

    @property
    def training(self) -> dict[str, Any]:
        """The record of training: recipe, data, how long it took."""
        return {} if self._outcome is None else self._outcome.record

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Losses and validation figures on the way."""
        return [] if self._outcome is None else self._outcome.metrics

    @property
    def weights(self) -> int:
        return 0 if self._outcome is None else sum(p.numel() for p in self._outcome.operator.parameters())

    @property
    def identity(self) -> dict[str, Any]:
        """All that makes it the model that it is, but the seed: equal for runs that are seeds of one model."""
        outcome = self._outcome
        return {k: v for k, v in self.settings.items() if k != "weights"} | {
            "recipe": None if outcome is None else outcome.recipe.without_seed().to_json(),
            "data": self.training.get("data_digest"),
        }

    def _write(
        self, directory: str | Path, content: Mapping[str, Any], places: Mapping[str, Any] | None = None
    ) -> None:
        """Write weights, supports where there are some, settings with `content`, and metrics into a directory."""
        f = self._outcome
        assert f is not None
        operator: Any = unwrapped(f.operator)
        parts = {"weights": {k: v.detach().cpu().numpy() for k, v in operator.state_dict().items()}}
        if places is not None:
            parts["support"] = {k: v.numpy() for k, v in places.items()}
        config = {
            "operator": operator.name, "operator_config": operator.config(), "options": self.options,
            "training": f.record, **content,
        }  # fmt: skip
        _saved.write_parts(directory, self.name, plain(config), parts)
        _saved.write_metrics(directory, f.metrics)


class OnDevice(OneOperator):
    """A learned solver that answers on a device of one's choice."""

    device: torch.device

    def _settle(self, running: Running) -> Self:
        """After training: where it answers from now on, and its files, where a folder is named."""
        self.to(self.device)
        if (folder := running.folder) is not None:
            present().by_first(lambda: self.save(folder))
        return self

    def to(self, device: str | torch.device) -> Self:
        """Answer on another device from now on."""
        self.device = find_device(device)
        self.operator.to(self.device)
        return self


class OfEncoding(OnDevice, Generic[E]):
    """A learned solver of one problem: an operator of a class that is chosen, and what its tensors mean."""

    operator_class: type[Operator]
    fitted_as: Encoded[E] | None

    @property
    def _outcome(self) -> Encoded[E] | None:
        return self.fitted_as

    @property
    def operator_name(self) -> str:
        return self.operator_class.name

    @property
    def title(self) -> str:  # type: ignore[override]
        """What people call the operator."""
        return self.operator_class.title

    @property
    def encoding(self) -> E:
        return self._ready().encoding

    @property
    def operator(self) -> nn.Module:
        return self._ready().operator

    @operator.setter
    def operator(self, module: nn.Module) -> None:
        self._ready().operator = module

    @property
    def problem(self) -> Problem | None:
        return None if self.fitted_as is None else self.fitted_as.encoding.problem  # type: ignore[attr-defined]

    @property
    def predicted(self) -> tuple[str, ...] | None:
        return None if self.fitted_as is None else self.fitted_as.encoding.fields  # type: ignore[attr-defined]

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = {"operator": self.operator_name, "options": plain(self.options)} | self._set
        if self.fitted_as is not None:
            f = self.fitted_as
            found |= self._known | {"recipe": f.record.get("recipe"), "subset": f.record.get("subset")}
            found |= {"parameters": self.weights, "weights": digest(unwrapped(f.operator).state_dict())[:16]}
        return found

    @property
    def _set(self) -> dict[str, Any]:
        """Settings beside operator and options, as JSON values."""
        return {}

    @property
    def _known(self) -> dict[str, Any]:
        """Settings that are known once it is trained, as JSON values."""
        return {"fields": list(self._ready().encoding.fields)}  # type: ignore[attr-defined]

    def supports(self, problem: Problem) -> bool:
        return self.fitted_as is None or problem.same(self.fitted_as.encoding.problem)  # type: ignore[attr-defined]

    def _ready(self) -> Encoded[E]:
        if self.fitted_as is None:
            kind = self.name.replace("_", " ")
            raise InputError(f"{kind}: the {self.operator_name} has not been trained; call fit or load first")
        return self.fitted_as
