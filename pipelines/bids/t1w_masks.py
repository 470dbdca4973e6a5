"""Brain masks of T1w images that the user supplies."""

import re
from pathlib import Path

from bids.layout import parse_file_entities

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import require_content

SUFFIX = "_desc-brain_mask.nii"


def find_t1w_mask(where: Path, subject: str, t1w: Path) -> Path:
    """Find the supplied brain mask of a subject.

    Parameters
    ----------
    where : Path
        A file, in whose path `{subject}` stands for the label; or a folder of BIDS derivatives
        with `sub-<label>_desc-brain_mask.nii.gz` in an `anat` folder of each subject.
    subject : str
        Label without `sub-`.
    t1w : Path
        The T1w image. A mask whose name has another session, run or acquisition is not taken.

    Raises
    ------
    InputError
        If there is none, or one file for several subjects, or several that could be meant.
    """
    file = Path(str(where).replace("{subject}", subject))
    if file.is_dir():
        return _find_in(file if file != where else where / f"sub-{subject}", subject, t1w)
    require_content(file)
    if not file.is_file():
        raise InputError(
            f"--t1w-mask {file} is missing; give a mask, a name with {{subject}} for "
            "the label, or a folder with sub-*/anat/sub-*_desc-brain_mask.nii.gz"
        )
    if file == where and not re.search(rf"sub-{re.escape(subject)}(?![0-9A-Za-z])", file.name):
        _require_one_subject(where, subject, t1w)
    return file


def _find_in(folder: Path, subject: str, t1w: Path) -> Path:
    found = sorted(
        path
        for path in folder.glob(f"**/sub-{subject}_*{SUFFIX}*")
        if "_space-" not in path.name and path.name.endswith((".nii", ".nii.gz"))
    )
    found += sorted(folder.glob(f"**/sub-{subject}{SUFFIX}*"))
    fitting = [path for path in dict.fromkeys(found) if _may_be_of(path, t1w)]
    stem = t1w.name.split(".")[0].removesuffix("_T1w").removesuffix("_desc-preproc")
    named = [path for path in fitting if path.name.startswith(f"{stem}{SUFFIX}")]
    chosen = named or fitting
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise InputError(
            f"{folder} has no brain mask of {t1w.name}; add anat/{stem}{SUFFIX}.gz, or leave "
            "--t1w-mask out"
        )
    raise InputError(
        f"{folder} has {len(chosen)} brain masks that could be of {t1w.name} ({chosen[0].name}, "
        f"...); keep one, named {stem}{SUFFIX}.gz"
    )


def _may_be_of(mask: Path, t1w: Path) -> bool:
    """Whether no entity in the name of a mask contradicts that of the image."""
    names = (
        {**parse_file_entities(f"/{path.parent.name}/{path.name}"), "desc": ""}
        for path in (mask, t1w)
    )
    of_mask, of_image = names
    if "task" in of_mask:  # of an EPI
        return False
    entities = ("subject", "session", "acquisition", "run", "reconstruction", "ceagent")
    return all(of_mask[entity] == of_image.get(entity) for entity in entities if entity in of_mask)


def _require_one_subject(where: Path, subject: str, t1w: Path) -> None:
    """Refuse one file for several subjects, which are then in one data set."""
    folder = next((path for path in t1w.parents if path.name == f"sub-{subject}"), None)
    of_all = (
        [] if folder is None else [path for path in folder.parent.glob("sub-*") if path.is_dir()]
    )
    if len(of_all) > 1:
        raise InputError(
            f"--t1w-mask {where} is one file and the data set has {len(of_all)} subjects; write "
            "{subject} for the label, or give a folder of BIDS derivatives"
        )
