"""`conceptrsa atlases`: what `--atlas` takes by name."""

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "atlases",
        help="the atlases that --atlas takes by name: space, regions, licence, whether here",
        description="Lists the atlases that 'conceptrsa compare --atlas NAME' takes. What is not "
        "here is downloaded once by nilearn, into ~/nilearn_data or $NILEARN_DATA.",
    )
    parser.set_defaults(function=run_atlases)


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
