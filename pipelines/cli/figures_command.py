"""`conceptrsa figures`: draw the figures of a finished comparison for a paper or slides."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conceptrsa.pipelines.cli.parser import whole_number

if TYPE_CHECKING:  # matplotlib is not needed for a command's --help
    from conceptrsa.analysis.results import ComparisonResult

STYLES = ("paper", "slides", "report")
FORMATS = ("svg", "pdf", "png", "tiff")
DPI = 300
UNITS_PER_INCH = {"mm": 25.4, "cm": 2.54, "in": 1.0}
NARROWEST_INCHES, WIDEST_INCHES = 2.0, 60.0


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "figures",
        help="draw the figures of a finished comparison again, for a paper or slides",
        description="Draws the figures of a finished comparison again from its tables alone, in "
        "the sizes, fonts and file formats of a paper or slides. Betas and networks are not "
        "needed. Text in SVG and PDF stays text, which drawing programs can edit.",
        everyday=(
            "--style",
            "--width",
            "--format",
            "--figures",
            "--regions",
            "--models",
            "--sort",
            "--out",
        ),
        examples=(
            "conceptrsa figures results",
            "conceptrsa figures results --width 89mm --figures scores --format pdf svg",
            "conceptrsa figures results --style slides --format png --regions V1 LO",
        ),
    )
    parser.add_argument(
        "comparison", type=Path, metavar="OUT_DIR",
        help="read this output folder of a comparison, or the folder group in it",
    )  # fmt: skip
    parser.add_argument(
        "--style", choices=STYLES, default="paper",
        help="draw in this style: paper (7 points, 180 mm, captions in captions.md), slides (16 "
        "points, 330 mm), or report (as the comparison draws them) (default: paper)",
    )  # fmt: skip
    parser.add_argument(
        "--width", type=width_in_inches, metavar="LENGTH",
        help="draw every figure this wide: 89mm, 18cm, 7in (default: the style's width)",
    )  # fmt: skip
    parser.add_argument(
        "--format",
        nargs="+",
        choices=FORMATS,
        default=["pdf"],
        help="write these formats (default: pdf)",
    )
    parser.add_argument(
        "--dpi", type=whole_number(1), default=DPI, metavar="N",
        help=f"write PNG and TIFF with this many dots per inch (default: {DPI})",
    )  # fmt: skip
    parser.add_argument(
        "--figures", nargs="+", default=(), metavar="NAME",
        help="draw only these figures, such as scores, groups, depth_profile; files in "
        "OUT_DIR/group/figures have these names (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--regions",
        nargs="+",
        default=(),
        metavar="NAME",
        help="show only these regions (default: all)",
    )
    parser.add_argument(
        "--models", nargs="+", default=(), metavar="NAME",
        help="show only these models where a figure shows single models; tests and groups still "
        "include all models (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--sort", choices=("table", "score"), default="table",
        help="order models by group, as in the tables (table), or by their mean score over "
        "regions, highest first (score) (default: table)",
    )  # fmt: skip
    parser.add_argument(
        "--palette", nargs="+", default=(), metavar="COLOUR",
        help="colour the groups in their order (#0072B2 orange), by name (visual=#0072B2), or "
        "with a matplotlib palette (tab10) (default: a palette for colour-blind readers)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="write figures to this folder (default: OUT_DIR/group/figures/STYLE)",
    )  # fmt: skip
    parser.set_defaults(function=run)


def width_in_inches(text: str) -> float:
    """Read a length with its unit, for argparse."""
    number, unit = text[:-2], text[-2:]
    try:
        inches = float(number) / UNITS_PER_INCH[unit]
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a length: write 180mm, 18cm or 7in"
        ) from None
    if not NARROWEST_INCHES <= inches <= WIDEST_INCHES:
        raise argparse.ArgumentTypeError(f"{text} is not possible: give 51mm to 1524mm")
    return inches


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from conceptrsa.analysis.output.figures.all_figures import redraw_figures
    from conceptrsa.analysis.output.figures.appearance import APPEARANCES
    from conceptrsa.analysis.output.finished_comparison import (
        group_folder,
        lost_in_tables,
        read_finished,
    )
    from conceptrsa.bids_config.names import require_one_of

    result = read_finished(args.comparison)
    for name in args.regions:
        require_one_of(name, [roi.roi for roi in result.rois], "the comparison has no region")
    for name in args.models:
        require_one_of(name, [model.name for model in result.models], "the comparison has no model")
    style = APPEARANCES[args.style]
    appearance = replace(
        style,
        width=args.width or style.width,
        palette=read_palette(args.palette, result),
        sort=args.sort,
        models=tuple(args.models),
        regions=tuple(args.regions),
    )
    folder = args.out or group_folder(args.comparison) / "figures" / args.style
    formats = tuple(dict.fromkeys(args.format))
    files = redraw_figures(result, folder, appearance, formats, args.dpi, args.figures)
    for file in files:
        print(file)
    for lost in lost_in_tables(result):
        print(f"note: not in the tables: {lost}")
    return 0


def read_palette(
    words: Sequence[str], result: "ComparisonResult"
) -> tuple[str, ...] | Mapping[str, str]:
    """Give the colours of a palette of matplotlib, colours in order, or colours of groups.

    Raises
    ------
    InputError
        If a word is not a colour, or a group has no model.
    """
    import matplotlib
    from matplotlib.colors import ListedColormap, is_color_like, to_hex

    from conceptrsa.bids_config.errors import InputError
    from conceptrsa.bids_config.names import require_one_of

    if len(words) == 1 and words[0] in matplotlib.colormaps:
        named = matplotlib.colormaps[words[0]]
        n_groups = len({model.group for model in result.models})
        if isinstance(named, ListedColormap) and named.N < 100:
            return tuple(to_hex(named(place)) for place in range(named.N))
        # The ends of a palette of shades are too dark and too light.
        return tuple(to_hex(named((place + 0.5) / n_groups)) for place in range(n_groups))
    of_groups = dict(word.rsplit("=", 1) for word in words if "=" in word)
    for colour in [word for word in words if "=" not in word] + list(of_groups.values()):
        if not is_color_like(colour):
            raise InputError(
                f"--palette {colour} is not a colour: write #0072B2, the name of a colour, or one "
                "matplotlib palette such as tab10"
            )
    if of_groups and len(of_groups) < len(words):
        raise InputError("--palette has colours with and without a group: name the group of each")
    for group in of_groups:
        groups = dict.fromkeys(model.group for model in result.models)
        require_one_of(group, list(groups), "--palette: the comparison has no group")
    return of_groups or tuple(words)
