"""The program that trains a neural process on the porous medium equation: its data, and that it goes on as it was."""

import numpy as np
import pytest
import torch

from benchmarks import _constraints_gpme as gpme
from sciml.processes import AttentiveNeuralProcess

SETTING = gpme.Setting(functions=6, batch=3, across=3)


@pytest.mark.parametrize("name", gpme.FAMILIES)
def test_data_are_the_exact_solutions_with_times_spread_out(name):
    family = gpme.FAMILIES[name]
    values = np.array(family.tested)
    points, found = family.functions(values, 10, np.random.default_rng(0))
    assert points.shape == (len(values), 100, 2) and found.shape == (len(values), 100, 1)
    times = points.reshape(-1, 10, 10, 2)[..., 0]
    assert (times == times[:, :, :1]).all()
    np.testing.assert_array_equal(
        np.floor(times[:, :, 0].numpy() / family.last * 10), np.tile(np.arange(10), (len(values), 1))
    )
    for value, s, u in zip(values, points.numpy(), found.numpy(), strict=True):
        exact = [family.case(value).exact([t], (np.array([x]),))["u"][0, 0] for t, x in s.astype(float)]
        # coordinates are rounded to float32, which counts next to a front
        assert np.median(np.abs(exact - u[:, 0])) < 1e-6


@pytest.fixture
def posed():
    family = gpme.FAMILIES["stefan"]
    values = np.linspace(0.55, 0.7, 6)
    random = np.random.default_rng(1)
    return (*family.functions(values, 3, random), *family.functions(values, 3, random)), gpme._masses(family, values)


def train(posed, folder, before, *epochs):
    for k in epochs:
        torch.manual_seed(3)
        net = AttentiveNeuralProcess(width=8, heads=2)
        gpme._fit("ANP", net, *posed, before, k, gpme.FAMILIES["stefan"], SETTING, folder)
    return net.state_dict()


def test_training_goes_on_to_the_same_bits(tmp_path, posed):
    whole, parts = train(posed, tmp_path / "a", 0, 3), train(posed, tmp_path / "b", 0, 1, 3)
    assert all(torch.equal(whole[n], parts[n]) for n in whole)
    again = train(posed, tmp_path / "b", 0, 3)  # nothing is left to do
    assert all(torch.equal(whole[n], again[n]) for n in whole)


def test_the_last_epochs_go_on_to_the_same_bits(tmp_path, posed, monkeypatch):
    """The rate falls over all of them, so that they are stopped here in another way."""
    whole, write = train(posed, tmp_path / "a", 2, 3), gpme.write_tensors

    def once(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(gpme, "write_tensors", once)
    with pytest.raises(KeyboardInterrupt):
        train(posed, tmp_path / "b", 2, 3)
    monkeypatch.undo()
    parts = train(posed, tmp_path / "b", 2, 3)
    assert all(torch.equal(whole[n], parts[n]) for n in whole)
    assert not torch.equal(whole["answer.weight"], train(posed, tmp_path / "c", 0, 3)["answer.weight"])
