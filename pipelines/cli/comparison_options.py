"""Options of a comparison, as the command line gives them: settings and networks."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conceptrsa.analysis.models.extraction_settings import Device, PicturePooling, TextPooling
from conceptrsa.analysis.settings import ComparisonSettings, settings_for
from conceptrsa.bids_config.machine import Share, share_of_machine
from conceptrsa.pipelines.cli.parser import add_options, given_options
from conceptrsa.pipelines.participant_options import ParticipantOptions, option

WEIGHTS_VARIABLE = "CONCEPTRSA_WEIGHTS"
PAPER = "paper"
"""Name that stands for the sixteen networks of the paper."""


@dataclass(frozen=True)
class NetworkOptions:
    """Which networks, where their weights are, and which features are taken.

    Attributes
    ----------
    models : tuple of str
        Compare these models: names that 'conceptrsa models' lists, paper for the paper's sixteen,
        or torchvision:NAME, timm:NAME, open_clip:NAME/TAG, open_clip_text:NAME/TAG, hf:ORG/NAME or
        hf_text:ORG/NAME; NAME@LAYER takes another layer (default: models whose weights are
        packaged, or given by --weights or --weights-dir).
    weights : tuple of str
        Read a network's weights from this file, or folder of files.
    weights_dir : Path, optional
        Look for files of weights in this folder.
    offline : bool
        Never download weights (default: $CONCEPTRSA_OFFLINE). Downloads are kept in
        $CONCEPTRSA_WEIGHTS, else in the user's cache folder.
    accept_unverified_weights : bool
        Accept files of weights other than those in the registry; the features' origin and note
        record it.
    registry : tuple of Path
        Add the networks that these TOML files describe (docs/models.md).
    layers : tuple of str
        Take these layers of every network: names, all, or blocks for the output of each block. Each
        becomes a model NAME@LAYER (default: the registry's layer).
    layer_pooling : {'mean', 'flatten', 'first-token'}, optional
        Reduce a layer of a vision network to its mean over space or tokens, all values, or the
        class token (default: the registry's, else mean).
    text_pooling : {'mean', 'first-token', 'last-token', 'label-token'}, optional
        Reduce a layer of a language model to the mean over tokens, the first, the last, or the
        first token of the label (default: the registry's).
    prompt : str, optional
        Give language models this text, with {label} for a stimulus' label; related-code takes the
        prompt in code that the paper's authors published for another study (default: the
        configuration's, else 'a photo of {label}', as in the paper).
    device : {'cpu', 'cuda', 'mps'}
        Run networks on this device.
    half_precision : bool
        On cuda and mps, run networks that were trained in half precision in half precision.
    batch_size : int, optional
        Show a network this many pictures at once (default: 1 on the CPU, 32 elsewhere).
    cache_dir : Path, optional
        Keep features in this folder (default: the user's cache folder).
    """

    models: tuple[str, ...] = option((), "models")
    weights: tuple[str, ...] = option((), "weights", metavar="NAME=PATH", repeatable=True)
    weights_dir: Path | None = option(None, "weights")
    offline: bool = option(False, "weights", environment="CONCEPTRSA_OFFLINE")
    accept_unverified_weights: bool = option(False, "weights")
    registry: tuple[Path, ...] = option((), "weights")
    layers: tuple[str, ...] = option((), "extraction", metavar="LAYER")
    layer_pooling: PicturePooling | None = option(None, "extraction")
    text_pooling: TextPooling | None = option(None, "extraction")
    prompt: str | None = option(None, "extraction", metavar="TEXT")
    device: Device = option("cpu", "extraction")
    half_precision: bool = option(False, "extraction")
    batch_size: int | None = option(None, "extraction")
    cache_dir: Path | None = option(None, "extraction")


@dataclass(frozen=True)
class ComparisonOptions:
    """Options of a comparison, as the command line gives them.

    Attributes
    ----------
    stimuli : Path, optional
        Show networks the pictures in this folder, named <stimulus>.<ext>. Language models read
        the labels in its labels.tsv (stimulus, label); without it they are left out. The report
        shows both; with --features they are used for that alone.
    features : Path, optional
        Compare these features or RDMs instead of networks: one model's file, or a folder of
        <model>.npz, .tsv, .csv or .npy, optionally with models.tsv (model, group).
    check_paper : bool
        Compare voxel counts, ceilings and peaks with the numbers published in the paper, and write
        group/published_check.tsv; needs --preset paper and the paper's betas.
    part : str, optional
        Compute only part K of N of the regions, as one of N jobs on a cluster. When all are done,
        the same command without --part joins them.
    chosen : mapping
        Settings that were given.
    networks : NetworkOptions
    """

    stimuli: Path | None = field(default=None, metadata={"metavar": "DIR"})
    features: Path | None = field(default=None, metadata={"metavar": "PATH"})
    check_paper: bool = False
    part: str | None = field(default=None, metadata={"metavar": "K/N"})
    chosen: Mapping[str, Any] = field(default_factory=dict, metadata={"option": False})
    networks: NetworkOptions = field(default_factory=NetworkOptions, metadata={"option": False})

    @property
    def settings(self) -> ComparisonSettings:
        """Give the preset with the settings that were changed."""
        return settings_for(**self.chosen)


def add_comparison_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a comparison of models and brain."""
    group = parser.add_argument_group("comparison")
    add_options(group, ComparisonOptions)
    add_options(group, ComparisonSettings)
    # Accepted from older versions; standard errors no longer come from bootstraps.
    group.add_argument("--n-bootstraps", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    add_network_options(parser)


def share_given(args: argparse.Namespace) -> Share:
    """Give the share of the machine that the comparison may use: all, unless options say less."""
    there = share_of_machine()
    given = given_options(ParticipantOptions, args)
    memory = given["memory_mb"] * 1_000_000 if "memory_mb" in given else there.memory
    return Share(given.get("n_procs", there.n_processors), memory)


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add the options on networks, their weights and the features that are taken."""
    group = parser.add_argument_group("networks")
    for part in ("models", "weights", "extraction"):
        add_options(group, NetworkOptions, part)


def read_comparison_options(args: argparse.Namespace) -> ComparisonOptions:
    """Read the options of `add_comparison_options` that were given."""
    return ComparisonOptions(
        **given_options(ComparisonOptions, args),
        chosen=given_options(ComparisonSettings, args),
        networks=NetworkOptions(**given_options(NetworkOptions, args)),
    )
