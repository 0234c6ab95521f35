"""Optimisers as parts of a recipe."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sciml.errors import InputError
from sciml.training.parts import Part

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


@dataclass(frozen=True)
class Optimiser(Part, family="optimiser"):
    """How weights are changed.

    Args:
        lr: peak learning rate; a schedule multiplies it.
        weight_decay: of matrices and kernels; biases, norms and other vectors are not decayed.
        clip: largest norm of the gradient over all weights (0: none).
        average: decay of the running average of the weights, which is what is validated and kept (0: none); see
            `ExponentialMovingAverage`.
    """

    #: whether a step asks for loss and gradient again, at other weights (quasi-Newton methods with a line search)
    asks_again: ClassVar[bool] = False

    lr: float = 1e-3
    weight_decay: float = 0.0
    clip: float = 0.0
    average: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("lr", above=0)
        self._range("weight_decay", 0)
        self._range("clip", 0)
        self._range("average", 0, below=1)

    def build(self, model: nn.Module) -> Optimizer:
        """The optimiser of a model's trainable weights.

        Raises:
            InputError: a model without any.
        """
        decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        groups = [g for g in groups if g["params"]]
        if not groups:
            raise InputError("model: expected at least one trainable weight, got none")
        # one kernel for all weights; there is none for complex ones
        fused = all(p.is_floating_point() for g in groups for p in g["params"])
        return self._build(groups, fused)

    @abstractmethod
    def _build(self, groups: list[dict[str, Any]], fused: bool) -> Optimizer: ...


@dataclass(frozen=True)
class _Adaptive(Optimiser):
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 <= b < 1 for b in self.betas):
            raise InputError(f"betas: expected two numbers in [0, 1), got {self.betas!r}")


@dataclass(frozen=True)
class Adam(_Adaptive):
    """Adam (Kingma and Ba 2015), with `weight_decay` as a term of the loss."""

    def _build(self, groups: list[dict[str, Any]], fused: bool) -> Optimizer:
        from torch.optim import Adam as method

        return method(groups, lr=self.lr, betas=self.betas, fused=fused)


@dataclass(frozen=True)
class AdamW(_Adaptive):
    """Adam with the decay of weights apart from the gradient (Loshchilov and Hutter 2019)."""

    lr: float = 4e-3
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)

    def _build(self, groups: list[dict[str, Any]], fused: bool) -> Optimizer:
        from torch.optim import AdamW as method

        return method(groups, lr=self.lr, betas=self.betas, fused=fused)


@dataclass(frozen=True)
class SGD(Optimiser):
    """Stochastic gradient descent with momentum."""

    lr: float = 1e-2
    momentum: float = 0.9
    clip: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("momentum", 0, below=1)

    def _build(self, groups: list[dict[str, Any]], fused: bool) -> Optimizer:
        from torch.optim import SGD as method

        return method(groups, lr=self.lr, momentum=self.momentum, fused=fused)
