"""Reconstruction of a subject's anatomy by FreeSurfer as a nipype step."""

import json
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nipype.interfaces.base import traits

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.writing import write_json
from conceptrsa.interfaces.freesurfer.command import (
    FreeSurferStep,
    ReconstructionJob,
    session_of,
)
from conceptrsa.interfaces.freesurfer.installation import missing_files, require_plain_name
from conceptrsa.interfaces.programs import StoppedError, is_plain, remove_all
from conceptrsa.interfaces.python.step import file_in, folder_out

TIME_LIMIT = 24 * 3600.0
_FAILED = "1"


class ReconAll(FreeSurferStep):
    """Run `recon-all -all` on a T1w, unless its reconstruction is there already.

    A reconstruction that recon-all did not finish goes on with the images that it had taken in,
    and all steps are run again: recon-all does not tell a whole file from half a one.
    """

    t1w_file = file_in("T1w, 3D")
    time_limit = traits.Float(TIME_LIMIT, usedefault=True, nohash=True, desc="of recon-all (s)")

    subject_dir = folder_out("the reconstruction")
    subjects_dir = folder_out("as given; for steps that must wait for it")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        require_plain_name(self.inputs.subject)
        subject_dir = self.reconstruction
        if not is_complete(subject_dir):
            subject_dir.parent.mkdir(parents=True, exist_ok=True)
            self._reconstruct(folder, subject_dir)
        return {"subject_dir": subject_dir, "subjects_dir": subject_dir.parent}

    def _reconstruct(self, folder: Path, subject_dir: Path) -> None:
        subjects_dir = require_plain_folder(subject_dir.parent)
        job = ReconstructionJob(
            subject_id=subject_dir.name,
            subjects_dir=str(subjects_dir),
            directive="all",
            openmp=self.inputs.n_threads,
        )
        begun = subject_dir.exists()
        if begun and not (subject_dir / "mri" / "orig" / "001.mgz").is_file():
            raise StepError(
                f"{subject_dir} is not a finished reconstruction, and recon-all cannot continue it "
                "without mri/orig/001.mgz; remove that folder and run the same command again."
            )
        with (
            session_of(self.inputs, folder) as session,
            _plain_image(Path(self.inputs.t1w_file)) as image,
        ):
            if not begun:
                job.inputs.T1_files = [str(image)]
            mark = _mark(subject_dir)
            pid = os.getpid()
            write_json(mark, {"host": platform.node(), "pid": pid, "started": _start_time(pid)})
            try:
                job.run_in(replace(session, subjects_dir=subjects_dir))
            except StoppedError:
                # recon-all was killed with all that it had started, and could not take them away.
                _forget(subject_dir)
                raise
            mark.unlink(missing_ok=True)
        if not is_complete(subject_dir):
            missing = missing_files(subject_dir) or [subject_dir / "scripts" / "recon-all.done"]
            raise StepError(
                f"recon-all ended without an error but without {missing[0]}; see "
                f"{folder / 'recon-all.log'}."
            )


def is_complete(subject_dir: Path) -> bool:
    """Tell whether a reconstruction is there and finished.

    recon-all writes `scripts/recon-all.done` when it fails too, after `scripts/recon-all.error`,
    with nothing but a 1 in it. A reconstruction that came without its `scripts` is taken as whole
    if it has the files that the steps need.

    Raises
    ------
    StepError
        If recon-all is at work on it, or was killed while it was.
    """
    if _is_abandoned(subject_dir):
        _forget(subject_dir)
    if running := _running(subject_dir):
        raise StepError(
            f"{running[0]} says that another recon-all is running on this subject; wait until it "
            "ends, or remove that file if none is running, and run the same command again."
        )
    if missing_files(subject_dir):
        return False
    scripts = subject_dir / "scripts"
    if not scripts.is_dir():
        return True
    done, failed = scripts / "recon-all.done", scripts / "recon-all.error"
    if not done.is_file() or done.read_text(errors="replace").strip() == _FAILED:
        return False
    return not failed.exists() or failed.stat().st_mtime_ns <= done.stat().st_mtime_ns


def _running(subject_dir: Path) -> list[Path]:
    """The marks of recon-all itself (`IsRunning.lh+rh` and so on), not those of its add-ons."""
    return sorted((subject_dir / "scripts").glob("IsRunning.*"))


def _mark(subject_dir: Path) -> Path:
    """Note of the process whose recon-all is at work, beside the subject's folder."""
    return subject_dir.with_name(f".{subject_dir.name}.recon-all.json")


def _is_abandoned(subject_dir: Path) -> bool:
    """Tell whether the process that started recon-all here, on this machine, is gone.

    A recon-all ends with it (`conceptrsa.interfaces.programs`), so its own marks mean
    nothing then.
    """
    try:
        owner = json.loads(_mark(subject_dir).read_text())
        started = _start_time(int(owner["pid"]))
        return bool(owner["host"] == platform.node() and started != owner["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _start_time(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None for one that is not there."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _forget(subject_dir: Path) -> None:
    remove_all([*_running(subject_dir), _mark(subject_dir)])


def require_plain_folder(subjects_dir: Path) -> Path:
    """Refuse a folder that recon-all cannot work in; it looks through links, so none would help."""
    real = subjects_dir.resolve()
    if not is_plain(real):
        raise InputError(
            f"recon-all cannot work in {real}, whose name has spaces, quotes or similar "
            "characters; give another --fs-subjects-dir."
        )
    return real


@contextmanager
def _plain_image(image: Path) -> Iterator[Path]:
    """Give a path to an image that recon-all can be told of.

    It looks through links to folders but not through links to files, so a link in a folder of
    temporary files serves where the image's own path would not.
    """
    path = image.parent.resolve() / image.name
    if is_plain(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="conceptrsa-") as temporary:
        suffix = "".join(part for part in path.suffixes[-2:] if part in (".nii", ".gz", ".mgz"))
        link = Path(temporary).resolve() / f"T1w{suffix}"
        link.symlink_to(path)
        yield link
