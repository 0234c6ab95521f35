"""The loop: it learns, averages, stops early, stops at NaN, and survives being killed with nothing lost."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from toy_task import Batches, loss, model, recipe, trainer, validate

from sciml.errors import FileFormatError, InputError, TrainingError
from sciml.training import (
    Callback,
    EarlyStopping,
    MetricsLog,
    Minutes,
    ProcessorMinutes,
    Running,
    TensorBoard,
    Trainer,
    device,
    optimisers,
    schedules,
)
from sciml.training.budget import Budget
from sciml.training.checkpoint import digest, read_tensors, write_tensors
from sciml.training.devices import flushes_denormals, move

TOY = Path(__file__).with_name("toy_task.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_it_learns_and_returns_the_average():
    run = trainer(recipe(steps=400))
    trained = run.fit(Batches(), validate)
    assert validate(trained)["validation"] < 0.15 * validate(model().eval())["validation"]
    assert run.ema is not None and trained is run.ema.model and not trained.training
    assert [r["step"] for r in run.history] == list(range(20, 401, 20))


def test_keep_best():
    """With a learning rate that ruins the model in the end, `best` gives the weights from before."""
    ruinous = recipe(100, 0.5, average=0, clip=0, schedule=schedules.Linear(warmup=0.99), keep="best")
    run = trainer(ruinous)
    kept = run.fit(Batches(), validate)
    figures = [r["validation"] for r in run.history]
    assert validate(kept)["validation"] == pytest.approx(min(figures))
    assert min(figures) < 0.8 * figures[-1]
    with pytest.raises(InputError, match="validation split"):
        trainer(ruinous).fit(Batches())


def test_every_optimizer_and_schedule_lowers_the_loss():
    start = validate(model().eval())["validation"]
    kinds = (schedules.OneCycle(), schedules.Cosine(), schedules.Linear(), schedules.Constant())
    for optimiser in (optimisers.AdamW(lr=1e-2), optimisers.Adam(lr=1e-2), optimisers.SGD(lr=0.05)):
        for schedule in kinds:
            found = trainer(recipe(optimiser=optimiser, schedule=schedule)).fit(Batches())
            assert validate(found)["validation"] < 0.6 * start, (optimiser, schedule)


def test_weight_decay_spares_vectors():
    run = trainer(recipe(weight_decay=0.5))
    sizes = {g["weight_decay"]: sorted(p.ndim for p in g["params"]) for g in run.optimizer.param_groups}
    assert sizes == {0.5: [2, 2], 0.0: [1, 1]}


def test_clipping():
    seen = []

    class Watch(Callback):
        def on_step(self, trainer, record):
            norm = torch.nn.utils.get_total_norm([p.grad for p in trainer.model.parameters()])
            seen.append((record["gradient_norm"], float(norm)))

    trainer(recipe(20, clip=0.01), callbacks=(Watch(),)).fit(Batches())
    assert all(after <= 0.01 * (1 + 1e-4) for _, after in seen) and any(before > 0.02 for before, _ in seen)


def test_early_stopping():
    class Script:
        values = iter([5.0, 4.0, 4.5, 3.9, 4.0, 4.1, 4.2, 1.0])

        def __call__(self, network):
            return {"validation": next(self.values)}

    run = trainer(recipe(validate_every=2, patience=3))
    run.fit(Batches(), Script())
    assert run.step == 14 and "3 validations" in run.stopped
    with pytest.raises(InputError, match="patience"):
        EarlyStopping(0)


@pytest.mark.parametrize("what", ["batch", "weight", "gradient"])
def test_nan_stops_with_step_tensor_and_checkpoint(tmp_path, what):
    class Poisoned(Batches):
        def epoch(self, epoch, start=0):
            for i, b in enumerate(super().epoch(epoch, start)):
                if what == "batch" and epoch == 1 and i + start == 2:
                    b["x"][1, 3] = math.nan
                yield b

    def bad_loss(network, batch, share):
        value = loss(network, batch, share)
        if what == "gradient" and share >= 10 / 120:
            value = value + torch.sqrt((network[3].bias * 0).sum())  # √0: an infinite slope times zero
        return value

    class Break(Callback):
        def on_step(self, trainer, record):
            if what == "weight" and record["step"] == 10:
                with torch.no_grad():
                    trainer.model[3].weight[0, 0] = math.inf

    run = trainer(recipe(), tmp_path, loss=bad_loss, checkpoint_every=5, callbacks=(Break(),))
    with pytest.raises(TrainingError) as error:
        run.fit(Poisoned())
    text = str(error.value)
    assert "step 11" in text and "last.safetensors (step 10)" in text
    assert {"batch": "batch.x", "weight": "weight 3.weight", "gradient": "gradient of 3.bias"}[what] in text
    if what != "weight":
        tensors, state = read_tensors(tmp_path / "checkpoints" / "last.safetensors")
        assert state["step"] == 10 and all(torch.isfinite(t.double()).all() for t in tensors.values())


def test_resume_in_the_same_process_is_bit_exact(tmp_path):
    whole = trainer(recipe(), tmp_path / "a", checkpoint_every=7).fit(Batches(), validate)

    class Kill(Callback):
        def on_step(self, trainer, record):
            if record["step"] == 45:
                raise KeyboardInterrupt

    (tmp_path / "b").mkdir()
    log = MetricsLog(tmp_path / "b" / "metrics.jsonl", every=1)
    with pytest.raises(KeyboardInterrupt):
        trainer(recipe(), tmp_path / "b", checkpoint_every=7, callbacks=(Kill(), log)).fit(Batches(), validate)
    log = MetricsLog(tmp_path / "b" / "metrics.jsonl", every=1)
    second = trainer(recipe(), tmp_path / "b", network=model(9), checkpoint_every=5, callbacks=(log,), resume=True)
    torch.manual_seed(12345)
    resumed = second.fit(Batches(), validate)
    assert digest(resumed.state_dict()) == digest(whole.state_dict())
    steps = [json.loads(x)["step"] for x in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == list(range(1, 121)) and len(steps) == 120 + 20
    third = trainer(recipe(), tmp_path / "b", resume=True).fit(Batches())
    assert digest(third.state_dict()) == digest(whole.state_dict())  # a finished run is left as it is


def test_resume_refuses_another_recipe(tmp_path):
    trainer(recipe(10), tmp_path).fit(Batches())
    for change, message in [
        ({"lr": 0.1}, r"resume: optimiser\.lr is 0\.1, but .* 0\.01"),
        ({"steps": 9}, r"resume: length\.value is 9, but .* 10"),
        ({"length": Minutes(1)}, r"resume: length is Minutes\(value=1\.0\), but .* Steps\(value=10\)"),
        ({"steps": 20, "seed": 4}, r"resume: seed is 4, but .* 3"),
    ]:
        with pytest.raises(InputError, match=message):
            trainer(recipe(**({"steps": 10} | change)), tmp_path, resume=True).fit(Batches())
    with pytest.raises(InputError, match="the data are not the same"):
        trainer(recipe(10), tmp_path, resume=True).fit(Batches(n=80))
    with pytest.raises(InputError, match="run directory"):
        trainer(recipe(10), resume=True).fit(Batches())


def test_a_longer_length_continues_the_run(tmp_path):
    trainer(recipe(30), tmp_path).fit(Batches(), validate)
    seen = []

    class Watch(Callback):
        def on_step(self, trainer, record):
            seen.append((record["step"], record["lr"]))

    run = trainer(recipe(90), tmp_path, callbacks=(Watch(),), resume=True)
    trained = run.fit(Batches(), validate)
    assert [step for step, _ in seen] == list(range(31, 91))
    assert seen[0][1] == 1e-2 * schedules.OneCycle().at(30, 90)  # the schedule is that of the new total
    again = trainer(recipe(90), tmp_path, resume=True).fit(Batches(), validate)
    assert digest(again.state_dict()) == digest(trained.state_dict())


def test_state_of_callbacks_does_not_depend_on_who_else_watches(tmp_path):
    class Count(Callback):
        def __init__(self, kill=0):
            self.steps, self.kill = 0, kill

        def on_step(self, trainer, record):
            self.steps += 1
            if record["step"] == self.kill:
                raise KeyboardInterrupt

        def state(self):
            return self.steps

        def restore(self, state):
            self.steps = state

    r = recipe(40, validate_every=5, patience=50)
    with pytest.raises(KeyboardInterrupt):
        trainer(r, tmp_path, checkpoint_every=4, callbacks=(Callback(), Count(13))).fit(Batches(), validate)
    counts = (Count(), Count())
    run = trainer(r, tmp_path, callbacks=counts, resume=True)
    run.fit(Batches(), validate)
    assert counts[0].steps == 40 and counts[1].steps == 28
    assert run.callbacks[0].best == min(h["validation"] for h in run.history)


def run_toy(out, pause):
    return subprocess.Popen(
        [sys.executable, str(TOY), str(out), str(pause)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def test_kill_nine_loses_nothing(tmp_path):
    """A real process, killed at random instants until it happens to finish, ends with the bytes of one left alone."""
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    alone = run_toy(tmp_path / "whole", 0)
    alone.communicate(timeout=120)
    assert alone.returncode == 0
    rng = random.Random(7)
    steps, kills = [], 0
    for attempt in range(40):
        process = run_toy(tmp_path / "killed", 6 if attempt < 4 else 0)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        if attempt < 4:
            time.sleep(rng.uniform(0.02, 0.4))
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        process.communicate()
        last = tmp_path / "killed" / "checkpoints" / "last.safetensors"
        if last.exists():
            steps.append(read_tensors(last)[1]["step"])  # always whole, always readable
        if process.returncode == 0:
            break
    assert kills == 4 and steps == sorted(steps) and steps[-1] == 120
    assert any(0 < s < 120 for s in steps), "no kill came in the middle of the run"
    for name in ("last.safetensors", "best.safetensors"):
        a, b = (tmp_path / run / "checkpoints" / name for run in ("whole", "killed"))
        assert digest(read_tensors(a)[0]) == digest(read_tensors(b)[0]), name
    whole, killed = ((tmp_path / run / "metrics.jsonl").read_text() for run in ("whole", "killed"))
    assert whole == killed


def test_minutes_are_turned_into_steps(tmp_path):
    def slow(network, batch, share):
        time.sleep(0.01)
        return loss(network, batch, share)

    short = recipe(length=Minutes(0.02))
    run = trainer(short, tmp_path, loss=slow, checkpoint_every=5)
    began = time.monotonic()
    run.fit(Batches())
    assert 40 <= run.total_steps <= 116 and time.monotonic() - began < 6
    assert read_tensors(tmp_path / "checkpoints" / "last.safetensors")[1]["total_steps"] == run.total_steps
    again = trainer(short, tmp_path, resume=True)
    again.fit(Batches())
    assert again.total_steps == run.total_steps  # stored, not measured anew


def test_minutes_of_the_processor_do_not_count_what_others_do():
    """Steps that wait cost nothing: of those there are as many as of steps that do not wait."""
    counts = []
    for wait in (0.0, 0.02):

        def slow(network, batch, share, wait=wait):
            began = time.process_time()
            while time.process_time() < began + 0.01:
                pass
            time.sleep(wait)
            return loss(network, batch, share)

        run = trainer(recipe(length=ProcessorMinutes(0.02)), loss=slow)
        began = time.monotonic()
        run.fit(Batches())
        counts.append(run.total_steps)
    assert time.monotonic() - began > 2 * 0.02 * 60
    assert 0.75 < counts[1] / counts[0] < 1.33 and counts[0] > 60


def test_the_number_of_steps_is_corrected_by_what_they_take(tmp_path):
    """Steps that are three times as slow in the run as when they were timed: the run ends in time all the same."""
    run = trainer(recipe(length=Minutes(0.05)), tmp_path)
    run._cost = lambda batches, seconds: (0.005,) * 8 + (0.01,) * 2

    def slow(network, batch, share):
        time.sleep(0.015 if share < 0.8 else 0.03)
        return loss(network, batch, share)

    run.loss = slow
    began, planned = time.monotonic(), []

    class Watch(Callback):
        def on_step(self, trainer, record):
            planned.append(trainer.total_steps)

        def on_checkpoint(self, trainer, path):
            planned.append(-trainer.total_steps)

    run.callbacks.append(Watch())
    run.fit(Batches())
    assert -planned[0] == planned[1] and 485 <= planned[1] <= 490  # 2.94 s of steps of 6 ms
    at = next(i for i, n in enumerate(planned) if n != planned[1] and i > 0)
    assert at - 1 == 49 and planned[at] == -planned[at + 1] < 0  # corrected after a tenth, and stored at once
    assert run.step == run.total_steps < 200
    assert 2 < time.monotonic() - began < 4


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7])
def test_a_machine_that_changes_its_pace_is_followed(factor):
    """On a made-up clock: other work comes in at two fifths of the time, and late steps cost what was not foretold."""
    budget = Budget(100.0, (0.01,) * 8 + (0.02,) * 2, extra=0.001, fixed=2.0)
    step, total, spent, elapsed, corrections = 0, budget.steps, 0.0, 0.0, 0
    while step < total:
        share = step / total
        cost = (0.01 if share < 0.8 else 0.03) * (factor if elapsed > 40 else 1.0)
        step, spent, elapsed = step + 1, spent + cost, elapsed + cost + 0.001 + 2.0 / total
        if budget.due(step, total):
            total, corrections = budget.corrected(step, total, spent, elapsed), corrections + 1
    assert elapsed == pytest.approx(100, rel=0.03) and corrections >= 9


def test_calibration_leaves_no_trace():
    run = trainer(recipe(length=Minutes(1)))
    run.steps_per_epoch = 8
    before, rng = digest(run.model.state_dict()), torch.get_rng_state()
    assert all(seconds > 0 for seconds in run._cost(Batches(), 60.0))
    assert digest(run.model.state_dict()) == before and torch.equal(torch.get_rng_state(), rng)
    assert not run.optimizer.state


def test_mixed_precision_keeps_weights_in_float32():
    seen = []

    def watched(network, batch, share):
        out = network(batch["x"])
        seen.append(out.dtype)
        return ((out.float() - batch["y"]) ** 2).mean()

    trained = trainer(recipe(300, precision="bfloat16"), loss=watched).fit(Batches())
    assert set(seen) == {torch.bfloat16} and all(p.dtype == torch.float32 for p in trained.parameters())
    assert validate(trained)["validation"] < 0.3 * validate(model().eval())["validation"]


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    trainer(recipe(20), callbacks=(TensorBoard(tmp_path),)).fit(Batches(), validate)
    assert any(p.name.startswith("events") and p.stat().st_size > 200 for p in tmp_path.iterdir())


def test_checkpoint_files(tmp_path):
    tensors = {"b": torch.arange(4.0), "a": torch.zeros(2, 2, dtype=torch.int64), "s": torch.tensor(3.0)}
    path = tmp_path / "x.safetensors"
    write_tensors(path, tensors, {"step": 3, "value": 0.1})
    first = path.read_bytes()
    write_tensors(path, dict(reversed(tensors.items())), {"value": 0.1, "step": 3})
    assert path.read_bytes() == first and list(tmp_path.iterdir()) == [path]
    back, state = read_tensors(path)
    assert digest(back) == digest(tensors) and state == {"step": 3, "value": 0.1}
    rng = np.random.default_rng(0)
    for cut in (0, 4, 8, 40, len(first) - 1):
        path.write_bytes(first[:cut])
        with pytest.raises(FileFormatError, match=r"x\.safetensors"):
            read_tensors(path)
    for _ in range(200):
        noise = bytearray(first)
        noise[int(rng.integers(0, 60))] = int(rng.integers(0, 256))
        path.write_bytes(noise)
        try:
            read_tensors(path)
        except FileFormatError:
            pass
    with pytest.raises(InputError, match="cannot be read"):
        read_tensors(tmp_path / "nothing")


def test_failed_write_leaves_the_former_file(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.ones(3)})
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match="No space left"):
        write_tensors(path, {"a": torch.zeros(30)})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_frozen_model_is_an_error():
    with pytest.raises(InputError, match="trainable"):
        trainer(recipe(1), network=nn.Linear(2, 2).requires_grad_(False))


def test_batches_that_are_none():
    with pytest.raises(InputError, match="batch: 8 leaves no batch"):
        trainer(recipe(1)).fit(Batches(n=4))


# -- what is the caller's ----------------------------------------------------------------------------------------


def test_random_numbers_of_the_caller_are_left_alone():
    drawn = []
    for seed in (1, 2):
        network = model()
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        trained = trainer(recipe(10), network=network).fit(Batches())
        assert torch.equal(torch.get_rng_state(), before)
        drawn.append((torch.rand(2).tolist(), digest(trained.state_dict())))
    assert drawn[0][0] != drawn[1][0]  # the caller's seeds still matter to the caller
    assert drawn[0][1] == drawn[1][1]  # and not to training
    assert digest(trainer(recipe(10, seed=4)).fit(Batches()).state_dict()) != drawn[0][1]


def test_random_numbers_come_back_after_an_error():
    torch.manual_seed(5)
    network, before = model(), torch.get_rng_state()
    with pytest.raises(TrainingError):
        trainer(recipe(10), network=network, loss=lambda m, b, s: loss(m, b, s) * math.nan).fit(Batches())
    assert torch.equal(torch.get_rng_state(), before) and not flushes_denormals()


@pytest.mark.parametrize("flush", [True, False])
def test_denormals_of_the_caller_are_left_alone(flush):
    seen = []

    class Watch(Callback):
        def on_step(self, trainer, record):
            seen.append(flushes_denormals())

    torch.set_flush_denormal(flush)
    try:
        trainer(recipe(2), callbacks=(Watch(),)).fit(Batches())
        assert flushes_denormals() is flush and seen == [True, True]
    finally:
        torch.set_flush_denormal(False)


def test_under_no_grad_and_inference_mode():
    expected = digest(trainer(recipe(10)).fit(Batches(), validate).state_dict())
    with torch.no_grad():
        found = trainer(recipe(10)).fit(Batches(), validate)
        assert not torch.is_grad_enabled() and digest(found.state_dict()) == expected
    network = model()
    with torch.inference_mode():
        found = trainer(recipe(10), network=network).fit(Batches(), validate)
        assert torch.is_inference_mode_enabled() and digest(found.state_dict()) == expected
        with pytest.raises(InputError, match="inference_mode"):
            trainer(recipe(10))  # a model that is made inside has weights that can never be trained


def test_default_dtype_of_the_caller():
    expected = digest(trainer(recipe(10)).fit(Batches(), validate).state_dict())
    network = model()
    torch.set_default_dtype(torch.float64)
    try:
        found = trainer(recipe(10), network=network).fit(Batches(), validate)
    finally:
        torch.set_default_dtype(torch.float32)
    assert digest(found.state_dict()) == expected


# -- precision and devices ---------------------------------------------------------------------------------------


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((2, 6), 0.1 + 0.2j))

    def forward(self, x):
        return (x.to(self.weight.dtype) @ self.weight.T).real


@pytest.mark.parametrize("make", [model, Complex])
def test_double_precision(make):
    seen = []

    def watched(network, batch, share):
        seen.append({v.dtype for v in batch.values()})
        return loss(network, batch, share)

    trained = trainer(recipe(20, precision="float64"), network=make(), loss=watched).fit(Batches())
    assert all(s == {torch.float64} for s in seen)
    assert {p.dtype for p in trained.parameters()} <= {torch.float64, torch.complex128}
    if make is Complex:
        assert bool((trained.weight.imag != 0).all())


def test_what_is_moved():
    class Own:
        def to(self, where, dtype=None):
            return ("moved", where, dtype)

    cpu = torch.device("cpu")
    batch = {"x": [torch.ones(2), (torch.ones(2, dtype=torch.int64),)], "own": Own(), "name": "a", "none": None}
    moved = move(batch, cpu, torch.float64)
    assert moved["x"][0].dtype == torch.float64 and moved["x"][1][0].dtype == torch.int64
    assert moved["own"] == ("moved", cpu, torch.float64) and moved["name"] == "a" and moved["none"] is None
    assert move(torch.ones(2, dtype=torch.complex64), cpu, torch.float64).dtype == torch.complex128
    same = torch.ones(2)
    assert move(same, cpu) is same


def test_devices():
    assert device("cpu").type == "cpu" and device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    for wrong in ("gpu", "cuda:77", "", "meta"):
        with pytest.raises(InputError, match=f"device: expected auto, cpu.*got {wrong!r}"):
            device(wrong)
    with pytest.raises(InputError, match="device: expected auto"):
        Trainer(model(), loss, recipe(1), Running(device="tpu"))


@pytest.mark.parametrize("place", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def test_on_every_device_of_the_machine(place, tmp_path):
    before = torch.cuda.get_rng_state() if place == "cuda" else torch.get_rng_state()
    network = model()
    running = Running(out=tmp_path, progress=False, checkpoint_every=7, device=place)
    moved = Trainer(network, loss, recipe(60), running)
    trained = moved.fit(Batches())
    assert moved.device.type == place and all(p.device.type == place for p in trained.parameters())
    assert torch.equal(torch.cuda.get_rng_state() if place == "cuda" else torch.get_rng_state(), before)
    assert validate(trained.cpu())["validation"] < validate(model().eval())["validation"]
    resumed = trainer(recipe(90), tmp_path, resume=True).fit(Batches())  # and on the CPU it goes on
    assert all(p.device.type == "cpu" and bool(torch.isfinite(p).all()) for p in resumed.parameters())


def test_average_of_complex_weights():
    trained = trainer(recipe(20, average=0.9), network=Complex()).fit(Batches())
    assert trained.weight.is_complex() and bool((trained.weight.imag != 0).all())
