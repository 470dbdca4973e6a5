"""How Sphinx builds these pages: `make docs`, without a network."""

import argparse
import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from conceptrsa.pipelines.cli import build_parser, conceptrsa_docker
from conceptrsa.pipelines.cli.parser import Parser

sys.path.insert(0, str(Path(__file__).parent))
import calibration_figure  # beside this file
import gallery_settings
from message_list import messages_by_area

project = "conceptrsa"
version = release = version_of("conceptrsa")
project_copyright = "the conceptrsa authors"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
myst_heading_anchors = 3
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_ivar = True
# Names in single quotes mean what the sentence says, not whichever object has that name.
suppress_warnings = ["ref.python"]

# The build runs every example, which makes the pictures; the pages are written to docs/gallery.
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "gallery_settings.GalleryOrder",
    "reset_modules": ("matplotlib", "gallery_settings.ignore_notes"),
    "image_scrapers": ("matplotlib", "gallery_settings.returned_results"),
    "capture_repr": ("_repr_html_", "__repr__"),
    "ignore_repr_types": r"matplotlib|pathlib",
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_signature": False,
    "abort_on_example_error": True,
}
html_theme = "furo"
html_static_path = ["static"]
html_extra_path = [gallery_settings.REPORTS]
(Path(__file__).parent / gallery_settings.REPORTS).mkdir(parents=True, exist_ok=True)
html_css_files = ["gallery.css"]
html_title = f"conceptrsa {release}"
html_show_sphinx = False
exclude_patterns = [
    "images",
    "examples",
    "sg_execution_times.rst",
    "gallery/sg_execution_times.rst",
]

COMMAND_LINE = "reference/command_line"
MESSAGES = "messages"


def setup(app: Any) -> None:
    """Draw a figure, and have the page of the command line hold what the command prints."""
    app.connect("builder-inited", calibration_figure.draw)
    app.connect("source-read", add_help)
    app.connect("source-read", add_messages)


def full_help(parser: argparse.ArgumentParser) -> str:
    """Help with every option, not only the everyday ones."""
    return parser.format_full_help() if isinstance(parser, Parser) else parser.format_help()


def add_help(app: Any, page: str, source: list[str]) -> None:
    """Put every command's help behind the page's own text."""
    if page != COMMAND_LINE:
        return
    os.environ["COLUMNS"] = "100"
    (commands,) = (
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    container = {conceptrsa_docker.PROGRAM: conceptrsa_docker.build_parser()}
    for name, parser in {**commands.choices, **container}.items():
        source[0] += f"\n## {name}\n\n```text\n{full_help(parser)}```\n"


def add_messages(app: Any, page: str, source: list[str]) -> None:
    """List every message of the code behind the explained ones."""
    if page != MESSAGES:
        return
    for area, messages in messages_by_area().items():
        lines = "\n".join(f"- {message}" for message in map(as_literal, messages))
        source[0] += f"\n### {area}\n\n{lines}\n"


def as_literal(text: str) -> str:
    """Write a message as literal text of Markdown."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"
