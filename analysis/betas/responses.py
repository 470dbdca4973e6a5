"""What volumes say of themselves: whether they are the estimate of one condition's response."""

import re
from collections.abc import Sequence
from pathlib import Path

from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import SpatialImage

from analysis.betas.mat_files import read_names
from bids_config.errors import InputError

MODEL_FILE = "SPM.mat"

REGRESSOR = re.compile(r"Sn\((?P<session>\d+)\) (?P<name>.+)\*bf\((?P<function>\d+)\)")
"""A condition of a session of SPM's, by one of its basis functions."""

MODULATOR = re.compile(r".+x.+\^\d+")
"""A parametric modulation of a condition, which SPM writes as condition, x, parameter, power."""

CANONICAL = "hrf"
"""How names of SPM's basis sets begin whose first function is the canonical response."""

MOST_OF_CANONICAL = 3
"""The canonical response and its derivatives by time and dispersion."""

SPM_BETA = re.compile(r"spm_spm:beta \(\d+\) - (?P<regressor>.+)")
LONGEST_DESCRIPTION = 80
"""Bytes that a NIfTI header has for it; SPM's may be cut off there."""

STATISTICS = range(2, 25)
"""Intent codes of NIfTI for test statistics and p values."""

SCALED = {3: "t", 5: "z"}
"""Those that are betas divided by their standard error."""

AFNI_CODE = 4
AFNI_LABELS = re.compile(rb'atr_name="BRICK_LABS"\s*>\s*"([^"]*)"')
AFNI_COEFFICIENT = re.compile(r"(?P<name>.+)#(?P<function>\d+)_Coef")
AFNI_STATISTICS = {"_Tstat": "t", "_Zstat": "z", "_Zscr": "z"}


def regressor_names(model: Path) -> list[str]:
    """Names of the design's columns, in the order of the betas.

    Raises
    ------
    InputError
        If the file is none of SPM's models.
    """
    try:
        return read_names(model, ("SPM", "xX", "name"))
    except (OSError, ValueError) as error:
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
            f"{model} describes a response by {most} basis functions ({name}), of which no beta "
            "is the response: estimate the model with the canonical HRF"
        )
    if most > 1 and basis is None:
        return (
            f"{MODEL_FILE} does not name its {most} basis functions: the first is taken for the "
            "canonical response"
        )
    if most > 1:
        return "betas of the canonical response are used, not of its derivatives"
    if basis is not None and not basis.startswith(CANONICAL):
        return f"responses are described by the basis {basis}, of one function"
    return None


def require_response(
    image: SpatialImage, volume: int, file: Path, regressor: str | None = None
) -> str | None:
    """Refuse a volume whose header says that it is no condition's response.

    SPM writes what it is into the description, AFNI into labels, others into the intent.

    Parameters
    ----------
    image : SpatialImage
    volume : int
        Counted from 0.
    file : Path
        Of the image, for messages.
    regressor : str, optional
        Of SPM's model, which the volume should be of.

    Returns
    -------
    {'t', 'z'} or None
        If the header says that it holds such values in the place of betas.

    Raises
    ------
    InputError
    """
    if not isinstance(image, Nifti1Image):
        return None
    description = _text(image.header["descrip"])
    label = _afni_label(image, volume)
    beta = SPM_BETA.fullmatch(description)
    if beta is not None and not _is_condition(beta["regressor"], description):
        _refuse(file, volume, f"SPM's beta of {beta['regressor']}")
    if beta and regressor and not regressor.startswith(beta["regressor"]):
        raise InputError(
            f"{file} is of the regressor {beta['regressor']}, as its header says, where "
            f"{MODEL_FILE} beside it tells of {regressor}: put the {MODEL_FILE} there that belongs "
            "to the betas"
        )
    if description.startswith("spm_spm:") and not description.startswith("spm_spm:beta"):
        _refuse(file, volume, f"SPM's {description.removeprefix('spm_spm:').strip()}")
    if description.startswith("SPM{") and not description.startswith("SPM{T"):
        _refuse(file, volume, f"SPM's {description}")
    if label:
        ending = next((end for end in AFNI_STATISTICS if label.endswith(end)), None)
        coefficient = AFNI_COEFFICIENT.fullmatch(label)
        if ending is not None:
            return AFNI_STATISTICS[ending]
        if label.endswith(("_Fstat", "_R^2", "_Stdev")):
            _refuse(file, volume, f"AFNI's {label}")
        if coefficient and f"{coefficient['name']}#1_Coef" in _afni_labels(image):
            _refuse(file, volume, f"AFNI's {label}, one of several functions of time")
    intent = int(image.header["intent_code"])
    if description.startswith("SPM{T"):
        return "t"
    if intent in SCALED:
        return SCALED[intent]
    if intent in STATISTICS:
        _refuse(file, volume, f"of the intent '{image.header.get_intent()[0]}'")
    return None


def describe_kinds(kinds: Sequence[tuple[str | None, Path]], label: str) -> tuple[str, ...]:
    """Note that a subject's volumes hold t or z values.

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
                f"{file} holds {names[0]} and {other} {names[1]}, as their headers say: give the "
                "betas of all stimuli"
            )
    return (f"{label}: the volumes hold {first} values, as their headers say",) if first else ()


def _refuse(file: Path, volume: int, what: str) -> None:
    place = f"volume {volume} of {file}" if volume else str(file)
    raise InputError(
        f"{place} is {what}, as its header says, and no condition's response: give the beta"
    )


def _is_condition(regressor: str, description: str) -> bool:
    match = REGRESSOR.fullmatch(regressor)
    if match is None:
        return len(description) >= LONGEST_DESCRIPTION - 1 and regressor.startswith("Sn(")
    return match["function"] == "1" and MODULATOR.fullmatch(match["name"]) is None


def _basis(model: Path) -> str | None:
    try:
        return "".join(read_names(model, ("SPM", "xBF", "name"))) or None
    except ValueError:
        return None


def _afni_labels(image: Nifti1Image) -> list[str]:
    for extension in image.header.extensions:
        if extension.get_code() == AFNI_CODE:
            content = extension.get_content()
            raw = content if isinstance(content, bytes) else str(content).encode()
            if labels := AFNI_LABELS.search(raw):
                return labels[1].decode("utf-8", "replace").split("~")
    return []


def _afni_label(image: Nifti1Image, volume: int) -> str:
    labels = _afni_labels(image)
    return labels[volume] if volume < len(labels) else ""


def _text(field: object) -> str:
    raw = getattr(field, "item", lambda: field)()
    return raw.decode("latin-1").strip("\0 ") if isinstance(raw, bytes) else str(raw)
