"""Where a label stands in the text that a language network reads."""

import pytest

from conceptrsa.analysis.models.extraction_settings import (
    PROMPT,
    ExtractionSettings,
    Prompt,
    fill_prompt,
)
from conceptrsa.bids_config.errors import InputError


@pytest.mark.parametrize(
    ("template", "label", "expected"),
    [
        ("a photo of {label}", "cat", Prompt("a photo of cat", 11, 14)),
        ("{label}", "hot air balloon", Prompt("hot air balloon", 0, 15)),
        ("a photo of a {label}.", "photo", Prompt("a photo of a photo.", 13, 18)),
        ("{label}, a {label}", "cat", Prompt("cat, a cat", 0, 3)),
        ("the {label}", " cat\n", Prompt("the  cat\n", 5, 8)),
        ("the {label}", "{label}", Prompt("the {label}", 4, 11)),
        ("(🐘{label})", "Éléphant", Prompt("(🐘Éléphant)", 2, 10)),
    ],
)
def test_the_label_is_where_the_template_puts_it(template, label, expected) -> None:
    prompt = fill_prompt(template, label)
    assert prompt == expected
    assert prompt.label == label.strip()


@pytest.mark.parametrize(
    ("template", "label", "message"),
    [
        ("a photo of label", "cat", "has no place for the label"),
        ("a photo of {label}", "", "a label is empty"),
        ("a photo of {label}", " \t\u00a0", "a label is empty"),
        ("a photo of {label}", "caf\udce9", "not valid UTF-8"),
        ("\udcff {label}", "cat", "not valid UTF-8"),
    ],
)
def test_what_is_no_prompt_is_refused(template, label, message) -> None:
    with pytest.raises(InputError, match=message):
        fill_prompt(template, label)


def test_the_papers_prompt_and_that_of_the_related_code_have_names() -> None:
    assert PROMPT == ExtractionSettings().prompt == "a photo of {label}"
    assert ExtractionSettings(prompt="paper").prompt == PROMPT
    assert ExtractionSettings(prompt="related-code").prompt == "a photo of {label}."
    assert fill_prompt("related-code", "cat") == Prompt("a photo of cat.", 11, 14)
    with pytest.raises(InputError, match=r"or name one \(paper, related-code\)"):
        ExtractionSettings(prompt="related")
