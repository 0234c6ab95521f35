"""PROSE-FD: what masks rule out changes nothing, and queries do not see each other."""

import dataclasses
import json

import pytest
import torch

from sciml.errors import InputError
from sciml.operators.prosefd import PROSEFD, EquationBatch

SMALL = {"width": 16, "heads": 2, "hidden": 24, "patch": 4, "head": 6}
CHANNELS, WORDS = 3, 11


def net(**options: object) -> PROSEFD:
    torch.manual_seed(0)
    return PROSEFD(CHANNELS, WORDS, **(SMALL | options)).double()  # type: ignore[arg-type]


def batch(symbols: int = 7, queries: int = 5) -> EquationBatch:
    g = torch.Generator().manual_seed(1)
    rand = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    words = torch.randint(1, WORDS, (2, symbols), generator=g)
    return EquationBatch(
        rand(2, 3, CHANNELS, 8, 12), torch.tensor([[-0.5, -0.25, 0.0]] * 2).double(),
        torch.linspace(0.1, 1, queries, dtype=torch.float64).expand(2, -1), rand(2, CHANNELS, 2),
        torch.tensor([[1, 1, 0], [1, 1, 1]]).double(), torch.tensor([[0, 1, 1], [1, 1, 1]]).double(), None, words,
        rand(2, symbols), torch.ones(2, symbols).double(),
    )  # fmt: skip


def test_padding_symbols_changes_nothing() -> None:
    operator, given = net(), batch()
    assert given.words is not None and given.numbers is not None and given.symbols is not None
    words = torch.cat([given.words, torch.full((2, 9), 3)], 1)
    numbers = torch.cat([given.numbers, torch.full((2, 9), 1e3)], 1)
    there = torch.cat([given.symbols, torch.zeros(2, 9).double()], 1)
    longer = dataclasses.replace(given, words=words, numbers=numbers, symbols=there)
    torch.testing.assert_close(operator(**longer.arguments()), operator(**given.arguments()), rtol=0, atol=1e-12)


def test_what_is_missing_changes_nothing() -> None:
    operator, given = net(), batch()
    x, sizes = given.x.clone(), given.sizes.clone()
    x[0, :, 2], sizes[0, 2], x[0, 0] = 1e3, -7.0, 5.0  # a field that the problem lacks, a frame that is none
    other = operator(**dataclasses.replace(given, x=x, sizes=sizes).arguments())
    answer = operator(**given.arguments())
    torch.testing.assert_close(other, answer, rtol=0, atol=1e-12)
    assert float(answer[0, :, 2].abs().max()) == 0.0


def test_outside_of_masks_nothing_matters() -> None:
    operator, given = net(), batch()
    mask = torch.ones(2, 1, 8, 12).double()
    mask[:, :, :3] = 0
    given = dataclasses.replace(given, mask=mask)
    x = torch.where(mask[:, None] > 0, given.x, 9.0)
    answer = operator(**given.arguments())
    torch.testing.assert_close(operator(**dataclasses.replace(given, x=x).arguments()), answer, rtol=0, atol=1e-12)
    assert float(answer[..., :3, :].abs().max()) == 0.0


def test_the_first_queries_have_the_first_answers() -> None:
    operator, given = net(), batch()
    some = dataclasses.replace(given, future=given.future[:, :2])
    torch.testing.assert_close(
        operator(**some.arguments()), operator(**given.arguments())[:, :2], rtol=0, atol=1e-12
    )  # fmt: skip


def test_values_of_symbols_matter_and_frames_alone_do() -> None:
    operator, given = net(), batch()
    answer = operator(**given.arguments())
    assert given.numbers is not None
    other = operator(**dataclasses.replace(given, numbers=given.numbers * 1.1).arguments())
    alone = operator(**dataclasses.replace(given, words=None, numbers=None, symbols=None).arguments())
    assert float((other - answer).abs().max()) > 1e-6 and alone.shape == answer.shape


def test_any_number_of_times_and_any_grid() -> None:
    operator, given = net(), batch(queries=40)
    wide = dataclasses.replace(given, x=torch.cat([given.x, given.x], -1))
    assert operator(**wide.arguments()).shape == (2, 40, CHANNELS, 8, 24)


def test_every_weight_has_a_gradient_and_comes_back_from_json() -> None:
    operator, given = net(), batch()
    operator(**given.arguments()).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in operator.parameters())
    again = PROSEFD(**json.loads(json.dumps(operator.config()))).double()
    again.load_state_dict(operator.state_dict())
    assert torch.equal(again(**given.arguments()), operator(**given.arguments()))


def test_bad_input_has_one_clear_line() -> None:
    with pytest.raises(InputError, match="not made of patches"):
        net()(**dataclasses.replace(batch(), x=batch().x[..., :10]).arguments())
    with pytest.raises(InputError, match="do not divide the width"):
        net(heads=3)
    with pytest.raises(InputError, match="decoder_layers"):
        net(decoder_layers=0)
