"""The index of the names in a data set, made anew at every start or kept in a folder.

Without a folder nothing is kept: a thousand files are indexed in seconds. pybids itself never
notices that a kept index is out of date. So it is made again when any folder of the data set has
changed since: whatever is added, removed or renamed changes the folder that it lies in.
"""

import logging
import os
import shutil
import tempfile
import time
from pathlib import Path

from bids import BIDSLayout
from bids.layout import BIDSLayoutIndexer

from bids_config.errors import InputError

DATABASE = "layout_index.sqlite"  # pybids' own name for it
NOT_INDEXED = ("derivatives", "sourcedata", "code")
CLOCK_LAG = 20_000_000  # ns; file systems note times in ticks of the kernel
log = logging.getLogger(__name__)


def open_layout(root: Path, database_dir: Path | None = None) -> BIDSLayout:
    """Index the names of a data set, or take a kept index that is not out of date.

    Parameters
    ----------
    root : Path
        Of the data set, resolved.
    database_dir : Path, optional
        Folder to keep the index in.

    Raises
    ------
    InputError
        When the folder holds the index of another data set, or what is no index.
    """
    if database_dir is None:
        return _index(root)
    file = database_dir / DATABASE
    if not file.exists():
        log.info("making the database of names in %s", database_dir)
        return _make(root, file)
    layout = _open(root, file)
    if file.stat().st_mtime_ns <= newest_change(root):
        log.info("%s has changed since its names were kept in %s: made again", root, database_dir)
        return _make(root, file)
    log.info(
        "names are taken from the database in %s (with --bids-database-dir only new, removed and "
        "renamed files are noticed)",
        database_dir,
    )
    return layout


def newest_change(root: Path) -> int:
    """When a folder of the data set last changed (ns).

    The moment that the file system itself notes is taken: copying with `rsync -a` or `cp -a` sets
    the other one, of modification, back.
    """
    newest = 0
    for folder, subfolders, _ in os.walk(root):
        newest = max(newest, os.stat(folder).st_ctime_ns)  # noqa: PTH116
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".") and not (Path(folder) == root and name in NOT_INDEXED)
        ]
    return newest


def _index(root: Path, database_dir: Path | None = None) -> BIDSLayout:
    indexer = BIDSLayoutIndexer(index_metadata=False)
    return BIDSLayout(root, validate=False, indexer=indexer, database_path=database_dir)


def _make(root: Path, file: Path) -> BIDSLayout:
    """Make the index aside and put it in place whole: one cut short would look like a small one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".making-", dir=file.parent))
    # What changes while names are read must count as newer, by a clock that may lag a little.
    begun = time.time_ns() - CLOCK_LAG
    try:
        _index(root, aside)
        os.utime(aside / DATABASE, ns=(begun, begun))
        (aside / DATABASE).replace(file)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return _open(root, file)


def _open(root: Path, file: Path) -> BIDSLayout:
    try:
        layout = BIDSLayout(root, validate=False, database_path=file.parent)
    except Exception as error:  # whatever a file that is no such database makes pybids raise
        raise InputError(
            f"{file} is no database of pybids that can be read: remove it, or give another "
            "--bids-database-dir"
        ) from error
    if Path(layout.root).resolve() != root:
        raise InputError(
            f"{file} is the database of {layout.root}, not of {root}: give another "
            "--bids-database-dir"
        )
    return layout
