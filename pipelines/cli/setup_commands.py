"""`conceptrsa init` and `conceptrsa atlases`: how a new study begins."""

import argparse
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.errors import InputError


def add_parser(commands: Any) -> None:
    """Declare the commands."""
    _add_init(commands)
    _add_atlases(commands)


def _add_init(commands: Any) -> None:
    parser = commands.add_parser(
        "init",
        help="write a first configuration for your data set",
        description="Writes a commented configuration from the tasks, events and stimuli of a raw "
        "BIDS data set, or from the subjects, grids and regions of betas. Guesses are marked with "
        "CHECK.",
        examples=(
            "conceptrsa init bids study.toml",
            "conceptrsa init betas --atlas destrieux",
            "conceptrsa init glmsingle study.toml --trials trials.tsv",
        ),
    )
    parser.add_argument("data", type=Path, metavar="BIDS_OR_BETAS", help="read these data")
    parser.add_argument(
        "out_file", type=Path, nargs="?", metavar="OUT.toml", help="write here (default: print it)"
    )
    parser.add_argument(
        "--atlas",
        metavar="NAME_OR_FILE",
        help="for betas: list the labels of this atlas as regions",
    )
    parser.add_argument(
        "--atlas-labels", type=Path, metavar="FILE", help="read the atlas' labels from this table"
    )
    parser.add_argument(
        "--trials",
        type=Path,
        metavar="FILE",
        help="for GLMsingle and NSD: read stimuli from this file, as for compare",
    )
    parser.set_defaults(function=run_init)


def _add_atlases(commands: Any) -> None:
    parser = commands.add_parser(
        "atlases",
        help="list the atlases that --atlas takes by name",
        description="Lists the atlases that 'conceptrsa compare --atlas NAME' takes: space, "
        "regions, licence, and whether they are on this machine. nilearn downloads others once, "
        "into ~/nilearn_data or $NILEARN_DATA.",
    )
    parser.set_defaults(function=run_atlases)


def run_init(args: argparse.Namespace) -> int:
    """Write or print a configuration."""
    from conceptrsa.analysis.betas.named_atlases import find_atlas
    from conceptrsa.bids_config.writing import write_text
    from conceptrsa.pipelines.initial_config import initial_config

    if args.out_file is not None and args.out_file.exists():
        raise InputError(f"{args.out_file} already exists: give another name, or move it away")
    atlas = find_atlas(args.atlas, args.atlas_labels) if args.atlas else None
    text = initial_config(args.data, atlas, args.trials)
    if args.out_file is None:
        print(text, end="")
        return 0
    write_text(args.out_file, text)
    marked = text.count("# CHECK:")
    print(f"{args.out_file}" + (f": {marked} guesses are marked with CHECK" if marked else ""))
    return 0


def run_atlases(_: argparse.Namespace) -> int:
    """Print the atlases."""
    from conceptrsa.analysis.betas.named_atlases import atlas_families

    kinds = {"dseg": "", "probseg": " (probability maps)", "weights": " (weight maps)"}
    for family in atlas_families():
        numbers = ", ".join(map(str, family.regions))
        here = [atlas.regions[0] for atlas in family.members if atlas.is_here()]
        where = "on this machine" if len(here) == len(family.regions) else "will be downloaded"
        if 0 < len(here) < len(family.regions):
            where += f" (on this machine: {', '.join(map(str, here))})"
        is_family = len(family.regions) > 1
        print(family.name.format(n="N") + (f" with N = {numbers}" if is_family else ""))
        regions = f"{'N' if is_family else numbers} regions{kinds[family.kind]}"
        print(f"    {family.space}; {regions}; {family.source}; {where}")
        print(f"    licence: {family.licence}; cite {family.citation}")
    return 0
