"""What is reused between calls and shared among threads never shows in a result."""

import copy
import pickle

import pytest
import torch

from sciml.operators import FNO, _parallel


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(_parallel, "_LEAST", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def gradients(fno, x):
    fno.zero_grad()
    fno(x).square().sum().backward()
    return [p.grad.clone() for p in fno.parameters()]


def make(**options):
    torch.manual_seed(0)
    return FNO(1, 1, **({"width": 8, "modes": (4, 4), "layers": 2} | options)).double()


def test_threads_change_nothing_but_rounding(two_threads, monkeypatch):
    fno = make()
    x = torch.randn(5, 1, 16, 16, dtype=torch.float64)
    shared, in_two = fno(x), gradients(fno, x)
    with torch.no_grad():
        inferred = fno(x)
    assert torch.get_num_threads() == 2
    assert all(torch.equal(a, b) for a, b in zip(in_two, gradients(fno, x), strict=True))  # and repeats exactly
    monkeypatch.setattr(_parallel, "_LEAST", 1 << 60)
    assert torch.allclose(fno(x), shared, rtol=0, atol=1e-15)
    assert torch.allclose(inferred, shared, rtol=0, atol=1e-15)
    for a, b in zip(in_two, gradients(fno, x), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12 * b.abs().max().item())


def test_errors_in_a_thread_reach_the_caller(two_threads):
    def fail(index, part):
        raise ArithmeticError(f"share {index}")

    with pytest.raises(ArithmeticError, match="share 0"):
        _parallel.run(fail, [slice(0, 1), slice(1, 2)])
    assert torch.get_num_threads() == 2


def test_memory_is_reused_from_step_to_step():
    fno = make()
    x = torch.randn(3, 1, 16, 16, dtype=torch.float64)
    first = gradients(fno, x)
    assert len(fno._pool.free) == 1
    arena = fno._pool.free[0]
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(first, gradients(fno, x), strict=True))
    assert fno._pool.free == [arena]


def test_calls_before_a_backward_pass_keep_apart():
    """As in training over a rollout: one call's fields must outlast the next calls."""
    fno = make()
    plain = FNO(**(fno.config() | {"fused": False})).double()
    plain.load_state_dict(fno.state_dict())
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    results = []
    for model in (fno, plain):
        state = x
        for _ in range(3):
            state = state + model(state)
        state.square().sum().backward()
        results.append([p.grad for p in model.parameters()])
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12 * b.abs().max().item())


def test_a_second_backward_pass_is_right_or_refused():
    fno = make()
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    loss = fno(x).square().sum()
    loss.backward(retain_graph=True)
    once = [p.grad.clone() for p in fno.parameters()]
    loss.backward()
    for p, g in zip(fno.parameters(), once, strict=True):
        assert torch.allclose(p.grad, 2 * g, rtol=1e-12)
    loss = fno(x).square().sum()
    loss.backward(retain_graph=True)
    fno(x + 1)  # takes the memory over
    with pytest.raises(RuntimeError, match=r"modified (by an )?inplace"):
        loss.backward()


def test_batches_of_other_sizes_dtypes_and_modes_may_alternate():
    fno = make()
    for n, batch in ((16, 3), (8, 5), (20, 1)):
        x = torch.randn(batch, 1, n, n, dtype=torch.float64)
        expected = FNO(**(fno.config() | {"fused": False})).double()
        expected.load_state_dict(fno.state_dict())
        assert torch.allclose(fno(x), expected(x), atol=1e-13)
        gradients(fno, x)
        with torch.inference_mode():
            assert torch.allclose(fno(x), expected(x), atol=1e-13)
        single = fno.float()(x.float())
        single.sum().backward()
        fno.double()
        assert torch.allclose(single.double(), expected(x), atol=1e-4)


def test_copies_and_pickles_share_no_memory():
    fno = make()
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    expected = fno(x).detach()
    gradients(fno, x)
    for twin in (copy.deepcopy(fno), pickle.loads(pickle.dumps(fno))):
        assert twin._pool is not fno._pool and twin._pool.free == []
        assert torch.equal(twin(x), expected)


def test_frozen_operator_leaves_its_memory_at_once():
    fno = make().requires_grad_(False)
    fno(torch.randn(2, 1, 16, 16, dtype=torch.float64))
    assert len(fno._pool.free) == 1
