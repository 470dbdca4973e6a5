"""Text networks of transformers: by the registry's rules, and any one from its own folder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    AutoTokenizer,
    BertModel,
    CLIPTextModelWithProjection,
    GPT2Model,
    SiglipTextModel,
)
from transformers.utils import logging

from conceptrsa.analysis.models.networks.language import (
    TOKENIZER,
    FastTokenizer,
    TextNetwork,
    read_tokenizer,
    require_vocabulary,
)
from conceptrsa.analysis.models.networks.named_networks import library_errors
from conceptrsa.analysis.models.registry import CONFIGURATION, KeyMapping, Weights
from conceptrsa.analysis.models.weights.key_mapping import fit_state
from conceptrsa.analysis.models.weights.tensors import read_checkpoint
from conceptrsa.bids_config.errors import InputError

TEXT_EMBEDDING = "text_embeds"
"""Name in transformers of the projected text in the space shared with pictures."""

SIGLIP = "siglip"
UNUSED = "pooler."
"""Made from the last hidden state for other tasks; many files lack it."""

KINDS: dict[str, Any] = {"bert": BertModel, "gpt2": GPT2Model}
LOCAL = {"local_files_only": True, "trust_remote_code": False}
"""Nothing is fetched, and no code that lies in a folder is run."""


def load_by_keys(kind: str, files: Sequence[Path], keys: KeyMapping | Weights) -> TextNetwork:
    """Load a text network from its weights, `config.json` and `tokenizer.json`.

    Parameters
    ----------
    kind : {'bert', 'gpt2'}
    files : sequence of Path
        The weights come first.
    keys : KeyMapping or Weights
        From the names of the weights' file to those of the model.

    Raises
    ------
    InputError
        A file is missing or broken, or belongs to another architecture.
    """
    weights, configuration = files[0], _file_named(CONFIGURATION, files)
    config = read_config(configuration)
    if config.model_type != kind:
        raise InputError(
            f"{configuration} describes a network of the kind '{config.model_type}', not '{kind}': "
            f"put the one of {weights.name} there, or name this network as hf_text:ORG/NAME."
        )
    config.use_cache = False
    module = KINDS[kind](config)
    fit_state(read_checkpoint(weights), keys, module, weights, KINDS[kind].__name__)
    tokenizer = read_tokenizer(_file_named(TOKENIZER, files), config.vocab_size)
    longest = config.max_position_embeddings
    return TextNetwork(module.eval(), FastTokenizer(tokenizer), longest, _blocks(module))


def _file_named(name: str, files: Sequence[Path]) -> Path:
    for file in files:
        if file.name == name:
            return file
    raise InputError(f"{name} is not beside {files[0]}: put it there.")


def load_hf_text(folder: Path) -> TextNetwork:
    """Load a text network from safetensors, its configuration and its tokenizer.

    Of a network with an encoder and a decoder, the encoder is taken.

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
    config = read_config(folder)
    config.use_cache = False
    if type(config) in AutoModelForTextEncoding._model_mapping:
        kind = AutoModelForTextEncoding
    elif config.is_encoder_decoder:
        raise InputError(
            f"transformers has no class for the encoder of a {config.model_type}, which {folder} "
            "holds: choose another network."
        )
    else:
        kind = AutoModel
    module = load_pretrained(kind, folder, config, UNUSED)
    tokenizer = _load_tokenizer(folder)
    require_vocabulary(tokenizer.backend_tokenizer, module.config.vocab_size, folder)
    lengths = (tokenizer.model_max_length, _longest(module))
    longest = min(length for length in lengths if length is not None)
    return TextNetwork(module, FastTokenizer(tokenizer.backend_tokenizer), longest, _blocks(module))


def load_joint_text(folder: Path) -> TextNetwork:
    """Load the text tower of a CLIP or SigLIP, whose output is its embedding and nothing else."""
    from conceptrsa.analysis.models.networks.clip_text import SiglipTokenizer

    whole = read_config(folder)
    config = whole.text_config
    tokenizer = read_tokenizer(folder / TOKENIZER, config.vocab_size)
    longest = config.max_position_embeddings
    if whole.model_type == SIGLIP:
        module = _Pooled(load_pretrained(SiglipTextModel, folder, config))
        reads: Any = SiglipTokenizer(tokenizer, longest)
    else:
        config.projection_dim = whole.projection_dim
        module = load_pretrained(CLIPTextModelWithProjection, folder, config)
        reads = FastTokenizer(tokenizer)
    return TextNetwork(module, reads, longest, _blocks(module), TEXT_EMBEDDING)


class _Pooled(nn.Module):
    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower, self.config = tower, tower.config

    def forward(self, ids: Tensor) -> Tensor:
        pooled: Tensor = self.tower(input_ids=ids).pooler_output
        return pooled


def read_config(source: Path, name: str = "") -> Any:
    """Read a configuration, or that of a folder, of the network `name`."""
    of = f" of {name}" if name else ""
    what = f"{source}{of} does not describe a network of transformers"
    with quiet(), library_errors(what, "choose another one"):
        return AutoConfig.from_pretrained(source, **LOCAL)


def load_pretrained(kind: Any, folder: Path, config: Any, unused: str | None = None) -> Any:
    """Load a network of which the folder must hold every tensor; what else it holds is ignored.

    Parameters
    ----------
    kind : class of transformers
    folder : Path
    config : configuration of transformers
    unused : str, optional
        Tensors whose names begin so may be missing.

    Raises
    ------
    InputError
        No weights as safetensors, or not all of them.
    """
    what = f"the safetensors in {folder} cannot be loaded as a {config.model_type}"
    with quiet(), library_errors(what, "fetch them again"):
        module, report = kind.from_pretrained(
            folder, config=config, use_safetensors=True, output_loading_info=True, **LOCAL
        )
    names = map(str, (*report["missing_keys"], *report["mismatched_keys"]))
    lacking = sorted(name for name in names if unused is None or not name.startswith(unused))
    if lacking:
        raise InputError(
            f"{folder} does not hold all weights of a {type(module).__name__}: {len(lacking)} are "
            f"missing or of another shape, the first {', '.join(lacking[:3])}."
        )
    return module.float().eval()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing progress and what is checked here."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _load_tokenizer(folder: Path) -> Any:
    what = f"{folder} has no readable tokenizer"
    with library_errors(what, "put the files of the tokenizer there"):
        tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
    # Without any file transformers makes a tokenizer that reads every word as unknown.
    names = {TOKENIZER, *tokenizer.vocab_files_names.values()}
    if not tokenizer.is_fast or not any((folder / name).is_file() for name in names):
        raise InputError(
            f"{folder} has no tokenizer that maps tokens to the text: put a tokenizer.json there."
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
