"""Spaces that images lie in: what names and headers tell of them, and which go together."""

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from conceptrsa.bids_config.errors import InputError

_ENTITIES = re.compile(
    r"(?:^|_)(?:space|tpl)-(?P<name>[0-9a-zA-Z]+)(?:_cohort-(?P<cohort>[0-9a-zA-Z]+))?"
)
_COHORT = ":cohort-"

_FAMILIES = {
    "MNI152": re.compile(r"MNI(152\w*|Colin27)?|IXI549Space", re.IGNORECASE),
    "MNI305": re.compile(r"MNI305|fsaverage", re.IGNORECASE),
}
"""Spaces that are used as one, by BIDS' names: IXI549Space is what SPM12 normalizes to, MNIColin27
that of AAL, and fsaverage as a volume is in MNI305."""
_MNI152_CODE = 4
_SCANNER_CODE = 1
"""NIfTI's codes of what the sform leads to."""

MNI305_TO_MNI152: Final = np.array(
    [
        [0.9975, -0.0073, 0.0176, -0.0429],
        [0.0146, 1.0009, -0.0024, 1.5496],
        [-0.0130, -0.0093, 0.9971, 1.1840],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""World to world, RAS mm: FreeSurfer's `average/mni152.register.dat`."""
MNI152_TO_MNI305: Final = np.linalg.inv(MNI305_TO_MNI152)

for _matrix in (MNI305_TO_MNI152, MNI152_TO_MNI305):
    _matrix.setflags(write=False)

_AFFINES = {("MNI152", "MNI305"): MNI152_TO_MNI305, ("MNI305", "MNI152"): MNI305_TO_MNI152}


def space_of(file: Path, header: Any) -> str | None:
    """Give the space of an image as its name says (`space-`, `tpl-`), else its header.

    Parameters
    ----------
    file : Path
    header : nibabel header

    Returns
    -------
    str or None
        As BIDS calls it, with the cohort of templates for several ages (`MNIInfant:cohort-2`);
        'MNI152' where only the header tells, None where nothing does.
    """
    found = _ENTITIES.search(file.name)
    if found:
        return found["name"] + (f"{_COHORT}{found['cohort']}" if found["cohort"] else "")
    return "MNI152" if _code(header) == _MNI152_CODE else None


def between(
    atlas: Path, space: str | None, betas: Path, header: Any, ignore: bool | None
) -> tuple[NDArray[np.float64], str | None]:
    """Find how an atlas is brought to the space of the betas.

    Parameters
    ----------
    atlas, betas : Path
        For messages.
    space : str or None
        That of the atlas.
    header : nibabel header
        Of the betas.
    ignore : bool or None
        Take an atlas of another space: from one MNI space to another through the affine between
        them, else as it lies. None: no, and the user has no such choice.

    Returns
    -------
    matrix : ndarray, shape (4, 4)
        From the atlas' world to that of the betas, RAS mm.
    note : str or None
        What the user should know.

    Raises
    ------
    InputError
        On another space, unless that is ignored.
    """
    as_it_lies = np.eye(4)
    of_betas = space_of(betas, header)
    if space is None or space.casefold() == (of_betas or "").casefold():
        return as_it_lies, None
    if of_betas is None:
        scanner = ", and their header says the scanner's" if _code(header) == _SCANNER_CODE else ""
        return as_it_lies, (
            f"the names of the betas do not give their space{scanner}: they are assumed to be in "
            f"{space}, like {atlas.name}"
        )
    (name, _, cohort), (name_of_betas, _, cohort_of_betas) = (
        one.casefold().partition(_COHORT) for one in (space, of_betas)
    )
    if name == name_of_betas and not (cohort and cohort_of_betas):
        return as_it_lies, (
            f"{atlas.name} is in {space} and the betas are in {of_betas}: they are assumed to be "
            "of the same cohort"
        )
    families = family_of(space), family_of(of_betas)
    if families == ("MNI305", "MNI305"):
        return as_it_lies, None
    if families == ("MNI152", "MNI152"):
        return as_it_lies, (
            f"{atlas.name} is in {space} but the betas are in {of_betas}: these versions of MNI152 "
            "differ by 2 mm in the cortex, and up to 5 mm in places, which matters for small "
            "regions"
        )
    affine = _AFFINES.get(families)
    if not ignore:
        how = "through the affine between them" if affine is not None else "as it lies"
        choice = "" if ignore is None else f", or --ignore space to use this one {how}"
        raise InputError(
            f"{atlas} is in the space {space} but {betas} in {of_betas}, according to their names "
            f"or headers: give an atlas in that space{choice}"
        )
    if affine is None:
        return (
            as_it_lies,
            f"{atlas.name} is in {space}, and used without a transform for {of_betas}",
        )
    return affine, (
        f"{atlas.name} transformed from {space} to {of_betas}, the space of the betas, by the "
        "affine between MNI152 and MNI305"
    )


def family_of(space: str) -> str:
    """Name the spaces that are used as one with this: 'MNI152', 'MNI305', or itself."""
    return next((name for name, known in _FAMILIES.items() if known.fullmatch(space)), space)


def _code(header: Any) -> int:
    keys = header.keys() if hasattr(header, "keys") else ()
    return int(header["sform_code"]) if "sform_code" in keys else 0
