"""Training: recipes and their parts, losses, objectives, the loop, checkpoints, progress.

Names are loaded when first used: a recipe can be read and written without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.training import losses, norms, schedules
    from sciml.training.augmentations import Augmentation, Mirror, Noise, Subsample
    from sciml.training.callbacks import Callback, EarlyStopping, MetricsLog, TensorBoard
    from sciml.training.checkpoint import read_tensors, write_tensors
    from sciml.training.devices import device
    from sciml.training.ema import ExponentialMovingAverage
    from sciml.training.laws import BoundaryValues, Bounds, ConservedTotal, Constraint, DivergenceFree
    from sciml.training.losses import H1, Loss, Mse, Nmse, On, RelativeL2, SampleNmse, Sobolev
    from sciml.training.normalisation import FeatureScaler, FieldScaler
    from sciml.training.objectives import Growing, Objective, Rollout, Supervised, WithPhysics
    from sciml.training.optimisers import SGD, Adam, AdamW, Optimiser
    from sciml.training.parts import Part
    from sciml.training.progress import ProgressDisplay
    from sciml.training.recipe import (
        Epochs,
        Length,
        Minutes,
        ProcessorMinutes,
        Recipe,
        Running,
        Sampler,
        Starts,
        Steps,
        Uniform,
    )
    from sciml.training.schedules import Constant, Cosine, Linear, OneCycle, Schedule
    from sciml.training.stepping import Autoregressive, Query, Steady, Stepping, Window
    from sciml.training.trainer import Trainer

_HOMES = {
    "augmentations": ("Augmentation", "Mirror", "Noise", "Subsample"),
    "stepping": ("Autoregressive", "Query", "Steady", "Stepping", "Window"),
    "callbacks": ("Callback", "EarlyStopping", "MetricsLog", "TensorBoard"),
    "checkpoint": ("read_tensors", "write_tensors"),
    "devices": ("device",),
    "ema": ("ExponentialMovingAverage",),
    "laws": ("BoundaryValues", "Bounds", "ConservedTotal", "Constraint", "DivergenceFree"),
    "losses": ("H1", "Loss", "Mse", "Nmse", "On", "RelativeL2", "SampleNmse", "Sobolev"),
    "normalisation": ("FeatureScaler", "FieldScaler"),
    "objectives": ("Growing", "Objective", "Rollout", "Supervised", "WithPhysics"),
    "optimisers": ("SGD", "Adam", "AdamW", "Optimiser"),
    "parts": ("Part",),
    "progress": ("ProgressDisplay",),
    "recipe": (
        "Epochs",
        "Length",
        "Minutes",
        "ProcessorMinutes",
        "Recipe",
        "Running",
        "Sampler",
        "Starts",
        "Steps",
        "Uniform",
    ),
    "schedules": ("Constant", "Cosine", "Linear", "OneCycle", "Schedule"),
    "trainer": ("Trainer",),
}
_MODULES = ("losses", "norms", "schedules")
_NAMES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "H1",
    "SGD",
    "Adam",
    "AdamW",
    "Augmentation",
    "Autoregressive",
    "BoundaryValues",
    "Bounds",
    "Callback",
    "ConservedTotal",
    "Constant",
    "Constraint",
    "Cosine",
    "DivergenceFree",
    "EarlyStopping",
    "Epochs",
    "ExponentialMovingAverage",
    "FeatureScaler",
    "FieldScaler",
    "Growing",
    "Length",
    "Linear",
    "Loss",
    "MetricsLog",
    "Minutes",
    "Mirror",
    "Mse",
    "Nmse",
    "Noise",
    "Objective",
    "On",
    "OneCycle",
    "Optimiser",
    "Part",
    "ProcessorMinutes",
    "ProgressDisplay",
    "Query",
    "Recipe",
    "RelativeL2",
    "Rollout",
    "Running",
    "SampleNmse",
    "Sampler",
    "Schedule",
    "Sobolev",
    "Starts",
    "Steady",
    "Stepping",
    "Steps",
    "Subsample",
    "Supervised",
    "TensorBoard",
    "Trainer",
    "Uniform",
    "Window",
    "WithPhysics",
    "device",
    "losses",
    "norms",
    "read_tensors",
    "schedules",
    "write_tensors",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"sciml.training.{_NAMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"sciml.training.{name}")
    raise AttributeError(f"module 'sciml.training' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
