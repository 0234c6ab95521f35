"""What a study may train, and with which settings: whatever is registered and takes the data, in an order of
preference that stands here and nowhere else."""

from __future__ import annotations

import dataclasses
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sciml import registry
from sciml.contracts import CloudBatch, GridBatch, PointBatch
from sciml.errors import InputError
from sciml.studies._plan import Plan, surrogate_settings
from sciml.training.augmentations import Augmentation, Noise, Subsample
from sciml.training.fits import refusal
from sciml.training.objectives import Objective, Rollout
from sciml.training.optimisers import AdamW
from sciml.training.recipe import Epochs, Length, Recipe
from sciml.training.samples import CaseTable
from sciml.training.stepping import Autoregressive, Query, Steady, Stepping

AT_ONCE = 32768  # points of a batch of grids
CLOUD = 8192  # of a batch of nodes, all of which are needed
ASKED_AT = 64  # points of a sample, of operators that can do with some of them
VALIDATED = 32768  # points of validation at a time: all in all a small part of training
NOISE = 0.02  # of the fields' scale, on the frame that goes in, of what goes from frame to frame
MOST_BYTES = 2e8  # of training data that a regression holds in memory, in several copies


@dataclass(frozen=True)
class Preferred:
    """An entry of the order of preference.

    Args:
        name: of the operator.
        options: in place of its defaults.
        asked: of data in time, whether it is asked for times at once rather than for the next frame.
        as_: what it is called in a study, where one operator has two entries.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    asked: bool = False
    as_: str = ""


_WAVES = {"frequencies": 10}  # of every coordinate, which points alone do not tell of

#: Grids first: what takes nodes drops the first two, and on grids they are the ones to beat. The order on nodes, the
#: waves and the small graphs are those that did best in the table of operators (docs/operators.md).
PREFERENCE = (
    Preferred("fno"),
    Preferred("unet"),
    Preferred("deeponet", _WAVES, asked=True),
    Preferred("flare", _WAVES, asked=True),
    Preferred("flare", _WAVES, as_="flare_frames"),
    Preferred("meshgraphnet", {"width": 32, "layers": 5}),
    Preferred("transolver", _WAVES, asked=True),
    Preferred("galerkin_transformer", _WAVES, asked=True),
    Preferred("point_transformer", _WAVES, asked=True),
    Preferred("gnot", _WAVES, asked=True),
    Preferred("resnet"),
)
#: without steps of an optimiser: they take seconds, and are the opponents that networks like to avoid
REGRESSIONS = ("pod_regression", "dynamic_modes")


@dataclass(frozen=True)
class Facts:
    """What settings follow from.

    Args:
        samples: to train on: pairs of frames, or steady cases.
        points: most of a sample.
        shortest: frames of the shortest case to train on.
        validated: whether there are cases to choose by.
        pieces: whether cases are pieces of trajectories, so that the law from frame to frame is what there is to learn.
    """

    samples: int
    points: int
    shortest: int
    validated: bool
    pieces: bool = False

    @classmethod
    def of(cls, train: CaseTable, validated: bool, pieces: bool = False) -> Facts:
        frames = int(train.length.sum()) - (0 if train.problem.steady else len(train.cases))
        points = max(math.prod(s) for s in train.shapes)
        return cls(frames, points, int(train.length.min()), validated, pieces)


class Candidate(ABC):
    """Something that may be trained on the data of a study."""

    steps: ClassVar[bool]  # whether it is trained step by step
    asks_times: bool = False  # whether it is made to be asked for times, not for the next frame

    name: str
    title: str

    @abstractmethod
    def refusal(self, cases: CaseTable, facts: Facts) -> str | None:
        """Why it does not take these cases; None where it does."""

    @abstractmethod
    def model(self, cases: CaseTable, facts: Facts, seed: int) -> Model:
        """With the settings that suit cases that it takes."""


class Model(ABC):
    """What is trained, with all of its settings."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Trained(Model):
    """An operator, trained by a recipe."""

    plan: Plan

    def to_json(self) -> dict[str, Any]:
        return self.plan.to_json()

    def lasting(self, length: Length) -> Trained:
        """The same, trained for so long."""
        return Trained(dataclasses.replace(self.plan, recipe=self.plan.recipe.replace(length=length)))


@dataclass(frozen=True)
class Fitted(Model):
    """A regression, fitted in one go."""

    solver: str

    def to_json(self) -> dict[str, Any]:
        return {"solver": self.solver}

    def fit(self, data: Any, out: str | Path | None = None) -> Any:
        """Fit it to the training split; keep it in a folder, where one is named."""
        found: Any = registry.solvers.get(self.solver)()
        began = time.monotonic()
        found.fit(str(data) if isinstance(data, Path) else data)
        found.record |= {"seconds": round(time.monotonic() - began, 2)}
        if out is not None:
            found.save(out)
        return found


def model_of(content: Mapping[str, Any]) -> Model:
    """What `to_json` gave."""
    return Fitted(content["solver"]) if "solver" in content else Trained(Plan.from_json(content))


class ByRecipe(Candidate):
    """An operator of the registry."""

    steps = True

    def __init__(self, entry: Preferred):
        self.entry, self.name = entry, entry.as_ or entry.name
        self.operator: Any = registry.operators.get(entry.name)
        self.asks_times = self.operator.asks_times
        self.title = self.operator.title + (", frame after frame" if entry.as_ else "")

    def _steppings(self, cases: CaseTable, facts: Facts) -> tuple[Stepping, ...]:
        if cases.problem.steady:
            return () if self.entry.as_ else (Steady(),)
        if self.entry.as_:  # its other entry is the one that is asked
            return () if facts.pieces else (Autoregressive(),)
        asked = self.operator.asks_times or (self.entry.asked and not facts.pieces)
        return (Query(), Autoregressive()) if asked else (Autoregressive(), Query())

    def _taken(self, cases: CaseTable, facts: Facts) -> tuple[Stepping | None, str]:
        why = "" if self._steppings(cases, facts) else f"the same as {self.entry.name} on such data"
        for stepping in self._steppings(cases, facts):
            refused = refusal(self.operator, cases, self.entry.options, stepping)
            if refused is None:
                return stepping, ""
            why = why or refused
        return None, why

    def refusal(self, cases: CaseTable, facts: Facts) -> str | None:
        return self._taken(cases, facts)[1] or None

    def model(self, cases: CaseTable, facts: Facts, seed: int) -> Trained:
        stepping, why = self._taken(cases, facts)
        if stepping is None:
            raise InputError(f"{self.name}: {why}")
        settings: Any = surrogate_settings()
        surrogate = settings(stepping=stepping, validation="validation" if facts.validated else None)
        recipe = recipe_for(self.operator, stepping, facts).replace(seed=seed)
        return Trained(Plan(self.entry.name, dict(self.entry.options), recipe, surrogate))


def recipe_for(operator: Any, stepping: Stepping, facts: Facts) -> Recipe:
    """The settings of training.

    The loss is the one that suits the data, in units of their own spread. A batch holds about as many points for all,
    and the rate goes with it. Operators on points that need not see all of them are asked at a few, others in every
    step. What goes from frame to frame gets noise on what goes in, and in its last fifth the loss of the third of three
    steps in a row, which keep rollouts from running away. Weights are averaged over steps; those that validation likes
    best are kept, unless the last part of training is a lesson of its own.
    """
    marching = not (isinstance(stepping, Steady) or stepping.queries)
    few = max(1, facts.samples // 4)
    augmentations: tuple[Augmentation, ...] = ()
    objective: Objective | None = None
    if issubclass(operator.takes, GridBatch):
        batch = _power(AT_ONCE / facts.points, min(32, few))
        rate = 4e-3 if batch >= 4 else 2e-3
    elif issubclass(operator.takes, CloudBatch | PointBatch) and not marching:
        batch, rate = _power(32, few), 4e-3
        if facts.points > ASKED_AT:
            augmentations = (Subsample(ASKED_AT),)
    else:
        batch = _power(CLOUD / facts.points, min(8, few))
        rate = {1: 1e-3, 2: 2e-3}.get(batch, 4e-3)
    if marching:
        augmentations = (*augmentations, Noise(NOISE))
        if facts.shortest >= 5:
            objective = Rollout(steps=3, after=0.8, gradient="last")
    keep = "best" if facts.validated and not marching else "last"
    return Recipe(
        length=Epochs(), batch=batch, objective=objective, augmentations=augmentations, keep=keep,
        optimiser=AdamW(lr=rate, average=0.99), validation_items=_power(VALIDATED / facts.points, 128),
    )  # fmt: skip


def _power(value: float, most: float) -> int:
    """The greatest power of two that is at most `value` and `most`, and at least 1."""
    found = 1
    while 2 * found <= min(value, most):
        found *= 2
    return found


class ByRegression(Candidate):
    """A regression of the registry of solvers."""

    steps = False

    def __init__(self, name: str):
        self.name = name
        self.solver: Any = registry.solvers.get(name)
        self.title = self.solver.title

    def refusal(self, cases: CaseTable, facts: Facts) -> str | None:
        if cases.problem.steady and not self.solver.steady:
            return f"{cases.problem.name} is steady, expected a problem in time"
        if cases.bytes() > MOST_BYTES:
            return f"the data take {cases.bytes() / 1e9:.2g} GB, more than it should hold in memory"
        return None  # what else may be wrong shows when it is fitted, which takes seconds

    def model(self, cases: CaseTable, facts: Facts, seed: int) -> Fitted:
        return Fitted(self.name)


def candidates(wanted: tuple[str, ...] = ()) -> list[Candidate]:
    """All that there are, the preferred ones first; or those of these names.

    Raises:
        InputError: a name that is none.
    """
    found: list[Candidate] = [ByRecipe(entry) for entry in PREFERENCE]
    known = {entry.name for entry in PREFERENCE}
    found += [ByRegression(name) for name in REGRESSIONS]
    found += [ByRecipe(Preferred(name)) for name in registry.operators.names() if name not in known]
    if not wanted:
        return found
    from sciml.errors import suggest

    by_name = {c.name: c for c in found}
    for name in wanted:
        if name not in by_name:
            raise InputError(f"operators: none is called {name!r}{suggest(name, by_name)}")
    return [by_name[name] for name in wanted]
