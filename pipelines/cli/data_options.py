"""Options about the data: the data set configuration, regions, and checks to ignore."""

import argparse
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import get_args

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.reader import load_comparison_config
from conceptrsa.bids_config.recorded import (
    FORCE,
    GIVE,
    OF_COMPARISON,
    RECORD,
    notes_on_mixture,
    read_recorded,
    require_recorded,
)
from conceptrsa.bids_config.schema import ComparisonConfig, DatasetConfig, RegionChoice
from conceptrsa.pipelines.participant_options import IGNORED_BY_FMRIPREP, Ignored

log = logging.getLogger(__name__)

IGNORED: tuple[str, ...] = (*get_args(Ignored), *IGNORED_BY_FMRIPREP)


def add_dataset_options(
    parser: argparse.ArgumentParser, default: str = "none", with_force: bool = False
) -> None:
    """Add the data set configuration; `default` describes its default."""
    parser.add_argument(
        "--dataset-config", metavar="NAME_OR_PATH",
        help="read the data set configuration: a TOML file, or the packaged demo or ds001246 "
        f"(default: {default})",
    )  # fmt: skip
    if with_force:
        parser.add_argument(
            FORCE, action="store_true",
            help="use --dataset-config although the derivatives were made with another one",
        )  # fmt: skip


def add_rois_option(
    group: argparse._ActionsContainer, default: str, is_comparison: bool = False
) -> None:
    """Add the choice of regions; `default` describes its default."""
    more = ", a mask (FFA=mask:ffa.nii.gz)" if is_comparison else ""
    own = " or of the betas' own regions" if is_comparison else ""
    group.add_argument(
        "--rois", nargs="+", type=_region, metavar="NAME=SPEC",
        help="use these regions, in this order: label numbers (hippocampus=17,53), names or "
        f"patterns of the label table (V1=L_V1*,R_V1*){more}, or just names of the table{own} "
        f"(V1 V2 'LO*') (default: {default})",
    )  # fmt: skip


def _region(text: str) -> RegionChoice:
    """Read 'NAME=SPEC' or 'NAME', for argparse."""
    from conceptrsa.bids_config.region_choice import read_choice

    try:
        return read_choice(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_ignore_option(group: argparse._ActionsContainer, choices: Sequence[str] = IGNORED) -> None:
    """Add checks and corrections that can be skipped, spelt as in fMRIPrep."""
    said = {
        "slicetiming": "skip slice timing correction, which needs SliceTiming",
        "orientation": "accept images whose header gives no orientation (sform and qform codes 0) "
        "or two different ones",
        "space": "accept an atlas in another space than the betas; between MNI152 and MNI305 it is "
        "transformed by the affine",
    }
    others = ", ".join(what for what in choices if what not in said)
    group.add_argument(
        "--ignore", nargs="+", choices=choices,
        help="; ".join(f"{what}: {said[what]}" for what in choices if what in said)
        + " (default: such data are refused)"
        + (f"; {others}: accepted as in fMRIPrep, without effect" if others else ""),
    )  # fmt: skip


def participant_config(
    given: str | None,
    out_dir: Path | None = None,
    force: bool = False,
    atlas: Path | None = None,
) -> DatasetConfig:
    """Give the configuration that raw data are read with.

    Parameters
    ----------
    given : str, optional
        Value of `--dataset-config`.
    out_dir : Path, optional
        Folder that may carry one.
    force : bool
        Use the given one although that folder carries another.
    atlas : Path, optional
        Value of `--atlas`, whose labels name the regions.

    Raises
    ------
    InputError
        If none was given and the output folder carries none, or if `force` has none to use.
    """
    _require_meaning(given, force)
    if given is not None:
        return load_dataset_config(given, atlas)
    recorded = None if out_dir is None else read_recorded(out_dir)
    if out_dir is None or recorded is None:
        raise InputError(f"this data set has no configuration: {GIVE}")
    log.info("data set configuration: %s", out_dir / RECORD)
    return recorded


def comparison_config(
    given: str | None, force: bool, betas: Path, chosen: Collection[str] = ()
) -> tuple[DatasetConfig | ComparisonConfig | None, tuple[str, ...]]:
    """Give the configuration of a comparison, and notes where it is not the betas' own.

    Parameters
    ----------
    given : str, optional
        Value of `--dataset-config`.
    force : bool
        Use it although the betas carry another one.
    betas : Path
        Folder or file that may carry a configuration.
    chosen : collection of str
        Sections that other options replace.

    Returns
    -------
    DatasetConfig, ComparisonConfig or None
        None if nothing was given and the betas carry nothing.

    Raises
    ------
    InputError
        If it differs from the one that the betas carry, without `force`.
    """
    _require_meaning(given, force)
    notes = notes_on_mixture(betas)
    if given is None:
        return read_recorded(betas), notes
    config = load_comparison_config(given)
    recorded = read_recorded(betas)
    if isinstance(config, ComparisonConfig) and recorded is not None:
        config = config.completed_by(recorded)
    sections: Sequence[str] = [name for name in OF_COMPARISON if name not in chosen]
    differing = require_recorded(config, betas, sections, force)
    if differing:
        notes = (*notes, f"{differing}; because of {FORCE}, the given one was used")
    return config, notes


def _require_meaning(given: str | None, force: bool) -> None:
    if force and given is None:
        raise InputError(f"{FORCE} needs --dataset-config: give both, or leave it out")
