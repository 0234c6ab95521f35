"""One learned solver for several problems, which reads the equation of each."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xarray as xr

from sciml import registry
from sciml.contracts import Operator
from sciml.errors import InputError
from sciml.operators.prosefd import PROSEFD, EquationBatch
from sciml.problem import Case, Problem, beginning
from sciml.solver import Restartable, Start, check_times
from sciml.solvers import _saved
from sciml.solvers._frames import history_of, labelled, start_of, warn_of
from sciml.solvers._trained import OnDevice
from sciml.training.callbacks import read_metrics
from sciml.training.checkpoint import digest, plain
from sciml.training.devices import device as find_device
from sciml.training.devices import to_float64, unwrapped
from sciml.training.encoding import GridEncoding
from sciml.training.families import Family, FittedFamilies, fit_families, tables_of
from sciml.training.fitting import operator_options
from sciml.training.optimisers import AdamW
from sciml.training.recipe import Recipe, Running
from sciml.training.stepping import Window

CHUNK = 32  # cases that go through the model at once


@registry.solvers.register("foundation_model")
class FoundationModel(OnDevice, Restartable):
    """One model for several problems in the plane, from past frames and the symbols of the equations of a case:

        û(t + τ) = u(t) + σ · PROSEFD(frames up to t, sizes of the fields, symbols; τ)

    Frames go over the problem's scales for the case, and then over mean and spread σ of the frames that are given,
    field by field, σ² = variance + (0.1 · spread in the training split)², so that what is almost even is not blown up.
    Symbols hold the case's parameters as numbers (`sciml.symbols`). All times within `n_out` steps are answered at
    once, those between the steps of the data as well; later ones from the last `n_in` of what is then known. Where a
    case goes on from fewer frames, even from one, the others are masked.

    Args:
        stepping: `Window(n_in, n_out, step)`: frames that are seen, and steps that are answered at once.
        operator: a class of `sciml.operators` that reads equations, or its registered name.
        symbols: for comparison, "parameters" for a model that is told the values of a case's parameters but not its
            equations, False for one of frames alone.
        device: where it answers: "auto" (a GPU where there is one), "cpu", "cuda:1".
        options: of the operator; `**PROSEFD.published` for the published size.

    Source: as `sciml.operators.PROSEFD`.
    """

    name = "foundation_model"
    several = True
    #: settings beside the stepping that plans of training may give
    planned = ("symbols",)

    def __init__(
        self, stepping: Window | None = None, *, operator: type[Operator] | str = PROSEFD, symbols: bool | str = True,
        device: str = "auto", **options: Any,
    ):  # fmt: skip
        kind = registry.operators.get(operator) if isinstance(operator, str) else operator
        if not (isinstance(kind, type) and issubclass(kind, Operator) and issubclass(kind.takes, EquationBatch)):
            raise InputError(f"operator: expected one that reads equations, such as prosefd, got {operator!r:.80}")
        self.operator_class: type[Operator] = kind
        stepping = Window() if stepping is None else stepping
        if not isinstance(stepping, Window):
            raise InputError(f"stepping: expected a Window, got {stepping!r:.80}")
        if not isinstance(symbols, bool) and symbols != "parameters":
            raise InputError(f"symbols: expected True, False or 'parameters', got {symbols!r:.80}")
        self.stepping, self.symbols = stepping, symbols
        self.options = operator_options(kind, options)
        self.device = find_device(device)
        self.fitted_as: FittedFamilies | None = None

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def operator_name(self) -> str:
        return self.operator_class.name

    @property
    def title(self) -> str:  # type: ignore[override]
        kinds = {True: "", False: " without symbols", "parameters": " with parameters for symbols"}
        return self.operator_class.title + kinds[self.symbols]

    @property
    def _outcome(self) -> FittedFamilies | None:
        return self.fitted_as

    @property
    def operator(self) -> torch.nn.Module:
        return self._ready().operator

    @property
    def families(self) -> dict[str, Family]:
        """What it knows of each problem, by name."""
        return self._ready().families

    @property
    def problem(self) -> Problem | None:
        """The problem, where there is only one."""
        several = [] if self.fitted_as is None else list(self.families.values())
        return several[0].problem if len(several) == 1 else None

    @property
    def predicted(self) -> tuple[str, ...] | None:
        several = [] if self.fitted_as is None else list(self.families.values())
        return several[0].encoding.fields if len(several) == 1 else None

    @property
    def history(self) -> int:  # type: ignore[override]
        return self.stepping.n_in

    @property
    def every(self) -> int:  # type: ignore[override]
        return self.stepping.step

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "operator": self.operator_name,
            "options": plain(self.options),
            "symbols": self.symbols,
        }
        found["stepping"] = self.stepping.to_json()
        if self.fitted_as is not None:
            found |= {"recipe": self.training.get("recipe"), "problems": sorted(self.families)}
            found |= {"parameters": self.weights, "weights": digest(unwrapped(self.operator).state_dict())[:16]}
        return found

    def supports(self, problem: Problem) -> bool:
        if self.fitted_as is None:
            return problem.dimensions == 2 and not problem.steady
        known = self.families.get(problem.name)
        return known is not None and problem.same(known.problem)

    def for_problem(self, problem: Problem) -> Self:
        f = self._ready()
        if problem.name not in f.families:
            raise InputError(f"data: holds {problem.name!r}, but the run was trained on {', '.join(f.families)}")
        found = copy.copy(self)
        found.fitted_as = replace(f, families={problem.name: f.families[problem.name]})
        return found

    def settled(self) -> dict[str, Any]:
        """What another model is to be made with to go on from the weights of this one."""
        return {"stepping": self.stepping, "symbols": self.symbols}

    def _ready(self) -> FittedFamilies:
        if self.fitted_as is None:
            raise InputError("foundation model: has not been trained; call fit or load first")
        return self.fitted_as

    # -- training -----------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        recipe: Recipe | None = None,
        *,
        split: str | None = "train",
        validation: str | None = "validation",
        subset: Sequence[str] | str | None = None,
        running: Running | None = None,
        fresh: bool = False,
    ) -> Self:
        """Train on several data sets at once, a like share of every batch from each; a model that has weights already
        goes on from them, on these or other problems of fields that it knows.

        Args:
            data: paths of data sets, or data sets, one a problem; or a single one.
            recipe: what determines the result; `default_recipe()` by default. Objective and augmentations are its own.
            split, validation: names of splits; `validation` may be None or empty.
            subset: train on these subsets only, of each data set.
            running: how it is done: run directory, resuming, device; changes no result.
            fresh: begin with new weights and scales even where there are some.

        Raises:
            InputError: arguments or data that cannot be used.
            TrainingError: a loss that is not finite.
        """
        several = _several(data)
        running = Running() if running is None else running
        with torch.inference_mode(False):
            self.fitted_as = fit_families(
                self.operator_class, self.options, self.stepping, several,
                self.default_recipe() if recipe is None else recipe, running, told=self.symbols, split=split,
                validation=validation, subset=subset, former=None if fresh else self.fitted_as,
            )  # fmt: skip
        return self._settle(running)

    @staticmethod
    def default_recipe() -> Recipe:
        """What is trained with where nobody says."""
        return Recipe(batch=32, optimiser=AdamW(lr=1e-3, average=0.99))

    def introduced(self, data: Any, *, split: str | None = "train") -> Self:
        """A copy that answers a further problem as well, with the same weights: of the data set come the scales of its
        fields, its step and its grid, and nothing is trained.

        Raises:
            InputError: a problem with other fields than those that the model knows, or one that it knows already.
        """
        f = self._ready()
        ((_, _, e),) = tables_of([data], self.stepping, f.recipe, Running(), split, None)
        if e.problem.name in f.families:
            raise InputError(
                f"data: the model knows {e.problem.name} already, and other scales would change what it answers; "
                "expected a further problem"
            )
        family = next(iter(f.families.values())).like(e)
        found = type(self)(
            self.stepping, operator=self.operator_class, symbols=self.symbols, device=str(self.device), **self.options
        )
        families = f.families | {e.problem.name: family}
        found.fitted_as = FittedFamilies(families, f.operator, f.recipe, f.record, f.metrics)
        return found

    # -- many steps ---------------------------------------------------------------------------------------------

    def rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        times = np.asarray(times, dtype=np.float64).reshape(len(starts), -1)
        found: dict[int, np.ndarray] = {}
        groups: dict[Any, list[int]] = {}
        for i, start in enumerate(starts):
            family = self._family(start.case)
            lags = (times[i] - start.time) / self._span(start.case)
            key = (start.case.problem.name, start.support.shape, tuple(np.round(lags, 6)), len(start.frames))
            groups.setdefault(key, []).append(i)
            if lags.min(initial=0.0) < -1e-6:
                raise InputError("times: expected times from that of the frame on")
        for key, rows in groups.items():
            for a in range(0, len(rows), CHUNK):
                some = rows[a : a + CHUNK]
                family = self.families[key[0]]
                values = self._marched(family, [starts[i] for i in some], np.array(key[2]))
                found |= dict(zip(some, values, strict=True))
        for j in range(times.shape[1]):
            yield [found[i][j] for i in range(len(starts))]

    def _family(self, case: Case) -> Family:
        self.require(case)
        return self.families[case.problem.name]

    def _span(self, case: Case) -> float:
        """The time that is answered at once."""
        e = self._family(case).encoding
        assert e.step is not None
        return e.step.of(case) * self.stepping.n_out

    @torch.no_grad()
    def _marched(self, family: Family, starts: Sequence[Start], lags: np.ndarray) -> np.ndarray:
        """(start, time, field, y, x) in physical units, at times after the starts in spans of a window."""
        e, s, model = family.encoding, self.stepping, self.operator
        cases, supports = [start.case for start in starts], [start.support for start in starts]
        state = torch.from_numpy(e.starts(starts))
        known = torch.full((len(starts),), min(len(starts[0].frames), s.n_in))
        given = e.given(cases, supports)
        words = [family.words(c) for c in cases] if family.told else []
        present, out = state[:, -1], torch.zeros(len(starts), len(lags), *state.shape[2:], dtype=state.dtype)
        out[:, np.flatnonzero(np.abs(lags) < 1e-6)] = present[:, None]
        steps, windows = np.arange(1, s.n_out + 1) / s.n_out, int(np.ceil(lags.max(initial=0.0) - 1e-6))
        for w in range(windows):
            here = np.flatnonzero((lags > w + 1e-6) & (lags <= w + 1 + 1e-6))
            ahead = np.concatenate([steps, lags[here] - w])
            future = torch.from_numpy(ahead).to(state.dtype).expand(len(starts), -1)
            batch, _, spread = family.batch(cases, words, state, known, given.mask, future)
            found = model(**batch.to(self.device).arguments())[:, :, family.rows].to(state).cpu()
            found = state[:, -1:] + found * spread[:, None]
            out[:, here] = found[:, s.n_out :]
            state = torch.cat([state, found[:, : s.n_out]], 1)[:, -s.n_in :]
            known = (known + s.n_out).clamp_max(s.n_in)
        return np.stack([
            e.restore(c, values, support) for c, values, support in zip(cases, out.numpy(), supports, strict=True)
        ])  # fmt: skip

    # -- the solver interface -----------------------------------------------------------------------------------

    def _together(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[xr.Dataset]:
        found = []
        for case, asked in zip(cases, times, strict=True):
            e = self._family(case).encoding
            support = e.support(case)
            if case.problem.needs_extents and case.extents is None:
                case = replace(
                    case, extents=support.extents, parameters=dict(case.parameters), inputs=dict(case.inputs)
                )
            frame = np.stack(list(beginning(case, support, e.fields).values()))
            found.append(self._labelled(Start(case, support, frame[None], 0.0, fields=e.fields), asked))
        return found

    def _outside(self, case: Case, points: np.ndarray) -> np.ndarray:
        return super()._outside(case.on(self._family(case).encoding.support(case)), points)

    def resume(self, case: Case, frame: Any, times: Any) -> xr.Dataset:
        """The solution at `times` from a given state on; see `Restartable.resume`."""
        e = self._family(case).encoding
        asked = check_times(case.problem, times)
        start = replace(start_of(case, frame, e.fields), fields=e.fields)
        assert e.step is not None
        return self._whole(self._labelled(history_of(start, frame, e.step.of(case), self.stepping.n_in), asked))

    def _labelled(self, start: Start, times: np.ndarray | None) -> xr.Dataset:
        assert times is not None
        e = self._family(start.case).encoding
        warn_of("foundation model", start.case, e.doubts(start.case, np.append(start.time, times)))
        frames = np.stack([several[0] for several in self.rollout([start], times[None])])
        return labelled(
            start.case, times, frames, e.fields, start.support, settings=self.settings, solver=self.name,
            problem=e.problem,
        )  # fmt: skip

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, directory: str | Path) -> None:
        """Write weights, supports, settings and metrics into `directory` (made if missing)."""
        f = self._ready()
        several = list(f.families.values())
        places = {
            f"{k}.{name}": v
            for k, family in enumerate(several) for name, v in _saved.places_of(family.encoding.template).items()
        }  # fmt: skip
        content = {
                        "stepping": self.stepping.to_json(), "symbols": self.symbols,
            "channels": list(several[0].channels), "names": list(several[0].names),
            "families": [family.encoding.to_json() for family in several],
        }  # fmt: skip
        self._write(directory, content, places)

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: no such directory.
            FileFormatError: a file that is missing, broken, or does not belong to the others.
        """
        folder = _saved.folder_of(directory)
        with _saved.reading(folder, cls.name, ("weights", "support")) as (config, parts):
            stepping: Any = Window.from_json(config["stepping"])
            kind: Any = registry.operators.get(str(config["operator"]))
            found = cls(stepping, operator=kind, symbols=config["symbols"], device=device, **config["options"])
            channels, names = (tuple(map(str, config[n])) for n in ("channels", "names"))
            families: dict[str, Family] = {}
            for k, content in enumerate(config["families"]):
                own = {n.partition(".")[2]: v for n, v in parts["support"].items() if n.startswith(f"{k}.")}
                template, _ = _saved.template_of(own, str(folder / "support.safetensors"))
                e: Any = GridEncoding.from_json(content, template, None, str(folder / "config.json"))
                families[e.problem.name] = Family(e, channels, names, found.symbols)
            operator = kind(**config["operator_config"])
            recipe = Recipe.from_json(config["training"]["recipe"])
            if recipe.precision == "float64":
                to_float64(operator)
            _saved.restore(operator, parts["weights"], folder)
            record, metrics = dict(config["training"]), read_metrics(folder / "metrics.jsonl")
            found.fitted_as = FittedFamilies(families, operator, recipe, record, metrics)
        found.operator.to(found.device)
        return found


def _several(data: Any) -> list[Any]:
    """A list of data sets."""
    if isinstance(data, str | Path | xr.Dataset):
        return [data]
    if not isinstance(data, Sequence) or not data:
        raise InputError(f"data: expected data sets or their paths, one a problem, got {data!r:.80}")
    return list(data)
