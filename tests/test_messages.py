"""The page on messages explains messages that exist, and every message is plain and short."""

import re
import sys

import pytest
from commands_in_pages import ROOT

sys.path.insert(0, str(ROOT / "docs"))
from message_list import messages_by_area

PAGE = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
EXPLAINED = re.findall(r"^- `([^`]+)`\.", PAGE, re.MULTILINE)
ALL = [message for messages in messages_by_area().values() for message in messages]
LONGEST = 35
"""Words of a sentence, without what is filled in."""


@pytest.mark.parametrize("said", EXPLAINED)
def test_an_explained_message_is_one_of_the_program(said: str) -> None:
    assert any(said in message for message in ALL)


def test_the_list_holds_errors_warnings_and_cautions() -> None:
    listed = "\n".join(ALL)
    assert len(EXPLAINED) > 50 and len(ALL) > 800
    for beginning in ("give --dataset-config FILE", "circular selection", "interrupted; run"):
        assert f"\n{beginning}" in listed
    assert not [message for message in ALL if "\n" in message]


def test_messages_are_short_and_plain() -> None:
    sentences = [part for message in ALL for part in re.split(r"[.?:;] ", message)]
    assert not [one for one in sentences if len(one.replace("…", "").split()) > LONGEST]
    translated = r"\bmend|is had\b|of one's own|that are none|is no whole|singly|at hand\b|what of"
    assert not [message for message in ALL if re.search(translated, message)]
