"""`conceptrsa features` and `conceptrsa models`: networks without a brain."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from conceptrsa.pipelines.cli.comparison_options import NetworkOptions, add_network_options
from conceptrsa.pipelines.cli.data_options import add_dataset_options
from conceptrsa.pipelines.cli.parser import add_options, given_options


def add_parser(commands: Any) -> None:
    """Declare the commands."""
    _add_features(commands)
    _add_models(commands)


def _add_features(commands: Any) -> None:
    parser = commands.add_parser(
        "features",
        help="extract features of stimuli from networks",
        description="Extracts features of every picture in STIMULI_DIR from every model, and "
        "writes tables that 'conceptrsa compare --features' reads.",
        everyday=("--models", "--layers", "--weights-dir", "--offline", "--device"),
        examples=(
            "conceptrsa features stimuli features",
            "conceptrsa features stimuli features --models CLIP timm:vit_base_patch16_224",
            "conceptrsa features stimuli features --models timm:resnet50 --layers blocks",
        ),
    )
    parser.add_argument(
        "stimuli_dir", type=Path, metavar="STIMULI_DIR", help="read pictures from this folder"
    )
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="write features here")
    add_dataset_options(parser, "none; labels are read from labels.tsv")
    add_network_options(parser)
    parser.set_defaults(function=run_features)


def _add_models(commands: Any) -> None:
    parser = commands.add_parser(
        "models",
        help="list the networks by name, or try one",
        description="Lists the networks that have names here: group, whether the weights are "
        "present, source and licence. 'conceptrsa models check NAME' tries one network, from any "
        "source, on one picture, and reports its features, time and memory.",
        everyday=("--weights-dir", "--offline"),
        examples=(
            "conceptrsa models",
            "conceptrsa models check CLIP",
            "conceptrsa models check timm:vit_base_patch16_224 --layers blocks",
        ),
    )
    add_options(parser.add_argument_group("networks"), NetworkOptions, "weights")
    parser.set_defaults(function=run_models)
    checks = parser.add_subparsers(metavar="check NAME", title="try one network")
    check = checks.add_parser("check", help="load the network and show it one picture")
    check.add_argument("name", metavar="NAME", help="model, as for --models")
    check.add_argument(
        "--picture", type=Path, metavar="FILE", help="show this picture (default: a drawn one)"
    )
    group = check.add_argument_group("networks")
    # An option that is not given here keeps the value given before 'check'.
    add_options(group, NetworkOptions, "weights", default=argparse.SUPPRESS)
    add_options(group, NetworkOptions, "extraction")
    check.set_defaults(function=run_check)


def run_features(args: argparse.Namespace) -> int:
    """Write the features of stimuli."""
    from conceptrsa.analysis.models.feature_files import write_features
    from conceptrsa.bids_config import load_dataset_config
    from conceptrsa.bids_config.schema import StimuliConfig
    from conceptrsa.pipelines.cli.network_choice import network_run, read_labelled_stimuli
    from conceptrsa.pipelines.execution.output_folders import (
        Input,
        require_no_other_data_set,
        require_separate,
        require_writable,
    )

    options = NetworkOptions(**given_options(NetworkOptions, args))
    inputs = [
        Input("STIMULI_DIR", args.stimuli_dir, "files"),
        Input("--weights-dir", options.weights_dir, "files"),
    ]
    require_separate(args.out_dir, inputs)
    require_no_other_data_set(args.out_dir)
    require_writable(args.out_dir)
    config = StimuliConfig()
    if args.dataset_config is not None:
        config = load_dataset_config(args.dataset_config).stimuli
    stimuli = read_labelled_stimuli(args.stimuli_dir, config)
    networks, notes = network_run(options, config).without_labels(stimuli)
    n_models = write_features(networks.features(stimuli), args.out_dir)
    for note in notes:
        print(f"note: {note}")
    print(f"{n_models} models x {len(stimuli)} stimuli: {args.out_dir}")
    return 0


def run_models(args: argparse.Namespace) -> int:
    """Print the networks as a table."""
    from rich.console import Console
    from rich.table import Table

    from conceptrsa.analysis.models.weights.places import weights_present
    from conceptrsa.analysis.models.zoo import read_zoo
    from conceptrsa.pipelines.cli.network_choice import weights_options

    options = NetworkOptions(**given_options(NetworkOptions, args))
    weights = weights_options(options)
    table = Table("model", "group\nweights", "layer; source; licence; note", show_lines=True)
    for column in table.columns[:2]:
        column.no_wrap = True
    table.columns[2].overflow = "fold"
    for entry in read_zoo(options.registry).entries:
        there = "present" if weights_present(entry, weights) else "missing"
        layer = f"{entry.network.layer}: {entry.network.n_features} features"
        about = "\n".join(filter(None, [layer, entry.source, entry.licence, entry.full_note]))
        table.add_row(entry.name, f"{entry.group}\n{there}", about)
    Console().print(table)
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Try one network."""
    from conceptrsa.analysis.models.features import find_entry
    from conceptrsa.analysis.models.trial import try_model
    from conceptrsa.analysis.models.zoo import split_layer
    from conceptrsa.pipelines.cli.network_choice import network_run

    name, layer = split_layer(args.name)
    options = NetworkOptions(**given_options(NetworkOptions, args))
    layers = (*options.layers, *filter(None, [layer]))
    asked = network_run(replace(options, models=(args.name,), layers=layers))
    entry = find_entry(name, asked.zoo, asked.cache_dir, asked.weights)
    trial = try_model(entry, asked.weights, asked.settings, args.picture)
    print(f"{entry.name} ({entry.group}): {entry.network.architecture}; {entry.source}")
    for file in trial.files:
        size = file.path.stat().st_size / 1e6
        print(f"weights: {file.path}, {size:.1f} MB, SHA-256 {file.sha256} ({file.origin})")
    for layer, length in trial.features.items():
        print(f"layer {layer}: {length} features")
    print(
        f"loaded in {trial.seconds_to_load:.2f} s, one stimulus in {trial.seconds_to_run:.2f} s, "
        f"peak memory {trial.peak_megabytes:.0f} MB"
    )
    return 0
