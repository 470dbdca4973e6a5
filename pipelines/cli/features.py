"""`conceptrsa features`: features of stimuli, cached."""

import argparse
from pathlib import Path
from typing import Any

from pipelines.cli.options import add_dataset_options, default_cache_dir


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
    parser.add_argument("--models", nargs="+", metavar="NAME", help="default: all that are there")
    add_dataset_options(parser)
    parser.add_argument("--cache-dir", type=Path, metavar="DIR")
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from analysis.models.feature_files import write_features
    from analysis.models.features import extract_features
    from bids_config import load_dataset_config
    from pipelines.cli.comparison import choose_models, read_labelled_stimuli
    from pipelines.requirements import require_writable

    require_writable(args.out_dir)
    config = load_dataset_config(args.dataset_config)
    stimuli = read_labelled_stimuli(args.stimuli_dir, config)
    models = choose_models(args.models)
    cache = args.cache_dir or default_cache_dir()
    features = extract_features(stimuli, models, cache, config.stimuli.prompt)
    write_features(features, args.out_dir)
    print(f"{len(features)} models x {len(stimuli)} stimuli: {args.out_dir}")
    return 0
