"""The texts that language networks read: a template with a stimulus' label in it."""

from dataclasses import dataclass

from conceptrsa.bids_config.errors import InputError

PLACE = "{label}"
PROMPTS = {"paper": "a photo of {label}", "related-code": "a photo of {label}."}
"""Prompts by name: that of the paper's text, and that of its authors' related code."""


@dataclass(frozen=True)
class Prompt:
    """A text, and where in it the label stands.

    Attributes
    ----------
    text : str
        What the network reads.
    label_start, label_end : int
        The label is `text[label_start:label_end]`, without space round it.
    """

    text: str
    label_start: int
    label_end: int

    @property
    def label(self) -> str:
        """The label as it stands in the text."""
        return self.text[self.label_start : self.label_end]


def find_prompt(text: str) -> str:
    """Give the template that a text names, or is.

    Raises
    ------
    InputError
        It is no name, and has no place for the label.
    """
    if text not in PROMPTS and PLACE not in text:
        raise InputError(
            f"the prompt '{text}' has no place for the label: write {PLACE} where it belongs, as "
            f"in 'a photo of {PLACE}', or name one ({', '.join(PROMPTS)})."
        )
    return PROMPTS.get(text, text)


def fill_prompt(template: str, label: str) -> Prompt:
    """Put a label into a template and remember where it stands.

    Parameters
    ----------
    template : str
        Holds `{label}`; where it does so more than once, the first is the label's place. Or the
        name of one of `PROMPTS`.
    label : str
        Any text, `{label}` included; it is not changed.

    Raises
    ------
    InputError
        No `{label}` in the template, an empty label, or characters that UTF-8 does not have.
    """
    template = find_prompt(template)
    content = label.strip()
    if not content:
        raise InputError("a label is empty: give every stimulus a label, or leave the model out.")
    text = template.replace(PLACE, label)
    if not _is_utf8(text):
        raise InputError(
            f"the prompt {text!r} holds bytes that are not UTF-8: save the labels in that encoding "
            "and give the prompt in it."
        )
    start = template.index(PLACE) + label.index(content)
    return Prompt(text, start, start + len(content))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
