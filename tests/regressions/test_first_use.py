"""What somebody with data, operators and objectives of their own meets first."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import sciml
from sciml.cli import main
from sciml.errors import InputError
from sciml.symmetry import Symmetry
from sciml.training import Recipe, Running, Steps
from sciml.training.batches import Batch, MemoryBatches
from sciml.training.encoding import Given, GridEncoding
from sciml.training.objectives import Objective, Supervised
from sciml.training.samples import open_data, table
from sciml.training.stepping import Autoregressive

TIMES = np.linspace(0.0, 1.0, 5)
QUIET = Running(progress=False, device="cpu")


def _line(length: float, fill: float = 0.0) -> sciml.Grid:
    mask = np.array([0] + [1] * 15, np.uint8)
    return sciml.Grid((np.linspace(0.0, length, 17),), mask=mask if np.isnan(fill) else None)


def _decay(length: float, fill: float = 0.0):
    """∂t T = ∂xx T on [0, length], from sin(πx/length)."""
    grid = _line(length, fill)
    values = np.exp(-TIMES * (np.pi / length) ** 2)[:, None] * np.sin(np.pi * grid.centres[0] / length)
    if np.isnan(fill):
        values[:, 0] = fill
    return sciml.data.solution(
        sciml.DataProblem("own", ["T"], dimensions=1).case(), TIMES, {"T": (("time", "x"), values)}, grid
    )


def test_values_outside_of_a_mask_may_be_anything():
    solution = _decay(1.0, np.nan)
    assert np.all(solution["T"].values[:, 0] == 0) and np.isfinite(solution["T"].values).all()
    model = sciml.solvers.Surrogate("fno", device="cpu", width=4, modes=(2,))
    model.fit([solution] * 3, Recipe(length=Steps(2)), validation=None, running=QUIET)
    case = sciml.data.case(sciml.data.pack([solution]), 0)[0]
    start = solution.isel(time=[0])
    spoilt = start.copy(deep=True)
    spoilt["T"].values[:, 0] = np.nan
    mine, its = (model.resume(case, s, TIMES[1:])["T"].values for s in (start, spoilt))
    np.testing.assert_array_equal(mine, its)


def test_the_size_of_a_domain_reaches_the_operator():
    solutions = [_decay(length) for length in (1.0, 2.0, 3.0, 4.0)]
    model = sciml.solvers.Surrogate("fno", device="cpu", width=4, modes=(2,))
    model.fit(solutions, Recipe(length=Steps(20)), validation=None, running=QUIET)
    assert model.encoding.features.names == ("step", "size_x")
    packed = sciml.data.pack(solutions)
    after = [
        model.resume(sciml.data.case(packed, i)[0], solutions[i].isel(time=[0]), TIMES[1:2])["T"].values for i in (0, 3)
    ]
    assert not np.allclose(*after)
    alike = sciml.solvers.Surrogate("fno", device="cpu", width=4, modes=(2,))
    alike.fit(solutions[:1] * 3, Recipe(length=Steps(2)), validation=None, running=QUIET)
    assert alike.encoding.features.names == ("step",)


def test_images_of_fields_with_scales_and_offsets_of_their_own():
    rng = np.random.default_rng(0)
    physical = rng.random((3, 1, 2, 4, 4))  # (batch, horizon, field, y, x)
    unit = np.array([[2.0, 0.5], [0.3, -1.0]])
    scale, offset = unit.reshape(2, 1, 1, 2, 1, 1)
    swap = Symmetry("swap", lambda case: case, swap=("x", "y"), odd=("u",), pairs=(("u", "v"),))
    batch = Batch(
        torch.from_numpy((physical - offset) / scale), torch.zeros(3, 1, 1, dtype=torch.float64), Given(),
        images=torch.zeros(3, 1, 1, 1, dtype=torch.float64), symmetries=(swap,), field_names=("u", "v"), unit=unit,
    )  # fmt: skip
    image = batch.mirrored(np.ones(3, bool), rng).target.numpy() * scale + offset
    np.testing.assert_allclose(image, np.stack([-physical[:, :, 1], physical[:, :, 0]], 2).swapaxes(-1, -2))


def test_batches_know_their_cases_and_times():
    solutions = [_decay(length) for length in (1.0, 2.0)]
    known = table(open_data(solutions)[0], None)
    encoding = GridEncoding.fit(known, Autoregressive())
    for batch in MemoryBatches(known, encoding, batch_size=3).epoch(0):
        assert [c.geometry.extents[0][1] for c in batch.cases] == pytest.approx(batch.given.lengths[:, 0].tolist())
        assert batch.start is not None and set(batch.start) <= set(TIMES[:-1])


def test_an_objective_around_an_objective_sees_cases():
    seen: list[tuple[float, float]] = []

    @dataclass(frozen=True)
    class _Around(Objective):
        objective: Objective = Supervised()  # noqa: RUF009
        weight: float = 0.1

        @property
        def horizon(self) -> int:
            return self.objective.horizon

        def __call__(self, predict, batch, share):
            made, _ = predict(predict.start(batch), batch, 0)
            size = torch.tensor([c.geometry.extents[0][1] for c in batch.cases], device=made.device)
            seen.extend(zip(size.tolist(), batch.start.tolist(), strict=True))
            return self.objective(predict, batch, share) + self.weight * (made.mean((1, 2)) / size).square().mean()

    model = sciml.solvers.Surrogate("fno", device="cpu", width=4, modes=(2,))
    recipe = Recipe(length=Steps(3), objective=_Around())
    model.fit([_decay(1.0), _decay(2.0)], recipe, validation=None, running=QUIET)
    assert {size for size, _ in seen} == {1.0, 2.0}


PLUGIN = """
from torch import nn
from sciml.contracts import GridBatch, Operator
from sciml.registry import operators

@operators.register("pointwise")
class Pointwise(Operator):
    takes, title, name = GridBatch, "Pointwise", "pointwise"

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.sizes = {"in_channels": in_channels, "out_channels": out_channels}
        self.map = nn.Linear(in_channels, out_channels)

    @classmethod
    def for_signature(cls, signature, **options):
        return cls(signature.channels_in, signature.channels_out, **options)

    def config(self):
        return self.sizes

    def forward(self, x, params=None, mask=None, coords=None):
        return self.map(x.movedim(1, -1)).movedim(-1, 1)
"""


def test_an_operator_from_a_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine.py").write_text(PLUGIN)
    sciml.data.write(sciml.data.pack([_decay(1.0), _decay(2.0)]), tmp_path / "own.h5")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sciml.cli", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    words = ("train", "own.h5", "--operator", "pointwise", "--out", "run", "--steps", "2", "--device", "cpu")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 2
    made = run("--import", "mine.py", *words)
    assert made.returncode == 0, made.stderr
    assert "2 steps" in made.stdout + made.stderr
    wrong = run("--import", "none.py", *words)
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and "none.py" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"fields": ["T", "T"]}, "given 2 times"),
        ({"fields": ["T"], "parameters": ["T"]}, "given 2 times"),
        ({"fields": ["a b"]}, "cannot be a name"),
        ({"fields": ["x"]}, "cannot be a name"),
        ({"fields": ["T"], "inputs": ["k"]}, "expected a InputSpec"),
    ],
)
def test_names_that_data_cannot_have(arguments, words):
    with pytest.raises(InputError, match=words):
        sciml.DataProblem("own", **arguments)


def test_supports_and_times_that_do_not_fit_the_problem():
    square = sciml.Grid((np.linspace(0, 1, 5),) * 2)
    problem = sciml.DataProblem("own", ["T"], dimensions=1)
    with pytest.raises(InputError, match="1 dimensions"):
        sciml.data.solution(problem.case(), TIMES, {"T": (("time", "y", "x"), np.zeros((5, 4, 4)))}, square)
    steady = sciml.DataProblem("own", ["T"], dimensions=2, steady=True)
    with pytest.raises(InputError, match="steady"):
        sciml.data.solution(steady.case(), TIMES, {"T": (("time", "y", "x"), np.zeros((5, 4, 4)))}, square)


def test_patience_needs_a_validation_split():
    model = sciml.solvers.Surrogate("fno", device="cpu", width=4, modes=(2,))
    with pytest.raises(InputError, match="patience"):
        model.fit([_decay(1.0)] * 2, Recipe(length=Steps(2), patience=2), validation=None, running=QUIET)
