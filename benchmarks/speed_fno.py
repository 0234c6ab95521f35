"""Part "fno" of the ledger `speed`: our FNO beside neuraloperator's, the same architecture with the same weights.

    python -m benchmarks.speed_fno [--quick]

Each package has a process of its own, two threads, torch's AdamW; the parent lets them run in turn, one call each, and
takes medians. Processes that do the same differ, the peer's in inference by up to a factor of two; so the ratio is the
median over several pairs of processes, and stands beside the least and the most of them. Parity is checked in the same
run: the peer's weights are loaded into ours. Peak memory is the rise of the resident set during calls over that of the
process with model and batch in place. "transform" holds both ways of computing the truncated transforms beside the cost
model that chooses between them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._ledger import Ledger

THREADS = 2
WIDTH, LAYERS = 32, 4
PAIRS = 9
# (n_modes of the peer, grid, batch); the first is what the goals are about
SIZES = ((24, 64, 16), (16, 64, 16), (32, 64, 16), (24, 128, 4), (32, 128, 4))
TRANSFORMS = (
    (32, 8),
    (64, 8),
    (64, 12),
    (64, 16),
    (64, 24),
    (128, 12),
    (128, 16),
    (128, 32),
    (128, 63),
    (256, 16),
    (256, 64),
    (256, 127),
)


# ---- a process that runs one of the two -----------------------------------------------------------------------------


def worker(kind: str, n_modes: int, points: int, batch: int, folder: Path) -> None:
    """Build the model, then obey one-word commands on standard input, each answered by a line of JSON."""
    import numpy as np
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    weights = folder / f"weights_{n_modes}_{points}.npz"
    sizes = {"n_modes": (n_modes, n_modes), "in_channels": 1, "out_channels": 1, "hidden_channels": WIDTH}
    if kind == "peer":
        from neuralop.models import FNO  # type: ignore[import-not-found]

        model: torch.nn.Module = FNO(**sizes, n_layers=LAYERS)
        state: dict[str, Any] = {k: v.numpy() for k, v in model.state_dict().items() if isinstance(v, torch.Tensor)}
        np.savez(weights, **state)
    else:
        from sciml.operators import from_neuraloperator

        with np.load(weights) as archive:
            model = from_neuraloperator({k: torch.from_numpy(archive[k]) for k in archive.files})
    x = torch.randn(batch, 1, points, points, generator=torch.Generator().manual_seed(1))
    target = torch.randn(batch, 1, points, points, generator=torch.Generator().manual_seed(2))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    if kind == "ours":  # the peer's complex weights have no fused optimiser; a row beside the like-for-like one
        fused = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def inference() -> torch.Tensor:
        with torch.no_grad():
            return model(x)

    def training_step(fast: bool = False) -> None:
        used = fused if fast else optimiser
        used.zero_grad()
        (model(x) - target).square().mean().backward()
        used.step()

    def outputs(double: bool = False) -> str:
        y = inference()
        if double and kind != "peer":  # the peer's complex weights stay in single precision
            with torch.no_grad():
                y = model.double()(x.double())
            model.float()
        path = folder / f"{kind}_{n_modes}_{points}_{'double' if double else 'single'}.npy"
        np.save(path, y.numpy())
        return str(path)

    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        command = line.strip()
        if command in ("inference", "training_step", "training_step_fused"):
            start = time.perf_counter()
            inference() if command == "inference" else training_step(command != "training_step")
            answer: Any = time.perf_counter() - start
        elif command in ("memory_inference", "memory_training_step"):
            answer = _peak(inference if command == "memory_inference" else training_step)
        elif command in ("outputs", "outputs_double"):
            answer = outputs(command == "outputs_double")
        else:
            break
        print(json.dumps(answer), flush=True)


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return float(line.split()[1]) / 1024
    return float("nan")


def _peak(call: Any) -> float:
    """MiB that the resident set rises by during three calls, from before the first."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the high-water mark so far
    before = _status("VmRSS")
    for _ in range(3):
        call()
    return _status("VmHWM") - before


class Worker:
    """The other end of `worker`."""

    def __init__(self, kind: str, n_modes: int, points: int, batch: int, folder: str):
        sizes = [str(v) for v in (n_modes, points, batch)]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.speed_fno", "--worker", kind, *sizes, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(THREADS)},
        )
        assert self._answer() == "ready"

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            try:
                return json.loads(line)
            except json.JSONDecodeError:
                continue  # something that an import printed
        raise RuntimeError(f"benchmark process ended with status {self.process.wait()}")

    def __call__(self, command: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


# ---- sections -------------------------------------------------------------------------------------------------------


def compare(ledger: Ledger, size: tuple[int, int, int], pairs: int, repeats: int, folder: str) -> dict[str, float]:
    """Both packages on one size: rows in the ledger, and the ratios."""
    import numpy as np

    n_modes, points, batch = size
    # peak memory in fresh processes, before anything else has stretched their heaps
    peaks = {}
    for command in ("memory_inference", "memory_training_step"):
        for kind in ("peer", "ours"):
            process = Worker(kind, *size, folder)
            peaks[command, kind] = process(command)
            process.close()
    times: dict[tuple[str, str], list[float]] = {}  # of each pair of processes the medians
    fastest: dict[tuple[str, str], float] = {}
    answers: list[Any] = []
    for _ in range(pairs):
        pair = {kind: Worker(kind, *size, folder) for kind in ("peer", "ours")}
        if not answers:
            asked = (("peer", "outputs"), ("ours", "outputs"), ("ours", "outputs_double"))
            answers = [np.load(pair[kind](command)) for kind, command in asked]
        for command in ("inference", "training_step"):
            runs = [("peer", command), ("ours", command)]
            if command == "training_step":
                runs.append(("fused", "training_step_fused"))
            taken: dict[str, list[float]] = {name: [] for name, _ in runs}
            for turn in range(repeats + 2):
                for name, what in runs:
                    seconds = pair["peer" if name == "peer" else "ours"](what)
                    if turn >= 2:
                        taken[name].append(seconds)
            for name, values in taken.items():
                times.setdefault((command, name), []).append(statistics.median(values))
                fastest[command, name] = min([*values, fastest.get((command, name), np.inf)])
        for process in pair.values():
            process.close()
    peer, ours, exact = answers
    scale = np.linalg.norm(exact)
    found = {"parity": float(np.linalg.norm(ours - peer) / scale)}
    rounding = {k: float(np.linalg.norm(y - exact) / scale) for k, y in (("peer", peer), ("ours", ours))}
    for command in ("inference", "training_step"):
        theirs, mine = times[command, "peer"], times[command, "ours"]
        ratios = sorted(p / o for p, o in zip(theirs, mine, strict=True))
        fused = [p / o for p, o in zip(theirs, times.get((command, "fused"), []), strict=False)]
        found[command] = statistics.median(ratios)
        memory = {k: peaks[f"memory_{command}", k] for k in ("peer", "ours")}
        found[f"memory_{command}"] = memory["ours"] / memory["peer"]
        ledger.row(
            section=command,
            n_modes=n_modes,
            grid=f"{points} x {points}",
            batch=batch,
            width=WIDTH,
            layers=LAYERS,
            neuraloperator_milliseconds=1e3 * statistics.median(theirs),
            sciml_milliseconds=1e3 * statistics.median(mine),
            times_as_fast=found[command],
            times_as_fast_least=ratios[0],
            times_as_fast_most=ratios[-1],
            pairs_of_processes=pairs,
            fastest_over_fastest=fastest[command, "peer"] / fastest[command, "ours"],
            times_as_fast_with_fused_adamw=statistics.median(fused) if fused else None,
            neuraloperator_peak_mebibytes=memory["peer"],
            sciml_peak_mebibytes=memory["ours"],
            difference_relative=found["parity"],
            neuraloperator_rounding_relative=rounding["peer"],
            sciml_rounding_relative=rounding["ours"],
        )
    return found


def transforms(ledger: Ledger, repeats: int) -> None:
    """Forward and inverse transform by products and through the FFT, and what the cost model says."""
    import torch

    from sciml.operators._transform import (
        Axis,
        analyse,
        analyse_fft,
        fft_cost,
        prefers_fft,
        product_cost,
        synthesise,
        synthesise_fft,
    )  # fmt: skip

    torch.set_num_threads(1)
    channels = 32
    for points, modes in TRANSFORMS:
        axes = [Axis(points, modes, 1.0, "centre")] * 2
        batch = max(1, 4 * 64**2 // points**2)
        x = torch.randn(batch, points, points, channels)
        times: dict[str, list[float]] = {"matmul": [], "fft": []}
        for turn in range(repeats + 2):
            for name, to, back in (("matmul", analyse, synthesise), ("fft", analyse_fft, synthesise_fft)):
                start = time.process_time()
                back(to(x, axes), axes)
                if turn >= 2:
                    times[name].append(time.process_time() - start)
        scale = 1e9 / (2 * batch * channels)
        ledger.row(
            section="transform",
            grid=f"{points} x {points}",
            modes=modes,
            threads=1,
            matmul_nanoseconds_a_field=statistics.median(times["matmul"]) * scale,
            fft_nanoseconds_a_field=statistics.median(times["fft"]) * scale,
            matmul_declared_nanoseconds=product_cost(axes),
            fft_declared_nanoseconds=fft_cost(axes),
            chosen="fft" if prefers_fft(axes) else "matmul",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the first size alone, few repeats")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, n_modes, points, batch, folder = arguments.worker
        worker(kind, int(n_modes), int(points), int(batch), Path(folder))
        return
    ledger = Ledger("speed", part="fno", threads=THREADS, packages=("neuraloperator", "tensorly"))
    ledger.seeds(0, 1, 2)
    ids = {
        "inference": "fno_inference_vs_neuraloperator",
        "training_step": "fno_training_step_vs_neuraloperator",
        "memory": "fno_peak_memory_vs_neuraloperator",
        "parity": "fno_parity_float32",
    }
    if importlib.util.find_spec("neuralop") is None:
        for id in ids.values():
            ledger.check(id, None, reason="neuraloperator 2.0.0 is not installed; `make bench-speed` installs it")
    else:
        with tempfile.TemporaryDirectory() as folder:
            sizes = SIZES[:1] if arguments.quick else SIZES
            results = [compare(ledger, size, 1 if arguments.quick else PAIRS, 9, folder) for size in sizes]
        first = results[0]
        first["memory"] = max(first["memory_inference"], first["memory_training_step"])
        for key, id in ids.items():
            ledger.check(id, first[key], reason="see the rows")
    transforms(ledger, 3 if arguments.quick else 9)
    ledger.write()


if __name__ == "__main__":
    main()
