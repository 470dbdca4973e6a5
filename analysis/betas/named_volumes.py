"""4D files of betas with a table beside them that names the volumes."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.betas.beta_images import BetaImage, Half
from analysis.betas.volumes import VOLUME_SUFFIXES, load_volume
from bids_config.errors import InputError


def table_beside(betas_file: Path) -> Path:
    """Path of the table that names the volumes of a file."""
    suffix = next(suffix for suffix in VOLUME_SUFFIXES if betas_file.name.endswith(suffix))
    return betas_file.with_name(betas_file.name.removesuffix(suffix) + ".tsv")


def named_volumes(
    betas_file: Path, run: str | None = None, half: Half | None = None
) -> list[BetaImage]:
    """The volumes of a file, named by the `.tsv` beside it (columns volume and stimulus).

    Raises
    ------
    InputError
        If there is no such table, it does not name each volume once, or names a stimulus twice.
    """
    table = table_beside(betas_file)
    stimuli = _read_stimuli(table)
    shape = load_volume(betas_file).shape
    n_volumes = shape[3] if len(shape) == 4 else 1
    if len(stimuli) != n_volumes:
        raise InputError(
            f"{table} names {len(stimuli)} stimuli but {betas_file.name} holds {n_volumes} "
            "volumes: make both again (run the participant level again, if it made them)"
        )
    return [
        BetaImage(stimulus, betas_file, volume, run, half)
        for volume, stimulus in enumerate(stimuli)
    ]


def _read_stimuli(file: Path) -> list[str]:
    try:
        table = pd.read_csv(file, sep="\t", dtype={"stimulus": str}, keep_default_na=False)
    except FileNotFoundError as error:
        raise InputError(
            f"{file} is missing, which names the volumes of the betas beside it: run the "
            "participant level again, or write it (columns volume, from 0, and stimulus)"
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file} is not a table ({reason}): make it again") from error
    if not {"volume", "stimulus"} <= set(table.columns):
        raise InputError(f"{file} needs the columns volume and stimulus: make it again")
    if not pd.api.types.is_numeric_dtype(table["volume"]):
        raise InputError(f"{file} holds a volume that is no number: make it again")
    table = table.sort_values("volume")
    if not (np.diff(table["volume"]) == 1).all() or table["volume"].min() != 0:
        raise InputError(
            f"{file} must number each volume once, from 0 and without gaps: make it again"
        )
    stimuli = [str(stimulus) for stimulus in table["stimulus"]]
    for stimulus in stimuli:
        if stimuli.count(stimulus) > 1:
            raise InputError(f"{file} names the stimulus {stimulus} twice: keep one beta of each")
    return stimuli
