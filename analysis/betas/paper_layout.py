"""Betas in the layout that the paper's authors published: one volume per subject and stimulus."""

import re
from collections.abc import Sequence
from pathlib import Path

from conceptrsa.analysis.betas.beta_images import BetaImage, read_beta_images, subject_folders
from conceptrsa.analysis.betas.volumes import VOLUME_SUFFIXES, RoiVoxels, regions_by_subject
from conceptrsa.analysis.brain.comparable import require_comparable
from conceptrsa.analysis.brain.patterns import SubjectPatterns
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.schema import RoiDefinition

BETA_NAME = re.compile(r"(?P<stimulus>[A-Za-z0-9-]+_\d+).*beta_\d+\.(nii|nii\.gz|mgz)")
"""`<synset>_<image>`, anything, `beta_00NN`; the number counts SPM's regressors, not stimuli."""


def read_paper_layout(
    betas_dir: Path,
    atlas_file: Path,
    rois: Sequence[RoiDefinition],
    *,
    participants: Sequence[str] | None = None,
    ignore_place: bool = False,
) -> tuple[SubjectPatterns, ...]:
    """Read `sub-XX/<synset>_<image>...beta_00NN.nii` under a folder.

    Parameters
    ----------
    betas_dir : Path
        Holds one folder per subject.
    atlas_file : Path
        Label volume on the betas' grid; `{subject}` in it stands for the subject's label.
    rois : sequence of RoiDefinition
    participants : sequence of str, optional
        All by default.
    ignore_place : bool
        See `regions_by_subject`.

    Returns
    -------
    tuple of SubjectPatterns
        By subject; stimuli sorted by id (`<synset>_<image>`).

    Raises
    ------
    InputError
        On no or one subject, an unreadable file, another grid, a label that the atlas lacks, a
        stimulus that is there twice or is missing in one subject.
    """
    folders = subject_folders(Path(betas_dir), participants)
    regions_of = regions_by_subject(atlas_file, rois, ignore_place)
    subjects = tuple(
        _read_subject(folder, regions_of(folder.name.removeprefix("sub-"))) for folder in folders
    )
    require_comparable(subjects)
    return subjects


def _read_subject(folder: Path, regions: RoiVoxels) -> SubjectPatterns:
    images = []
    others = []
    for file in sorted(folder.iterdir()):
        if not file.name.endswith(VOLUME_SUFFIXES):
            continue
        name = BETA_NAME.fullmatch(file.name)
        if name is None:
            others.append(file.name)
        else:
            images.append(BetaImage(name["stimulus"], file))
    if not images:
        raise InputError(
            f"{folder} holds no file named <synset>_<image>...beta_00NN.nii: give the folder of "
            "the paper's betas"
        )
    left_out = (
        f"{folder.name}: left out because the name is not <synset>_<image>...beta_00NN: "
        f"{', '.join(others)}"
    )
    return read_beta_images(
        folder.name.removeprefix("sub-"), images, regions, notes=(left_out,) if others else ()
    )
