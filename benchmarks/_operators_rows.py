"""The rows of the table of operators: what is trained on which set, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks._operators_sets import SETS
from sciml.studies._plan import Plan, surrogate_settings
from sciml.training.augmentations import Noise, Subsample
from sciml.training.losses import Nmse, RelativeL2
from sciml.training.objectives import Supervised
from sciml.training.optimisers import AdamW
from sciml.training.recipe import ProcessorMinutes, Recipe
from sciml.training.schedules import OneCycle
from sciml.training.stepping import Autoregressive, Query, Steady, Stepping


class Trial(NamedTuple):
    """Samples in a batch, learning rate, and points of a sample at which an answer is asked for (None: all)."""

    batch: int
    rate: float
    points: int | None

    def __str__(self) -> str:
        return f"batch {self.batch}, rate {self.rate:g}, {self.points or 'all'} points"


#: of which each row gets the best: few samples with all their points, or many with few. What goes from frame to frame,
#: and graphs, need all points, and get a quarter of the samples.
TRIALS = (Trial(4, 1e-3, None), Trial(8, 2e-3, 256), Trial(32, 4e-3, 64))
WAVES = {
    "frequencies": 10
}  # of every coordinate, for what takes points: five periods of the time, and edges of inclusions
NOISE = 0.02  # on frames that go in, in units of the fields' scales, of what goes from frame to frame


@dataclass(frozen=True)
class Entry:
    """A row.

    Args:
        operator, options: what is trained.
        sets: that it is a row of.
        frames: whether it goes from frame to frame; else it is asked for times.
        linear_in: parameters in which answers are linear: superposed from those to unit values.
        whole: whether it needs all points of a sample.
    """

    operator: str
    sets: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    frames: bool = False
    linear_in: tuple[str, ...] = ()
    whole: bool = False

    def stepping(self, name: str) -> Stepping:
        if SETS[name].steady:
            return Steady(linear_in=self.linear_in)
        return Autoregressive(history=SETS[name].history) if self.frames else Query()

    def plan(self, name: str, minutes: float, trial: Trial, seed: int) -> Plan:
        """What is trained on the set of this name."""
        marching = self.frames and not SETS[name].steady
        more: tuple[Any, ...] = (Noise(NOISE),) if marching else ()
        if trial.points is not None and not self.whole:
            more = (Subsample(trial.points),)
        recipe = Recipe(
            length=ProcessorMinutes(minutes), batch=max(trial.batch // 4, 1) if self.whole else trial.batch,
            objective=Supervised(RelativeL2() if SETS[name].steady else Nmse()),
            optimiser=AdamW(lr=trial.rate, average=0.99), schedule=OneCycle(), seed=seed, validate_every=50,
            validation_items=48, keep="best", augmentations=more,
        )  # fmt: skip
        settings: Any = surrogate_settings()
        options = dict(self.options) if self.operator in GRAPHS else WAVES | dict(self.options)
        return Plan(self.operator, options, recipe, settings(stepping=self.stepping(name)))


GRAPHS = ("meshgraphnet", "piorf")
STEADY = tuple(n for n, s in SETS.items() if s.steady)
ASKED = (*STEADY, "unsteady_heat")
MOVING = ("unsteady_heat", "afterburner")
LOADS = SETS["elastic_block"].linear_in

#: of graph operators where a mesh has so many nodes that the usual 8 rounds of 64 channels make few steps in the time
SMALL = {"width": 32, "layers": 5}

#: a new operator joins by one line; the most telling ones first
ENTRIES = {
    "FLARE": Entry("flare", ASKED),
    "DeepONet": Entry("deeponet", ASKED),
    "DeepONet, linear in load": Entry("deeponet", ("elastic_block",), linear_in=LOADS),
    "GNOT": Entry("gnot", ASKED),
    "MeshGraphNet": Entry("meshgraphnet", (*MOVING, "elastic_plate"), frames=True, whole=True),
    "PIORF": Entry("piorf", MOVING, frames=True, whole=True),
    "FLARE, linear in load": Entry("flare", ("elastic_block",), linear_in=LOADS),
    "FLARE, frame after frame": Entry("flare", MOVING, frames=True, whole=True),
    "Transolver": Entry("transolver", ASKED),
    "Point Transformer": Entry("point_transformer", ASKED),
    "Galerkin Transformer": Entry("galerkin_transformer", ASKED),
    "MeshGraphNet, 5 rounds of 32": Entry(
        "meshgraphnet", ("afterburner", "elastic_plate"), SMALL, frames=True, whole=True
    ),
    "PIORF, 5 rounds of 32": Entry("piorf", ("afterburner",), SMALL, frames=True, whole=True),
    "PIORF, random edges, 5 rounds of 32": Entry(
        "piorf", ("afterburner",), SMALL | {"rewiring": "random"}, frames=True, whole=True
    ),
    "PIORF, two hubs, 5 rounds of 32": Entry(
        "piorf", ("afterburner",), SMALL | {"rewiring": "two_hubs"}, frames=True, whole=True
    ),
}


def rows_of(name: str) -> dict[str, Entry]:
    """The rows of a set."""
    return {row: entry for row, entry in ENTRIES.items() if name in entry.sets}
