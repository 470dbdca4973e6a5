"""Sentence encoders: from a text to one vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoTokenizer, BertModel
from transformers.utils import logging

from bids_config.errors import InputError


@dataclass(frozen=True)
class SentenceEncoder:
    """A BERT whose last hidden states are averaged over the tokens of a text."""

    module: BertModel
    tokenizer: Any

    @classmethod
    def load(cls, folder: Path) -> "SentenceEncoder":
        """Load model and tokenizer from a folder in the layout of transformers.

        Raises
        ------
        InputError
            The weights lack a tensor of the architecture.
        """
        logging.disable_progress_bar()
        options = {"local_files_only": True, "use_safetensors": True}
        module, report = BertModel.from_pretrained(folder, output_loading_info=True, **options)
        lacking = [*report["missing_keys"], *report["mismatched_keys"]]
        if lacking:
            raise InputError(f"{folder} does not hold all weights of a BERT, it lacks {lacking}.")
        return cls(module.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True))

    def features(self, inputs: Sequence[str]) -> NDArray[np.float32]:
        """Give the mean over all tokens of each text, padding left out: (texts, hidden size)."""
        tokens = self.tokenizer(list(inputs), padding=True, truncation=True, return_tensors="pt")
        hidden: Tensor = self.module(**tokens).last_hidden_state
        counted = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        means: Tensor = (hidden * counted).sum(dim=1) / counted.sum(dim=1)
        return means.numpy()
