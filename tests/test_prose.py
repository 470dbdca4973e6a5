"""The pages read as a person writes: short sentences, without the phrases readers stumbled over."""

import re
from pathlib import Path

import pytest
from commands_in_pages import ROOT

import conceptrsa

MAX_WORDS = 35
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md")),
    ROOT / "docker" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "reference").glob("*.md")),
]
STUMBLES = re.compile(
    r"""
    \b(?: says\ what\ of\ this | (?:is|be)\ had\b | that\ (?:are|is)\ none\b | done\ again\ singly
    | see\ to\ it\ yourself | rejects?\ never | (?:was|were)\ not\ at\ hand | of\ no\ matter
    | no\ matter\ here | wants\ to\ know | for\ want\ of | a\ test\ tells | does\ without
    | in\ the\ way\ of\ the\ other | is\ there\ or\ not | of\ what\ was | as\ is\ said )\b
    """,
    re.VERBOSE | re.IGNORECASE,
)


def sentences(text: str) -> list[str]:
    """Sentences of a page, without its code, tables and headings."""
    text = re.sub(r"^( *)(`{3,}).*?^\1\2", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(?:#|\s*\|).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`", "x", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    blocks = re.split(r"\n\s*\n|^\s*(?:[-*]|\d+\.) ", text, flags=re.MULTILINE)
    ends = re.compile(r"(?<=[.!?:])[\"')*\]]*\s+(?=[\"'(*\[]*(?:[A-Z]|x\b))")
    return [sentence for block in blocks for sentence in ends.split(" ".join(block.split()))]


def test_sentences_are_told_apart() -> None:
    page = "# Head\n\nOne `a. B` two. *Three* four (five. Six).\n\n- Seven\n- Eight\n\n| no |\n"
    told_apart = [sentence for sentence in sentences(page) if sentence]
    assert told_apart == ["One x two.", "*Three* four (five.", "Six).", "Seven", "Eight"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sentences_are_short(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [line for line in sentences(text) if len(line.split()) > MAX_WORDS] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_phrase_reads_translated(page: Path) -> None:
    text = " ".join(page.read_text(encoding="utf-8").split())
    assert STUMBLES.findall(text) == []


@pytest.mark.parametrize("name", conceptrsa.__all__)
def test_public_docstrings_begin_with_what_a_thing_is(name: str) -> None:
    docstring = getattr(conceptrsa, name).__doc__
    assert docstring and not re.match(r"(?:What|Of|As|Which|Where|How)\b", docstring)
