"""J(u) of a flow by a surrogate: autograd through all of its steps, and differences of the surrogate itself.

Beside it what needs no operator: a polynomial of second order in u, fitted to J of the training cases.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sciml
from benchmarks._gradients_flows import Asked
from sciml import data

STEPS = {"float64": (1e-2, 1e-3, 1e-4), "float32": (1e-1, 3e-2, 1e-2)}  # of the size of a number


class Learned:
    """A surrogate that answers J(u).

    Args:
        flow: what is asked.
        run: of the training.
        precision: that it computes in.
    """

    def __init__(self, flow: Asked, run: Path, precision: str):
        self.flow, self.precision = flow, precision
        self.model = sciml.load(run, device="cpu").cast(precision)

    def _asked(self, u: torch.Tensor) -> torch.Tensor:
        flow = self.flow
        frames = self.model.trajectory(flow.made, u, flow.times, sizes=flow.sizes)
        named = dict(zip(self.model.predicted, frames.unbind(-3), strict=True))
        where = list(flow.spans).index("viscosity")
        return flow.value(named, {"viscosity": u[..., where].to(frames.dtype)})

    def value(self, u: np.ndarray) -> float:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # differences leave what training saw by a little
            return float(self._asked(torch.from_numpy(u)))

    def gradient(self, u: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.tensor(u, requires_grad=True)
        value = self._asked(at)
        (slope,) = torch.autograd.grad(value, at)
        return float(value.detach()), slope.numpy()

    def differences(self, u: np.ndarray) -> np.ndarray:
        """(step, K) central differences of fourth order."""
        steps = STEPS[self.precision]
        found = np.zeros((len(steps), len(u)))
        for (i, step), (k, size) in ((a, b) for a in enumerate(steps) for b in enumerate(self.flow.sizes)):
            e = np.where(np.arange(len(u)) == k, step * size, 0.0)
            near, far = (self.value(u + s * e) - self.value(u - s * e) for s in (1, 2))
            found[i, k] = (8 * near - far) / (12 * step * size)
        return found


class Fitted:
    """J ≈ a + b·z + z·C z, z being u from the middle of its span in half spans; by least squares over the training
    cases, with a touch of ridge."""

    RIDGE = 1e-3

    def __init__(self, flow: Asked, numbers: np.ndarray, values: np.ndarray):
        self.flow = flow
        table = np.stack([self._terms(u) for u in numbers])
        penalty = self.RIDGE * len(table) * np.eye(table.shape[1])
        penalty[0, 0] = 0.0
        self.weights = np.linalg.solve(table.T @ table + penalty, table.T @ values)

    def _z(self, u: Any) -> np.ndarray:
        return (np.asarray(u) - self.flow.middle) / self.flow.sizes

    def _terms(self, u: Any) -> np.ndarray:
        z = self._z(u)
        rows, columns = np.triu_indices(len(z))
        return np.concatenate([[1.0], z, z[rows] * z[columns]])

    def value(self, u: np.ndarray) -> float:
        return float(self._terms(u) @ self.weights)

    def gradient(self, u: np.ndarray) -> tuple[float, np.ndarray]:
        z, n = self._z(u), len(u)
        rows, columns = np.triu_indices(n)
        square = np.zeros((n, n))
        square[rows, columns] = self.weights[1 + n :]
        return self.value(u), (self.weights[1 : 1 + n] + (square + square.T) @ z) / self.flow.sizes


def told(flow: Asked, path: Path, numbers: np.ndarray) -> np.ndarray:
    """(case,) J of the solutions of a data set."""
    held = data.open(path)
    found = []
    where = list(flow.spans).index("viscosity")
    for i, u in enumerate(numbers):
        one = data.case(held, i)[1]
        frames = {n: np.asarray(one[n].values, dtype=np.float64) for n in flow.fields}
        found.append(float(flow.value(frames, {"viscosity": u[where]})))
    return np.array(found)
