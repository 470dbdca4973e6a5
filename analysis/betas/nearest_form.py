"""What a path that holds no betas of a known form comes nearest to, and what is missing for it."""

from pathlib import Path

from conceptrsa.analysis.betas.beta_index import files_below, subject_of
from conceptrsa.analysis.betas.glmsingle import TYPES
from conceptrsa.analysis.betas.things_fmri import RESPONSES
from conceptrsa.analysis.betas.volumes import VOLUME_SUFFIXES
from conceptrsa.analysis.files.array_files import ARRAY_SUFFIXES, open_arrays
from conceptrsa.bids_config.names import some_of

MOST_FILES = 10_000
"""Files that are looked at; a folder of raw data has many."""


def describe_nearest(path: Path) -> str:
    """Say in a clause which form is nearest, what is missing, and what to do.

    Parameters
    ----------
    path : Path
        File or folder.
    """
    if path.is_file():
        return _of_file(path)
    files = [file for file, _ in zip(files_below(path), range(MOST_FILES), strict=False)]
    names = [file.name for file in files]
    if any(name.endswith(("_bold.nii.gz", "_bold.nii")) for name in names):
        return "it holds images of BOLD, not betas: estimate them by conceptrsa run"
    if any(file.stem in TYPES for file in files):
        return "it is nearest to glmsingle: put the outputs of each subject into a folder sub-XX"
    if any(name.startswith("betas_session") for name in names):
        return (
            "it is nearest to nsd: give the folder that holds nsddata_betas, or subjXX with their "
            "betas_sessionXX.hdf5 or .nii.gz"
        )
    if any(name.endswith(RESPONSES) for name in names):
        return f"it is nearest to things: give the folder of the files sub-XX{RESPONSES}"
    if any(name.endswith(("_statmap.nii.gz", "_statmap.nii")) for name in names):
        return "it is nearest to statmaps: keep the maps with stat-effect in their names"
    arrays = [file for file in files if file.suffix in ARRAY_SUFFIXES]
    if arrays:
        return _of_arrays(arrays[0])
    tables = [file for file in files if file.suffix in (".tsv", ".csv")]
    volumes = [name for name in names if name.endswith(VOLUME_SUFFIXES)]
    if volumes:
        return (
            f"it holds volumes ({some_of(volumes, 2)}): put each into sub-XX/<stimulus>.nii.gz, or "
            "list them in a table with the columns subject, stimulus and file"
        )
    if tables:
        return _of_file(tables[0])
    return (
        f"it holds {some_of(names, 3)}: give the folder that holds sub-*, or a table"
        if names
        else "it is empty: give the folder that holds sub-*, or a table"
    )


def _of_file(file: Path) -> str:
    if file.suffix in (".tsv", ".csv"):
        return (
            f"{file.name} is nearest to table: it needs the columns subject, stimulus and file, or "
            "stimulus and a column a voxel (<region>_<number>)"
        )
    if file.suffix in ARRAY_SUFFIXES:
        return _of_arrays(file)
    return "it is one file: give the folder that holds sub-*, or a table (.tsv, .csv)"


def _of_arrays(file: Path) -> str:
    with open_arrays(file) as arrays:
        names = [*arrays.names]
    if subject_of(file.name) is None and any("/" in name for name in names):
        return f"{file.name} names no subject: rename it to sub-01{file.suffix}"
    return (
        f"it is nearest to roi-patterns: {file.name} needs the arrays stimulus and <region>/betas "
        f"(it holds {some_of(names) or 'nothing'})"
    )
