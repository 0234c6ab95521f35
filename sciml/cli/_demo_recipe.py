"""What `sciml demo` makes and trains: chosen so that all of it takes about six minutes on two cores.

`data` goes to `sciml.solvers.generate`; every model's `options` to `Surrogate`, its `training` to `Surrogate.fit`.
"""

from __future__ import annotations

from typing import Any

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
            "options": {"width": 24, "modes": [12, 12], "layers": 4},
            "training": {"minutes": 1.7, "batch_size": 32, "lr": 4e-3, "ema": 0.99, "reflect": True, "seed": 0},
        },
        "unet": {
            "operator": "unet",
            "options": {},
            "training": {"minutes": 1.7, "batch_size": 32, "lr": 2e-3, "ema": 0.99, "reflect": True, "seed": 0},
        },
    },
    "evaluation": {"split": "test", "steps": 20},
}
