"""4D files of betas with a table beside them that names the volumes."""

from pathlib import Path

import numpy as np

from conceptrsa.analysis.betas.beta_images import BetaImage
from conceptrsa.analysis.betas.volumes import VOLUME_SUFFIXES, load_volume
from conceptrsa.analysis.brain.patterns import Half
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import stimulus_ids
from conceptrsa.bids_config.tsv import read_table
from conceptrsa.bids_config.writing import require_content


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
    require_content(file)
    if not file.exists():
        raise InputError(
            f"{file} is missing, which names the volumes of the betas beside it: run the "
            "participant level again, or write it (columns volume, from 0, and stimulus)"
        )
    table = read_table(file)
    table.require_columns(["volume", "stimulus"], "make it again")
    volumes = table.numbers(["volume"])[:, 0]
    if sorted(volumes) != list(range(len(volumes))):
        raise InputError(
            f"{file} must number each volume once, from 0 and without gaps: make it again"
        )
    names = stimulus_ids(table.column("stimulus"), file)
    stimuli = [names[row] for row in np.argsort(volumes)]
    for stimulus in stimuli:
        if stimuli.count(stimulus) > 1:
            raise InputError(f"{file} names the stimulus {stimulus} twice: keep one beta of each")
    return stimuli
