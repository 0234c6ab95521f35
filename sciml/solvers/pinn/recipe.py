"""What determines a trained PINN beside its network and the case."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from sciml.errors import InputError
from sciml.solvers.pinn._adam import Adam
from sciml.solvers.pinn._levenberg import LevenbergMarquardt
from sciml.solvers.pinn.minimisers import Minimiser
from sciml.solvers.pinn.sampling import Resampling, Sampling, SobolPoints
from sciml.training.parts import Part, Settings


class Balancing(Part, family="balancing"):
    """How equations, conditions and observations are weighed against each other."""

    every: int

    @abstractmethod
    def weights(
        self, norms: Float[np.ndarray, " row"], former: Float[np.ndarray, " row"] | None
    ) -> Float[np.ndarray, " row"]:
        """λ of the losses ½ mean r², from the norms of their gradients.

        Args:
            former: λ until now; None at first.
        """


@dataclass(frozen=True)
class GradientNorms(Balancing):
    """λ_i = mean_j ‖∇L_j‖ / ‖∇L_i‖: with these, all weighted gradients are equally long.

    Args:
        every: steps between updates.
        memory: of a running mean of λ.
        most: λ lies between 1/most and most.

    Source: S. Wang, Y. Teng, P. Perdikaris, SIAM J. Sci. Comput. 43, A3055 (2021).
    """

    every: int = 500
    memory: float = 0.9
    most: float = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("every", 1)
        self._range("memory", 0, below=1)
        self._range("most", 1)

    def weights(self, norms: np.ndarray, former: np.ndarray | None) -> np.ndarray:
        mean = float(norms.mean())
        if not mean > 0:
            return np.ones(len(norms)) if former is None else former
        found = np.clip(mean / np.maximum(norms, 1e-30 * mean), 1 / self.most, self.most)
        return found if former is None else self.memory * former + (1 - self.memory) * found


class TimeWeighting(Part, family="time weighting"):
    """How much the chunks of a window of time count."""

    chunks: int
    every: int

    @abstractmethod
    def weights(self, losses: Float[np.ndarray, " chunk"]) -> Float[np.ndarray, " chunk"]:
        """w of the chunks from their losses."""


@dataclass(frozen=True)
class Causal(TimeWeighting):
    """Later times count once earlier ones are solved: w_k = exp(−tolerance Σ_{j<k} L_j) over chunks of time.

    Its authors state that a patent bars commercial use of this weighting: it is off unless you ask for it.

    Args:
        tolerance: ε, in units of scaled residuals.
        chunks: of the time window.
        every: steps between updates.

    Source: S. Wang, S. Sankaran, P. Perdikaris, CMAME 421, 116813 (2024).
    """

    tolerance: float = 1.0
    chunks: int = 16
    every: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("tolerance", above=0)
        self._range("chunks", 2)
        self._range("every", 1)

    def weights(self, losses: Float[np.ndarray, " chunk"]) -> Float[np.ndarray, " chunk"]:
        """w of the chunks from their losses."""
        return np.exp(-self.tolerance * np.concatenate([[0.0], np.cumsum(losses)[:-1]]))


@dataclass(frozen=True)
class PINNRecipe(Settings):
    """All that determines a trained PINN beside its network and the case.

    Args:
        until: the last time, in the problem's unit; None for steady problems.
        phases: minimisers, one after the other.
        points: in the interior.
        boundary_points: on each part of the boundary that is left to a penalty.
        initial_points: at the start, where it is left to a penalty.
        windows: of time, solved one after the other; each starts from the end of the one before.
        sampling: how points are spread.
        resampling: when those of the interior are drawn again, or None.
        balancing: of losses, or None for equal weights.
        causal: weights in time, or None.
        observation_weight: of the losses of observations, beside the balance.
        seed: of weights and points.
        precision: float32 is for Adam alone.

    Raises:
        InputError: a value of the wrong type or out of range.
    """

    until: float | None = None
    phases: tuple[Minimiser, ...] = (Adam(2000), LevenbergMarquardt(200))
    points: int = 4000
    boundary_points: int = 200
    initial_points: int = 400
    windows: int = 1
    sampling: Sampling = SobolPoints()  # noqa: RUF009
    resampling: Resampling | None = None
    balancing: Balancing | None = GradientNorms()
    causal: TimeWeighting | None = None
    observation_weight: float = 1.0
    seed: int = 0
    precision: Literal["float64", "float32"] = "float64"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("until", above=0)
        self._range("points", 10)
        self._range("boundary_points", 2)
        self._range("initial_points", 2)
        self._range("windows", 1, 10_000)
        self._range("observation_weight", above=0)
        self._range("seed", 0, 2**63 - 1)
        if not self.phases or not any(p.steps for p in self.phases):
            raise InputError("phases: expected at least one minimiser with steps, such as Adam(2000)")
        other = next((type(p).__name__ for p in self.phases if not isinstance(p, Adam)), None)
        if self.precision == "float32" and other is not None:
            raise InputError(f"precision: float32 is for Adam alone, expected float64 for the phase {other}")
        if self.windows > 1 and self.until is None:
            raise InputError("windows: expected `until`, the last time, beside more than one window")
