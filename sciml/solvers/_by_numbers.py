"""Frames of a learned solver as a function of the numbers that make a case.

    u (K,) -> case(u) -> a(u) -> q(t; a)

The arrays a(u) are what an operator is given of a case: how it starts, the problem's scales of its fields, its
dimensionless features at each step, input fields, lengths. They come from the problem's own Python, which no automatic
derivative passes through, and take no time: their derivatives are central differences of fourth order, in float64. The
operator's, through all steps, are exact.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from sciml.errors import InputError
from sciml.problem import Case
from sciml.solver import Restartable, Start, check_times
from sciml.solvers import _saved
from sciml.solvers._trained import OfEncoding
from sciml.support import Support
from sciml.training.encoding import Encoding
from sciml.training.encoding.given import Given, collate
from sciml.training.laws.base import laws_of
from sciml.training.model import Model

STEP = 1e-3  # of the scales of the numbers: differences of fourth order are then right to some 1e-12
NEARER = 3  # times that differences are taken over a tenth of that, where cells come and go
SMOOTH = ("static", "weights", "coords", "lengths", "curvature", "free", "factor", "extension")


@dataclass(frozen=True)
class _Told:
    """What an operator is given of one case.

    Args:
        smooth: arrays that change smoothly with the numbers, float64.
        still: what has to stay as it is: cells inside, graphs, numbers of steps.
        place: all that `Given` holds of it.
        start: where it begins.
        support: of its answer.
        index: (time,) numbers of steps; None where there are none.
    """

    smooth: dict[str, np.ndarray]
    still: dict[str, Any]
    place: dict[str, Any]
    start: Start
    support: Support
    index: np.ndarray | None


class ByNumbers(OfEncoding[Encoding], Restartable):
    """What a learned solver of fields adds to be differentiated; abstract, see `Surrogate`."""

    def _another(self, encoding: Encoding, operator: torch.nn.Module, **noted: Any) -> Self:
        raise NotImplementedError

    def _placed(self, case: Case, times: np.ndarray | None, begun: float | None = None) -> Start:
        raise NotImplementedError

    def _started(self, case: Case, times: np.ndarray | None, begun: float | None = None) -> Start:
        raise NotImplementedError

    def cast(self, precision: str) -> Self:
        """A copy that computes in another precision. In double precision differences of an answer, and what they are
        compared with, agree to many more digits.

        Args:
            precision: "float32" or "float64".
        """
        if precision not in ("float32", "float64"):
            raise InputError(f"precision: expected 'float32' or 'float64', got {precision!r:.40}")
        f = self._ready()
        encoding = replace(f.encoding, dtype=precision)
        operator = copy.deepcopy(_saved.unwrapped(f.operator)).to(encoding.torch_dtype)
        return self._another(encoding, operator, cast=precision)

    def trajectory(
        self,
        case: Callable[[Any], Case],
        numbers: Float[Tensor, "*batch number"],
        times: Any = None,
        *,
        frames: Float[Tensor, "*begin"] | None = None,
        begun: float = 0.0,
        sizes: Sequence[float] | None = None,
    ) -> Float[Tensor, "*found"]:
        """Fields as a function of the numbers that make a case, with derivatives by `torch.autograd`.

        Args:
            case: u (K,) -> the case; u changes numbers of it and no more: parameters, knots of series, an input field.
            numbers: (..., K) u; each row is a case, and all go through the operator as one batch.
            times: as of `solve`; None for steady problems.
            frames: (..., history, field, *shape) how they begin, in physical units, in the place of their own start;
                differentiated by, too. Without leading axes the same for all.
            begun: the time of the last of `frames`.
            sizes: (K,) over which changes of u matter, of which what the operator is given is differenced over
                thousandths; |u| by default, and 1 where it is 0.

        Returns:
            (..., time, field, *shape) in physical units, the fields in the order of `predicted`, 0 outside of the mask;
            (..., field, *shape) for steady problems. In the precision of the operator, see `cast`.

        What is inside stays so: of a body that grows the operator's mask knows nothing, as cells are in it or not.
        Derivatives are first ones; a second one raises.

        Raises:
            InputError: no case, numbers of which there are none, times between steps, frames that do not fit, laws that
                answers obey (they are made for one case), or a u that changes more than numbers: the graph of a cloud,
                or the length of a step that counts in time scales.
        """
        e, f = replace(self.encoding, dtype="float64"), self._ready()
        rows, lead = _rows(numbers), numbers.shape[:-1]
        values = rows.detach().to("cpu", torch.float64).numpy()
        asked, at = None, None if frames is None else _clock(begun)
        if frames is None and begun:
            raise InputError(f"begun: {begun!r:.40} is the time of frames, and none are given")

        def described(u: np.ndarray, beside: _Told | None = None) -> _Told:
            nonlocal asked
            made = case(u.copy())
            self.require(made)  # type: ignore[arg-type]
            asked = check_times(made.problem, times)
            start = (self._placed if beside is None else self._started)(made, asked, at)
            return self._told(e, start, asked, None if beside is None else beside.index)

        told = [described(u) for u in values]
        places, supports = [t.place for t in told], [t.support for t in told]
        _alike(told)
        if e.constraints and laws_of(e.constraints, e, [t.start.case for t in told], supports) is not None:
            names = ", ".join(type(c).__name__ for c in e.constraints)
            raise InputError(f"trajectory: answers that obey {names} are not differentiated; take constrained() of it")
        e.agree(places, supports)
        given: Given = collate(places, torch.float64)
        for t, place in zip(told, places, strict=True):  # what `agree` has filled in is none of the case's own
            t.smooth.update({n: place[n] for n in SMOOTH if place.get(n) is not None and n not in t.smooth})
        made = _made(rows, values, told, described, _sizes(sizes, values))
        real = self.encoding.torch_dtype
        a = {name: tensor.to(self.device, real) for name, tensor in made.items()}
        given = replace(given, **{n: a[n] for n in SMOOTH if n in a})
        if given.axes is not None:
            given = replace(given, axes=tuple(a[f"axis_{k}"] for k in range(len(given.axes))))
        given = _in(real, given).to(self.device)
        inside = _inside(supports).to(self.device)
        begin = a["start"] if frames is None else _frames(frames, a["start"], lead)
        model = Model(f.operator, self.encoding)
        found = self._answers(model, given, begin, inside, a, told[0].index)
        shown = inside if found.ndim == inside.ndim else inside[:, None]
        return torch.where(shown, found, 0).reshape(*lead, *found.shape[1:])

    def _told(self, e: Encoding, start: Start, times: np.ndarray | None, index: np.ndarray | None) -> _Told:
        case, support = start.case, start.support
        place = e.place(case, support)
        if e.constraints:
            place = place | e._ansatz(case, e._positions(support))
        multiplier, offset = e._factors(case)
        past = start.beginning[0][None] if e.stepping.queries else start.frames
        smooth = {"multiplier": multiplier, "offset": offset, "start": np.asarray(past, dtype=np.float64)}
        steps = ()
        if times is None:
            smooth["params"] = e.params(case, np.zeros(1))
        elif e.stepping.queries:
            begun = start.beginning[1]
            smooth |= {"params": e.params(case, np.array([begun])), "share": e.share(case, times, begun)}
        else:
            assert e.step is not None
            index, dt = e.step.index(case, times, start.time) if index is None else index, e.step.of(case)
            if index.min(initial=0) < 0:
                raise InputError("times: expected times from that of the first frame on")
            count = max(-(-int(index.max(initial=0)) // e.stepping.ahead), 1)
            smooth["params"] = e.params(case, start.time + dt * e.stepping.ahead * np.arange(count))
            steps = (dt, *index.tolist())
        smooth |= {n: np.asarray(place[n], dtype=np.float64) for n in SMOOTH if place.get(n) is not None}
        axes = place.get("axes") or ()
        smooth |= {f"axis_{k}": np.asarray(axis, dtype=np.float64) for k, axis in enumerate(axes)}
        still = {n: v for n, v in place.items() if n not in (*SMOOTH, "axes")} | {"step": steps}
        return _Told(smooth, still, dict(place), start, support, index)

    def _answers(
        self, model: Model, given: Given, begin: Tensor, inside: Tensor, a: dict[str, Tensor], index: np.ndarray | None
    ) -> Tensor:
        """(batch, [time,] field, *shape) physical."""
        e, support = self.encoding, inside.shape[2:]
        scale, shift = (a[n].reshape(*a[n].shape, *[1] * len(support)) for n in ("multiplier", "offset"))

        def physical(values: Tensor) -> Tensor:
            return shift + scale * values.reshape(*values.shape[:2], *support).to(scale.dtype)

        state = torch.where(inside[:, None], (begin - shift[:, None]) / scale[:, None], 0)
        if e.flat:
            state = state.flatten(3)
        if state.shape[1] < e.stepping.past:
            state = torch.cat([state[:, :1]] * (e.stepping.past - state.shape[1]) + [state], 1)
        state = state[:, state.shape[1] - e.stepping.past :]
        params = a["params"]
        if index is None and "share" not in a:
            return physical(model.answer(None, given, params[:, 0], None))
        if index is None:
            times = a["share"].unbind(1)
            return torch.stack([physical(model.answer(state, given, params[:, 0], t)) for t in times], 1)
        applications = -(-int(index.max(initial=0)) // e.stepping.ahead)
        every = [begin[:, -1], *map(physical, model.rollout(state, given, lambda k: params[:, k], applications))]
        return torch.stack([every[k] for k in index], 1)


def _rows(numbers: Tensor) -> Tensor:
    if not isinstance(numbers, Tensor) or not numbers.is_floating_point() or not numbers.ndim or not numbers.numel():
        raise InputError(f"numbers: expected a tensor (..., K) of floating point numbers, got {numbers!r:.60}")
    return numbers.reshape(-1, numbers.shape[-1])


def _clock(begun: Any) -> float:
    try:
        found = float(begun)
    except (TypeError, ValueError):
        found = np.nan
    if isinstance(begun, str) or not np.isfinite(found):
        raise InputError(f"begun: expected a time in s, got {begun!r:.40}")
    return found


def _sizes(sizes: Sequence[float] | None, values: np.ndarray) -> np.ndarray:
    """(row, K)"""
    if sizes is None:
        return np.where(values == 0, 1.0, np.abs(values))
    try:
        found = np.asarray(sizes, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"sizes: expected {values.shape[1]} numbers > 0, got {sizes!r:.80}") from None
    if found.shape != values.shape[1:] or not (np.isfinite(found).all() and (found > 0).all()):
        raise InputError(f"sizes: expected {values.shape[1]} numbers > 0, got {sizes!r:.80}")
    return np.broadcast_to(found, values.shape)


def _frames(frames: Tensor, own: Tensor, lead: Sequence[int]) -> Tensor:
    """(batch, history, field, *shape) of frames that are given, where `own` are the cases' own."""
    field, most = tuple(own.shape[2:]), own.ndim - 1
    if not isinstance(frames, Tensor):
        raise InputError(f"frames: expected a tensor (..., history, field, *shape), got {type(frames).__name__}")
    if not bool(torch.isfinite(frames).all()):
        raise InputError("frames: expected finite values")
    if frames.ndim < most or tuple(frames.shape[1 - most :]) != field or not frames.shape[-most]:
        raise InputError(f"frames: expected (..., history, {', '.join(map(str, field))}), got {tuple(frames.shape)}")
    if frames.ndim > most and tuple(frames.shape[:-most]) != tuple(lead):
        raise InputError(f"frames: expected leading axes {tuple(lead)} as numbers have, got {tuple(frames.shape)}")
    found = frames.to(own).reshape(-1, *frames.shape[-most:])
    return found.expand(len(own), *found.shape[1:])


def _inside(supports: Sequence[Support]) -> Tensor:
    """(batch, 1, *shape)"""
    shape = supports[0].shape
    found = [np.ones(shape, bool) if s.inside is None else s.inside for s in supports]
    return torch.from_numpy(np.stack(found)[:, None])


def _in(real: torch.dtype, given: Given) -> Given:
    """With the precision of the operator in all that is left of `collate`."""

    def cast(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(real) if value.is_floating_point() else value
        return tuple(map(cast, value)) if isinstance(value, tuple) else value

    return Given(**{name: cast(value) for name, value in vars(given).items()})


def _alike(told: Sequence[_Told]) -> None:
    """Refuse rows that do not go into one batch."""
    first = told[0]
    for t in told[1:]:
        shapes = ({n: v.shape for n, v in x.smooth.items()} for x in (first, t))
        if next(shapes) != next(shapes) or not _same(first.still["step"], t.still["step"]):
            raise InputError(
                "numbers: rows give cases on other shapes, or that reach the times in other steps; ask for each alone"
            )


def _same(one: Any, other: Any) -> bool:
    """Equal but for rounding."""
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    if one is None or other is None:
        return one is other
    a, b = np.asarray(one), np.asarray(other)
    if a.shape != b.shape:
        return False
    return np.allclose(a, b, rtol=1e-12, atol=0) if a.dtype.kind == "f" else bool(np.array_equal(a, b))


def _made(
    rows: Tensor, values: np.ndarray, told: Sequence[_Told], described: Callable[..., _Told], sizes: np.ndarray
) -> dict[str, Tensor]:
    """name -> (batch, ...) arrays of all rows, in float64."""
    names = list(told[0].smooth)
    if told[0].start.support.inside is not None:
        names = [n for n in names if n != "weights"]  # volumes of cells that are in or not
    found = _Arrays.apply(rows.double(), names, values, told, described, sizes)
    return dict(zip(names, found, strict=True))  # type: ignore[arg-type]


class _Arrays(torch.autograd.Function):
    """u -> a(u)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, names: Any, values: Any, told: Any, described: Any, sizes: Any) -> Any:
        ctx.names, ctx.values, ctx.told, ctx.described, ctx.sizes = names, values, told, described, sizes
        ctx.device = rows.device
        ctx.set_materialize_grads(False)
        return tuple(torch.from_numpy(np.stack([t.smooth[n] for t in told])).to(rows.device) for n in names)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor | None) -> Any:
        pairs = zip(ctx.names, slopes, strict=True)
        given = {n: s.cpu().numpy() for n, s in pairs if s is not None}
        found = np.zeros_like(ctx.values)
        for i, k in np.ndindex(found.shape):
            change = _change(ctx.described, ctx.values[i], k, ctx.sizes[i, k], ctx.told[i])
            found[i, k] = sum(float(np.sum(slope[i] * change[n])) for n, slope in given.items() if n in change)
        return torch.from_numpy(found).to(ctx.device), None, None, None, None, None


def _change(described: Callable[..., _Told], u: np.ndarray, k: int, size: float, own: _Told) -> dict[str, np.ndarray]:
    """∂a/∂u_k."""
    why = ""
    for step in _steps(size):
        ends = []
        for far in (1, -1, 2, -2):
            moved = u.copy()
            moved[k] += far * step
            told = described(moved, own)
            why = next((n for n in own.still if not _same(own.still[n], told.still.get(n))), "")
            if why:
                break
            ends.append(told.smooth)
        else:
            up, down, upper, lower = ends
            return {
                n: (8 * (up[n] - down[n]) - (upper[n] - lower[n])) / (12 * step)
                for n in own.smooth
                if n in up
            }  # fmt: skip
    raise InputError(
        f"case: entry {k} of u changes {why!r} of a case at {u[k]:g}, expected it to change numbers alone, smoothly"
    )


def _steps(size: float) -> Iterator[float]:
    for nearer in range(NEARER):
        yield STEP * size / 10**nearer
