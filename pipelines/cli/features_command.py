"""`conceptrsa features`: features of stimuli, cached."""

import argparse
from pathlib import Path
from typing import Any

from conceptrsa.pipelines.cli.network_options import add_network_options
from conceptrsa.pipelines.cli.shared_options import add_dataset_options


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "features",
        help="features of stimuli, cached",
        description="Features of every picture in STIMULI_DIR by every model, as tables that "
        "'conceptrsa compare --features' reads.",
    )
    parser.add_argument("stimuli_dir", type=Path, metavar="STIMULI_DIR")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR")
    add_dataset_options(parser, "none; labels are those of labels.tsv")
    add_network_options(parser)
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from conceptrsa.analysis.models.feature_files import write_features
    from conceptrsa.bids_config import load_dataset_config
    from conceptrsa.bids_config.schema import StimuliConfig
    from conceptrsa.pipelines.cli.networks import network_run, read_labelled_stimuli
    from conceptrsa.pipelines.execution.output_folders import (
        Input,
        require_no_other_data_set,
        require_separate,
        require_writable,
    )

    inputs = [
        Input("STIMULI_DIR", args.stimuli_dir, "files"),
        Input("--weights-dir", args.weights_dir, "files"),
    ]
    require_separate(args.out_dir, inputs)
    require_no_other_data_set(args.out_dir)
    require_writable(args.out_dir)
    config = StimuliConfig()
    if args.dataset_config is not None:
        config = load_dataset_config(args.dataset_config).stimuli
    stimuli = read_labelled_stimuli(args.stimuli_dir, config)
    networks, notes = network_run(args, config).without_labels(stimuli)
    features = networks.features(stimuli)
    write_features(features, args.out_dir)
    for note in notes:
        print(f"note: {note}")
    print(f"{len(features)} models x {len(stimuli)} stimuli: {args.out_dir}")
    return 0
