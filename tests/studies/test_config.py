"""study.toml: what is written reads back equal, and what is mistyped is named in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sciml.errors import FileFormatError, InputError
from sciml.studies._candidates import Facts, Fitted, Trained, candidates, recipe_for
from sciml.studies._config import Config, read, to_toml
from sciml.studies._plan import Plan, surrogate_settings
from sciml.studies._split import InTime
from sciml.training import Autoregressive, Query, Recipe, Steps


def test_round_trip(tmp_path: Path):
    settings = surrogate_settings()
    plan = Plan("flare", {"frequencies": 10}, Recipe(length=Steps(7)), settings(stepping=Query(), validation=None))
    models = {
        "flare": Trained(plan), "pod": Fitted("pod_regression"),
        "fno": Trained(Plan("fno", {"modes": (3, 3)}, Recipe(), settings(stepping=Autoregressive(history=2)))),
    }  # fmt: skip
    config = Config(source="/a/b c.h5", minutes=2.5, split=InTime(5), operators=("fno", "flare"), seed=3)
    path = tmp_path / "study.toml"
    path.write_text(to_toml(config, models))
    found, its = read(path)
    assert found == config
    assert its == models
    assert to_toml(found, its) == path.read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("minuets = 3", "minutes"),
        ("minutes = 0", "minutes: expected a number > 0"),
        ('split = { kind = "InTime", peices = 3 }', "pieces"),
        ('[models.fno]\noperator = "fno"\nlr = 3', "models.fno: no setting is called 'lr'"),
        ('[models.fno]\noperator = "fno"\n[models.fno.recipe]\nbacth = 3', "batch"),
        ("[models.fno]\nstepping = 1", "models.fno.operator: expected a name"),
        ('[models."../x"]\noperator = "fno"', "names are folders"),
        ("models = 3", "models: expected a table"),
        ('operators = ["fno", "fno"]', "every name once"),
    ],
)
def test_what_is_mistyped_is_named_in_one_line(tmp_path: Path, text: str, words: str):
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and words in line and "\n" not in line


def test_no_toml_is_said_so(tmp_path: Path):
    (tmp_path / "study.toml").write_text("= 3")
    with pytest.raises(FileFormatError, match="expected TOML"):
        read(tmp_path / "study.toml")


def test_names_of_operators_are_checked():
    assert [c.name for c in candidates(("unet", "pod_regression"))] == ["unet", "pod_regression"]
    with pytest.raises(InputError, match="did you mean 'fno'"):
        candidates(("fnoo",))


def test_settings_follow_from_the_data():
    from sciml import registry

    fno, flare, graph = (registry.operators.get(n) for n in ("fno", "flare", "meshgraphnet"))
    small, large = Facts(10_000, 256, 20, True), Facts(10_000, 128**2, 20, True)
    assert recipe_for(fno, Autoregressive(), small).batch == 32
    assert recipe_for(fno, Autoregressive(), large).batch == 2  # about as many points
    assert recipe_for(fno, Autoregressive(), Facts(8, 256, 20, True)).batch == 2  # several batches an epoch
    asked = recipe_for(flare, Query(), large)
    assert asked.augmentations[0].points == 64 and asked.keep == "best"
    marching = recipe_for(flare, Autoregressive(), large)
    assert marching.augmentations[0].level == 0.02 and marching.objective.horizon == 3 and marching.keep == "last"
    assert recipe_for(graph, Autoregressive(), Facts(50, 50_000, 3, True)).batch == 1
    assert recipe_for(graph, Autoregressive(), Facts(50, 50_000, 3, True)).objective is None  # too short for three
