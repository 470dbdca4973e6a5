"""`conceptrsa models`: the zoo as a table."""

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "models",
        help="the networks: group, weights present or not, where they come from, licence",
    )
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from rich.console import Console
    from rich.table import Table

    from analysis.models.registry import available_models

    table = Table(show_lines=True)
    for column in ("model", "group", "weights"):
        table.add_column(column, no_wrap=True)
    table.add_column("source; licence; note", overflow="fold")
    for model in available_models():
        weights = "present" if model.weights_present else "missing"
        about = "\n".join(filter(None, [model.source, model.licence, model.note]))
        table.add_row(model.name, model.group, weights, about)
    Console().print(table)
    return 0
