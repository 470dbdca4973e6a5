"""Models that are known by their RDM alone: computed elsewhere, or made from categories."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.files.rdm_files import reorder
from conceptrsa.analysis.models.registry import Group
from conceptrsa.bids_config.errors import InputError


@dataclass(frozen=True, repr=False)
class ModelRdm:
    """Distances of one model between stimuli.

    Attributes
    ----------
    model : str
        Name of the model.
    group : {'multimodal', 'visual', 'language'}
        As for features.
    stimuli : tuple of str
        Stimulus ids.
    rdm : ndarray, (pairs,)
        In the order of `scipy.spatial.distance.pdist` over `stimuli`.
    note : str
        What a reader of a result should know about the model.
    origin : mapping
        Empty: it is not known.
    """

    model: str
    group: Group
    stimuli: tuple[str, ...]
    rdm: NDArray[np.float64]
    note: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Shapes in place of numbers."""
        return f"ModelRdm({self.model}, {self.group}: {len(self.stimuli)} stimuli)"

    def of_stimuli(self, stimuli: Sequence[str]) -> NDArray[np.float64]:
        """Distances (pairs,) between some of the stimuli, in the order given.

        Raises
        ------
        InputError
            If they are all the same, so that they compare with nothing.
        """
        rows = {stimulus: row for row, stimulus in enumerate(self.stimuli)}
        rdm = reorder(self.rdm, [rows[stimulus] for stimulus in stimuli])
        if not np.ptp(rdm):
            raise InputError(
                f"{self.model} puts the same distance between all stimuli of the betas, so that "
                "its RDM compares with nothing: leave the model out"
            )
        return rdm
