"""The numbers and sentences that the page draws from a comparison."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from _synthetic import STEPS, SUBSETS, study

from sciml.reporting import _style, films, gather, images
from sciml.reporting.study import ALL, Row
from sciml.reporting.verdict import (
    cost_at_equal_error,
    gain,
    highlights,
    milliseconds,
    standing,
    steps_won,
    times,
    verdict,
)


def test_pooling_over_rollouts():
    s = study()
    members = s.members("FNO")
    assert members == [5, 7, 9]
    by_hand = s.square[5].sum(axis=0) / s.label.sum(axis=0)
    np.testing.assert_allclose(s.rollout_of("FNO")[0], by_hand, rtol=1e-12)
    pick = np.array([x == "ic" for x in s.rollout_subset])
    np.testing.assert_allclose(
        s.rollout_of("FNO", "ic")[1], s.square[7, pick].sum(axis=0) / s.label[pick].sum(axis=0), rtol=1e-12
    )
    np.testing.assert_allclose(s.one_step_of("FNO"), s.rollout_of("FNO")[:, 0])
    assert s.best == "FNO"
    assert s.surrogates == ["FNO", "U-Net"]
    assert s.unlearned == ["persistence", "mean field", "interpolation"]


def test_rollouts_of_different_length_pool_what_there_is():
    s = study()
    label = s.label.copy()
    square = s.square.copy()
    label[::2, 10:] = np.nan
    square[:, ::2, 10:] = np.nan
    short = study(label=label, square=square)
    expected = square[5, 1::2, 15].sum() / label[1::2, 15].sum()
    assert short.rollout_of("FNO")[0, 15] == pytest.approx(expected, rel=1e-12)
    assert np.isfinite(short.each_rollout("FNO")).all()
    label[:, 15:] = np.nan
    assert np.isnan(study(label=label, square=square).rollout_of("FNO")[:, 15:]).all()


def test_gain_and_steps_won():
    s = study()
    assert gain(s, "persistence", "persistence") == pytest.approx(1.0)
    expected = s.one_step_of("persistence").mean() / s.one_step_of("FNO").mean()
    assert gain(s, "FNO", "persistence") == pytest.approx(expected)
    assert steps_won(s, "FNO", "ic") == (STEPS, STEPS)
    square = s.square.copy()
    square[2, :, 4:7] = 1e-12  # interpolation becomes the best at three steps
    assert steps_won(study(square=square), "FNO") == (STEPS - 3, STEPS)


def test_verdict_follows_the_numbers():
    sentence, tone = verdict(study())
    assert tone == "good" and sentence.startswith("Worth its training: FNO")
    assert all(name in sentence for name in SUBSETS)
    s = study()
    square = s.square.copy()
    square[2, np.array([x == "bc" for x in s.rollout_subset])] = 1e-12
    sentence, tone = verdict(study(square=square))
    assert tone == "mixed" and "bc (where interpolation is better)" in sentence
    square[2] = 1e-12
    sentence, tone = verdict(study(square=square))
    assert tone == "poor" and sentence.startswith("Not worth its training") and "interpolation" in sentence
    rows = [dataclasses.replace(r, seconds_per_step=1.0) if r.kind == "surrogate" else r for r in s.rows]
    sentence, tone = verdict(study(rows=rows))
    assert tone != "poor" and "1\u00a0s" in sentence
    only = [i for i, r in enumerate(s.rows) if r.kind == "baseline"]
    sentence, tone = verdict(study(rows=[s.rows[i] for i in only], square=s.square[only]))
    assert tone == "plain" and "No surrogate" in sentence
    assert highlights(study(rows=[s.rows[i] for i in only], square=s.square[only])) == []


def test_few_cases_do_not_decide():
    rows = [Row("s", "s", "surrogate"), Row("b", "b", "baseline")]

    def of(mine: list[float], theirs: list[float]):
        n = len(mine)
        square = np.array([mine, theirs])[:, :, None]
        return study(rows=rows, square=square, label=np.ones((n, 1)), rollout_subset=["all"] * n, subsets=["all"],
                     rollout_features={}, rollout_case=list(range(n)))  # fmt: skip

    assert standing(of([0.098, 0.10], [0.10, 0.10]), "s", "b") == "level"
    sentence, tone = verdict(of([0.098, 0.10], [0.10, 0.10]))
    assert tone == "mixed" and sentence.startswith("Not shown to be worth its training: s cannot be told apart from b")
    assert "on the 2 cases" in sentence
    assert standing(of([0.001], [1.0]), "s", "b") == "level"
    sentence, tone = verdict(of([2.0], [0.5]))
    assert tone == "mixed" and sentence.endswith(
        "s was tried on one case, which decides nothing: its error is 4.0× larger than b's on that."
    )
    assert standing(of([0.010, 0.011], [0.10, 0.11]), "s", "b") == "won"
    assert standing(of([0.10, 0.11], [0.010, 0.011]), "s", "b") == "lost"
    # a mean that one case decides against all others tells nothing
    assert standing(of([0.1, 0.1, 0.1, 9.0], [0.2, 0.2, 0.2, 1.0]), "s", "b") == "level"
    # rollouts of one case count once
    many = of([0.09] * 6 + [0.11], [0.1] * 7)
    assert standing(many, "s", "b") == "won"
    assert standing(dataclasses.replace(many, rollout_case=[0] * 6 + [1]), "s", "b") == "level"


def test_a_slower_surrogate_is_not_called_good():
    s = study()
    rows = [dataclasses.replace(r, seconds_per_step=5.0) if r.kind == "surrogate" else r for r in s.rows]
    square = s.square.copy()
    square[4] = square[5] * 0.9  # the finer reference is more accurate than the best surrogate, and cheaper
    sentence, tone = verdict(study(rows=rows, square=square))
    assert tone == "mixed"
    assert "slower" in sentence


def test_solvers_that_are_better_are_named():
    s = study()
    square = s.square.copy()
    square[3] = square[5] * 0.5  # reference 16²: half the error of its best seed, in 2 ms where FNO takes 3 ms
    sentence, tone = verdict(study(square=square))
    assert tone == "mixed" and "A numerical solver, reference 16², is both more accurate" in sentence
    assert "2.4× smaller" in sentence and "no slower (2\u00a0ms)" in sentence
    rows = [dataclasses.replace(r, seconds_per_step=1.0) if r.model == "reference 16²" else r for r in s.rows]
    sentence, tone = verdict(study(square=square, rows=rows))
    assert "More accurate, but slower, is reference 16²." in sentence and "both more accurate" not in sentence
    alone = [i for i, r in enumerate(s.rows) if r.kind != "baseline"]
    sentence, tone = verdict(study(rows=[s.rows[i] for i in alone], square=square[alone]))
    assert tone == "plain" and "both more accurate" in sentence


def test_the_hardest_subset_is_where_standing_still_errs_most():
    s = study()
    assert {s.hardest} <= set(SUBSETS)
    square = s.square.copy()
    square[0, np.array([x == "geo" for x in s.rollout_subset])] *= 1e3
    made = study(square=square)
    assert made.hardest == "geo"
    assert any("in subset geo, the hardest" in label for _, label in highlights(made))
    assert study(rollout_subset=["all"] * len(s.rollout_subset), subsets=["all"]).hardest == ALL


def test_cost_at_equal_error_interpolates_and_never_extrapolates():
    def with_errors(surrogate: float, references: list[tuple[float, float]]):
        rows = [Row("s", "s", "surrogate", seconds_per_step=1e-3)]
        rows += [Row(f"r{i}", f"r{i}", "reference", seconds_per_step=c) for i, (c, _) in enumerate(references)]
        square = np.array([surrogate, *(e for _, e in references)])[:, None, None] * np.ones((1, 4, 2))
        return study(rows=rows, square=square, label=np.ones((4, 2)), rollout_subset=["bc"] * 4, subsets=["bc"],
                     rollout_features={})  # fmt: skip

    points = [(1e-3, 1e-1), (1e-2, 1e-2), (1e-1, 1e-3)]
    seconds, how = cost_at_equal_error(with_errors(10**-1.5, points), "s")
    assert how == "about" and seconds == pytest.approx(10**-2.5)
    assert cost_at_equal_error(with_errors(1e-5, points), "s") == (pytest.approx(1e-1), "more than")
    assert cost_at_equal_error(with_errors(0.5, points), "s") == (pytest.approx(1e-3), "at most")
    assert cost_at_equal_error(with_errors(0.5, []), "s")[1] == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(90.0, "1.5\u00a0min"), (2.0, "2\u00a0s"), (3.5e-3, "3.5\u00a0ms"), (7e-6, "7\u00a0µs"), (float("nan"), "–")],
)
def test_durations(value, text):
    assert milliseconds(value) == text


def test_numbers_and_ratios():
    assert [times(v) for v in (35.2, 1.34, 0.043, float("inf"))] == ["35×", "1.3×", "0.043×", "–"]
    assert [_style.number(v) for v in (0.0, 0.0123, 2.5e-5, 12345.0, 123.0, float("nan"))] == [
        "0", "0.012", "2.5·10⁻⁵", "1.2·10⁴", "123", "–"
    ]  # fmt: skip


def test_names_are_spread_apart():
    placed = _style._spread([10.0, 10.5, 11.0, 50.0], 12.0, 0.0, 100.0)
    assert np.all(np.diff(placed) >= 12.0 - 1e-9)
    assert placed[3] == 50.0
    assert np.mean(placed[:3]) == pytest.approx(12.0)  # pushed off the lower end, the others follow
    assert min(placed) >= 0.0


def test_colour_limits():
    assert images.limits(np.array([-1.0, 2.0]))[:2] == (-2.0, 2.0)
    assert images.limits(np.array([0.5, 2.0]))[:2] == (0.5, 2.0)
    assert images.limits(np.array([np.nan, 3.0])) == (3.0, 6.0, images.SEQUENTIAL)
    low, high, _ = images.limits(np.zeros(3))
    assert low < high


def test_film_strip_holds_the_colours_of_its_map():
    import base64
    import io

    import matplotlib
    from PIL import Image

    frames = np.stack([np.linspace(0, 1, 12).reshape(3, 4), np.full((3, 4), np.nan)])
    picture = Image.open(io.BytesIO(base64.b64decode(films.strip(frames, (0.0, 1.0, "viridis")).split(",")[1])))
    assert picture.size == (8, 3)
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    expected = matplotlib.colormaps["viridis"](frames[0][::-1], bytes=True)[..., :3].astype(int)
    assert np.abs(pixels[:, :4] - expected).max() <= 3  # 255 levels
    assert (pixels[:, 4:] == (0xD5, 0xD9, 0xDE)).all()


def test_shrinking_keeps_means():
    frames = np.random.default_rng(0).normal(size=(2, 200, 100))
    small = films.shrink(frames, 96)
    assert small.shape == (2, 66, 33)
    np.testing.assert_allclose(small[0, 0, 0], frames[0, :3, :3].mean())
    assert films.shrink(frames[:, :50, :50]).shape == (2, 50, 50)


def test_a_representative_of_every_subset():
    chosen = gather.representative([0, 1, 2, 3, 4], ["a", "a", "b", "a", "b"], [3.0, 1.0, np.nan, 2.0, 5.0])
    assert chosen == [3, 4]


def test_all_is_the_name_of_no_subset():
    assert ALL not in SUBSETS
