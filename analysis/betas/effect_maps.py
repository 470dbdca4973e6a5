"""Plain maps of effects, one per stimulus, named by it: as `compute_contrast` of nilearn gives."""

import re
from collections.abc import Iterator
from pathlib import Path

from conceptrsa.analysis.betas.beta_index import (
    BetaImage,
    Request,
    SubjectImages,
    by_subject,
    files_below,
    wanted_subjects,
)
from conceptrsa.analysis.betas.conditions import stimuli_of
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import VOLUME_SUFFIXES

NAME = re.compile(
    r"(?!sub-\w+_|r?(mask|resms|rpv)\.)(?P<name>.+?)(_(effect(_size)?|beta))?\.(nii|nii\.gz|mgz)",
    re.IGNORECASE,
)
RUN = re.compile(r"(ses|run)-[0-9a-zA-Z]+")


def find_effect_maps(path: Path) -> Iterator[tuple[str, Path, Path]]:
    """Subject `sub-XX`, its folder, and file of each map in it, or in its folders of runs."""
    for name, folders in by_subject(p for p in path.glob("*") if p.is_dir()).items():
        for folder in folders:
            for file in files_below(folder):
                below = file.relative_to(folder).parts[:-1]
                if NAME.fullmatch(file.name) and all(RUN.fullmatch(part) for part in below):
                    yield name, folder, file


def list_effect_maps(want: Request) -> Iterator[SubjectImages]:
    """List `sub-XX/<stimulus>.nii.gz`, or `sub-XX/run-1/<stimulus>.nii.gz`.

    `_effect_size`, `_effect` and `_beta` at the end are no part of the stimulus.

    Raises
    ------
    InputError
        On no map, or maps of which none is of a stimulus.
    """
    found: dict[str, list[tuple[str, Path, str | None]]] = {}
    for name, folder, file in find_effect_maps(want.path):
        match = NAME.fullmatch(file.name)
        assert match is not None
        run = "_".join(file.relative_to(folder).parts[:-1]) or None
        found.setdefault(name, []).append((match["name"], file, run))
    if not found:
        endings = " or ".join(VOLUME_SUFFIXES)
        raise InputError(
            f"{want.path} holds no sub-XX/<stimulus>{endings}: give the folder of them"
        )
    for name in wanted_subjects(found, want):
        conditions = list(dict.fromkeys(condition for condition, _, _ in found[name]))
        stimuli, left_out = stimuli_of(conditions, want.conditions, want.path / name)
        images = [
            BetaImage(stimuli[condition], file, run=run)
            for condition, file, run in found[name]
            if condition in stimuli
        ]
        yield SubjectImages(name, images, left_out=left_out)
