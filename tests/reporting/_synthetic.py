"""A made-up study with everything in it: a decaying vortex, two surrogates with three seeds, baselines, a reference."""

from __future__ import annotations

import numpy as np

from sciml.reporting.study import Benchmark, Row, Run, Sample, Study
from sciml.support import Grid

SUBSETS = ("bc", "prop", "geo", "ic")
STEPS = 20


def field(times: np.ndarray, n: int = 48, phase: float = 0.0) -> dict[str, np.ndarray]:
    x = (np.arange(n) + 0.5) / n
    y, x = np.meshgrid(x, x, indexing="ij")
    decay = np.exp(-0.3 * times)[:, None, None]
    a, b = np.pi * (x + phase), np.pi * y
    return {
        "u": decay * np.sin(a) * np.cos(b) * (1 + 0.2 * np.sin(5 * times)[:, None, None] * np.cos(3 * a)),
        "v": -decay * np.cos(a) * np.sin(b),
        "p": 0.25 * decay**2 * (np.cos(2 * a) + np.cos(2 * b)),
    }


def sample(subset: str, seed: int, cells: int = 48) -> Sample:
    rng = np.random.default_rng(seed)
    times = np.linspace(0, 5, STEPS + 1)
    truth = field(times, cells, 0.1 * seed)
    x = (np.arange(cells) + 0.5) / cells
    bump = np.sin(3 * np.pi * x)[:, None] * np.sin(2 * np.pi * x)[None]
    growth = times[:, None, None] / 5
    predictions = {
        name: {k: v + size * growth * bump * rng.uniform(0.5, 1) for k, v in truth.items()}
        for name, size in (("FNO", 0.02), ("U-Net", 0.05))
    }
    line = {"check": "balance", "name": "continuity", "unit": "s-1", "rms": 1e-3, "largest": 2e-3, "relative": 1e-3,
            "floor": 5e-4, "size": 1, "length": 0.02}  # fmt: skip
    audits = {"truth": [line | {"rms": 1e-15, "relative": 1e-15}, line | {"name": "momentum", "unit": "N m-3"}],
              "FNO": [line, line | {"name": "momentum", "unit": "N m-3", "rms": 1e-2}]}  # fmt: skip
    faces = np.linspace(0.0, 1.0, cells + 1)
    return Sample(f"case {seed}", subset, times, Grid((faces, faces)), truth, predictions,
                  {"lid_velocity (m s⁻¹)": 1.0, "Reynolds number": 100.0 * (seed + 1)}, audits)  # fmt: skip


def study(**changes) -> Study:
    rng = np.random.default_rng(0)
    rows = [Row("persistence", "persistence", "baseline", seconds_per_step=1e-6),
            Row("mean field", "mean field", "baseline", seconds_per_step=1e-6),
            Row("interpolation", "interpolation", "baseline", seconds_per_step=2e-4),
            Row("reference 16²", "reference 16²", "reference", seconds_per_step=2e-3),
            Row("reference 32²", "reference 32²", "reference", seconds_per_step=9e-3)]  # fmt: skip
    level = [3e-2, 2e-1, 8e-3, 5e-3, 8e-4]
    for seed in range(3):
        rows.append(Row(f"FNO, seed {seed}", "FNO", "surrogate", seed, 3e-3, 80.0, 612_345))
        rows.append(Row(f"U-Net, seed {seed}", "U-Net", "surrogate", seed, 5e-3, 90.0, 1_234_567))
        level += [2e-4 * (1 + 0.2 * seed), 6e-4 * (1 + 0.1 * seed)]
    rollouts = 48
    subset = [SUBSETS[i % 4] for i in range(rollouts)]
    grow = np.linspace(1, 9, STEPS)
    label = np.full((rollouts, STEPS), 0.25)
    square = 0.25 * np.array(level)[:, None, None] * grow * rng.lognormal(0, 0.5, (1, rollouts, 1))
    re = 10 ** rng.uniform(1, 3, rollouts)
    history = [{"step": s, "loss": 1 / (1 + s), "validation": 1.2 / (1 + s)} for s in range(0, 400, 10)]
    y = np.linspace(0, 1, 33)
    title = "u on the vertical centre line, Re = 100"
    benchmark = Benchmark(title, "reference 64²", "Ghia et al. (1982)", "u/U", "y/L",
                          y, np.sin(y * 3), (y[::3], np.sin(y[::3] * 3) + 0.003), 0.003, True)  # fmt: skip
    values = {
        "title": "Lid-driven cavity: FNO and U-Net", "data_name": "cavity.h5",
        "fields": {"u": "m s-1", "v": "m s-1", "p": "Pa"}, "rows": rows, "subsets": SUBSETS, "square": square,
        "label": label, "rollout_subset": subset,
        "rollout_features": {"Reynolds number": re, "height / width": rng.uniform(0.5, 2, rollouts)},
        "samples": [sample(s, i) for i, s in enumerate(SUBSETS)],
        "runs": [Run("FNO, seed 0", "FNO", "runs/fno", "fno", {"width": 32, "modes": [12]}, history, "sciml train")],
        "benchmarks": [benchmark], "facts": [("data", "cavity.h5"), ("cases", "96")], "settings": [("steps", "20")],
        "versions": [("sciml", "0.1.0"), ("torch", "2.13.0")], "command": "sciml report runs/fno --data cavity.h5",
        "starts": "Started at frame 0, a quarter and a half of each case.", "threads": 2,
        "velocity": ("u", "v"), "still": "persistence",
    }  # fmt: skip
    return Study(**(values | changes))


def small(**changes) -> Study:
    """The same with two subsets and one sample: a sixth of the drawings, for tests that look at something else."""
    whole = study()
    pick = np.array([s in ("bc", "ic") for s in whole.rollout_subset])
    values = {
        "subsets": ["bc", "ic"], "square": whole.square[:, pick], "label": whole.label[pick],
        "rollout_subset": [s for s in whole.rollout_subset if s in ("bc", "ic")], "samples": [whole.samples[3]],
        "rollout_features": {"Reynolds number": whole.rollout_features["Reynolds number"][pick]},
    }  # fmt: skip
    return study(**(values | changes))
