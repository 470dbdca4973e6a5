"""Betas that SPM wrote: in its folders, or renamed as the paper's authors published them."""

import re
from collections.abc import Iterator
from pathlib import Path

from conceptrsa.analysis.betas.beta_index import (
    BetaImage,
    Request,
    SubjectImages,
    files_below,
    subject_folders,
)
from conceptrsa.analysis.betas.conditions import ConditionRule, stimuli_of
from conceptrsa.analysis.betas.response_kind import (
    MODEL_FILE,
    MODULATOR,
    REGRESSOR,
    regressor_names,
)
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import VOLUME_SUFFIXES

PAPER_NAME = re.compile(r"(?P<stimulus>[A-Za-z0-9-]+_\d+).*beta_\d+\.(nii|nii\.gz|mgz)")
"""`<synset>_<image>`, anything, `beta_00NN`; the number counts SPM's regressors, not stimuli."""


def list_paper_layout(want: Request) -> Iterator[SubjectImages]:
    """List `sub-XX/<synset>_<image>...beta_00NN.nii`, one volume a stimulus, under a folder.

    Raises
    ------
    InputError
        On a subject without such a file.
    """
    for folder in subject_folders(want):
        volumes = [file for file in sorted(folder.iterdir()) if file.name.endswith(VOLUME_SUFFIXES)]
        names = {file: PAPER_NAME.fullmatch(file.name) for file in volumes}
        images = [BetaImage(name["stimulus"], file) for file, name in names.items() if name]
        if not images:
            raise InputError(
                f"{folder} holds no file named <synset>_<image>...beta_00NN.nii: give the folder "
                "of the paper's betas"
            )
        others = ", ".join(file.name for file, name in names.items() if not name)
        note = f"left out because the name is not <synset>_<image>...beta_00NN: {others}"
        yield SubjectImages(folder.name, images, notes=[note] if others else [])


def list_spm_folders(want: Request) -> Iterator[SubjectImages]:
    """List the betas of `SPM.mat` below each `sub-XX`: of one, or of one in each `ses-*` folder.

    Runs are the model's sessions. Regressors that are no `... *bf(1)` are no conditions.

    Raises
    ------
    InputError
        On no or several models of a subject, a model that cannot be read or holds no stimulus, or
        a beta that is missing.
    """
    for folder in subject_folders(want):
        models = [file for file in files_below(folder) if file.name == MODEL_FILE]
        if not models:
            raise InputError(f"{folder} holds no {MODEL_FILE}: put the subject's model there")
        sessions = [_session_folder(model, folder) for model in models]
        if len(models) > 1 and ("" in sessions or len(set(sessions)) < len(models)):
            raise InputError(
                f"{folder} holds several models ({', '.join(str(m.parent) for m in models[:2])}): "
                "keep one per subject, or one in each ses-* folder"
            )
        images: list[BetaImage] = []
        left_out: list[str] = []
        for model, session in zip(models, sessions, strict=True):
            prefix = session if len(models) > 1 else ""
            of_model, others = _images_of(model, prefix, want.conditions)
            images += of_model
            left_out += others
        yield SubjectImages(
            folder.name, images, tables=models, left_out=list(dict.fromkeys(left_out))
        )


def holds_models(path: Path) -> bool:
    """Whether there is a model below some `sub-XX`."""
    folders = [folder for folder in path.glob("sub-*") if folder.is_dir()]
    return any(file.name == MODEL_FILE for folder in folders for file in files_below(folder))


def _session_folder(model: Path, folder: Path) -> str:
    parts = model.relative_to(folder).parts[:-1]
    return next((part for part in parts if part.startswith("ses-")), "")


def _images_of(
    model: Path, session_folder: str, rule: ConditionRule
) -> tuple[list[BetaImage], tuple[str, ...]]:
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
    return images, left_out


def _beta_file(folder: Path, number: int) -> Path:
    stem = f"beta_{number:04d}"
    own = [folder / f"{stem}{suffix}" for suffix in VOLUME_SUFFIXES]
    # Programs that resample put letters in front, as SPM does: wbeta_0001.nii.
    files = [file for file in own if file.is_file()] or [
        file for suffix in VOLUME_SUFFIXES for file in sorted(folder.glob(f"*{stem}{suffix}"))
    ]
    if not files:
        raise InputError(
            f"{own[0]} is missing, but {folder / MODEL_FILE} lists it: put the betas beside it"
        )
    if len(files) > 1:
        raise InputError(f"{files[0]} and {files[1].name} are the same beta: keep one")
    return files[0]
