"""How long a run still takes: by forecasts, corrected by what steps took."""

import io
import logging
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from conceptrsa.pipelines.execution.forecast import Forecast, Size, StepForecast
from conceptrsa.pipelines.execution.progress import RunProgress
from conceptrsa.pipelines.execution.time_left import TimeLeft


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_run_that_has_not_begun_takes_what_is_forecast() -> None:
    assert TimeLeft({"01": 3600.0, "02": 600.0}, Clock()).seconds() == pytest.approx(4200)


def test_steps_that_were_found_finished_say_nothing_about_the_rest() -> None:
    """A run that is started again finds nine tenths, and the rest takes its hours."""
    clock = Clock()
    left = TimeLeft({"01": 10 * 3600.0}, clock)
    left.end("01", "slice timing", 9 * 3600.0)
    clock.now = 2.0
    left.start("01", "recon-all", 3600.0)
    assert left.all_done / left.all_work == pytest.approx(0.9)
    assert left.seconds() == pytest.approx(3600)


def test_a_long_step_counts_down_while_it_runs_and_is_never_over_before_its_end() -> None:
    clock = Clock()
    left = TimeLeft({"01": 7 * 3600.0 + 10}, clock)
    left.start("01", "glm", 10.0)
    left.start("01", "recon-all", 7 * 3600.0)
    clock.now = 10.0
    left.end("01", "glm", 10.0)
    clock.now = 3 * 3600.0
    assert left.seconds() == pytest.approx(4 * 3600, rel=0.01)
    clock.now = 8 * 3600.0
    assert left.seconds() == pytest.approx(0.8 * 3600)
    left.end("01", "recon-all", 7 * 3600.0)
    assert left.seconds() == 0


def test_a_slower_machine_and_steps_side_by_side_are_taken_into_account() -> None:
    clock = Clock()
    left = TimeLeft({"01": 2000.0, "02": 2000.0}, clock)
    for subject in ("01", "02"):
        left.start(subject, "realign", 1000.0)
    clock.now = 2000.0
    for subject in ("01", "02"):
        left.end(subject, "realign", 1000.0)
    assert left.seconds() == pytest.approx(2000, rel=0.05)


def test_what_failed_leaves_the_count() -> None:
    """Recon-all fails after a second: its hours are neither done nor to be done."""
    clock = Clock()
    left = TimeLeft({"01": 7 * 3600.0 + 100, "02": 200.0}, clock)
    left.start("01", "recon-all", 7 * 3600.0)
    left.start("01", "realign", 50.0)
    clock.now = 1.0
    left.fail("01", "recon-all")
    assert (left.done("01"), left.work("01"), left.all_work) == (0, 50, 250)
    clock.now = 51.0
    left.end("01", "realign", 50.0)
    assert (left.done("01"), left.work("01")) == (50, 50)
    assert left.all_done / left.all_work == pytest.approx(0.2)
    assert left.seconds() > 100


def node(folder: Path, subject: str, step: str) -> SimpleNamespace:
    return SimpleNamespace(output_dir=lambda: str(folder / "wf" / f"sub_{subject}_wf" / step))


def test_the_table_of_a_terminal_tells_the_same(tmp_path: Path) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, _environ={"TERM": "xterm"})
    steps = tuple(
        StepForecast(name, name, 1, seconds, 0.0)
        for name, seconds in (("reconstruct", 7 * 3600.0), ("realign", 100.0), ("glm", 100.0))
    )
    forecast = Forecast(Size(1, 1, 1, 1, False), steps)
    progress = RunProgress({"01": forecast, "02": forecast}, tmp_path, console)
    with progress.bars:
        for subject, step, status in (
            ("01", "reconstruct", "start"), ("01", "realign", "start"),
            ("01", "reconstruct", "exception"), ("02", "reconstruct", "start"),
        ):  # fmt: skip
            progress.note(node(tmp_path, subject, step), status)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    lines = {line.split()[0]: line for line in shown.replace("\r", "\n").splitlines() if line}
    assert "reconstruct failed; still running: realign" in lines["sub-01"]
    assert " 0 %" in lines["all"] and re.search(r"about 7\.\d h left", lines["all"])
    assert Counter(" left" in line for line in lines.values()) == {True: 1, False: 2}


def test_a_step_of_several_parts_that_fail_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    forecast = Forecast(
        Size(1, 1, 1, 1, False),
        tuple(StepForecast(name, name, 3, 30.0, 0.0) for name in ("glm", "sample")),
    )
    progress = RunProgress({"01": forecast, "02": forecast}, tmp_path, Console(file=io.StringIO()))
    for subject, step, *statuses in (
        ("01", "glm", "start", "start", "start", "exception", "exception", "end"),
        ("02", "glm", "exception"),
        ("02", "sample", "start", "start", "start", "end", "end", "end"),
    ):
        for status in statuses:
            progress.note(node(tmp_path, subject, step), status)
    first, second, third = caplog.messages
    no_more = "no further steps of this subject will start"
    assert first.startswith(f"sub-01 glm failed (0 s; {no_more}); ")
    assert second.startswith(f"sub-02 glm failed ({no_more}); ")
    assert third.startswith("sub-02 sample done (0 s); ")
