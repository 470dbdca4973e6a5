"""Any text encoder or decoder of transformers, from a folder in its layout."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer
from transformers.utils import logging

from conceptrsa.analysis.models.networks.language import (
    TOKENIZER,
    FastTokenizer,
    TextNetwork,
    require_vocabulary,
)
from conceptrsa.analysis.models.networks.named_networks import first_line
from conceptrsa.bids_config.errors import InputError

UNUSED = "pooler."
"""Made from the last hidden state for other tasks; many files lack it."""


def load_hf_text(folder: Path) -> TextNetwork:
    """Load a text network from safetensors, its configuration and its tokenizer.

    Of a network with an encoder and a decoder, the encoder is taken. Nothing is fetched, and no
    code that lies in the folder is run.

    Parameters
    ----------
    folder : Path
        Holds `config.json`, `model.safetensors` (or its parts) and the tokenizer's files, as
        `save_pretrained` writes them.

    Raises
    ------
    InputError
        An unknown architecture or one that needs code of its own, weights that lack a tensor, or
        a tokenizer that does not tell where its tokens stand in the text.
    """
    module = _load_module(folder)
    tokenizer = _load_tokenizer(folder)
    require_vocabulary(tokenizer.backend_tokenizer, module.config.vocab_size, folder)
    lengths = (tokenizer.model_max_length, _longest(module))
    longest = min(length for length in lengths if length is not None)
    return TextNetwork(module, FastTokenizer(tokenizer.backend_tokenizer), longest, _blocks(module))


def _load_module(folder: Path) -> Any:
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, **local)
            config.use_cache = False
            module, report = _kind_of_model(config).from_pretrained(
                folder, config=config, use_safetensors=True, output_loading_info=True, **local
            )
    except Exception as error:  # whatever the architecture's code raises on a wrong file
        raise InputError(
            f"{folder} cannot be loaded as a text network ({first_line(error)}): give a folder "
            "with config.json, model.safetensors and a tokenizer, of a text encoder or decoder "
            "that transformers has."
        ) from error
    require_all_weights(report, module, folder, UNUSED)
    return module.float().eval()


def require_all_weights(
    report: Mapping[str, Any], module: torch.nn.Module, source: Path, unused: str | None = None
) -> None:
    """Refuse a network of transformers that its files fill only partly.

    Parameters
    ----------
    report : mapping
        What `from_pretrained` tells of the loading.
    module : torch.nn.Module
    source : Path
        What the weights come from, for the message.
    unused : str, optional
        Tensors whose names begin so may be missing.
    """
    names = map(str, (*report["missing_keys"], *report["mismatched_keys"]))
    lacking = sorted(name for name in names if unused is None or not name.startswith(unused))
    if lacking:
        raise InputError(
            f"{source} does not hold all weights of a {type(module).__name__}: {len(lacking)} are "
            f"missing or of another shape, the first {', '.join(lacking[:3])}."
        )


def _kind_of_model(config: Any) -> Any:
    """Choose the class that gives hidden states of the text itself."""
    if type(config) in AutoModelForTextEncoding._model_mapping:
        return AutoModelForTextEncoding
    if config.is_encoder_decoder:
        raise ValueError(f"transformers has no class for the encoder of a {config.model_type}")
    return AutoModel


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing progress and what `_load_module` checks itself."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _load_tokenizer(folder: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the library raises many kinds
        raise InputError(
            f"{folder} has no tokenizer that can be read ({first_line(error)}): put the files of "
            "the tokenizer there."
        ) from error
    names = {TOKENIZER, *tokenizer.vocab_files_names.values()}
    if not any((folder / name).is_file() for name in names):
        # Without any transformers makes a tokenizer that reads every word as unknown.
        raise InputError(f"{folder} has no tokenizer: put {' or '.join(sorted(names))} there.")
    if not tokenizer.is_fast:
        raise InputError(
            f"the tokenizer in {folder} does not tell where its tokens stand in the text: put a "
            "tokenizer.json there."
        )
    return tokenizer


def _longest(module: Any) -> int | None:
    """Positions that a text may fill; None where they are relative."""
    for name, part in module.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, torch.nn.Embedding):
            # RoBERTa counts from the position after its padding token's.
            offset = 0 if part.padding_idx is None else part.padding_idx + 1
            return part.num_embeddings - offset
    return getattr(module.config, "max_position_embeddings", None)


def _blocks(module: Any) -> tuple[str, ...]:
    """Name the blocks that follow each other; none where one is used again and again (ALBERT)."""
    n_blocks = module.config.num_hidden_layers
    for name, part in module.named_modules():
        if isinstance(part, torch.nn.ModuleList) and len(part) == n_blocks:
            return tuple(f"{name}.{index}" for index in range(n_blocks))
    return ()
