"""The looks of optimizers: told apart by every reader, on paper and on a dark screen, and fixed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from thalweg.plotting import LOOKS, looks, numbered, style
from thalweg.rules import registry

# Machado, Oliveira & Fernandes 2009, full severity, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
# Ottosson 2020: linear RGB to cone responses, and their cube roots to OKLab.
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
COLOURS = {
    theme: list(dict.fromkeys(getattr(look, theme) for look in LOOKS))
    for theme in ("light", "dark")
}
GROUND = {"light": "#ffffff", "dark": "#171b21"}  # of the cards of a page


def linear(colour: str) -> np.ndarray:
    """A colour as linear RGB."""
    value = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(colour: str, vision: str) -> np.ndarray:
    """A colour in OKLab, as a reader sees it."""
    seen = np.clip(VISION[vision] @ linear(colour), 0, 1)
    return _LAB @ np.cbrt(_CONES @ seen)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", COLOURS)
def test_no_two_colours_look_alike(theme: str, vision: str) -> None:
    least, *pair = min(
        (float(np.linalg.norm(lab(a, vision) - lab(b, vision))), a, b)
        for a, b in itertools.combinations(COLOURS[theme], 2)
    )
    # About 0.02 is a difference that can just be seen side by side; lines are thin and apart.
    assert least >= 0.10, pair


@pytest.mark.parametrize("theme", COLOURS)
def test_every_colour_stands_out_from_the_page(theme: str) -> None:
    def luminance(colour: str) -> float:
        return float(linear(colour) @ [0.2126, 0.7152, 0.0722])

    ground = luminance(GROUND[theme])
    for colour in COLOURS[theme]:
        dark, light = sorted((luminance(colour), ground))
        assert (light + 0.05) / (dark + 0.05) >= 3, colour  # WCAG 2.2, 1.4.11: graphical objects


def test_every_look_is_another() -> None:
    assert len({(look.light, look.dash) for look in LOOKS}) == len(LOOKS) >= 2 * len(registry())
    assert len({(look.light, look.marker) for look in LOOKS[: len(registry())]}) == len(registry())
    neighbours = itertools.pairwise(LOOKS)
    assert all(a.light != b.light and a.marker != b.marker for a, b in neighbours)


def test_the_look_of_a_rule_depends_on_its_name_alone() -> None:
    every = looks(registry())
    for name in registry():
        assert looks([name, "mine"])[name] == every[name]
        assert style(name)["color"] == every[name].light


def test_other_names_get_looks_that_no_rule_has() -> None:
    names = ["zeta", "adam", "alpha", "sgd", "mid"]
    found = looks(names)
    assert len(set(found.values())) == len(names)
    others = {found[name] for name in ("zeta", "alpha", "mid")}
    assert not others & set(looks(registry()).values())
    assert looks(reversed(names)) == found  # whatever the order of the results
    assert len(set(looks([f"m{k}" for k in range(60)]).values())) == len(LOOKS)


def test_figures_take_the_same_line() -> None:
    for k, look in enumerate(LOOKS):
        drawn = numbered(k)
        assert drawn["color"] == look.light
        assert drawn["linestyle"] == ("-" if not look.dash else (0, look.dash))
