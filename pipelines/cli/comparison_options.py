"""What the command line says about a comparison: its settings, and which networks."""

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


@dataclass(frozen=True)
class NetworkOptions:
    """Which networks, where their weights are, and what is taken of them.

    Attributes
    ----------
    models : tuple of str
        Names in 'conceptrsa models', 'paper' for the sixteen of the paper, or a library's model:
        torchvision:NAME, timm:NAME, open_clip:NAME/TAG, open_clip_text:NAME/TAG, hf:ORG/NAME,
        hf_text:ORG/NAME; NAME@LAYER takes another layer (default: those whose weights come inside
        packages, or are named by --weights or --weights-dir).
    weights : tuple of str
        File, or folder of files, of a network's weights.
    weights_dir : Path, optional
        Folder of files of weights.
    offline : bool
        Never download (default: $CONCEPTRSA_OFFLINE); downloads are kept in $CONCEPTRSA_WEIGHTS,
        else in the user's cache folder.
    accept_unverified_weights : bool
        Take files that are not the ones that the registry names; the features' origin and note
        say so.
    registry : tuple of Path
        Further networks, as docs/models.md tells.
    layers : tuple of str
        Layers of every network by name, 'all', or 'blocks' for the outputs of its blocks; each
        becomes a model NAME@LAYER (default: the one that the registry names).
    layer_pooling : {'mean', 'flatten', 'first-token'}, optional
        Of a layer that sees pictures: mean over space or all tokens, all values, or the class
        token (default: the registry's, mean).
    text_pooling : {'mean', 'first-token', 'last-token', 'label-token'}, optional
        Of a layer that reads texts: mean over the tokens, the first, the last, or the first one of
        the label (default: the registry's).
    prompt : str, optional
        What language models read, with {label} in place of a stimulus' label; 'related-code' is
        that of the code that the paper's authors published for another study, with a full stop
        (default: the configuration's, which is the paper's, 'a photo of {label}').
    device : {'cpu', 'cuda', 'mps'}
        What they run on.
    half_precision : bool
        Run networks that were trained in half precision so, on cuda and mps.
    batch_size : int, optional
        Pictures at once (default: 1 on the CPU, 32 elsewhere).
    cache_dir : Path, optional
        Where features are kept (default: the user's cache folder).
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
    """What the command line says about a comparison.

    Attributes
    ----------
    stimuli : Path, optional
        Pictures named <stimulus>.<ext>, with labels.tsv (stimulus, label) for language models,
        which are left out where there are no labels; the report shows both. With --features only
        that.
    features : Path, optional
        Features or RDMs in place of networks: a folder with <model>.npz, .tsv, .csv or .npy, and if
        wished models.tsv (model, group); or the file of one model.
    check_paper : bool
        Hold voxel counts, ceilings and peaks against the numbers that the paper published, in
        group/published_check.tsv; with --preset paper and the paper's betas.
    part : str, optional
        Compute part K of N of the regions only, as one of N jobs on a cluster, and keep them in
        OUT_DIR/group; the same command without it joins them.
    chosen : mapping
        The settings that were given.
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
        """The preset that was asked for with what was asked to be different."""
        return settings_for(**self.chosen)


def add_comparison_options(parser: argparse.ArgumentParser) -> None:
    """Add what the comparison of models and brain can be told."""
    group = parser.add_argument_group("comparison")
    add_options(group, ComparisonOptions)
    add_options(group, ComparisonSettings)
    # Of older versions; standard errors no longer come from bootstraps.
    group.add_argument("--n-bootstraps", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    add_network_options(parser)


def share_given(args: argparse.Namespace) -> Share:
    """Take what of the machine the comparison may use: all, unless something was given."""
    there = share_of_machine()
    given = given_options(ParticipantOptions, args)
    memory = given["memory_mb"] * 1_000_000 if "memory_mb" in given else there.memory
    return Share(given.get("n_procs", there.n_processors), memory)


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add which networks, where their weights are, and what is taken of them."""
    group = parser.add_argument_group("networks")
    for part in ("models", "weights", "extraction"):
        add_options(group, NetworkOptions, part)


def read_comparison_options(args: argparse.Namespace) -> ComparisonOptions:
    """Take what was given of the options of `add_comparison_options`."""
    return ComparisonOptions(
        **given_options(ComparisonOptions, args),
        chosen=given_options(ComparisonSettings, args),
        networks=NetworkOptions(**given_options(NetworkOptions, args)),
    )
