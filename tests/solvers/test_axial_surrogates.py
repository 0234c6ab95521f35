"""Surrogates of axial attention: what they are told of grids, and that what is stored answers alike."""

import numpy as np
import pytest
import torch
from _made import FEW, own, recipe, values, waves

import sciml
from sciml.solvers import Surrogate
from sciml.support import Grid

SMALL = {"width": 8, "heads": 2}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def channel():
    """Periodic in x and z, stretched in y."""
    line = np.linspace(0, 1, 7)
    return Grid((line, line**1.5, line[:6] / line[5]), (True, False, True))


@pytest.mark.parametrize("name", ["ifactformer", "factformer"])
def test_a_channel_is_known_as_one_and_comes_back(name, tmp_path):
    case = waves(channel(), problem=own(3, periodic=(True, False, True)))
    model = Surrogate(name, **SMALL).fit([case], recipe(2), **FEW)
    assert model.operator.periodic == (True, False, True)
    model.save(tmp_path / "run")
    again = sciml.load(tmp_path / "run")
    asked = sciml.data.case(sciml.data.pack([case], dtype=None), 0)[0]
    first, times = case.isel(time=slice(0, 1)), case.time.values[1:4]
    found = [values(m.resume(asked, first, times)) for m in (model, again)]
    assert np.array_equal(*found) and found[0].shape == (3, 2, 5, 6, 6) and np.isfinite(found[0]).all()
    if model.operator.position is not None:
        assert torch.equal(model.operator.frequencies, again.operator.frequencies)
