"""The training loop: any model, any loss, any source of batches."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sciml.errors import InputError, TrainingError
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
from sciml.training.devices import borrowed, device, move, random_state, set_random_state, to_float64
from sciml.training.ema import ExponentialMovingAverage
from sciml.training.parts import differences
from sciml.training.processes import ALONE, Processes, sharing
from sciml.training.progress import ProgressDisplay
from sciml.training.recipe import Recipe, Running

Batch = Any
LossFunction = Callable[[nn.Module, Batch, float], Tensor]
Validate = Callable[[nn.Module], dict[str, float]]
ToDevice = Callable[[Batch, torch.device, torch.dtype | None], Batch]


class Batches(Protocol):
    """A source of batches whose order is a function of (epoch, index) alone: `sciml.data.Loader` is one."""

    def __len__(self) -> int: ...
    def epoch(self, epoch: int, start: int = 0) -> Iterable[Batch]: ...


class Trainer:
    """Minimises `loss(model, batch, share)`, share = the part of training that is done (for curricula).

    With a run directory, the state is written to `checkpoints/last.safetensors` in it as it goes, and the weights
    with the lowest validation figure to `best.safetensors`. A run that is killed at any instant continues from there
    with `Running(resume=True)`, and on a CPU with the same number of threads ends with the same bits as one never
    interrupted (of a run by minutes: as one with the number of steps that its last checkpoint holds). What resumes
    must ask for what was begun: an equal recipe. The one exception is a longer `Steps` or `Epochs`, which continues
    the run to the new length; from there on the schedule is that of the new total, so that the result is not that of
    a run which had this length from the start.

    Nothing of the process is changed: random numbers, gradient mode and the treatment of denormals are the caller's
    again afterwards.

    In several processes each is given its share of every batch, what is kept is written by the first, and all end with
    the same weights; see `sciml.training.processes`. A run may go on in another number of processes.

    Args:
        model: trained in place, on the device of `running`; with precision "float64", as float64.
        loss: returns a scalar for (model, batch on the device, share); a non-finite one stops training.
        recipe: length, optimiser, schedule and so on; its objective, augmentations and sampler are for whoever makes
            `loss` and the batches.
        running: run directory, device, callbacks and so on.
        to_device: moves a batch to a device, floating-point values to a dtype where one is given.
        title: what the progress display calls the run.
        processes: that take the same steps, with batches that are this one's shares: they have a `weight` in the mean,
            or else count alike.

    Raises:
        InputError: no such device, or a model without a weight that can be trained.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: LossFunction,
        recipe: Recipe,
        running: Running | None = None,
        *,
        to_device: ToDevice = move,
        title: str = "training",
        processes: Processes = ALONE,
    ):
        self.model, self.loss, self.recipe = model, loss, recipe
        self.running = Running() if running is None else running
        self.out, self.processes = self.running.folder, processes
        self.device, self._to_device = device(processes.device(self.running.device)), to_device
        self._dtype = torch.float64 if recipe.precision == "float64" else None
        self.callbacks: list[Callback] = [EarlyStopping(recipe.patience)] if recipe.patience else []
        self.callbacks += self.running.callbacks
        if self.running.progress and processes.first:
            self.callbacks.append(ProgressDisplay(title))
        if any(p.is_inference() for p in model.parameters()):
            raise InputError("model: was made under torch.inference_mode, expected one whose weights can be trained")
        with torch.inference_mode(False):
            model.to(self.device)
            if self._dtype is not None:
                to_float64(model)
            self.optimizer = recipe.optimiser.build(model)
            average = recipe.optimiser.average
            self.ema = ExponentialMovingAverage(model, average) if average else None
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

    def fit(self, batches: Batches, validate: Validate | None = None) -> nn.Module:
        """Run to the end, and return the trained model (averaged weights, the best ones if `keep` says so).

        Args:
            validate: figures of a model, among them "validation" (lower is better).

        Raises:
            TrainingError: a loss or gradient that is not finite.
            InputError: no batches, or a checkpoint of a run with another recipe.
        """
        self.steps_per_epoch = len(batches)
        if self.steps_per_epoch < 1:
            raise InputError(
                f"batch: {self.recipe.batch} leaves no batch; expected at most the number of training samples"
            )
        if self.recipe.keep == "best" and validate is None:
            raise InputError("keep: 'best' needs a validation split, got none")
        if self.recipe.patience and validate is None:
            raise InputError(f"patience: {self.recipe.patience} needs a validation split, got none")
        if self.out is not None and self.processes.first:
            (self.out / "checkpoints").mkdir(parents=True, exist_ok=True)
        with borrowed(self.device, self.recipe.seed, stream=1 + self.processes.rank):
            return self._fit(batches, validate)

    def _fit(self, batches: Batches, validate: Validate | None) -> nn.Module:
        if not (self.running.resume and self._restore()):
            self.processes.alike(self.model)
            self.total_steps = self.processes.of_first(self._length(batches, validate))
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
        if self.recipe.keep == "best" and self.best_weights is not None:
            kept.load_state_dict(self.best_weights)
        return kept.eval()

    # -- the loop -----------------------------------------------------------------------------------------------

    def _loop(self, batches: Batches, validate: Validate | None) -> None:
        recipe, running = self.recipe, self.running
        saved = time.monotonic()
        spent = 0.0
        stream = self._stream(batches)
        while self.step < self.total_steps and not self.stopped:
            began = recipe.length.now()
            record = self._step(next(stream))
            for callback in self.callbacks:
                callback.on_step(self, record)
            spent += recipe.length.now() - began
            corrected = self._budget is not None and self._budget.due(self.step, self.total_steps)
            if corrected and self._budget is not None:
                elapsed = recipe.length.now() - self._began
                self.total_steps = self._budget.corrected(
                    self.step, self.total_steps, spent, elapsed, self.processes.of_first
                )
            every = recipe.validate_every or max(1, math.ceil(self.total_steps / 20))
            if validate is not None and (self.step % every == 0 or self.step == self.total_steps):
                self._validate(validate, record)
            self.stopped = self._agreed()
            ending = self.step == self.total_steps or bool(self.stopped)
            due = self.step % running.checkpoint_every == 0 if running.checkpoint_every else (
                time.monotonic() - saved >= running.checkpoint_seconds)  # fmt: skip
            if ending or due or corrected:
                self._save()
                saved = time.monotonic()

    def _agreed(self) -> str:
        """Why to stop, if one of the processes has to."""
        if not self.processes.several:
            return self.stopped
        if not float(self.processes.summed(torch.tensor(float(bool(self.stopped)), device=self.device))):
            return ""
        return next(reason for reason in self.processes.gathered(self.stopped) if reason)

    def _stream(self, batches: Batches) -> Iterator[Batch]:
        epoch, start = divmod(self.step, self.steps_per_epoch)
        while True:
            yield from batches.epoch(epoch, start=start)
            epoch, start = epoch + 1, 0

    def _step(self, batch: Batch) -> dict[str, Any]:
        optimiser = self.recipe.optimiser
        lr = optimiser.lr * self.recipe.schedule.at(self.step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        batch = self._to_device(batch, self.device, self._dtype)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._graded(batch)
        total = nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        value, norm = self._numbers(loss.detach(), total)
        if not math.isfinite(value):
            raise self._failure("loss", value, batch)
        if not math.isfinite(norm):
            raise self._failure("gradient norm", norm, batch)
        if optimiser.clip:
            nn.utils.clip_grads_with_norm_(self.model.parameters(), optimiser.clip, total)
        if optimiser.asks_again:  # line searches want loss and gradient at other weights
            self.optimizer.step(lambda: self._again(batch))
        else:
            self.optimizer.step()
        if self.ema is not None:
            self.ema.update(self.model)
        epoch = self.step / self.steps_per_epoch
        self.step += 1
        return {"step": self.step, "epoch": round(epoch, 4), "loss": value, "lr": lr, "gradient_norm": norm}

    def _again(self, batch: Batch) -> float:
        """Loss and gradient of a batch that is on the device, at the weights as they are now."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            return float(self._graded(batch))

    def _graded(self, batch: Batch) -> Tensor:
        """The loss of a batch, whose gradient is left with the weights; of all its shares."""
        weight = float(getattr(batch, "weight", 1.0))
        with self._autocast(), sharing(self.processes, weight):
            loss = self.loss(self.model, batch, self.step / self.total_steps)
        loss.backward()
        return self.processes.mean_gradients(list(self.model.parameters()), weight, loss.detach())

    def _numbers(self, *values: Tensor) -> list[float]:
        """Scalars as numbers; from a CUDA device all at once, for each time it is asked it must finish first."""
        if self.device.type == "cuda":
            return torch.stack([v.double() for v in values]).tolist()
        return [float(v) for v in values]

    def _autocast(self) -> torch.autocast:
        enabled = self.recipe.precision == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def _validate(self, validate: Validate, record: dict[str, Any]) -> None:
        model = self.averaged_model.eval()
        with torch.no_grad(), self._autocast():
            figures = validate(model)
        record = {"step": record["step"], "epoch": record["epoch"]} | figures
        self.history.append(record)
        if figures["validation"] < self.best:
            self.best = figures["validation"]
            self.best_weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
            if self.out is not None and self.processes.first:
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
                     if what != "loss" and p.grad is not None and not _finite(p.grad)),
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
        now = self.recipe.length.now
        steps, clock = self.recipe.length.steps(self.steps_per_epoch), self.recipe.length.seconds
        if steps is not None:
            return steps
        if clock is None:
            raise InputError(f"length: {self.recipe.length!r} gives neither a number of steps nor a time")
        self._began, seconds = now(), 0.98 * clock  # the rest is for what comes before and after
        cost, extra, fixed = self._cost(batches, seconds), 0.0, 0.0
        if validate is not None:
            began = now()
            with torch.no_grad(), self._autocast():
                validate(copy.deepcopy(self.averaged_model).eval())
            once = now() - began
            if self.recipe.validate_every:
                extra = once / self.recipe.validate_every
            else:
                fixed = 20 * once
        later = now()
        self._budget = Budget(max(seconds - (later - self._began), 0.1 * seconds), cost, extra, fixed)
        self._began = later
        return self._budget.steps

    def _cost(self, batches: Batches, seconds: float) -> tuple[float, ...]:
        """Seconds of a step in each tenth of the run, timed on a copy; leaves weights and random state as they were."""
        state = random_state(self.device)
        running = Running(device=str(self.device), progress=False)
        trial = Trainer(copy.deepcopy(self.model), self.loss, self.recipe, running, to_device=self._to_device)
        trial.total_steps, trial.steps_per_epoch = 1000, self.steps_per_epoch
        stream, now = trial._stream(batches), self.recipe.length.now

        def step(share: float) -> float:
            trial.step = int(1000 * share)
            began = now()
            trial._step(next(stream))
            return now() - began

        cost = timed(step, seconds)
        set_random_state(self.device, state)
        return cost

    # -- checkpoints --------------------------------------------------------------------------------------------

    def _save(self) -> None:
        if self.out is None or not self.processes.first:
            return
        tensors = prefixed("model", self.model.state_dict())
        tensors |= prefixed("optimizer", optimizer_tensors(self.optimizer))
        tensors |= prefixed("rng", random_state(self.device))
        state: dict[str, Any] = {
            "format": 1,
            "step": self.step,
            "total_steps": self.total_steps,
            "steps_per_epoch": self.steps_per_epoch,
            "recipe": self.recipe.to_json(),
            "best": self.best if math.isfinite(self.best) else None,
            "stopped": self.stopped,
            "threads": torch.get_num_threads(),
            "processes": self.processes.count,
            "history": self.history,
            "callbacks": [[type(c).__qualname__, c.state()] for c in self.callbacks],
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
        former = Recipe.from_json(state.get("recipe"), f"{path}: recipe")
        longer = self.recipe.length.extends(former.length)
        for name, mine, theirs in differences(self.recipe, former):
            if not (longer and name.partition(".")[0] == "length"):
                raise InputError(f"resume: {name} is {mine!r}, but {path} was made with {theirs!r}")
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
        if self.processes.first:
            set_random_state(self.device, under("rng", tensors))
        self.step, self.total_steps = state["step"], state["total_steps"]
        if longer:
            self.total_steps = self.recipe.length.steps(self.steps_per_epoch) or self.total_steps
        self.best = math.inf if state["best"] is None else state["best"]
        self.stopped, self.history = state["stopped"], state["history"]
        saved = list(state["callbacks"])
        for callback in self.callbacks:  # each takes the first of its kind that is left
            mine = next((entry for entry in saved if entry[0] == type(callback).__qualname__), None)
            if mine is not None:
                saved.remove(mine)
                if mine[1] is not None:
                    callback.restore(mine[1])
        self.last_checkpoint = (path, self.step)
        return True


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
