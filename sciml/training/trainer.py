"""The training loop: any model, any loss, any source of batches."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sciml.errors import InputError, TrainingError
from sciml.training import schedules
from sciml.training.budget import Budget, timed
from sciml.training.callbacks import Callback, EarlyStopping
from sciml.training.checkpoint import (
    load_weights,
    optimizer_tensors,
    prefixed,
    read_tensors,
    restore_optimizer,
    under,
    write_tensors,
)
from sciml.training.ema import ExponentialMovingAverage
from sciml.training.settings import TrainingSettings

Batch = Any
Loss = Callable[[nn.Module, Batch, float], Tensor]
Validate = Callable[[nn.Module], dict[str, float]]

# settings that may change between the parts of a run without changing its result
_CADENCE = ("checkpoint_every", "checkpoint_seconds", "device")


class Batches(Protocol):
    """A source of batches whose order is a function of (epoch, index) alone: `sciml.data.Loader` is one."""

    def __len__(self) -> int: ...
    def epoch(self, epoch: int, start: int = 0) -> Iterable[Batch]: ...


class Trainer:
    """Minimises `loss(model, batch, share)`, share = the part of training that is done (for curricula).

    With a directory `out`, the state is written to `out/checkpoints/last.safetensors` as it goes, and the weights
    with the lowest validation figure to `best.safetensors`; a run that is killed at any instant continues from there
    with `resume=True`, and on a CPU with the same number of threads ends with the same bits as one never interrupted
    (of a run by minutes: as one with the number of steps that its last checkpoint holds).

    Args:
        model: trained in place.
        loss: returns a scalar; a non-finite one stops training.
        settings: length, optimiser, schedule and so on.
        out: run directory, or None to keep nothing on disk.
        callbacks: told of every step, validation and checkpoint.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        settings: TrainingSettings,
        *,
        out: str | Path | None = None,
        callbacks: Sequence[Callback] = (),
    ):
        self.model, self.loss, self.settings = model, loss, settings
        self.out = None if out is None else Path(out)
        self.callbacks = list(callbacks)
        if settings.patience:
            self.callbacks.append(EarlyStopping(settings.patience))
        self.optimizer = _optimizer(model, settings)
        self.ema = ExponentialMovingAverage(model, settings.ema) if settings.ema else None
        self.step, self.total_steps, self.steps_per_epoch = 0, 0, 1
        self.best = math.inf
        self.best_weights: dict[str, Tensor] | None = None
        self.stopped = ""
        self._budget: Budget | None = None  # what corrects the number of steps
        self._began = 0.0  # on the clock: when the budget's seconds began to count
        self.last_checkpoint: tuple[Path, int] | None = None
        self.history: list[dict[str, Any]] = []

    # -- public -------------------------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Ask for the end of training after the present step (for callbacks)."""
        self.stopped = reason

    @property
    def averaged_model(self) -> nn.Module:
        """The model whose weights are validated and kept: the running average, if there is one."""
        return self.model if self.ema is None else self.ema.model

    def fit(self, batches: Batches, validate: Validate | None = None, resume: bool = False) -> nn.Module:
        """Run to the end, and return the trained model (averaged weights, the best ones if `keep` says so).

        Args:
            validate: figures of a model, among them "validation" (lower is better).
            resume: continue from `out`; a directory without a checkpoint starts anew.

        Raises:
            TrainingError: a loss or gradient that is not finite.
            InputError: no batches, or a checkpoint of a run with other settings.
        """
        s = self.settings
        self.steps_per_epoch = len(batches)
        if self.steps_per_epoch < 1:
            raise InputError(
                f"batch_size: {s.batch_size} leaves no batch; expected at most the number of training samples"
            )
        if s.keep == "best" and validate is None:
            raise InputError("keep: 'best' needs a validation split, got none")
        if self.out is not None:
            (self.out / "checkpoints").mkdir(parents=True, exist_ok=True)
        if not (resume and self._restore()):
            self.total_steps = self._length(batches, validate)
        for callback in self.callbacks:
            callback.on_start(self)
        try:
            if self.step == 0:
                self._save()  # so that there always is a last good checkpoint
            self._loop(batches, validate)
        finally:
            for callback in self.callbacks:
                callback.on_end(self)
        kept = self.averaged_model
        if s.keep == "best" and self.best_weights is not None:
            kept.load_state_dict(self.best_weights)
        return kept.eval()

    # -- the loop -----------------------------------------------------------------------------------------------

    def _loop(self, batches: Batches, validate: Validate | None) -> None:
        s = self.settings
        saved = time.monotonic()
        spent = 0.0
        stream = self._stream(batches)
        while self.step < self.total_steps and not self.stopped:
            began = time.monotonic()
            record = self._step(next(stream))
            for callback in self.callbacks:
                callback.on_step(self, record)
            spent += time.monotonic() - began
            corrected = self._budget is not None and self._budget.due(self.step, self.total_steps)
            if corrected and self._budget is not None:
                elapsed = time.monotonic() - self._began
                self.total_steps = self._budget.corrected(self.step, self.total_steps, spent, elapsed)
            every = s.validate_every or max(1, math.ceil(self.total_steps / 20))
            if validate is not None and (self.step % every == 0 or self.step == self.total_steps):
                self._validate(validate, record)
            ending = self.step == self.total_steps or bool(self.stopped)
            due = self.step % s.checkpoint_every == 0 if s.checkpoint_every else (
                time.monotonic() - saved >= s.checkpoint_seconds)  # fmt: skip
            if ending or due or corrected:
                self._save()
                saved = time.monotonic()

    def _stream(self, batches: Batches) -> Iterator[Batch]:
        epoch, start = divmod(self.step, self.steps_per_epoch)
        while True:
            yield from batches.epoch(epoch, start=start)
            epoch, start = epoch + 1, 0

    def _step(self, batch: Batch) -> dict[str, Any]:
        s = self.settings
        lr = s.lr * schedules.factor(s.schedule, self.step, self.total_steps, **s.schedule_options)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        with _autocast(s):
            loss = self.loss(self.model, batch, self.step / self.total_steps)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._failure("loss", value, batch)
        loss.backward()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        total = nn.utils.get_total_norm(gradients)
        norm = float(total)
        if not math.isfinite(norm):
            raise self._failure("gradient norm", norm, batch)
        if s.clip:
            nn.utils.clip_grads_with_norm_(self.model.parameters(), s.clip, total)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update(self.model)
        epoch = self.step / self.steps_per_epoch
        self.step += 1
        return {"step": self.step, "epoch": round(epoch, 4), "loss": value, "lr": lr, "gradient_norm": norm}

    def _validate(self, validate: Validate, record: dict[str, Any]) -> None:
        model = self.averaged_model.eval()
        with torch.no_grad(), _autocast(self.settings):
            figures = validate(model)
        record = {"step": record["step"], "epoch": record["epoch"]} | figures
        self.history.append(record)
        if figures["validation"] < self.best:
            self.best = figures["validation"]
            self.best_weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
            if self.out is not None:
                path = self.out / "checkpoints" / "best.safetensors"
                write_tensors(path, self.best_weights, {"step": self.step, "validation": self.best})
        for callback in self.callbacks:
            callback.on_validation(self, record)

    def _failure(self, what: str, value: float, batch: Batch) -> TrainingError:
        """Say which tensor went wrong first: the batch, a weight, or a gradient."""
        name = next(
            (n for n, t in _tensors(batch, "batch") if not _finite(t)),
            next(
                (f"weight {n}" for n, p in self.model.named_parameters() if not _finite(p)),
                next(
                    (f"gradient of {n}" for n, p in self.model.named_parameters()
                     if p.grad is not None and not _finite(p.grad)),
                    "the model's output",
                ),
            ),
        )  # fmt: skip
        where = "no checkpoint was kept (give a run directory)"
        if self.last_checkpoint is not None:
            where = f"last good checkpoint: {self.last_checkpoint[0]} (step {self.last_checkpoint[1]})"
        return TrainingError(
            f"training stopped at step {self.step + 1}: {what} is {value}; "
            f"first tensor that is not finite: {name}; {where}"
        )

    # -- length of the run --------------------------------------------------------------------------------------

    def _length(self, batches: Batches, validate: Validate | None) -> int:
        s = self.settings
        if s.steps is not None:
            return s.steps
        if s.epochs is not None:
            return max(1, round(s.epochs * self.steps_per_epoch))
        assert s.minutes is not None
        self._began, seconds = time.monotonic(), 0.98 * s.minutes * 60  # the rest is for what comes before and after
        cost, extra, fixed = self._cost(batches, seconds), 0.0, 0.0
        if validate is not None:
            began = time.monotonic()
            with torch.no_grad(), _autocast(s):
                validate(copy.deepcopy(self.averaged_model).eval())
            once = time.monotonic() - began
            if s.validate_every:
                extra = once / s.validate_every
            else:
                fixed = 20 * once
        now = time.monotonic()
        self._budget = Budget(max(seconds - (now - self._began), 0.1 * seconds), cost, extra, fixed)
        self._began = now
        return self._budget.steps

    def _cost(self, batches: Batches, seconds: float) -> tuple[float, ...]:
        """Seconds of a step in each tenth of the run, timed on a copy; leaves weights and random state as they were."""
        state = torch.get_rng_state()
        trial = Trainer(copy.deepcopy(self.model), self.loss, self.settings)
        trial.total_steps, trial.steps_per_epoch = 1000, self.steps_per_epoch
        stream = trial._stream(batches)

        def step(share: float) -> float:
            trial.step = int(1000 * share)
            began = time.monotonic()
            trial._step(next(stream))
            return time.monotonic() - began

        cost = timed(step, seconds)
        torch.set_rng_state(state)
        return cost

    # -- checkpoints --------------------------------------------------------------------------------------------

    def _save(self) -> None:
        if self.out is None:
            return
        tensors = prefixed("model", self.model.state_dict())
        tensors |= prefixed("optimizer", optimizer_tensors(self.optimizer))
        tensors["rng/torch"] = torch.get_rng_state()
        state: dict[str, Any] = {
            "format": 1,
            "step": self.step,
            "total_steps": self.total_steps,
            "steps_per_epoch": self.steps_per_epoch,
            "settings": self.settings.to_json(),
            "best": self.best if math.isfinite(self.best) else None,
            "stopped": self.stopped,
            "threads": torch.get_num_threads(),
            "history": self.history,
            "callbacks": [c.state() for c in self.callbacks],
        }
        if self.ema is not None:
            tensors |= prefixed("ema", self.ema.model.state_dict())
            state["ema_updates"] = self.ema.updates
        if self.best_weights is not None:
            tensors |= prefixed("best", self.best_weights)
        assert self.out is not None
        path = self.out / "checkpoints" / "last.safetensors"
        write_tensors(path, tensors, state)
        self.last_checkpoint = (path, self.step)
        for callback in self.callbacks:
            callback.on_checkpoint(self, path)

    def _restore(self) -> bool:
        if self.out is None:
            raise InputError("resume: expected a run directory (out), got none")
        path = self.out / "checkpoints" / "last.safetensors"
        if not path.exists():
            return False
        tensors, state = read_tensors(path)
        mine = self.settings.to_json()
        for name, value in state["settings"].items():
            if name not in _CADENCE and mine.get(name) != value:
                raise InputError(f"resume: {name} is {mine.get(name)!r}, but {path} was made with {value!r}")
        if state["steps_per_epoch"] != self.steps_per_epoch:
            raise InputError(
                f"resume: an epoch has {self.steps_per_epoch} batches, but {path} was made with "
                f"{state['steps_per_epoch']}: the data are not the same"
            )
        load_weights(self.model, under("model", tensors), path)
        restore_optimizer(self.optimizer, under("optimizer", tensors))
        if self.ema is not None:
            load_weights(self.ema.model, under("ema", tensors), path)
            self.ema.updates = state["ema_updates"]
        self.best_weights = under("best", tensors) or None
        torch.set_rng_state(tensors["rng/torch"])
        self.step, self.total_steps = state["step"], state["total_steps"]
        self.best = math.inf if state["best"] is None else state["best"]
        self.stopped, self.history = state["stopped"], state["history"]
        for callback, saved in zip(self.callbacks, state["callbacks"], strict=False):
            if saved is not None:
                callback.restore(saved)
        self.last_checkpoint = (path, self.step)
        return True


def _optimizer(model: nn.Module, s: TrainingSettings) -> torch.optim.Optimizer:
    """Biases, norms and other vectors are not decayed."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": s.weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = [g for g in groups if g["params"]]
    if not groups:
        raise InputError("model: expected at least one trainable weight, got none")
    if s.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=s.lr, momentum=s.betas[0])
    kind = torch.optim.AdamW if s.optimizer == "adamw" else torch.optim.Adam
    real = all(p.is_floating_point() for p in model.parameters())
    return kind(groups, lr=s.lr, betas=(s.betas[0], s.betas[1]), fused=real)


def _autocast(s: TrainingSettings) -> Any:
    device = "cuda" if s.device.startswith("cuda") else "cpu"
    return torch.autocast(device, dtype=torch.bfloat16, enabled=s.precision == "bfloat16")


def _finite(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex()) or bool(torch.isfinite(tensor).all())


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, np.ndarray) and value.dtype.kind in "fc":
        yield name, torch.from_numpy(np.ascontiguousarray(value))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors(item, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for key, item in enumerate(value):
            yield from _tensors(item, f"{name}[{key}]")
