"""What `sciml demo` makes and trains: chosen so that all of it takes about six minutes on two cores.

`data` goes to `sciml.solvers.generate`; every model's `options` to `Surrogate`, its `training` to `Surrogate.fit`. The
models train at the same time, each on its share of the cores. In the last fifth of the run the loss is on the third of
three steps in a row, which makes rollouts stable; first steps, in which a lid jumps, come six times as often as others.
"""

from __future__ import annotations

from typing import Any

# fmt: off
_TRAINING: dict[str, Any] = {
    "minutes": 4.0, "batch_size": 8, "schedule": "linear", "loss": "nmse", "ema": 0.99, "reflect": True, "noise": 0.02,
    "repeat_start": 6, "rollout": 3, "rollout_start": 0.8, "rollout_gradient": "last", "validate_every": 300, "seed": 0,
}
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
        "fno": {
            "operator": "fno",
            "options": {"physics": True, "width": 24, "modes": [12, 12], "layers": 4, "padding": 0.1, "patch": 2},
            "training": _TRAINING | {"lr": 9e-3},
        },
        "unet": {
            "operator": "unet",
            "options": {"physics": True, "width": 24, "patch": 2},
            "training": _TRAINING | {"lr": 8e-3},
        },
    },
    "evaluation": {"split": "test", "steps": 20},
}
