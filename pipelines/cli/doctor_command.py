"""`conceptrsa doctor`: what is installed and what is missing for each use."""

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "doctor", help="what is installed and what is missing, and how to get it"
    )
    parser.add_argument(
        "--spm-command", metavar="COMMAND", help="look at this command (default: $SPMMCRCMD)"
    )
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from conceptrsa.pipelines.doctor import check_all, describe

    print(describe(check_all(args.spm_command)))
    return 0
