"""From data and a recipe to a trained operator: encoding, batches, loss, validation, and a record of it all."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from sciml.contracts import Operator, build
from sciml.errors import InputError, suggest
from sciml.problem import Case
from sciml.training.asked import cases_of, require_settings, require_step
from sciml.training.augmentations import Augmented, Mirror
from sciml.training.batches import LoaderBatches, MemoryBatches
from sciml.training.callbacks import MetricsList, MetricsLog
from sciml.training.checkpoint import plain, replace_bytes
from sciml.training.devices import borrowed, peak_memory, to_float64, unwrapped
from sciml.training.encoding import Encoding, encoding_for
from sciml.training.laws.base import Constraint
from sciml.training.model import Model
from sciml.training.objectives import Objective, Supervised
from sciml.training.physics import Unlabelled, WithEquations
from sciml.training.processes import Processes, present
from sciml.training.recipe import Recipe, Running
from sciml.training.samples import CaseTable, at_hand, open_data, table
from sciml.training.stepping import Autoregressive, Query, Steady, Stepping, Window
from sciml.training.trainer import LossFunction, Trainer, Validate
from sciml.training.validation import Validation

E = TypeVar("E")


@dataclass
class Outcome(Generic[E]):
    """The outcome of training.

    Args:
        encoding: what the operator's tensors mean.
        operator: with the weights that were kept, in evaluation mode; they ask for no gradients, on which the kernels
            that PyTorch chooses for products depend, and with them the last digit of an answer.
        record: JSON values: recipe, data, and how it went.
        metrics: losses and validation figures on the way.
    """

    encoding: E
    operator: nn.Module
    recipe: Recipe
    record: dict[str, Any]
    metrics: list[dict[str, Any]]

    def __post_init__(self) -> None:
        self.operator.eval().requires_grad_(False)


Fitted = Outcome[Encoding]


def operator_options(cls: type[Operator], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an operator, if it takes them all.

    Raises:
        InputError: a name that it does not take, with the nearest that it does.
    """
    known = [n for n in inspect.signature(cls.__init__).parameters if n != "self"]
    for name in options:
        if name not in known:
            raise InputError(f"{cls.name}: takes no {name!r}{suggest(name, cls.options())}")
    return dict(options)


def default_stepping(cls: type[Operator], steady: bool) -> Stepping:
    """How time is treated where nobody says."""
    if steady:
        return Steady()
    if cls.frames is not None:
        return Window(*cls.frames)
    return Query() if cls.asks_times else Autoregressive()


def fit_operator(
    cls: type[Operator], options: Mapping[str, Any], stepping: Stepping | None, fields: Sequence[str] | None,
    data: Any, recipe: Recipe, running: Running, *, split: str | None = "train",
    validation: str | None = "validation", subset: Sequence[str] | str | None = None, former: Fitted | None = None,
    cases: Sequence[Case] = (), constraints: Sequence[Constraint] = (),
) -> Fitted:  # fmt: skip
    """Train an operator; see `Surrogate.fit`.

    Args:
        former: what was trained before: scales and weights to go on from.
        cases: without solutions, for an objective that holds answers to the problem's balances.
        constraints: laws that answers obey.
    """
    require_settings(recipe, running)
    processes = present()
    dataset, path = open_data(data)
    dataset = at_hand(dataset, running.memory_limit)
    before = None if former is None else former.encoding.problem
    train = cases_of(dataset, split, subset, fields if former is None else former.encoding.fields, before)
    held = held_out(dataset, validation, train, subset)
    symmetries = train.problem.symmetries if any(isinstance(a, Mirror) for a in recipe.augmentations) else ()
    if not symmetries and any(isinstance(a, Mirror) for a in recipe.augmentations):
        raise InputError(f"augmentations: {train.problem.name} states no symmetry, so Mirror has nothing to do")
    dtype = "float64" if recipe.precision == "float64" else "float32"
    encoding = _encoding(cls, stepping, train, dtype, symmetries, former, constraints)
    if encoding.constraints and symmetries:
        raise InputError("augmentations: Mirror does not know the laws of mirrored cases, expected no constraints")
    operator = begun(cls, options, encoding, former, recipe.seed)
    objective = recipe.objective or operator.objective() or Supervised()
    if not isinstance(objective, Objective):
        raise InputError(f"{cls.name}: its objective is a {type(objective).__name__}, expected an Objective")
    if encoding.stepping.past == 0 or encoding.stepping.queries:
        horizon = 1
        if objective.horizon > 1:
            raise InputError(f"objective: {encoding.stepping!r} answers at once, expected one step, got {objective!r}")
    else:
        horizon = objective.horizon
    equations = objective.equations(encoding)
    batches = _batches(train, encoding, recipe, running, horizon, path, symmetries, processes)
    if cases and equations is None:
        raise InputError(f"cases: without solutions only WithPhysics has a use for them, got {objective!r}")
    if equations is not None:
        own: dict[str, Any] = {"seed": recipe.seed, "size": recipe.batch, "processes": processes}
        others = Unlabelled(cases, train, encoding, equations, **own) if cases else None
        batches = WithEquations(batches, equations, others)
    if len(batches) < 1:
        raise InputError(f"data: no case of the split has the frames that {encoding.stepping!r} and {objective!r} need")
    validate = None
    if held is not None and held.cases:
        validate = Validation.of(held, encoding, recipe, objective, horizon, processes)
    if not any(p.requires_grad for p in operator.parameters()):
        raise InputError(f"surrogate: the {cls.name} has no weights to train")
    record = record_of(cls, options, recipe, train, encoding, path, split, subset, former, processes)
    record["unlabelled"] = len(cases)
    if encoding.constraints:
        record["constraints"] = [c.to_json() for c in encoding.constraints]

    def loss(model: nn.Module, batch: Any, share: float) -> Tensor:
        return objective(Model(model, encoding), batch, share)

    kept, metrics = carried_out(operator, loss, batches, validate, recipe, running, record, processes)
    return Fitted(encoding, kept, recipe, record, metrics)


def carried_out(
    operator: Operator, loss: LossFunction, batches: Any, validate: Validate | None, recipe: Recipe, running: Running,
    record: dict[str, Any], processes: Processes,
) -> tuple[nn.Module, list[dict[str, Any]]]:  # fmt: skip
    """The trained operator and losses on the way; how it went is added to the record.

    Raises:
        InputError: the run's folder is that of another run.
        TrainingError: a loss that is not finite.
    """
    log = log_of(running, record, processes)
    running, title = running.replace(callbacks=(*running.callbacks, log)), f"training {operator.title}"
    trainer = Trainer(operator, loss, recipe, running, title=title, processes=processes)
    began = time.monotonic()
    operator.forgets = running.forget
    kept = trainer.fit(batches, validate)
    operator.forgets = False
    record |= {"steps": trainer.step, "steps_planned": trainer.total_steps, "stopped": trainer.stopped}
    record |= {"seconds": round(time.monotonic() - began, 2), "device": str(trainer.device)}
    record["peak_memory_bytes"] = peak_memory(trainer.device)
    return kept, processes.of_first(log.records)


def log_of(running: Running, record: dict[str, Any], processes: Processes) -> MetricsLog | MetricsList:
    """Where losses and figures go: into the run's folder, which is made, or into memory.

    Raises:
        InputError: the folder is that of another run.
    """
    folder = running.folder
    if folder is None:
        return MetricsList()
    processes.by_first(lambda: claim(folder, running.resume, record))
    return MetricsLog(folder / "metrics.jsonl") if processes.first else MetricsList()


def held_out(
    dataset: Any, validation: str | None, train: CaseTable, subset: Sequence[str] | str | None
) -> CaseTable | None:
    """The cases of the validation split that belong to the same subsets; None where nobody asks for any.

    Raises:
        InputError: no such split.
    """
    if not validation:
        return None
    try:
        held = table(dataset, validation, train.fields, train.problem)
    except InputError as error:
        raise InputError(f"validation: {error}") from None
    if subset is None or not held.cases:
        return held
    wanted = [subset] if isinstance(subset, str) else list(subset)
    return held.keep(np.flatnonzero(np.isin(held.subsets, wanted)))


def _encoding(
    cls: type[Operator], stepping: Stepping | None, train: CaseTable, dtype: str, symmetries: Any,
    former: Fitted | None, constraints: Sequence[Constraint],
) -> Encoding:  # fmt: skip
    if former is not None:
        e = former.encoding
        if stepping is not None and stepping != e.stepping:
            raise InputError(f"stepping: the model was trained with {e.stepping!r}; fresh=True begins anew")
        if dtype != e.dtype:
            raise InputError(f"precision: the model was trained in {e.dtype}; fresh=True begins anew")
        require_step(train, e)
        return e if tuple(constraints) == e.constraints else e.held_to(constraints)
    how = stepping or default_stepping(cls, train.problem.steady)
    kind = encoding_for(cls.takes)
    return kind.fit(train, how, dtype=dtype, symmetries=symmetries, sensors=cls.sensors, constraints=constraints)


def record_of(
    cls: type[Operator], options: Mapping[str, Any], recipe: Recipe, train: CaseTable, encoding: Any, path: Path | None,
    split: str | None, subset: Sequence[str] | str | None, former: Any, processes: Processes,
) -> dict[str, Any]:  # fmt: skip
    """What is known of a training before it begins, as JSON values."""
    return {
        "operator": cls.name, "options": plain(options), "recipe": recipe.to_json(), "split": split,
        "subset": None if subset is None else [subset] if isinstance(subset, str) else list(subset),
        "cases": len(train.cases), "frames": int(train.length.sum()), "data": None if path is None else path.name,
        "threads": torch.get_num_threads(), "data_digest": digest_of(encoding.to_json()),
        "continued": former is not None, "processes": processes.count,
    }  # fmt: skip


def begun(
    cls: type[Operator], options: Mapping[str, Any], encoding: Any, former: Outcome[Any] | None, seed: int
) -> Operator:
    """The operator that training begins with: that of a former one, or one with new weights."""
    if former is not None:
        kept: Any = unwrapped(former.operator)
        operator = anew(type(kept), kept.config(), encoding)
        operator.load_state_dict(kept.state_dict())
        return operator
    with borrowed(torch.device("cpu"), seed, dtype=torch.float32):
        operator = build(cls, encoding.signature(), options)
        return to_float64(operator) if encoding.torch_dtype == torch.float64 else operator  # type: ignore[return-value]


def anew(cls: type[Operator], config: Mapping[str, Any], encoding: Any) -> Operator:
    """An operator as `config` says, in the precision of `encoding`, for weights that are known; the settings and the
    random numbers of the process have no part in it."""
    with borrowed(torch.device("cpu"), 0, dtype=torch.float32):
        operator = cls(**config)
        return to_float64(operator) if encoding.torch_dtype == torch.float64 else operator  # type: ignore[return-value]


def _batches(
    train: CaseTable, encoding: Encoding, recipe: Recipe, running: Running, horizon: int, path: Path | None,
    symmetries: Any, processes: Processes,
) -> Any:  # fmt: skip
    if processes.count > recipe.batch:
        raise InputError(f"batch: {recipe.batch} is less than the {processes.count} processes that share a batch")
    common: dict[str, Any] = {
        "horizon": horizon, "batch_size": recipe.batch, "seed": recipe.seed, "repeats": recipe.sampler.repeats,
        "symmetries": symmetries, "processes": processes,
    }  # fmt: skip
    if path is None or train.bytes() <= running.memory_limit:
        batches: Any = MemoryBatches(train, encoding, **common)
    else:
        batches = LoaderBatches(train, encoding, path, **common)
    return Augmented(batches, recipe.augmentations, recipe.seed, processes.rank) if recipe.augmentations else batches


def claim(folder: Path, resume: bool, record: dict[str, Any]) -> None:
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
        for name in ("operator", "options", "symbols", "in_the_loop", "split", "subset", "cases", "frames"):
            now = json.loads(json.dumps(record.get(name)))
            if former.get(name) != now:
                raise InputError(f"resume: {name} is {now!r}, but {folder} was made with {former.get(name)!r}")
        if former.get("constraints", []) != json.loads(json.dumps(record.get("constraints", []))):
            raise InputError(f"resume: {folder} was made with constraints {_named(former)}, expected the same, "
                             f"got {_named(record)}")  # fmt: skip
        if former.get("data_digest") != record["data_digest"]:
            raise InputError(f"resume: the training data are not those that {folder} was made with")
    replace_bytes(note, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())


def _named(record: Mapping[str, Any]) -> str:
    """The constraints of a record in words."""
    return ", ".join(str(c["kind"]) for c in record.get("constraints", [])) or "none"


def digest_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
