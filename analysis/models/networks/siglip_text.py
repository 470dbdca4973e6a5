"""Texts as SigLIP reads them: cleaned, and always filled up to the same length."""

import re
from dataclasses import dataclass

from open_clip.tokenizer import canonicalize_text
from tokenizers import Tokenizer

from conceptrsa.analysis.models.extraction import Prompt
from conceptrsa.analysis.models.networks.language import FastTokenizer, Tokens
from conceptrsa.bids_config.errors import InputError

SIGLIP_SETTINGS = {
    "no_causal_mask", "proj_bias", "pool_type", "norm_kwargs", "tokenizer_kwargs",
    "hf_tokenizer_name",
}  # fmt: skip
"""What open_clip says of a text tower of SigLIP beyond those of OpenAI's kind."""
FILLING, FILLING_OF_GEMMA, START_OF_GEMMA = "</s>", "<pad>", "<bos>"


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
                f"the tokenizer has no {word}, with which SigLIP fills texts up: put the "
                "tokenizer.json there that belongs to the weights."
            )
        n_lacking = max(0, self.length - len(found.ids))
        return Tokens((*found.ids, *(filling,) * n_lacking), found.label)
