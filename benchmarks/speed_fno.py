"""Part "fno" of the ledger `speed`: our FNO beside neuraloperator's, the same architecture with the same weights.

    python -m benchmarks.speed_fno [--quick]        (--quick: few pairs of the first size, no ledger written)

Each package has a process of its own, two threads, torch's AdamW; the parent lets them run in turn, one call each, and
takes medians. Processes that do the same differ, so the ratio is the median over several pairs of processes, and stands
beside its quantiles.

glibc's malloc gives blocks above a size that it keeps changing back to the system when they are freed, and the next
call pays for every page of them again; whether it does so differs from process to process. What is compared are
therefore processes in which it keeps what it has (`KEEP`), both packages alike: nothing is mapped apart and the heap is
never trimmed. A row with glibc's defaults stands beside them, and every row counts the page faults of a call.

Parity is checked in the same run: the peer's weights are loaded into ours. Peak memory is the rise of the resident set
during calls over that of the process with model and batch in place. "transform" holds both ways of computing a spectral
convolution, and which of them "auto" takes.

Pairs that are done are kept in benchmarks/work/speed_fno: a run that was interrupted goes on from there.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._ledger import Kept, Ledger, goals, quantiles

THREADS = 2
WIDTH, LAYERS = 32, 4
PAIRS, PAIRS_OF_OTHER_SIZES, REPEATS = 9, 5, 9
# glibc: no block is mapped apart from the heap, the heap grows by 64 MiB at least and is given back never
KEEP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)}
ALLOCATORS: dict[str, dict[str, str]] = {"memory kept by the process": KEEP, "glibc's defaults": {}}
KEPT_BY_PROCESS, DEFAULTS = ALLOCATORS
KINDS = {"peer": "neuraloperator", "ours": "sciml"}
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
        from neuralop.models import FNO as PeerFNO  # type: ignore[import-not-found]

        model: torch.nn.Module = PeerFNO(**sizes, n_layers=LAYERS)
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
            faults, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
            inference() if command == "inference" else training_step(command != "training_step")
            seconds = time.perf_counter() - start
            answer: Any = seconds, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
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

    def __init__(self, kind: str, n_modes: int, points: int, batch: int, folder: str, allocator: str):
        sizes = [str(v) for v in (n_modes, points, batch)]
        bare = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k != "GLIBC_TUNABLES"}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.speed_fno", "--worker", kind, *sizes, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**bare, **ALLOCATORS[allocator], "OMP_NUM_THREADS": str(THREADS)},
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


def one_pair(size: tuple[int, int, int], allocator: str, kinds: list[str], folder: str) -> dict[str, dict[str, Any]]:
    """One process of each kind, in turn: for "command kind" the median and least seconds and the page faults."""
    workers = {kind: Worker(kind, *size, folder, allocator) for kind in kinds}
    found = {}
    for command in ("inference", "training_step"):
        runs = [(kind, kind, command) for kind in kinds]
        if command == "training_step":
            runs.append(("fused_adamw", "ours", "training_step_fused"))
        taken: dict[str, list[tuple[float, int]]] = {name: [] for name, _, _ in runs}
        for turn in range(REPEATS + 2):
            for name, kind, what in runs:
                answer = workers[kind](what)
                if turn >= 2:
                    taken[name].append(answer)
        for name, answers in taken.items():
            seconds, faults = zip(*answers, strict=True)
            found[f"{command} {name}"] = {
                "seconds": statistics.median(seconds),
                "least_seconds": min(seconds),
                "page_faults": statistics.median(faults),
            }
    for worker in workers.values():
        worker.close()
    return found


def parity(size: tuple[int, int, int], folder: str) -> dict[str, float]:
    """Relative differences of the outputs: ours and the peer's, and each from ours in double precision."""
    import numpy as np

    workers = {kind: Worker(kind, *size, folder, KEPT_BY_PROCESS) for kind in ("peer", "ours")}
    asked = (("peer", "outputs"), ("ours", "outputs"), ("ours", "outputs_double"))
    peer, ours, exact = (np.load(workers[kind](command)) for kind, command in asked)
    for worker in workers.values():
        worker.close()
    scale = np.linalg.norm(exact)
    differences = {"difference": ours - peer, "peer_rounding": peer - exact, "ours_rounding": ours - exact}
    return {name: float(np.linalg.norm(values) / scale) for name, values in differences.items()}


def peak_memory(size: tuple[int, int, int], allocator: str, kinds: list[str], folder: str) -> dict[str, float]:
    """MiB for "command kind", each in a fresh process, before anything else has stretched its heap."""
    found = {}
    for command in ("inference", "training_step"):
        for kind in kinds:
            worker = Worker(kind, *size, folder, allocator)
            found[f"{command} {kind}"] = worker(f"memory_{command}")
            worker.close()
    return found


def compare(
    ledger: Ledger, kept: Kept, size: tuple[int, int, int], allocator: str, pairs: int, kinds: list[str], folder: str
) -> dict[str, Any]:
    """The packages on one size: rows in the ledger; the ratios of all pairs, memory and parity."""
    setting: dict[str, Any] = {"size": size, "allocator": ALLOCATORS[allocator], "kinds": kinds, "threads": THREADS}
    # in each piece the peer's process comes first and leaves the weights that the others read
    peaks = kept(lambda: peak_memory(size, allocator, kinds, folder), piece="memory", **setting)
    equal = kept(lambda: parity(size, folder), piece="parity", **setting)
    taken = []
    for number in range(pairs):
        print(f"{size}, {allocator}: pair {number + 1} of {pairs}", flush=True)
        make = lambda: one_pair(size, allocator, kinds, folder)  # noqa: E731
        taken.append(kept(make, piece="pair", number=number, repeats=REPEATS, **setting))
    n_modes, points, batch = size
    found: dict[str, Any] = {"parity": equal["difference"], "memory": 0.0}
    for command in ("inference", "training_step"):
        for kind in [k for k in kinds if k != "peer"]:
            every = {k: [pair[f"{command} {k}"] for pair in taken] for k in ("peer", kind)}
            theirs, mine = ([p["seconds"] for p in every[k]] for k in ("peer", kind))
            ratios = [p / o for p, o in zip(theirs, mine, strict=True)]
            spread = quantiles(ratios, f"{pairs} pairs of processes")
            memory = peaks[f"{command} {kind}"], peaks[f"{command} peer"]
            extra: dict[str, Any] = {}
            if kind == "ours":
                found[command], found[f"{command} spread"] = statistics.median(ratios), spread
                found["memory"] = max(found["memory"], memory[0] / memory[1])
                if command == "training_step":  # the peer's complex weights have no fused optimiser
                    fused = [
                        p / pair["training_step fused_adamw"]["seconds"] for p, pair in zip(theirs, taken, strict=True)
                    ]
                    extra["times_as_fast_with_fused_adamw"] = statistics.median(fused)
            ledger.row(
                section=command,
                row=KINDS[kind],
                allocator=allocator,
                n_modes=n_modes,
                grid=f"{points} x {points}",
                batch=batch,
                width=WIDTH,
                layers=LAYERS,
                neuraloperator_milliseconds=1e3 * statistics.median(theirs),
                sciml_milliseconds=1e3 * statistics.median(mine),
                times_as_fast=statistics.median(ratios),
                times_as_fast_quantile_10=spread["low"],
                times_as_fast_quantile_90=spread["high"],
                times_as_fast_least=min(ratios),
                times_as_fast_most=max(ratios),
                pairs_of_processes=pairs,
                fastest_over_fastest=min(p["least_seconds"] for p in every["peer"])
                / min(p["least_seconds"] for p in every[kind]),
                **extra,
                neuraloperator_page_faults_a_call=statistics.median(p["page_faults"] for p in every["peer"]),
                sciml_page_faults_a_call=statistics.median(p["page_faults"] for p in every[kind]),
                neuraloperator_peak_mebibytes=memory[1],
                sciml_peak_mebibytes=memory[0],
                difference_relative=equal["difference"],
                neuraloperator_rounding_relative=equal["peer_rounding"],
                sciml_rounding_relative=equal["ours_rounding"],
            )
    return found


def transforms(ledger: Ledger, repeats: int) -> None:
    """A spectral convolution by matrix products and through the FFT, on one thread, and what "auto" takes."""
    import torch

    from sciml.operators import SpectralConv

    torch.set_num_threads(1)
    channels = 16
    for points, modes in TRANSFORMS:
        batch = max(1, 4 * 64**2 // points**2)
        x = torch.randn(batch, points, points, channels)
        torch.manual_seed(0)
        layers = {
            way: SpectralConv(channels, channels, (modes, modes), spectral=way) for way in ("matmul", "fft", "auto")
        }
        for layer in layers.values():
            layer.weight = layers["auto"].weight
        times: dict[str, list[float]] = {"matmul": [], "fft": []}
        with torch.no_grad():
            for turn in range(repeats + 2):
                for name, values in times.items():
                    start = time.process_time()
                    layers[name](x)
                    if turn >= 2:
                        values.append(time.process_time() - start)
            chosen = next(name for name in times if torch.equal(layers[name](x), layers["auto"](x)))
        scale = 1e9 / (batch * channels)
        ledger.row(
            section="transform",
            grid=f"{points} x {points}",
            modes=modes,
            threads=1,
            matmul_nanoseconds_a_field=statistics.median(times["matmul"]) * scale,
            fft_nanoseconds_a_field=statistics.median(times["fft"]) * scale,
            auto_takes=chosen,
        )


def check(ledger: Ledger, first: dict[str, Any], defaults: dict[str, Any] | None) -> None:
    for command, id in (("inference", "fno_inference"), ("training_step", "fno_training_step")):
        value, spread = first[command], first[f"{command} spread"]
        note = f"both packages keeping their memory {value:.2f}"
        if defaults is not None:
            note += f", under glibc's defaults {defaults[command]:.2f}"
        for end in ("", "_far"):
            ledger.check(f"{id}_vs_neuraloperator{end}", value, note, spread=spread, note=note)
    memory = {KEPT_BY_PROCESS: first["memory"]} | ({} if defaults is None else {DEFAULTS: defaults["memory"]})
    note = "the largest over inference and training step, and over allocators: "
    note += ", ".join(f"{allocator} {value:.2f}" for allocator, value in memory.items())
    ledger.check("fno_peak_memory_vs_neuraloperator", max(memory.values()), note, note=note)
    ledger.check("fno_parity_float32", first["parity"], "the same weights in both")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the first size alone, few pairs, no ledger written")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of processes of the first size")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, n_modes, points, batch, folder = arguments.worker
        worker(kind, int(n_modes), int(points), int(batch), Path(folder))
        return
    quick = arguments.quick
    packages = ("neuraloperator", "tensorly")
    ledger = Ledger("speed", part="fno", threads=THREADS, packages=packages)
    ledger.seeds(0)
    if importlib.util.find_spec("neuralop") is None:
        why = "neuraloperator 2.0.0 is not installed; `make bench-speed` installs it"
        for id in goals("speed"):
            if id.startswith("fno_"):
                ledger.check(id, None, why)
    else:
        kept = Kept("speed_fno", packages, dry=quick)
        both = list(KINDS)
        pairs = 2 if quick else arguments.pairs
        with tempfile.TemporaryDirectory() as folder:
            first = compare(ledger, kept, SIZES[0], KEPT_BY_PROCESS, pairs, both, folder)
            defaults = None if quick else compare(ledger, kept, SIZES[0], DEFAULTS, pairs, both, folder)
            for size in () if quick else SIZES[1:]:
                compare(ledger, kept, size, KEPT_BY_PROCESS, min(pairs, PAIRS_OF_OTHER_SIZES), both, folder)
        check(ledger, first, defaults)
    transforms(ledger, 3 if quick else 9)
    ledger.write(dry=quick)


if __name__ == "__main__":
    main()
