"""Conjugate gradients with the multigrid cycle, on coarse grids that are learned."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import numpy as np

from sciml import registry
from sciml.errors import FileFormatError, InputError, is_number, is_whole, positive
from sciml.solvers._saved import reading, write_parts
from sciml.solvers.linear._cycle import Rules
from sciml.solvers.linear._ends import End
from sciml.solvers.linear._family import OPEN, Family, counts
from sciml.solvers.linear._local_rules import INPUTS, Learned, Weights, drawn
from sciml.solvers.linear._multigrid_cg import CycleCG
from sciml.solvers.linear._multigrid_training import Lesson, train
from sciml.solvers.linear.families import Constant, Jumps, LogNormal, Obstacles

LARGEST = 1e6  # of weights: beyond, single precision overflows
MIXED = ((End.WALL, End.OPEN), (End.PERIODIC, End.PERIODIC))
#: what the weights of the package were learned from: (family, shape), each as often as the others
TAUGHT: tuple[tuple[Family, tuple[int, ...]], ...] = (
    (Jumps(1e4), (64, 64)), (Obstacles(ends=OPEN), (64, 64)), (Jumps(1e4), (64, 64)), (LogNormal(), (64, 64)),
    (Jumps(1e2), (64, 64)), (Constant(), (64, 64)), (Obstacles(ends=MIXED), (44, 60)), (Jumps(1e4, MIXED), (44, 60)),
    (LogNormal(), (16, 16, 16)), (Jumps(1e4), (16, 16, 16)), (Obstacles(ends=OPEN), (16, 16, 16)),
)  # fmt: skip


@registry.linear_solvers.register("learned_multigrid")
class LearnedMultigrid(CycleCG):
    """Conjugate gradients until ‖f + ∇·(c∇φ)‖ ≤ tolerance · ‖f‖, preconditioned by one V cycle on learned coarse grids.

    It is the cycle of `MultigridCG`, operation for operation: one red and black sweep on either way, sums as residuals
    and the same correction for all cells that are joined. What is learned are numbers in it, the conductances of coarse
    faces, by two small functions of the ratios of what is around (`_local_rules` has them), the same ones on all grids,
    in one to three dimensions. The cycle is linear, and symmetric and positive whatever the weights are, so that plain
    conjugate gradients accept it: bad ones are slow, never wrong.

    The rules are learned on systems drawn from families, with no solutions, by Adam on the fall of the residual,

        min over weights of the mean of ½ ln(‖r_k‖/‖r_0‖) + ½ ln(‖r_{k/2}‖/‖r_0‖)

    after k iterations of the conjugate gradients that they are for, differentiated as a whole.

    Args:
        weights: rule -> array, see `sciml.solvers.linear._local_rules`; None for those that come with the package, {}
            for the rules of `MultigridCG`.
        tolerance, max_iterations, sweeps, waits, record, single: as in `MultigridCG`.

    Raises:
        InputError: settings or weights out of range.

    Source: the loss through the solve is that of A. Katrutsa, T. Daulbaev, I. Oseledets, Black-box learning of
    multigrid parameters, J. Comput. Appl. Math. 368 (2020), 112524, for the method of conjugate gradients; local rules
    after D. Greenfeld, M. Galun, R. Basri, I. Yavneh, R. Kimmel, Learning to optimize multigrid PDE solvers, ICML 2019,
    for conductances in place of interpolation.
    """

    name = "learned_multigrid"

    def __init__(self, weights: Weights | None = None, tolerance: float | None = None, max_iterations: int = 100,
        sweeps: int = 1, waits: tuple[int, ...] = (), record: bool = False, single: bool = True,
    ):  # fmt: skip
        super().__init__(tolerance, max_iterations, sweeps, waits, record, single)
        chosen, self.training = _shipped() if weights is None else (weights, {})
        self.weights = checked(chosen)
        kept = {k: v.astype(np.float32) for k, v in self.weights.items()} if single else self.weights
        self._rules = Learned(kept, single)

    @classmethod
    def untrained(cls, seed: int = 0, **settings: Any) -> LearnedMultigrid:
        """With weights that change nothing yet, and the settings that `__init__` takes beside them."""
        return cls(drawn(seed), **settings)

    @property
    def rules(self) -> Rules:
        return self._rules

    @property
    def count(self) -> int:
        """Of weights."""
        return sum(w.size for w in self.weights.values())

    def waiting(self, waits: tuple[int, ...]) -> LearnedMultigrid:
        found = LearnedMultigrid(
            self.weights, self.tolerance, self.max_iterations, self.sweeps, waits, self.record, self.single
        )
        found.training = self.training
        return found

    def fit(
        self,
        families: Sequence[tuple[Family, tuple[int, ...]]] = TAUGHT,
        *,
        systems: int = 1100,
        steps: int = 3000,
        batch: int = 8,
        iterations: int = 10,
        lr: float = 5e-3,
        seed: int = 0,
        every: int = 100,
        checkpoint: str | Path | None = None,
        tell: Callable[[dict[str, Any]], None] | None = None,
    ) -> Self:
        """Learn the rules, from the weights that it has; `LearnedMultigrid.untrained()` begins anew.

        Args:
            families: (family, shape of cells), ...; each kind of shape and ends is compiled, some 20 s each, so that
                families of any ends take long.
            systems: that are drawn.
            steps, batch, lr: of Adam; systems a step; the rate falls as a cosine to 0.
            iterations: k.
            seed: of systems, right-hand sides and order.
            every: steps after which losses are told and recorded, and the checkpoint is written.
            checkpoint: a directory; where it is there already, training goes on from it as if it had never stopped.
            tell: is called with a dictionary: step, mean loss since the last time, seconds.

        Returns:
            itself, trained; `training` says with what, how long, and the losses on the way.

        Raises:
            InputError: settings out of range, or a checkpoint of other ones.
            TrainingError: a loss that is not finite.
        """
        listed = isinstance(families, Sequence)
        pairs = [pair for pair in families if isinstance(pair, tuple) and len(pair) == 2] if listed else []
        if not pairs or len(pairs) < len(families) or not all(isinstance(f, Family) for f, _ in pairs):
            raise InputError(f"{self.name}: families: expected (family, shape), ..., got {families!r:.80}")
        for key, value in {"systems": systems, "batch": batch, "every": every, "steps": steps}.items():
            positive(key, value)
        if not is_whole(iterations) or iterations < 2:
            raise InputError(f"{self.name}: iterations is {iterations!r}, expected a whole number from 2 on")
        if not is_whole(seed) or seed < 0:
            raise InputError(f"{self.name}: seed is {seed!r}, expected a whole number from 0 on")
        if not is_number(lr) or not 0 < lr < np.inf:
            raise InputError(f"{self.name}: lr is {lr!r}, expected a positive number")
        if checkpoint is not None and not isinstance(checkpoint, str | Path):
            raise InputError(f"{self.name}: checkpoint is {checkpoint!r}, expected the path of a directory")
        if not self.weights:
            raise InputError(f"{self.name}: there are no weights to learn; give it `drawn(seed)` or None")
        lesson = Lesson(int(systems), int(steps), int(batch), int(iterations), float(lr), int(seed), int(every))
        shapes = [(family, counts(shape)) for family, shape in pairs]
        folder = None if checkpoint is None else Path(checkpoint).expanduser()
        learned, training = train(self.weights, shapes, lesson, folder, tell)
        self.__init__(learned, self.tolerance, self.max_iterations, self.sweeps, self.waits, self.record, self.single)
        self.training = training
        return self

    def save(self, directory: str | Path) -> None:
        """Write weights.safetensors and config.json.

        Raises:
            InputError: a place that cannot be written.
        """
        write_parts(directory, self.name, {"training": self.training}, {"weights": self.weights})

    @classmethod
    def load(cls, directory: str | Path, **settings: Any) -> LearnedMultigrid:
        """What `save` wrote, with the settings that `__init__` takes beside the weights.

        Raises:
            InputError: no such directory.
            FileFormatError: a file that is missing, broken, or does not belong to the others.
        """
        with reading(directory, cls.name, ("weights",)) as (config, arrays):
            weights, training = checked(arrays["weights"]), dict(config["training"])
        found = cls(weights, **settings)
        found.training = training
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LearnedMultigrid) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash(self._settings())

    def _settings(self) -> tuple[Any, ...]:
        return (self._rules, self.tolerance, self.max_iterations, self.sweeps, self.waits, self.record, self.single)


def checked(weights: Any) -> Weights:
    """Weights in float64.

    Raises:
        InputError: other rules or shapes, or numbers that are not finite.
    """
    if is_number(weights):
        raise InputError(f"learned_multigrid: weights is {weights!r}; for a tolerance say tolerance={weights!r}")
    if not isinstance(weights, dict) or not set(weights) <= set(INPUTS):
        raise InputError(f"learned_multigrid: weights: expected some of {', '.join(INPUTS)}, got {weights!r:.80}")
    found = {}
    for name, value in weights.items():
        try:
            array = np.array(value, np.float64)
        except (TypeError, ValueError):
            raise InputError(f"learned_multigrid: weights of {name}: expected numbers, got {value!r:.60}") from None
        if array.ndim != 2 or array.shape[1] != INPUTS[name] + 2:
            raise InputError(
                f"learned_multigrid: weights of {name}: expected the shape (hidden, {INPUTS[name] + 2}), "
                f"got {array.shape}"
            )
        if not np.isfinite(array).all() or np.abs(array).max() > LARGEST:
            raise InputError(f"learned_multigrid: weights of {name}: expected finite numbers up to {LARGEST:g}")
        array.flags.writeable = False
        found[name] = array
    return found


@cache
def _shipped() -> tuple[Weights, dict[str, Any]]:
    """Those that come with the package, made by `python -m benchmarks._linear_learned`."""
    text = files("sciml.solvers.linear").joinpath("learned_multigrid.json").read_text()
    found = json.loads(text)
    if "weights" not in found:
        raise FileFormatError("learned_multigrid.json: no weights in it")
    return {k: np.array(v) for k, v in found["weights"].items()}, found["training"]
