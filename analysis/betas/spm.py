"""Betas in the folders that SPM leaves: `SPM.mat` names them, `beta_*.nii` hold them."""

from collections.abc import Sequence
from pathlib import Path

from conceptrsa.analysis.betas.beta_images import (
    BetaImage,
    files_below,
    read_beta_images,
    subject_folders,
)
from conceptrsa.analysis.betas.conditions import ConditionRule, describe_left_out, stimuli_of
from conceptrsa.analysis.betas.responses import (
    MODEL_FILE,
    MODULATOR,
    REGRESSOR,
    regressor_names,
)
from conceptrsa.analysis.betas.volumes import VOLUME_SUFFIXES, regions_by_subject
from conceptrsa.analysis.brain.patterns import SubjectPatterns
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.schema import RoiDefinition


def read_spm_folders(
    path: Path,
    rois: Sequence[RoiDefinition],
    atlas: Path,
    *,
    participants: Sequence[str] | None = None,
    conditions: ConditionRule | None = None,
    with_runs: bool = False,
    ignore_place: bool = False,
) -> tuple[SubjectPatterns, ...]:
    """Read `SPM.mat` and its `beta_*` volumes below each `sub-XX`.

    The betas of a stimulus are the mean over the model's sessions, and halves and runs are its
    sessions. Regressors that are no `... *bf(1)` are no conditions; which conditions are stimuli
    says `conditions`. Of a model with derivatives the canonical response counts.

    Parameters
    ----------
    path : Path
        Holds `sub-XX`, with one model somewhere below, or one in each of its `ses-*` folders.
    rois : sequence of RoiDefinition
    atlas : Path
        Label volume on the betas' grid; see `regions_by_subject`.
    participants : sequence of str, optional
        All by default.
    conditions : ConditionRule, optional
    with_runs : bool
        Whether the betas of each session are kept.
    ignore_place : bool
        See `regions_by_subject`.

    Raises
    ------
    InputError
        On no or several models of a subject, a model that cannot be read, holds no stimulus or
        describes responses by a basis set of another kind, a beta that is missing, unreadable, on
        another grid or, as its header says, of another model.
    """
    regions_of = regions_by_subject(atlas, rois, ignore_place)
    subjects = []
    for folder in subject_folders(path, participants):
        label = folder.name.removeprefix("sub-")
        images: list[BetaImage] = []
        left_out: list[str] = []
        models = _models(folder)
        for model in models:
            session = _session_folder(model, folder) if len(models) > 1 else ""
            of_model, others = _images_of(model, session, conditions or ConditionRule())
            images += of_model
            left_out += others
        subjects.append(
            read_beta_images(
                label,
                images,
                regions_of(label),
                with_runs=with_runs,
                tables=models,
                notes=describe_left_out(folder.name, list(dict.fromkeys(left_out))),
            )
        )
    return tuple(subjects)


def holds_models(path: Path) -> bool:
    """Whether there is a model below some `sub-XX`."""
    folders = [folder for folder in path.glob("sub-*") if folder.is_dir()]
    return any(file.name == MODEL_FILE for folder in folders for file in files_below(folder))


def _models(folder: Path) -> list[Path]:
    models = [file for file in files_below(folder) if file.name == MODEL_FILE]
    if not models:
        raise InputError(f"{folder} holds no {MODEL_FILE}: put the subject's model there")
    sessions = [_session_folder(model, folder) for model in models]
    if len(models) > 1 and (None in sessions or len(set(sessions)) < len(models)):
        raise InputError(
            f"{folder} holds several models ({', '.join(str(m.parent) for m in models[:2])}): keep "
            "one a subject, or one in each of its ses-* folders"
        )
    return models


def _session_folder(model: Path, folder: Path) -> str | None:
    parts = model.relative_to(folder).parts[:-1]
    return next((part for part in parts if part.startswith("ses-")), None)


def _images_of(
    model: Path, session_folder: str | None, rule: ConditionRule
) -> tuple[list[BetaImage], list[str]]:
    """Images of the stimuli of a model, and the conditions that are no stimuli."""
    conditions = [
        (number, match["session"], match["name"])
        for number, name in enumerate(regressor_names(model), start=1)
        if (match := REGRESSOR.fullmatch(name))
        and match["function"] == "1"
        and not MODULATOR.fullmatch(match["name"])
    ]
    if not conditions:
        raise InputError(
            f"{model} holds no condition (no regressor Sn(1) name*bf(1)): give a first-level model"
        )
    names = list(dict.fromkeys(name for _, _, name in conditions))
    stimuli, left_out = stimuli_of(names, rule, model)
    images = [
        BetaImage(
            stimuli[name],
            _beta_file(model.parent, number),
            regressor=f"Sn({session}) {name}*bf(1)",
            run=f"{session_folder} session {session}".strip(),
        )
        for number, session, name in conditions
        if name in stimuli
    ]
    return images, list(left_out)


def _beta_file(folder: Path, number: int) -> Path:
    stem = f"beta_{number:04d}"
    own = [folder / f"{stem}{suffix}" for suffix in VOLUME_SUFFIXES]
    files = [file for file in own if file.is_file()]
    if not files:
        # Programs that resample put letters in front, as SPM does: wbeta_0001.nii.
        files = [
            file for suffix in VOLUME_SUFFIXES for file in sorted(folder.glob(f"*{stem}{suffix}"))
        ]
    if not files:
        raise InputError(
            f"{own[0]} is missing, which {folder / MODEL_FILE} tells of: put the betas beside it"
        )
    if len(files) > 1:
        raise InputError(f"{files[0]} and {files[1].name} are the same beta: keep one")
    return files[0]
