"""A solver that learns: any operator, trained on solutions, stepping in time or answering at once."""

from __future__ import annotations

import hashlib
import inspect
import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from sciml import data as _data
from sciml import registry
from sciml.data._solution import version
from sciml.errors import FileFormatError, InputError, SolverError, is_whole, suggest
from sciml.geometry import Grid
from sciml.problem import Case, PDEProblem
from sciml.solver import TrainableSolver, as_cases, times_for
from sciml.solvers import _fitting
from sciml.solvers._encoding import Encoding
from sciml.solvers._many import title
from sciml.training.callbacks import read_metrics
from sciml.training.checkpoint import digest, load_weights, read_tensors, replace_bytes, write_tensors

SCHEMA = 1
CHUNK = 32  # cases that a rollout carries at once


@registry.solvers.register("surrogate")
class Surrogate(TrainableSolver):
    """A learned solver: û(t + Δt) = û(t) + σ·operator(û(t), features) for problems in time, û = operator(inputs) for
    steady ones.

    û are the fields over the problem's scales for the case and over scales of the training split; the features are
    the problem's dimensionless numbers, with boundary values now and next, standardised over the training split. Δt is
    the training data's, the same for all cases in units of the problem's time scale, or else in time units. Rest is
    zero, exactly.

    Args:
        operator: a class of `sciml.operators`, or its registered name; built at `fit`, when channels are known.
        fields: which fields to predict; by default the state fields (steady problems: all fields).
        residual: predict increments rather than the next state.
        history: number of past frames that the operator sees.
        physics: give the operator what the problem's balances say of the state as further input channels; see
            `sciml.solvers._physics`.
        options: further arguments of the operator.
    """

    name = "surrogate"

    def __init__(
        self,
        operator: type[nn.Module] | str,
        *,
        fields: Sequence[str] | None = None,
        residual: bool = True,
        history: int = 1,
        physics: bool = False,
        **options: Any,
    ):
        if not isinstance(operator, str) and not (isinstance(operator, type) and issubclass(operator, nn.Module)):
            raise InputError(f"operator: expected a class of sciml.operators or its name, got {operator!r:.80}")
        self.operator_class = registry.operators.get(operator) if isinstance(operator, str) else operator
        self.operator_name = registry.operators.name_of(self.operator_class)
        if not is_whole(history) or history < 1:
            raise InputError(f"history: expected a whole number >= 1, got {history!r}")
        if fields is not None and (isinstance(fields, str) or not isinstance(fields, Sequence)):
            raise InputError(f"fields: expected names, got {fields!r}")
        known = inspect.signature(self.operator_class).parameters
        if not any(p.kind == inspect.Parameter.VAR_KEYWORD for p in known.values()):
            for option in options:
                if option not in known:
                    raise InputError(f"{self.operator_name}: takes no {option!r}{suggest(option, list(known))}")
        self.fields = None if fields is None else tuple(fields)
        self.residual, self.history, self.options = bool(residual), int(history), dict(options)
        self.physics = bool(physics)
        self.encoding: Encoding | None = None
        self.operator: nn.Module | None = None
        self.training: dict[str, Any] = {}
        self.metrics: list[dict[str, Any]] = []

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def fitted(self) -> bool:
        return self.operator is not None

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = {"operator": self.operator_name, "options": _plain(self.options)}
        if self.operator is not None:
            found["parameters"] = sum(p.numel() for p in self.operator.parameters())
            found["weights"] = digest(self.operator.state_dict())[:16]
        return found

    def supports(self, problem: PDEProblem) -> bool:
        if self.encoding is None:
            return True
        mine = self.encoding.problem
        return problem.name == mine.name and problem.options == mine.options

    def _ready(self) -> tuple[Encoding, nn.Module]:
        if self.encoding is None or self.operator is None:
            raise InputError(f"surrogate: the {self.operator_name} has not been trained; call fit or load first")
        return self.encoding, self.operator

    def build(self, encoding: Encoding) -> nn.Module:
        """The untrained operator for this encoding."""
        options = dict(self.options)
        if encoding.masked:
            options.setdefault("masked", True)
        if "modes" not in options and self.operator_name == "fno":
            options["modes"] = (12,) * len(encoding.space)
        elif "dimensions" not in options and self.operator_name in ("unet", "identity"):
            options["dimensions"] = len(encoding.space)
        if self.operator_name == "identity":
            options.setdefault("increment", self.residual)
        try:
            return self.operator_class(
                encoding.in_channels, len(encoding.fields), n_params=len(encoding.features.names), **options
            )
        except TypeError as error:
            text = str(error).replace("__init__()", self.operator_name)
            raise InputError(f"surrogate: {text}") from None

    # -- training -----------------------------------------------------------------------------------------------

    def fit(self, data: Any, **options: Any) -> Surrogate:
        """Train; see `sciml.solvers._fitting.fit` for every argument.

        Args:
            data: path of a data set, a data set, solutions, or cases (or a problem) to be solved by `solver` first.
            options: split, validation, out, resume, loss, rollout, ..., and the settings of
                `sciml.training.TrainingSettings` (epochs, steps or minutes, batch_size, lr, ema, seed, ...).

        Returns:
            itself, trained.

        Raises:
            InputError: arguments or data that cannot be used.
            TrainingError: a loss that is not finite.
        """
        _fitting.fit(self, data, **options)
        return self

    def adopt(
        self, encoding: Encoding, operator: nn.Module, training: dict[str, Any], metrics: list[dict[str, Any]]
    ) -> None:
        """Take over the outcome of a training run."""
        self.encoding, self.operator, self.training = encoding, operator.eval().cpu(), training
        self.metrics = metrics

    # -- one step, many steps -----------------------------------------------------------------------------------

    def step(self, state: Tensor, params: Tensor, static: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The next normalised fields (batch, field, *space) from (batch, history, field, *space)."""
        encoding, operator = self._ready()
        return advance(operator, encoding, state, params, static, mask)

    @torch.no_grad()
    def rollout(self, initial: Any, cases: Sequence[Case], start: Any, steps: int) -> np.ndarray:
        """Step many cases at once.

        Args:
            initial: (case, [history,] field, *space) in physical units; one frame stands for all of the history.
            cases: what is stepped.
            start: time of the initial frame, one for all or one for each case.
            steps: number of steps.

        Returns:
            (case, steps, field, *space) float32, physical units. States that became non-finite stay so.
        """
        encoding, operator = self._ready()
        if encoding.step is None:
            raise InputError(f"rollout: {encoding.problem.name} is steady; use solve")
        d, shape = encoding.problem.dimensions, np.shape(initial)
        if len(shape) not in (d + 2, d + 3) or shape[0] != len(cases) or shape[-d - 1] != len(encoding.fields):
            expected = f"({len(cases)} cases, [history,] {len(encoding.fields)} fields, *space)"
            raise InputError(f"initial: expected shape {expected}, got {shape}")
        starts = np.broadcast_to(np.asarray(start, dtype=np.float64), len(cases))
        found = []
        for a in range(0, len(cases), CHUNK):
            part = slice(a, a + CHUNK)
            found.append(self._rollout(operator, encoding, initial[part], cases[part], starts[part], steps))
        return np.concatenate(found)

    def _rollout(
        self, operator: nn.Module, e: Encoding, initial: Any, cases: Sequence[Case], start: np.ndarray, steps: int
    ) -> np.ndarray:
        assert e.step is not None
        d = e.problem.dimensions
        frames = [e.normalise(c, np.asarray(v)) for c, v in zip(cases, initial, strict=True)]
        state = torch.from_numpy(np.stack(frames))
        if state.ndim == d + 2:
            state = state[:, None]
        if state.shape[1] < e.history:
            state = torch.cat([state[:, :1]] * (e.history - state.shape[1]) + [state], dim=1)
        state = state[:, -e.history :]
        shape = tuple(int(n) for n in state.shape[3:])
        grids = [Grid.uniform(c.geometry, shape) for c in cases]
        static = _stack([e.inputs(c, g) for c, g in zip(cases, grids, strict=True)])
        mask = _stack([e.mask(c, g) for c, g in zip(cases, grids, strict=True)])
        clocks = [t + e.step.of(c) * np.arange(steps) for c, t in zip(cases, start, strict=True)]
        params = np.stack([e.params(c, t) for c, t in zip(cases, clocks, strict=True)])
        found = torch.empty((len(cases), steps, *state.shape[2:]))
        for k in range(steps):
            found[:, k] = advance(operator, e, state, torch.from_numpy(params[:, k]), static, mask)
            state = torch.cat([state[:, 1:], found[:, k : k + 1]], dim=1)
        return np.stack([e.restore(c, v) for c, v in zip(cases, found.numpy(), strict=True)])

    # -- the solver interface -----------------------------------------------------------------------------------

    def _solve(self, case: Case, times: np.ndarray | None, points: np.ndarray | None) -> xr.Dataset:
        self._ready()
        if points is not None:
            raise InputError("points: a surrogate answers on its own grid; interpolate the solution instead")
        solution = self._solve_all([case], [times])[0]
        if solution.attrs["status"] != "ok":
            raise SolverError(f"surrogate: {solution.attrs['status']}")
        return solution

    def solve_many(self, cases: Iterable[Case], times: Any = None, progress: bool = True) -> xr.Dataset:
        """All cases at once, in batches; a case that becomes non-finite has a status that says so."""
        cases = as_cases(cases)
        for case in cases:
            self.require(case)
        if not cases:
            raise InputError("cases: expected at least one, got none")
        self._ready()
        return _data.pack(self._solve_all(cases, times_for(cases, times)))

    def _solve_all(self, cases: list[Case], times: list[np.ndarray | None]) -> list[xr.Dataset]:
        e, operator = self._ready()
        grids = [e.grid(c) for c in cases]
        if e.step is None:
            for c in cases:
                _warn(c, e.doubts(c, np.zeros(1)))
            return [self._steady(operator, e, c, g) for c, g in zip(cases, grids, strict=True)]
        # refuse what cannot be reached before anything is computed
        indices = [e.step.index(c, t) for c, t in zip(cases, times, strict=True) if t is not None]
        initial = []
        for c, g in zip(cases, grids, strict=True):
            values = c.problem.initial_state(c, g)
            initial.append(np.stack([np.broadcast_to(values[name], g.shape) for name in e.fields]))
        steps = max(int(i[-1]) for i in indices)
        frames = np.stack(initial).astype(np.float32)[:, None]
        if steps:
            for c, i in zip(cases, indices, strict=True):
                _warn(c, e.doubts(c, e.step.of(c) * np.arange(max(int(i[-1]), 1))))
            frames = np.concatenate([frames, self.rollout(np.stack(initial), cases, 0.0, steps)], axis=1)
        return [
            self._label(e, c, g, t, f[i]) for c, g, t, f, i in zip(cases, grids, times, frames, indices, strict=True)
        ]

    @torch.no_grad()
    def _steady(self, operator: nn.Module, e: Encoding, case: Case, grid: Any) -> xr.Dataset:
        static, mask = _stack([e.inputs(case, grid)]), _stack([e.mask(case, grid)])
        params = torch.from_numpy(e.params(case, np.zeros(1)))
        values = advance(operator, e, grid.shape, params, static, mask)[0].numpy()
        return self._label(e, case, grid, None, e.restore(case, values))

    def _label(self, e: Encoding, case: Case, grid: Any, times: np.ndarray | None, frames: np.ndarray) -> xr.Dataset:
        axes = ("z", "y", "x")[-e.problem.dimensions :]
        dims = axes if times is None else ("time", *axes)
        fields = {
            n: (dims, np.ascontiguousarray(frames[..., i, *[slice(None)] * len(axes)])) for i, n in enumerate(e.fields)
        }
        coords = dict(zip("xyz", grid.centres, strict=False))
        mask = e.mask(case, grid)
        status = "ok"
        if not np.isfinite(frames).all():
            status = "the prediction is not finite"
            if times is not None:
                bad = ~np.isfinite(frames).reshape(len(frames), -1).all(1)
                status += f" from time {times[np.argmax(bad)]:g} {e.problem.time_unit} on"
        return _data.solution(
            case, times, fields, coords, solver=f"surrogate {self.operator_name}", settings=self.settings,
            status=status, mask=None if mask is None else mask[0],
        )  # fmt: skip

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, directory: str | Path) -> None:
        """Write weights.safetensors, config.json and metrics.jsonl into `directory` (made if missing)."""
        encoding, operator = self._ready()
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        weights = operator.state_dict()
        config = {
            "schema": SCHEMA,
            "solver": self.name,
            "operator": self.operator_name,
            "operator_config": _plain(operator.config()),  # type: ignore[operator]
            "options": _plain(self.options),
            "encoding": encoding.to_json(),
            "training": self.training,
            "weights_sha256": digest(weights),
            "sciml_version": version(),
        }
        config = json.loads(json.dumps(config))
        config["config_sha256"] = _config_digest(config)
        write_tensors(folder / "weights.safetensors", weights)
        lines = "".join(json.dumps(r) + "\n" for r in self.metrics).encode()
        log = folder / "metrics.jsonl"
        if not log.exists() or log.read_bytes() != lines:  # what is there may be another run's
            replace_bytes(log, lines)
        replace_bytes(folder / "config.json", (json.dumps(config, indent=1, sort_keys=True) + "\n").encode())

    @classmethod
    def load(cls, directory: str | Path) -> Surrogate:
        """Read what `save` wrote.

        Raises:
            InputError: no such directory.
            FileFormatError: a file that is missing, broken, or does not belong to the others.
        """
        folder = Path(directory)
        config = read_config(folder)
        path = folder / "config.json"
        try:
            surrogate = cls(
                str(config["operator"]),
                fields=tuple(config["encoding"]["fields"]),
                residual=bool(config["encoding"]["residual"]),
                history=int(config["encoding"]["history"]),
                physics=bool(config["encoding"].get("physics", False)),
                **config["options"],
            )
            surrogate.encoding = Encoding.from_json(config["encoding"], str(path))
            operator = surrogate.operator_class(**dict(config["operator_config"]))
            surrogate.training = dict(config["training"])
        except FileFormatError:
            raise
        except InputError as error:
            raise FileFormatError(f"{path}: {error}") from None
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise FileFormatError(f"{path}: entry {error} is missing or cannot be used") from None
        if config.get("config_sha256") != _config_digest(config):
            raise FileFormatError(f"{path}: the settings are not those that were saved (their digest differs)")
        weights, _ = read_tensors(folder / "weights.safetensors")
        load_weights(operator, weights, folder / "weights.safetensors")
        if digest(weights) != config.get("weights_sha256"):
            raise FileFormatError(
                f"{folder / 'weights.safetensors'}: the weights are not those that {path} was saved with"
            )
        surrogate.operator = operator.eval()
        surrogate.metrics = read_metrics(folder / "metrics.jsonl")
        return surrogate


def _config_digest(config: dict[str, Any]) -> str:
    """Of all settings but the digest itself, which may not change what the weights mean unnoticed."""
    rest = {k: v for k, v in config.items() if k != "config_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def advance(
    operator: nn.Module, e: Encoding, state: Any, params: Tensor, static: Tensor | None, mask: Tensor | None
) -> Tensor:
    """One application of the operator in normalised units, (batch, field, *space).

    `state` is (batch, history, field, *space), or the grid shape of a steady problem.
    """
    n = params.shape[0]
    if e.step is None:
        channels = static if static is not None else torch.ones((n, 1, *state))
        return _call(operator, channels, params, mask)
    channels = state.flatten(1, 2)
    if e.channels is not None:
        count = len(e.features.names)
        scale = torch.from_numpy(e.state.scale.astype(np.float32)).to(state.device)
        hints = e.channels(state[:, -1] * scale.reshape(-1, *[1] * (state.ndim - 3)), params[:, count:])
        channels, params = torch.cat([channels, hints], dim=1), params[:, :count]
    if static is not None:
        channels = torch.cat([channels, static], dim=1)
    out = _call(operator, channels, params, mask)
    if not e.residual:
        return out
    scale = torch.from_numpy(e.increment.astype(np.float32)).to(out.device)
    return state[:, -1] + out.float() * scale.reshape(-1, *[1] * (out.ndim - 2))


def _warn(case: Case, doubts: Sequence[str]) -> None:
    """One warning for a case, which names it."""
    if doubts:
        warnings.warn(f"surrogate: {title(case)}: {'; '.join(doubts)}; do not rely on this answer", stacklevel=5)


def _call(operator: nn.Module, channels: Tensor, params: Tensor, mask: Tensor | None) -> Tensor:
    return operator(channels, params=params if params.shape[1] else None, mask=mask)


def _stack(parts: list[np.ndarray | None]) -> Tensor | None:
    kept = [p for p in parts if p is not None]
    return torch.from_numpy(np.stack(kept).astype(np.float32)) if kept else None


def _plain(value: Any) -> Any:
    """JSON-able: tuples become lists, NumPy's numbers and arrays Python's; what cannot be, its text."""
    return json.loads(json.dumps(value, default=lambda v: v.tolist() if hasattr(v, "tolist") else repr(v)))


def read_config(folder: str | Path) -> dict[str, Any]:
    """config.json of a run directory.

    Raises:
        InputError: no such directory, or one that holds no run.
        FileFormatError: a broken file, or one written by a later version.
    """
    if not isinstance(folder, str | Path):
        raise InputError(f"run: expected the path of a directory, got {folder!r:.80}")
    folder = Path(folder)
    path = folder / "config.json"
    if not folder.is_dir():
        raise InputError(f"{folder}: expected the directory of a trained model, but there is none")
    if not path.is_file():
        raise InputError(f"{folder}: expected the directory of a trained model, but it holds no config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: expected JSON, got something else ({error})") from None
    if config.get("schema") != SCHEMA:
        raise FileFormatError(f"{path}: schema is {config.get('schema')!r}, expected {SCHEMA}")
    return config


def load(directory: str | Path) -> TrainableSolver:
    """Any trained solver from its directory: `sciml.load`.

    Raises:
        InputError, FileFormatError: see `Surrogate.load`.
    """
    config = read_config(directory)
    kind = registry.solvers.get(str(config.get("solver")))
    if not issubclass(kind, TrainableSolver):
        raise FileFormatError(f"{Path(directory) / 'config.json'}: {config.get('solver')!r} is not a trainable solver")
    return kind.load(directory)
