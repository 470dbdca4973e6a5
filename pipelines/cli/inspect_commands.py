"""`conceptrsa graph OUT_FILE` and `conceptrsa doctor`: inspect the steps and the programs."""

import argparse
from pathlib import Path
from typing import Any

from conceptrsa.pipelines.cli.data_options import (
    add_dataset_options,
    add_ignore_option,
    participant_config,
)
from conceptrsa.pipelines.cli.parser import given_options
from conceptrsa.pipelines.cli.run_command import add_engine_options, require_fitting
from conceptrsa.pipelines.participant_options import ParticipantOptions

KINDS = ("orig", "hierarchical", "flat", "colored", "exec")


def add_parser(commands: Any) -> None:
    """Declare the commands."""
    _add_graph(commands)
    _add_doctor(commands)


def _add_graph(commands: Any) -> None:
    parser = commands.add_parser(
        "graph",
        help="draw the nipype graph of a subject, with or without a data set",
        description="Draws the nipype workflow of a subject. OUT_FILE ends in .svg, .png, .pdf or "
        ".dot; all but .dot need Graphviz.",
        everyday=("--bids-dir", "--participant-label", "--kind", "--engine", "--normalization"),
        examples=(
            "conceptrsa graph graph.svg",
            "conceptrsa graph graph.svg --engine spm --normalization freesurfer",
            "conceptrsa graph graph.png --bids-dir bids --dataset-config study.toml",
        ),
    )
    parser.add_argument("out_file", type=Path, metavar="OUT_FILE", help="write the drawing here")
    parser.add_argument(
        "--bids-dir",
        type=Path,
        metavar="DIR",
        help="draw the graph of this data set's first subject (default: of an example)",
    )
    parser.add_argument(
        "--participant-label", metavar="LABEL", help="draw the graph of this subject instead"
    )
    parser.add_argument(
        "--derivatives", dest="derivatives_dir", type=Path, metavar="DIR",
        help="draw the graph for these fMRIPrep derivatives of --bids-dir",
    )  # fmt: skip
    parser.add_argument(
        "--space", metavar="SPACE", help="use fMRIPrep's runs in this space, as for run"
    )
    parser.add_argument(
        "--atlas",
        type=Path,
        metavar="FILE",
        help="take regions from this label volume in that space, as for run",
    )
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default="colored",
        help="draw this kind of nipype graph (default: colored)",
    )
    add_ignore_option(parser, ("slicetiming",))
    add_engine_options(parser, ["engine"])
    add_dataset_options(parser, "none; needed with --bids-dir")
    parser.set_defaults(function=run_graph)


def _add_doctor(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor",
        help="check what is installed, and how to get what is missing",
        description="Lists which programs, packages and weights are installed, and how to get "
        "those that are missing.",
    )
    parser.add_argument(
        "--spm-command", metavar="COMMAND", help="check this SPM command (default: $SPMMCRCMD)"
    )
    parser.set_defaults(function=run_doctor)


def run_graph(args: argparse.Namespace) -> int:
    """Draw the graph."""
    from conceptrsa.pipelines.graph import example_settings, write_graph
    from conceptrsa.pipelines.participants import reading_of

    given = given_options(ParticipantOptions, args)
    require_fitting(given)
    options = ParticipantOptions(**given)
    # Without data an example is drawn, for which the demo's configuration is as good as any.
    config = participant_config(args.dataset_config or (None if args.bids_dir else "demo"))
    config = options.configured(config)
    written = write_graph(
        args.out_file,
        config,
        example_settings(config, options),
        args.kind,
        args.bids_dir,
        args.participant_label,
        reading_of(options, config),
    )
    print(written)
    return 0


def run_doctor(args: argparse.Namespace) -> int:
    """Print what is installed and what is missing."""
    from conceptrsa.pipelines.doctor import check_all, describe

    print(describe(check_all(args.spm_command)))
    return 0
