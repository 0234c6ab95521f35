"""Several problems at once: what one model is told of each, batches of all of them, and training.

A data set holds one problem. Here several data sets are trained on together, a like share of every batch from each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sciml.contracts import Operator
from sciml.errors import InputError
from sciml.metrics import Sums
from sciml.operators.prosefd import EquationBatch
from sciml.problem import Case, Problem
from sciml.symbols import numbered, parameters, symbols, vocabulary
from sciml.training.asked import cases_of, require_settings
from sciml.training.batches import MemoryBatches
from sciml.training.checkpoint import plain
from sciml.training.devices import borrowed, to_float64, unwrapped
from sciml.training.encoding import GridEncoding
from sciml.training.fitting import carried_out, digest_of, held_out
from sciml.training.processes import present
from sciml.training.recipe import Recipe, Running
from sciml.training.samples import CaseTable, at_hand, open_data
from sciml.training.stepping import Window

FLOOR = 0.1  # of the spread of a field in its training split: fields that are almost even are not blown up beyond that
PROBED, LEAST = 64, 1e-4  # samples that tell how much happens in a problem, and the least mean square it counts as


@dataclass(frozen=True)
class Family:
    """One problem among those of a model.

    Args:
        encoding: scales of the fields over its training split, the step, and where its cases live.
        channels: predicted fields of all problems of the model.
        names: all fields of these problems, of which equations may speak.
        told: whether the model reads symbols; "parameters" for the numbers of a case alone.
    """

    encoding: GridEncoding
    channels: tuple[str, ...]
    names: tuple[str, ...]
    told: bool | str = True

    @property
    def problem(self) -> Problem:
        return self.encoding.problem

    @cached_property
    def rows(self) -> list[int]:
        """The channels of its fields."""
        return [self.channels.index(n) for n in self.encoding.fields]

    def like(self, encoding: GridEncoding) -> Family:
        """A further problem of the same model.

        Raises:
            InputError: fields that the model does not know.
        """
        problem = encoding.problem
        several = [n for n in encoding.fields if n not in self.channels]
        several += [f.name for f in problem.fields if f.name not in self.names and self.told is True]
        if several:
            raise InputError(f"data: {problem.name} has {', '.join(dict.fromkeys(several))}, but the model knows the "
                             f"fields {', '.join(self.names)}")  # fmt: skip
        return replace(self, encoding=encoding)

    def words(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """See `sciml.symbols.numbered`: of the equations, or of parameters alone, with the length of a step."""
        step = self.encoding.step
        which = symbols if self.told is True else parameters
        return numbered(which(case, None if step is None else step.of(case)), self.names)

    def batch(
        self, cases: Sequence[Case], words: Sequence[tuple[np.ndarray, np.ndarray]], state: Tensor, known: Tensor,
        mask: Tensor | None, future: Tensor,
    ) -> tuple[EquationBatch, Tensor, Tensor]:  # fmt: skip
        """What the model sees of several cases, with the shift and the spread of their fields, (batch, field, 1, 1).

        Args:
            words: of each case.
            state: (batch, frame, field, y, x) normalised frames, the present one last.
            known: (batch,) how many of them there are.
            mask: (batch or 1, 1, y, x).
            future: (batch, query) times from the present on, in spans of the frames that are answered at once.
        """
        e, (batch, count) = self.encoding, state.shape[:2]
        before = torch.arange(count - 1, -1, -1)
        frames = (before < known[:, None]).to(state.dtype)
        inside = state.new_ones(1, 1, *state.shape[3:]) if mask is None else mask
        weights = frames[:, :, None, None, None] * inside[:, None]
        total = weights.sum((1, 3, 4), keepdim=True)
        mean = (state * weights).sum((1, 3, 4), keepdim=True) / total
        variance = ((state - mean).square() * weights).sum((1, 3, 4), keepdim=True) / total
        shift, spread = mean[:, 0], (variance + FLOOR**2).sqrt()[:, 0]
        x = state.new_zeros(batch, count, len(self.channels), *state.shape[3:])
        x[:, :, self.rows] = (state - mean) / spread[:, None] * weights
        factor = e.factors(cases)[0].to(state.dtype)
        sizes = state.new_zeros(batch, len(self.channels), 2)
        sizes[:, self.rows] = torch.stack([(factor * spread).log10(), shift / spread], -1)[:, :, 0, 0]
        fields = state.new_zeros(batch, len(self.channels))
        fields[:, self.rows] = 1.0
        past = (-before / e.stepping.ahead).to(state.dtype).expand(batch, count)
        found = EquationBatch(x, past, future.to(state.dtype), sizes, fields, frames, mask)
        return (found if not self.told else with_words(found, words)), shift, spread


def with_words(batch: EquationBatch, words: Sequence[tuple[np.ndarray, np.ndarray]]) -> EquationBatch:
    """The batch with the symbols of each sample, filled up to the longest."""
    most = max(len(w) for w, _ in words)
    numbers = torch.zeros(len(words), most, dtype=batch.x.dtype)
    found, there = torch.zeros(len(words), most, dtype=torch.int64), torch.zeros_like(numbers)
    for i, (word, value) in enumerate(words):
        found[i, : len(word)] = torch.from_numpy(word)
        numbers[i, : len(word)] = torch.from_numpy(value)
        there[i, : len(word)] = 1.0
    return replace(batch, words=found, numbers=numbers, symbols=there)


def together(several: Sequence[EquationBatch]) -> EquationBatch:
    """Batches on grids of one shape as one."""
    if len(several) == 1:
        return several[0]
    masked = any(b.mask is not None for b in several)
    most = max((b.words.shape[1] for b in several if b.words is not None), default=0)
    found: dict[str, Any] = {}
    for name in EquationBatch.__dataclass_fields__:
        values = [getattr(b, name) for b in several]
        if name == "mask":
            values = [_whole(b) for b in several] if masked else values
        elif name in ("words", "numbers", "symbols") and most:
            values = [functional.pad(v, (0, most - v.shape[1])) for v in values]
        found[name] = None if values[0] is None else torch.cat(values)
    return EquationBatch(**found)


def _whole(batch: EquationBatch) -> Tensor:
    shape = (len(batch.x), 1, *batch.x.shape[-2:])
    return batch.x.new_ones(shape) if batch.mask is None else batch.mask.expand(shape)


@dataclass(frozen=True, eq=False)
class Part:
    """Samples on one grid, and what is to come out of them.

    Args:
        given: what the model sees.
        target: (batch, query, channel, y, x) changes since the present frame, in units of the sample's spread.
        weight: (batch,) of each sample's error.
    """

    given: EquationBatch
    target: Tensor
    weight: Tensor

    def error(self, model: Callable[..., Tensor]) -> Tensor:
        """(batch,) weighted mean square errors, every field of a sample counting alike."""
        gap = (model(**self.given.arguments()).to(self.target.dtype) - self.target).square().mean(1)
        if self.given.mask is None:
            each = gap.mean((-2, -1))
        else:
            each = (gap * self.given.mask).sum((-2, -1)) / self.given.mask.sum((-2, -1)).clamp_min(1.0)
        fields = self.given.fields.to(each.dtype)
        return (each * fields).sum(1) / fields.sum(1) * self.weight


@dataclass(frozen=True, eq=False)
class FamilyBatch:
    """Samples of all problems, by the shape of their grids."""

    parts: tuple[Part, ...]

    def to(self, device: Any, dtype: Any = None) -> FamilyBatch:
        return FamilyBatch(tuple(
            Part(p.given.to(device, dtype), p.target.to(device, dtype), p.weight.to(device, dtype)) for p in self.parts
        ))  # fmt: skip

    def loss(self, model: nn.Module) -> Tensor:
        return torch.cat([part.error(model) for part in self.parts]).mean()


class OfFamily(MemoryBatches):
    """Samples of one problem, whose errors count in units of what happens in it: "nothing changes" has the error 1, so
    that a problem in which little changes is not forgotten beside others.

    Args:
        table: its cases.
        family: what the model is told of it.
        more: see `MemoryBatches`.
    """

    def __init__(self, table: CaseTable, family: Family, **more: Any):
        super().__init__(table, family.encoding, **more)
        self.family = family
        self.words = [family.words(c) for c in table.cases] if family.told else []

    @cached_property
    def weight(self) -> float:
        """One over the error of "nothing changes", the mean over some samples, evenly spread."""
        part = self._part(np.unique(np.linspace(0, len(self.items) - 1, PROBED).astype(int)), 1.0)
        return 1.0 / max(float(part.error(lambda **_: torch.zeros_like(part.target)).mean()), LEAST)

    def sample(self, pick: np.ndarray) -> tuple[EquationBatch, Tensor, Tensor, Tensor]:
        """What the model sees, (batch, query, field, y, x) frames that follow, the present frame, and spreads."""
        plainly, stepping = super().batch(pick), self.e.stepping
        case, index = self.items[pick, 0], torch.from_numpy(self.items[pick, 1])
        assert plainly.state is not None
        known = (index // stepping.every + 1).clamp_max(stepping.past)
        ahead = torch.arange(1, stepping.ahead + 1) / stepping.ahead
        words = [self.words[i] for i in case] if self.words else []
        given, _, spread = self.family.batch(
            plainly.cases, words, plainly.state, known, plainly.given.mask, ahead.expand(len(pick), -1)
        )
        target = plainly.target[:, 0].unflatten(1, (stepping.ahead, -1))
        return given, target, plainly.state[:, -1], spread

    def part(self, pick: np.ndarray) -> Part:
        return self._part(pick, self.weight)

    def _part(self, pick: np.ndarray, weight: float) -> Part:
        given, target, last, spread = self.sample(pick)
        change = target.new_zeros(*target.shape[:2], len(self.family.channels), *target.shape[3:])
        change[:, :, self.family.rows] = (target - last[:, None]) / spread[:, None]
        return Part(given, change, change.new_full((len(pick),), weight))


class FamilyBatches:
    """Batches of which every problem has a like share; problems with fewer samples come round more often.

    Which samples make up batch number i of an epoch depends on (seed, epoch, i) alone.
    """

    def __init__(self, several: Sequence[OfFamily]):
        self.several = list(several)

    def __len__(self) -> int:
        return max(len(b) for b in self.several)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[FamilyBatch]:
        order: dict[tuple[int, int], list[np.ndarray]] = {}
        for i in range(start, len(self)):
            groups: dict[tuple[int, ...], list[Part]] = {}
            for k, batches in enumerate(self.several):
                turn, which = divmod(epoch * len(self) + i, len(batches))
                if (k, turn) not in order:
                    order[k, turn] = batches.indices(turn)
                part = batches.part(order[k, turn][which])
                groups.setdefault(tuple(part.target.shape[3:]), []).append(part)
            yield FamilyBatch(tuple(
                Part(
                    together([p.given for p in g]), torch.cat([p.target for p in g]), torch.cat([p.weight for p in g])
                )
                for g in groups.values()
            ))  # fmt: skip


class FamilyValidation:
    """NMSE of each field of held-out samples, in the problem's scales, over all frames that are answered at once:
    "validation" is the mean over problems of the mean over their fields; "validation_<problem>" that of each."""

    def __init__(self, several: Mapping[str, OfFamily]):
        self.several = dict(several)

    def __call__(self, operator: nn.Module) -> dict[str, float]:
        device = next(operator.parameters()).device
        found = {}
        for name, batches in self.several.items():
            sums = []
            with torch.no_grad():
                for pick in batches.indices(0):
                    given, target, last, spread = batches.sample(pick)
                    out = operator(**given.to(device).arguments())[:, :, batches.family.rows].to(target).cpu()
                    scale = torch.from_numpy(batches.e.state.scale).reshape(-1, 1, 1)
                    answer = (last[:, None] + out * spread[:, None]).double() * scale
                    truth, mask = target.double() * scale, given.mask
                    weights = None if mask is None else mask[:, None].expand_as(truth).double().numpy()
                    sums.append(Sums.of(answer.numpy(), truth.numpy(), weights=weights, axis=(0, 1, 3, 4)))
            found[f"validation_{name}"] = float(np.mean(sum(sums[1:], sums[0]).nmse))
        return {"validation": float(np.mean(list(found.values()))), **found}


@dataclass
class FittedFamilies:
    """The outcome of training.

    Args:
        families: by the names of their problems.
        operator: with the weights that were kept, in evaluation mode.
        record, metrics: how it went, and losses on the way.
    """

    families: dict[str, Family]
    operator: nn.Module
    recipe: Recipe
    record: dict[str, Any]
    metrics: list[dict[str, Any]]

    def __post_init__(self) -> None:
        self.operator.eval().requires_grad_(False)


def encoding_of(train: CaseTable, stepping: Window, dtype: str = "float32") -> GridEncoding:
    """The encoding of the cases of one problem.

    Raises:
        InputError: a problem that is no problem in time in the plane, or that has input fields.
    """
    name = train.problem.name
    if train.problem.dimensions != 2 or train.problem.steady:
        raise InputError(f"data: {name} is no problem in time in the plane, which the model takes")
    encoding = GridEncoding.fit(train, replace(stepping, increments=False), dtype=dtype)
    encoding.signature()
    if encoding.static.names:
        raise InputError(f"data: {name} has the input fields {', '.join(encoding.static.names)}, which the model "
                         "does not take")  # fmt: skip
    return encoding


def tables_of(
    data: Sequence[Any], stepping: Window, recipe: Recipe, running: Running, split: str | None, validation: str | None,
    subset: Sequence[str] | str | None = None,
) -> list[tuple[CaseTable, CaseTable | None, GridEncoding]]:  # fmt: skip
    """(training cases, held-out cases, encoding) of every data set.

    Raises:
        InputError: two of one problem, or one that `encoding_of` refuses.
    """
    found, names = [], []
    for one in data:
        dataset = at_hand(open_data(one)[0], running.memory_limit)
        train = cases_of(dataset, split, subset, None, None)
        name = train.problem.name
        if name in names:
            raise InputError(f"data: two data sets are of {name!r}, expected one data set a problem")
        names.append(name)
        encoding = encoding_of(train, stepping, "float64" if recipe.precision == "float64" else "float32")
        found.append((train, held_out(dataset, validation, train, subset), encoding))
    return found


def fit_families(
    cls: type[Operator], options: Mapping[str, Any], stepping: Window, data: Sequence[Any], recipe: Recipe,
    running: Running, *, told: bool | str = True, split: str | None = "train", validation: str | None = "validation",
    subset: Sequence[str] | str | None = None, former: FittedFamilies | None = None,
) -> FittedFamilies:  # fmt: skip
    """Train one model on several problems; see `FoundationModel.fit`."""
    require_settings(recipe, running)
    if present().count > 1:
        raise InputError("processes: a model of several problems trains in one process")
    if recipe.objective is not None or recipe.augmentations:
        raise InputError("recipe: expected no objective and no augmentations: each field of a problem counts alike")
    tables = tables_of(data, stepping, recipe, running, split, validation, subset)
    if former is None:
        channels = tuple(dict.fromkeys(n for _, _, e in tables for n in e.fields))
        names = tuple(dict.fromkeys(f.name for _, _, e in tables for f in e.problem.fields))
        families = {e.problem.name: Family(e, channels, names, told) for _, _, e in tables}
    else:
        one = next(iter(former.families.values()))
        channels, names = one.channels, one.names
        families = {e.problem.name: one.like(e) for _, _, e in tables}
    each = max(1, recipe.batch // len(tables))
    some = [
        OfFamily(train, families[e.problem.name], batch_size=each, seed=recipe.seed, repeats=recipe.sampler.repeats)
        for train, _, e in tables
    ]
    for batches in some:
        if not len(batches):
            raise InputError(f"data: no case of {batches.family.problem.name} has the frames that {stepping!r} needs")
    most = max(1, recipe.validation_items // len(tables))
    held = {
        e.problem.name: OfFamily(h, families[e.problem.name], batch_size=16, shuffle=False, most=most)
        for _, h, e in tables if h is not None and h.cases
    }  # fmt: skip
    held = {name: batches for name, batches in held.items() if len(batches)}
    validate = FamilyValidation(held) if held else None
    operator = _operator(cls, options, channels, names, recipe, former)
    with torch.no_grad():  # what grids it does not take, it refuses before there is a run
        for batches in some:
            operator(**batches.sample(batches.indices(0)[0][:1])[0].arguments())
    record: dict[str, Any] = {
        "operator": cls.name, "options": plain(dict(options)), "recipe": recipe.to_json(), "split": split,
        "subset": None if subset is None else list(np.atleast_1d(subset)),
        "cases": sum(len(t.cases) for t, _, _ in tables), "frames": sum(int(t.length.sum()) for t, _, _ in tables),
        "data": [e.problem.name for _, _, e in tables],
        "threads": torch.get_num_threads(), "continued": former is not None, "symbols": told,
        "data_digest": digest_of([e.to_json() for _, _, e in tables]),
    }  # fmt: skip

    def loss(model: nn.Module, batch: FamilyBatch, share: float) -> Tensor:
        return batch.loss(model)

    kept, metrics = carried_out(operator, loss, FamilyBatches(some), validate, recipe, running, record, present())
    known = families if former is None else former.families | families
    return FittedFamilies(known, kept, recipe, record, metrics)


def _operator(
    cls: type[Operator], options: Mapping[str, Any], channels: Sequence[str], names: Sequence[str], recipe: Recipe,
    former: FittedFamilies | None,
) -> Operator:  # fmt: skip
    with borrowed(torch.device("cpu"), recipe.seed, dtype=torch.float32):
        if former is None:
            operator = cls(len(channels), len(vocabulary(names)), **options)
        else:
            kept: Any = unwrapped(former.operator)
            operator = cls(**kept.config())
            operator.load_state_dict(kept.state_dict())
        return to_float64(operator) if recipe.precision == "float64" else operator  # type: ignore[return-value]
