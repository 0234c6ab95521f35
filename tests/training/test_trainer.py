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
from toy_task import Batches, loss, model, settings, validate

from sciml.errors import FileFormatError, InputError, TrainingError
from sciml.training import Callback, EarlyStopping, MetricsLog, TensorBoard, Trainer, TrainingSettings
from sciml.training.budget import Budget
from sciml.training.checkpoint import digest, read_tensors, write_tensors

TOY = Path(__file__).with_name("toy_task.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_it_learns_and_returns_the_average():
    trainer = Trainer(model(), loss, settings(steps=400))
    trained = trainer.fit(Batches(), validate)
    assert validate(trained)["validation"] < 0.15 * validate(model().eval())["validation"]
    assert trainer.ema is not None and trained is trainer.ema.model and not trained.training
    assert [r["step"] for r in trainer.history] == list(range(20, 401, 20))


def test_keep_best():
    """With a learning rate that ruins the model in the end, `best` gives the weights from before."""
    s = settings(steps=100, ema=0.0, lr=0.5, schedule="linear", schedule_options={"warmup": 0.99}, keep="best", clip=0)
    trainer = Trainer(model(), loss, s)
    kept = trainer.fit(Batches(), validate)
    figures = [r["validation"] for r in trainer.history]
    assert validate(kept)["validation"] == pytest.approx(min(figures))
    assert min(figures) < 0.8 * figures[-1]
    with pytest.raises(InputError, match="validation split"):
        Trainer(model(), loss, s).fit(Batches())


def test_every_optimizer_and_schedule_lowers_the_loss():
    start = validate(model().eval())["validation"]
    for optimizer in ("adamw", "adam", "sgd"):
        for schedule in ("one_cycle", "cosine", "linear", "constant"):
            s = settings(optimizer=optimizer, schedule=schedule)
            assert validate(Trainer(model(), loss, s).fit(Batches()))["validation"] < 0.6 * start


def test_weight_decay_spares_vectors():
    trainer = Trainer(model(), loss, settings(weight_decay=0.5))
    sizes = {g["weight_decay"]: sorted(p.ndim for p in g["params"]) for g in trainer.optimizer.param_groups}
    assert sizes == {0.5: [2, 2], 0.0: [1, 1]}


def test_clipping():
    seen = []

    class Watch(Callback):
        def on_step(self, trainer, record):
            norm = torch.nn.utils.get_total_norm([p.grad for p in trainer.model.parameters()])
            seen.append((record["gradient_norm"], float(norm)))

    Trainer(model(), loss, settings(steps=20, clip=0.01), callbacks=[Watch()]).fit(Batches())
    assert all(after <= 0.01 * (1 + 1e-4) for _, after in seen) and any(before > 0.02 for before, _ in seen)


def test_early_stopping():
    class Script:
        values = iter([5.0, 4.0, 4.5, 3.9, 4.0, 4.1, 4.2, 1.0])

        def __call__(self, network):
            return {"validation": next(self.values)}

    trainer = Trainer(model(), loss, settings(validate_every=2, patience=3))
    trainer.fit(Batches(), Script())
    assert trainer.step == 14 and "3 validations" in trainer.stopped
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

    trainer = Trainer(model(), bad_loss, settings(checkpoint_every=5), out=tmp_path, callbacks=[Break()])
    with pytest.raises(TrainingError) as error:
        trainer.fit(Poisoned())
    text = str(error.value)
    assert "step 11" in text and "last.safetensors (step 10)" in text
    assert {"batch": "batch.x", "weight": "weight 3.weight", "gradient": "gradient of 3.bias"}[what] in text
    if what != "weight":
        tensors, state = read_tensors(tmp_path / "checkpoints" / "last.safetensors")
        assert state["step"] == 10 and all(torch.isfinite(t.double()).all() for t in tensors.values())


def test_resume_in_the_same_process_is_bit_exact(tmp_path):
    whole = Trainer(model(), loss, settings(checkpoint_every=7), out=tmp_path / "a").fit(Batches(), validate)

    class Kill(Callback):
        def on_step(self, trainer, record):
            if record["step"] == 45:
                raise KeyboardInterrupt

    (tmp_path / "b").mkdir()
    log = MetricsLog(tmp_path / "b" / "metrics.jsonl", every=1)
    with pytest.raises(KeyboardInterrupt):
        Trainer(model(), loss, settings(checkpoint_every=7), out=tmp_path / "b", callbacks=[log, Kill()]).fit(
            Batches(), validate
        )
    log = MetricsLog(tmp_path / "b" / "metrics.jsonl", every=1)
    second = Trainer(model(9), loss, settings(checkpoint_every=7), out=tmp_path / "b", callbacks=[log])
    torch.manual_seed(12345)
    resumed = second.fit(Batches(), validate, resume=True)
    assert digest(resumed.state_dict()) == digest(whole.state_dict())
    steps = [json.loads(x)["step"] for x in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == list(range(1, 121)) and len(steps) == 120 + 20
    third = Trainer(model(), loss, settings(checkpoint_every=7), out=tmp_path / "b").fit(Batches(), resume=True)
    assert digest(third.state_dict()) == digest(whole.state_dict())  # a finished run is left as it is


def test_resume_refuses_other_settings(tmp_path):
    Trainer(model(), loss, settings(steps=10), out=tmp_path).fit(Batches())
    with pytest.raises(InputError, match=r"lr is 0\.1, but .* 0\.01"):
        Trainer(model(), loss, settings(steps=10, lr=0.1), out=tmp_path).fit(Batches(), resume=True)
    with pytest.raises(InputError, match="the data are not the same"):
        Trainer(model(), loss, settings(steps=10), out=tmp_path).fit(Batches(n=80), resume=True)
    with pytest.raises(InputError, match="run directory"):
        Trainer(model(), loss, settings(steps=10)).fit(Batches(), resume=True)


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

    s = settings(steps=None, minutes=0.02, checkpoint_every=5)
    trainer = Trainer(model(), slow, s, out=tmp_path)
    began = time.monotonic()
    trainer.fit(Batches())
    assert 40 <= trainer.total_steps <= 116 and time.monotonic() - began < 6
    assert read_tensors(tmp_path / "checkpoints" / "last.safetensors")[1]["total_steps"] == trainer.total_steps
    again = Trainer(model(), loss, s, out=tmp_path)
    again.fit(Batches(), resume=True)
    assert again.total_steps == trainer.total_steps  # stored, not measured anew


def test_the_number_of_steps_is_corrected_by_what_they_take(tmp_path):
    """Steps that are three times as slow in the run as when they were timed: the run ends in time all the same."""
    run = Trainer(model(), loss, settings(steps=None, minutes=0.05), out=tmp_path)
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
    trainer = Trainer(model(), loss, settings(minutes=1, steps=None))
    trainer.steps_per_epoch = 8
    before, rng = digest(trainer.model.state_dict()), torch.get_rng_state()
    assert all(seconds > 0 for seconds in trainer._cost(Batches(), 60.0))
    assert digest(trainer.model.state_dict()) == before and torch.equal(torch.get_rng_state(), rng)
    assert not trainer.optimizer.state


def test_mixed_precision_keeps_weights_in_float32():
    s = settings(steps=300, precision="bfloat16")
    seen = []

    def watched(network, batch, share):
        out = network(batch["x"])
        seen.append(out.dtype)
        return ((out.float() - batch["y"]) ** 2).mean()

    trained = Trainer(model(), watched, s).fit(Batches())
    assert set(seen) == {torch.bfloat16} and all(p.dtype == torch.float32 for p in trained.parameters())
    assert validate(trained)["validation"] < 0.3 * validate(model().eval())["validation"]


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    Trainer(model(), loss, settings(steps=20), callbacks=[TensorBoard(tmp_path)]).fit(Batches(), validate)
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
    with pytest.raises(OSError):
        write_tensors(path, {"a": torch.zeros(30)})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 3}, "exactly one of epochs, steps and minutes"),
        ({"steps": None}, "exactly one"),
        ({"steps": 0}, "steps: expected a number > 0"),
        ({"steps": 2.5}, "steps: expected a whole number"),
        ({"batch_size": 0}, "batch_size"),
        ({"lr": -1.0}, "lr"),
        ({"lr": math.nan}, "lr"),
        ({"ema": 1.0}, "ema"),
        ({"betas": (0.9,)}, "betas"),
        ({"optimizer": "lion"}, "optimizer: expected one of adamw"),
        ({"schedule": "onecycle"}, "did you mean 'one_cycle'"),
        ({"schedule_options": {"warm": 1}}, "schedule_options"),
        ({"schedule_options": {"warmup": 1.5}}, "warmup"),
        ({"precision": "half"}, "precision"),
        ({"batchsize": 3}, "did you mean 'batch_size'"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(InputError, match=message):
        settings(**change)


def test_frozen_model_is_an_error():
    with pytest.raises(InputError, match="trainable"):
        Trainer(nn.Linear(2, 2).requires_grad_(False), loss, TrainingSettings(steps=1))
