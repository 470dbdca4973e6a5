"""Categorical models: two stimuli are alike if they are of one category."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.files.rdm_files import read_stimuli_column
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import (
    clean_name,
    require_distinguishable,
    require_names,
    require_no_quotes,
    warn_of_case,
)
from conceptrsa.bids_config.tsv import read_table

CATEGORIES_TABLE = "categories.tsv"
MISSING = ("", "n/a")


@dataclass(frozen=True)
class Categories:
    """A table of categories.

    Attributes
    ----------
    file : Path
    stimuli : tuple of str
        Stimulus ids.
    models : dict of str to tuple of str
        The category of each stimulus, by model.
    """

    file: Path
    stimuli: tuple[str, ...]
    models: dict[str, tuple[str, ...]]

    def rdm(self, model: str) -> NDArray[np.float64]:
        """Distances (pairs,) of a model: 0 within a category, 1 between two.

        Raises
        ------
        InputError
            If a stimulus has no category, or all have one or each its own.
        """
        names = self.models[model]
        for stimulus, name in zip(self.stimuli, names, strict=True):
            if name in MISSING:
                raise InputError(
                    f"{self.file} gives the stimulus '{stimulus}' no category of '{model}': name "
                    "one, or leave the model out"
                )
        codes = np.unique(names, return_inverse=True)[1]
        first, second = np.triu_indices(len(codes), k=1)
        rdm: NDArray[np.float64] = np.asarray(codes[first] != codes[second], dtype=np.float64)
        if not np.ptp(rdm):
            raise InputError(
                f"{self.file} puts the stimuli into {len(set(names))} categories of '{model}', so "
                "that all its distances are the same: name two categories or more, one of them of "
                "several stimuli"
            )
        return rdm


def read_categories(file: Path) -> Categories:
    """Read a table with the columns stimulus and one per categorical model.

    Raises
    ------
    InputError
        On a table without these columns, or a stimulus or model that is there twice or has no
        name.
    """
    table = read_table(file)
    if table.columns[0] != "stimulus" or len(table.columns) < 2:
        raise InputError(
            f"{file}: the first of its tab-separated columns must be 'stimulus', and each further "
            "one a model that gives the stimuli categories."
        )
    models = table.columns[1:]
    require_names(models, "model", file)
    stimuli = read_stimuli_column(table)
    if len(stimuli) < 2:
        raise InputError(f"{file} lists {len(stimuli)} stimuli: add a row for each")
    warn_of_case(stimuli, "stimulus", file)
    columns = {model: tuple(map(clean_name, table.column(model))) for model in models}
    for model, names in columns.items():
        require_no_quotes(names, file)
        require_distinguishable(names, f"{model} category", file)
        warn_of_case(names, f"{model} category", file)
    return Categories(file, stimuli, columns)
