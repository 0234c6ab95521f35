"""Training of a surrogate: from data to batches, loss, validation and a run directory."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sciml.data import Loader, Windows
from sciml.errors import InputError
from sciml.problem import Case, PDEProblem
from sciml.solvers._encoding import Encoding
from sciml.training import losses
from sciml.training.batches import LoaderBatches, MemoryBatches, Reflected
from sciml.training.callbacks import Callback, MetricsList, MetricsLog
from sciml.training.checkpoint import replace_bytes
from sciml.training.progress import ProgressDisplay
from sciml.training.samples import CaseTable, cases_of, open_data, table
from sciml.training.settings import TrainingSettings
from sciml.training.trainer import Trainer

if TYPE_CHECKING:
    from sciml.solvers.surrogate import Surrogate

VALIDATION_WINDOWS = 256  # validation stays a small part of the run
AXES = {"x": -1, "y": -2, "z": -3}


def fit(
    surrogate: Surrogate,
    data: Any,
    *,
    split: str | None = "train",
    validation: str | None = "validation",
    subset: Sequence[str] | str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    loss: str | None = None,
    loss_options: dict[str, Any] | None = None,
    rollout: int = 1,
    rollout_start: float = 0.6,
    rollout_gradient: str = "all",
    noise: float = 0.0,
    reflect: bool = False,
    repeat_start: int = 1,
    memory_limit: float = 5e8,
    workers: int = 0,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    solver: Any = None,
    times: Any = None,
    **settings: Any,
) -> Trainer:
    """Train `surrogate` and, if `out` is given, leave a run directory there.

    Args:
        data: path of a data set, data set, solutions, or cases or a problem (its default case) to solve first.
        split, validation: names of splits in the data set; `validation` may be None or empty.
        subset: train on these subsets only.
        out: run directory; with `resume` a run that was cut short there is continued, else it must hold none.
        loss: see `sciml.training.losses`; applied to increments in units of the training split's increments
            (`residual`), else to the normalised fields. By default "relative_l2" for steady problems and "nmse" for
            those in time: there increments die out towards a steady state, and an error relative to each of them would
            ask for digits that matter to nobody.
        rollout: number of steps unrolled in training from the share `rollout_start` of the run on; one before.
        rollout_gradient: "all": through the whole unrolled trajectory, loss on every step. "last": push-forward, the
            steps before the last one run without gradient and the loss is on the last (Brandstetter et al. 2022).
        noise: standard deviation of Gaussian noise on the normalised input state.
        reflect: mirror half of the samples along the problem's reflection symmetry, an exact symmetry of the equations.
        repeat_start: how often the first window of each case comes in an epoch; the others come once. A case has one
            start, often the hardest step of all: a wall that begins to move is a jump.
        memory_limit: bytes up to which the frames of the training split are held in memory; a larger split is read by
            `sciml.data.Loader` with `workers` processes.
        solver, times: with cases: what solves them, at which times.
        settings: of `sciml.training.TrainingSettings`.
    """
    s = TrainingSettings.of(**settings)
    given = loss
    loss = given or "nmse"
    _check(surrogate, rollout, rollout_start, rollout_gradient, noise, loss, repeat_start)
    if isinstance(data, PDEProblem):
        data = [data.case()]
    if isinstance(data, Sequence) and not isinstance(data, str) and data and all(isinstance(c, Case) for c in data):
        if solver is None:
            raise InputError("solver: expected a solver that makes the training data from these cases, got None")
        data = solver.solve_many(data, times, progress=progress)
    dataset, path = open_data(data)
    train = select(table(dataset, split, surrogate.fields), subset)
    if not train.cases:
        raise InputError(f"split: no case of the data set is in split {split!r}" + (f", {subset}" if subset else ""))
    held = select(table(dataset, validation, surrogate.fields, train.problem), subset) if validation else None
    reflection = _reflection(train.problem) if reflect else None
    odd = reflection[2] if reflection else ()
    encoding = Encoding.fit(train, surrogate.history, surrogate.residual, odd, surrogate.physics)
    torch.manual_seed(s.seed)
    operator = surrogate.build(encoding).to(s.device)
    steady = encoding.step is None
    if given is None and steady:
        loss = "relative_l2"
    if steady and rollout > 1:
        raise InputError(f"rollout: {train.problem.name} is steady, expected 1, got {rollout}")
    horizon = 0 if steady else rollout
    loader: Loader | None = None
    if path is None or train.bytes() <= memory_limit:
        again = (repeat_start - 1) * (not steady)
        batches: Any = memory_batches(train, encoding, horizon, s.batch_size, s.seed, again=again)
    else:
        batches = loader_batches(train, encoding, path, horizon, s, workers, split, subset, repeat_start - 1)
        loader = batches.loader
    if len(batches) < 1:
        raise InputError(f"data: no case of the split has {horizon + 1} frames, as rollout={rollout} needs")
    if reflection:
        axis, fields, _ = reflection
        signs = [-1.0 if n in fields else 1.0 for n in encoding.fields]
        flips = [-1.0 if n in odd else 1.0 for n in encoding.features.names]
        if encoding.channels is not None:
            flips += encoding.channels.signs(axis, tuple(fields)).tolist()
        batches = Reflected(batches, AXES[axis], np.array(signs), np.array(flips), s.seed)
    objective = Objective(
        encoding, losses.get(loss), loss_options or {}, rollout, rollout_start, rollout_gradient, noise, s.device
    )
    validate = None
    if held is not None and held.cases and (steady or (held.length > 1).any()):
        known = memory_batches(thin(held), encoding, min(horizon, 1), 64, 0, False, most=VALIDATION_WINDOWS)
        validate = Validation(encoding, known, s.device)
    if operator_is_fixed(operator):
        raise InputError(f"surrogate: the {surrogate.operator_name} has no weights to train")

    record = {
        "operator": surrogate.operator_name, "options": surrogate.settings["options"],
        "settings": s.to_json(), "split": split, "subset": None if subset is None else list(np.atleast_1d(subset)),
        "cases": len(train.cases), "frames": int(train.length.sum()), "data": None if path is None else path.name,
        "loss": loss, "loss_options": loss_options or {}, "rollout": rollout, "rollout_start": rollout_start,
        "rollout_gradient": rollout_gradient, "noise": noise, "reflect": reflect, "repeat_start": repeat_start,
        "threads": torch.get_num_threads(), "encoding": _digest(encoding.to_json()),
    }  # fmt: skip
    extra: list[Callback] = list(callbacks)
    if out is not None:
        folder = Path(out)
        _claim(folder, resume, record)
        log: MetricsLog | MetricsList = MetricsLog(folder / "metrics.jsonl")
    else:
        log = MetricsList()
    extra.append(log)
    if progress:
        extra.append(ProgressDisplay(f"training {surrogate.operator_name}"))
    trainer = Trainer(operator, objective, s, out=out, callbacks=extra)
    began = time.monotonic()
    # GELU of a large negative number is denormal, and products of denormals are many times slower: late in training
    # that can dominate the run. Zero is as good.
    torch.set_flush_denormal(True)
    try:
        kept = trainer.fit(batches, validate, resume=resume)
    finally:
        torch.set_flush_denormal(False)
        if loader is not None:
            loader.close()
    record |= {"steps": trainer.step, "steps_planned": trainer.total_steps, "stopped": trainer.stopped}
    surrogate.adopt(encoding, kept, record | {"seconds": round(time.monotonic() - began, 2)}, log.records)
    if out is not None:
        surrogate.save(out)
    return trainer


class Objective:
    """The training loss: one step, or an unrolled trajectory in the later part of the run."""

    def __init__(
        self,
        encoding: Encoding,
        loss: Callable[..., Tensor],
        options: dict[str, Any],
        rollout: int,
        rollout_start: float,
        rollout_gradient: str,
        noise: float,
        device: str = "cpu",
    ):
        self.e, self.loss, self.options, self.device = encoding, loss, options, device
        self.rollout, self.start, self.gradient, self.noise = rollout, rollout_start, rollout_gradient, noise
        self.scale = torch.from_numpy(encoding.increment.astype(np.float32)).to(device)

    def __call__(self, operator: nn.Module, batch: dict[str, Tensor], share: float) -> Tensor:
        from sciml.solvers.surrogate import advance

        batch = {k: v.to(self.device) for k, v in batch.items()}
        static, mask, target = batch.get("static"), batch.get("mask"), batch["target"]
        if self.e.step is None:
            shape = tuple(target.shape[3:])
            out = advance(operator, self.e, shape, batch["params"][:, 0], static, mask)
            return self.loss(out, target[:, 0], mask=mask, **self.options)
        state = batch["state"]
        before = state[:, -1]
        if self.noise:
            jitter = self.noise * torch.randn_like(before)
            state = torch.cat([state[:, :-1], (before + (jitter if mask is None else jitter * mask))[:, None]], dim=1)
        steps = self.rollout if share >= self.start else 1
        total = torch.zeros((), device=self.device)
        for k in range(steps):
            graded = self.gradient == "all" or k == steps - 1
            with torch.set_grad_enabled(graded and torch.is_grad_enabled()):
                new = advance(operator, self.e, state, batch["params"][:, k], static, mask)
                if graded:
                    total = total + self._compare(new, target[:, k], before, mask)
            before = target[:, k]
            state = torch.cat([state[:, 1:], new[:, None]], dim=1)
        return total / (steps if self.gradient == "all" else 1)

    def _compare(self, new: Tensor, truth: Tensor, before: Tensor, mask: Tensor | None) -> Tensor:
        if self.e.residual:  # the error is the state's, the label is what happened in this step
            unit = self.scale.reshape(-1, *[1] * (new.ndim - 2))
            return self.loss((new - before) / unit, (truth - before) / unit, mask=mask, **self.options)
        return self.loss(new, truth, mask=mask, **self.options)


class Validation:
    """One-step errors on held-out cases, pooled: Σ‖error‖² / Σ‖label‖² of the fields in the problem's scales.

    "validation" is that NMSE; "validation_gain" how many times lower it is than that of persistence.
    """

    def __init__(self, encoding: Encoding, batches: MemoryBatches, device: str = "cpu"):
        self.e, self.batches, self.device = encoding, batches, device

    def __call__(self, operator: nn.Module) -> dict[str, float]:
        from sciml.solvers.surrogate import advance

        e = self.e
        weight = torch.from_numpy((e.state.scale**2).astype(np.float32))
        offset = torch.from_numpy((e.state.offset / e.state.scale).astype(np.float32))
        error = label = change = 0.0
        for raw in self.batches.epoch(0):
            batch = {k: v.to(self.device) for k, v in raw.items()}
            static, mask, target = batch.get("static"), batch.get("mask"), batch["target"][:, 0]
            state = tuple(target.shape[2:]) if e.step is None else batch["state"]
            new = advance(operator, e, state, batch["params"][:, 0], static, mask).float()
            if mask is not None:
                new, target = new * mask, target * mask
            shape = (-1, *[1] * (target.ndim - 2))
            w, o = weight.to(self.device).reshape(shape), offset.to(self.device).reshape(shape)
            error += float((w * (new - target) ** 2).sum())
            label += float((w * (target + o) ** 2).sum())
            if e.step is not None:
                change += float((w * (batch["state"][:, -1] - target) ** 2).sum())
        nmse = error / label if label else float(error > 0)
        found = {"validation": nmse}
        if e.step is not None and error > 0:
            found["validation_gain"] = change / error
        return found


def memory_batches(
    cases: CaseTable,
    e: Encoding,
    horizon: int,
    batch_size: int,
    seed: int,
    shuffle: bool = True,
    *,
    most: int = 0,
    again: int = 0,
) -> MemoryBatches:
    """The frames of these cases, normalised, as a source of batches.

    Args:
        most: how many windows, evenly spread (0: all).
        again: how often more the first window of each case comes.
    """
    d = len(cases.space)
    frames = np.empty((int(cases.length.sum()), len(cases.fields), *cases.space), dtype=np.float32)
    count = len(e.features.names) + (0 if e.channels is None else e.channels.numbers)
    features = np.zeros((len(frames), count), dtype=np.float32)
    owner = np.repeat(np.arange(len(cases.cases)), cases.length)
    windows, at = [], 0
    for i, case in enumerate(cases.cases):
        n = int(cases.length[i])
        frames[at : at + n] = e.state.normalise(cases.frames(i), d)
        features[at : at + n] = e.params(case, np.zeros(1) if cases.times is None else cases.times[i])
        usable = np.arange(at, at + n - horizon)
        windows.append(np.stack([usable, np.full(len(usable), at)], axis=1))
        at += n
    static, mask = _statics(cases, e)
    every = np.concatenate([*windows, *(np.repeat(w[:1], again, axis=0) for w in windows if again)])
    if 0 < most < len(every):
        every = every[np.linspace(0, len(every) - 1, most).astype(int)]
    return MemoryBatches(
        frames, features, every, history=e.history, horizon=horizon, batch_size=batch_size, seed=seed,
        static=static, mask=mask, case=owner, shuffle=shuffle,
    )  # fmt: skip


def loader_batches(
    cases: CaseTable, e: Encoding, path: Path, horizon: int, s: TrainingSettings, workers: int, split: str | None,
    subset: Sequence[str] | str | None, again: int,
) -> LoaderBatches:  # fmt: skip
    """Windows read from the file as they are needed."""
    if horizon < 1:
        raise InputError(
            f"memory_limit: the training split takes {cases.bytes() / 1e9:.1f} GB, more than the limit; raise it"
        )
    windows = Windows(
        path, split=split if "split" in cases.dataset.variables else None, fields=list(cases.fields),
        history=e.history, horizon=horizon, subset=subset,
    )  # fmt: skip
    more = np.repeat(windows.first_of_cases(), again)
    loader = Loader(windows, s.batch_size, seed=s.seed, workers=workers, drop_last=True, again=more)
    count = int(cases.dataset.sizes["case"])
    # failed cases, too: the windows within the frames that they do have
    every = cases_of(cases.dataset, windows.cases, cases.fields)
    scale = np.ones((count, len(cases.fields)))
    features: list[np.ndarray] = [np.zeros((0, 0), np.float32)] * count
    static_all, mask_all = _statics(every, e)
    static = None if static_all is None else np.zeros((count, *static_all.shape[1:]), np.float32)
    mask = None if mask_all is None else np.zeros((count, *mask_all.shape[1:]), np.float32)
    assert every.times is not None
    for i, number in enumerate(every.number):
        scale[number] = e.scales(every.cases[i]) * e.state.scale
        features[number] = e.params(every.cases[i], every.times[i])
        if static is not None and static_all is not None:
            static[number] = static_all[i]
        if mask is not None and mask_all is not None:
            mask[number] = mask_all[i]
    return LoaderBatches(loader, scale, features, horizon=horizon, static=static, mask=mask)


def _statics(cases: CaseTable, e: Encoding) -> tuple[np.ndarray | None, np.ndarray | None]:
    static = mask = None
    if e.static.names:
        found = [e.inputs(c, cases.grid(i)) for i, c in enumerate(cases.cases)]
        static = np.stack([f for f in found if f is not None])
    if e.masked:
        mask = np.stack([np.asarray(cases.mask(i), dtype=np.float32)[None] for i in range(len(cases.cases))])
    return static, mask


def select(cases: CaseTable, subset: Sequence[str] | str | None) -> CaseTable:
    """The cases of these subsets."""
    if subset is None:
        return cases
    wanted = [subset] if isinstance(subset, str) else list(subset)
    known = sorted({str(n) for n in cases.subsets})
    for name in wanted:
        if name not in known:
            raise InputError(f"subset: no subset is called {name!r}; known: {', '.join(known) or 'none'}")
    return keep(cases, np.flatnonzero(np.isin(cases.subsets, wanted)))


def keep(cases: CaseTable, rows: np.ndarray) -> CaseTable:
    return CaseTable(
        cases.dataset, cases.problem, cases.number[rows], [cases.cases[i] for i in rows], cases.start[rows],
        cases.length[rows], None if cases.times is None else [cases.times[i] for i in rows], cases.fields,
    )  # fmt: skip


def thin(cases: CaseTable, limit: float = 6.4e7) -> CaseTable:
    """At most `limit` bytes of cases, evenly chosen, so that validation stays a small part of the run."""
    share = cases.bytes() / limit
    if share <= 1:
        return cases
    return keep(
        cases, np.unique(np.linspace(0, len(cases.cases) - 1, max(1, int(len(cases.cases) / share))).astype(int))
    )


def operator_is_fixed(operator: nn.Module) -> bool:
    return not any(p.requires_grad for p in operator.parameters())


def _reflection(problem: PDEProblem) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    if problem.reflection is None:
        raise InputError(f"reflect: {problem.name} states no reflection symmetry")
    return problem.reflection


def _check(
    surrogate: Surrogate, rollout: int, start: float, gradient: str, noise: float, loss: str, repeats: int
) -> None:
    losses.get(loss)
    if not isinstance(repeats, int) or isinstance(repeats, bool) or repeats < 1:
        raise InputError(f"repeat_start: expected a whole number >= 1, got {repeats!r}")
    if not isinstance(rollout, int) or isinstance(rollout, bool) or rollout < 1:
        raise InputError(f"rollout: expected a whole number of steps >= 1, got {rollout!r}")
    if not 0 <= start <= 1:
        raise InputError(f"rollout_start: expected a share of training in [0, 1], got {start!r}")
    if gradient not in ("all", "last"):
        raise InputError(f"rollout_gradient: expected 'all' or 'last', got {gradient!r}")
    if not noise >= 0:
        raise InputError(f"noise: expected a number >= 0, got {noise!r}")


def _claim(folder: Path, resume: bool, record: dict[str, Any]) -> None:
    """Make the run directory; refuse to write over another run's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out: {folder} cannot be made ({error.strerror})") from None
    note = folder / "run.json"
    begun = note.exists() or (folder / "checkpoints" / "last.safetensors").exists()
    if begun and not resume:
        raise InputError(f"out: {folder} holds a run already; resume it (resume=True) or name another directory")
    if begun and note.exists():
        former = json.loads(note.read_text(encoding="utf-8"))
        for name in ("operator", "options", "split", "subset", "cases", "frames", "loss", "loss_options", "rollout",
                     "rollout_start", "rollout_gradient", "noise", "reflect", "repeat_start"):  # fmt: skip
            if former.get(name) != json.loads(json.dumps(record[name])):
                raise InputError(f"resume: {name} is {record[name]!r}, but {folder} was made with {former.get(name)!r}")
        if former.get("encoding") != record["encoding"]:
            raise InputError(f"resume: the training data are not those that {folder} was made with")
    replace_bytes(note, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
