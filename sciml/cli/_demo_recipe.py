"""What `sciml demo` makes and trains: chosen so that all of it takes about six minutes on two cores.

`data` goes to `sciml.solvers.generate`; every model's `options` to `Surrogate`, its `training` to `Surrogate.fit`.
"""

from __future__ import annotations

from typing import Any

# fmt: off
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
            "training": {
                "minutes": 2.2, "batch_size": 8, "lr": 8e-3, "schedule": "linear", "loss": "nmse", "ema": 0.99,
                "noise": 0.02, "reflect": True, "seed": 0,
            },
        },
        "unet": {
            "operator": "unet",
            "options": {"physics": True, "width": 24, "patch": 2},
            "training": {
                "minutes": 2.2, "batch_size": 8, "lr": 8e-3, "schedule": "linear", "loss": "nmse", "ema": 0.99,
                "noise": 0.02, "reflect": True, "seed": 0,
            },
        },
    },
    "evaluation": {"split": "test", "steps": 20},
}
