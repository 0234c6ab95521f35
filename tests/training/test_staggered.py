"""Operators on interleaved pieces, trained as any other: by data, by balances over the whole field, in windows."""

import numpy as np
import pytest
import torch
from test_physics_losses import burgers

import sciml
from sciml import registry
from sciml.cli._plan import read
from sciml.data import pack
from sciml.errors import InputError
from sciml.solvers import Surrogate
from sciml.studies._plan import Plan
from sciml.training import Adam, Autoregressive, Recipe, Running, Steps, Supervised, Window, WithPhysics

QUIET = Running(progress=False)
POINTWISE = {"kernel": 1, "blocks": 2, "width": 8, "middle": 8, "dropout": 0.0}


@pytest.fixture(scope="module")
def waves():
    """Burgers' equation, exact, on 32 cells."""
    return pack(burgers(5, n=32, frames=6), ["train", "train", "test", "train", "train"])


def trained(data, operator, objective, length=4, stepping=None, lr=1e-3, **options):
    recipe = Recipe(Steps(length), batch=4, objective=objective, optimiser=Adam(lr=lr), precision="float64")
    return Surrogate(operator, stepping, **options).fit(data, recipe, validation=None, running=QUIET)


def test_balances_over_the_merged_field_are_those_of_the_whole(waves):
    """A network without neighbours does the same on pieces as on the whole: so must its data, residuals, gradients."""
    objective = WithPhysics(Supervised(), weight=1.0)
    whole = trained(waves, "resnet", objective, **POINTWISE)
    pieces = trained(waves, "neural_stagger", objective, backbone="resnet", settings=POINTWISE, stagger=4)
    (net,) = pieces.operator.pieces
    for (name, a), b in zip(whole.operator.named_parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12, msg=name)
    losses = [[m["loss"] for m in s.metrics if "loss" in m] for s in (whole, pieces)]
    assert losses[0] and np.allclose(*losses, rtol=1e-10)


def test_the_balances_alone_teach_pieces(waves):
    """Without a label: what 240 steps leave of the error of one step."""
    objective = WithPhysics(weight=1.0, method="spectral")
    settings = {"width": 8, "modes": 6, "layers": 2}

    def error(steps):
        model = trained(waves, "neural_stagger", objective, steps, lr=3e-3, settings=settings)
        case, truth = sciml.data.case(waves, 2)
        found = model.resume(case, truth.isel(time=[0]), truth.time.values[1:2])
        return float(np.abs(found.u.values[-1] - truth.u.values[1]).max())

    first, last = error(1), error(240)
    assert last < 0.3 * first


def test_windows_are_taken_apart_in_time_and_come_back_from_disk(waves, tmp_path):
    """The sub-task of a frame knows that frame alone: a window answers as each of its frames would."""
    window = Window(2, 2, increments=False)
    options = {"backbone": "resnet", "settings": POINTWISE | {"kernel": 3}, "stagger": 2, "steps": 2}
    model = trained(waves, "neural_stagger", Supervised(), 6, window, **options)
    model.save(tmp_path / "run")
    again = sciml.load(tmp_path / "run")
    assert again.settings == model.settings and again.operator.config() == model.operator.config()
    case, truth = sciml.data.case(waves, 2)
    times = truth.time.values[2:]
    found = again.resume(case, truth.isel(time=[0, 1]), times)
    assert np.array_equal(found.u.values, model.resume(case, truth.isel(time=[0, 1]), times).u.values)
    other = truth.isel(time=[0, 1]).copy(deep=True)
    other.u.values[0] += 0.1  # which frames 0, 2, 4 come from
    changed = again.resume(case, other, times).u.values - found.u.values
    assert (np.abs(changed[0]) > 0).any() and np.abs(changed[1]).max() == 0
    with pytest.raises(InputError, match=r"steps: each of 2 frames adds to its own, expected Window\(n_in=2"):
        trained(waves, "neural_stagger", Supervised(), 1, Window(2, 2), **options)
    with pytest.raises(InputError, match="got 1 channels in and 1 out"):
        trained(waves, "neural_stagger", Supervised(), 1, Autoregressive(increments=False), **options)


def test_settings_of_the_backbone_on_the_command_line():
    kind = registry.operators.get("neural_stagger")
    texts = ["operator.backbone=unet", "operator.settings={width: 8, multipliers: (1, 2)}", "operator.stagger=2,4"]
    plan, _ = read(Plan("neural_stagger", {}, Recipe()), kind, QUIET, texts)
    assert plan.options == {"backbone": "unet", "settings": {"width": 8, "multipliers": (1, 2)}, "stagger": (2, 4)}
    again = Plan.from_json(plan.to_json())
    assert again.operator == plan.operator and again.options["settings"]["width"] == 8
