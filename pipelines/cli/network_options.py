"""Options about networks that several commands share."""

import argparse
import os
from pathlib import Path
from typing import get_args

from conceptrsa.analysis.models.extraction import (
    PROMPT,
    Device,
    PicturePooling,
    TextPooling,
)
from conceptrsa.pipelines.cli.shared_options import positive

WEIGHTS_VARIABLE = "CONCEPTRSA_WEIGHTS"
OFFLINE_VARIABLE = "CONCEPTRSA_OFFLINE"


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add which networks, where their weights are, and what is taken of them."""
    group = parser.add_argument_group("networks")
    _add_models(group)
    add_weights_options(group)
    add_extraction_options(group)


def add_extraction_options(group: argparse._ArgumentGroup) -> None:
    """Add which layers are taken of networks, and how they are run."""
    _add_layers(group)
    group.add_argument(
        "--device", choices=get_args(Device), default="cpu", help="what they run on (default: cpu)"
    )
    group.add_argument(
        "--half-precision", action="store_true",
        help="run networks that were trained in half precision so, on cuda and mps",
    )  # fmt: skip
    group.add_argument(
        "--batch-size", type=positive, metavar="N",
        help="pictures at once (default: 1 on the CPU, 32 elsewhere)",
    )  # fmt: skip
    group.add_argument(
        "--cache-dir", type=Path, metavar="DIR",
        help="where features are kept (default: the user's cache folder)",
    )  # fmt: skip


def _add_models(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--models", nargs="+", metavar="NAME",
        help="names in 'conceptrsa models', 'paper' for the sixteen of the paper, or a library's "
        "model: torchvision:NAME, timm:NAME, open_clip:NAME/TAG, open_clip_text:NAME/TAG, "
        "hf:ORG/NAME, hf_text:ORG/NAME; NAME@LAYER takes another layer (default: those whose "
        "weights come inside packages, or are named by --weights or --weights-dir)",
    )  # fmt: skip


def _add_layers(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--layers", nargs="+", default=(), metavar="LAYER",
        help="layers of every network by name, 'all', or 'blocks' for the outputs of its blocks; "
        "each becomes a model NAME@LAYER (default: the one that the registry names)",
    )  # fmt: skip
    group.add_argument(
        "--layer-pooling", choices=get_args(PicturePooling),
        help="of a layer that sees pictures: mean over space or all tokens, all values, or the "
        "class token (default: the registry's, mean)",
    )  # fmt: skip
    group.add_argument(
        "--text-pooling", choices=get_args(TextPooling),
        help="of a layer that reads texts: mean over the tokens, the first, the last, or the first "
        "one of the label (default: the registry's)",
    )  # fmt: skip
    group.add_argument(
        "--prompt", metavar="TEXT",
        help="what language models read, with {label} in place of a stimulus' label; "
        "'related-code' is that of the code that the paper's authors published for another study, "
        f"with a full stop (default: the configuration's, which is the paper's, '{PROMPT}')",
    )  # fmt: skip


def add_weights_options(group: argparse._ActionsContainer, given_before: bool = False) -> None:
    """Add where weights and registries are.

    Where they may have been `given_before`, to the command that this one is part of, what is not
    given here stays as it is.
    """
    actions = [
        group.add_argument(
            "--weights", nargs="+", action="extend", default=[], metavar="NAME=PATH",
            help="file, or folder of files, of a network's weights",
        ),
        group.add_argument(
            "--weights-dir", type=Path, metavar="DIR", help="folder of files of weights"
        ),
        group.add_argument(
            "--offline", action="store_true", default=bool(os.environ.get(OFFLINE_VARIABLE)),
            help=f"never download (default: ${OFFLINE_VARIABLE}); downloads are kept in "
            f"${WEIGHTS_VARIABLE}, else in the user's cache folder",
        ),
        group.add_argument(
            "--accept-unverified-weights", action="store_true",
            help="take files that are not the ones that the registry names; the features' origin "
            "and note say so",
        ),
        group.add_argument(
            "--registry", nargs="+", type=Path, default=(), metavar="FILE",
            help="further networks, as docs/models.md tells",
        ),
    ]  # fmt: skip
    for action in actions if given_before else ():
        action.default = argparse.SUPPRESS
