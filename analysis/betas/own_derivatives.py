"""Betas as this tool's participant level leaves them: BIDS derivatives in a standard space."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from conceptrsa.analysis.betas.beta_index import Request, SubjectImages, wanted_subjects
from conceptrsa.analysis.betas.image_tables import named_volumes, table_beside
from conceptrsa.analysis.brain.patterns import Half, SubjectPatterns
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.recorded import RECORD
from conceptrsa.bids_config.spaces import MNI305, Space
from conceptrsa.bids_config.writing import require_content

OWN_ATLAS = "sub-{{subject}}/anat/sub-{{subject}}_{regions}.nii.gz"
IN_EPI_SPACE = "_space-boldref_"
HALVES: tuple[Half, ...] = ("odd", "even")

REFERENCE = "SliceTimeReference"
REFERENCE_TOLERANCE = 0.01
"""Tolerance between the slice time references of two subjects, as a fraction of the TR."""
SPM_BIN = 1 / 16
"""Step between the times at which SPM can sample its model, as a fraction of the TR."""
AGAIN = "run the participant level again for that subject"


def list_derivatives(want: Request) -> Iterator[SubjectImages]:
    """List the betas of every subject under a derivatives folder.

    They are `sub-XX/func/*_space-MNI305_res-2_stat-effect_statmap.nii.gz`, or of the standard space
    of fMRIPrep's runs (4D, one volume per stimulus, named by the `.tsv` beside it), where they are
    there the same with `_desc-odd` and `_desc-even`, and run-wise betas in
    `*_desc-runs_roibetas.h5`.

    Raises
    ------
    InputError
        On no betas, betas of several tasks or spaces, or files of a subject that are of several
        estimations.
    """
    present = [path.parent.name for path in want.path.glob("sub-*/func")]
    if not present:
        raise InputError(
            f"{want.path} holds no sub-*/func folder: run the participant level with this OUT_DIR "
            "first"
        )
    names = wanted_subjects(present, want)
    files = {name: _betas_file(want.path / name, want.task) for name in names}
    _require_one_space(list(files.values()))
    for name, betas_file in files.items():
        halves = _halves_of(betas_file)
        run_betas = _run_betas_file(betas_file) if want.with_runs else None
        require_of_one_estimation(betas_file, list(halves.values()), run_betas)
        images = named_volumes(betas_file)
        for half, file in halves.items():
            images += named_volumes(file, half=half)
        sidecar = _read_sidecar(betas_file) or {}
        noticed, estimation = sidecar.get("Noticed"), sidecar.get("Estimation")
        yield SubjectImages(
            name,
            images,
            tables=[table_beside(file) for file in (betas_file, *halves.values())],
            notes=list(map(str, noticed)) if isinstance(noticed, list) else [],
            estimation=estimation if isinstance(estimation, dict) else {},
            run_betas=run_betas,
        )


def holds_own_betas(folder: Path) -> bool:
    """Whether a folder holds betas in MNI305, or a record of what made those in another space."""
    if any(folder.glob(f"sub-*/func/*_{MNI305.entities}_stat-effect_statmap.nii.gz")):
        return True
    return (folder / RECORD).is_file() and any(map(_own_betas, folder.glob("sub-*")))


def own_atlas(folder: Path) -> Path:
    """Name the labels that were made with the betas, with `{subject}` for the label of each."""
    files = (file for subject in sorted(folder.glob("sub-*")) for file in _own_betas(subject))
    first = next(files, None)
    space = MNI305 if first is None else Space.in_name(first.name) or MNI305
    return folder / OWN_ATLAS.format(regions=space.regions)


def _own_betas(folder: Path, task: str | None = None) -> list[Path]:
    """List a subject's betas of all runs, in whatever standard space."""
    pattern = f"{folder.name}_task-{task or '*'}_space-*_stat-effect_statmap.nii.gz"
    files = sorted((folder / "func").glob(pattern))
    return [file for file in files if IN_EPI_SPACE not in file.name]


def _betas_file(folder: Path, task: str | None) -> Path:
    files = _own_betas(folder, task)
    if not files:
        pattern = f"{folder.name}_task-{task or '*'}_space-*_stat-effect_statmap.nii.gz"
        raise InputError(
            f"{folder / 'func' / pattern} is missing: run the participant level for {folder.name}"
        )
    if len({file.name.partition("_space-")[0] for file in files}) > 1:
        names = ", ".join(file.name for file in files)
        raise InputError(
            f"{folder / 'func'} holds betas of several tasks ({names}): choose one with --task-id"
        )
    _require_one_space(files)
    return files[0]


def _require_one_space(files: Sequence[Path]) -> None:
    """Refuse betas in several spaces, of one subject or of several."""
    for file in files[1:]:
        spaces = [Space.in_name(one.name) for one in (files[0], file)]
        if spaces[0] != spaces[1]:
            raise InputError(
                f"{files[0]} is in the space {spaces[0]} but {file} in {spaces[1]}: keep betas of "
                "one space in a folder, and write the others to another output folder"
            )


def _halves_of(betas_file: Path) -> dict[Half, Path]:
    """Files of the halves, where both are there."""
    files = {
        half: betas_file.with_name(betas_file.name.replace("_statmap", f"_desc-{half}_statmap"))
        for half in HALVES
    }
    return files if all(map(_is_there, files.values())) else {}


def _run_betas_file(betas_file: Path) -> Path | None:
    stem = betas_file.name.partition("_stat-effect")[0]
    file = betas_file.with_name(f"{stem}_desc-runs_roibetas.h5")
    return file if _is_there(file) else None


def _is_there(path: Path) -> bool:
    """Whether there is a file of this name, or a link, even if it leads nowhere."""
    return path.is_symlink() or path.exists()


def require_of_one_estimation(
    betas_file: Path, halves: Sequence[Path], run_betas: Path | None = None
) -> None:
    """Refuse files of one subject that are not of the same estimation.

    A participant level that was interrupted while it replaced earlier results, or that was run
    again with other settings and without run-wise betas, leaves such files.

    Parameters
    ----------
    betas_file : Path
        Betas of all runs.
    halves : sequence of Path
        Those of the odd and of the even runs; or empty.
    run_betas : Path, optional
        Run-wise betas.

    Raises
    ------
    InputError
        If settings or runs differ, or one of the files has lost its sidecar.
    """
    files = [betas_file, *halves, *([] if run_betas is None else [run_betas])]
    told = {file: sidecar for file in files if (sidecar := _read_sidecar(file)) is not None}
    if not told:
        return
    for file in files:
        if file not in told:
            raise InputError(
                f"{file} has no sidecar, so it may have been replaced only in part: {AGAIN}"
            )
    of_halves = set().union(*(_sources(told[half]) for half in halves))
    first = told[betas_file]
    for file in files[1:]:
        remedy = f"{AGAIN} with --run-betas, or remove that file" if file == run_betas else AGAIN
        if told[file].get("Estimation") != first.get("Estimation"):
            raise InputError(
                f"{file} was made with other settings than {betas_file.name}: {remedy}"
            )
        if (of_halves if file in halves else _sources(told[file])) != _sources(first):
            raise InputError(f"{file} was made from other runs than {betas_file.name}: {remedy}")


def require_same_estimation(subjects: Sequence[SubjectPatterns]) -> None:
    """Refuse subjects whose betas come from different settings of the participant level.

    Raises
    ------
    InputError
        That names the setting, both files, and the remedy.
    """
    first = subjects[0].estimation
    for subject in subjects[1:]:
        estimation = subject.estimation
        # The moment last: of slices that were not corrected at all it says little.
        for key in sorted({*estimation, *first}, key=lambda key: (key == REFERENCE, key)):
            if key == REFERENCE and _same_reference(estimation, first):
                continue
            if estimation.get(key) != first.get(key):
                raise InputError(
                    f"{subject.sources[0].name} was made with {key} = {estimation.get(key)} but "
                    f"{subjects[0].sources[0].name} with {first.get(key)}: "
                    f"{_remedy(key, 'Preprocessing' in {*estimation, *first})}"
                )


def _same_reference(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Tell whether two models were sampled at the same moment within a volume.

    fMRIPrep takes the middle of the slice times that it finds, which scanners round differently.
    """
    moment, other_moment = one.get(REFERENCE), other.get(REFERENCE)
    if not isinstance(moment, int | float) or not isinstance(other_moment, int | float):
        return False
    tolerance = REFERENCE_TOLERANCE
    if one.get("Engine") == "spm" and "Preprocessing" in one:
        # Brought to the nearest moment that SPM knows, nearly the same may be neighbours.
        tolerance += SPM_BIN
    return math.isclose(moment, other_moment, rel_tol=0, abs_tol=tolerance)


def _remedy(key: str, is_preprocessed: bool) -> str:
    again = "run the participant level again for one of them"
    if key == REFERENCE and is_preprocessed:
        return f"run fMRIPrep on both with the same --slice-time-ref, then {again[4:]}"
    if key == "SliceTimingCorrected" and not is_preprocessed:
        return f"{again}, both with --ignore slicetiming or both without"
    if key == "SliceTimingCorrected":
        return (
            "run fMRIPrep on both with slice timing correction, or on both with --ignore "
            "slicetiming, or leave one of them out"
        )
    return again


def _sources(sidecar: Mapping[str, Any]) -> set[str]:
    sources = sidecar.get("Sources", [])
    return set(map(str, sources)) if isinstance(sources, list) else set()


def _read_sidecar(file: Path) -> dict[str, Any] | None:
    sidecar = file.with_name(f"{file.name.split('.')[0]}.json")
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    except FileNotFoundError:
        require_content(sidecar)
        return None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{sidecar} is not JSON ({error}): {AGAIN}") from error
    return content if isinstance(content, dict) else {}
