"""One model of several problems: trained, saved, asked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import sciml
from sciml import data
from sciml.errors import InputError
from sciml.problem import Case
from sciml.problems import Swirl, TaylorGreen
from sciml.solvers.foundation import FoundationModel
from sciml.support import Grid
from sciml.training import Running, Steps, Window
from sciml.training.callbacks import Callback
from sciml.training.families import FLOOR
from sciml.training.optimisers import AdamW
from sciml.training.recipe import Recipe

CELLS, STEP = 8, 0.05
TIMES = STEP * np.arange(7)
SMALL: dict[str, Any] = {
    "width": 16,
    "heads": 2,
    "hidden": 16,
    "patch": 4,
    "head": 4,
    "decoder_layers": 1,
    "fusion_layers": 1,
}


def solutions(cases: list[Case]) -> list[xr.Dataset]:
    found = []
    for case in cases:
        grid = Grid.uniform(case.geometry, CELLS)
        exact = {n: v for n, v in case.problem.exact(case, TIMES, grid.centres).items() if n in ("u", "v")}
        values = {n: (("time", *grid.dims), np.asarray(v, np.float32)) for n, v in exact.items()}
        found.append(data.solution(case, TIMES, values, grid, solver="exact", settings={}, status="ok"))
    return found


def packed(cases: list[Case]) -> xr.Dataset:
    parts = ["train"] * (len(cases) - 1) + ["validation"]
    return data.pack(solutions(cases), splits=parts)


@pytest.fixture(scope="module")
def swirl() -> xr.Dataset:
    return packed([Swirl().case(speed=s, width=0.08) for s in (0.6, 0.8, 1.0, 1.2)])


@pytest.fixture(scope="module")
def vortices() -> xr.Dataset:
    return packed([TaylorGreen().case(viscosity=m) for m in (0.01, 0.02, 0.03, 0.04)])


def recipe(steps: int = 4, seed: int = 0) -> Recipe:
    return Recipe(length=Steps(steps), batch=4, optimiser=AdamW(lr=2e-3), seed=seed)


@pytest.fixture(scope="module")
def model(swirl: xr.Dataset, vortices: xr.Dataset) -> Iterator[FoundationModel]:
    found = FoundationModel(Window(2, 3), device="cpu", **SMALL)
    yield found.fit([swirl, vortices], recipe(), running=Running(progress=False, device="cpu"))


def test_the_comparison_that_is_told_numbers_alone(swirl: xr.Dataset, vortices: xr.Dataset, tmp_path: Path) -> None:
    found = FoundationModel(Window(2, 3), symbols="parameters", device="cpu", **SMALL)
    found.fit([swirl, vortices], recipe(2), running=Running(progress=False, device="cpu")).save(tmp_path / "run")
    again = sciml.load(tmp_path / "run", device="cpu")
    assert again.title == "PROSE-FD with parameters for symbols"
    one, other = (again.families["reversing_swirl"].words(Swirl().case(speed=s, width=0.08)) for s in (0.7, 0.9))
    assert np.array_equal(one[0], other[0]) and not np.array_equal(one[1], other[1])


def test_it_answers_the_cases_of_each_problem(model: FoundationModel) -> None:
    assert set(model.families) == {"reversing_swirl", "taylor_green"} and model.problem is None
    assert {"validation_reversing_swirl", "validation_taylor_green"} <= set(model.metrics[-1])
    answer = model.solve(TaylorGreen().case(viscosity=0.02), [0.0, 0.05, 0.07, 0.3])
    assert answer["v"].shape == (4, CELLS, CELLS)
    swirled = model.solve(Swirl().case(speed=0.7, width=0.08), [0.1])
    assert "v" not in swirled and np.isfinite(swirled["u"].values).all()


def test_times_do_not_depend_on_which_others_are_asked(model: FoundationModel) -> None:
    case = TaylorGreen().case(viscosity=0.02)
    many, few = model.solve(case, [0.05, 0.1, 0.13, 0.25]), model.solve(case, [0.13, 0.25])
    np.testing.assert_allclose(many["u"].sel(time=few["time"]).values, few["u"].values, rtol=0, atol=2e-6)


def test_a_restart_goes_on_as_the_answer_does(model: FoundationModel) -> None:
    case = TaylorGreen().case(viscosity=0.02)
    whole = model.solve(case, [0.05, 0.1, 0.15, 0.2, 0.3])
    on = model.resume(case, whole.isel(time=slice(0, 3)), [0.2, 0.3])
    np.testing.assert_allclose(on["u"].values, whole["u"].values[3:], rtol=0, atol=1e-5)


def test_saved_and_loaded_it_is_the_same(model: FoundationModel, tmp_path: Path) -> None:
    model.save(tmp_path / "run")
    again = sciml.load(tmp_path / "run", device="cpu")
    assert isinstance(again, FoundationModel) and again.settings == model.settings
    for case in (TaylorGreen().case(viscosity=0.02), Swirl().case(speed=0.7, width=0.08)):
        assert np.array_equal(again.solve(case, [0.1])["u"].values, model.solve(case, [0.1])["u"].values)


def test_an_interrupted_run_ends_with_the_same_weights(
    swirl: xr.Dataset, vortices: xr.Dataset, model: FoundationModel, tmp_path: Path
) -> None:
    first = FoundationModel(Window(2, 3), device="cpu", **SMALL)

    class Halt(Callback):
        def on_step(self, trainer: Any, record: Any) -> None:
            if trainer.step == 3:
                raise KeyboardInterrupt

    how: dict[str, Any] = {"out": tmp_path / "run", "progress": False, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        first.fit([swirl, vortices], recipe(), running=Running(**how, callbacks=(Halt(),), checkpoint_every=1))
    again = FoundationModel(Window(2, 3), device="cpu", **SMALL)
    again.fit([swirl, vortices], recipe(), running=Running(**how, resume=True))
    pairs = zip(again.operator.parameters(), model.operator.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_an_even_field_is_not_blown_up(model: FoundationModel) -> None:
    family = model.families["taylor_green"]
    case = TaylorGreen().case(viscosity=0.02)
    state = torch.full((1, 2, 2, CELLS, CELLS), 0.5)
    state[..., 0, 0] += 1e-9
    ahead = torch.tensor([[1.0]])
    given, _, spread = family.batch([case], [family.words(case)], state, torch.tensor([2]), None, ahead)
    assert float(spread.min()) >= FLOOR * (1 - 1e-6) and float(given.x.abs().max()) < 1e-4


def test_a_problem_that_nobody_trained_on(swirl: xr.Dataset, vortices: xr.Dataset) -> None:
    alone = FoundationModel(Window(2, 3), device="cpu", **SMALL)
    alone.fit(vortices, recipe(1), running=Running(progress=False, device="cpu"))
    case = Swirl().case(speed=0.7, width=0.08)
    with pytest.raises(InputError, match="cannot solve"):
        alone.solve(case, [0.1])
    both = alone.introduced(swirl)
    assert np.isfinite(both.solve(case, [0.1])["u"].values).all() and not alone.supports(case.problem)


def test_bad_input_has_one_clear_line(swirl: xr.Dataset, vortices: xr.Dataset, model: FoundationModel) -> None:
    new = FoundationModel(Window(2, 3), device="cpu", **SMALL)
    with pytest.raises(InputError, match="two data sets are of 'reversing_swirl'"):
        new.fit([swirl, swirl], recipe())
    with pytest.raises(InputError, match="one a problem"):
        new.fit([], recipe())
    with pytest.raises(InputError, match="has not been trained"):
        _ = new.operator
    one = FoundationModel(Window(2, 3), device="cpu", **SMALL)
    one.fit(swirl, recipe(1), running=Running(progress=False, device="cpu"))
    with pytest.raises(InputError, match="the model knows the fields u"):
        one.introduced(vortices)
    with pytest.raises(InputError, match="the model knows reversing_swirl already"):
        one.introduced(swirl)
    with pytest.raises(InputError, match="from that of the frame on"):
        frame = model.solve(TaylorGreen().case(viscosity=0.02), [0.2])
        model.resume(TaylorGreen().case(viscosity=0.02), frame, [0.1])
