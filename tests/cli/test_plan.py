"""`--set PATH=VALUE`: where each path goes, what it takes, and how it travels to another process."""

from __future__ import annotations

import json

import pytest

import sciml
from sciml import registry
from sciml.cli import _plan
from sciml.cli._demo_recipe import RECIPE
from sciml.errors import InputError
from sciml.studies._plan import Plan
from sciml.training import AdamW, Mirror, Noise, Recipe, Rollout, Running

FNO = registry.operators.get("fno")


def read(*texts, recipe=None):
    return _plan.read(_plan.Plan("fno", {}, recipe or Recipe()), FNO, Running(), texts)


def test_every_path_finds_its_place():
    plan, running = read(
        "operator.width=48", "operator.modes=12,12", "operator.spectral=fft", "operator.padding=0.1",
        "operator.coordinates=false", "length=Minutes(2)", "objective=Rollout(steps=3, after=0.8)", "objective.steps=4",
        "augmentations=Mirror(),Noise(level=0.1)", "augmentations.1.level=0.05", "optimiser.lr=1e-3", "seed=3",
        "stepping=Autoregressive(step=1, history=2)", "stepping.history=3", "fields=u", "subset=bc,ic",
        "validation=none", "running.memory_limit=1e9",
    )  # fmt: skip
    assert plan.options == {"width": 48, "modes": (12, 12), "spectral": "fft", "padding": 0.1, "coordinates": False}
    assert plan.recipe == Recipe(
        length=sciml.Minutes(2), objective=Rollout(steps=4, after=0.8), augmentations=(Mirror(), Noise(0.05)),
        optimiser=AdamW(lr=1e-3), seed=3,
    )  # fmt: skip
    mine = plan.surrogate
    assert (mine.stepping.step, mine.stepping.history, mine.fields, mine.subset) == (1, 3, ("u",), ("bc", "ic"))
    assert (mine.split, mine.validation) == ("train", None)
    assert running == Running(memory_limit=1e9)
    assert read("operator.modes=12")[0].options == {"modes": 12}  # for every axis


def test_none_is_a_word_where_an_option_takes_words():
    piorf = registry.operators.get("piorf")
    texts = ["operator.rewiring=none", "operator.compared=none", "operator.share=0.1"]
    plan, _ = _plan.read(Plan("piorf"), piorf, Running(), texts)
    assert plan.options == {"rewiring": "none", "compared": None, "share": 0.1}
    assert _plan.read(Plan("piorf"), piorf, Running(), ["operator.compared=1"])[0].options == {"compared": (1,)}


@pytest.mark.parametrize("name", registry.operators.names())
def test_what_the_data_decide_is_nothing_to_set(name):
    operator = registry.operators.get(name)
    assert not set(_plan.options_of(operator)) & set(operator.decided)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("operator.widht=8", r"--set operator\.widht: fno takes no 'widht'; did you mean 'width'"),
        ("operator=8", r"--set operator: fno takes no ''"),
        ("operator.in_channels=8", "takes no 'in_channels'"),
        ("width=8", r"no setting is called 'width'; did you mean 'operator\.width'"),
        ("lr=1", r"--set lr: Recipe has no field 'lr'; did you mean 'optimiser\.lr'"),
        ("optimizer.lr=1", r"did you mean 'optimiser'"),
        ("width", "--set: expected PATH=VALUE"),
        ("optimiser.lr=fast", r"--set optimiser\.lr: expected a number, got fast"),
        ("running.out=x", r"running\.out: running has no 'out' to set"),
        ("stepping=Autoregresive(1)", "did you mean 'Autoregressive'"),
        ("length=Steps(0)", r"length\.value: expected a whole number >= 1, got 0"),
        ("objective.steps=3", r"objective is None.*Rollout\(steps="),
    ],
)
def test_what_does_not_fit(text, message):
    with pytest.raises(InputError, match=message):
        read(text)
    with pytest.raises(InputError, match="twice"):
        read("seed=1", "seed=2")


def test_it_travels_as_json():
    plan, _ = read("operator.modes=12,12", "stepping=Window(n_in=4, n_out=4)", "fields=u,v", "keep=best")
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    for model in RECIPE["models"].values():
        assert Plan.from_json(json.loads(json.dumps(model.to_json()))) == model


def test_everything_that_can_be_set_is_listed():
    rows = {path: (wanted, default) for path, wanted, default in _plan.everything(FNO, Recipe())}
    assert rows["optimiser.lr"] == ("a number", "0.004") and rows["length.value"] == ("a number", "20.0")
    assert "Rollout" in rows["objective"][0] and "Autoregressive" in rows["stepping"][0]
    assert rows["operator.width"][1] == "32" and rows["running.checkpoint_every"] == ("a whole number", "0")
    assert not {"operator.in_channels", "running.out", "running.callbacks"} & set(rows)
