"""Parts check themselves, go through JSON unchanged, and refuse what does not fit by naming where it stands."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from sciml.errors import InputError
from sciml.training.assignments import assign, listing, literal, parse, shown
from sciml.training.parts import Call, Part, Settings, conform, describe, differences


class Shape(Part, family="shape"):
    @abstractmethod
    def area(self) -> float: ...


@dataclass(frozen=True)
class Square(Shape):
    side: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("side", above=0)

    def area(self) -> float:
        return self.side**2


@dataclass(frozen=True)
class Union(Shape):
    shapes: tuple[Shape, ...]
    colour: Literal["red", "blue"] = "red"
    shift: tuple[int, float] = (0, 0.0)
    label: str | None = None
    inner: Shape | None = None
    filled: bool = False

    def area(self) -> float:
        return sum(s.area() for s in self.shapes)


@dataclass(frozen=True)
class Drawing(Settings):
    shape: Shape = Square()
    frame: Square = Square(2.0)
    seeds: tuple[int, ...] = ()


def test_values_are_taken_as_their_types():
    union = Union([Square(np.float32(2)), Square(3)], shift=np.array([1, 2.0]).tolist() and [np.int64(1), 2])
    assert union.shapes == (Square(2.0), Square(3.0)) and union.shift == (1, 2.0)
    assert type(union.shapes[0].side) is float and type(union.shift[0]) is int and type(union.shift[1]) is float
    assert Union(Square()).shapes == (Square(),)
    assert hash(union) == hash(Union((Square(2), Square(3)), shift=(1, 2)))
    assert Drawing(seeds=np.arange(3)).seeds == (0, 1, 2)


def test_json_round_trip():
    union = Union((Square(2), Union((Square(),), "blue", (3, 0.1), "x", Square(4), True)))
    assert union.to_json()["kind"] == "Union" and union.to_json()["shapes"][0] == {"kind": "Square", "side": 2.0}
    assert Shape.from_json(union.to_json()) == union and Union.from_json(union.to_json()) == union
    drawing = Drawing(union, Square(9.0), (1, 2))
    assert Drawing.from_json(drawing.to_json()) == drawing and "kind" not in drawing.to_json()
    assert Drawing.from_json({}) == Drawing()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "Sqare"}, r"shape: no shape is called 'Sqare'; did you mean 'Square'"),
        ({"kind": "Square", "sid": 1}, r"shape: Square has no field 'sid'; did you mean 'side'"),
        ({"kind": "Square", "side": "1"}, r"shape\.side: expected a number, got '1'"),
        ({"kind": "Square", "side": True}, r"shape\.side: expected a number, got True"),
        ({"kind": "Square", "side": float("nan")}, r"shape\.side: expected a number, got nan"),
        ({"kind": "Square", "side": 10**400}, r"shape\.side: expected a number"),
        ({"kind": "Square", "side": -1}, r"shape\.side: expected a number > 0, got -1"),
        ({"kind": "Union"}, r"shape\.shapes: expected some of Square, Union, got nothing"),
        ({"kind": "Union", "shapes": [{"kind": "Square"}, 3]}, r"shape\.shapes\[1\]: expected one of Square, Union"),
        ({"kind": "Union", "shapes": [{"kind": "Square", "side": 0}]}, r"shape\.shapes\[0\]\.side: .* > 0, got 0"),
        ({"kind": "Union", "shapes": [], "colour": "green"}, r"colour: expected 'red' or 'blue', got 'green'"),
        ({"kind": "Union", "shapes": [], "shift": [1]}, r"shift: expected 2 values, got \[1\]"),
        ({"kind": "Union", "shapes": [], "label": 3}, r"label: expected text or none, got 3"),
        ({"kind": "Union", "shapes": [], "filled": 1}, r"filled: expected true or false, got 1"),
        ({"kind": 3}, r"shape: expected a shape with its kind, one of Square, Union"),
        ({}, r"shape: expected a shape with its kind"),
        (7, r"shape: expected an object with fields, got 7"),
        ({"kind": "Square", 3: 4}, r"has no field 3"),
    ],
)
def test_what_does_not_fit_is_named(content, message):
    with pytest.raises(InputError, match=message) as error:
        Shape.from_json(content, "shape")
    assert "\n" not in str(error.value)


def test_nesting_without_end_is_refused():
    content: dict = {"kind": "Square"}
    for _ in range(5000):
        content = {"kind": "Union", "shapes": [content]}
    with pytest.raises(InputError, match="too deeply"):
        Shape.from_json(content)


def test_names_are_taken_once():
    with pytest.raises(InputError, match="'Square' is registered already"):
        type("Square", (Shape,), {"__module__": "elsewhere"})
    with pytest.raises(InputError, match="expected a family"):
        type("Stray", (Part,), {})
    assert Square in Shape.kinds().values()

    class Plain(Square):
        pass

    with pytest.raises(InputError, match="Plain is no dataclass"):
        Shape.from_json({"kind": "Plain"})
    del Shape._members["Plain"]


def test_replace():
    assert Square(1).replace(side=2) == Square(2)
    with pytest.raises(InputError, match="did you mean 'side'"):
        Square(1).replace(sides=2)
    with pytest.raises(InputError, match="side: expected a number > 0"):
        Square(1).replace(side=0)


def test_differences():
    a, b = Drawing(Square(1)), Drawing(Square(2), seeds=(1,))
    assert list(differences(a, b)) == [("shape.side", 1.0, 2.0), ("seeds", (), (1,))]
    assert not list(differences(a, Drawing()))
    assert [p for p, _, _ in differences(a, Drawing(Union(())))] == ["shape"]


def test_assignments():
    d = Drawing()
    assert assign(d, ["shape.side=3"]) == Drawing(Square(3))
    assert assign(d, ["shape=Union(shapes=(Square(2), Square), colour=blue)", "shape.shapes.1.side = 4"]) == Drawing(
        Union((Square(2), Square(4)), "blue")
    )
    assert assign(d, ["shape=Union(Square(2))", "shape.shift=3,-4", "shape.filled=true", "shape.label=none"]) == (
        Drawing(Union((Square(2),), shift=(3, -4.0), filled=True))
    )
    assert assign(d, ["seeds=1,2", "frame=Square"]) == Drawing(frame=Square(), seeds=(1, 2))
    assert assign(d, ["shape=Union(shapes=[], label='a b')"]).shape.label == "a b"  # type: ignore[attr-defined]
    assert assign(d, ["shape=Union(shapes=(), label=word)"]).shape.label == "word"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shape", "expected PATH=VALUE"),
        ("=3", "expected PATH=VALUE"),
        ("shape side=3", "expected PATH=VALUE"),
        ("side=3", r"side: Drawing has no field 'side'; did you mean 'shape\.side'"),
        ("shap.side=3", r"shap: Drawing has no field 'shap'; did you mean 'shape'"),
        ("shape.sid=3", r"shape\.sid: Square has no field 'sid'; did you mean 'side'"),
        ("shape.side.x=3", r"shape\.side\.x: shape\.side is 1\.0, which has no fields"),
        ("shape.side=0", r"shape\.side: expected a number > 0"),
        ("shape=Triangle()", r"shape: no shape is called 'Triangle'"),
        ("shape=Square(1, 2)", r"shape: Square takes 1 values, got 2"),
        ("shape=Square(1, side=2)", r"shape\.side: is given twice"),
        ("shape=Square(side=1, side=2)", r"shape\.side: is given twice"),
        ("frame=Union(())", r"frame: no shape is called 'Union'"),
        ("seeds.0.x=3", r"seeds: expected the number of one of its 0 entries, got '0'"),
        ("shape=__import__('os').system('true')", "expected a number, a word"),
        ("shape=[Square() for x in y]", "expected a number, a word"),
        ("shape=Square(**{'side': 1})", "expected a number, a word"),
        ("shape=" + "(" * 5000, "expected a number, a word"),
        ("shape=" + "-" * 9000 + "1", "expected a number, a word"),
        ("shape=1+1", "expected a number, a word"),
        ("seeds=1.5,", r"seeds\[0\]: expected a whole number, got 1\.5"),
    ],
)
def test_assignments_that_do_not_fit(text, message):
    with pytest.raises(InputError, match=message) as error:
        assign(Drawing(), [text])
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_given_twice_and_none():
    with pytest.raises(InputError, match=r"'shape\.side' is given twice"):
        assign(Drawing(), ["shape.side=1", "shape.side=2"])
    union = Drawing(Union(()))
    with pytest.raises(InputError, match=r"shape\.inner\.side: shape\.inner is None.*set shape\.inner=Square\(side="):
        assign(union, ["shape.inner.side=1"])


def test_listing_is_what_can_be_set():
    drawing = Drawing(Union((Square(2),), label="x"))
    rows = list(listing(drawing))
    assert ("shape.shapes.0.side", "a number", "2.0") in rows and ("seeds", "whole numbers", "()") in rows
    for path, _, value in rows:  # and every line of it reads back
        assert assign(drawing, [f"{path}={value}"]) == drawing


def test_literals():
    assert literal("48", "width") == 48 and literal("12,12", "modes") == (12, 12) and literal("-1e-3", "x") == -1e-3
    assert literal("fft", "spectral") == "fft" and literal("(1, (a, b))", "x") == (1, ("a", "b"))
    assert literal("true", "x") is True and literal("none", "x") is None and literal("'true'", "x") == "true"
    assert literal("two words", "x") == "two words" and literal("{'a': 1}", "x") == {"a": 1}
    with pytest.raises(InputError, match=r"got f\(1\)"):
        literal("f(1)", "x")
    assert parse("f(1, a=b)", "x") == Call("f", (1,), (("a", Call("b", bare=True)),))


def test_words():
    assert describe(int | None) == "a whole number or none" and describe(tuple[float, float]) == "2 numbers"
    assert describe(tuple[Shape, ...]) == "some of Square, Union"
    assert shown(Union((Square(),))).startswith("Union(shapes=(Square(side=1.0),), colour='red'")
    with pytest.raises(InputError, match="x: expected a number or none, got 'a'"):
        conform("a", float | None, "x")
