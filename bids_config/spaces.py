"""Standard spaces: how fMRIPrep's command line spells them, and names of files in BIDS."""

import re
from dataclasses import dataclass

from conceptrsa.bids_config.errors import InputError

OF_A_SUBJECT = frozenset({
    "T1w", "T2w", "anat", "ACPC", "fsnative", "individual", "session", "run", "func", "bold",
    "boldref", "sbref",
})  # fmt: skip
"""Spaces in which every subject, session or run has a place of its own."""
_ENTITIES = re.compile(
    r"_space-(?P<name>[0-9a-zA-Z]+)(?:_cohort-(?P<cohort>[0-9a-zA-Z]+))?"
    r"(?:_res-(?P<resolution>[0-9a-zA-Z]+))?(?=[_.])"
)
_SPELT = re.compile(
    r"(?P<name>[0-9a-zA-Z]+)(?::cohort-(?P<cohort>[0-9a-zA-Z]+)|:res-(?P<resolution>[0-9a-zA-Z]+))*"
)


@dataclass(frozen=True, order=True)
class Space:
    """A standard space, such as a template of TemplateFlow, and the resolution of a grid in it.

    Attributes
    ----------
    name : str
        Such as `MNI152NLin2009cAsym`.
    cohort : str
        Of templates for several ages; empty: none.
    resolution : str
        As the entity `res` has it; empty: names have none, as fMRIPrep leaves runs with the voxel
        size that they were acquired with.
    """

    name: str
    cohort: str = ""
    resolution: str = ""

    @classmethod
    def read(cls, text: str) -> "Space":
        """Read fMRIPrep's spelling, `MNI152NLin2009cAsym:res-2`.

        Raises
        ------
        InputError
            On anything else.
        """
        found = _SPELT.fullmatch(text.removeprefix("space-"))
        if found is None:
            raise InputError(
                f"{text!r} is not a space: write it as in fMRIPrep's --output-spaces, "
                "NAME[:cohort-LABEL][:res-LABEL], such as MNI152NLin2009cAsym:res-2"
            )
        return cls(*(part or "" for part in found.groups()))

    @classmethod
    def in_name(cls, name: str) -> "Space | None":
        """Find the space in the name of a file; None where it has none."""
        found = _ENTITIES.search(name)
        return None if found is None else cls(*(part or "" for part in found.groups()))

    @property
    def is_standard(self) -> bool:
        """Whether all subjects share it."""
        return self.name not in OF_A_SUBJECT

    @property
    def entities(self) -> str:
        """Spelling in file names: `space-MNI152NLin2009cAsym_res-2`."""
        parts = {"space": self.name, "cohort": self.cohort, "res": self.resolution}
        return "_".join(f"{entity}-{label}" for entity, label in parts.items() if label)

    @property
    def regions(self) -> str:
        """End of the name that this tool's derivatives give the labels of the regions there."""
        if self == MNI305:
            return "space-MNI305_seg-DesikanKilliany_res-2_dseg"
        return f"{self.entities}_desc-rois_dseg"

    def allows(self, other: "Space") -> bool:
        """Whether another space is this one, in whatever cohort and resolution this leaves open."""
        return (
            self.name == other.name
            and self.cohort in ("", other.cohort)
            and self.resolution in ("", other.resolution)
        )

    def __str__(self) -> str:
        """Spelling in fMRIPrep's command line."""
        parts = {"cohort": self.cohort, "res": self.resolution}
        return ":".join([self.name, *(f"{key}-{label}" for key, label in parts.items() if label)])


MNI305 = Space("MNI305", resolution="2")
"""FreeSurfer's grid of 2 mm, which this tool's own registration takes betas to."""
