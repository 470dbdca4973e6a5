"""Texts of the report: their templates, and numbers and lists as a sentence holds them."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from conceptrsa.analysis.output.figures.style import printed, printed_interval
from conceptrsa.analysis.output.report.html_page import environment

SMALLEST_P = 1e-4
"""Smaller values of p say no more than that they are."""


def joined(parts: Sequence[str]) -> str:
    """Join as in 'a, b and c'."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def by_place(found: Sequence[tuple[str, str]]) -> str:
    """Pairs of a region and words on it as 'in A, x and y; in B, z'."""
    places: dict[str, list[str]] = {}
    for place, words in found:
        places.setdefault(place, []).append(words)
    return "; ".join(f"in {place}, {joined(words)}" for place, words in places.items())


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def p_value(p: float, name: str = "p") -> str:
    """Give 'p = 0.012', or that it is very small, or that there is none."""
    if not np.isfinite(p):
        return f"no {name}"
    return f"{name} < {SMALLEST_P:.4f}" if p < SMALLEST_P else f"{name} = {p:.2g}"


def estimate(value: float, low: float, high: float) -> str:
    """A number with its 95 % interval, where there is one."""
    if not np.isfinite([low, high]).all():
        return printed(value)
    return f"{printed(value)} {printed_interval(low, high)}"


def unbroken(text: str) -> str:
    """Text in which no line breaks within '95 %', 'p = 0.01' or '0.2 [0.1, 0.3]'."""
    return re.sub(
        r"(?<=\d) (?=[%[])| (?=[=<±] )|(?<=[=<±]) |(?<=\d,) (?=[^ ]*\])", "\N{NO-BREAK SPACE}", text
    )


def render_paragraphs(template: str, **values: Any) -> list[str]:
    """Render a text; an empty line ends a paragraph, and all other white space is a space."""
    text = environment().get_template(template).render(joined=joined, counted=counted, **values)
    paragraphs = (" ".join(re.split(r"[ \n]+", part.strip())) for part in text.split("\n\n"))
    return [paragraph for paragraph in paragraphs if paragraph]
