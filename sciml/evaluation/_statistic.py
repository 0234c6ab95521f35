"""What is gathered from rollouts beside errors: profiles, spectra over time, forces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from sciml.problem import Case
from sciml.support import Support

TRUTH = "truth"


class Statistic(ABC):
    """Fed every frame of every rollout of every row, and once the frames of the truth, as they come: each of these
    before that of any row at the same step.

    Args:
        name: under which its result stands in the summary.
    """

    name: str

    def begin(self, fields: Sequence[str]) -> None:  # noqa: B027
        """Told once, before the first frame: the names of the fields, in the order in which frames hold them."""

    @abstractmethod
    def add(
        self, row: str, run: int, rollout: int, step: int, time: float, frame: np.ndarray, case: Case, support: Support
    ) -> None:
        """Take in one frame.

        Args:
            row: name of the row, or "truth" (run 0).
            run: which of the row's runs (seeds).
            rollout, step: numbers from 0; step 0 is the first predicted frame.
            time: of the frame, in the problem's time unit; 0 for steady problems.
            frame: (field, *shape) in physical units; what diverged is not finite.
            case, support: which case it is of, and where its values live; of nodes that move, where those of the truth
                are at the same time.
        """

    @abstractmethod
    def result(self) -> Any:
        """What was gathered, as JSON values."""
