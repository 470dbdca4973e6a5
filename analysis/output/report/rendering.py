"""Pages and texts rendered from templates.

A page holds all it needs: the frame, styles, scripts and pictures in one HTML file. A package with
pages of its own keeps its templates in a folder `templates`, lets them extend `base.html.j2` and
gives its name to `render_page`.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from conceptrsa.analysis.output.figures.style import printed, printed_interval

PACKAGE = "conceptrsa.analysis.output.report"

MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp"}

LONGEST_WEBP = 16_383
"""Pixels of a side of a WebP picture."""

SMALLEST_P = 1e-4
"""Smaller values of p say no more than that they are."""

MOST_JOINED, N_JOINED = 24, 12
"""Number of names in a sentence; if there are more, only this many are named."""


def render_page(
    template: str, *, package: str = PACKAGE, scripts: Sequence[str] = (), **values: Any
) -> str:
    """Render a page from a template that extends `base.html.j2`.

    Whatever is put into the page is escaped, and a policy in its head forbids the browser to load
    anything from elsewhere and to run any script but those named here.

    Parameters
    ----------
    template : str
        Name of the template, in the folder `templates` of `package` or of this one.
    package : str
        Dotted name of the package that the template belongs to.
    scripts : sequence of str
        Names of JavaScript files in the same folders, run in their order at the end of the page.
    **values
        What the template shows. `base.html.j2` itself wants `title`, and takes `subtitle` and
        `sections`, pairs of an element's id and the words of the table of contents.

    Returns
    -------
    str
        The HTML.
    """
    environment = _environment(package)
    texts = [_source(environment, name) for name in scripts]
    return environment.get_template(template).render(
        style_text=Markup(_source(environment, "style.css")),
        script_texts=[Markup(text) for text in texts],
        script_policy=" ".join(_policy_hash(text) for text in texts) or "'none'",
        **values,
    )


def embed_picture(file: Path) -> str:
    """Give an SVG or PNG file as a `data:` address for the `src` of an image."""
    return data_address(file.read_bytes(), file.suffix)


def embed_as_webp(file: Path) -> str:
    """Give a PNG file as `embed_picture` does, every pixel the same in a third of the bytes."""
    with Image.open(file) as picture:
        if max(picture.size) > LONGEST_WEBP:
            return embed_picture(file)
        content = BytesIO()
        picture.convert("RGB").save(content, "WEBP", lossless=True)
    return data_address(content.getvalue(), ".webp")


def data_address(content: bytes, suffix: str) -> str:
    """Give the content of a picture as a `data:` address; the suffix tells its format."""
    text = base64.b64encode(content).decode("ascii")
    return f"data:{MEDIA_TYPES[suffix.lower()]};base64,{text}"


def render_paragraphs(template: str, **values: Any) -> list[str]:
    """Render a plain text; an empty line ends a paragraph, all other white space is one space."""
    text = _environment(PACKAGE).get_template(template).render(values)
    paragraphs = (re.sub(r"[ \n]+", " ", part).strip() for part in text.split("\n\n"))
    return [paragraph for paragraph in paragraphs if paragraph]


def joined(parts: Sequence[str], last: str = "and") -> str:
    """Join as in 'a, b and c'; of very many the first, 'a, b, c and 330 more'."""
    if len(parts) > MOST_JOINED:
        parts = [*parts[:N_JOINED], f"{len(parts) - N_JOINED} more"]
    return f" {last} ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def by_column(rows: Sequence[Sequence[str]]) -> list[Any]:
    """A table's texts column by column, for `tables.js`.

    A column that repeats its texts is given as these texts and, of every row, the place of its own
    among them: a third of the bytes of long tables.
    """
    columns: list[Any] = []
    for texts in zip(*rows, strict=True):
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        repeats = 2 * len(places) <= len(texts)
        coded = {"texts": list(places), "places": [places[text] for text in texts]}
        columns.append(coded if repeats else list(texts))
    return columns


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


@lru_cache
def _environment(package: str) -> Environment:
    packages = dict.fromkeys((package, PACKAGE))
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, "templates") for name in packages]),
        autoescape=lambda template: not str(template).endswith(".txt.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "allow_nan": False,
        "separators": (",", ":"),
    }
    functions = (by_column, joined, counted, p_value, estimate, printed)
    environment.globals.update({function.__name__: function for function in functions})
    environment.tests["finite"] = lambda number: bool(np.isfinite(number))
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _policy_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
