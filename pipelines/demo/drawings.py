"""Twenty-four objects, each drawn by a few shapes on a transparent unit square."""
# ruff: noqa: D103  (each function is named after what it draws)

from collections.abc import Callable
from math import cos, pi, sin

from conceptrsa.pipelines.demo.pen import Pen, Point


def _polar(x: float, y: float, radius: float, angle: float) -> Point:
    return x + radius * cos(angle), y + radius * sin(angle)


def _tilted_ellipse(x: float, y: float, rx: float, ry: float, angle: float) -> list[Point]:
    turns = [step * pi / 30 for step in range(60)]
    along = [(rx * cos(turn), ry * sin(turn)) for turn in turns]
    return [
        (x + u * cos(angle) - v * sin(angle), y + u * sin(angle) + v * cos(angle)) for u, v in along
    ]


def goldfish(pen: Pen) -> None:
    pen.polygon([(0.62, 0.5), (0.97, 0.22), (0.88, 0.5), (0.97, 0.8)], "#ff8c1a")
    pen.polygon([(0.3, 0.35), (0.45, 0.13), (0.62, 0.38)], "#e8640c")
    pen.polygon([(0.4, 0.66), (0.5, 0.86), (0.58, 0.62)], "#e8640c")
    pen.ellipse(0.4, 0.5, 0.33, 0.21, "#ff7a12")
    for row in range(4):
        for column in range(4):
            pen.arc(0.36 + 0.08 * column, 0.38 + 0.08 * row, 0.045, (280, 80), 0.007, "#ffb450")
    pen.ellipse(0.38, 0.62, 0.2, 0.07, "#ffc46b")
    pen.arc(0.17, 0.5, 0.12, (300, 60), 0.012, "#c94f05")
    pen.ellipse(0.18, 0.45, 0.042, 0.042, "#fffbe8")
    pen.ellipse(0.17, 0.45, 0.022, 0.022, "#151515")


def penguin(pen: Pen) -> None:
    pen.polygon([(0.3, 0.42), (0.12, 0.72), (0.3, 0.68)], "#1b2130")
    pen.polygon([(0.7, 0.42), (0.88, 0.72), (0.7, 0.68)], "#1b2130")
    pen.ellipse(0.5, 0.6, 0.25, 0.33, "#202736")
    pen.ellipse(0.5, 0.24, 0.16, 0.17, "#202736")
    pen.ellipse(0.5, 0.64, 0.18, 0.27, "#f6f4ee")
    pen.ellipse(0.36, 0.3, 0.05, 0.08, "#f5c542")
    pen.ellipse(0.64, 0.3, 0.05, 0.08, "#f5c542")
    for x in (0.44, 0.56):
        pen.ellipse(x, 0.2, 0.025, 0.025, "#ffffff")
        pen.ellipse(x, 0.2, 0.013, 0.013, "#000000")
    pen.polygon([(0.45, 0.25), (0.55, 0.25), (0.5, 0.34)], "#f08a1d")
    for x in (0.38, 0.62):
        pen.ellipse(x, 0.93, 0.09, 0.035, "#f08a1d")


def butterfly(pen: Pen) -> None:
    for side in (-1, 1):
        for tilt, reach, length, width in ((-0.72, 0.27, 0.27, 0.16), (0.8, 0.23, 0.2, 0.14)):
            x, y = 0.5 + side * reach * cos(tilt), 0.47 + reach * sin(tilt)
            angle = tilt if side > 0 else pi - tilt
            pen.polygon(_tilted_ellipse(x, y, length, width, angle), "#1a1210")
            x, y = 0.5 + side * 0.93 * reach * cos(tilt), 0.47 + 0.93 * reach * sin(tilt)
            pen.polygon(_tilted_ellipse(x, y, length * 0.78, width * 0.74, angle), "#f07d13")
            for fan in (-0.35, 0.0, 0.35):
                tip = _polar(0.5, 0.47, reach + length * 0.8, angle + fan)
                pen.line([(0.5, 0.47), tip], 0.013, "#1a1210")
            for fan in range(-3, 4):
                spot = _polar(x, y, length * 0.93, angle + 0.14 * fan)
                pen.ellipse(*spot, 0.012, 0.012, "#ffffff")
        pen.line([(0.5, 0.3), (0.5 + side * 0.04, 0.18), (0.5 + side * 0.1, 0.1)], 0.01, "#1a1210")
    pen.ellipse(0.5, 0.5, 0.03, 0.22, "#2a1c14")
    pen.ellipse(0.5, 0.29, 0.038, 0.038, "#2a1c14")


def ladybug(pen: Pen) -> None:
    for y in (0.4, 0.57, 0.74):
        pen.line([(0.1, y + 0.06), (0.5, y - 0.03), (0.9, y + 0.06)], 0.025, "#161616")
    for side in (-1, 1):
        pen.line([(0.5, 0.2), (0.5 + side * 0.15, 0.06)], 0.016, "#161616")
    pen.ellipse(0.5, 0.25, 0.19, 0.14, "#161616")
    pen.ellipse(0.5, 0.57, 0.34, 0.36, "#d51f1f")
    pen.line([(0.5, 0.22), (0.5, 0.93)], 0.018, "#161616")
    for side in (-1, 1):
        pen.ellipse(0.5 + side * 0.1, 0.2, 0.035, 0.035, "#f4f4f4")
        for x, y, r in ((0.14, 0.4, 0.055), (0.22, 0.58, 0.065), (0.12, 0.74, 0.055)):
            pen.ellipse(0.5 + side * x, y, r, r, "#161616")


def owl(pen: Pen) -> None:
    pen.polygon([(0.28, 0.3), (0.24, 0.06), (0.45, 0.18)], "#6b4a2b")
    pen.polygon([(0.72, 0.3), (0.76, 0.06), (0.55, 0.18)], "#6b4a2b")
    pen.ellipse(0.5, 0.55, 0.3, 0.4, "#7d5833")
    pen.ellipse(0.24, 0.6, 0.09, 0.25, "#5b3d22")
    pen.ellipse(0.76, 0.6, 0.09, 0.25, "#5b3d22")
    pen.ellipse(0.5, 0.68, 0.18, 0.25, "#d9b98a")
    for row in range(5):
        for column in range(-2, 3):
            pen.arc(0.5 + 0.065 * column, 0.54 + 0.075 * row, 0.03, (10, 170), 0.011, "#8a6337")
    for x in (0.37, 0.63):
        pen.ellipse(x, 0.33, 0.135, 0.135, "#c7a06b")
        pen.ellipse(x, 0.33, 0.09, 0.09, "#ffcf2f")
        pen.ellipse(x, 0.33, 0.05, 0.05, "#101010")
        pen.ellipse(x - 0.02, 0.31, 0.014, 0.014, "#ffffff")
        pen.line([(x - 0.08, 0.94), (x, 0.9), (x + 0.08, 0.94)], 0.025, "#e0a82e")
    pen.polygon([(0.46, 0.39), (0.54, 0.39), (0.5, 0.5)], "#e0a82e")


def jellyfish(pen: Pen) -> None:
    for index, x in enumerate((0.24, 0.34, 0.44, 0.54, 0.64, 0.76)):
        steps = range(24)
        swing = [
            (x + 0.04 * sin(step / 2.6 + index), 0.4 + 0.022 * step + 0.004 * step * (index % 2))
            for step in steps
        ]
        pen.line(swing, 0.026 if index % 2 else 0.012, "#f2a6dc" if index % 2 else "#d887f0")
    pen.dome(0.5, 0.42, 0.36, 0.36, "#e58be0")
    pen.ellipse(0.5, 0.42, 0.36, 0.07, "#c565cf")
    for x in (0.3, 0.43, 0.57, 0.7):
        pen.line([(0.5, 0.1), (x, 0.4)], 0.01, "#f8c9f2")
    pen.ellipse(0.4, 0.22, 0.07, 0.05, "#fbe3f8")


def apple(pen: Pen) -> None:
    for x in (0.36, 0.64):
        pen.ellipse(x, 0.55, 0.24, 0.3, "#57a82a")
    pen.ellipse(0.5, 0.64, 0.3, 0.28, "#57a82a")
    pen.ellipse(0.5, 0.3, 0.13, 0.045, "#3c7c1b")
    pen.line([(0.5, 0.31), (0.53, 0.2), (0.58, 0.1)], 0.035, "#5d3a1a")
    pen.polygon([(0.55, 0.2), (0.68, 0.06), (0.86, 0.1), (0.74, 0.23)], "#2f8f3a")
    pen.ellipse(0.3, 0.46, 0.06, 0.11, "#b6e38c")
    pen.ellipse(0.68, 0.6, 0.12, 0.18, "#79bf3c")


def pizza(pen: Pen) -> None:
    pen.ellipse(0.5, 0.5, 0.46, 0.46, "#c98a3f")
    pen.ellipse(0.5, 0.5, 0.4, 0.4, "#c8371f")
    pen.ellipse(0.5, 0.5, 0.38, 0.38, "#f3c65b")
    for index in range(11):
        x, y = _polar(0.5, 0.5, 0.12 + 0.17 * (index % 3 > 0), index * 2.4)
        pen.ellipse(x, y, 0.065, 0.065, "#b3271e")
        pen.ellipse(x - 0.01, y - 0.01, 0.045, 0.045, "#cf4a35")
    for index in range(12):
        x, y = _polar(0.5, 0.5, 0.2 + 0.14 * ((index * 7) % 3) / 2, index * 1.9 + 0.8)
        pen.ellipse(x, y, 0.03, 0.013, "#3f7d2c")
        pen.ring(*_polar(x, y, 0.06, index), 0.025, 0.011, "#2a211d")
    for angle in (0.4, 0.4 + pi / 4, 0.4 + pi / 2, 0.4 + 3 * pi / 4):
        ends = [_polar(0.5, 0.5, 0.45, angle), _polar(0.5, 0.5, 0.45, angle + pi)]
        pen.line(ends, 0.007, "#9b6a2a")


def banana(pen: Pen) -> None:
    for shift, colour in ((0.0, "#f2cf1f"), (0.11, "#ffe14d")):
        outer = [_polar(0.5, 0.08 + shift, 0.46, angle * pi / 40) for angle in range(4, 38)]
        inner = [_polar(0.5, -0.1 + shift, 0.45, angle * pi / 40) for angle in range(35, 6, -1)]
        pen.polygon(outer + inner, colour)
        pen.line(outer[3:-3], 0.012, "#c79e12")
        pen.ellipse(*outer[0], 0.022, 0.03, "#4a3414")
    pen.polygon([(0.03, 0.1), (0.1, 0.08), (0.13, 0.26), (0.06, 0.26)], "#8a6d1f")


def mushroom(pen: Pen) -> None:
    pen.polygon([(0.4, 0.5), (0.6, 0.5), (0.66, 0.93), (0.34, 0.93)], "#f3e9d2")
    pen.ellipse(0.5, 0.93, 0.16, 0.045, "#e0d2b3")
    pen.dome(0.5, 0.52, 0.42, 0.42, "#c5281c")
    pen.ellipse(0.5, 0.52, 0.42, 0.075, "#ead9b8")
    for step in range(-7, 8):
        pen.line([(0.5 + 0.02 * step, 0.5), (0.5 + 0.055 * step, 0.55)], 0.006, "#b99f74")
    pen.polygon([(0.36, 0.58), (0.64, 0.58), (0.69, 0.68), (0.31, 0.68)], "#fff7e6")
    for x, y, r in ((0.3, 0.36, 0.06), (0.5, 0.22, 0.07), (0.68, 0.38, 0.055), (0.47, 0.4, 0.04)):
        pen.ellipse(x, y, r, r * 0.8, "#fdfaf2")
    pen.ellipse(0.17, 0.45, 0.035, 0.03, "#fdfaf2")
    pen.ellipse(0.82, 0.46, 0.035, 0.03, "#fdfaf2")


def sailboat(pen: Pen) -> None:
    pen.line([(0.5, 0.05), (0.5, 0.78)], 0.024, "#6a4524")
    pen.polygon([(0.53, 0.07), (0.53, 0.7), (0.9, 0.7)], "#fbfbf5")
    pen.polygon([(0.47, 0.14), (0.47, 0.7), (0.13, 0.7)], "#e9edf2")
    for y in (0.3, 0.45, 0.6):
        pen.line([(0.53, y), (0.53 + (y - 0.07) * 0.57, y)], 0.007, "#aab4c0")
    pen.polygon([(0.06, 0.76), (0.95, 0.76), (0.8, 0.94), (0.2, 0.94)], "#8a2f23")
    pen.line([(0.08, 0.79), (0.92, 0.79)], 0.02, "#f4f1e6")
    pen.polygon([(0.5, 0.04), (0.5, 0.1), (0.37, 0.07)], "#d8342a")


def car(pen: Pen) -> None:
    pen.polygon([(0.22, 0.48), (0.34, 0.27), (0.68, 0.27), (0.83, 0.48)], "#1f5fbf")
    pen.polygon([(0.28, 0.47), (0.37, 0.31), (0.5, 0.31), (0.5, 0.47)], "#bfe0f2")
    pen.polygon([(0.53, 0.47), (0.53, 0.31), (0.66, 0.31), (0.76, 0.47)], "#bfe0f2")
    pen.box(0.04, 0.46, 0.97, 0.68, "#2469cf", 0.07)
    pen.box(0.03, 0.61, 0.98, 0.69, "#20242b", 0.02)
    pen.line([(0.515, 0.48), (0.515, 0.66)], 0.008, "#123d80")
    pen.box(0.55, 0.51, 0.62, 0.53, "#dfe6ee")
    pen.ellipse(0.93, 0.54, 0.035, 0.04, "#fff3b0")
    pen.ellipse(0.06, 0.54, 0.025, 0.04, "#d62020")
    for x in (0.25, 0.75):
        pen.ellipse(x, 0.68, 0.125, 0.125, "#15171a")
        pen.ellipse(x, 0.68, 0.07, 0.07, "#c7ccd2")
        for index in range(5):
            pen.line([(x, 0.68), _polar(x, 0.68, 0.065, index * 2 * pi / 5)], 0.016, "#6f767e")


def bicycle(pen: Pen) -> None:
    for x in (0.24, 0.76):
        pen.ring(x, 0.66, 0.22, 0.028, "#151515")
        for index in range(12):
            pen.line([(x, 0.66), _polar(x, 0.66, 0.2, index * pi / 6)], 0.005, "#8d949b")
        pen.ellipse(x, 0.66, 0.025, 0.025, "#33383d")
    frame = "#c81e3a"
    pen.line([(0.24, 0.66), (0.4, 0.36), (0.66, 0.34), (0.48, 0.68), (0.24, 0.66)], 0.026, frame)
    pen.line([(0.48, 0.68), (0.37, 0.28)], 0.026, frame)
    pen.line([(0.76, 0.66), (0.64, 0.24)], 0.026, frame)
    pen.line([(0.55, 0.22), (0.66, 0.22), (0.74, 0.28)], 0.026, "#202020")
    pen.box(0.28, 0.25, 0.46, 0.29, "#202020", 0.02)
    pen.ring(0.48, 0.68, 0.06, 0.016, "#4a4f55")
    pen.line([(0.48, 0.68), (0.53, 0.8), (0.58, 0.8)], 0.018, "#202020")


def balloon(pen: Pen) -> None:
    pen.line([(0.3, 0.58), (0.42, 0.8)], 0.008, "#3b2c1c")
    pen.line([(0.7, 0.58), (0.58, 0.8)], 0.008, "#3b2c1c")
    pen.ellipse(0.5, 0.36, 0.34, 0.34, "#d93a2b")
    pen.polygon([(0.2, 0.5), (0.8, 0.5), (0.58, 0.74), (0.42, 0.74)], "#d93a2b")
    for half_width, colour in ((0.24, "#f4c430"), (0.15, "#2c7fb8"), (0.06, "#f7f7f2")):
        pen.ellipse(0.5, 0.36, half_width, 0.34, colour)
        lower = [(0.5 - half_width * 0.9, 0.5), (0.5 + half_width * 0.9, 0.5)]
        pen.polygon([*lower, (0.5 + half_width / 4, 0.74), (0.5 - half_width / 4, 0.74)], colour)
    pen.box(0.41, 0.8, 0.59, 0.95, "#8b5a2b", 0.015)
    for y in (0.84, 0.88, 0.92):
        pen.line([(0.41, y), (0.59, y)], 0.006, "#5d3a18")


def mountain(pen: Pen) -> None:
    pen.polygon([(0.0, 0.95), (0.22, 0.45), (0.34, 0.6), (0.45, 0.95)], "#6f7f93")
    pen.polygon([(0.55, 0.95), (0.8, 0.38), (1.0, 0.8), (1.0, 0.95)], "#64758a")
    pen.polygon([(0.12, 0.95), (0.52, 0.1), (0.92, 0.95)], "#56606e")
    pen.polygon([(0.52, 0.1), (0.92, 0.95), (0.58, 0.95), (0.5, 0.5)], "#3f4854")
    snow = [(0.52, 0.1), (0.36, 0.43), (0.43, 0.39), (0.47, 0.48), (0.53, 0.38), (0.58, 0.47)]
    pen.polygon([*snow, (0.68, 0.44)], "#fbfdff")
    pen.polygon([(0.22, 0.45), (0.15, 0.61), (0.22, 0.57), (0.27, 0.62), (0.31, 0.56)], "#f0f4f8")
    pen.polygon([(0.8, 0.38), (0.72, 0.56), (0.8, 0.52), (0.86, 0.57), (0.88, 0.55)], "#f0f4f8")
    for index in range(14):
        x = 0.03 + 0.07 * index
        pen.polygon(
            [(x - 0.035, 0.97), (x, 0.84 - 0.02 * (index % 3)), (x + 0.035, 0.97)], "#23402f"
        )


def lighthouse(pen: Pen) -> None:
    pen.polygon([(0.15, 0.97), (0.3, 0.86), (0.72, 0.86), (0.9, 0.97)], "#5c5348")
    pen.polygon([(0.41, 0.25), (0.59, 0.25), (0.68, 0.9), (0.32, 0.9)], "#f5f2ea")
    for top in (0.33, 0.52, 0.71):
        left, right = 0.41 - 0.138 * (top - 0.25), 0.59 + 0.138 * (top - 0.25)
        pen.polygon(
            [(left, top), (right, top), (right + 0.014, top + 0.1), (left - 0.014, top + 0.1)],
            "#c1272d",
        )
    pen.box(0.37, 0.23, 0.63, 0.26, "#2b2b2b")
    pen.box(0.43, 0.12, 0.57, 0.23, "#ffe680")
    for x in (0.43, 0.5, 0.57):
        pen.line([(x, 0.12), (x, 0.23)], 0.01, "#2b2b2b")
    pen.polygon([(0.4, 0.12), (0.6, 0.12), (0.5, 0.02)], "#8f1d22")
    pen.box(0.47, 0.8, 0.53, 0.9, "#3d2c1e", 0.02)


def house(pen: Pen) -> None:
    pen.box(0.7, 0.12, 0.79, 0.4, "#8d4a3a")
    pen.box(0.14, 0.45, 0.86, 0.93, "#ead9b5")
    for y in (0.53, 0.61, 0.69, 0.77, 0.85):
        pen.line([(0.14, y), (0.86, y)], 0.005, "#c7b48a")
    pen.polygon([(0.05, 0.48), (0.5, 0.1), (0.95, 0.48)], "#7c3328")
    pen.polygon([(0.14, 0.46), (0.5, 0.16), (0.86, 0.46)], "#94402f")
    pen.box(0.43, 0.64, 0.57, 0.93, "#3b5a40")
    pen.ellipse(0.54, 0.79, 0.012, 0.012, "#e6c34a")
    for x in (0.2, 0.64):
        pen.box(x, 0.56, x + 0.16, 0.74, "#ffffff")
        pen.box(x + 0.015, 0.575, x + 0.145, 0.725, "#86b6d9")
        pen.line([(x + 0.08, 0.56), (x + 0.08, 0.74)], 0.01, "#ffffff")
        pen.line([(x, 0.65), (x + 0.16, 0.65)], 0.01, "#ffffff")


def volcano(pen: Pen) -> None:
    for x, y, r in ((0.5, 0.2, 0.1), (0.4, 0.13, 0.1), (0.6, 0.1, 0.11), (0.7, 0.17, 0.08)):
        pen.ellipse(x, y, r, r * 0.8, "#6b6660")
    for index in range(9):
        x, y = _polar(0.5, 0.38, 0.16 + 0.06 * (index % 3), -pi * (0.15 + 0.0875 * index))
        pen.line([(0.5, 0.4), (x, y)], 0.02, "#ff9a1f" if index % 2 else "#ff4d12")
    pen.polygon([(0.02, 0.95), (0.4, 0.38), (0.6, 0.38), (0.98, 0.95)], "#4a3833")
    pen.polygon([(0.5, 0.38), (0.6, 0.38), (0.98, 0.95), (0.6, 0.95)], "#37292a")
    pen.ellipse(0.5, 0.385, 0.1, 0.03, "#ff6a13")
    pen.line([(0.47, 0.39), (0.45, 0.55), (0.38, 0.68), (0.36, 0.94)], 0.05, "#ff5a10")
    pen.line([(0.54, 0.39), (0.58, 0.58), (0.56, 0.72), (0.66, 0.94)], 0.04, "#ff7d1c")
    pen.line([(0.47, 0.39), (0.45, 0.55), (0.38, 0.68), (0.36, 0.94)], 0.016, "#ffd24a")


def clock(pen: Pen) -> None:
    pen.ellipse(0.5, 0.5, 0.45, 0.45, "#6e4523")
    pen.ellipse(0.5, 0.5, 0.4, 0.4, "#c9a25a")
    pen.ellipse(0.5, 0.5, 0.37, 0.37, "#fbf8ee")
    for minute in range(60):
        angle = minute * pi / 30
        inner = 0.3 if minute % 5 == 0 else 0.335
        width = 0.016 if minute % 5 == 0 else 0.005
        ends = [_polar(0.5, 0.5, inner, angle), _polar(0.5, 0.5, 0.355, angle)]
        pen.line(ends, width, "#222222")
    pen.line([(0.5, 0.5), _polar(0.5, 0.5, 0.19, -2.6)], 0.03, "#151515")
    pen.line([(0.5, 0.5), _polar(0.5, 0.5, 0.29, -0.55)], 0.02, "#151515")
    pen.line([(0.5, 0.5), _polar(0.5, 0.5, 0.3, 1.3)], 0.007, "#c01818")
    pen.ellipse(0.5, 0.5, 0.028, 0.028, "#151515")


def umbrella(pen: Pen) -> None:
    pen.line([(0.5, 0.02), (0.5, 0.85)], 0.022, "#4b2e17")
    pen.arc(0.43, 0.85, 0.08, (0, 180), 0.024, "#4b2e17")
    pen.dome(0.5, 0.54, 0.46, 0.46, "#6a2c91")
    pen.dome(0.5, 0.54, 0.28, 0.46, "#9b59c4")
    pen.dome(0.5, 0.54, 0.1, 0.46, "#6a2c91")
    for x, width in ((0.13, 0.09), (0.31, 0.09), (0.5, 0.1), (0.69, 0.09), (0.87, 0.09)):
        pen.erase_ellipse(x, 0.55, width, 0.05)
    pen.line([(0.5, 0.46), (0.5, 0.8)], 0.022, "#4b2e17")


def guitar(pen: Pen) -> None:
    pen.ellipse(0.5, 0.76, 0.24, 0.2, "#a8591f")
    pen.ellipse(0.5, 0.53, 0.18, 0.15, "#a8591f")
    pen.ellipse(0.5, 0.76, 0.21, 0.17, "#d98b3a")
    pen.ellipse(0.5, 0.53, 0.15, 0.12, "#d98b3a")
    pen.box(0.38, 0.55, 0.62, 0.7, "#d98b3a")
    pen.ellipse(0.5, 0.62, 0.075, 0.075, "#2a160a")
    pen.ring(0.5, 0.62, 0.09, 0.01, "#5c3214")
    pen.box(0.462, 0.14, 0.538, 0.58, "#3a2213")
    pen.box(0.44, 0.01, 0.56, 0.15, "#5c3214", 0.02)
    for y in (0.2, 0.26, 0.32, 0.38, 0.44, 0.5):
        pen.line([(0.462, y), (0.538, y)], 0.006, "#d8d2c4")
    pen.box(0.4, 0.8, 0.6, 0.83, "#3a2213")
    for index in range(6):
        x = 0.473 + 0.011 * index
        pen.line([(x, 0.04), (x, 0.82)], 0.003, "#f2efe6")
    for y in (0.04, 0.08, 0.12):
        pen.ellipse(0.42, y, 0.017, 0.013, "#e8e2d0")
        pen.ellipse(0.58, y, 0.017, 0.013, "#e8e2d0")


def hammer(pen: Pen) -> None:
    pen.box(0.46, 0.2, 0.54, 0.96, "#b9803f", 0.03)
    pen.box(0.45, 0.66, 0.55, 0.97, "#7c1f1f", 0.04)
    pen.box(0.4, 0.1, 0.6, 0.27, "#6d747c", 0.02)
    pen.box(0.2, 0.12, 0.42, 0.25, "#868e97")
    pen.box(0.14, 0.09, 0.22, 0.28, "#a4acb5", 0.015)
    pen.polygon([(0.58, 0.11), (0.75, 0.1), (0.92, 0.3), (0.74, 0.21), (0.58, 0.25)], "#868e97")
    pen.line([(0.6, 0.14), (0.75, 0.13), (0.86, 0.24)], 0.01, "#c9cfd6")


def tree(pen: Pen) -> None:
    right = [(0.55, 0.55), (0.58, 0.88), (0.66, 0.96)]
    pen.polygon([(0.45, 0.55), *right, (0.34, 0.96), (0.42, 0.88)], "#5f3f22")
    pen.line([(0.49, 0.66), (0.32, 0.5)], 0.035, "#5f3f22")
    pen.line([(0.51, 0.64), (0.7, 0.48)], 0.035, "#5f3f22")
    for index in reversed(range(90)):
        x, y = _polar(0.5, 0.36, 0.35 * (index / 90) ** 0.5, index * 2.39996)
        shade = ("#2e6b2a", "#3f8534", "#57a03f", "#295c27", "#4a9239")[index * 7 % 5]
        pen.ellipse(x, y, 0.07, 0.058, shade)


def sunflower(pen: Pen) -> None:
    pen.line([(0.5, 0.45), (0.52, 0.7), (0.48, 0.98)], 0.035, "#3f7a2a")
    pen.polygon([(0.5, 0.8), (0.7, 0.66), (0.88, 0.7), (0.72, 0.82)], "#4c9133")
    pen.polygon([(0.5, 0.88), (0.3, 0.72), (0.12, 0.76), (0.3, 0.88)], "#4c9133")
    for count, length, colour in ((18, 0.36, "#eaa60f"), (18, 0.31, "#ffd02b")):
        for index in range(count):
            angle = (index + (length < 0.33) / 2) * 2 * pi / count
            tip = _polar(0.5, 0.38, length, angle)
            sides = [_polar(0.5, 0.38, length * 0.62, angle + turn) for turn in (-0.2, 0.2)]
            pen.polygon([(0.5, 0.38), sides[0], tip, sides[1]], colour)
    pen.ellipse(0.5, 0.38, 0.16, 0.16, "#4a2c12")
    for index in range(70):
        x, y = _polar(0.5, 0.38, 0.15 * (index / 70) ** 0.5, index * 2.39996)
        pen.ellipse(x, y, 0.007, 0.007, "#8a5a22" if index % 2 else "#2c1808")


DRAWINGS: dict[str, Callable[[Pen], None]] = {
    drawing.__name__: drawing
    for drawing in (
        goldfish, penguin, butterfly, ladybug, owl, jellyfish,
        apple, pizza, banana, mushroom,
        sailboat, car, bicycle, balloon,
        mountain, lighthouse, house, volcano,
        clock, umbrella, guitar, hammer,
        tree, sunflower,
    )
}  # fmt: skip
