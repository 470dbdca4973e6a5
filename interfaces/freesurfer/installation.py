"""Find FreeSurfer, its licence and its reconstructions."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.programs import CONTAINER_VARIABLE, how_to_get

HOME_VARIABLE = "FREESURFER_HOME"
LICENSE_VARIABLE = "FS_LICENSE"
LICENSE_PAGE = "https://surfer.nmr.mgh.harvard.edu/registration.html"
AVERAGE_SUBJECT = "fsaverage"

NEEDED_FILES = ("mri/aparc+aseg.mgz", "mri/orig.mgz", "mri/transforms/talairach.xfm")
"""Files of a reconstruction that mri_vol2vol and the atlas need."""

# In releases with the Tcl/Tk windows tkregister2 wants a display even with --noedit;
# tkregister2_cmdl is the same source without them, and what bbregister itself calls.
_PROGRAMS = {
    "recon-all": ("recon-all",),
    "tkregister2": ("tkregister2_cmdl", "tkregister2"),
    "mri_vol2vol": ("mri_vol2vol",),
    "bbregister": ("bbregister",),
}
_LICENSE_NAMES = ("license.txt", ".license")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


@dataclass(frozen=True)
class FreeSurfer:
    """An installation of FreeSurfer.

    Attributes
    ----------
    home : Path
        `$FREESURFER_HOME`.
    version : str or None
        First line of its `build-stamp.txt`.
    """

    home: Path
    version: str | None

    def search_path(self) -> str:
        """`PATH` with FreeSurfer's own programs first."""
        folders = [str(self.home / "bin"), str(self.home / "mni" / "bin")]
        return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])

    def program(self, name: str) -> Path:
        """Find one of the four programs that the steps call.

        Raises
        ------
        InputError
            If it is not there.
        """
        for candidate in _PROGRAMS[name]:
            found = shutil.which(candidate, path=self.search_path())
            if found is not None:
                return Path(found).absolute()
        remedy = _remedy()
        raise InputError(f"FreeSurfer's program {name} is not in {self.home / 'bin'}; {remedy}")


def find_freesurfer() -> FreeSurfer:
    """Find FreeSurfer and make sure that the programs which the steps call are there.

    Raises
    ------
    InputError
        If it is not installed, or a program is missing.
    """
    named = os.environ.get(HOME_VARIABLE)
    if not named:
        raise InputError(f"no FreeSurfer was found: ${HOME_VARIABLE} is not set; {_remedy()}")
    home = Path(named).absolute()
    if not home.is_dir():
        raise InputError(f"${HOME_VARIABLE} is {home}, which is not a folder; {_remedy()}")
    installation = FreeSurfer(home, _version(home))
    for name in _PROGRAMS:
        installation.program(name)
    return installation


def _remedy() -> str:
    install = "install FreeSurfer and source its SetUpFreeSurfer.sh"
    return how_to_get("FreeSurfer", "--normalization python", install)


def find_license(license_file: Path | None = None) -> Path:
    """Find FreeSurfer's licence, in the order in which its users expect it.

    After the command line come `FS_LICENSE`, a path, and `FREESURFER_HOME`, which may hold a
    `license.txt` or a `.license`.

    Parameters
    ----------
    license_file : Path, optional
        Path given on the command line.

    Raises
    ------
    InputError
        If there is none, or one that was named does not exist.
    """
    remedy = f"it is free of charge at {LICENSE_PAGE}"
    home = os.environ.get(HOME_VARIABLE)
    in_home = [Path(home) / name for name in _LICENSE_NAMES] if home else []
    candidates = {
        "--fs-license-file": license_file,
        f"${LICENSE_VARIABLE}": os.environ.get(LICENSE_VARIABLE),
        f"${HOME_VARIABLE}": next(filter(Path.exists, in_home), None),
    }
    for title, path in candidates.items():
        if path:
            return _readable_license(Path(path), f"the FreeSurfer licence of {title}", remedy)
    place = f"set ${LICENSE_VARIABLE}, or put it at ${HOME_VARIABLE}/license.txt"
    if os.environ.get(CONTAINER_VARIABLE) and home:
        place = f"or mount it by docker run -v /path/to/license.txt:{home}/license.txt:ro"
    raise InputError(
        f"FreeSurfer needs a licence file and none was found; {remedy}: give "
        f"--fs-license-file, {place}"
    )


def _readable_license(path: Path, title: str, remedy: str) -> Path:
    fault = None
    if path.is_dir():
        fault = "is a folder: if it was mounted into a container, the file is missing on the host"
    elif not path.exists():
        fault = "does not exist"
    elif not os.access(path, os.R_OK):
        fault = "is not readable"
    elif not path.read_bytes().strip():
        fault = "is empty"
    if fault is not None:
        raise InputError(f"{title}, {path}, {fault}; {remedy}")
    return path.absolute()


def find_fsaverage(fs_subjects_dir: Path | None = None) -> Path:
    """Find the subjects directory whose `fsaverage` has what the atlas in MNI305 is made from.

    Parameters
    ----------
    fs_subjects_dir : Path, optional
        Looked at first; then `$FREESURFER_HOME/subjects`.

    Returns
    -------
    Path
        The folder that holds `fsaverage`.

    Raises
    ------
    InputError
        If neither has one that is whole; the message names a missing file.
    """
    candidates = [] if fs_subjects_dir is None else [fs_subjects_dir]
    if home := os.environ.get(HOME_VARIABLE):
        candidates.append(Path(home) / "subjects")
    lacking = []
    for folder in candidates:
        missing = missing_files(folder / AVERAGE_SUBJECT)
        if not missing:
            return folder.absolute()
        lacking.append(missing[0])
    where = " and ".join(map(str, lacking)) or f"${HOME_VARIABLE}/subjects/{AVERAGE_SUBJECT}"
    raise InputError(
        f"the atlas needs FreeSurfer's {AVERAGE_SUBJECT}, but {where} is missing; set "
        f"${HOME_VARIABLE}, or copy {AVERAGE_SUBJECT} from FreeSurfer's subjects folder to "
        "--fs-subjects-dir"
    )


def missing_files(subject_dir: Path) -> list[Path]:
    """List files that the steps need and a reconstruction lacks."""
    return [subject_dir / name for name in NEEDED_FILES if not (subject_dir / name).is_file()]


def require_reconstruction(subjects_dir: Path, subject: str) -> Path:
    """Give a subject's folder, after making sure that it has what the steps need.

    Raises
    ------
    InputError
        If a file is missing, or FreeSurfer could not be told of the subject by this name.
    """
    require_plain_name(subject)
    return require_whole(subjects_dir / subject)


def require_whole(subject_dir: Path, otherwise: str = "") -> Path:
    """Give a subject's folder back if it has what the steps need, else raise InputError.

    `otherwise` ends the sentence with another way out.
    """
    if missing := missing_files(subject_dir):
        raise InputError(
            f"{missing[0]} is missing; run recon-all on {subject_dir.name} to its end{otherwise}"
        )
    return subject_dir


def require_plain_name(subject: str) -> None:
    """Make sure that FreeSurfer's scripts, which quote nothing, can be told a subject's name.

    Raises
    ------
    InputError
        If it has blanks, quotes, slashes or the like.
    """
    if not _PLAIN_NAME.fullmatch(subject):
        raise InputError(
            f"FreeSurfer cannot process a subject called {subject!r}: name it with letters, "
            "digits, '-' and '_'"
        )


def _version(home: Path) -> str | None:
    try:
        lines = (home / "build-stamp.txt").read_text().split("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return lines[0].strip() or None
