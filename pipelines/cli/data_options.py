"""Options about the data: which configuration is taken, and what of the images is ignored."""

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
    """Add the data set's configuration; `default` says what is taken where it is not given."""
    parser.add_argument(
        "--dataset-config", metavar="NAME_OR_PATH",
        help="what is particular to the data set: a TOML file, or demo or ds001246 "
        f"(default: {default})",
    )  # fmt: skip
    if with_force:
        parser.add_argument(
            FORCE, action="store_true",
            help="take --dataset-config although the derivatives were made with another one",
        )  # fmt: skip


def add_rois_option(
    group: argparse._ActionsContainer, default: str, is_comparison: bool = False
) -> None:
    """Add which regions are looked at; `default` says what they are where it is not given."""
    more = ", a mask (FFA=mask:ffa.nii.gz)" if is_comparison else ""
    own = " or of the betas' own regions" if is_comparison else ""
    group.add_argument(
        "--rois", nargs="+", type=_region, metavar="NAME=SPEC",
        help="regions, in this order: label numbers (hippocampus=17,53), names or patterns of the "
        f"label table (V1=L_V1*,R_V1*){more}, or names of the table{own} alone (V1 V2 'LO*'); "
        f"default: {default}",
    )  # fmt: skip


def _region(text: str) -> RegionChoice:
    """Read 'NAME=SPEC' or 'NAME', for argparse."""
    from conceptrsa.bids_config.region_choice import read_choice

    try:
        return read_choice(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_ignore_option(group: argparse._ActionsContainer, choices: Sequence[str] = IGNORED) -> None:
    """Add what of the images is gone on without, as fMRIPrep spells it."""
    said = {
        "slicetiming": "slices are not corrected for their timing, and need no SliceTiming",
        "orientation": "images are taken whose header does not tell their orientation (sform and "
        "qform codes 0) or tells two",
        "space": "an atlas of another space than that of the betas is taken, from MNI152 to MNI305 "
        "and back through the affine between them",
    }
    others = ", ".join(what for what in choices if what not in said)
    group.add_argument(
        "--ignore", nargs="+", choices=choices,
        help="; ".join(f"{what}: {said[what]}" for what in choices if what in said)
        + " (default: such data are refused)"
        + (f"; {others}: of fMRIPrep, not used in any case" if others else ""),
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
        What `--dataset-config` says.
    out_dir : Path, optional
        Folder that may carry one.
    force : bool
        Whether the one given is taken although that folder carries another.
    atlas : Path, optional
        What `--atlas` says: the labels that regions are named by.

    Raises
    ------
    InputError
        If none was given and the output folder carries none, or none is there to be forced.
    """
    _require_meaning(given, force)
    if given is not None:
        return load_dataset_config(given, atlas)
    recorded = None if out_dir is None else read_recorded(out_dir)
    if out_dir is None or recorded is None:
        raise InputError(f"nothing says what is particular to this data set: {GIVE}")
    log.info("data set configuration: %s", out_dir / RECORD)
    return recorded


def comparison_config(
    given: str | None, force: bool, betas: Path, chosen: Collection[str] = ()
) -> tuple[DatasetConfig | ComparisonConfig | None, tuple[str, ...]]:
    """Give the configuration of a comparison, and notes where it is not the betas' own.

    Parameters
    ----------
    given : str, optional
        What `--dataset-config` says.
    force : bool
        Take it although the betas carry another one.
    betas : Path
        What may carry a configuration.
    chosen : collection of str
        Sections that other options speak for.

    Returns
    -------
    DatasetConfig, ComparisonConfig or None
        None where nothing was given and the betas carry nothing.

    Raises
    ------
    InputError
        If another one was given than the betas carry, and not forced.
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
        notes = (*notes, f"{differing}; {FORCE} took the one given")
    return config, notes


def _require_meaning(given: str | None, force: bool) -> None:
    if force and given is None:
        raise InputError(f"{FORCE} is of --dataset-config; give both, or leave it out")
