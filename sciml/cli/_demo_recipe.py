"""What `sciml demo` makes and trains: chosen so that all of it takes about six minutes on two cores.

`data` goes to `sciml.solvers.generate`, every model is a `Plan`. The models train at the same time, each on its share
of the cores; their settings were chosen on the split "validation". In the last fifth of the run the loss is on the
third of three steps in a row, which makes rollouts stable; first steps, in which a lid jumps, come six times as often
as others.
"""

from __future__ import annotations

from typing import Any

from sciml.studies._plan import Plan
from sciml.training.augmentations import Mirror, Noise
from sciml.training.losses import Nmse
from sciml.training.objectives import Rollout
from sciml.training.optimisers import AdamW
from sciml.training.recipe import Minutes, Recipe, Starts
from sciml.training.schedules import Linear

_TRAINING = Recipe(
    length=Minutes(3.2),
    batch=8,
    objective=Rollout(Nmse(), steps=3, after=0.8, gradient="last"),
    augmentations=(Mirror(), Noise(level=0.02)),
    schedule=Linear(),
    sampler=Starts(times=6),
    validate_every=300,
)
RECIPE: dict[str, Any] = {
    "data": {
        "cases": 200,
        "subset": ["bc", "prop", "geo", "ic"],
        "frames": 41,
        "resolution": 64,
        "profile": "resolved",
        "seed": 0,
    },
    "models": {
        "fno": Plan(
            "fno",
            {"width": 24, "modes": (12, 12), "layers": 4, "padding": 0.1, "patch": 2},
            _TRAINING.replace(optimiser=AdamW(lr=5e-3, average=0.99)),
        ),
        "unet": Plan("unet", {"width": 24, "patch": 2}, _TRAINING.replace(optimiser=AdamW(lr=3e-3, average=0.99))),
    },
    "evaluation": {"split": "test", "steps": 20},
}
