"""Writing the demo's BIDS data set; begun anew, or finished where it was left."""

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path

import nibabel as nib
import numpy as np

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.tsv import write_table
from conceptrsa.bids_config.writing import atomic_path, remove_leftovers
from conceptrsa.pipelines.demo import demo_dataset
from conceptrsa.pipelines.demo.demo_settings import DemoSettings
from conceptrsa.pipelines.demo.presentations import events_table, slice_delays
from conceptrsa.pipelines.demo.subject import (
    draw_subject,
    runs_per_session,
    scan_bold,
    scan_t1w,
)
from conceptrsa.pipelines.execution.worker_pool import die_with_parent

README = """\
# A synthetic fMRI data set with planted truth

Made by `conceptrsa demo`; no person was scanned. Each subject is the MNI152 template, moved,
turned, scaled and sheared, with a skull and scalp drawn around it. The BOLD runs follow the timing
of ds001246's perceptionTest sessions (Horikawa & Kamitani 2017): pictures of 9 s back to back,
each once a run and some repeated straight away (one-back events), between two periods of rest.
They hold head motion, drift, autocorrelated noise, slice delays and signal dropout.

In four regions some voxels respond with a random linear projection of a neural network's features
of the pictures. What was planted is kept beside this folder, in `truth`.

There is no one-back column: a stimulus that equals the stimulus before it is a one-back event.
"""

EVENT_COLUMNS = {
    "trial_no": "Number of the row, from 1",
    "event_type": "stimulus or rest",
    "stimulus_id": "Number of the picture, in ds001246's form",
    "stimulus_name": "Stimulus id: the picture's file name without suffix",
    "category_index": "Number of the picture's category, from 1",
    "image_index": "Number of the picture, from 1",
}


def describe(settings: DemoSettings) -> dict[str, str]:
    """Text of each file at the root of the data set, by its name."""
    delays = slice_delays(settings.bold_shape[2], settings.repetition_time)
    participants = "".join(f"sub-{n:02d}\n" for n in range(1, settings.n_subjects + 1))
    documents = {
        "dataset_description.json": {
            "Name": "conceptrsa demo: synthetic BOLD with planted truth",
            "BIDSVersion": "1.10.0",
            "DatasetType": "raw",
            "License": "CC0",
            "Authors": ["conceptrsa"],
            "GeneratedBy": [{"Name": "conceptrsa", "Version": version("conceptrsa")}],
        },
        "T1w.json": {
            "Manufacturer": "none (synthetic)",
            "MagneticFieldStrength": 3,
        },
        "task-perception_bold.json": {
            "TaskName": "perception",
            "RepetitionTime": settings.repetition_time,
            "SliceTiming": delays.tolist(),
            "SliceEncodingDirection": "k",
            "EchoTime": 0.03,
            "FlipAngle": 80,
            "Manufacturer": "none (synthetic)",
            "MagneticFieldStrength": 3,
        },
        "task-perception_events.json": {
            column: {"Description": text} for column, text in EVENT_COLUMNS.items()
        },
    }
    return {
        "README": README,
        "participants.tsv": "participant_id\n" + participants,
        **{name: json.dumps(content, indent=2) + "\n" for name, content in documents.items()},
    }


MANIFEST = "demo.json"
SESSION = "perceptionTest"
TASK = "perception"


@dataclass(frozen=True)
class _Session:
    """What one process makes: the runs of a session, and with the first the anatomy and truth."""

    subject: int
    number: int
    runs: tuple[int, ...]

    @property
    def key(self) -> str:
        return f"sub-{self.subject + 1:02d}_ses-{self.number:02d}"


def write_demo_dataset(
    out_dir: Path,
    features: Mapping[str, np.ndarray],
    stimuli: Sequence[str],
    settings: DemoSettings | None = None,
    n_procs: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
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
    _require_features(features, stimuli, settings)
    manifest = _Manifest.open(out_dir, settings.fingerprint(features, stimuli))
    remove_leftovers(out_dir)
    _write_descriptions(out_dir / "bids", settings)

    sessions = tuple(_sessions(settings))
    missing = [session for session in sessions if not manifest.is_whole(session.key)]
    done = len(sessions) - len(missing)
    if on_progress:
        on_progress(done, len(sessions))
    for key, files in _write_sessions(out_dir, missing, features, stimuli, settings, n_procs):
        manifest.add(key, files)
        done += 1
        if on_progress:
            on_progress(done, len(sessions))


def _require_features(
    features: Mapping[str, np.ndarray], stimuli: Sequence[str], settings: DemoSettings
) -> None:
    for roi, planted in settings.planted.items():
        values = features.get(planted.model)
        if values is None:
            raise InputError(
                f"The demo plants {planted.model} in {roi}, but there are no features of it: "
                "extract them first."
            )
        if len(values) != len(stimuli):
            raise InputError(
                f"The features of {planted.model} have {len(values)} rows for {len(stimuli)} "
                "stimuli: extract them again."
            )


def _sessions(settings: DemoSettings) -> Iterator[_Session]:
    sizes = runs_per_session(settings.n_runs)
    for subject in range(settings.n_subjects):
        for number, (size, end) in enumerate(zip(sizes, accumulate(sizes), strict=True), start=1):
            yield _Session(subject, number, tuple(range(end - size, end)))


def _write_sessions(
    out_dir: Path,
    sessions: Sequence[_Session],
    features: Mapping[str, np.ndarray],
    stimuli: Sequence[str],
    settings: DemoSettings,
    n_procs: int,
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each session's key and the checksums of its files, as they are finished."""
    planted = {roi.model: features[roi.model] for roi in settings.planted.values()}
    arguments = (planted, tuple(stimuli), settings)
    if n_procs == 1 or len(sessions) < 2:
        for session in sessions:
            yield session.key, _write_session(out_dir, session, *arguments)
        return
    with ProcessPoolExecutor(
        min(n_procs, len(sessions)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=die_with_parent,
    ) as pool:
        futures: dict[Future[dict[str, str]], str] = {
            pool.submit(_write_session, out_dir, session, *arguments): session.key
            for session in sessions
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


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


def _write_descriptions(bids_dir: Path, settings: DemoSettings) -> None:
    for name, text in demo_dataset.describe(settings).items():
        with atomic_path(bids_dir / name) as temporary:
            temporary.write_text(text)


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
            f"{bids} holds a data set that is no demo: choose another folder for the demo."
        )
    if (out_dir / "dataset_description.json").exists():
        raise InputError(f"{out_dir} is a data set: choose another folder for the demo.")


@dataclass
class _Manifest:
    """Which sessions are finished, with a checksum of each of their files."""

    path: Path
    fingerprint: str
    sessions: dict[str, dict[str, str]]

    @classmethod
    def open(cls, out_dir: Path, fingerprint: str) -> "_Manifest":
        path = out_dir / MANIFEST
        if not path.exists():
            require_demo_folder(out_dir)
            manifest = cls(path, fingerprint, {})
            manifest._write()
            return manifest
        stored = json.loads(path.read_text())
        if stored["fingerprint"] != fingerprint:
            raise InputError(
                f"{out_dir} holds a demo data set made with other settings or features: "
                "remove that folder, or choose another one for the demo."
            )
        return cls(path, fingerprint, stored["sessions"])

    def is_whole(self, key: str) -> bool:
        """Tell whether a session is finished and none of its files was changed since."""
        return key in self.sessions and all(
            path.is_file() and _checksum(path) == checksum
            for name, checksum in self.sessions[key].items()
            for path in (self.path.parent / name,)
        )

    def add(self, key: str, files: dict[str, str]) -> None:
        self.sessions[key] = files
        self._write()

    def _write(self) -> None:
        content = {
            "fingerprint": self.fingerprint,
            "sessions": dict(sorted(self.sessions.items())),
        }
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")
