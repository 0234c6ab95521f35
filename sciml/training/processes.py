"""Training in several processes: each takes its share of every batch, and all of them take the same step.

Processes are those of `torch.distributed`: what `torchrun --nproc-per-node N` starts, or a group that is there already.
Of a batch of B samples, process r of N takes the samples r, r + N, ...; gradients are those of the whole batch's loss,

    ∇L = Σ_r w_r ∇L_r / Σ_r w_r,

w_r being what the share of process r weighs in the mean, its number of samples say. It is the step that one process
takes with the same batch, but for rounding: also of losses that are one ratio for the whole batch, which take their
means over all shares (`mean`).
Sums go over gloo between processors, over NCCL between GPUs, all gradients in one message a step.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sciml.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")
WAIT = timedelta(minutes=30)  # for one another: the first may read data, validate or write while the others wait


class Processes:
    """Those that train one model.

    Args:
        rank: of this one, from 0 on; the first alone writes.
        count: of all.
    """

    def __init__(self, rank: int = 0, count: int = 1):
        self.rank, self.count = rank, count

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def several(self) -> bool:
        return self.count > 1

    def device(self, name: str) -> str:
        """The device of this process where nobody chose: one GPU for each."""
        import torch

        if self.several and name in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{int(os.environ.get('LOCAL_RANK', self.rank)) % torch.cuda.device_count()}"
        return name

    def share(self, rows: Any) -> Any:
        """Those of the samples of a batch that this process takes; of fewer samples than processes several take one."""
        return rows[self.rank % min(len(rows), self.count) :: self.count]

    def part(self, samples: int) -> float:
        """What a sample of this process's share counts, of a batch of so many: less than 1 where several have it."""
        if samples >= self.count:
            return 1.0
        return 1.0 / len(range(self.rank % samples, self.count, samples))

    def summed(self, values: Tensor) -> Tensor:
        """Σ over processes, the same bits in all of them."""
        if not self.several:
            return values
        import torch.distributed as dist

        values = values.detach().clone()
        dist.all_reduce(values)
        return values

    def gathered(self, value: T) -> list[T]:
        """What each process has, in their order."""
        if not self.several:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, value)
        return found

    def of_first(self, value: T) -> T:
        """What the first process has."""
        if not self.several:
            return value
        import torch
        import torch.distributed as dist

        found = [value]
        dist.broadcast_object_list(found, src=0, device=torch.device("cpu"))
        return found[0]

    def by_first(self, action: Callable[[], T]) -> T:
        """What the first process alone does, and all are told; an error there is one everywhere."""
        outcome: tuple[Any, Exception | None] = (None, None)
        if self.first:
            try:
                outcome = (action(), None)
            except Exception as error:
                if not self.several:
                    raise
                outcome = (None, error)
        found, error = self.of_first(outcome)
        if error is not None:
            raise error
        return found  # type: ignore[return-value]

    def alike(self, model: nn.Module) -> None:
        """Give all processes the weights and buffers of the first."""
        if self.several:
            import torch
            import torch.distributed as dist

            with torch.no_grad():
                for tensor in model.state_dict().values():
                    dist.broadcast(torch.view_as_real(tensor) if tensor.is_complex() else tensor, src=0)

    def mean_gradients(self, weights: Sequence[nn.Parameter], weight: float, loss: Tensor) -> Tensor:
        """Make the gradients those of the mean over all shares, in place; its loss.

        Args:
            weights: of the model; those that no process has a gradient of are left without.
            weight: of this share in the mean.
            loss: of this share.
        """
        if not self.several:
            return loss
        import torch

        known = [p for p in weights if p.requires_grad]
        told = [weight, weight * float(loss), *(float(p.grad is not None) for p in known)]
        sums = self.summed(torch.tensor(told, dtype=torch.float64, device=loss.device))
        whole, used = float(sums[0]), (sums[2:] > 0).tolist()
        mine = [p for p, u in zip(known, used, strict=True) if u]
        for dtype in {p.dtype for p in mine}:
            some = [p for p in mine if p.dtype == dtype]
            for p in some:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            flat = torch.cat([_real(p.grad).reshape(-1) for p in some if p.grad is not None])
            parts = self.summed(flat * (weight / whole)).split([_real(p).numel() for p in some])
            for p, part in zip(some, parts, strict=True):
                if p.grad is not None:
                    _real(p.grad).copy_(part.view_as(_real(p.grad)))
        return (sums[1] / whole).to(loss.dtype)


ALONE = Processes()
_SHARING: ContextVar[tuple[Processes, float]] = ContextVar("sharing", default=(ALONE, 1.0))


def present() -> Processes:
    """Those that this process trains with: what `torchrun` has started, or the group that is there; else alone.

    Raises:
        InputError: the others are not to be found.
    """
    if "torch" not in sys.modules and "TORCHELASTIC_RUN_ID" not in os.environ:
        return ALONE
    import torch
    import torch.distributed as dist

    if not dist.is_available():
        return ALONE
    if not dist.is_initialized():
        if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return ALONE
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        here = int(os.environ.get("LOCAL_RANK", "0"))
        if gpus:
            torch.cuda.set_device(here % gpus)
        own = gpus >= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # NCCL does not let two processes share a GPU
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if own else "gloo", timeout=WAIT)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"processes: the others are not to be found: {str(error).splitlines()[0]}") from None
    return Processes(dist.get_rank(), dist.get_world_size())


@contextlib.contextmanager
def sharing(processes: Processes, weight: float) -> Iterator[None]:
    """Within, a loss is of one share of a batch, that weighs so much in the mean: `mean` is over all of them."""
    token = _SHARING.set((processes, weight))
    try:
        yield
    finally:
        _SHARING.reset(token)


def mean(value: Tensor) -> tuple[Tensor, float]:
    """Of a mean over the samples of a share, which no gradient goes through, that over the whole batch; and how many
    times as much as the share that is. So a loss N/D of the whole batch is the mean over shares of N_r/D."""
    processes, weight = _SHARING.get()
    if not processes.several:
        return value, 1.0
    import torch

    sums = processes.summed(torch.stack([weight * value.detach().double(), value.new_tensor(weight).double()]))
    return (sums[0] / sums[1]).to(value.dtype), float(sums[1]) / weight


def _real(values: Any) -> Any:
    import torch

    return torch.view_as_real(values) if values.is_complex() else values
