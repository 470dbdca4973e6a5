"""The index of the names in a data set, made anew at every start or kept in a folder.

Without a folder nothing is kept: a thousand files are indexed in seconds. pybids itself never
notices that a kept index is out of date. So a fingerprint of all names is kept in it, and it is
made again when the names have another one. No clock has a part in this: the times of a data set
that lies on a server need not agree with this machine's.
"""

import hashlib
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bids import BIDSLayout
from bids.layout import BIDSLayoutIndexer

from conceptrsa.bids_config.errors import InputError

DATABASE = "layout_index.sqlite"  # pybids' own name for it
NOT_INDEXED = ("derivatives", "sourcedata", "code")
FINGERPRINT = "conceptrsa_fingerprint"  # a table of our own, which pybids never looks at
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
    if _kept_fingerprint(file) != fingerprint_of_names(root):
        log.info("the names in %s are not those kept in %s: made again", root, database_dir)
        return _make(root, file)
    log.info(
        "names are taken from the database in %s (with --bids-database-dir only new, removed and "
        "renamed files are noticed)",
        database_dir,
    )
    return layout


def fingerprint_of_names(root: Path) -> str:
    """Digest of the names of all files and folders that pybids indexes.

    Folders that are links are followed, as pybids does it; one that was met before is not entered
    again, so links in a circle come to an end.
    """
    digest = hashlib.blake2b()
    for name in _names(root):
        digest.update(os.fsencode(name) + b"\0")
    return digest.hexdigest()


def _names(root: Path) -> Iterator[str]:
    entered = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        is_root = Path(folder) == root
        state = os.stat(folder)  # noqa: PTH116
        is_new = (state.st_dev, state.st_ino) not in entered
        entered.add((state.st_dev, state.st_ino))
        # Sorted, so that of two links to one folder it is always the same that is entered.
        subfolders[:] = sorted(
            name
            for name in subfolders
            if is_new and not name.startswith(".") and not (is_root and name in NOT_INDEXED)
        )
        yield f"{os.path.relpath(folder, root)}/"
        if is_new:
            yield from sorted(files)


def _index(root: Path, database_dir: Path | None = None) -> BIDSLayout:
    indexer = BIDSLayoutIndexer(index_metadata=False)
    return BIDSLayout(root, validate=False, indexer=indexer, database_path=database_dir)


def _make(root: Path, file: Path) -> BIDSLayout:
    """Make the index aside and put it in place whole: one cut short would look like a small one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".making-", dir=file.parent))
    # Taken first: names that change while they are indexed then have another one ever after.
    fingerprint = fingerprint_of_names(root)
    try:
        _index(root, aside)
        with closing(sqlite3.connect(aside / DATABASE)) as database, database:
            database.execute(f"CREATE TABLE {FINGERPRINT} AS SELECT ? AS names", (fingerprint,))
        (aside / DATABASE).replace(file)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return _open(root, file)


def _kept_fingerprint(file: Path) -> str | None:
    """Give the fingerprint in a database; None where pybids or an older version made it."""
    try:
        with closing(sqlite3.connect(file)) as database:
            (kept,) = database.execute(f"SELECT names FROM {FINGERPRINT}").fetchone()
    except sqlite3.Error:
        return None
    return str(kept)


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
