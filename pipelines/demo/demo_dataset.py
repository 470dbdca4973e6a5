"""Writing the demo's BIDS data set; begun anew, or finished where it was left."""

import hashlib
import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path

import nibabel as nib
import numpy as np

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.tsv import write_table
from conceptrsa.bids_config.writing import atomic_path, remove_leftovers, write_json
from conceptrsa.pipelines.demo.demo_settings import DemoSettings
from conceptrsa.pipelines.demo.presentations import events_table, slice_delays
from conceptrsa.pipelines.demo.subject import (
    draw_subject,
    runs_per_session,
    scan_bold,
    scan_t1w,
)
from conceptrsa.pipelines.execution.worker_processes import (
    interrupts_held_back,
    kill_workers,
    start_worker,
)

MANIFEST = "demo.json"
SESSION = "perceptionTest"
TASK = "perception"
PICTURES = Path(__file__).with_name("stimuli")
ROOT_FILES = Path(__file__).with_name("templates")
"""Files at the root of the data set; `describe` puts in what depends on settings and version."""


def write_stimuli(folder: Path) -> None:
    """Write the demo's 24 pictures (256 x 256 pixels, RGB) and their `labels.tsv`.

    The project drew them itself. Colours of the background, its texture, and where and how large
    the object stands vary without regard to what the object is, so that pictures which look alike
    need not mean alike.
    """
    for file in PICTURES.iterdir():
        with atomic_path(folder / file.name) as temporary:
            shutil.copyfile(file, temporary)


def describe(settings: DemoSettings) -> dict[str, str]:
    """Text of each file at the root of the data set, by its name."""
    texts = {file.name: file.read_text() for file in ROOT_FILES.iterdir()}
    subjects = (f"sub-{number:02d}" for number in range(1, settings.n_subjects + 1))
    description = json.loads(texts["dataset_description.json"])
    description["GeneratedBy"][0]["Version"] = version("conceptrsa")
    bold = json.loads(texts["task-perception_bold.json"])
    bold["RepetitionTime"] = settings.repetition_time
    bold["SliceTiming"] = slice_delays(settings.bold_shape[2], settings.repetition_time).tolist()
    return {
        **texts,
        "participants.tsv": "\n".join(["participant_id", *subjects, ""]),
        "dataset_description.json": json.dumps(description, indent=2) + "\n",
        "task-perception_bold.json": json.dumps(bold, indent=2) + "\n",
    }


@dataclass(frozen=True)
class _Session:
    """Work of one process: the runs of a session and, with the first, the anatomy and truth."""

    subject: int
    number: int
    runs: range

    @property
    def key(self) -> str:
        return f"sub-{self.subject + 1:02d}_ses-{self.number:02d}"


def write_demo_dataset(
    out_dir: Path,
    features: Mapping[str, np.ndarray],
    stimuli: Sequence[str],
    settings: DemoSettings | None = None,
    n_procs: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write the data set to `out_dir`/bids and what is planted in it to `out_dir`/truth.

    A data set that is already there, made with the same settings and with all of its files whole,
    is left as it is; the missing or damaged files of one are made again, and come out the same.

    Parameters
    ----------
    out_dir : Path
    features : mapping of model name to (stimuli, features) array
        Rows in the order of `stimuli`; at least the models of `settings.planted`.
    stimuli : sequence of str
        Stimulus ids.
    settings : DemoSettings, optional
    n_procs : int
        Number of processes; the files do not depend on it.
    on_progress : callable, optional
        Called with the numbers of finished and of all scanning sessions.

    Raises
    ------
    InputError
        If a planted model has no features, or if `out_dir` holds a demo data set made otherwise.
    """
    settings = settings or DemoSettings()
    planted = _planted_features(features, stimuli, settings)
    manifest = _Manifest.open(out_dir, settings.fingerprint(planted, stimuli))
    remove_leftovers(out_dir)
    for name, text in describe(settings).items():
        with atomic_path(out_dir / "bids" / name) as temporary:
            temporary.write_text(text)

    sessions = tuple(_sessions(settings))
    missing = [session for session in sessions if not manifest.is_whole(session.key)]
    on_progress(len(sessions) - len(missing), len(sessions))
    made_of = (planted, tuple(stimuli), settings)
    for key, files in _write_sessions(out_dir, missing, made_of, n_procs):
        manifest.sessions[key] = files
        manifest.write()
        on_progress(len(manifest.sessions), len(sessions))


def _planted_features(
    features: Mapping[str, np.ndarray], stimuli: Sequence[str], settings: DemoSettings
) -> dict[str, np.ndarray]:
    """Features of the planted models, which must have a row for each stimulus."""
    models = dict.fromkeys(roi.model for roi in settings.planted.values())
    for model in models:
        n_rows = len(features.get(model, ()))
        if n_rows != len(stimuli):
            raise InputError(
                f"The demo plants {model}, whose features have {n_rows} rows for {len(stimuli)} "
                "stimuli: extract them again."
            )
    return {model: features[model] for model in models}


def _sessions(settings: DemoSettings) -> Iterator[_Session]:
    sizes = runs_per_session(settings.n_runs)
    for subject in range(settings.n_subjects):
        for number, (size, end) in enumerate(zip(sizes, accumulate(sizes), strict=True), start=1):
            yield _Session(subject, number, range(end - size, end))


_Made = tuple[Mapping[str, np.ndarray], tuple[str, ...], DemoSettings]
"""Features of the planted models, stimulus ids and settings."""


def _write_sessions(
    out_dir: Path, sessions: Sequence[_Session], made_of: _Made, n_procs: int
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each session's key and the checksums of its files, as they are finished."""
    if n_procs == 1 or len(sessions) < 2:
        for session in sessions:
            yield session.key, _write_session(out_dir, session, *made_of)
        return
    with ProcessPoolExecutor(
        min(n_procs, len(sessions)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start_worker,
    ) as pool:
        try:
            with interrupts_held_back():
                futures = {
                    pool.submit(_write_session, out_dir, session, *made_of): session.key
                    for session in sessions
                }
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:  # nobody waits for what is at work
            kill_workers(pool)
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write_session(
    out_dir: Path,
    session: _Session,
    features: Mapping[str, np.ndarray],
    stimuli: Sequence[str],
    settings: DemoSettings,
) -> dict[str, str]:
    """Write the session's files and return their checksums."""
    subject = draw_subject(session.subject, features, stimuli, settings)
    name = f"sub-{subject.label}"
    folder = out_dir / "bids" / name
    files = []
    if session.number == 1:
        truth_file = out_dir / "truth" / f"{name}.npz"
        subject.truth.write(truth_file)
        t1w_file = folder / "ses-anatomy" / "anat" / f"{name}_ses-anatomy_T1w.nii.gz"
        _save(scan_t1w(subject, settings), t1w_file)
        files += [truth_file, t1w_file]
    label = f"{SESSION}{session.number:02d}"
    for number, run in enumerate(session.runs, start=1):
        stem = f"{name}_ses-{label}_task-{TASK}_run-{number:02d}"
        bold_file = folder / f"ses-{label}" / "func" / f"{stem}_bold.nii.gz"
        _save(scan_bold(subject, run, settings), bold_file)
        events_file = bold_file.with_name(f"{stem}_events.tsv")
        write_table(events_file, events_table(subject.schedules[run], stimuli))
        files += [bold_file, events_file]
    return {file.relative_to(out_dir).as_posix(): _checksum(file) for file in files}


def _save(image: nib.Nifti1Image, path: Path) -> None:
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def _checksum(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def require_demo_folder(out_dir: Path) -> None:
    """Refuse a folder that is or holds a data set which is no demo.

    Raises
    ------
    InputError
    """
    bids = out_dir / "bids"
    others = [path for path in bids.iterdir() if path.name != "stimuli"] if bids.is_dir() else []
    if others and not (out_dir / MANIFEST).exists():
        raise InputError(
            f"{bids} holds a data set that is not the demo: choose another folder for the demo."
        )
    if (out_dir / "dataset_description.json").exists():
        raise InputError(f"{out_dir} is a data set: choose another folder for the demo.")


@dataclass
class _Manifest:
    """Record of finished sessions, with a checksum of each file."""

    path: Path
    fingerprint: str
    sessions: dict[str, dict[str, str]]

    @classmethod
    def open(cls, out_dir: Path, fingerprint: str) -> "_Manifest":
        path = out_dir / MANIFEST
        if not path.exists():
            require_demo_folder(out_dir)
            manifest = cls(path, fingerprint, {})
            manifest.write()
            return manifest
        stored = cls(path, **json.loads(path.read_text()))
        if stored.fingerprint != fingerprint:
            raise InputError(
                f"{out_dir} holds a demo data set made with other settings or features: "
                "remove that folder, or choose another one for the demo."
            )
        return stored

    def is_whole(self, key: str) -> bool:
        """Tell whether a session is finished and none of its files was changed since."""
        files = self.sessions.get(key, {})
        folder = self.path.parent
        return bool(files) and all(
            (folder / name).is_file() and _checksum(folder / name) == checksum
            for name, checksum in files.items()
        )

    def write(self) -> None:
        content = {"fingerprint": self.fingerprint, "sessions": dict(sorted(self.sessions.items()))}
        write_json(self.path, content)
