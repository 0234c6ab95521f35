"""Operators on interleaved coarse fields beside the same operators on the whole field, and beside the solver on fewer
cells: error against cost, and what pieces that are blind to each other leave between neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

from benchmarks._cfdbench_figures import one_core
from benchmarks._cfdbench_worth import beside, finite
from benchmarks._ledger import HERE, WORK, Ledger
from benchmarks._runs import Runs, digest, recipe, records
from benchmarks._turbulence_rows import costs, one_step
from sciml import data, load
from sciml.evaluation._held import Held
from sciml.operators.neural_stagger import merge, split
from sciml.problems import KolmogorovFlow
from sciml.solvers import PseudoSpectral
from sciml.studies._plan import Plan, surrogate_settings
from sciml.training.losses import Nmse
from sciml.training.objectives import Supervised
from sciml.training.optimisers import AdamW
from sciml.training.recipe import ProcessorMinutes, Recipe
from sciml.training.samples import table
from sciml.training.schedules import OneCycle
from sciml.training.stepping import Autoregressive, Stepping, Window

CELLS, FINE, STEPS = 64, 104, 20  # of the data, of the simulations behind them along a side; of a rollout
FLOW: dict[str, Any] = {"viscosity": 4e-3, "drag": 0.1}
SETTLED, STEP = 10.0, 0.2  # s before the first frame, between frames
TRAINING, VALIDATION, TEST = 20, 4, 6  # flows
MINUTES, TUNING, BATCH = 1.0, 0.25, 4
RATES = (1e-3, 4e-3)
SHORT = 3 / 8  # of the points of a side: waves of more oscillations, along either axis, are short
SHARES = tuple(Fraction(s, 8) for s in (1, 2, 3, 4, 6, 8))  # of these cells, on which the solver stands beside
FIRST = 1  # frame that rollouts start from: there is one before it, which windows see
PICTURED = ("FNO, width 12", "NeuralStagger 2 × 2, FNO, width 12", "NeuralStagger 4 × 4, FNO, width 12")


@dataclass(frozen=True)
class Row:
    """An operator, its options, and how it goes through time."""

    operator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    stepping: Stepping = field(default_factory=Autoregressive)

    def plan(self, minutes: float, rate: float, seed: int) -> Plan:
        how = Recipe(
            length=ProcessorMinutes(minutes), batch=BATCH, objective=Supervised(Nmse()),
            optimiser=AdamW(lr=rate, average=0.99), schedule=OneCycle(), seed=seed, validate_every=50,
            validation_items=32, keep="best",
        )  # fmt: skip
        settings: Any = surrogate_settings()
        return Plan(self.operator, self.options, how, settings(stepping=self.stepping))


def fourier(width: int, modes: int) -> dict[str, Any]:
    return {"width": width, "modes": (modes, modes)}


def pieces(backbone: str, settings: Mapping[str, Any], stagger: int, **more: Any) -> dict[str, Any]:
    return {"backbone": backbone, "settings": dict(settings), "stagger": stagger, **more}


WHOLE, PIECES = "whole", "pieces"
TWO = Window(2, 2, increments=False)
UNET = {"width": 24, "multipliers": (1, 2, 4)}
ROWS: dict[str, dict[str, Row]] = {
    WHOLE: {
        "FNO, width 24": Row("fno", fourier(24, 12)),
        "FNO, width 12": Row("fno", fourier(12, 12)),
        "FNO, width 6": Row("fno", fourier(6, 8)),
        "U-Net, width 24": Row("unet", UNET),
        "U-Net, width 12": Row("unet", UNET | {"width": 12}),
        "FNO, width 24, windows of 2 frames": Row("fno", fourier(24, 12), TWO),
    },
    PIECES: {
        "NeuralStagger 2 × 2, FNO, width 24": Row("neural_stagger", pieces("fno", fourier(24, 12), 2)),
        "NeuralStagger 2 × 2, FNO, width 12": Row("neural_stagger", pieces("fno", fourier(12, 12), 2)),
        "NeuralStagger 2 × 2, FNO, width 12, one for each piece": Row(
            "neural_stagger", pieces("fno", fourier(12, 12), 2, shared=False)
        ),
        "NeuralStagger 4 × 4, FNO, width 12": Row("neural_stagger", pieces("fno", fourier(12, 8), 4)),
        "NeuralStagger 2 × 2, U-Net, width 24": Row("neural_stagger", pieces("unet", UNET, 2)),
        "NeuralStagger 2 × 2 and 2 frames, FNO, width 24": Row(
            "neural_stagger", pieces("fno", fourier(24, 12), 2, steps=2), TWO
        ),
    },
}


def made(folder: Path, quick: bool) -> Path:
    """Forced turbulence in the plane, made where it is not there yet."""
    path = folder / "flows.h5"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    counts = (3, 1, 1) if quick else (TRAINING, VALIDATION, TEST)
    cells, fine, settled = (16, 24, 1.0) if quick else (CELLS, FINE, SETTLED)
    parts = [p for p, n in zip(("train", "validation", "test"), counts, strict=True) for _ in range(n)]
    solver = PseudoSpectral(fine, dtype="float32")
    cases = [KolmogorovFlow().case(f"seed {k}", **FLOW, seed=k) for k in range(len(parts))]
    times = settled + STEP * np.arange(STEPS + 1)
    kept = {i: solver.stored(cases[i], found, (cells, cells), ("u", "v")) for i, found in solver.stream(cases, times)}
    data.write(data.pack([kept[i] for i in range(len(parts))], splits=parts), path)
    return path


def trained(path: Path, folder: Path, rows: Mapping[str, Row], minutes: float) -> dict[str, Path]:
    known = data.open(path)
    content = digest(str(known["sha256"].values.tolist()), str(known["split"].values.tolist()))

    def plan(row: Row, share: float, rate: float, seed: int) -> Plan:
        return row.plan(share * minutes, rate, seed)

    return Runs("stagger", path, content, folder, plan, RATES, lambda r: f"rate {r:g}", TUNING).trained(rows)


def measure(ledger: Ledger, work: Any) -> None:
    folder = WORK / "seeds" / "stagger" / ("quick" if work.quick else "")
    path, minutes = made(folder, work.quick), 0.03 if work.quick else MINUTES * (3 if work.full else 1)
    ledger.seeds(0)
    told = "largest over shapes of one to three axes, staggers, windows and types"
    ledger.check("split_merge_difference", round_trip(), told, note=told)
    wanted = {n: r for rows in ROWS.values() for n, r in list(rows.items())[: 1 if work.quick else None]}
    runs = trained(path, folder / "runs", wanted, minutes)
    models = {name: load(run) for name, run in runs.items()}
    cells = int(data.open(path).sizes["x"])
    shares = [s for s in SHARES if s * cells >= 8]
    numerical = {f"solver, {int(s * cells)}²": PseudoSpectral(int(s * cells), dtype="float32") for s in shares}
    held = Held(table(data.open(path), "test"), 2)
    truth = np.stack([held.frames(i, FIRST + 1, STEPS - FIRST) for i in range(len(held))])
    first = one_step(models | numerical, path)
    with one_core():
        cost = costs(models | numerical, path, steps=10)
    still = np.stack([held.frames(i, FIRST) for i in range(len(held))])
    lines = [line("persistence", "baseline", np.broadcast_to(still, truth.shape), truth)]
    lines[0]["one_step_nmse"] = first_of(still, truth)
    ends: dict[str, Any] = {"truth": truth[:, -1]}
    kinds = {name: kind for kind, rows in ROWS.items() for name in rows} | dict.fromkeys(numerical, "solver")
    for name, solver in (models | numerical).items():
        found = answers(held, solver)
        ends[name] = found[:, -1]
        about = {"one_step_nmse": first[name]["mean"], "milliseconds_per_step": 1e3 * cost[name]}
        if name in runs:
            about |= {"weights": models[name].weights, "steps": records(runs[name])[-1]["step"],
                      "rate": float(recipe(runs[name])["rate"])}  # fmt: skip
        lines.append(line(name, kinds[name], found, truth) | about)
    against(ledger, lines)
    for one in lines:
        ledger.row(**one)
    if not work.quick:
        picture(ends, HERE.parent / "docs" / "stagger.png")


def round_trip() -> float:
    """The largest difference between a field and what is put together of its pieces."""
    worst = 0.0
    for dtype, (space, stagger), steps in itertools.product(
        (torch.float32, torch.float64), (((12,), (3,)), ((8, 12), (2, 4)), ((6, 4, 8), (3, 2, 2))), (1, 2)
    ):
        x = torch.randn(3, 2 * steps, *space, dtype=dtype, generator=torch.Generator().manual_seed(0))
        worst = max(worst, float((merge(split(x, stagger, steps), stagger, steps) - x).abs().max()))
    return worst


def answers(held: Held, solver: Any) -> np.ndarray:
    """(flow, step, field, y, x) a rollout of each test flow from its frame `FIRST`, in the problem's scales."""
    assert held.table.times is not None
    found = []
    for i in range(len(held)):
        starts, times = held.starts([(i, FIRST)], solver), held.table.times[i][None, FIRST + 1 : STEPS + 1]
        found.append(np.stack([frame[0] / held.scale(i) for frame in solver.rollout(starts, times)]))
    return np.stack(found)


def first_of(found: np.ndarray, truth: np.ndarray) -> float:
    return float(((found[:, 0] - truth[:, 0]) ** 2).sum() / (truth[:, 0] ** 2).sum())


def short(fields: np.ndarray) -> float:
    """Σ |q̂_k|² of the waves along either axis of which there are more than `SHORT` of the points of a side."""
    n = fields.shape[-1]
    waves = np.abs(np.fft.fftfreq(n, 1 / n))
    power = np.abs(np.fft.fft2(fields)) ** 2 / n**4
    return float(power[..., np.maximum(waves[:, None], waves) > SHORT * n].sum())


def line(name: str, kind: str, found: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """NMSE of rollouts, pooled and of the best and worst flow, and what short waves hold at their end: of the answer,
    and of its error, over the truth's."""
    gaps, of = ((found - truth) ** 2).sum((1, 2, 3, 4)), (truth**2).sum((1, 2, 3, 4))
    end, true = found[:, -1], truth[:, -1]
    return {
        "section": "stagger", "row": name, "kind": kind, "rollout_nmse": finite(gaps.sum() / of.sum()),
        "rollout_nmse_least": finite((gaps / of).min()), "rollout_nmse_most": finite((gaps / of).max()),
        "short_waves_over_true": finite(short(end) / short(true)),
        "short_error_over_true": finite(short(end - true) / short(true)),
    }  # fmt: skip


def against(ledger: Ledger, lines: list[dict[str, Any]]) -> None:
    """What the same kind of operator on the whole field, and what the solver on fewer cells would cost that errs as
    little in one step, over what pieces cost."""
    told, best = [], 0.0
    for one in lines:
        if one["kind"] != PIECES:
            continue
        error, mine = one["one_step_nmse"], one["milliseconds_per_step"]
        for kind, words in ((WHOLE, "whole"), ("solver", "solver")):
            points = [(r["one_step_nmse"], r["milliseconds_per_step"], r["row"]) for r in lines if r["kind"] == kind]
            found = beside(error, mine, points)
            one |= {
                f"as_exact_{words}": found.get("as_exact"),
                f"times_cheaper_than_{words}": found.get("times_cheaper"),
            }
        times = one["times_cheaper_than_whole"]
        told.append(f"{one['row']} {'–' if times is None else format(times, '.3g')}")
        best = max(best, times or 0.0)
    note = "seconds a step of an operator on the whole field with the same error of one step, costs between operators "
    note += f"interpolated, over those of pieces; – where none on the whole field errs as little: {', '.join(told)}"
    why = "all pieces together hold as many points as the whole, and a network that sees fewer neighbours errs more"
    ledger.check("neural_stagger_speedup_at_equal_error", best, why, note=note)


def picture(ends: Mapping[str, np.ndarray], path: Path) -> None:
    """The vorticity of a test flow at the end of rollouts, and a part of it near by."""
    chosen = ["truth", *PICTURED]
    figure, axes = plt.subplots(2, len(chosen), figsize=(3.1 * len(chosen), 6.4), layout="constrained")
    curls = {name: _curl(ends[name][0]) for name in chosen}
    most = float(np.abs(curls["truth"]).max())
    for (above, below), name in zip(axes.T, chosen, strict=True):
        for place, part in ((above, slice(None)), (below, slice(16, 32))):
            place.imshow(curls[name][part, part], origin="lower", cmap="RdBu_r", vmin=-most, vmax=most)
            place.set(xticks=[], yticks=[])
        above.set_title(name.replace(", FNO", ",\nFNO"), fontsize=10)
    axes[0, 0].set_ylabel("vorticity")
    axes[1, 0].set_ylabel("a sixteenth of it")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _curl(velocity: np.ndarray) -> np.ndarray:
    """∂v/∂x − ∂u/∂y by one-sided differences, which see what goes up and down from point to point."""
    u, v = velocity
    return (np.roll(v, -1, 1) - v) - (np.roll(u, -1, 0) - u)
