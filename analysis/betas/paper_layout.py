"""Betas in the layout that the paper's authors published: one volume per subject and stimulus."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.betas.volumes import (
    VOLUME_SUFFIXES,
    Grid,
    RoiVoxels,
    describe_dropped,
    load_volume,
    read_roi_voxels,
    read_volume,
    require_values,
    split_into_rois,
)
from analysis.patterns import SubjectPatterns, require_comparable
from bids_config.errors import InputError
from bids_config.schema import RoiDefinition

BETA_NAME = re.compile(r"(?P<stimulus>[A-Za-z0-9-]+_\d+).*beta_\d+\.(nii|nii\.gz|mgz)")
"""`<synset>_<image>`, anything, `beta_00NN`; the number counts SPM's regressors, not stimuli."""


def read_paper_layout(
    betas_dir: Path, atlas_file: Path, rois: Sequence[RoiDefinition]
) -> tuple[SubjectPatterns, ...]:
    """Read `sub-XX/<synset>_<image>...beta_00NN.nii` under a folder.

    Parameters
    ----------
    betas_dir : Path
        Holds one folder per subject.
    atlas_file : Path
        Label volume on the betas' grid, the same for all subjects.
    rois : sequence of RoiDefinition

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
    folders = sorted(path for path in Path(betas_dir).glob("sub-*") if path.is_dir())
    if not folders:
        raise InputError(f"{betas_dir} holds no sub-* folder: give the folder that holds them")
    regions = read_roi_voxels(Path(atlas_file), rois)
    subjects = tuple(_read_subject(folder, regions) for folder in folders)
    require_comparable(subjects)
    return subjects


def _read_subject(folder: Path, regions: RoiVoxels) -> SubjectPatterns:
    files, others = _stimulus_files(folder)
    stimuli = tuple(sorted(files))
    voxels = regions.union
    values = np.empty((len(stimuli), len(voxels)))
    for row, stimulus in enumerate(stimuli):
        file = files[stimulus]
        image = load_volume(file)
        regions.grid.require_same(Grid(image.shape[:3], image.affine, file))
        if len(image.shape) == 4 and image.shape[3] > 1:
            raise InputError(f"{file} holds {image.shape[3]} volumes: give one beta per file")
        values[row] = read_volume(image, 0, voxels, file)
    require_values(values, stimuli, folder)
    patterns = split_into_rois(values, regions)
    notes = describe_dropped(folder.name, patterns)
    if others:
        notes += (
            f"{folder.name}: left out because the name is not <synset>_<image>...beta_00NN: "
            f"{', '.join(others)}",
        )
    return SubjectPatterns(
        subject=folder.name.removeprefix("sub-"),
        stimuli=stimuli,
        rois=patterns,
        sources=(*(files[stimulus] for stimulus in stimuli), regions.grid.file),
        notes=notes,
    )


def _stimulus_files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    files: dict[str, Path] = {}
    others = []
    for file in sorted(folder.iterdir()):
        if not file.name.endswith(VOLUME_SUFFIXES):
            continue
        name = BETA_NAME.fullmatch(file.name)
        if name is None:
            others.append(file.name)
            continue
        stimulus = name["stimulus"]
        if stimulus in files:
            raise InputError(
                f"{file} and {files[stimulus].name} are both betas of stimulus {stimulus}: keep one"
            )
        files[stimulus] = file
    if not files:
        raise InputError(
            f"{folder} holds no file named <synset>_<image>...beta_00NN.nii: give the folder of "
            "the paper's betas"
        )
    return files, others
