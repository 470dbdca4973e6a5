"""The texts that language networks read: a template with a stimulus' label in it."""

from dataclasses import dataclass

from bids_config.errors import InputError

PLACE = "{label}"


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


def fill_prompt(template: str, label: str) -> Prompt:
    """Put a label into a template and remember where it stands.

    Parameters
    ----------
    template : str
        Holds `{label}`; where it does so more than once, the first is the label's place.
    label : str
        Any text, `{label}` included; it is not changed.

    Raises
    ------
    InputError
        No `{label}` in the template, an empty label, or characters that UTF-8 does not have.
    """
    if PLACE not in template:
        raise InputError(
            f"the prompt '{template}' has no place for the label: write {PLACE} where it belongs, "
            f"as in 'a photo of {PLACE}'."
        )
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
