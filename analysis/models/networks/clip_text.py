"""The text tower of CLIP, tokenised as OpenAI's code does."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from open_clip import SimpleTokenizer, get_model_config
from open_clip.transformer import QuickGELU, TextTransformer

from conceptrsa.analysis.models.extraction import Prompt
from conceptrsa.analysis.models.networks.language import TextNetwork, Tokens, unreadable_label
from conceptrsa.analysis.models.registry import KeyMapping, Weights
from conceptrsa.analysis.models.weights.key_mapping import fit_state
from conceptrsa.analysis.models.weights.tensors import read_checkpoint
from conceptrsa.bids_config.errors import InputError

TEXT_PROJECTION = "text_projection"
END_OF_WORD = "</w>"
TEXT_SETTINGS = {"context_length", "vocab_size", "width", "heads", "layers"}
"""Of OpenAI's text towers; others have more, such as another pooling or tokenizer."""


@dataclass(frozen=True)
class ClipTokenizer:
    """Cleaning (ftfy, HTML entities, spaces), lower case and byte pairs, as CLIP was trained."""

    tokenizer: Any = field(default_factory=SimpleTokenizer)

    def __call__(self, prompt: Prompt) -> Tokens:
        """Give a prompt's tokens between the start and the end of text."""
        ids = self.tokenizer.encode(prompt.text)
        start, end = self.tokenizer.all_special_ids
        if start in ids or end in ids:
            raise InputError(
                f"'{prompt.text}' holds a word that CLIP takes for the start or the end of a text: "
                "write it in another way."
            )
        return Tokens((start, *ids, end), self._label_token(prompt, ids))

    def _label_token(self, prompt: Prompt, ids: list[int]) -> int | None:
        """Find the label's first token: tokens tile the bytes of the cleaned text without spaces.

        Where cleaning joins the label with what stands before it (an HTML entity, a broken
        encoding), their border is lost.
        """
        before = self._solid(prompt.text[: prompt.label_start])
        after = self._solid(prompt.text[prompt.label_start :])
        if not self._solid(prompt.label):
            raise unreadable_label(prompt)
        if before + after != self._solid(prompt.text):
            return None
        seen = 0
        for index, token in enumerate(ids):
            seen += len(self.tokenizer.decoder[token].removesuffix(END_OF_WORD))
            if seen > len(before):
                return index + 1
        return None

    def _solid(self, text: str) -> bytes:
        cleaned: str = self.tokenizer.clean_fn(text)
        return cleaned.replace(" ", "").encode()


def load_clip_text(file: Path, keys: KeyMapping | Weights, architecture: str) -> TextNetwork:
    """Load the text tower of a CLIP; its output is the projected embedding, not normalised.

    Parameters
    ----------
    file : Path
        OpenAI's TorchScript archive, or a state dictionary.
    keys : KeyMapping or Weights
        From the names of the file to those of the text tower; the visual ones must be unused.
    architecture : str
        As open_clip calls it. OpenAI's weights need one with `-quickgelu`, as 'RN50-quickgelu'.

    Raises
    ------
    InputError
        An unknown architecture, or a file that belongs to another one.
    """
    module = _text_tower(architecture)
    fit_state(read_checkpoint(file), keys, module, file, architecture)
    blocks = tuple(
        f"transformer.resblocks.{index}" for index in range(len(module.transformer.resblocks))
    )
    longest = module.context_length
    return TextNetwork(
        module.eval(), ClipTokenizer(), longest, blocks, TEXT_PROJECTION, filled=True
    )


def _text_tower(architecture: str) -> Any:
    config = get_model_config(architecture)
    if config is None or set(config["text_cfg"]) != TEXT_SETTINGS:
        raise InputError(
            f"'{architecture}' is no architecture of open_clip with the text tower of OpenAI's "
            "CLIP: choose one that is, as 'RN50-quickgelu'."
        )
    activation = {"act_layer": QuickGELU} if config.get("quick_gelu") else {}
    return TextTransformer(output_dim=config["embed_dim"], **config["text_cfg"], **activation)
