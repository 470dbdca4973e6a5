"""Networks that read text: from a prompt to the activity of any layer, one vector a text.

Each text is run on its own, without padding, so that its features are the same bits whatever the
company. A text is always read as text: a label '[SEP]' is five characters, no control token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from conceptrsa.analysis.arrays import Singles
from conceptrsa.analysis.models.extraction_settings import Prompt, Sweep, fill_prompt
from conceptrsa.analysis.models.networks.layers import LayerRecorder, first_tensor, require_layers
from conceptrsa.analysis.models.networks.named_networks import library_errors
from conceptrsa.analysis.models.registry import Pooling
from conceptrsa.bids_config.errors import InputError

LAST_HIDDEN_STATE = "last_hidden_state"
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Tokens:
    """A text as a network reads it.

    Attributes
    ----------
    ids : tuple of int
        Tokens, the special ones that the network expects included.
    label : int or None
        Index of the first token of the label; None where it cannot be told.
    """

    ids: tuple[int, ...]
    label: int | None


@dataclass(frozen=True)
class TextNetwork:
    """A network that turns a text into a vector a token.

    Attributes
    ----------
    module : torch.nn.Module
        Takes token ids (1, tokens); gives the final features, or a tuple that begins with them.
    tokenise : callable
        From a prompt to its tokens.
    longest : int or None
        How many tokens it reads at most.
    blocks : tuple of str
        Names of the modules that follow each other, from the first to the last.
    final : str
        What the module's own output is called.
    filled : bool
        Whether a text is filled up with zeros to the longest, to which its tokens are blind.
    """

    module: torch.nn.Module
    tokenise: Callable[[Prompt], Tokens]
    longest: int | None
    blocks: tuple[str, ...]
    final: str = LAST_HIDDEN_STATE
    filled: bool = False

    def layers(self, which: Sweep) -> tuple[str, ...]:
        """Name the layers that can be extracted, the final one last.

        Parameters
        ----------
        which : {'all', 'blocks'}
            Every module with a vector a token that depends on the text, or the blocks only.
        """
        return (*(self.blocks if which == "blocks" else self._text_dependent()), self.final)

    def extract(
        self, inputs: Sequence[Prompt], layers: Sequence[str], pooling: Pooling
    ) -> dict[str, Singles]:
        """Give a vector a text for each of several layers; one forward pass a text.

        Parameters
        ----------
        inputs : sequence of Prompt
            Texts with the place of their label.
        layers : sequence of str
            Names of modules, or of the final output.
        pooling : {'mean', 'first-token', 'last-token', 'label-token'}
            Mean over all tokens, special ones included; or the vector of one: the first ([CLS]
            of BERT), the last ([SEP] of BERT, end of text of CLIP), the first of the label. A
            final output that is one vector already is left as it is.

        Returns
        -------
        dict of str to ndarray of float32, (texts, features)

        Raises
        ------
        InputError
            An unknown layer or one without a vector a token, a text that is too long or leaves
            no token, or 'flatten', which makes vectors of different lengths.
        """
        require_layers(layers, {*dict(self.module.named_modules()), self.final})
        if pooling == "flatten":
            raise InputError(
                "tokens cannot be flattened, because texts differ in length: choose mean, "
                "first-token, last-token or label-token."
            )
        rows = [self._extract_one(prompt, layers, pooling) for prompt in inputs]
        return {layer: np.stack([row[layer] for row in rows]) for layer in dict.fromkeys(layers)}

    def _extract_one(
        self, prompt: Prompt, layers: Sequence[str], pooling: Pooling
    ) -> dict[str, Singles]:
        tokens = self.tokenise(prompt)
        if self.longest is not None and len(tokens.ids) > self.longest:
            raise InputError(
                f"'{_shortened(prompt.text)}' has {len(tokens.ids)} tokens but the network reads "
                f"at most {self.longest}: shorten the label or the prompt."
            )
        outputs = self._run(tokens.ids, layers)
        vectors = {}
        for layer in layers:
            states = outputs.get(layer)
            if states is not None and layer == self.final and states.ndim == 2:
                vector = states[0]
            elif states is None or not _is_vector_a_token(states, tokens.ids):
                raise InputError(
                    f"the layer {layer} has no vector for every token of "
                    f"'{_shortened(prompt.text)}': choose one of the names that --layers all shows."
                )
            elif pooling == "mean":
                vector = states[0].float().mean(dim=0)
            else:
                vector = states[0, _token_of(prompt, tokens, pooling)]
            vectors[layer] = vector.float().cpu().numpy()
        return vectors

    @cached_property
    def _recorder(self) -> LayerRecorder:
        return LayerRecorder(self.module)

    @torch.inference_mode()
    def _run(self, ids: Sequence[int], layers: Sequence[str]) -> dict[str, Tensor]:
        """Give the outputs of named modules, and the module's own, for one text."""
        n_tokens = len(ids)
        n_zeros = self.longest - n_tokens if self.filled and self.longest is not None else 0
        device = next(self.module.parameters()).device
        given = torch.tensor([[*ids, *[0] * n_zeros]], device=device)
        with self._recorder.record(layers, lambda _layer, output: output.clone()) as outputs:
            final = first_tensor(self.module(given))
        if final is not None:
            outputs[self.final] = final
        return {
            name: states[:, :n_tokens] if states.shape[:2] == given.shape else states
            for name, states in outputs.items()
        }

    def _text_dependent(self) -> tuple[str, ...]:
        """Modules with a vector a token that is not the same for another text as long."""
        names = [name for name, _ in self.module.named_modules() if name]
        ids = self.tokenise(fill_prompt("{label}", "one two three")).ids
        outputs, others = self._run(ids, names), self._run(ids[::-1], names)
        return tuple(
            name
            for name in names
            if name in outputs
            and _is_vector_a_token(outputs[name], ids)
            and not torch.equal(outputs[name], others[name])
        )


@dataclass(frozen=True)
class FastTokenizer:
    """A tokenizer of the library tokenizers, which knows where each token stands in the text."""

    tokenizer: Tokenizer

    def __post_init__(self) -> None:
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.tokenizer.encode_special_tokens = True

    def __call__(self, prompt: Prompt) -> Tokens:
        """Give a prompt's tokens; the label's is the first that shares a character with it."""
        found = self.tokenizer.encode(prompt.text)
        for index, (start, end) in enumerate(found.offsets):
            if start < end and start < prompt.label_end and end > prompt.label_start:
                return Tokens(tuple(found.ids), index)
        raise unreadable_label(prompt)


def unreadable_label(prompt: Prompt) -> InputError:
    """Give the error for a label of which a tokenizer leaves nothing."""
    return InputError(
        f"the network reads nothing of the label {_shortened(prompt.label)!r}: give another label."
    )


def read_tokenizer(file: Path, vocabulary: int) -> Tokenizer:
    """Read a `tokenizer.json`, which must not know more tokens than the network does."""
    with library_errors(f"{file} is not a tokenizer", "fetch it again"):
        tokenizer = Tokenizer.from_file(str(file))
    require_vocabulary(tokenizer, vocabulary, file)
    return tokenizer


def require_vocabulary(tokenizer: Tokenizer, vocabulary: int, file: Path) -> None:
    """Refuse a tokenizer with more tokens than the network has embeddings."""
    if tokenizer.get_vocab_size() > vocabulary:
        raise InputError(
            f"{file} has {tokenizer.get_vocab_size()} tokens but the network knows {vocabulary}: "
            "put the tokenizer of these weights there."
        )


def _is_vector_a_token(states: Tensor, ids: Sequence[int]) -> bool:
    return states.ndim == 3 and states.shape[:2] == (1, len(ids))


def _token_of(prompt: Prompt, tokens: Tokens, pooling: Pooling) -> int:
    if pooling != "label-token":
        return 0 if pooling == "first-token" else -1
    if tokens.label is None:
        raise InputError(
            f"where the label stands in '{_shortened(prompt.text)}' cannot be told once the text "
            "is cleaned: put a space before {label} in the prompt."
        )
    return tokens.label


def _shortened(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[:length]}..."
