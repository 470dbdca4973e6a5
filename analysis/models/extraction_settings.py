"""Settings of feature extraction: inputs of networks, features taken, and the device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from conceptrsa.analysis.models.registry import Network, Pooling
from conceptrsa.bids_config.errors import InputError

PLACE = "{label}"
PROMPTS = {"paper": "a photo of {label}", "related-code": "a photo of {label}."}
"""Prompts by name: that of the paper's text, and that of its authors' related code."""

PROMPT = PROMPTS["paper"]
Sweep = Literal["all", "blocks"]
SWEEPS: tuple[Sweep, ...] = ("all", "blocks")
"""Words that stand for a list of layers."""

PicturePooling = Literal["mean", "flatten", "first-token"]
TextPooling = Literal["mean", "first-token", "last-token", "label-token"]
Device = Literal["cpu", "cuda", "mps"]


@dataclass(frozen=True)
class ExtractionSettings:
    """Which features are taken, and how networks are run.

    Attributes
    ----------
    layers : tuple of str
        Names of layers; 'all' or 'blocks' for a sweep over them; none for the layer that the
        registry names.
    pooling, text_pooling : optional
        From a layer's output to one vector, for networks that are shown pictures and texts; the
        registry's by default.
    prompt : str
        What a language model reads, with `{label}` in place of the stimulus' label; or
        'paper' or 'related-code', see `PROMPTS`.
    device : {'cpu', 'cuda', 'mps'}
    half_precision : bool
        Run networks that were trained in half precision so, where they do not run on the CPU.
    batch_size : int, optional
        Stimuli that go through a network at once; by default what suits the device.
    n_threads : int, optional
        Threads on the CPU; by default one a core. Numbers do not depend on it.
    """

    layers: tuple[str, ...] = ()
    pooling: PicturePooling | None = None
    text_pooling: TextPooling | None = None
    prompt: str = PROMPT
    device: Device = "cpu"
    half_precision: bool = False
    batch_size: int | None = None
    n_threads: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt", find_prompt(self.prompt))

    def pooling_of(self, network: Network) -> Pooling:
        """The way from a layer's output to a vector that is taken for a network."""
        chosen = self.text_pooling if network.input == "label" else self.pooling
        return chosen or network.pooling

    def layers_of(
        self, network: Network, sweep: Callable[[Sweep], tuple[str, ...]]
    ) -> tuple[str, ...]:
        """Names of the layers that are taken of a network, with sweeps written out by `sweep`."""
        layers: list[str] = []
        for layer in self.layers or (network.layer,):
            layers += sweep(layer) if layer in SWEEPS else (layer,)
        return tuple(dict.fromkeys(layers))

    def in_half_precision(self, network: Network) -> bool:
        """Whether a network runs in half precision."""
        return self.half_precision and network.half_precision and self.device != "cpu"


@dataclass(frozen=True)
class Prompt:
    """A text, and where in it the label stands.

    Attributes
    ----------
    text : str
        Text that the network reads.
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
            f"the prompt '{text}' has no place for the label: write {PLACE} in it, as in 'a photo "
            f"of {PLACE}', or name one ({', '.join(PROMPTS)})."
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
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the prompt {text!r} is not valid UTF-8: give the prompt and save the labels in that "
            "encoding."
        ) from error
    start = template.index(PLACE) + label.index(content)
    return Prompt(text, start, start + len(content))
