"""Outputs of neuraloperator's FNO, from stored weights, inputs and outputs (see make_neuraloperator_fixture.py)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sciml.errors import InputError
from sciml.operators import from_neuraloperator

FIXTURE = Path(__file__).parents[1] / "fixtures" / "neuraloperator_fno.npz"
CASES = ("plane", "group_norm", "instance_norm_padded", "line", "space", "tucker")


def load(name):
    with np.load(FIXTURE, allow_pickle=False) as archive:
        state = {
            key.split("/state/")[1]: torch.from_numpy(archive[key])
            for key in archive.files
            if key.startswith(f"{name}/state/")
        }
        config = json.loads(bytes(archive[f"{name}/config"]))
        return state, config, *(torch.from_numpy(archive[f"{name}/{part}"]) for part in "xy")


@pytest.mark.parametrize("spectral", ["matmul", "fft"])
@pytest.mark.parametrize("name", CASES)
def test_outputs_agree(name, spectral):
    state, config, x, y = load(name)
    fno = from_neuraloperator(state, config, spectral=spectral)
    with torch.no_grad():
        ours, exact = fno(x), fno.double()(x.double())
    assert (ours - y).norm() <= 1e-5 * y.norm()
    # its own rounding in float32 is what is left against our float64
    assert (exact - y).norm() <= 5e-6 * y.norm()


def test_settings_without_counterpart_are_refused():
    state, config, *_ = load("plane")
    for setting, value in (("fno_skip", "identity"), ("preactivation", True), ("use_channel_mlp", False)):
        with pytest.raises(InputError, match=f"{setting}: expected"):
            from_neuraloperator(state, config | {setting: value})
    with pytest.raises(InputError, match="non_linearity: expected gelu"):
        from_neuraloperator(state, config | {"non_linearity": torch.nn.functional.relu})
    del state["fno_blocks.fno_skips.1.conv.weight"]
    with pytest.raises(InputError, match=r"no entry 'fno_blocks.fno_skips.1.conv.weight'"):
        from_neuraloperator(state, config)
    with pytest.raises(InputError, match="expected the weights of a neuraloperator FNO"):
        from_neuraloperator({})
