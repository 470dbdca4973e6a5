"""Room on disk: what a run will need, and a refusal before it starts where that is not there."""

import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.execution.forecast import Forecast
from conceptrsa.pipelines.options import ParticipantOptions
from conceptrsa.pipelines.workflows import software

GIGABYTE = 1e9


@dataclass(frozen=True)
class DiskNeed:
    """What subjects need on disk, in GB.

    Attributes
    ----------
    intermediate : float
        At the moment when it is most.
    results : float
        In the end.
    """

    intermediate: float
    results: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.intermediate + self.results


def disk_need(forecasts: Sequence[Forecast], options: ParticipantOptions) -> DiskNeed:
    """Say what subjects need together.

    Where intermediate files are removed, they lie there for the subjects in work: one a process,
    and one more that waits for its turn. Of Slurm's jobs all may be in work at once.
    """
    results = sum(forecast.results_gigabytes for forecast in forecasts)
    if options.keep_work:
        return DiskNeed(sum(forecast.gigabytes for forecast in forecasts) - results, results)
    largest = sorted((forecast.peak_gigabytes for forecast in forecasts), reverse=True)
    in_work = len(forecasts) if options.slurm is not None else options.n_procs + 1
    return DiskNeed(sum(largest[:in_work]), results)


def require_room(
    need: DiskNeed,
    work_dir: Path,
    out_dir: Path,
    options: ParticipantOptions,
    subjects: Collection[str],
) -> None:
    """Refuse to start where the disk cannot hold what is to come.

    Parameters
    ----------
    need : DiskNeed
        Of all subjects that are not finished.
    work_dir, out_dir : Path
        Where intermediate files and results go; they may be missing. What lies there already
        of these subjects, from a run before, counts as room.
    options : ParticipantOptions
        For what could be done about it.
    subjects : collection of str
        Labels of the subjects that are not finished, without `sub-`.

    Raises
    ------
    InputError
        With the numbers and the remedy.
    """
    work, out = _existing(work_dir), _existing(out_dir)
    if work.stat().st_dev == out.stat().st_dev:
        wanted = {work_dir: need.total}
    else:
        wanted = {work_dir: need.intermediate, out_dir: need.results}
    version_dir = software.of_version(work_dir)
    of_subjects = {
        work_dir: [software.of_subject(version_dir, subject) for subject in subjects],
        out_dir: [out_dir / f"sub-{subject}" for subject in subjects],
    }
    if len(wanted) == 1:
        of_subjects = {work_dir: [*of_subjects[work_dir], *of_subjects[out_dir]]}
    for folder, gigabytes in wanted.items():
        free = shutil.disk_usage(_existing(folder)).free / GIGABYTE
        there = _size(of_subjects[folder]) if free < gigabytes else 0.0
        if free + there < gigabytes:
            advice = ["make room", "choose another --work-dir" if folder == work_dir else
                      "choose another output folder"]  # fmt: skip
            if options.keep_work:
                advice.append("leave --keep-work out")
            raise InputError(
                f"the run needs about {gigabytes:.1f} GB in {folder} and {free:.1f} GB are free "
                f"there; {', '.join(advice)}, or run fewer subjects by --participant-label"
            )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _size(folders: Iterable[Path]) -> float:
    """GB of the files below; files that vanish meanwhile do not matter."""
    total = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                with suppress(OSError):
                    total += Path(parent, name).lstat().st_size
    return total / GIGABYTE
