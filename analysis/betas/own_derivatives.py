"""Betas as this tool's participant level leaves them: BIDS derivatives in MNI305 space."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from conceptrsa.analysis.betas.beta_images import is_there, read_beta_images, wanted_subjects
from conceptrsa.analysis.betas.estimations import (
    estimation_of,
    noticed_of,
    require_of_one_estimation,
    require_same_estimation,
)
from conceptrsa.analysis.betas.named_volumes import named_volumes, table_beside
from conceptrsa.analysis.betas.roi_files import add_runs
from conceptrsa.analysis.betas.volumes import regions_by_subject
from conceptrsa.analysis.brain.comparable import require_comparable
from conceptrsa.analysis.brain.patterns import Half, SubjectPatterns, voxel_notes, with_data_only
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.recorded import RECORD, read_recorded
from conceptrsa.bids_config.schema import RoiDefinition

SPACE = "space-MNI305_res-2"
OWN_ATLAS = "sub-{subject}/anat/sub-{subject}_space-MNI305_seg-DesikanKilliany_res-2_dseg.nii.gz"
HALVES: tuple[Half, ...] = ("odd", "even")


def read_derivatives(
    out_dir: Path,
    rois: Sequence[RoiDefinition] | None = None,
    *,
    participants: Sequence[str] | None = None,
    task: str | None = None,
    atlas: Path | None = None,
    with_runs: bool = False,
    ignore_place: bool = False,
) -> tuple[SubjectPatterns, ...]:
    """Read the betas and regions of every subject under a derivatives folder.

    Betas of the odd and of the even runs are read where they are there, and then a voxel has to
    have data in both.

    Parameters
    ----------
    out_dir : Path
        Holds `sub-XX/func/*_space-MNI305_res-2_stat-effect_statmap.nii.gz` (4D, one volume per
        stimulus, named by the `.tsv` beside it), where wished the same with `_desc-odd` and
        `_desc-even`, and `sub-XX/anat/*_seg-DesikanKilliany_res-2_dseg.nii.gz`.
    rois : sequence of RoiDefinition, optional
        By default those of the data set configuration that the folder carries.
    participants : sequence of str, optional
        Labels with or without `sub-`; all by default.
    task : str, optional
        Needed only where there are betas of several tasks.
    atlas : Path, optional
        Label volume in place of each subject's own; see `regions_by_subject`.
    with_runs : bool
        Whether run-wise betas and residual covariances are read where the participant level left
        them (`*_desc-runs_roibetas.h5`).
    ignore_place : bool
        See `regions_by_subject`.

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
    out_dir = Path(out_dir)
    present = [path.parent.name for path in out_dir.glob("sub-*/func")]
    if not present:
        raise InputError(
            f"{out_dir} holds no sub-*/func folder: run the participant level into it first"
        )
    if rois is None:
        recorded = read_recorded(out_dir)
        if recorded is None:
            raise InputError(no_regions(out_dir))
        rois = recorded.rois
    regions_of = regions_by_subject(atlas or out_dir / OWN_ATLAS, rois, ignore_place)
    subjects = []
    for name in wanted_subjects(present, participants, out_dir):
        label = name.removeprefix("sub-")
        betas_file = _betas_file(out_dir / name, task)
        images = named_volumes(betas_file)
        tables = [table_beside(betas_file)]
        for half, file in _halves_of(betas_file).items():
            images += named_volumes(file, half=half)
            tables.append(table_beside(file))
        subject = read_beta_images(label, images, regions_of(label), tables=tables)
        run_betas = _run_betas_file(betas_file) if with_runs else None
        require_of_one_estimation(betas_file, list(_halves_of(betas_file).values()), run_betas)
        noticed = tuple(f"{name}: {said}" for said in noticed_of(betas_file))
        subject = replace(
            subject, estimation=estimation_of(betas_file), notes=(*subject.notes, *noticed)
        )
        subjects.append(subject if run_betas is None else _with_runs(subject, run_betas))
    require_comparable(subjects)
    require_same_estimation([subject.sources[0] for subject in subjects])
    return tuple(subjects)


def no_regions(out_dir: Path) -> str:
    """Say that nothing tells which regions there are."""
    return (
        f"{out_dir} does not carry the data set configuration that it was made with ({RECORD}), "
        "which says what its regions are: give it by --dataset-config"
    )


def _halves_of(betas_file: Path) -> dict[Half, Path]:
    """Files of the halves, where both are there."""
    files = {
        half: betas_file.with_name(betas_file.name.replace("_statmap", f"_desc-{half}_statmap"))
        for half in HALVES
    }
    return files if all(is_there(file) for file in files.values()) else {}


def _run_betas_file(betas_file: Path) -> Path | None:
    stem = betas_file.name.partition("_stat-effect")[0]
    file = betas_file.with_name(f"{stem}_desc-runs_roibetas.h5")
    return file if is_there(file) else None


def _with_runs(subject: SubjectPatterns, file: Path) -> SubjectPatterns:
    rois = add_runs(subject.rois, subject.stimuli, file)
    notes = [note for note in subject.notes if note not in voxel_notes(subject)]
    merged = replace(subject, rois=rois, sources=(*subject.sources, file), notes=tuple(notes))
    return with_data_only(merged)


def _betas_file(folder: Path, task: str | None) -> Path:
    pattern = f"{folder.name}_task-{task or '*'}_{SPACE}_stat-effect_statmap.nii.gz"
    files = sorted((folder / "func").glob(pattern))
    if not files:
        raise InputError(
            f"{folder / 'func' / pattern} is missing: run the participant level for {folder.name}"
        )
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise InputError(f"{folder / 'func'} holds betas of several tasks ({names}): name one")
    return files[0]
