"""Find the form that a path without known betas resembles, and what it lacks."""

from fnmatch import fnmatch
from pathlib import Path

from conceptrsa.analysis.betas.beta_index import files_below, subject_of
from conceptrsa.analysis.files.array_files import ARRAY_SUFFIXES, open_arrays
from conceptrsa.bids_config.names import some_of

MOST_FILES = 10_000
"""Files that are looked at; a folder of raw data has many."""

BY_NAME = {
    "*_bold.nii*": "it holds BOLD images, not betas: estimate betas with conceptrsa run",
    "TYPE[BCD]_*": "it resembles glmsingle: put each subject's outputs into a folder sub-XX",
    "betas_session*": "it resembles nsd: give the folder that holds nsddata_betas, or subjXX",
    "*_ResponseData.h5": "it resembles things: give the folder of sub-XX_ResponseData.h5",
    "*_statmap.nii*": "it resembles statmaps: its maps need stat-effect in their names",
    "*.npz": "",
    "*.h5": "",
    "*.hdf5": "",
    "*.nii*": "it holds volumes ({0}): put each into sub-XX/<stimulus>.nii.gz, or list them in a "
    "table with the columns subject, stimulus and file",
    "*.[tc]sv": "{1} resembles table: it needs the columns subject, stimulus and file, or "
    "stimulus and a column per voxel (<region>_<number>)",
    "*": "it holds {0}: give the folder that holds sub-*, or a table (.tsv, .csv)",
}
"""Advice for the first pattern that matches a file name; '' if its arrays decide."""


def describe_nearest(path: Path) -> str:
    """Say in a clause which form is nearest, what is missing, and what to do.

    Parameters
    ----------
    path : Path
        File or folder.
    """
    below = [path] if path.is_file() else files_below(path)
    files = [file for file, _ in zip(below, range(MOST_FILES), strict=False)]
    for pattern, said in BY_NAME.items():
        found = [file for file in files if fnmatch(file.name, pattern)]
        if found and found[0].suffix in ARRAY_SUFFIXES and not said:
            return _of_arrays(found[0])
        if found:
            return said.format(some_of([file.name for file in found], 2), found[0].name)
    return "it is empty: give the folder that holds sub-*, or a table"


def _of_arrays(file: Path) -> str:
    with open_arrays(file) as arrays:
        names = [*arrays.names]
    if subject_of(file.name) is None and any("/" in name for name in names):
        return f"{file.name} names no subject: rename it to sub-01{file.suffix}"
    return (
        f"it resembles roi-patterns: {file.name} needs the arrays stimulus and <region>/betas "
        f"(it holds {some_of(names) or 'nothing'})"
    )
