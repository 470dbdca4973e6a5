"""Which data set configuration a command takes: the one given, else the derivatives' own."""

import argparse
import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.recorded import (
    FORCE,
    GIVE,
    OF_COMPARISON,
    RECORD,
    notes_on_mixture,
    read_recorded,
    require_recorded,
)
from conceptrsa.bids_config.schema import DatasetConfig

log = logging.getLogger(__name__)


def participant_config(
    given: str | None, out_dir: Path | None = None, force: bool = False
) -> DatasetConfig:
    """Give the configuration that raw data are read with.

    Raises
    ------
    InputError
        If none was given and the output folder carries none, or none is there to be forced.
    """
    _require_meaning(given, force)
    if given is not None:
        return load_dataset_config(given)
    recorded = None if out_dir is None else read_recorded(out_dir)
    if out_dir is None or recorded is None:
        raise InputError(f"nothing says what is particular to this data set: {GIVE}")
    log.info("data set configuration: %s", out_dir / RECORD)
    return recorded


def comparison_config(
    args: argparse.Namespace, betas: Path, chosen: Collection[str] = ()
) -> tuple[DatasetConfig | None, tuple[str, ...]]:
    """Give the configuration of a comparison, and notes where it is not the betas' own.

    Parameters
    ----------
    args : Namespace
        With the options of `add_dataset_options`.
    betas : Path
        What may carry a configuration.
    chosen : collection of str
        Sections that other options speak for.

    Returns
    -------
    DatasetConfig or None
        None where nothing was given and the betas carry nothing.

    Raises
    ------
    InputError
        If another one was given than the betas carry, and not forced.
    """
    _require_meaning(args.dataset_config, args.force_dataset_config)
    notes = notes_on_mixture(betas)
    if args.dataset_config is None:
        return read_recorded(betas), notes
    config = load_dataset_config(args.dataset_config)
    sections: Sequence[str] = [name for name in OF_COMPARISON if name not in chosen]
    differing = require_recorded(config, betas, sections, args.force_dataset_config)
    if differing:
        notes = (*notes, f"{differing}; {FORCE} took the one given")
    return config, notes


def _require_meaning(given: str | None, force: bool) -> None:
    if force and given is None:
        raise InputError(f"{FORCE} is of --dataset-config; give both, or leave it out")
