"""Decisions on a graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sciml.errors import ConvergenceError, InputError, is_number, positive
from sciml.problems.networks._network import Network


@dataclass(frozen=True, eq=False)
class StateGraph:
    """States, in each of which one of some actions is taken, that leads to a state and is rewarded:

        V(s) = max_a [ r(s, a) + γ V(s'(s, a)) ]

    Args:
        states: number of them.
        actions: (m, 2) from which state to which an action leads; each state has at least one.
        rewards: (m,) r.
        discount: γ, above 0 and below 1.

    Raises:
        InputError: arrays that do not fit or are out of range.

    Source: Bellman, "Dynamic programming" (1957).
    """

    states: int
    actions: np.ndarray
    rewards: np.ndarray
    discount: float = 0.9

    def __post_init__(self) -> None:
        positive("states", self.states)
        actions, rewards = np.asarray(self.actions, np.int64), np.asarray(self.rewards, np.float64)
        if actions.ndim != 2 or actions.shape[1] != 2 or rewards.shape != (len(actions),):
            raise InputError(
                f"actions, rewards: expected arrays (m, 2) and (m,), got {actions.shape} and {rewards.shape}"
            )
        if not np.isfinite(rewards).all():
            raise InputError("rewards: expected finite numbers")
        if len(np.unique(actions[:, 0])) < self.states or actions.min() < 0 or actions.max() >= self.states:
            raise InputError(f"actions: expected pairs from 0 to {self.states - 1}, and one at least from each state")
        if not is_number(self.discount) or not 0 < self.discount < 1:
            raise InputError(f"discount: expected a number above 0 and below 1, got {self.discount!r}")
        object.__setattr__(self, "actions", actions)
        object.__setattr__(self, "rewards", rewards)

    def values(self, tolerance: float = 1e-12) -> np.ndarray:
        """(states,) V, by iterating the equation until it changes nothing by more than `tolerance`."""
        value = np.zeros(self.states)
        steps = int(np.ceil(np.log(tolerance * 1e-3) / np.log(self.discount))) + 100
        for _ in range(steps):
            worth, new = self.rewards + self.discount * value[self.actions[:, 1]], np.full(self.states, -np.inf)
            np.maximum.at(new, self.actions[:, 0], worth)
            change, value = np.abs(new - value).max(), new
            if change <= tolerance:
                return value
        raise ConvergenceError(f"values: still change by {change:.1e} after {steps} iterations")

    def network(self, solved: bool = True) -> Network:
        """What a regressor is shown: a 1 at each state, and the reward along an edge from where an action leads to
        where it is taken, as values travel.

        Args:
            solved: whether the values come with it.
        """
        answer = self.values()[:, None] if solved else None
        return Network(np.ones((self.states, 1)), self.actions.T[::-1], self.rewards[:, None], None, answer)


def random_states(
    rng: np.random.Generator,
    states: tuple[int, int] = (20, 50),
    actions: tuple[int, int] = (5, 10),
    discount: float = 0.9,
) -> StateGraph:
    """A number of states and of actions in each, both drawn from ranges; actions lead anywhere, rewards are uniform
    between −1 and 1.

    Source: Park, Choo, Park, "Convergent graph solvers", ICLR (2022), section 5.3.
    """
    n, a = int(rng.integers(states[0], states[1] + 1)), int(rng.integers(actions[0], actions[1] + 1))
    to = np.stack([rng.choice(n, a, replace=False) for _ in range(n)])
    pairs = np.stack((np.repeat(np.arange(n), a), to.ravel()), 1)
    return StateGraph(n, pairs, rng.uniform(-1, 1, len(pairs)), discount)
