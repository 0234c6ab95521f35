"""Which of what takes the data is trained: each of the likeliest is tried for a short while, and those that err least
on the validation cases are kept."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sciml.data import schema, splits
from sciml.errors import InputError, SolverError, TrainingError
from sciml.studies._candidates import Candidate, Facts, Fitted, Model, Trained, candidates
from sciml.studies._config import Config
from sciml.training.callbacks import Callback
from sciml.training.recipe import Length, Minutes, Running, Steps
from sciml.training.samples import at_hand, open_data, table

TRIED = 4  # that are trained step by step
KEPT = 2  # of these; the best regression joins them
TRYING, EVALUATING = 0.15, 0.1  # of all minutes
FEWEST = 100  # steps within the budget that an operator must be able to make
JUDGED = 8  # validation cases on which they are held against each other

Tell = Callable[[str], None]


@dataclass
class Tried:
    """What became of a candidate.

    Args:
        name, title: what it is called in settings, and by people.
        refusal: why it does not take the data, or was not tried; "" where it was.
        step_seconds, steps: of a step of training, and how many fit into the budget.
        fit_seconds: of a regression, all that it takes.
        tried_steps, score: how many it was tried for, and the mean NMSE of its rollouts on validation cases then.
        chosen: whether it is trained.
    """

    name: str
    title: str
    refusal: str = ""
    step_seconds: float | None = None
    steps: int | None = None
    fit_seconds: float | None = None
    tried_steps: int | None = None
    score: float | None = None
    chosen: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class _Within(Callback):
    """Times a few steps, and then makes the run as long as the seconds allow.

    Args:
        seconds: from the first step on.
        least: stop at once where so few steps would fit into `budget` seconds.
    """

    FEW = 4

    def __init__(self, seconds: float, budget: float, least: int):
        self.seconds, self.budget, self.least = seconds, budget, least
        self.at: list[float] = []
        self.step = math.inf

    def on_step(self, trainer: Any, record: dict[str, Any]) -> None:
        self.at.append(time.monotonic())
        if len(self.at) != self.FEW:
            return
        self.step = float(np.median(np.diff(self.at)))
        if self.budget / self.step < self.least:
            trainer.stop("too slow")
            return
        left = self.seconds - (self.at[-1] - self.at[0])
        trainer.total_steps = trainer.step + max(1, int(left / self.step))


def choose(data: Path, config: Config, pieces: bool, tell: Tell) -> tuple[dict[str, Model], list[Tried]]:
    """(name -> what is to be trained, what became of all candidates).

    Args:
        pieces: whether cases are pieces of trajectories.

    Raises:
        InputError: nothing takes these data, or not what was asked for.
    """
    began = time.monotonic()
    dataset = at_hand(open_data(data)[0])
    train = table(dataset, "train")
    validated = bool(table(dataset, "validation").cases)
    facts = Facts.of(train, validated, pieces)
    few = train.keep(np.arange(min(2, len(train.cases))))
    found: list[tuple[Candidate, Tried]] = []
    several = candidates(config.operators)
    if pieces and not config.operators:  # there is the step from frame to frame to learn, and little else
        several.sort(key=lambda c: c.asks_times)
    for candidate in several:
        why = candidate.refusal(few, facts) or ""
        if why and config.operators:
            raise InputError(f"operators: {candidate.name} does not take these data: {why}")
        found.append((candidate, Tried(candidate.name, candidate.title, why)))
    models = {t.name: c.model(few, facts, config.seed) for c, t in found if not t.refusal}
    if not models:
        raise InputError(f"data: no operator takes them; {found[0][0].name}: {found[0][1].refusal}")
    if config.operators:
        for _, tried in found:
            tried.chosen = True
        length = config.length or Minutes(config.minutes * (1 - EVALUATING))
    else:
        length = config.length or Minutes(config.minutes * (1 - EVALUATING - TRYING))
        _try_out(found, models, dataset, config, length, validated, tell)
        if config.length is None:  # what is left of the budget
            spent = (time.monotonic() - began) / 60
            length = Minutes(round(max(config.minutes * (1 - EVALUATING) - spent, 0.5 * config.minutes), 3))
    kept = {t.name: models[t.name] for _, t in found if t.chosen}
    return {n: m.lasting(length) if isinstance(m, Trained) else m for n, m in kept.items()}, [t for _, t in found]


def _try_out(
    found: list[tuple[Candidate, Tried]], models: Mapping[str, Model], dataset: Any, config: Config, length: Length,
    validated: bool, tell: Tell,
) -> None:  # fmt: skip
    """Try the likeliest, and mark those that are chosen."""
    judged = _judges(dataset, validated)
    stepwise = [t for c, t in found if c.steps and not t.refusal]
    for late in stepwise[TRIED:]:
        late.refusal = "not tried: others come before it"
    stepwise = stepwise[:TRIED]
    seconds = 60 * config.minutes * TRYING / max(len(stepwise), 1)
    began = time.monotonic()
    for tried in stepwise:
        if config.length is None and time.monotonic() - began > 60 * config.minutes * 2 * TRYING:
            tried.refusal = "not tried: the time for that was up"
            continue
        model = models[tried.name]
        assert isinstance(model, Trained)
        tell(f"  trying {tried.name}")
        try:
            solver = _tried(tried, model, dataset, length, seconds, config.device)
            if not tried.refusal:
                tried.score = _score(tried.name, solver, judged, config.steps)
        except (InputError, TrainingError, SolverError) as error:
            tried.refusal = " ".join(str(error).split()).removeprefix(f"{tried.title}: ")
    regressions = [t for c, t in found if not c.steps and not t.refusal]
    for tried in regressions:
        model = models[tried.name]
        assert isinstance(model, Fitted)
        tell(f"  trying {tried.name}")
        try:
            began = time.monotonic()
            solver = model.fit(dataset)
            tried.fit_seconds = time.monotonic() - began
            tried.score = _score(tried.name, solver, judged, config.steps)
        except (InputError, SolverError, np.linalg.LinAlgError, MemoryError) as error:
            tried.refusal = " ".join(str(error).split()).removeprefix(f"{tried.title}: ")
    usable = [t for t in stepwise if not t.refusal]
    if not usable:  # slow ones are better than none
        usable = [t for t in stepwise if t.step_seconds is not None]
        for tried in usable:
            tried.refusal = ""
    usable.sort(key=lambda t: math.inf if t.score is None else t.score)  # stable: in order of preference where unknown
    for tried in usable[:KEPT]:
        tried.chosen = True
    fits = sorted((t for t in regressions if not t.refusal), key=lambda t: math.inf if t.score is None else t.score)
    for tried in fits[:1]:
        tried.chosen = True
    if not any(t.chosen for _, t in found):
        why = next((f"{t.name}: {t.refusal}" for _, t in found if t.refusal), "")
        raise InputError(f"data: nothing that was tried takes them; {why}")


def _tried(tried: Tried, model: Trained, dataset: Any, length: Length, seconds: float, device: str) -> Any:
    """A surrogate that was trained for a short while, kept nowhere; how long its steps take is noted."""
    plan: Any = model.plan
    solver = plan.made(device=device)
    given = length.steps(1)
    watch = _Within(seconds, length.seconds or math.inf, FEWEST)
    steps = 1000 if given is None else max(1, given // 8)
    recipe = plan.recipe.replace(length=Steps(steps), keep="last")
    running = Running(progress=False, device=device, callbacks=(watch,) if given is None else ())
    solver.fit(dataset, recipe, validation=None, running=running)
    tried.tried_steps = int(solver.training["steps"])
    if given is not None:
        tried.steps = given
        return solver
    tried.step_seconds, tried.steps = watch.step, int(watch.budget / watch.step)
    if tried.steps < FEWEST:
        tried.tried_steps = None
        tried.refusal = f"only {tried.steps} steps of {watch.step:.2g} s fit into the budget"
    return solver


def _judges(dataset: Any, validated: bool) -> Any:
    """The data set with a few of its validation cases alone for a test; None where there are none."""
    if not validated:
        return None
    names = schema.flag_names(dataset["split"]).astype("<U10")
    there = np.flatnonzero(names == "validation")
    chosen = there[np.unique(np.linspace(0, len(there) - 1, min(JUDGED, len(there))).astype(int))]
    names[:] = "unused"
    names[chosen] = "test"
    note = schema.flag_attrs(schema.SPLITS, "split, by case")
    return dataset.assign(split=(("case",), splits.codes(names), note))


def _score(name: str, solver: Any, judged: Any, steps: int) -> float | None:
    """The mean NMSE over the steps of rollouts on validation cases, as the page has it of test cases; None where there
    are none."""
    from sciml.evaluation import evaluate

    if judged is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what has to be said of the answers is said of those on the page
        row = evaluate({name: solver}, judged, steps=steps, baselines=False, examples=0).row(name)
    values = np.array(row["rollout"]["all"]["joint"]["nmse"]["mean"], dtype=np.float64)
    finite = bool(len(values)) and bool(np.isfinite(values).all())
    return float(values.mean()) if finite else math.inf
