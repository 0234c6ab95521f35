"""Data sets: random windows per second beside The Well's loader, memory while training, and fuzzing of the reader.

    python -m benchmarks.data [--part windows|memory|fuzz] [--quick]

"windows": the same values in our file and in The Well's own layout, the same windows, one run, warm cache; and The
           Well's layout through an h5py handle that stays open, since The Well opens the file for every window. Ours
           are read in process by `sciml.data.Loader`, all of them also by torch's loader with 0 and 2 workers.
"memory":  proportional set size (PSS) of all processes while `Surrogate.fit` trains an FNO from a file of 8 GB.
"fuzz":    damaged and hostile files; see benchmarks/_fuzz.py.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _fuzz
from benchmarks._ledger import Ledger, extremes

PARTS = ("windows", "memory", "fuzz")
N = 64
FIELDS = ("u", "v", "p")


# ---- windows --------------------------------------------------------------------------------------------------------


def flow_file(path: Path, cases: int, frames: int, fields: dict[str, Any] | None = None, validation: int = 0) -> None:
    """A cavity data set of random values or of `fields` over (frame, y, x); the last cases are for validation."""
    import xarray as xr

    import sciml
    from sciml import data

    rng = np.random.default_rng(0)
    if fields is None:
        fields = {name: rng.standard_normal((cases * frames, N, N), dtype=np.float32) for name in FIELDS}
    # one case of zeros tells what belongs into a file beside the fields; it is repeated for all cases
    times, centres, dims = 0.1 * np.arange(frames), (np.arange(N) + 0.5) / N, ("time", "y", "x")
    still = {name: (dims, np.zeros((frames, N, N), np.float32)) for name in FIELDS}
    case = sciml.problems.LidDrivenCavity().case()
    one = data.pack([data.solution(case, times, still, {"x": centres, "y": centres})], splits=["train"])
    split = np.repeat([data.schema.SPLITS.index(n) for n in ("train", "validation")], [cases - validation, validation])
    own = {"split": split.astype(np.uint8), "frame_case": np.repeat(np.arange(cases, dtype=np.int32), frames), **fields}
    content: dict[str, Any] = {}
    for name, variable in one.variables.items():
        values: Any = own.get(str(name))
        if values is None and variable.dims and variable.dims[0] in ("case", "frame"):
            values = np.concatenate([variable.values] * cases)
        content[str(name)] = (variable.dims, variable.values if values is None else values, variable.attrs)
    data.write(xr.Dataset(content, attrs=one.attrs), path)


def well_file(source: Path, folder: Path, cases: int, frames: int) -> None:
    """The same values as The Well lays them out: pressure a scalar, velocity a vector field, one frame a chunk."""
    import h5py

    from sciml import data

    flow = data.open(source)
    values = {name: flow[name].values.reshape(cases, frames, N, N) for name in FIELDS}
    folder.mkdir()
    file: Any
    with h5py.File(folder / "flow.hdf5", "w") as file:
        file.attrs.update(
            dataset_name="flow", grid_type="cartesian", n_spatial_dims=2, n_trajectories=cases, simulation_parameters=[]
        )
        dims = file.create_group("dimensions")
        dims.attrs["spatial_dims"] = ["y", "x"]
        for name, points in (("time", 0.1 * np.arange(frames)), ("y", np.arange(N) / N), ("x", np.arange(N) / N)):
            dims[name] = points.astype("f4")
            dims[name].attrs.update(sample_varying=False, time_varying=False)
        file.create_group("boundary_conditions")
        file.create_group("scalars").attrs["field_names"] = []
        for order in range(3):
            file.create_group(f"t{order}_fields").attrs["field_names"] = []
        for order, name, array in (
            (0, "pressure", values["p"]),
            (1, "velocity", np.stack([values["v"], values["u"]], axis=-1)),
        ):
            group = file[f"t{order}_fields"]
            group.attrs["field_names"] = [name]
            dset = group.create_dataset(name, data=array, chunks=(1, 1, *array.shape[2:]))
            dset.attrs.update(sample_varying=True, time_varying=True, dim_varying=[True, True], symmetric=False)


class Handle:
    """The Well's file through h5py data sets that stay open in each process: what a reader costs that never opens it
    again. It gives the same windows as `WellDataset`."""

    def __init__(self, path: Path, history: int, horizon: int) -> None:
        self.path, self.history, self.length = path, history, history + horizon
        self.sets: list[Any] = []
        cases, frames = self.opened()[0].shape[:2]
        self.windows = [(c, t) for c in range(cases) for t in range(frames - self.length + 1)]
        self.sets = []

    def opened(self) -> list[Any]:
        import h5py

        if not self.sets:
            file: Any = h5py.File(self.path)
            self.sets = [file["t0_fields/pressure"], file["t1_fields/velocity"]]
        return self.sets

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        import torch

        case, start = self.windows[number]
        pressure, velocity = (values[case, start : start + self.length] for values in self.opened())
        frames = torch.from_numpy(np.concatenate((pressure[..., None], velocity), axis=-1))
        return {"input_fields": frames[: self.history], "output_fields": frames[self.history :]}


def bench_windows(folder: Path, cases: int = 20, frames: int = 100, rounds: int = 5, dry: bool = False) -> None:
    import torch
    from the_well.data import WellDataset  # pyright: ignore[reportMissingImports]

    from sciml import data

    torch.set_num_threads(1)
    ledger = Ledger("data", part="windows", packages=("the-well", "fsspec"))
    path = folder / "flow.h5"
    flow_file(path, cases, frames)
    well_file(path, folder / "well", cases, frames)
    ratios: list[tuple[float, list[float]]] = []  # median, all rounds
    over_handle: list[float] = []
    for history, horizon in ((1, 1), (4, 1)):
        windows = data.Windows(path, history=history, horizon=horizon, fields=FIELDS)
        peer = WellDataset(
            path=str(folder / "well"), n_steps_input=history, n_steps_output=horizon, use_normalization=False,
            return_grid=False, boundary_return_type=None,  # type: ignore[arg-type]
        )  # fmt: skip
        handle = Handle(next((folder / "well").glob("*.hdf5")), history, horizon)
        assert len(peer) == len(windows) == len(handle)
        for k in (0, 7, len(windows) - 1):  # the same windows, value for value
            ours = windows[k]
            for theirs in (peer[k], handle[k]):
                for key, other in (("state", "input_fields"), ("target", "output_fields")):
                    expected = np.moveaxis(np.asarray(theirs[other]), -1, 1)[:, [2, 1, 0]]
                    np.testing.assert_array_equal(ours[key], expected)
        handle.sets = []  # opened anew in every process that reads
        loader = data.Loader(windows, 16)
        epoch = iter(range(10**6))

        def ours_once(loader: Any = loader, epoch: Any = epoch) -> int:
            count = 0
            for batch in loader.epoch(next(epoch)):
                tensors = [torch.from_numpy(batch[key]) for key in ("state", "target")]
                count += len(tensors[0])
            return count

        for workers in (0, 2):
            pool: dict[str, Any] = {"persistent_workers": True} if workers else {}
            context = "fork" if workers else None  # what its users get by default; it starts and runs fastest
            runs: list[Callable[[], int]] = [ours_once]
            for source, key in ((peer, "input_fields"), (handle, "input_fields"), (windows, "state")):
                dataset: Any = source
                batches = torch.utils.data.DataLoader(
                    dataset, 16, shuffle=True, num_workers=workers, multiprocessing_context=context, **pool
                )
                runs.append(lambda batches=batches, key=key: sum(len(batch[key]) for batch in batches))
            ours, the_well, h5py_handle, in_torch = _alternate(rounds, *runs)
            del runs, batches  # which end their processes
            handle.sets = []
            gc.collect()
            found = [a / b for a, b in zip(ours, the_well, strict=True)]
            ratio = statistics.median(found)
            ratios.append((ratio, found))
            over_handle.append(statistics.median(a / b for a, b in zip(ours, h5py_handle, strict=True)))
            ledger.row(
                section="random windows, 3 fields of 64 x 64, batches of 16, warm cache",
                frames_in_and_out=f"{history} + {horizon}",
                workers_of_the_torch_loaders=workers,
                sciml_in_process_windows_per_second=round(statistics.median(ours)),
                sciml_in_torch_loader_windows_per_second=round(statistics.median(in_torch)),
                the_well_windows_per_second=round(statistics.median(the_well)),
                h5py_handle_windows_per_second=round(statistics.median(h5py_handle)),
                ratio=round(ratio, 2),
                ratio_to_h5py_handle=round(over_handle[-1], 2),
            )
            print(f"{history}+{horizon}, {workers} workers: {ratio:.1f} The Well, {over_handle[-1]:.1f} a handle")
    ledger.seeds(0)
    least, found = min(ratios)
    ledger.check(
        "windows_per_second_vs_the_well",
        round(least, 3),
        reason="the least of all rows",
        spread=extremes(found, f"{rounds} rounds"),
        note="mostly what opening the file anew for every window costs The Well; the least over an h5py handle "
        f"that stays open, in torch's loader, is {min(over_handle):.1f}; ours reads in one process",
    )
    ledger.write(dry=dry)


def _alternate(rounds: int, *runs: Callable[[], int]) -> list[list[float]]:
    """Windows per second of each run, rounds alternating; the first round warms up and is not counted."""
    speeds: list[list[float]] = [[] for _ in runs]
    for k in range(rounds + 1):
        for run, found in zip(runs, speeds, strict=True):
            begin = time.perf_counter()
            count = run()
            if k:
                found.append(count / (time.perf_counter() - begin))
    return speeds


# ---- memory ---------------------------------------------------------------------------------------------------------


class RandomBlocks:
    """An array of random values that needs no memory: the frames of one block, turned by the frame number."""

    ndim, dtype = 3, np.dtype("f4")

    def __init__(self, frames: int, seed: int) -> None:
        self.shape = (frames, N, N)
        self.block = np.random.default_rng(seed).standard_normal((256, N, N), dtype=np.float32)

    def __getitem__(self, key: Any) -> np.ndarray:
        numbers = np.arange(*key[0].indices(self.shape[0]))
        return np.stack([np.roll(self.block[k % 256], k // 256) for k in numbers])


def bench_memory(folder: Path, gigabytes: float = 8.0, steps: int = 1000, dry: bool = False) -> None:
    import dask.array

    ledger = Ledger("data", part="memory")
    frames = 500
    cases = int(np.ceil(gigabytes * 1e9 / (frames * len(FIELDS) * N * N * 4)))
    path = folder / "large.h5"
    if not path.exists():
        begin = time.perf_counter()
        chunks: Any = (1024, N, N)
        fields = {
            name: dask.array.from_array(
                RandomBlocks(cases * frames, seed), chunks=chunks, asarray=False, meta=np.empty((0, 0, 0), "f4")
            )  # type: ignore[arg-type]
            for seed, name in enumerate(FIELDS)
        }
        flow_file(path, cases, frames, fields, validation=max(1, cases // 50))
        print(f"wrote {path.stat().st_size / 1e9:.2f} GB in {time.perf_counter() - begin:.0f} s", flush=True)
    command = [sys.executable, "-m", "benchmarks.data", "--train", str(path), "--steps", str(steps)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak, at_peak = 0.0, {}
    while process.poll() is None:
        found = pss(process.pid)
        if sum(found.values()) > peak:
            peak, at_peak = sum(found.values()), found
        time.sleep(0.1)
    assert process.stdout is not None and process.returncode == 0, "training failed"
    told = json.loads(process.stdout.read().splitlines()[-1])
    ledger.row(
        section="Surrogate.fit of a Fourier neural operator from one file, default settings",
        file_gigabytes=round(path.stat().st_size / 1e9, 2),
        steps=told["steps"],
        share_of_windows_read=round(told["steps"] * 16 / (0.98 * cases * (frames - 1)), 3),
        passes_before_training="scales of fields and increments, over the training frames",
        steps_per_second=round(told["steps"] / told["seconds"], 2),
        peak_resident_of_the_process_gigabytes=round(told["peak_resident"] / 1e9, 3),
        peak_pss_gigabytes=round(peak / 1e9, 3),
        peak_pss_of_each_process_gigabytes=[round(v / 1e9, 3) for v in sorted(at_peak.values(), reverse=True)],
    )
    ledger.seeds(0)
    ledger.check(
        "training_pss_gigabytes_on_8_gigabyte_file", round(peak / 1e9, 4), reason="sum over all processes",
        note="sum over all processes, seen every 0.1 s of one run; the main process, shared libraries included, was "
        f"never above {told['peak_resident'] / 1e9:.2f} GB",
    )  # fmt: skip
    ledger.write(dry=dry)
    path.unlink()


def pss(root: int) -> dict[int, float]:
    """Proportional set size in bytes of a process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry))
    found, queue = {}, [root]
    while queue:
        pid = queue.pop()
        queue += parents.get(pid, [])
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        found[pid] = sum(float(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    return found


def train(path: str, steps: int) -> None:
    """What a user does: `Surrogate.fit` on the file, settings left at their defaults."""
    import sciml

    begin = time.perf_counter()
    solver = sciml.solvers.Surrogate(sciml.operators.FNO, width=32, modes=(12, 12))
    solver.fit(
        path,
        recipe=sciml.Recipe(length=sciml.Steps(steps), batch=16),
        running=sciml.Running(progress=False),
    )
    status = Path("/proc/self/status").read_text()
    most = float(status.split("VmHWM:")[1].split()[0]) * 1024
    print(json.dumps({"steps": steps, "seconds": time.perf_counter() - begin, "peak_resident": most}))


# ---- fuzz -----------------------------------------------------------------------------------------------------------


def bench_fuzz(folder: Path, count: int = 12_000, seed: int = 0, dry: bool = False) -> None:
    ledger = Ledger("data", part="fuzz")
    log = folder / "fuzz.jsonl"
    done = {}
    if log.exists():
        done = {r["number"]: r for r in map(json.loads, log.read_text().splitlines())}
        print(f"{len(done)} files were tried before")
    _fuzz.prepare(folder)
    begin = time.perf_counter()
    with log.open("a") as file:

        def note(result: dict[str, Any]) -> None:
            file.write(json.dumps(result) + "\n")
            file.flush()
            done[result["number"]] = result
            if len(done) % 1000 == 0:
                print(f"{len(done)} files", flush=True)

        workers = len(os.sched_getaffinity(0))
        _fuzz.Pool(folder, seed, workers).run([k for k in range(count) if k not in done], note)
    results = list(done.values())
    counts = _fuzz.summarise(results)
    ledger.row(section="fuzzing of the reader", seconds=round(time.perf_counter() - begin), **counts)
    for kind in sorted({r["kind"] for r in results}):
        found = _fuzz.summarise([r for r in results if r["kind"] == kind])
        ledger.row(
            section="fuzzing by kind of mutation", kind=kind, files=found["files"], refused=found["refused"],
            accepted_unchanged=found["accepted_unchanged"],
            hdf5_crashes_or_hangs_contained=found["hdf5_crashes_or_hangs_contained"],
        )  # fmt: skip
    wrong = sum(counts[k] for k in ("crashes", "hangs", "leaks", "wrong_errors", "accepted_with_other_values"))
    for result in results:
        if result["outcome"] not in ("refused", "accepted") or result.get("leak"):
            print(result)
    ledger.seeds(seed)
    ledger.check("fuzzed_files", counts["files"], reason="--count was smaller")
    ledger.check("fuzz_crashes_hangs_or_leaks", wrong, reason="see the rows, and the lines printed")
    ledger.write(dry=dry)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="one part; all by default")
    parser.add_argument("--folder", help="where to work; kept, so that an interrupted run goes on (default: temporary)")
    parser.add_argument("--count", type=int, default=12_000, help="fuzz: number of files")
    parser.add_argument("--gigabytes", type=float, default=8.0, help="memory: size of the file")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=1000, help="memory: training steps")
    parser.add_argument("--quick", action="store_true", help="small and short; no ledger is written")
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments.train, arguments.steps)
        return
    quick = arguments.quick
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="sciml-data-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for part in [arguments.part] if arguments.part else PARTS:
            place = folder / part
            sys.argv[1:] = ["--part", part]  # what the ledger records; where it worked is nobody's business
            if part == "windows" and place.exists():
                shutil.rmtree(place)
            place.mkdir(exist_ok=True)
            if part == "windows":
                bench_windows(place, *((4, 40, 2) if quick else ()), dry=quick)
            elif part == "memory":
                bench_memory(place, 0.2 if quick else arguments.gigabytes, 20 if quick else arguments.steps, quick)
            else:
                bench_fuzz(place, 200 if quick else arguments.count, dry=quick)
            shutil.rmtree(place)
    finally:
        if not arguments.folder:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
