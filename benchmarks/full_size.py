"""One subject of ds001246's size through the participant level: time per step, memory, disk.

The runs have ds001246's real timing (64x64x50 voxels of 3 mm, 178 volumes, TR 3 s, the subject's
own event files); their content is the demo's synthetic head, with planted truth.

    python benchmarks/full_size.py DS001246_DIR OUT_DIR [--runs 35] [--nprocs 2] [--engine spm]

DS001246_DIR needs the event files only.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.pipelines.bids.events import count_presentations, read_run_events
from conceptrsa.pipelines.demo.demo_dataset import describe
from conceptrsa.pipelines.demo.demo_settings import DemoSettings, PlantedRoi
from conceptrsa.pipelines.demo.presentations import Schedule
from conceptrsa.pipelines.demo.subject import (
    Subject,
    draw_subject,
    scan_bold,
    scan_t1w,
)

SHAPE, N_ONE_BACKS = (64, 64, 50), 5
_FINISHED = re.compile(r'Finished "_?([a-z_0-9]+?)\d*", elapsed time ([\d.]+)s')


def write_subject(ds001246: Path, bids: Path, n_runs: int, n_procs: int) -> None:
    """Write sub-01 with real events; what is there already is left."""
    files = sorted((ds001246 / "sub-01").glob("ses-perceptionTest*/func/*_events.tsv"))[:n_runs]
    if len(files) < n_runs:
        sys.exit(f"{ds001246} has {len(files)} event files of sub-01's test runs, not {n_runs}")
    events = load_dataset_config("ds001246").events
    stimuli = sorted(count_presentations([read_run_events(files[0], events)]))
    settings = DemoSettings(
        n_subjects=1,
        n_runs=n_runs,
        bold_shape=SHAPE,
        n_one_backs=N_ONE_BACKS,
        planted={name: PlantedRoi("random", 0.5) for name in ("visual", "hippocampus")},
    )
    for name, text in describe(settings).items():
        (bids / name).parent.mkdir(parents=True, exist_ok=True)
        (bids / name).write_text(text)
    for file in files:
        target = bids / file.relative_to(ds001246)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    arguments = [(settings, stimuli, files, ds001246, bids, run) for run in range(n_runs)]
    with ProcessPoolExecutor(n_procs) as pool:
        list(pool.map(_write_run, *zip(*arguments, strict=True)))


def _write_run(
    settings: DemoSettings,
    stimuli: Sequence[str],
    files: Sequence[Path],
    ds001246: Path,
    bids: Path,
    run: int,
) -> None:
    events = files[run]
    bold = bids / events.relative_to(ds001246).with_name(
        events.name.replace("_events.tsv", "_bold.nii.gz")
    )
    t1w = bids / "sub-01" / "ses-anatomy" / "anat" / "sub-01_ses-anatomy_T1w.nii.gz"
    if bold.exists() and (run > 0 or t1w.exists()):
        return
    subject = _subject(settings, tuple(stimuli), tuple(files))
    if run == 0:
        t1w.parent.mkdir(parents=True, exist_ok=True)
        nib.save(scan_t1w(subject, settings), t1w)
    nib.save(scan_bold(subject, run, settings), bold)


_SUBJECTS: dict[tuple[Path, ...], Subject] = {}


def _subject(settings: DemoSettings, stimuli: tuple[str, ...], files: tuple[Path, ...]) -> Subject:
    if files not in _SUBJECTS:
        features = {"random": np.random.default_rng(0).normal(size=(len(stimuli), 100))}
        drawn = draw_subject(0, features, stimuli, settings)
        _SUBJECTS[files] = replace(
            drawn, schedules=tuple(_schedule(file, stimuli) for file in files)
        )
    return _SUBJECTS[files]


def _schedule(events_file: Path, stimuli: Sequence[str]) -> Schedule:
    table = pd.read_csv(events_file, sep="\t", dtype=str)
    shown = table.loc[table["event_type"] == "stimulus", "stimulus_name"]
    return Schedule(tuple(stimuli.index(name) for name in shown), (np.nan,) * len(shown))


class PeakMemory(threading.Thread):
    """Samples the proportional memory (PSS) of a process and all below it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_gb = pid, 0.0

    def run(self) -> None:
        while Path(f"/proc/{self.pid}").exists():
            self.peak_gb = max(self.peak_gb, sum(map(_pss_gb, _family(self.pid))))
            time.sleep(0.5)


class PeakDisk(threading.Thread):
    """Samples the size of a folder while a process runs."""

    def __init__(self, pid: int, folder: Path) -> None:
        super().__init__(daemon=True)
        self.pid, self.folder, self.peak_gb = pid, folder, 0.0

    def run(self) -> None:
        while Path(f"/proc/{self.pid}").exists():
            self.peak_gb = max(self.peak_gb, folder_gb(self.folder))
            time.sleep(0.2)


def _family(pid: int) -> list[int]:
    found = [pid]
    for member in found:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def _pss_gb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return int(re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[0]) / 1e6


def folder_gb(folder: Path) -> float:
    """Size of all files below a folder, links for themselves; what vanishes does not count."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(parent, name).lstat().st_size
    return total / 1e9


def step_seconds(log_file: Path) -> dict[str, float]:
    """Sum of the time of each step over runs, from nipype's log."""
    seconds: dict[str, float] = defaultdict(float)
    for step, elapsed in _FINISHED.findall(log_file.read_text()):
        seconds[step] += float(elapsed)
    return dict(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ds001246", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=35)
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--engine", choices=("python", "spm"), default="python")
    parser.add_argument("--keep-work", action="store_true")
    args = parser.parse_args()
    bids, derivatives = args.out / "bids", args.out / f"derivatives-{args.engine}"

    start = time.monotonic()
    write_subject(args.ds001246, bids, args.runs, args.nprocs)
    print(
        f"data set: {folder_gb(bids):.2f} GB, made in {time.monotonic() - start:.0f} s", flush=True
    )

    start = time.monotonic()
    command = [
        sys.executable, "-m", "conceptrsa", "run", str(bids), str(derivatives), "participant",
        "--dataset-config", "ds001246", "--nprocs", str(args.nprocs), "--mem-mb", "4000",
        "--engine", args.engine,
    ]  # fmt: skip
    if args.keep_work:
        command.append("--keep-work")
    process = subprocess.Popen(command)
    memory = PeakMemory(process.pid)
    memory.start()
    disk = PeakDisk(process.pid, derivatives / ".work")
    disk.start()
    code = process.wait()
    seconds = time.monotonic() - start
    memory.join()
    disk.join()
    print(f"exit code {code}; {seconds:.0f} s; peak memory {memory.peak_gb:.2f} GB")
    raw, left = folder_gb(bids), folder_gb(derivatives / ".work")
    print(
        f"disk: intermediate {disk.peak_gb:.3f} GB at most ({disk.peak_gb / raw:.2f} times the raw "
        f"data's {raw:.3f} GB), {left:.3f} GB in the end"
    )
    for step, spent in sorted(
        step_seconds(derivatives / "logs" / "nipype.log").items(), key=lambda item: -item[1]
    ):
        print(f"  {step:20s} {spent:8.1f} s")


if __name__ == "__main__":
    main()
