"""`conceptrsa compare`: the comparison on betas from anywhere."""

import argparse
from pathlib import Path
from typing import Any

from bids_config.errors import InputError
from pipelines.cli.options import (
    add_comparison_options,
    add_dataset_options,
    add_selection_options,
)


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "compare",
        help="the comparison on supplied betas",
        description="The comparison on supplied betas: a derivatives folder of this tool, or the "
        "layout of the paper's published betas, sub-XX/<synset>_<image>*beta_00NN.nii, with "
        "--atlas.",
    )
    parser.add_argument("--betas", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--atlas", type=Path, metavar="FILE",
        help="label volume (aparc+aseg) in the grid of the betas; needed for the paper's layout",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="OUT_DIR")
    add_selection_options(parser)
    add_dataset_options(parser)
    add_comparison_options(parser)
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from analysis.betas.derivatives import read_derivatives
    from analysis.betas.paper_layout import read_paper_layout
    from bids_config import load_dataset_config
    from pipelines.cli.comparison import compare_with_models

    config = load_dataset_config(args.dataset_config)
    if not args.betas.is_dir():
        raise InputError(f"--betas {args.betas} is not a folder; give the one that holds sub-*")
    if args.atlas is not None:
        if args.participant_label or args.task_id:
            raise InputError(
                "--participant-label and --task-id choose among derivatives; with --atlas give "
                "--betas a folder of the subjects wanted"
            )
        patterns = read_paper_layout(args.betas, args.atlas, config.rois)
    elif any(args.betas.glob("sub-*/*beta_*.nii*")):
        raise InputError(
            f"{args.betas} has the layout of the paper's betas, which needs a label volume in the "
            "same grid: give it with --atlas FILE"
        )
    else:
        patterns = read_derivatives(
            args.betas, config.rois, participants=args.participant_label, task=args.task_id
        )
    return compare_with_models(patterns, config, args, args.out)
