"""The ledger `gpu`: the FNO of [speed] on one GPU beside neuraloperator's, the same architecture with the same weights.

    python -m benchmarks.gpu [--quick]        (--quick: few rounds, no ledger written)

Both packages run in one process, in turn, each twice: as it comes, and captured as a CUDA graph after warm-up. The
goals hold our captured calls against the peer as its users run it; the peer captured stands beside them in every row.
Times are those between two CUDA events around several calls; a ratio is the median over the rounds. TF32 is off for
ours; the peer's convolutions have torch's defaults.

"cpu_gpu" is the relative difference of our outputs on CPU and GPU, float32, TF32 off. "copies" counts what the profiler
sees go from host to device during one forward pass, after a first.

Where there is no GPU every goal is written down as not run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import statistics
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks._ledger import Ledger, goals, quantiles

WIDTH, LAYERS, N_MODES, BATCH = 32, 4, 24, 16
GRIDS = (64, 256)
ROUNDS, CALLS, WARM_UP = 15, 20, 5
COMMANDS = ("inference", "training_step")


def pair(points: int) -> dict[str, Any]:
    """Both models on the GPU, ours with the peer's weights, and one batch."""
    import torch
    from neuralop.models import FNO as PeerFNO  # type: ignore[import-not-found]

    from sciml.operators import from_neuraloperator

    torch.manual_seed(0)
    modes = (N_MODES, N_MODES)
    peer = PeerFNO(n_modes=modes, in_channels=1, out_channels=1, hidden_channels=WIDTH, n_layers=LAYERS)
    ours = from_neuraloperator({k: v for k, v in peer.state_dict().items() if isinstance(v, torch.Tensor)})
    x, target = (torch.randn(BATCH, 1, points, points) for _ in range(2))
    return {"peer": peer.cuda(), "ours": ours.cuda(), "x": x.cuda(), "target": target.cuda()}


def calls(model: Any, x: Any, target: Any) -> dict[str, Callable[[], Any]]:
    """One inference and one training step, on tensors that stay where they are."""
    import torch

    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, capturable=True)

    def inference() -> Any:
        with torch.no_grad():
            return model(x)

    def training_step() -> Any:
        optimiser.zero_grad()
        loss = (model(x) - target).square().mean()
        loss.backward()
        optimiser.step()
        return loss

    return {"inference": inference, "training_step": training_step}


def captured(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call as a CUDA graph."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> Any:
        graph.replay()
        return result  # and with it what the graph writes into

    return replay


def milliseconds(call: Callable[[], Any]) -> float:
    """One call's share of several, between two events."""
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(CALLS):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / CALLS


@contextlib.contextmanager
def exact_products(on: bool) -> Iterator[None]:
    """TF32 off for matrix products and convolutions, or torch's defaults."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    if on:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def compare(ledger: Ledger, points: int, rounds: int) -> None:
    import torch

    both = pair(points)
    for command in COMMANDS:
        runs: dict[str, Callable[[], Any]] = {}
        failed = {}
        for kind in ("peer", "ours"):
            call = calls(both[kind], both["x"], both["target"])[command]
            with exact_products(kind == "ours"):
                for _ in range(WARM_UP):
                    call()
                runs[kind] = call
                try:
                    runs[f"{kind} captured"] = captured(call)
                except RuntimeError as error:
                    failed[kind] = str(error).splitlines()[0]
                    torch.cuda.synchronize()
        times: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(rounds + 1):
            for name, call in runs.items():
                with exact_products(name.startswith("ours")):
                    taken = milliseconds(call)
                if turn:
                    times[name].append(taken)
        middle = {name: statistics.median(values) for name, values in times.items()}
        ledger.row(
            section=command,
            grid=f"{points} x {points}",
            batch=BATCH,
            n_modes=N_MODES,
            width=WIDTH,
            layers=LAYERS,
            **{f"{name.replace(' ', '_')}_milliseconds": value for name, value in middle.items()},
            capture_failed=failed or None,
        )
        ours = "ours captured" if "ours captured" in times else "ours"
        ratios = [p / o for p, o in zip(times["peer"], times[ours], strict=True)]
        beside = [f"sciml {ours.removeprefix('ours').strip() or 'as it comes'} {middle[ours]:.3f} ms"]
        beside += [f"{name} {middle[name]:.3f} ms" for name in ("ours", "peer", "peer captured") if name in middle]
        beside += [f"{kind} could not be captured: {why}" for kind, why in failed.items()]
        spread = quantiles(ratios, f"{rounds} rounds")
        note = "; ".join(beside)
        ledger.check(f"fno_{command}_vs_neuraloperator_{points}", statistics.median(ratios), note, None, spread, note)


def agreement(ledger: Ledger) -> None:
    """Outputs on CPU and GPU, and what a forward pass copies to the device."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    both = pair(GRIDS[0])
    model, x = both["ours"], both["x"]
    with exact_products(True), torch.no_grad():
        there = model(x).cpu()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            model(x)
            torch.cuda.synchronize()
        here = model.cpu()(x.cpu())
    copies = sum("Memcpy HtoD" in event.name for event in seen.events() or ())
    difference = float((there - here).norm() / here.norm())
    ledger.row(section="cpu_gpu", grid=f"{GRIDS[0]} x {GRIDS[0]}", difference_relative=difference)
    ledger.row(section="copies", grid=f"{GRIDS[0]} x {GRIDS[0]}", host_to_device_copies=copies)
    ledger.check("fno_cpu_gpu_relative_difference", difference, "float32 on both")
    ledger.check("host_to_device_copies_in_a_forward_pass", float(copies), "of the second forward pass")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, no ledger written")
    quick = parser.parse_args().quick
    import torch

    ledger = Ledger("gpu", packages=("neuraloperator", "tensorly"))
    why = None
    if not torch.cuda.is_available():
        why = "no GPU on this machine"
    elif importlib.util.find_spec("neuralop") is None:
        why = "neuraloperator 2.0.0 is not installed; `make bench-gpu` installs it"
    if why is not None:
        for id in goals("gpu"):
            ledger.check(id, None, why)
    else:
        properties = torch.cuda.get_device_properties(0)
        ledger.row(section="machine", gpu=properties.name, memory_gibibytes=properties.total_memory / 2**30)
        for points in GRIDS:
            compare(ledger, points, 3 if quick else ROUNDS)
        agreement(ledger)
    ledger.write(dry=quick)


if __name__ == "__main__":
    main()
