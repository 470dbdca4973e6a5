"""Single-trial betas of the Natural Scenes Dataset (NSD), in the folders of its authors.

As its data manual has them: `betas_sessionBB.hdf5` (x, y, z, 750 trials; reversed in Python) or
`.nii.gz`, percent signal change times 300 as int16, and `nsd_expdesign.mat`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from conceptrsa.analysis.arrays import Integers
from conceptrsa.analysis.betas.beta_index import Request, files_below, wanted_subjects
from conceptrsa.analysis.betas.mat_files import read_numbers
from conceptrsa.analysis.betas.single_trials import NO_STIMULUS, SubjectTrials, TrialFile
from conceptrsa.analysis.betas.trial_arrays import TrialArray, array_in_hdf5, array_in_volumes
from conceptrsa.analysis.brain.patterns import MIN_STIMULI
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import stimulus_id
from conceptrsa.bids_config.writing import file_errors

BETAS = re.compile(r"betas_session(?P<session>\d+)\.(?P<kind>hdf5|nii\.gz)")
SUBJECT = re.compile(r"subj(?P<number>\d+)")
PLACES = (".", "ppdata", "nsddata_betas/ppdata")
"""Places of subjects' folders below the given one."""

DESIGN = "nsd_expdesign.mat"
DESIGN_PLACES = (DESIGN, f"nsddata/experiments/nsd/{DESIGN}")
TRIALS_OF_SESSION = 750
INT16_SCALE = 300
N_SUBJECTS = 8
N_IMAGES = 73_000

VERSIONS = ("betas_fithrf_GLMdenoise_RR", "betas_fithrf", "betas_assumehrf")
"""b3, b2 and b1; and of each the standard resolution first."""
RESOLUTIONS = ("func1pt8mm", "func1mm")

FROM_ONE = re.compile(r"(?:shared\d+_)?nsd(\d+)")
"""The authors' names of the shared images: 73k ids counted from 1, as in the design."""

FROM_ZERO = re.compile(r"(?:(?:train|test)-\d+_)?nsd-(\d+)")
"""Names of the Algonauts challenge of 2023: 73k ids counted from 0, as Python indexes images."""

NUMBER = re.compile(r"\d+")


def find_sessions(path: Path) -> Iterator[tuple[str, Path]]:
    """Subject `sub-XX` and file of betas of each session."""
    for place in PLACES:
        for folder in sorted((path / place).glob("subj*")):
            named = SUBJECT.fullmatch(folder.name)
            if named is None or not folder.is_dir():
                continue
            for file in files_below(folder):
                if BETAS.fullmatch(file.name):
                    yield f"sub-{named['number']}", file


def list_natural_scenes(want: Request) -> Iterator[SubjectTrials]:
    """List the sessions of each subject, and the 73k id of each trial's image.

    Raises
    ------
    InputError
        Without `nsd_expdesign.mat`, on a session of another number of trials, or on pictures
        whose names could be of several images.
    """
    found: dict[str, list[Path]] = {}
    for name, file in find_sessions(want.path):
        found.setdefault(name, []).append(file)
    design_file = want.trials or _find_design(want.path)
    order, images = _read_design(design_file)
    known = _known_names(want.conditions.stimuli or (), want.path)
    _require_no_shift(known, images, design_file)
    for name in wanted_subjects(found, want):
        number = int(name.removeprefix("sub-"))
        if not 1 <= number <= len(images):
            raise InputError(f"{design_file} holds no subject {number}: it has {len(images)}")
        folder, notes = _choose_version(found[name])
        sessions: dict[int, list[Path]] = {}
        for file in found[name]:
            match = BETAS.fullmatch(file.name)
            if file.parent == folder and match is not None:
                sessions.setdefault(int(match["session"]), []).append(file)
        files, unknown = [], set()
        for session in sorted(sessions):
            # Compressed volumes have to be read as a whole, HDF5 at the voxels of regions.
            array, scale = _open(min(sessions[session]))
            trials = order[(session - 1) * TRIALS_OF_SESSION : session * TRIALS_OF_SESSION]
            if array.n_trials != len(trials):
                raise InputError(
                    f"{array.file} holds {array.n_trials} trials but {design_file.name} has "
                    f"{len(trials)} of session {session}: copy it again"
                )
            ids = images[number - 1][trials - 1]
            # Compared by their letters and digits, names from 0 would be taken for those from 1.
            names = tuple(known.get(int(i), NO_STIMULUS if known else f"nsd{i:05d}") for i in ids)
            files.append(TrialFile(array, names, (str(session),) * len(names), scale))
            unknown |= {i for i, named in zip(ids.tolist(), names, strict=True) if not named}
        if unknown:
            notes.append(
                f"{len(unknown)} images are left out, because they have no picture or features"
            )
        yield SubjectTrials(name, files, (design_file,), notes)


def _require_no_shift(known: Mapping[int, str], images: Integers, design_file: Path) -> None:
    """Refuse names of which far more are shared images when they count from the other number.

    And more than by chance, for the names may be of images that no two subjects share.
    """
    shared = set(images[0].tolist()).intersection(*(of_one.tolist() for of_one in images[1:]))
    number, up, down = (len({id_ + by for id_ in known} & shared) for by in (0, 1, -1))
    by_chance = len(known) * len(shared) / N_IMAGES
    if max(up, down) >= MIN_STIMULI and max(up, down) > max(2 * number, 3 * by_chance):
        start = 0 if up > down else 1
        raise InputError(
            f"{number} pictures or features are NSD images that all subjects share "
            f"({design_file}), but {max(up, down)} would be if names counted from {start}: "
            "nsd02951 counts from 1, nsd-02950 from 0"
        )


def _open(file: Path) -> tuple[TrialArray, float]:
    """Betas of a session, and what they are divided by to be percent signal change."""
    if file.name.endswith(".hdf5"):
        array = array_in_hdf5(file, "betas", trials_first=True)
    else:
        array = array_in_volumes(file)
    return array, INT16_SCALE if array.is_whole_numbers else 1


def _find_design(path: Path) -> Path:
    for base in (path, *path.absolute().parents[:4]):
        for place in DESIGN_PLACES:
            if (base / place).is_file():
                return base / place
    raise InputError(
        f"{path} holds NSD betas but no {DESIGN}, which has the image of each trial: put it there "
        f"as {DESIGN_PLACES[1]}, or give it with --trials"
    )


def _read_design(file: Path) -> tuple[Integers, Integers]:
    """Image (from 1, of a subject's 10,000) of each trial, and the 73k ids of these."""
    with file_errors(file, "copy it again", (ValueError,)):
        order = read_numbers(file, ["masterordering"])[0].astype(np.intp)
        ids = read_numbers(file, ["subjectim"])[0].astype(np.intp)
        # Columns of 8 subjects, one after the other.
        return order, ids.reshape(-1, N_SUBJECTS).T


def _choose_version(files: Sequence[Path]) -> tuple[Path, list[str]]:
    """Folder of the betas that are taken where there are several versions, with a note."""
    folders = list(dict.fromkeys(file.parent for file in files))

    def rank(folder: Path) -> tuple[int, int]:
        version = VERSIONS.index(folder.name) if folder.name in VERSIONS else len(VERSIONS)
        named = folder.parent.name
        size = RESOLUTIONS.index(named) if named in RESOLUTIONS else len(RESOLUTIONS)
        return size, version

    first, *others = sorted(folders, key=rank)
    if not others:
        return first, []
    said = ", ".join("/".join(folder.parts[-2:]) for folder in others)
    return first, [f"betas of {'/'.join(first.parts[-2:])} taken, not {said}"]


def _known_names(stimuli: Sequence[str], source: Path) -> dict[int, str]:
    """Names of known pictures or features by 73k id, from 1.

    Raises
    ------
    InputError
        On numbers, which may count from 0 or from 1, and on two names of one image.
    """
    known: dict[int, str] = {}
    for stimulus in stimuli:
        name = stimulus_id(stimulus).rpartition("/")[2]
        if NUMBER.fullmatch(name):
            raise InputError(
                f"{name} may count NSD images from 0 or from 1: name pictures and features "
                "nsd02951 (from 1, as its authors do) or nsd-02950 (from 0)"
            )
        one, zero = FROM_ONE.fullmatch(name), FROM_ZERO.fullmatch(name)
        if one is None and zero is None:
            continue
        id_ = int(one[1]) if one else int(zero[1]) + 1 if zero else 0
        if not 1 <= id_ <= N_IMAGES:
            raise InputError(
                f"{stimulus} is not an NSD image: nsd00001 to nsd{N_IMAGES} count from 1, "
                f"nsd-00000 to nsd-{N_IMAGES - 1} from 0"
            )
        other = known.setdefault(id_, stimulus)
        if other != stimulus:
            raise InputError(f"{other} and {stimulus} are the same NSD image: keep one")
    if stimuli and not known:
        raise InputError(
            f"no picture or feature is named after an NSD image, but {source} holds NSD betas: use "
            "names such as nsd02951 (from 1), shared0001_nsd02951 or nsd-02950 (from 0)"
        )
    return known
