"""Training of a correction: batches that hold what the coarse solver needs, and figures of held-out rollouts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor, nn

from sciml.contracts import GridBatch, Operator, build
from sciml.errors import InputError
from sciml.implicit.bridge import to_torch
from sciml.solvers import _restarts
from sciml.solvers._corrected_model import Coarse, CoarseBatch, CorrectedModel, Velocities
from sciml.solvers._two_grids import TwoGrids
from sciml.solvers.incompressible import IncompressibleFlow
from sciml.support import Grid
from sciml.training.asked import cases_of, require_settings, require_step
from sciml.training.batches import Batch, MemoryBatches
from sciml.training.checkpoint import plain
from sciml.training.devices import borrowed, to_float64, unwrapped
from sciml.training.encoding import GridEncoding
from sciml.training.fitting import Fitted, anew, carried_out, digest_of, held_out
from sciml.training.objectives import Growing, Objective, Supervised, WithPhysics
from sciml.training.processes import Processes, present
from sciml.training.recipe import Recipe, Running
from sciml.training.samples import CaseTable, at_hand, open_data, table
from sciml.training.stepping import Autoregressive
from sciml.training.validation import Validation

STEPS = 4  # of rollouts at the end of training, where nobody says


@dataclass
class FittedCoarse(Fitted):
    """The outcome of training; the encoding is that of the frames.

    Args:
        coarse: what the network's tensors mean.
    """

    coarse: Coarse = None  # type: ignore[assignment]


class Bridges:
    """S and P of a batch as functions of torch, compiled for one number of samples.

    Args:
        flow: the coarse solver.
        ends: of its box.
        size: samples; of fewer, the last stands in for those that are missing.
    """

    def __init__(self, flow: IncompressibleFlow, ends: Any, size: int):
        self.size = size
        self._advance = to_torch(jax.vmap(partial(_restarts.advanced, flow, ends)))
        self._project = to_torch(jax.vmap(partial(_restarts.projected, flow, ends)))

    def advance(self, *given: Any) -> tuple[Tensor, Tensor]:
        return self._of(self._advance, given)

    def project(self, *given: Any) -> tuple[Tensor, Tensor]:
        return self._of(self._project, given)

    def _of(self, function: Callable[..., Any], given: Sequence[Any]) -> tuple[Tensor, Tensor]:
        n = len(given[-1])
        u, v = function(*_mapped(given, lambda t: _filled(t, self.size)))
        return u[:n], v[:n]


@lru_cache(maxsize=8)
def bridges_of(flow: IncompressibleFlow, ends: Any, size: int) -> Bridges:
    """The same for the same arguments, so that what is compiled is compiled once."""
    return Bridges(flow, ends, size)


def _filled(tensor: Tensor, size: int) -> Tensor:
    missing = size - len(tensor)
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])]) if missing else tensor


def _mapped(tree: Any, function: Callable[[Any], Any]) -> Any:
    return jax.tree.map(function, tree)


class CoarseBatches(MemoryBatches):
    """Samples with coarse velocities, and with what the solver makes of them.

    Args:
        table, encoding, more: see `MemoryBatches`.
        flow: the coarse solver.
        bridges: of it.
        coarse: what the network's tensors mean; None where that is to be found, from these cases.
        details: whether what the coarse grid does not hold is carried along, where `coarse` is None.
    """

    def __init__(
        self, table: CaseTable, encoding: GridEncoding, flow: IncompressibleFlow, bridges: Bridges,
        coarse: Coarse | None = None, details: bool = True, **more: Any,
    ):  # fmt: skip
        super().__init__(table, encoding, **more)
        real = encoding.torch_dtype
        supports = [table.support(i) for i in range(len(table.cases))]
        first = supports[0]
        assert isinstance(first, Grid) and table.times is not None and encoding.step is not None
        grids = TwoGrids(first.shape, flow.resolution, first.periodic)
        for number, support in zip(table.number, supports, strict=True):
            if not isinstance(support, Grid) or not support.uniform_cells or support.at is not None:
                raise InputError(f"data: case {number} lives on unequal cells, expected equal ones")
        rows = [
            _restarts.prepared(flow, c, t) for c, t in zip(table.cases, table.times, strict=True)
        ]  # fmt: skip
        self.march = _mapped(_restarts.stacked(rows), lambda a: _tensor(a, real))
        self.speed = torch.tensor([[c.scales.fields[n] for n in encoding.fields] for c in table.cases], dtype=real)
        self.dt = torch.tensor([encoding.step.of(c) for c in table.cases], dtype=real)
        self.clock = torch.from_numpy(np.concatenate(table.times)).to(real)
        of_frame = torch.from_numpy(np.repeat(np.arange(len(table.cases)), table.length))
        self.q = self._coarsened(table, grids, of_frame, bridges)
        self.ahead = self._advanced(of_frame, bridges)
        if coarse is None:
            coarse = Coarse(encoding, flow.resolution, details, np.ones((4, 2)))
            coarse = Coarse(encoding, flow.resolution, details, self._units(coarse, of_frame))
        self.coarse = coarse
        self.fluid = None
        if coarse.bodies:
            self.fluid = torch.from_numpy(np.stack([coarse.fluid(c) for c in table.cases]))

    def _coarsened(self, table: CaseTable, grids: TwoGrids, of_frame: Tensor, bridges: Bridges) -> Velocities:
        """(frame, ...) true velocities, free of divergence, in the problem's scales."""
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for i, case in enumerate(table.cases):
            frames = table.frames(i) * table.scales(i).reshape(1, -1, 1, 1)
            assert table.times is not None
            found += [grids.down(case, *frame, table.support(i), float(t)) for frame, t in
                      zip(frames, table.times[i], strict=True)]  # fmt: skip
        u, v = (torch.from_numpy(np.stack(a)).to(self.e.torch_dtype) for a in zip(*found, strict=True))
        return self._each(of_frame, bridges.project, bridges.size, u, v, self.clock)

    def _advanced(self, of_frame: Tensor, bridges: Bridges) -> Velocities:
        """(frame, ...) what the solver makes of each of them."""
        su, sv = (s[:, None, None] for s in self.speed[of_frame].unbind(1))
        return self._each(
            of_frame, bridges.advance, bridges.size, self.q.u * su, self.q.v * sv, self.clock, self.dt[of_frame]
        )

    def _each(self, of_frame: Tensor, function: Any, size: int, *given: Tensor) -> Velocities:
        parts = []
        with torch.no_grad():
            for a in range(0, len(of_frame), size):
                rows = slice(a, a + size)
                march = _mapped(self.march, lambda t, rows=rows: t[of_frame[rows]])
                parts.append(function(*march, *(g[rows] for g in given)))
        u, v = (torch.cat(p) for p in zip(*parts, strict=True))
        su, sv = (s[:, None, None] for s in self.speed[of_frame].unbind(1))
        if not bool(torch.isfinite(u).all() and torch.isfinite(v).all()):
            bad = int(of_frame[~(torch.isfinite(u).flatten(1).all(1) & torch.isfinite(v).flatten(1).all(1))][0])
            raise InputError(
                f"data: the coarse solver fails on {self.cases[bad]!r:.120}: a step takes more than max_substeps, or "
                "values are not finite"
            )
        return Velocities(u / su, v / sv)

    def _units(self, coarse: Coarse, of_frame: Tensor) -> np.ndarray:
        """See `Coarse.units`, over all pairs of frames."""
        every = self.e.stepping.every
        first = torch.arange(len(of_frame) - every)
        first = first[of_frame[first] == of_frame[first + every]]
        then, m = first + every, coarse.matrices
        fine = self.frames * m.scale + m.offset
        if self.given.mask is not None:
            mask = self.given.mask
            fine = fine * (mask if len(mask) == 1 else mask[of_frame])
        detail = fine - m.up(self.q)
        rows = [
            [(self.ahead.u - self.q.u)[first], (self.ahead.v - self.q.v)[first]],
            [self.q.u[then] - self.ahead.u[first], self.q.v[then] - self.ahead.v[first]],
            [detail[:, 0], detail[:, 1]],
            [(detail[then] - detail[first])[:, 0], (detail[then] - detail[first])[:, 1]],
        ]
        found = np.array([[float(a.double().square().mean().sqrt()) for a in row] for row in rows])
        return np.where(found > 1e-9, found, 1.0)

    def batch(self, pick: np.ndarray) -> CoarseBatch:
        plainly: Batch = super().batch(pick)
        case, present, start, _ = self.items[pick].T
        frames = torch.from_numpy(start + present)
        every = self.e.stepping.every
        several = frames[:, None] + every * torch.arange(self.horizon + 1)
        rows = torch.from_numpy(case)
        return CoarseBatch(
            **{f.name: getattr(plainly, f.name) for f in fields(Batch)},
            q=Velocities(self.q.u[several], self.q.v[several]),
            ahead=Velocities(self.ahead.u[frames], self.ahead.v[frames]),
            fluid=None if self.fluid is None else self.fluid[rows], speed=self.speed[rows],
            march=_mapped(self.march, lambda t: t[rows]),
            clock=torch.stack([self.clock[frames], self.dt[rows]], 1),
        )  # fmt: skip


def _tensor(values: np.ndarray, real: torch.dtype) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.to(real) if tensor.is_floating_point() else tensor


class CorrectedValidation(Validation):
    """Of a coarse solver with its correction: see `Validation`."""

    def __init__(self, batches: CoarseBatches, bridges: Bridges, processes: Processes):
        super().__init__(batches.e, batches, processes)
        self.bridges, self.coarse = bridges, batches.coarse

    def predictor(self, operator: nn.Module) -> Any:
        return _Fine(operator, self.coarse, self.bridges.advance, self.bridges.project)


class _Fine(CorrectedModel):
    """Answers with the fine frames alone."""

    def __call__(self, state: Any, batch: Any, k: int) -> Any:
        answer, after = super().__call__(state, batch, k)
        return answer.fine, after


def fit_corrected(
    cls: type[Operator], options: Mapping[str, Any], flow: IncompressibleFlow, data: Any, recipe: Recipe,
    running: Running, *, step: int = 1, details: bool = True, in_the_loop: bool = True, split: str | None = "train",
    validation: str | None = "validation", subset: Sequence[str] | str | None = None,
    former: FittedCoarse | None = None,
) -> FittedCoarse:  # fmt: skip
    """Train the correction of a coarse solver; see `CorrectedFlow.fit`."""
    require_settings(recipe, running)
    if running.device not in ("auto", "cpu"):
        raise InputError(f"device: the coarse solver trains on the processor, expected cpu, got {running.device!r}")
    if recipe.augmentations:
        raise InputError("augmentations: the coarse solver would not know of them, expected none")
    objective = recipe.objective or (Growing(steps=STEPS) if in_the_loop else Supervised())
    if not isinstance(objective, Objective) or isinstance(objective, WithPhysics):
        raise InputError(f"objective: expected Growing, Rollout or Supervised, got {objective!r:.60}")
    if not in_the_loop and objective.horizon > 1:
        raise InputError(f"objective: without the solver in the loop expected one step, got {objective!r:.60}")
    running, processes = running.replace(device="cpu"), present()
    dataset, path = open_data(data)
    dataset = at_hand(dataset, running.memory_limit)
    known = table(dataset, split).problem
    if not flow.supports(known):
        raise InputError(f"data: {known.name} is no flow that IncompressibleFlow solves")
    before = None if former is None else former.encoding.problem
    train = cases_of(dataset, split, subset, known.velocity if former is None else former.encoding.fields, before)
    held = held_out(dataset, validation, train, subset)
    train, left_out = resolved(flow, train)
    held = None if held is None else resolved(flow, held)[0]
    if former is None:
        dtype = "float64" if recipe.precision == "float64" else "float32"
        encoding = GridEncoding.fit(train, Autoregressive(step=step), dtype=dtype)
    else:
        encoding = former.coarse.encoding
        require_step(train, encoding)
        shape = train.support(0).shape
        if shape != encoding.template.shape:
            raise InputError(f"data: {shape} cells, but the model was trained on {encoding.template.shape}; fresh=True "
                             "begins anew")  # fmt: skip
    cases = [*train.cases, *([] if held is None else held.cases)]
    bridges = bridges_of(flow, _restarts.ends_of(cases), recipe.batch)
    common: dict[str, Any] = {"flow": flow, "bridges": bridges, "horizon": objective.horizon}
    batches = CoarseBatches(
        train, encoding, **common, coarse=None if former is None else former.coarse, details=details,
        batch_size=recipe.batch, seed=recipe.seed, repeats=recipe.sampler.repeats, processes=processes,
    )  # fmt: skip
    if len(batches) < 1:
        raise InputError(f"data: no case of the split has the frames that {objective!r} needs")
    coarse = batches.coarse
    operator = _operator(cls, options, coarse, recipe, former)
    validate = None
    if held is not None and held.cases:
        most = max(1, recipe.validation_items // objective.horizon)
        some = CoarseBatches(
            held, encoding, **common, coarse=coarse, batch_size=recipe.batch, shuffle=False, most=most
        )  # fmt: skip
        validate = CorrectedValidation(some, bridges, processes) if len(some) else None
    if validate is None and (recipe.keep == "best" or recipe.patience):
        raise InputError(
            f"validation: no case has the frames that {objective!r} needs, and keep or patience choose by it"
        )
    record: dict[str, Any] = {
        "operator": cls.name, "options": plain(dict(options)), "recipe": recipe.to_json(), "split": split,
        "subset": None if subset is None else list(np.atleast_1d(subset)), "cases": len(train.cases),
        "frames": int(train.length.sum()), "data": None if path is None else path.name,
        "threads": torch.get_num_threads(), "data_digest": digest_of(coarse.to_json()),
        "continued": former is not None, "processes": processes.count, "in_the_loop": in_the_loop,
        "flow": flow.settings, "left_out": left_out,
    }  # fmt: skip
    loop = CorrectedModel(operator, coarse, bridges.advance, bridges.project, in_the_loop)
    _compiled(loop, batches, min(objective.horizon, 2))

    def loss(model: nn.Module, batch: Any, share: float) -> Tensor:
        predict: Any = CorrectedModel(model, coarse, bridges.advance, bridges.project, in_the_loop)
        return objective(predict, batch, share)

    kept, metrics = carried_out(operator, loss, batches, validate, recipe, running, record, processes)
    return FittedCoarse(encoding, kept, recipe, record, metrics, coarse=coarse)


def resolved(flow: IncompressibleFlow, some: CaseTable) -> tuple[CaseTable, list[int]]:
    """The cases whose bodies the solver's grid can hold, and the numbers of the others, of which a warning tells.

    Raises:
        InputError: none is left, or a case is wrong in another way.
    """
    kept, lost, why = [], [], ""
    for i, case in enumerate(some.cases):
        try:
            flow.fit(case)
            kept.append(i)
        except InputError as error:
            lost.append(int(some.number[i]))
            why = str(error)
    if lost and not kept:
        raise InputError(f"data: no case fits to the coarse grid; {why}")
    if lost:
        warnings.warn(f"data: cases {', '.join(map(str, lost))} are left out: {why}", stacklevel=4)
    return some.keep(np.array(kept, int)), lost


def _compiled(loop: CorrectedModel, batches: CoarseBatches, steps: int) -> None:
    """Have what training asks for compiled, so that a run by minutes counts none of it."""
    if not loop.in_the_loop:
        return
    batch = batches.batch(np.arange(min(batches.batch_size, len(batches.items))))
    with torch.enable_grad():
        state, found = loop.start(batch), []
        state = state._replace(fine=state.fine.requires_grad_())
        for k in range(steps):
            answer, state = loop(state, batch, k)
            found.append(answer.fine.square().mean())
        weights = [p for p in loop.correct.operator.parameters() if p.requires_grad]
        torch.autograd.grad(torch.stack(found).sum(), weights, allow_unused=True)


def _operator(
    cls: type[Operator], options: Mapping[str, Any], coarse: Coarse, recipe: Recipe, former: FittedCoarse | None
) -> Operator:
    if not issubclass(cls.takes, GridBatch):
        raise InputError(f"operator: {cls.name} takes {cls.takes.__name__}, expected one on grids")
    if former is not None:
        kept: Any = unwrapped(former.operator)
        operator = anew(type(kept), kept.config(), coarse.encoding)
        operator.load_state_dict(kept.state_dict())
        return operator
    with borrowed(torch.device("cpu"), recipe.seed, dtype=torch.float32):
        operator = build(cls, coarse.signature(), options)
        return to_float64(operator) if coarse.encoding.torch_dtype == torch.float64 else operator  # type: ignore[return-value]
