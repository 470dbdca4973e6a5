"""`conceptrsa models`: the zoo as a table, and a trial of one network."""

import argparse
from pathlib import Path
from typing import Any

from conceptrsa.pipelines.cli.network_options import add_extraction_options, add_weights_options


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "models",
        help="the networks: group, weights present or not, where they come from, licence; and a "
        "trial of one",
        description="Lists the zoo. 'conceptrsa models check NAME' loads one network, shows it one "
        "picture, and says what came out, how long it took and how much memory.",
    )
    add_weights_options(parser.add_argument_group("networks"))
    parser.set_defaults(function=run)
    checks = parser.add_subparsers(metavar="check NAME", title="a trial of one network")
    check = checks.add_parser("check", help="load it, show it one picture, say what came out")
    check.add_argument("name", metavar="NAME")
    check.add_argument("--picture", type=Path, metavar="FILE", help="default: a drawn one")
    group = check.add_argument_group("networks")
    add_weights_options(group, given_before=True)
    add_extraction_options(group)
    check.set_defaults(function=run_check)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    from conceptrsa.analysis.models.weights.places import weights_present
    from conceptrsa.analysis.models.zoo import read_zoo
    from conceptrsa.pipelines.cli.networks import weights_options

    weights = weights_options(args)
    table = Table("model", "group\nweights", "layer; source; licence; note", show_lines=True)
    for column in table.columns[:2]:
        column.no_wrap = True
    table.columns[2].overflow = "fold"
    for entry in read_zoo(args.registry).entries:
        there = "present" if weights_present(entry, weights) else "missing"
        layer = f"{entry.network.layer}: {entry.network.n_features} features"
        about = "\n".join(filter(None, [layer, entry.source, entry.licence, entry.full_note]))
        table.add_row(entry.name, f"{entry.group}\n{there}", about)
    Console().print(table)
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Try one network."""
    from conceptrsa.analysis.models.check import try_model
    from conceptrsa.analysis.models.features import find_entry
    from conceptrsa.analysis.models.zoo import split_layer
    from conceptrsa.pipelines.cli.networks import network_run

    args.models = [args.name]
    name, layer = split_layer(args.name)
    args.layers = (*args.layers, *filter(None, [layer]))
    asked = network_run(args)
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
