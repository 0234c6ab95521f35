"""A made-up turbulent channel: the published profiles of Re_τ 178 under random waves, on a small stretched grid."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline

from sciml.data import pack, solution
from sciml.problem import Case, FieldSpec
from sciml.problems import DataProblem, _mkm
from sciml.solver import Restartable, TrainableSolver
from sciml.support import Grid

FIELDS = ("u", "v", "w")
VISCOSITY = 1.0 / _mkm.REYNOLDS  # with u_τ = h = 1
STEP = 0.05


class Channel(DataProblem):
    """Knows its wall units, as a channel with equations does."""

    def wall_units(self, case: Case) -> tuple[float, float]:
        return 1.0, VISCOSITY


def grid(cells: tuple[int, int, int] = (16, 24, 16)) -> Grid:
    nx, ny, nz = cells
    y = np.tanh(2.0 * np.linspace(-1, 1, ny + 1)) / np.tanh(2.0)
    return Grid((np.linspace(0, 4 * np.pi, nx + 1), y, np.linspace(0, 4 * np.pi / 3, nz + 1)), (True, False, True))


def flow(where: Grid, count: int, seed: int = 0) -> np.ndarray:
    """(time, component, z, y, x): waves of the published variances and shear stress, E(k) ~ k^(−5/3), that move along
    by a cell a frame and forget themselves."""
    random = np.random.default_rng(seed)
    nx = where.shape[-1]
    y = np.minimum(1 + where.centres[1], 1 - where.centres[1]) * _mkm.REYNOLDS
    at = {n: CubicSpline(_mkm.y(), _mkm.stress(n))(y) for n in ("uu", "vv", "ww", "uv")}
    mean = CubicSpline(_mkm.y(), _mkm.mean())(y)
    side = -np.sign(where.centres[1])
    k = np.sqrt((np.fft.fftfreq(where.shape[0]) * where.shape[0])[:, None] ** 2 + (np.fft.rfftfreq(nx) * nx) ** 2)
    weight = np.maximum(k, 1.0) ** (-4 / 3) * (k > 0)

    def waves() -> np.ndarray:
        noise = random.standard_normal((3, *where.shape))
        noise = np.cumsum(noise, axis=2)  # neighbours across the channel look alike
        found = np.fft.irfft2(np.fft.rfft2(noise, axes=(1, 3)) * weight[:, None], where.shape[::2], axes=(1, 3))
        return found / found.std(axis=(1, 3), keepdims=True)

    state, found = waves(), []
    for n in range(count):
        state = np.roll(state, 1, axis=-1) * 0.9 + np.sqrt(1 - 0.9**2) * waves() if n else state
        u = np.sqrt(at["uu"])[:, None] * state[0]
        share = np.where(at["uu"] > 0, at["uv"] * side / np.maximum(at["uu"], 1e-12), 0.0)
        rest = np.sqrt(np.maximum(at["vv"] - share**2 * at["uu"], 0.0))
        v = share[:, None] * u + rest[:, None] * state[1]
        found.append(np.stack([mean[:, None] + u, v, np.sqrt(at["ww"])[:, None] * state[2]]))
    return np.stack(found)


def dataset(cases: int = 4, count: int = 9, cells: tuple[int, int, int] = (16, 24, 16)) -> xr.Dataset:
    """The last case is for testing, the one before for validation."""
    where = grid(cells)
    problem = Channel("made_up_channel", [FieldSpec(n, "m s-1") for n in FIELDS], dimensions=3, periodic=where.periodic)
    made = []
    for i in range(cases):
        case = Case(problem, {}, {}, f"run {i}", "", where.extents)
        values = flow(where, count, seed=i).astype(np.float32)
        made.append(solution(case, STEP * np.arange(count), {n: values[:, k] for k, n in enumerate(FIELDS)}, where))
    return pack(made, ["train"] * (cases - 2) + ["validation", "test"])


class Damped(TrainableSolver, Restartable):
    """What a poor surrogate does: the flow moves along, and its waves fade by a tenth a step."""

    name, title = "damped", "Damped"
    predicted = FIELDS
    weights = 1

    def __init__(self, keep: float = 0.9, problem: DataProblem | None = None):
        self.keep, self.known = keep, problem

    @property
    def settings(self):
        return {"keep": self.keep}

    @property
    def identity(self):
        return {"keep": self.keep}

    @property
    def fitted(self):
        return True

    @property
    def problem(self):
        return self.known

    @property
    def training(self):
        return {"recipe": {"seed": 0}, "seconds": 1.0}

    def supports(self, problem):
        return True

    def fit(self, data, recipe=None, *, split="train", validation="validation", running=None):
        return self

    def save(self, directory):
        raise NotImplementedError

    @classmethod
    def load(cls, directory, device="auto"):
        raise NotImplementedError

    def _solve(self, case, times):
        raise NotImplementedError

    def resume(self, case, frame, times):
        raise NotImplementedError

    def rollout(self, starts, times):
        now = [np.asarray(s.frames[-1]) for s in starts]
        for _ in range(times.shape[1]):
            mean = [f.mean(axis=(1, 3), keepdims=True) for f in now]
            now = [m + self.keep * (np.roll(f, 1, axis=-1) - m) for f, m in zip(now, mean, strict=True)]
            yield now
