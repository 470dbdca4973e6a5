"""Check from headers whether volumes estimate the response to one condition."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import SpatialImage

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.betas.mat_files import read_names, read_numbers
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import require_content

MODEL_FILE = "SPM.mat"

REGRESSOR = re.compile(r"Sn\((?P<session>\d+)\) (?P<name>.+)\*bf\((?P<function>\d+)\)")
"""A condition of a session of SPM's, by one of its basis functions."""

MODULATOR = re.compile(r".+x.+\^\d+")
"""A parametric modulation of a condition, which SPM writes as condition, x, parameter, power."""

CANONICAL = "hrf"
"""Beginning of names of SPM's basis sets whose first function is the canonical response."""

MOST_OF_CANONICAL = 3
"""The canonical response and its derivatives by time and dispersion."""

SPM_BETA = re.compile(r"spm_spm:beta \(\d+\) - (?P<regressor>.+?)(?: - conv\(.*)?")
"""A description; SPM adds `- conv(...)` where it smooths."""

LONGEST_DESCRIPTION = 80
"""Bytes that a NIfTI header has for it; SPM's may be cut off there."""

SPM_CONTRAST = re.compile(
    r"(Contrast |SPM contrast - |SPM\{T_[^}]*\} - contrast )(?P<number>\d+):( (?P<name>.*))?"
)
"""A contrast (SPM8 wrote it otherwise), and its t values."""

SPM_ESS = re.compile(r"(SPM )?ESS[ -]+contrast .*")
"""The sum of squares of an F contrast."""

CONTRAST_NAME = re.compile(r"[rsw]*(?P<kind>con|spmT|ess|spmF)_(?P<number>\d{4,})\..+")
"""Files of contrasts, resampled or smoothed ones too; other programs may empty the description."""

CONTRAST_DOUBT = (
    "each SPM contrast is read as the response to a stimulus, because no SPM.mat beside them gives "
    "their weights"
)

NO_WEIGHT = 1e-6
"""Weights that are smaller in proportion to the largest come of rounding."""

ONE_BY_HAND = 0.01
"""Weights that people type, as 0.33 three times, sum to 1 up to this."""

STATISTICS = range(2, 25)
"""Intent codes of NIfTI for test statistics and p values."""

SCALED = {3: "t", 5: "z"}
"""Kinds that are betas divided by their standard error."""

AFNI_CODE = 4
AFNI_LABELS = re.compile(rb'atr_name="BRICK_LABS"\s*>\s*"([^"]*)"')
AFNI_COEFFICIENT = re.compile(r"(?P<name>.+)#(?P<function>\d+)_Coef")
AFNI_STATISTICS = {"_Tstat": "t", "_Zstat": "z", "_Zscr": "z"}
AFNI_DOUBT = (
    "AFNI coefficients #0, #1, ... of one name are read as responses to single stimuli, as from "
    "-stim_times_IM; coefficients of TENT and other basis functions are not responses"
)


def regressor_names(model: Path) -> list[str]:
    """Names of the design's columns, in the order of the betas.

    Raises
    ------
    InputError
        If the file is none of SPM's models.
    """
    try:
        return read_names(model, ("SPM", "xX", "name"))
    except ValueError as error:
        raise InputError(
            f"{model} cannot be read as a model of SPM ({error}): give an intact {MODEL_FILE}"
        ) from error


def require_canonical(model: Path) -> str | None:
    """Refuse a model of SPM of whose basis functions the first is not a condition's response.

    Returns
    -------
    str or None
        What to know about the basis, where it is not the canonical response alone.

    Raises
    ------
    InputError
    """
    found = [REGRESSOR.fullmatch(name) for name in regressor_names(model)]
    most = max((int(match["function"]) for match in found if match), default=1)
    basis = _basis(model)
    name = basis or "of no name"
    if (most > 1 and not (basis or CANONICAL).startswith(CANONICAL)) or most > MOST_OF_CANONICAL:
        raise InputError(
            f"{model} describes a response by {most} basis functions ({name}), so no beta is the "
            "response: estimate the model with the canonical HRF"
        )
    if most > 1 and basis is None:
        return (
            f"{MODEL_FILE} does not name its {most} basis functions: the first is read as the "
            "canonical response"
        )
    if most > 1:
        return "betas of the canonical response are used, not of its derivatives"
    if basis is not None and not basis.startswith(CANONICAL):
        return f"responses are described by the basis {basis}, of one function"
    return None


def require_response(
    image: SpatialImage,
    volume: int | None,
    file: Path,
    labels: Sequence[tuple[str, bool]] = (),
    regressor: str | None = None,
) -> tuple[str | None, str | None]:
    """Refuse a volume whose header says that it is no condition's response.

    SPM writes what it is into the description, AFNI into labels, others into the intent. Of SPM's
    contrasts the weights count, in the `SPM.mat` beside the volume.

    Parameters
    ----------
    image : SpatialImage
    volume : int or None
        Counted from 0; None: the file's only one, that nobody named.
    file : Path
        Of the image, for messages.
    labels : sequence of (str, bool)
        Of the file's volumes, as `afni_labels` gives them.
    regressor : str, optional
        Of SPM's model, which the volume should be of.

    Returns
    -------
    kind : {'t', 'z'} or None
        If the header says that it holds such values in place of betas.
    note : str or None
        What the header leaves in doubt, or which multiple of a response it is.

    Raises
    ------
    InputError
    """
    is_nifti = isinstance(image, Nifti1Image)
    description = _text(image.header["descrip"]) if is_nifti else ""
    contrast = _contrast_of(description, file, volume)
    note = None
    if contrast is not None:
        is_alone = len(image.shape) < 4 or image.shape[3] == 1  # else it is the first one's at most
        note = _note_of_contrast(contrast, file) if is_alone else CONTRAST_DOUBT
    if not is_nifti:
        return contrast.kind if contrast else None, note
    index = volume or 0
    label, is_of_several = labels[index] if index < len(labels) else ("", False)
    beta = SPM_BETA.fullmatch(description)
    if beta is not None and not _is_condition(beta["regressor"], description):
        _refuse(file, volume, f"SPM's beta of {beta['regressor']}")
    if beta and regressor and not _begins_with(regressor, beta["regressor"]):
        raise InputError(
            f"{file} has regressor {beta['regressor']} in its header, but {regressor} in the "
            f"{MODEL_FILE} beside it: put the {MODEL_FILE} of these betas there"
        )
    if description.startswith("spm_spm:") and not description.startswith("spm_spm:beta"):
        _refuse(file, volume, f"SPM's {description.removeprefix('spm_spm:').strip()}")
    if description.startswith("SPM{") and not description.startswith("SPM{T"):
        _refuse(file, volume, f"SPM's {description}")
    if label:
        ending = next((end for end in AFNI_STATISTICS if label.endswith(end)), None)
        if ending is not None:
            return AFNI_STATISTICS[ending], None
        if label.endswith(("_Fstat", "_R^2", "_Stdev")):
            _refuse(file, volume, f"AFNI's {label}")
        if is_of_several and volume is None:
            _refuse(file, volume, f"AFNI's {label}, one of several functions of time")
    intent = int(image.header["intent_code"])
    if description.startswith("SPM{T") or (contrast and contrast.kind):
        return "t", note
    if intent in SCALED:
        return SCALED[intent], note
    if intent in STATISTICS:
        _refuse(file, volume, f"of the intent '{image.header.get_intent()[0]}'")
    return None, note or (AFNI_DOUBT if is_of_several else None)


def require_one_kind(kinds: Sequence[tuple[str | None, Path]]) -> str | None:
    """Give what files hold in place of betas, 't' or 'z', where they agree.

    Raises
    ------
    InputError
        If they are of several kinds.
    """
    first, file = kinds[0]
    for kind, other in kinds:
        if kind != first:
            names = [f"{k} values" if k else "betas" for k in (first, kind)]
            raise InputError(
                f"{file} holds {names[0]} and {other} {names[1]}, according to their headers: give "
                "betas for all stimuli and subjects"
            )
    return first


def _refuse(file: Path, volume: int | None, what: str, source: str = "header") -> None:
    place = f"volume {volume} of {file}" if volume else str(file)
    raise InputError(
        f"{place} is {what} according to its {source}, not the response to a condition: give the "
        "beta"
    )


class _Contrast(NamedTuple):
    """A T contrast of SPM's: its number, its name if told, and 't' of its t values."""

    number: int
    name: str | None
    kind: str | None


def _contrast_of(description: str, file: Path, volume: int | None) -> _Contrast | None:
    """Read the contrast from a description, or from the file's name."""
    if found := SPM_CONTRAST.fullmatch(description):
        kind = "t" if description.startswith("SPM{T") else None
        return _Contrast(int(found["number"]), found["name"] or None, kind)
    if SPM_ESS.fullmatch(description):
        _refuse(file, volume, f"SPM's {description}, an F contrast")
    named = CONTRAST_NAME.fullmatch(file.name)
    if named is None or description.startswith(("spm_spm:", "SPM{")):
        return None
    if named["kind"] in ("ess", "spmF"):
        _refuse(file, volume, "of an SPM F contrast", "name")
    return _Contrast(int(named["number"]), None, "t" if named["kind"] == "spmT" else None)


def _note_of_contrast(contrast: _Contrast, file: Path) -> str | None:
    """Refuse a contrast that is no condition's response; say which multiple of one it is."""
    model = file.parent / MODEL_FILE
    require_content(model)
    if not model.is_file():
        return CONTRAST_DOUBT
    status = model.stat()
    regressors, names, weights = _contrasts(model, status.st_mtime_ns, status.st_size)
    what = f"contrast {contrast.number}{f' ({contrast.name})' if contrast.name else ''}"
    known = names[contrast.number - 1] if 0 < contrast.number <= len(names) else None
    if known is None or not _is_called(known, contrast.name):
        tells = "no such contrast" if known is None else f"the contrast {known} there"
        raise InputError(
            f"{file} is SPM's {what}, but the {MODEL_FILE} beside it has {tells}: put the "
            f"{MODEL_FILE} of this contrast there"
        )
    of_it = weights[contrast.number - 1]
    if len(of_it) != len(regressors) or not np.isfinite(of_it).all():
        raise InputError(
            f"{model} lacks weights of the {len(regressors)} regressors for {what}: give an "
            f"intact {MODEL_FILE}"
        )
    if has := _why_no_response(of_it, regressors):
        raise InputError(
            f"{file} is SPM's contrast {contrast.number} ({known}), which has {has} "
            f"({MODEL_FILE}), so it is not the response to a condition: give betas, or one "
            "contrast per condition"
        )
    total = float(of_it.sum())
    if contrast.kind or abs(total - 1) <= ONE_BY_HAND:  # t values are the same for any multiple
        return None
    return (
        f"SPM contrasts whose weights sum to {total:.3g} are {total:.3g} times the mean response: "
        "distances that depend on its size are wrong if sums differ between stimuli"
    )


def _why_no_response(weights: Floats, regressors: Sequence[str]) -> str | None:
    """Say what of a contrast's weights makes it no single condition's response, if anything."""
    counts = np.abs(weights) > NO_WEIGHT * np.abs(weights).max(initial=0)
    if not counts.any():
        return "no weights"
    if (weights[counts] > 0).any() and (weights[counts] < 0).any():
        return "weights of both signs (a difference)"
    names = [name for name, is_weighted in zip(regressors, counts, strict=True) if is_weighted]
    others = [name for name in names if not _is_condition(name, "")]
    if others:
        return f"a weight on {others[0]}"
    matches = [REGRESSOR.fullmatch(name) for name in names]
    conditions = list(dict.fromkeys(match["name"] for match in matches if match))
    if len(conditions) > 1:
        return f"weights on {len(conditions)} conditions, {conditions[0]} the first"
    return "negative weights" if (weights[counts] < 0).any() else None


@lru_cache(maxsize=2)
def _contrasts(
    model: Path, _changed_ns: int, _size: int
) -> tuple[list[str], list[str], list[Floats]]:
    """Regressors of a model, and names and weights of its contrasts.

    Kept, as a model of hundreds of megabytes may have a contrast for each of many stimuli.
    """
    require_canonical(model)
    try:
        names = read_names(model, ("SPM", "xCon", "name"))
        weights = read_numbers(model, ("SPM", "xCon", "c"))
        if len(names) != len(weights):
            raise ValueError(f"{len(names)} names and weights of {len(weights)}")
    except ValueError as error:
        raise InputError(
            f"{model} has no readable weights for the contrasts beside it ({error}): put the "
            f"{MODEL_FILE} there that SPM wrote with them"
        ) from error
    return regressor_names(model), names, weights


def _is_called(name: str, described: str | None) -> bool:
    """Whether a contrast's name is the one described, if any; SPM adds how it was smoothed."""
    return (
        described is None or _begins_with(name, described) or _begins_with(described, f"{name} - ")
    )


def _is_condition(regressor: str, description: str) -> bool:
    match = REGRESSOR.fullmatch(regressor)
    if match is None:
        n_bytes = len(description.encode())
        return n_bytes >= LONGEST_DESCRIPTION - 1 and regressor.startswith("Sn(")
    return match["function"] == "1" and MODULATOR.fullmatch(match["name"]) is None


def _basis(model: Path) -> str | None:
    try:
        return "".join(read_names(model, ("SPM", "xBF", "name"))) or None
    except ValueError:
        return None


def afni_labels(image: SpatialImage) -> list[tuple[str, bool]]:
    """AFNI's labels of a file's volumes, and whether each is one of several of a condition."""
    for extension in image.header.extensions if isinstance(image, Nifti1Image) else ():
        if extension.get_code() == AFNI_CODE:
            content = extension.get_content()
            raw = content if isinstance(content, bytes) else str(content).encode()
            if found := AFNI_LABELS.search(raw):
                labels = found[1].decode("utf-8", "replace").split("~")
                matches = [AFNI_COEFFICIENT.fullmatch(label) for label in labels]
                several = {match["name"] for match in matches if match and match["function"] == "1"}
                return [
                    (label, match is not None and match["name"] in several)
                    for label, match in zip(labels, matches, strict=True)
                ]
    return []


def _begins_with(regressor: str, described: str) -> bool:
    """Whether a description, perhaps cut off, is of a regressor.

    Which bytes stand for a letter outside of ASCII depends on the system that MATLAB ran on.
    """
    if not (regressor.isascii() and described.isascii()):
        regressor, described = (re.sub(r"[^ -~]|\?", "", text) for text in (regressor, described))
    return regressor.startswith(described)


def _text(field: object) -> str:
    raw = getattr(field, "item", lambda: field)()
    if not isinstance(raw, bytes):
        return str(raw)
    try:
        return raw.decode().strip("\0 ")
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip("\0 ")
