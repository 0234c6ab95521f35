"""Units as files write them: whether two of them are one."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sciml.errors import FileFormatError

_SAME = {
    "K": "k kelvin kelvins degk deg_k degree_kelvin degrees_kelvin",
    "degC": "°c ºc ℃ c celsius degc deg_c degree_c degrees_c degree_celsius degrees_celsius",
    "degF": "°f ºf ℉ f fahrenheit degf deg_f degree_f degrees_f degree_fahrenheit degrees_fahrenheit",
    "m": "m meter meters metre metres", "s": "s sec secs second seconds", "Pa": "pascal pascals",
    "degree": "degree degrees deg ° degree_north degrees_north degree_east degrees_east degreen degreee",
    "1": "- – none dimensionless unitless",
}  # fmt: skip
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_WORDS = {word: unit for unit, words in _SAME.items() for word in words.split()}
_TOKEN = re.compile(r"([/()])|(\d+\.?\d*(?:[eE][-+]?\d+)?)(?![\d^])|([^\W\d_]+|[%°])\s?\^?\(?([-+]?\d+)?")


def plain(unit: str) -> str:
    """A unit without what writers do differently: "m/s", "m s-1", "m s^-1" and "m.s**-1" are one; "1" for none."""
    text = unit.strip().replace("**", "^").translate(_RAISED).replace("µ", "u").replace("μ", "u")
    text = re.sub(r"\s+per\s+", "/", text)
    if known := _WORDS.get(re.sub(r"\s+", "_", text.lower()), "" if text else "1"):
        return known
    powers: dict[str, int] = {}
    below, after = [1], 1  # signs of the brackets that are open, and of what comes next
    for mark, number, word, power in _TOKEN.findall(text):
        if mark == "/":
            after = -1
            continue
        if mark == "(":
            below.append(below[-1] * after)
        elif mark == ")" and len(below) > 1:
            below.pop()
        elif number and float(number) != 1.0:
            powers[number] = powers.get(number, 0) + below[-1] * after
        elif word:
            name = str(_WORDS.get(word.lower(), word) if len(word) > 2 else word)
            powers[name] = powers.get(name, 0) + below[-1] * after * int(power or 1)
        after = 1
    return " ".join(f"{n}^{p}" for n, p in sorted(powers.items()) if p) or text


def agree(units: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse files of one data set whose values are in different units.

    Args:
        units: file -> what is measured -> unit, "" or "1" where none is written, which fits any.

    Raises:
        FileFormatError: names the first two files that differ.
    """
    first: dict[str, tuple[str, str]] = {}
    for file, here in units.items():
        for name, unit in here.items():
            if plain(unit) == "1":
                continue
            before, known = first.setdefault(name, (file, unit))
            if plain(unit) != plain(known):
                raise FileFormatError(
                    f"{file}: {name} is in {unit!r}, but in {known!r} in {before}; bring the files to one unit first"
                )
