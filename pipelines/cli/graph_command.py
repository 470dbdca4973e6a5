"""`conceptrsa graph OUT_FILE`: the nipype graph, from a data set or without one."""

import argparse
from pathlib import Path
from typing import Any

from conceptrsa.pipelines.cli.shared_options import (
    add_dataset_options,
    add_engine_options,
    add_ignore_option,
    require_fitting,
)

KINDS = ("orig", "hierarchical", "flat", "colored", "exec")


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "graph",
        help="the nipype graph, from a data set or without one",
        description="Draw the workflow of a subject. OUT_FILE ends in .svg, .png, .pdf or .dot; "
        "all but .dot need Graphviz.",
    )
    parser.add_argument("out_file", type=Path, metavar="OUT_FILE")
    parser.add_argument("--bids-dir", type=Path, metavar="DIR", help="draw its first subject's")
    parser.add_argument("--participant-label", metavar="LABEL", help="draw this one's")
    parser.add_argument("--kind", choices=KINDS, default="colored", help="default: colored")
    add_ignore_option(parser, ("slicetiming",))
    add_engine_options(parser)
    add_dataset_options(parser, "none; needed with --bids-dir")
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from dataclasses import replace

    from conceptrsa.pipelines.cli.dataset_option import participant_config
    from conceptrsa.pipelines.graph import example_settings, write_graph

    require_fitting(args)
    # Without data an example is drawn, which the demo's describes as well as any.
    given = args.dataset_config or (None if args.bids_dir else "demo")
    config = participant_config(given)
    if args.pooling:
        config = replace(config, glm=replace(config.glm, pooling=args.pooling))
    settings = example_settings(
        config, args.engine, args.run_model, args.normalization, args.roi_source
    )
    written = write_graph(
        args.out_file,
        config,
        settings,
        args.kind,
        args.bids_dir,
        args.participant_label,
        frozenset(args.ignore),
    )
    print(written)
    return 0
