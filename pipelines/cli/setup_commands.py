"""`conceptrsa init` and `conceptrsa atlases`: where a study of one's own begins."""

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
        help="a first configuration for your data set, written from what is found in it",
        description="Writes a configuration with remarks, from the tasks, events and stimuli of a "
        "raw BIDS data set, or from the subjects, grids and regions of betas. Lines that were "
        "guessed are marked with CHECK.",
    )
    parser.add_argument("data", type=Path, metavar="BIDS_OR_BETAS")
    parser.add_argument(
        "out_file", type=Path, nargs="?", metavar="OUT.toml", help="default: it is printed"
    )
    parser.add_argument(
        "--atlas", metavar="NAME_OR_FILE", help="of betas: list the labels of this atlas as regions"
    )
    parser.add_argument("--atlas-labels", type=Path, metavar="FILE", help="its label table")
    parser.add_argument(
        "--trials", type=Path, metavar="FILE", help="of GLMsingle and NSD: as compare takes it"
    )
    parser.set_defaults(function=run_init)


def _add_atlases(commands: Any) -> None:
    parser = commands.add_parser(
        "atlases",
        help="the atlases that --atlas takes by name: space, regions, licence, whether here",
        description="Lists the atlases that 'conceptrsa compare --atlas NAME' takes. What is not "
        "here is downloaded once by nilearn, into ~/nilearn_data or $NILEARN_DATA.",
    )
    parser.set_defaults(function=run_atlases)


def run_init(args: argparse.Namespace) -> int:
    """Write or print a configuration."""
    from conceptrsa.analysis.betas.named_atlases import find_atlas
    from conceptrsa.bids_config.writing import write_text
    from conceptrsa.pipelines.initial_config import initial_config

    if args.out_file is not None and args.out_file.exists():
        raise InputError(f"{args.out_file} is there already: give another name, or move it away")
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

    kinds = {"dseg": "", "probseg": " (maps of probabilities)", "weights": " (maps of weights)"}
    for family in atlas_families():
        numbers = ", ".join(map(str, family.regions))
        here = [atlas.regions[0] for atlas in family.members if atlas.is_here()]
        where = "here" if len(here) == len(family.regions) else "to be downloaded"
        if 0 < len(here) < len(family.regions):
            where += f" (here: {', '.join(map(str, here))})"
        is_family = len(family.regions) > 1
        print(family.name.format(n="N") + (f" with N = {numbers}" if is_family else ""))
        regions = f"{'N' if is_family else numbers} regions{kinds[family.kind]}"
        print(f"    {family.space}; {regions}; {family.source}; {where}")
        print(f"    licence: {family.licence}; cite {family.citation}")
    return 0
