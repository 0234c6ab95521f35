"""A recipe goes through JSON, TOML and text unchanged, and is read without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sciml
from sciml.errors import FileFormatError, InputError
from sciml.training import losses, objectives, optimisers, schedules
from sciml.training import recipe as module
from sciml.training.augmentations import Augmented, Mirror, Noise
from sciml.training.recipe import Epochs, Minutes, Recipe, Running, Starts, Steps, Uniform

positive = st.floats(1e-300, 1e300)
share = st.floats(0, 1)
below_one = st.floats(0, 1, exclude_max=True)
floors = st.floats(0, 10)
a_loss = st.one_of(
    st.just(losses.Mse()), st.builds(losses.Nmse, floors), st.builds(losses.SampleNmse, floors),
    st.builds(losses.RelativeL2, floors), st.builds(losses.H1, floors, floors),
)  # fmt: skip
adaptive = {"lr": positive, "betas": st.tuples(below_one, below_one), "clip": floors, "average": below_one}
recipes = st.builds(
    Recipe,
    length=st.builds(Epochs, positive) | st.builds(Steps, st.integers(1, 2**70)) | st.builds(Minutes, positive),
    batch=st.integers(1, 10**9),
    objective=st.one_of(
        st.none(),
        st.builds(objectives.Supervised, st.none() | a_loss),
        st.builds(objectives.Rollout, st.none() | a_loss, st.integers(1, 99), share, st.sampled_from(("all", "last"))),
    ),
    augmentations=st.lists(st.one_of(st.builds(Noise, floors), st.builds(Mirror, share)), max_size=3),
    optimiser=st.one_of(
        st.builds(optimisers.AdamW, **adaptive),
        st.builds(optimisers.Adam, **adaptive),
        st.builds(optimisers.SGD, lr=positive, momentum=below_one),
    ),
    schedule=st.one_of(
        st.builds(schedules.OneCycle, below_one, share, share), st.builds(schedules.Cosine, below_one, share, share),
        st.builds(schedules.Linear, below_one, share, share), st.builds(schedules.Constant, below_one, share),
    ),
    sampler=st.one_of(st.just(Uniform()), st.builds(Starts, st.integers(1, 50))),
    precision=st.sampled_from(("float32", "float64", "bfloat16")),
    keep=st.sampled_from(("last", "best")),
    validate_every=st.integers(0, 10**6),
    validation_items=st.integers(1, 10**6),
    patience=st.integers(0, 100),
    seed=st.integers(0, 2**63 - 1),
)  # fmt: skip


@given(recipes)
@settings(max_examples=150, deadline=None)
def test_round_trips(recipe):
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    from sciml.training.assignments import shown

    assert Recipe().with_settings([f"{f.name}={shown(getattr(recipe, f.name))}" for f in fields(recipe)]) == recipe
    assert hash(recipe.without_seed()) == hash(recipe.replace(seed=0)) and recipe.without_seed().seed == 0


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(("kind", "length", "objective", "optimiser", "value", "lr", "loss", "augmentations")) | st.text(
            max_size=4), inner, max_size=4),
))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_strange_content_is_refused_in_one_line(content):
    try:
        Recipe.from_json(content)
    except InputError as error:
        assert len(str(error).splitlines()) <= 1 or "\n" in repr(content)


def test_toml_by_hand(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(
        'batch = 4\nseed = 3\n[length]\nkind = "Minutes"\nvalue = 2\n[objective]\nkind = "Rollout"\nsteps = 3\n'
        '[objective.loss]\nkind = "Nmse"\n[[augmentations]]\nkind = "Noise"\n[optimiser]\nkind = "AdamW"\nlr = 1\n'
    )
    expected = Recipe(Minutes(2), 4, objectives.Rollout(losses.Nmse(), 3), (Noise(),), optimisers.AdamW(lr=1.0), seed=3)
    assert Recipe.from_toml(path) == Recipe.from_toml(str(path)) == Recipe.from_toml(path.read_text()) == expected
    assert Recipe.from_toml("") == Recipe()
    path.write_text("batch = 0")
    with pytest.raises(InputError, match=r"recipe\.toml: batch: expected a whole number >= 1, got 0"):
        Recipe.from_toml(path)
    with pytest.raises(FileFormatError, match="expected TOML"):
        Recipe.from_toml("batch =")
    with pytest.raises(FileFormatError, match="expected TOML"):
        Recipe.from_toml("x = " + "[" * 10000)
    with pytest.raises(InputError, match="cannot be read"):
        Recipe.from_toml("nowhere.toml")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no UTF-8"):
        Recipe.from_toml(path)


def test_from_the_readme():
    recipe = Recipe().with_settings(
        ["objective=Rollout(steps=3, after=0.8)", "optimiser.lr=1e-3", "length=Minutes(2)",
         "augmentations=Noise(level=0.02),Mirror()", "keep=best", "seed=4"]
    )  # fmt: skip
    assert recipe == Recipe(
        length=sciml.Minutes(2), objective=objectives.Rollout(steps=3, after=0.8),
        optimiser=optimisers.AdamW(lr=1e-3), augmentations=(Noise(0.02), Mirror()), keep="best", seed=4,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"objective\.steps: objective is None.*Rollout\(steps=\.\.\.\)"):
        Recipe().with_settings(["objective.steps=3"])
    with pytest.raises(InputError, match=r"did you mean 'optimiser\.lr'"):
        Recipe().with_settings(["lr=3"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Recipe(length=20), "length: expected one of Epochs, Minutes, ProcessorMinutes, Steps, got 20"),
        (lambda: Steps(0), "value: expected a whole number >= 1, got 0"),
        (lambda: Steps(2.5), "value: expected a whole number, got 2.5"),
        (lambda: Epochs(0), "value: expected a number > 0"),
        (lambda: Minutes(10**400), "value: expected a number"),
        (lambda: Recipe(batch=0), "batch"),
        (lambda: Recipe(precision="half"), "precision: expected 'float32' or 'float64' or 'bfloat16', got 'half'"),
        (lambda: Recipe(keep="first"), "keep"),
        (lambda: Recipe(seed=-1), "seed: expected a whole number >= 0"),
        (lambda: Recipe(seed=2**63), "seed"),
        (lambda: Recipe(augmentations=(3,)), r"augmentations\[0\]: expected one of Mirror, Noise, Subsample, got 3"),
        (lambda: optimisers.AdamW(lr=-1.0), "lr: expected a number > 0, got -1"),
        (lambda: optimisers.AdamW(lr=float("nan")), "lr"),
        (lambda: optimisers.AdamW(average=1.0), "average: expected a number >= 0 and < 1"),
        (lambda: optimisers.AdamW(betas=(0.9,)), "betas: expected 2 numbers"),
        (lambda: optimisers.Adam(betas=(0.9, 1.0)), "betas"),
        (lambda: optimisers.SGD(momentum=1.0), "momentum"),
        (lambda: schedules.OneCycle(warmup=1.0), "warmup: expected a number >= 0 and < 1"),
        (lambda: objectives.Rollout(steps=0), "steps"),
        (lambda: objectives.Rollout(after=1.5), "after"),
        (lambda: objectives.Rollout(gradient="some"), "gradient: expected 'all' or 'last'"),
        (lambda: Starts(0), "times"),
        (lambda: Running(checkpoint_every=-1), "checkpoint_every: expected a whole number >= 0"),
        (lambda: Running(memory_limit="1 GB"), "memory_limit"),
    ],
)
def test_values_are_checked(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_lengths():
    assert Epochs(2.5).steps(8) == 20 and Epochs(0.01).steps(8) == 1 and Steps(7).steps(8) == 7
    assert Minutes(2).steps(8) is None and Minutes(2).seconds == 120 and Steps(7).seconds is None
    assert Steps(8).extends(Steps(7)) and Epochs(2).extends(Epochs(1.5))
    assert not any((Steps(7).extends(Steps(7)), Steps(9).extends(Epochs(1)), Minutes(2).extends(Minutes(1))))


def test_samplers():
    first = np.array([True, False, False, True])
    assert Uniform().repeats(first).tolist() == [1, 1, 1, 1] and Starts(3).repeats(first).tolist() == [3, 1, 1, 3]


class Values:
    """A batch that notes what is done to it."""

    def __init__(self, values, done=()):
        self.values, self.done = values, done

    def __len__(self):
        return len(self.values)

    def mirrored(self, which, generator):
        return Values(np.where(which, -self.values, self.values), (*self.done, "mirrored"))

    def disturbed(self, level, generator):
        return Values(self.values + level * generator.normal(size=len(self)), (*self.done, "disturbed"))


def test_augmentations_depend_on_seed_epoch_and_index_alone():
    class Source:
        def __len__(self):
            return 4

        def epoch(self, epoch, start=0):
            for _ in range(start, 4):
                yield Values(np.ones(6))

    def drawn(seed, epoch, start=0):
        return [b.values.tolist() for b in Augmented(Source(), (Mirror(), Noise(0.1)), seed).epoch(epoch, start)]

    assert drawn(0, 0) == drawn(0, 0) and drawn(0, 1, 2) == drawn(0, 1)[2:]
    assert drawn(0, 0) != drawn(1, 0) and drawn(0, 0) != drawn(0, 1) and drawn(0, 0)[0] != drawn(0, 0)[1]
    batch = next(iter(Augmented(Source(), (Mirror(), Noise(0.1))).epoch(0)))
    assert batch.done == ("mirrored", "disturbed")
    assert (Mirror(1.0)(Values(np.ones(3)), np.random.default_rng(0)).values == -1).all()
    assert Noise(0.0)(batch, np.random.default_rng(0)) is batch


def test_a_recipe_is_read_without_torch():
    code = (
        "import sys, sciml; r = sciml.Recipe.from_toml('keep = \"best\"').with_settings(['objective=Rollout(H1())']);"
        "r.to_toml(); assert not {'torch', 'jax', 'xarray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_public_names():
    for name in ("Recipe", "Running", "Minutes", "Steps", "Epochs"):
        assert getattr(sciml, name) is getattr(module, name)
