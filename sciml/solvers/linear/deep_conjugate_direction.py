"""Conjugate directions that a convolutional network guesses from the residual."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from sciml import registry
from sciml.errors import InputError, is_number, is_whole, positive
from sciml.solvers._saved import reading, write_parts
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._dcdm_network import DirectionNetwork
from sciml.solvers.linear._dcdm_training import Lesson, scale, train
from sciml.solvers.linear._hosted import Answer, HostedSolver
from sciml.solvers.linear._preconditioner import Apply, Preconditioner
from sciml.solvers.linear._system import LinearSystem
from sciml.solvers.linear.conjugate_gradient import ConjugateGradient
from sciml.solvers.linear.grid_system import GridSystem
from sciml.training.checkpoint import digest, load_weights


class NetworkPreconditioner(Preconditioner):
    """z = (‖r‖/s) net(s r/‖r‖), on the cells of a grid: what lies outside the fluid is 0 before, and left out after.

    Args:
        network: (batch, *grid) -> (batch, *grid), in the type of its weights; one without any in float64.
        dimensions: of the grids that it takes; None for all.
        cells: s² = live cells over these; None for s = 1.
    """

    name = "network"
    linear = False

    def __init__(self, network: nn.Module, dimensions: int | None = None, cells: int | None = None):
        self.network, self.dimensions, self.cells = network, dimensions, cells

    def supports(self, system: LinearSystem) -> bool:
        return isinstance(system, GridSystem) and self.dimensions in (None, system.dimensions)

    def set_up(self, concrete: Concrete) -> tuple[Apply, int | None]:
        parameters = list(self.network.parameters())
        dtype = parameters[0].dtype if parameters else torch.float64

        def apply(r: np.ndarray) -> np.ndarray:
            size = np.linalg.norm(r) / scale(len(r), self.cells)
            if size == 0:
                return np.zeros_like(r)
            with torch.inference_mode():
                field = torch.as_tensor(concrete.scatter(r / size)).to(dtype)
                found = self.network(field[None])[0].to(torch.float64).numpy()
            return size * concrete.taken(found.ravel())

        return apply, sum(p.numel() * p.element_size() for p in parameters)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NetworkPreconditioner) or self.cells != other.cells:
            return False
        alike = type(self.network) is type(other.network) and self._digest() == other._digest()
        return self.network is other.network or alike

    def __hash__(self) -> int:
        return hash((type(self.network), self.cells, self._digest()))

    def _digest(self) -> str:
        return digest(self.network.state_dict())


@registry.linear_solvers.register("deep_conjugate_direction")
class DeepConjugateDirection(HostedSolver):
    """Steps along directions that a network guesses from the residual, each as far as is best.

        q = net(r/‖r‖),    p = q − Σ_{j=1,2} p_j (q·A p_j)/(p_j·A p_j),    x ← x + p (p·r)/(p·A p)

    over the two directions before. The exact line search makes the A-norm of the error fall whatever the network gives;
    how fast is not guaranteed, and where it stagnates conjugate gradients go on (`ConjugateGradient` has the loop and
    says how this is judged). The network never sees the matrix: it learns for one, with

        min over weights of the mean of ‖b − α A q‖²,    q = net(b),    α = (q·b)/(q·A q),

    over right-hand sides b, ‖b‖ = 1, that are random combinations of Ritz vectors, the lower half of them nine times as
    strong, and serves others that are not far from it. Obstacles and walls are not told: the residual is zero there,
    and what the network gives there is left out. Of a closed box constants are taken out of each direction.

    A network that was trained on n cells is given s r/‖r‖ on others, s² being their number over n: values are then as
    large as those that it knows, which the biases make matter (as published, s = 1 for all).

    Training sets are made of `lanczos` steps from A·noise with full reorthogonalisation. The held-out combinations of
    the same Ritz vectors are never learned from.

    Args:
        network: a trained or an untrained one, or any torch module from (batch, *grid) to the same; None for the one
            of 64³ cells that was published, `DirectionNetwork(3)`, of 97,457 weights (that of 128³ is
            `DirectionNetwork(3, fine=6, coarse=10)`, 152,881).
        tolerance: of ‖b − A x‖ over ‖b‖.
        max_iterations: beyond, the solve is not converged; None as `ConjugateGradient` has it.
        directions: how many directions before each new one it is made A-orthogonal to.
        fallback: what preconditions conjugate gradients where the network stagnates; None for `Jacobi()`.
        patience: iterations after which the network is judged.

    Raises:
        InputError: settings out of range; on `prepare` a system that is not on a grid of the network's dimensions.

    Source: A. Kaneda, O. Akar, J. Chen, V. A. T. Kala, D. Hyde, J. Teran, A deep conjugate direction method for
    iteratively solving linear systems, ICML 2023, PMLR 202, 15720.
    """

    name = "deep_conjugate_direction"

    def __init__(self, network: nn.Module | None = None, tolerance: float = 1e-8, max_iterations: int | None = None,
        directions: int = 2, fallback: Preconditioner | None = None, patience: int = 20,
    ):  # fmt: skip
        network = DirectionNetwork(3) if network is None else network
        if not isinstance(network, nn.Module):
            raise InputError(f"{self.name}: network is {network!r:.80}, expected a torch module")
        dimensions = network.dimensions if isinstance(network, DirectionNetwork) else None
        self.preconditioner = NetworkPreconditioner(network, dimensions)
        self.method = ConjugateGradient(
            self.preconditioner, tolerance, max_iterations, directions=directions, fallback=fallback, patience=patience
        )
        self.record: dict[str, Any] = {}

    @property
    def network(self) -> nn.Module:
        return self.preconditioner.network

    @property
    def weights(self) -> int:
        """How many there are."""
        return sum(p.numel() for p in self.network.parameters())

    def supports(self, system: LinearSystem) -> bool:
        return self.preconditioner.supports(system)

    def refusal(self, system: LinearSystem) -> str:
        wanted = self.preconditioner.dimensions
        kind = "a GridSystem" if wanted is None else f"a GridSystem of {wanted} dimensions"
        found = f"one of {system.dimensions}" if isinstance(system, GridSystem) else type(system).__name__
        return f"expected {kind}, got {found}"

    def set_up(self, concrete: Concrete) -> tuple[Answer, int | None]:
        return self.method.set_up(concrete)

    def fit(
        self,
        systems: GridSystem | Sequence[GridSystem],
        *,
        lanczos: int = 200,
        combinations: int = 2000,
        held_out: int = 20,
        epochs: float = 10,
        steps: int | None = None,
        minutes: float | None = None,
        lr: float = 1e-4,
        batch: int = 10,
        seed: int = 0,
        every: int = 100,
        checkpoint: str | Path | None = None,
        tell: Callable[[dict[str, Any]], None] | None = None,
    ) -> Self:
        """Train the network, from the weights that it has.

        As it was published: one system, 10 000 Lanczos steps, 20 000 combinations, up to 1000 epochs.

        Args:
            systems: one, or several, also of different shapes; each batch is of one of them.
            lanczos: steps of the Lanczos process, a system.
            combinations, held_out: right-hand sides to learn from and to tell the loss of, a system.
            epochs, steps: how long; `steps` instead of `epochs` where it is given.
            minutes: of processor time, in all runs of a checkpoint together, after which training ends earlier.
            lr, batch: of Adam.
            seed: of noise, coefficients and order.
            every: steps after which losses are told and recorded, and the checkpoint is written.
            checkpoint: a file; where it is there already, training goes on from it as if it had never stopped.
            tell: is called with a dictionary: step, epoch, mean loss since the last time, held-out losses, seconds.

        Returns:
            itself, trained; `record` says with what, how long, and the losses on the way.

        Raises:
            InputError: settings out of range, systems that it does not support, or a checkpoint of other ones.
            TrainingError: a loss that is not finite.
        """
        chosen = [systems] if isinstance(systems, GridSystem) else list(systems)
        if not chosen:
            raise InputError(f"{self.name}: systems is empty, expected at least one")
        for system in chosen:
            if not self.supports(system):
                raise InputError(f"{self.name}: systems: {self.refusal(system)}")
        counts = {"lanczos": lanczos, "combinations": combinations, "batch": batch, "every": every}
        for key, value in counts.items():
            positive(key, value)
        for key, value in (("held_out", held_out), ("steps", steps), ("seed", seed)):
            if value is not None and (not is_whole(value) or value < 0):
                raise InputError(f"{self.name}: {key} is {value!r}, expected a whole number from 0 on")
        for key, value in (("lr", lr), ("epochs", epochs), ("minutes", minutes)):
            if value is not None and (not is_number(value) or not 0 < value < np.inf):
                raise InputError(f"{self.name}: {key} is {value!r}, expected a positive number")
        lesson = Lesson(int(lanczos), int(combinations), int(held_out), float(lr), int(batch), int(seed), int(every))
        with torch.inference_mode(False):
            self.record = train(self.network, chosen, lesson, steps, epochs, minutes, checkpoint, tell)
        self.preconditioner.cells = self.record["cells"]
        return self

    def save(self, directory: str | Path) -> None:
        """Write weights.safetensors and config.json.

        Raises:
            InputError: a network of another class than `DirectionNetwork`, or a place that cannot be written.
        """
        if not isinstance(self.network, DirectionNetwork):
            kind = type(self.network).__name__
            raise InputError(f"{self.name}: only a DirectionNetwork can be saved, this is of class {kind}")
        weights = {k: v.detach().numpy() for k, v in self.network.state_dict().items()}
        content = {"network": self.network.settings, "training": self.record}
        write_parts(directory, self.name, content, {"weights": weights})

    @classmethod
    def load(cls, directory: str | Path, **settings: Any) -> DeepConjugateDirection:
        """What `save` wrote, with the settings that `__init__` takes beside the network.

        Raises:
            InputError: no such directory.
            FileFormatError: a file that is missing, broken, or does not belong to the others.
        """
        with reading(directory, cls.name, ("weights",)) as (config, arrays):
            network = DirectionNetwork(**config["network"])
            tensors = {k: torch.from_numpy(v) for k, v in arrays["weights"].items()}
            load_weights(network, tensors, Path(directory) / "weights.safetensors")
            record = dict(config["training"])
        found = cls(network, **settings)
        found.record, found.preconditioner.cells = record, record.get("cells")
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeepConjugateDirection) and self.method == other.method

    def __hash__(self) -> int:
        return hash((self.name, self.method))
