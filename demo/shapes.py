"""The world of the demo: kinds, colours, words, and the outline of every kind."""

from __future__ import annotations

import math

KINDS = ("circle", "square", "triangle", "star", "cross", "diamond")
NEW_KINDS = ("bow",)
"""Kinds that the embedded checkpoint does not know; only scenes that ask for one have it (docs/adapt.md)."""
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (208, 38, 42),
    "orange": (240, 128, 26),
    "yellow": (244, 218, 52),
    "green": (44, 150, 62),
    "cyan": (64, 204, 212),
    "blue": (44, 74, 208),
    "purple": (142, 52, 168),
}
SIZES = {"tiny": (0.1, 0.13), "small": (0.22, 0.28), "large": (0.38, 0.48)}
"""The side of a shape of each size, lowest and highest, as a fraction of the mean side of the picture."""
WORDS = tuple(
    """
    ARM BAG BED BOX BUS CAR CAT CUP DAY DOG EGG EYE FAN FOX HAT ICE JAM KEY LEG MAP NET OAK PEN PIE
    RED RUN SEA SKY SUN TAX TEA TOP TOY VAN WAX YES ZOO BALL BIRD BLUE BOAT BOOK CAKE CITY COLD DESK
    DOOR DUCK EXIT FARM FISH FIRE GAME GATE GOLD HALF HAND HELP HOME JUMP KING LAKE LEAF LION MILK
    MOON NAME NEXT OPEN PARK PATH QUIZ RAIN ROAD SHIP SHOP SLOW SNOW STAR STOP TAXI TREE WALK WAVE
    WIND WOLF ZERO APPLE BEACH BREAD CLOUD DANCE EARTH FLAME GRAPE HOTEL HOUSE JUICE LEMON LIGHT
    MONEY MUSIC NIGHT OCEAN PIZZA PLANT QUEEN RIVER ROBOT SMILE STONE TABLE TIGER TRAIN VOICE WATER
    WHALE WORLD ZEBRA
    """.split()  # noqa: SIM905  (a list of 119 literals would fill a page)
)

Point = tuple[float, float]
_CORNERS: dict[str, tuple[Point, ...]] = {
    "square": ((0, 0), (1, 0), (1, 1), (0, 1)),
    "triangle": ((0.5, 0), (1, 1), (0, 1)),
    "diamond": ((0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)),
    "cross": (
        (0.32, 0), (0.68, 0), (0.68, 0.32), (1, 0.32), (1, 0.68), (0.68, 0.68),
        (0.68, 1), (0.32, 1), (0.32, 0.68), (0, 0.68), (0, 0.32), (0.32, 0.32),
    ),
    "bow": ((0, 0), (0.5, 0.36), (1, 0), (1, 1), (0.5, 0.64), (0, 1)),
}  # fmt: skip


def outline(kind: str, circle_points: int = 12) -> list[Point]:
    """Return the outline of a kind in the unit square: clockwise, from its topmost (then leftmost) point."""
    if kind == "circle":
        return _ring([0.5] * circle_points)
    if kind == "star":
        return _fill_unit_square(_ring([0.5, 0.21] * 5))
    return list(_CORNERS[kind])


def _ring(radii: list[float]) -> list[Point]:
    """Return points at equal angles, clockwise from the top, at the given distances from the centre."""
    angles = [2 * math.pi * k / len(radii) for k in range(len(radii))]
    return [(0.5 + r * math.sin(a), 0.5 - r * math.cos(a)) for r, a in zip(radii, angles, strict=True)]


def _fill_unit_square(points: list[Point]) -> list[Point]:
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    return [((x - min(xs)) / width, (y - min(ys)) / height) for x, y in points]
