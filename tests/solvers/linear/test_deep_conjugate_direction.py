"""The deep conjugate direction method: its steps whatever the network gives, the network, its training, its files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from sciml.errors import FileFormatError, InputError
from sciml.solvers.linear import (
    ConjugateGradient,
    DeepConjugateDirection,
    DirectionNetwork,
    End,
    GridSystem,
    MatrixSystem,
)
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._dcdm_network import Stencil, left_over

WALLS, AROUND, OUT = (End.WALL, End.WALL), (End.PERIODIC, End.PERIODIC), (End.WALL, End.OPEN)
NEVER = 10_000  # patience with which the network is not judged


class Identity(nn.Module):
    def forward(self, field):
        return field


class Inverse(nn.Module):
    """(batch, *grid) -> A⁻¹ of it, in float64."""

    def __init__(self, system: GridSystem):
        super().__init__()
        dense = np.linalg.pinv(system.matrix().toarray(), rcond=1e-11, hermitian=True)
        self.matrix = nn.Parameter(torch.as_tensor(dense), requires_grad=False)

    def forward(self, field):
        return (field.reshape(len(field), -1) @ self.matrix.T).reshape(field.shape)


class Wild(nn.Module):
    """Directions that have little to do with the residual."""

    def forward(self, field):
        return field + 0.7 * field.abs().max() * torch.sin(1e3 * field)


def box(shape=(16, 16), ends=None, obstacle=False) -> GridSystem:
    """A box, open on top alone unless `ends` says otherwise; with a solid block in it or without."""
    dimensions = len(shape)
    ends = (*[WALLS] * (dimensions - 1), OUT) if ends is None else ends
    faces = None
    if obstacle:
        fluid = np.ones(shape, bool)
        fluid[tuple(slice(n // 3, n // 3 + max(n // 5, 2)) for n in shape)] = False
        faces = []
        for k in range(dimensions):
            axis = dimensions - 1 - k
            wide = np.pad(fluid, [(int(a == axis),) * 2 for a in range(dimensions)], mode="edge")
            low, high = (np.take(wide, range(s, s + shape[axis] + 1), axis) for s in (0, 1))
            faces.append((low & high).astype(float))
        faces = tuple(faces)
    return GridSystem(shape, ends, tuple(1 / n for n in shape[::-1]), faces)


def noise(system: GridSystem, seed=0) -> np.ndarray:
    b = np.where(system.live(np), np.random.default_rng(seed).standard_normal(system.shape), 0).ravel()
    null = system.null_space()
    return (b if null is None else b - null @ (null.T @ b)).reshape(system.shape)


def truth(system: GridSystem, b: np.ndarray) -> np.ndarray:
    return (np.linalg.pinv(system.matrix().toarray(), rcond=1e-11, hermitian=True) @ b.ravel()).reshape(b.shape)


SYSTEMS = [box(), box((9, 13), (WALLS, WALLS), obstacle=True), box((6, 5, 7), obstacle=True)]
NAMES = ["open", "closed, obstacle, odd", "3-D, obstacle, odd"]


@pytest.mark.parametrize("system", SYSTEMS, ids=NAMES)
def test_identity_network_gives_the_counts_and_iterates_of_conjugate_gradients(system):
    b = noise(system)
    plain, info = ConjugateGradient(None, 1e-10).prepare(system)(b)
    found, same = DeepConjugateDirection(Identity(), 1e-10, patience=NEVER).prepare(system)(b)
    assert same.converged and same.iterations == info.iterations and same.switched == -1
    assert np.allclose(same.history, info.history, rtol=1e-5, atol=1e-12)
    assert np.abs(found - plain).max() < 1e-9 * np.abs(plain).max()
    for count in (1, 2, 3, 5, 8):
        x, _ = ConjugateGradient(None, 1e-10, max_iterations=count).prepare(system)(b)
        y, _ = DeepConjugateDirection(Identity(), 1e-10, max_iterations=count, patience=NEVER).prepare(system)(b)
        assert np.abs(x - y).max() < 1e-12 * np.abs(x).max()


@pytest.mark.parametrize("system", SYSTEMS, ids=NAMES)
def test_exact_inverse_as_network_takes_one_iteration(system):
    b = noise(system)
    x, info = DeepConjugateDirection(Inverse(system), 1e-9).prepare(system)(b)
    assert info.iterations == 1 and info.converged
    assert np.abs(x - truth(system, b)).max() < 1e-10 * np.abs(x).max()


@pytest.mark.parametrize("wild", [False, True], ids=["random weights", "wild"])
@pytest.mark.parametrize("system", SYSTEMS, ids=NAMES)
def test_any_network_lowers_the_energy_norm_of_the_error_along_directions_that_are_orthogonal(system, wild):
    b, network = noise(system), Wild() if wild else DirectionNetwork(system.dimensions, width=8, seed=5)
    matrix, exact = system.matrix(), truth(system, b).ravel()
    iterates = [np.zeros(system.size)]
    for count in range(1, 13):
        solver = DeepConjugateDirection(network, 1e-12, max_iterations=count, patience=NEVER)
        x, info = solver.prepare(system)(b)
        left = np.linalg.norm(b.ravel() - matrix @ x.ravel()) / np.linalg.norm(b)
        assert info.iterations == count and info.residual == pytest.approx(left, rel=1e-10)
        iterates.append(x.ravel())
    errors = np.array([np.sqrt((x - exact) @ (matrix @ (x - exact))) for x in iterates])
    assert (np.diff(errors) < 1e-13 * errors[0]).all()  # random weights give the same direction soon, and stand still
    assert not wild or (np.diff(errors) < -1e-4 * errors[0]).all()
    moves = np.diff(iterates, axis=0)
    gram = moves @ (matrix @ moves.T)
    sizes = np.sqrt(np.diag(gram))
    pairs = [(i, j) for i in range(12) for j in range(i) if i - j <= 2 and sizes[i] > 1e-3 * sizes[0]]
    assert len(pairs) == 21 or not wild
    assert max(abs(gram[i, j]) / (sizes[i] * sizes[j]) for i, j in pairs) < 1e-10


@pytest.mark.parametrize("system", SYSTEMS, ids=NAMES)
def test_random_weights_find_the_true_solution_and_say_that_they_stagnated(system):
    b = noise(system)
    x, info = DeepConjugateDirection(DirectionNetwork(system.dimensions, seed=1), 1e-9).prepare(system)(b)
    assert info.converged and info.switched >= 0
    assert np.abs(x - truth(system, b)).max() < 1e-7 * np.abs(x).max()


def test_a_network_that_gives_nothing_or_no_numbers_leaves_conjugate_gradients_to_solve():
    system, b = box(), noise(box())
    for bad in (0.0, np.nan):
        network = DirectionNetwork(2)
        nn.init.constant_(network.last.weight, bad)
        x, info = DeepConjugateDirection(network, 1e-9).prepare(system)(b)
        assert info.converged and info.switched == 0
        assert np.abs(x - truth(system, b)).max() < 1e-7 * np.abs(x).max()


def test_published_networks_have_the_published_numbers_of_weights():
    assert DeepConjugateDirection().weights == 97_457
    assert DeepConjugateDirection(DirectionNetwork(3, fine=6, coarse=10)).weights == 152_881
    assert DeepConjugateDirection(DirectionNetwork(2)).weights == (9 + 1) * 16 + 14 * (9 * 16 + 1) * 16 + 17


def test_a_single_field_gives_what_it_gives_in_a_batch():
    network = DirectionNetwork(3, width=4).double()
    fields = torch.as_tensor(np.random.default_rng(0).standard_normal((3, 7, 6, 5)))
    with torch.no_grad():
        alone = torch.cat([network(f[None]) for f in fields])
        assert float((alone - network(fields)).abs().max()) < 1e-12 * float(alone.abs().max())


@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (4, 3, 5)])
def test_blocks_that_a_side_cuts_are_means_over_the_cells_that_they_have(shape):
    network = DirectionNetwork(len(shape), width=3, seed=2).double()
    middle = (..., *[slice(1, 2)] * len(shape))
    for weight in (p for p in network.parameters() if p.shape[-1] == 3 and p.ndim > 1):
        kept = weight.detach()[middle].abs()  # so that nothing is cut off
        nn.init.zeros_(weight)
        with torch.no_grad():  # cells see themselves alone, so that what is constant stays so
            weight[middle] = kept
    with torch.no_grad():
        found = network(torch.full((2, *shape), 0.7, dtype=torch.float64))
    assert found.shape == (2, *shape) and float(found.abs().min()) > 1e-3
    assert float((found - found.flatten()[0]).abs().max()) < 1e-14


@pytest.mark.parametrize(
    "system",
    [
        box((6, 5), (AROUND, OUT), obstacle=True),
        box((4, 5, 6), (OUT[::-1], AROUND, WALLS), obstacle=True),
        GridSystem((3, 4), (OUT, WALLS), (0.3, 0.5), (np.arange(15.0).reshape(3, 5), np.ones((4, 4)))),
    ],
)
def test_the_stencil_is_the_matrix(system):
    fields = np.random.default_rng(1).standard_normal((3, *system.shape))
    found = Stencil(system, torch.float64)(torch.as_tensor(fields)).numpy()
    expected = (system.matrix() @ fields.reshape(3, -1).T).T.reshape(fields.shape)
    assert np.abs(found - expected).max() < 1e-12 * np.abs(expected).max()


def test_the_loss_is_what_is_left_after_the_best_step():
    system = GridSystem((1, 2), (OUT, WALLS), (1.0, 1.0))
    assert np.array_equal(system.matrix().toarray(), [[1, -1], [-1, 3]])
    stencil = Stencil(system, torch.float64)
    b = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[0.6, 0.8]]], dtype=torch.float64)
    q = torch.tensor([[[1.0, 1.0]], [[2.0, 1.0]], [[0.0, 0.0]]], dtype=torch.float64)
    # A q = (0, 2), α = 1/2, left (1, −1); A q = (1, 1), α = 1/3, left (−1/3, 2/3); nothing done, left b
    assert float(left_over(stencil, b, q)) == pytest.approx((2 + 5 / 9 + 1) / 3, rel=1e-14)
    big = box((5, 6), obstacle=True)
    b, q = torch.as_tensor(np.random.default_rng(0).standard_normal((2, 4, 5, 6)))
    stencil = Stencil(big, torch.float64)
    same = [float(left_over(stencil, b, s * q)) for s in (1.0, -3.7, 1e-6)]
    assert same == pytest.approx([same[0]] * 3, rel=1e-12)


def trained(checkpoint=None, steps=40, **settings):
    settings = {"lanczos": 80, "combinations": 200, "lr": 1e-3, "every": 20} | settings
    network = DirectionNetwork(2, width=8, fine=2, coarse=2)
    return DeepConjugateDirection(network, 1e-6, patience=NEVER).fit(
        box(), steps=steps, checkpoint=checkpoint, **settings
    )


def weights_of(solver):
    return {k: v.numpy() for k, v in solver.network.state_dict().items()}


def equal(one, other):
    a, b = weights_of(one), weights_of(other)
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_a_short_training_lowers_the_loss_and_the_iterations_here_and_at_other_sizes(tmp_path):
    told = []
    solver = DeepConjugateDirection(DirectionNetwork(2), 1e-4, max_iterations=150, patience=NEVER)
    systems = [box(), box((14, 18))]

    def counts():
        return [solver.prepare(s)(noise(s, 3))[1].iterations for s in systems]

    before = counts()
    solver.fit(box(), lanczos=100, combinations=400, steps=350, every=50, lr=1e-3, tell=told.append)
    after = counts()
    held = [row["held_out"][0] for row in told]
    assert held[-1] < 0.2 * held[0]
    assert before == [150, 150] and max(after) < 60, after
    assert solver.record["steps"] == 350 and solver.record["seconds"] > 0 and solver.record["losses"] == told
    solver.save(tmp_path / "saved")
    again = DeepConjugateDirection.load(tmp_path / "saved", tolerance=1e-4, max_iterations=150, patience=NEVER)
    assert equal(solver, again) and again == solver and hash(again) == hash(solver)
    assert again.record["losses"] == told
    for system in (*systems, box((17, 21), obstacle=True)):
        b = noise(system, 4)
        x, info = solver.prepare(system)(b)
        y, same = again.prepare(system)(b)
        assert np.array_equal(x, y) and info.iterations == same.iterations
        concrete = Concrete(system)
        expected = np.linalg.solve(concrete.matrix.toarray(), concrete.gather("b", b))
        assert np.abs(concrete.gather("x", x) - expected).max() < 1e-2 * np.abs(expected).max()


def test_training_is_the_same_for_a_seed_whether_interrupted_or_not_and_learns_nothing_held_out(tmp_path):
    whole = trained()
    assert equal(whole, trained(held_out=0)) and not equal(whole, trained(seed=1))
    file = tmp_path / "part.safetensors"
    first = trained(file, steps=25)
    assert not equal(first, whole) and first.record["steps"] == 25
    assert equal(trained(file), whole)
    assert trained(file).record["steps"] == 40
    with pytest.raises(InputError, match="other systems or settings"):
        trained(file, batch=5)
    file.write_bytes(b"nothing")
    with pytest.raises(FileFormatError):
        trained(file)


def test_several_systems_of_different_shapes_are_learned_together_and_time_ends_training():
    network = DirectionNetwork(2, width=8, fine=2, coarse=2)
    solver = DeepConjugateDirection(network).fit(
        [box((8, 8)), box((10, 7), (WALLS, WALLS))], lanczos=30, combinations=40, epochs=2, held_out=5
    )
    assert solver.record["steps"] == 16 and len(solver.record["losses"][-1]["held_out"]) == 2
    short = solver.fit(box((8, 8)), lanczos=10, combinations=10, steps=100_000, minutes=1e-6)
    assert short.record["steps"] == 0


def test_a_trained_network_sees_values_of_one_size_on_all_grids():
    seen = []

    class Seen(nn.Linear):
        def forward(self, field):
            seen.append(field.double())
            return field

    solver = DeepConjugateDirection(Seen(1, 1), max_iterations=1)
    solver.fit(box((8, 8)), lanczos=10, combinations=10, steps=0)
    for shape in ((8, 8), (8, 32)):
        seen.clear()
        system = box(shape)
        solver.prepare(system)(5 * noise(system))
        assert float(seen[0].square().mean()) == pytest.approx(1 / 64, rel=1e-5)


def test_it_takes_its_place_in_traced_code():
    system = box((9, 8), obstacle=True)
    b, solver = noise(system), DeepConjugateDirection(DirectionNetwork(2, width=4, fine=2, coarse=2), 1e-9)
    with jax.enable_x64(True):
        found, info = jax.jit(lambda b: solver.solve(system, b))(jnp.asarray(b))
        assert bool(info.converged)
        assert np.abs(np.asarray(found) - truth(system, b)).max() < 1e-7 * np.abs(found).max()


def test_what_is_not_supported_is_said(tmp_path):
    with pytest.raises(InputError, match=r"expected a GridSystem of 3 dimensions, got one of 2"):
        DeepConjugateDirection().prepare(box())
    with pytest.raises(InputError, match="got MatrixSystem"):
        DeepConjugateDirection(DirectionNetwork(2)).prepare(MatrixSystem(np.eye(4)))
    with pytest.raises(InputError, match="systems is empty"):
        DeepConjugateDirection().fit([])
    with pytest.raises(InputError, match="got one of 2"):
        DeepConjugateDirection().fit([box()])
    with pytest.raises(InputError, match="lr is -1"):
        DeepConjugateDirection(DirectionNetwork(2)).fit(box(), lr=-1)
    with pytest.raises(InputError, match="even number"):
        DirectionNetwork(2, fine=3)
    with pytest.raises(InputError, match="expected a torch module"):
        DeepConjugateDirection(lambda r: r)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="only a DirectionNetwork"):
        DeepConjugateDirection(Identity()).save(tmp_path)
