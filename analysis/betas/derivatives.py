"""Betas as this tool's participant level leaves them: BIDS derivatives in MNI305 space."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from analysis.betas.volumes import (
    Grid,
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

Half = Literal["odd", "even"]

SPACE = "space-MNI305_res-2"


def read_derivatives(
    out_dir: Path,
    rois: Sequence[RoiDefinition],
    *,
    participants: Sequence[str] | None = None,
    task: str | None = None,
    half: Half | None = None,
) -> tuple[SubjectPatterns, ...]:
    """Read the betas and regions of every subject under a derivatives folder.

    Parameters
    ----------
    out_dir : Path
        Holds `sub-XX/func/*_space-MNI305_res-2_stat-effect_statmap.nii.gz` (4D, one volume per
        stimulus, named by the `.tsv` beside it) and
        `sub-XX/anat/*_seg-DesikanKilliany_res-2_dseg.nii.gz`.
    rois : sequence of RoiDefinition
    participants : sequence of str, optional
        Labels without `sub-`; all by default.
    task : str, optional
        Needed only where there are betas of several tasks.
    half : {'odd', 'even'}, optional
        Betas of every other run in the place of those of all runs.

    Returns
    -------
    tuple of SubjectPatterns
        By subject; stimuli sorted by id.

    Raises
    ------
    InputError
        On no or one subject, a missing or unreadable file, differing grids, a label that an atlas
        lacks, a stimulus that is there twice or is missing in one subject, subjects whose betas
        were estimated with different settings.
    """
    labels = _participant_labels(Path(out_dir), participants)
    subjects = tuple(
        _read_subject(Path(out_dir) / f"sub-{label}", rois, task, half) for label in labels
    )
    require_comparable(subjects)
    _require_same_estimation([subject.sources[0] for subject in subjects])
    return subjects


def _require_same_estimation(betas_files: Sequence[Path]) -> None:
    """Refuse subjects whose betas come from different settings of the participant level."""
    estimations = [_estimation(file) for file in betas_files]
    for file, estimation in zip(betas_files[1:], estimations[1:], strict=True):
        for key in sorted({*estimation, *estimations[0]}):
            if estimation.get(key) != estimations[0].get(key):
                raise InputError(
                    f"{file.name} was made with {key} = {estimation.get(key)} but "
                    f"{betas_files[0].name} with {estimations[0].get(key)}: run the participant "
                    "level again for one of them"
                )


def _estimation(betas_file: Path) -> dict[str, object]:
    sidecar = betas_file.with_name(betas_file.name.replace(".nii.gz", ".json"))
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"{sidecar} is not JSON ({error}): make it again") from error
    estimation = content.get("Estimation", {}) if isinstance(content, dict) else {}
    return estimation if isinstance(estimation, dict) else {}


def _participant_labels(out_dir: Path, participants: Sequence[str] | None) -> list[str]:
    if participants is not None:
        return sorted({label.removeprefix("sub-") for label in participants})
    labels = sorted(path.parent.name.removeprefix("sub-") for path in out_dir.glob("sub-*/func"))
    if not labels:
        raise InputError(
            f"{out_dir} holds no sub-*/func folder: run the participant level into it first"
        )
    return labels


def _read_subject(
    folder: Path, rois: Sequence[RoiDefinition], task: str | None, half: Half | None
) -> SubjectPatterns:
    betas_file = _betas_file(folder, task, half)
    stimuli_file = betas_file.with_name(betas_file.name.replace(".nii.gz", ".tsv"))
    atlas_file = (
        folder / "anat" / f"{folder.name}_space-MNI305_seg-DesikanKilliany_res-2_dseg.nii.gz"
    )
    regions = read_roi_voxels(atlas_file, rois)

    image = load_volume(betas_file)
    regions.grid.require_same(Grid(image.shape[:3], image.affine, betas_file))
    stimuli = _read_stimuli(stimuli_file)
    n_volumes = image.shape[3] if len(image.shape) == 4 else 1
    if len(stimuli) != n_volumes:
        raise InputError(
            f"{stimuli_file} names {len(stimuli)} stimuli but {betas_file.name} holds {n_volumes} "
            f"volumes: run the participant level again for {folder.name}"
        )

    voxels = regions.union
    by_volume = np.empty((n_volumes, len(voxels)))
    for volume in range(n_volumes):
        by_volume[volume] = read_volume(image, volume, voxels, betas_file)
    require_values(by_volume, stimuli, betas_file)
    order = sorted(range(n_volumes), key=stimuli.__getitem__)
    patterns = split_into_rois(by_volume[order], regions)
    return SubjectPatterns(
        subject=folder.name.removeprefix("sub-"),
        stimuli=tuple(stimuli[volume] for volume in order),
        rois=patterns,
        sources=(betas_file, stimuli_file, atlas_file),
        notes=describe_dropped(folder.name, patterns),
    )


def _betas_file(folder: Path, task: str | None, half: Half | None) -> Path:
    description = f"_desc-{half}" if half else ""
    pattern = f"{folder.name}_task-{task or '*'}_{SPACE}_stat-effect{description}_statmap.nii.gz"
    files = sorted((folder / "func").glob(pattern))
    if not files:
        raise InputError(
            f"{folder / 'func' / pattern} is missing: run the participant level for {folder.name}"
        )
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise InputError(f"{folder / 'func'} holds betas of several tasks ({names}): name one")
    return files[0]


def _read_stimuli(file: Path) -> list[str]:
    try:
        table = pd.read_csv(file, sep="\t", dtype={"stimulus": str})
    except FileNotFoundError as error:
        raise InputError(
            f"{file} is missing, which names the volumes of the betas beside it: run the "
            "participant level again"
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not a table ({error}): make it again") from error
    if not {"volume", "stimulus"} <= set(table.columns):
        raise InputError(f"{file} needs the columns volume and stimulus: make it again")
    if not pd.api.types.is_numeric_dtype(table["volume"]):
        raise InputError(f"{file} holds a volume that is no number: make it again")
    table = table.sort_values("volume")
    if not (np.diff(table["volume"]) == 1).all():
        raise InputError(f"{file} must number each volume once, without gaps: make it again")
    return [str(stimulus) for stimulus in table["stimulus"]]
