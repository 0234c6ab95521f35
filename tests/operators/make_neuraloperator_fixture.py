"""Makes tests/fixtures/neuraloperator_fno.npz: weights, inputs and outputs of small FNOs of neuraloperator 2.0.0.

Run by hand where that package is installed: `python tests/operators/make_neuraloperator_fixture.py`.
"""

import json
from pathlib import Path

import numpy as np
import torch
from neuralop.models import FNO, TFNO

CASES = {
    "plane": (FNO, {"n_modes": (8, 6)}, (2, 2, 16, 12)),
    "group_norm": (FNO, {"n_modes": (7, 5), "norm": "group_norm"}, (2, 2, 16, 13)),
    "instance_norm_padded": (
        FNO,
        {"n_modes": (6, 6), "norm": "instance_norm", "domain_padding": [0.25, 0.125]},
        (2, 2, 12, 16),
    ),
    "line": (FNO, {"n_modes": (8,), "channel_mlp_expansion": 1.5}, (2, 2, 17)),
    "space": (FNO, {"n_modes": (4, 4, 3), "positional_embedding": None}, (1, 2, 8, 6, 7)),
    "tucker": (TFNO, {"n_modes": (6, 6), "rank": 0.4}, (2, 2, 8, 10)),
}  # fmt: skip


def main() -> None:
    torch.manual_seed(0)
    arrays: dict[str, np.ndarray] = {}
    for name, (kind, config, shape) in CASES.items():
        model = kind(in_channels=2, out_channels=3, hidden_channels=6, n_layers=3, **config)
        with torch.no_grad():
            for p in model.parameters():
                if not p.is_complex():  # so that no bias is zero and no gate one
                    p.add_(0.2 * torch.randn_like(p))
            x = torch.randn(shape)
            arrays[f"{name}/x"], arrays[f"{name}/y"] = x.numpy(), model(x).numpy()
        for key, value in model.state_dict().items():
            if isinstance(value, torch.Tensor):
                arrays[f"{name}/state/{key}"] = value.numpy()
        arrays[f"{name}/config"] = np.frombuffer(json.dumps(config).encode(), dtype=np.uint8)
    np.savez_compressed(Path(__file__).parents[1] / "fixtures" / "neuraloperator_fno.npz", **arrays)


if __name__ == "__main__":
    main()
