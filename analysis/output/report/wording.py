"""Texts of the report: their templates, and numbers and lists as a sentence holds them."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from conceptrsa.analysis.output.figures.style import printed, printed_interval
from conceptrsa.analysis.output.report.html_page import PACKAGE

SMALLEST_P = 1e-4
"""Smaller values of p say no more than that they are."""


def joined(parts: Sequence[str]) -> str:
    """Join as in 'a, b and c'."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


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


def render_paragraphs(template: str, **values: Any) -> list[str]:
    """Render a plain text; an empty line ends a paragraph, all other white space is one space."""
    text = _environment().get_template(template).render(values)
    paragraphs = (re.sub(r"[ \n]+", " ", part).strip() for part in text.split("\n\n"))
    return [paragraph for paragraph in paragraphs if paragraph]


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(PACKAGE, "templates"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (joined, counted, p_value, estimate, printed)
    environment.globals.update({word.__name__: word for word in words})
    environment.tests["finite"] = np.isfinite
    return environment
