"""How betas were estimated, as their sidecars tell; what does not belong together is refused."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import require_content

REFERENCE = "SliceTimeReference"
REFERENCE_TOLERANCE = 0.01
"""Of the TR, between the moments that slices of two subjects were corrected to."""
SPM_BIN = 1 / 16
"""Of the TR, between the moments within a volume that SPM can sample its model at."""
AGAIN = "run the participant level again for that subject"


def estimation_of(betas_file: Path) -> dict[str, Any]:
    """Give `Estimation` of a file's sidecar; empty where there is none.

    Raises
    ------
    InputError
        On a sidecar that cannot be read.
    """
    estimation = (_sidecar(betas_file) or {}).get("Estimation", {})
    return estimation if isinstance(estimation, dict) else {}


def noticed_of(betas_file: Path) -> list[str]:
    """Give sentences on images that the participant level took in spite of something."""
    noticed = (_sidecar(betas_file) or {}).get("Noticed", [])
    return list(map(str, noticed)) if isinstance(noticed, list) else []


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
    sidecars = [_sidecar(file) for file in files]
    if all(sidecar is None for sidecar in sidecars):
        return
    told = {}
    for file, sidecar in zip(files, sidecars, strict=True):
        if sidecar is None:
            raise InputError(
                f"{file} has no sidecar, as if it had been replaced in part only: {AGAIN}"
            )
        told[file] = sidecar
    first = told[betas_file]
    runs = {betas_file: _sources(first)}
    if run_betas is not None:
        runs[run_betas] = _sources(told[run_betas])
    if halves:
        runs[halves[0]] = set().union(*(_sources(told[half]) for half in halves))
    for file in files[1:]:
        remedy = f"{AGAIN} with --run-betas, or remove that file" if file == run_betas else AGAIN
        if told[file].get("Estimation") != first.get("Estimation"):
            raise InputError(
                f"{file} was made with other settings than {betas_file.name}: {remedy}"
            )
        if runs.get(file, runs[betas_file]) != runs[betas_file]:
            raise InputError(f"{file} was made of other runs than {betas_file.name}: {remedy}")


def require_same_estimation(betas_files: Sequence[Path]) -> None:
    """Refuse subjects whose betas come from different settings of the participant level.

    Raises
    ------
    InputError
        That names the setting, both files, and the remedy.
    """
    estimations = [estimation_of(file) for file in betas_files]
    first = estimations[0]
    for file, estimation in zip(betas_files[1:], estimations[1:], strict=True):
        # The moment last: of slices that were not corrected at all it says little.
        for key in sorted({*estimation, *first}, key=lambda key: (key == REFERENCE, key)):
            if key == REFERENCE and _same_reference(estimation, first):
                continue
            if estimation.get(key) != first.get(key):
                raise InputError(
                    f"{file.name} was made with {key} = {estimation.get(key)} but "
                    f"{betas_files[0].name} with {first.get(key)}: "
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


def _sidecar(file: Path) -> dict[str, Any] | None:
    sidecar = file.with_name(f"{file.name.split('.')[0]}.json")
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    except FileNotFoundError:
        require_content(sidecar)
        return None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{sidecar} is not JSON ({error}): {AGAIN}") from error
    return content if isinstance(content, dict) else {}
