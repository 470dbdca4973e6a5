"""Collect the messages of the program from its source, for the page on messages.

A message is any text of several words that is not a docstring, the help of an option or the
description of a field. What is filled in when it is shown, such as the name of a file, is written
as an ellipsis.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = "…"
FEWEST_WORDS = 4

AREAS: Mapping[str, tuple[str, ...]] = {
    "Commands and options": (
        "pipelines/cli", "pipelines/participant_options.py", "analysis/settings.py",
        "analysis/library.py",
    ),
    "Data set configuration, tables and names": ("bids_config",),
    "Raw BIDS data and fMRIPrep": ("pipelines/bids",),
    "Runs, programs and Slurm": (
        "pipelines/execution", "pipelines/participants.py", "pipelines/dry_run.py",
        "pipelines/graph.py", "pipelines/doctor.py", "interfaces/programs.py", "interfaces/spm",
        "interfaces/freesurfer",
    ),
    "Processing of images": (
        "interfaces/numerics", "interfaces/python", "pipelines/reports/subject_records.py",
    ),
    "Betas, atlases and regions": ("analysis/betas", "analysis/brain"),
    "Pictures, labels and arrays": ("analysis/files",),
    "Networks, weights and features": ("analysis/models",),
    "Comparison and statistics": (
        "analysis/cautions.py", "analysis/comparison.py", "analysis/multiverse.py",
        "analysis/all_regions.py", "analysis/kept_findings.py", "analysis/rsatoolbox_rdms.py",
        "analysis/rsa", "analysis/inference/explained.py", "analysis/inference/generalisation.py",
        "analysis/inference/population_inference.py", "analysis/inference/random_effects.py",
    ),
    "The demo": ("pipelines/demo",),
}  # fmt: skip
"""Where messages come from."""

_OF_HELP = {"help", "description", "title", "usage", "epilog", "examples", "everyday", "desc"}
_OF_FIELDS = {"file_in", "file_out", "files_in", "files_out", "add_argument_group"}
_NO_PROSE = re.compile(r"\(\?|\\|\n|[{}]|https?://|\*|%\(|\w\|")
_VARIABLE = re.compile(r"%(?:\.\d+)?[sdfr]")


def messages_by_area() -> dict[str, tuple[str, ...]]:
    """List the messages of each area, sorted, with an ellipsis for what is filled in."""
    found = {}
    for area, places in AREAS.items():
        files = [
            file
            for place in places
            for file in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))
        ]
        texts = {text for file in files for text in _messages(ast.parse(file.read_text("utf-8")))}
        found[area] = tuple(sorted(texts, key=lambda text: text.lstrip(f"{PLACE} ").lower()))
    return found


def _messages(node: ast.AST) -> Iterator[str]:
    """Find messages below a node of the syntax tree."""
    text = _text(node)
    if text is not None:
        words = re.findall(r"(?:^| )\W*[A-Za-z]{2,}", text)
        if len(words) >= FEWEST_WORDS and not _NO_PROSE.search(text):
            yield _VARIABLE.sub(PLACE, text).strip("; ,")
        for part in ast.walk(node):
            if isinstance(part, ast.FormattedValue):
                yield from _messages(part.value)
        return
    for child in ast.iter_child_nodes(node):
        is_docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        is_help = isinstance(child, ast.keyword) and child.arg in _OF_HELP
        is_field = isinstance(child, ast.Call) and _name(child.func) in _OF_FIELDS
        if not (is_docstring or is_help or is_field):
            yield from _messages(child)


def _name(function: ast.AST) -> str:
    return str(getattr(function, "id", getattr(function, "attr", "")))


def _text(node: ast.AST) -> str | None:
    """Give the text of a literal or of joined texts, with ellipses for values."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = [
            _text(value) if isinstance(value, ast.Constant) else PLACE for value in node.values
        ]
        return re.sub(f"{PLACE}+", PLACE, "".join(part or "" for part in parts))
    return None
