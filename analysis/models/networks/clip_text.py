"""Texts as the towers of CLIP and SigLIP read them, which were trained on pictures with text."""

import re
from dataclasses import dataclass, field
from typing import Any

from open_clip.tokenizer import SimpleTokenizer, canonicalize_text
from tokenizers import Tokenizer

from conceptrsa.analysis.models.extraction_settings import Prompt
from conceptrsa.analysis.models.networks.language import FastTokenizer, Tokens, unreadable_label
from conceptrsa.bids_config.errors import InputError

END_OF_WORD = "</w>"
FILLING, FILLING_OF_GEMMA, START_OF_GEMMA = "</s>", "<pad>", "<bos>"


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
                f"'{prompt.text}' holds a word that CLIP reads as the start or end of a text: "
                "rephrase it."
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


@dataclass(frozen=True)
class SiglipTokenizer:
    """Lower case without punctuation; the tokens see those that the text is filled up with.

    Attributes
    ----------
    tokenizer : Tokenizer
        Of T5's kind, or Gemma's (SigLIP 2).
    length : int
        A longer text stays as long as it is, and is refused by the network.
    """

    tokenizer: Tokenizer
    length: int

    def __call__(self, prompt: Prompt) -> Tokens:
        """Give a prompt's tokens, filled up."""
        before = canonicalize_text(prompt.text[: prompt.label_start])
        text = canonicalize_text(prompt.text)
        label = canonicalize_text(prompt.label)
        start = re.match(r"\s*", text[len(before) :]).end() + len(before)  # type: ignore[union-attr]
        found = FastTokenizer(self.tokenizer)(Prompt(text, start, start + len(label)))
        is_gemma = self.tokenizer.token_to_id(START_OF_GEMMA) is not None
        word = FILLING_OF_GEMMA if is_gemma else FILLING
        filling = self.tokenizer.token_to_id(word)
        if filling is None:
            raise InputError(
                f"the tokenizer has no {word}, which SigLIP needs for padding: put the "
                "tokenizer.json of these weights there."
            )
        n_lacking = max(0, self.length - len(found.ids))
        return Tokens((*found.ids, *(filling,) * n_lacking), found.label)
