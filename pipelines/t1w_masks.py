"""Brain masks of T1w images that the user supplies."""

from pathlib import Path

from bids_config.errors import InputError

MASK = "_desc-brain_mask.nii"


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
        The T1w image, which decides where a subject has masks of several.

    Raises
    ------
    InputError
        If there is none, or one file for several subjects, or no telling which.
    """
    file = Path(str(where).replace("{subject}", subject))
    if file.is_file():
        if f"sub-{subject}" not in str(file) and "{subject}" not in str(where):
            _require_one_subject(where, subject, t1w)
        return file
    if not where.is_dir():
        raise InputError(
            f"--t1w-mask {file} is missing; give a mask, a name with {{subject}} in the place of "
            "the label, or a folder with sub-*/anat/sub-*_desc-brain_mask.nii.gz"
        )
    folder = where / f"sub-{subject}"
    found = sorted(
        path
        for path in folder.glob(f"**/anat/sub-{subject}*{MASK}*")
        if "_space-" not in path.name and path.name.endswith((".nii", ".nii.gz"))
    )
    stem = t1w.name.split(".")[0].removesuffix("_T1w").removesuffix("_desc-preproc")
    of_image = [path for path in found if path.name.startswith(f"{stem}{MASK}")]
    chosen = of_image or found
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise InputError(
            f"{folder} has no anat/sub-{subject}_desc-brain_mask.nii.gz; add a mask of {t1w.name}, "
            "or leave --t1w-mask out"
        )
    raise InputError(
        f"{folder} has {len(chosen)} brain masks and none is named after {t1w.name} "
        f"({chosen[0].name}, ...); name it {stem}{MASK}.gz"
    )


def _require_one_subject(where: Path, subject: str, t1w: Path) -> None:
    """Refuse one file for several subjects, which are then in one data set."""
    folder = next((path for path in t1w.parents if path.name == f"sub-{subject}"), None)
    others = (
        [] if folder is None else [path for path in folder.parent.glob("sub-*") if path.is_dir()]
    )
    if len(others) > 1:
        raise InputError(
            f"--t1w-mask {where} is one file and the data set has {len(others)} subjects; write "
            "{subject} in the place of the label, or give a folder of BIDS derivatives"
        )
