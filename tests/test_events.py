"""Events become conditions by name; the real files give the paper's counts."""

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.schema import EventsConfig, OneBackConfig
from conceptrsa.pipelines.bids.events import (
    check_events_fit_run,
    count_presentations,
    read_run_events,
    write_run_events,
)

CONFIG = load_dataset_config("ds001246").events
HEADER = "onset\tduration\tevent_type\tstimulus_name\tresponse_time\n"
RUN = (
    "0\t12\trest\tn/a\tn/a\n"
    "12\t9\tstimulus\t010\tn/a\n"
    "21\t9\tstimulus\tb\tn/a\n"
    "30\t9\tstimulus\tb\tn/a\n"
    "39\t9\tstimulus\t010\t39.5\n"
    "48\t6\trest\tn/a\tn/a\n"
    "54\t9\tstimulus\t010\tn/a\n"
    "63\t9\tstimulus\t010\tn/a\n"
)


def write(folder: Path, text: str) -> Path:
    file = folder / "sub-01_task-look_events.tsv"
    file.write_text(text)
    return file


@pytest.mark.parametrize("subject", ["01", "02", "03", "04", "05"])
def test_real_event_files(shared_data: Path, subject: str) -> None:
    folder = shared_data / "ds001246" / f"sub-{subject}"
    files = sorted(folder.glob("ses-perceptionTest*/func/*_events.tsv"))
    runs = [read_run_events(file, CONFIG) for file in files]
    labels = pd.read_csv(shared_data / "god_stimuli" / "labels_ImageNetTest.tsv", sep="\t")

    presentations = count_presentations(runs)
    assert len(runs) == 35
    assert list(presentations) == sorted(labels["stimulus_name"])
    assert set(presentations.values()) == {35}
    for events in runs:
        fixation = events[events["kind"] == "fixation"]
        assert fixation["onset"].tolist() == [0, 528]
        assert fixation["duration"].tolist() == [33, 6]
        shown = events[events["kind"] != "fixation"]
        assert shown["onset"].tolist() == [33 + 9 * trial for trial in range(55)]
        assert (shown["duration"] == 9).all()
        assert (events["kind"] == "one-back").sum() == 5
        check_events_fit_run(events, run_duration=178 * 3.0, events_file=files[0])


def test_false_alarms_of_sub_02_are_no_one_backs(shared_data: Path) -> None:
    files = sorted((shared_data / "ds001246" / "sub-02").glob("ses-perceptionTest*/func/*.tsv"))
    false_alarms = 0
    for file in files:
        responses = pd.read_csv(file, sep="\t")["response_time"]
        kinds = read_run_events(file, CONFIG)["kind"]
        false_alarms += int((responses.notna() & (kinds == "stimulus")).sum())
    assert false_alarms == 37


def test_repeat_rule_by_hand(tmp_path: Path) -> None:
    events = read_run_events(write(tmp_path, HEADER + RUN), CONFIG)
    assert events["condition"].tolist() == [
        "fixation", "010", "b", "one-back", "010", "fixation", "one-back", "one-back",
    ]  # fmt: skip
    assert events["kind"].tolist() == [
        "fixation", "stimulus", "stimulus", "one-back", "stimulus", "fixation", "one-back",
        "one-back",
    ]  # fmt: skip
    assert count_presentations([events, events]) == {"010": 4, "b": 2}


def test_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    in_order = read_run_events(write(tmp_path, HEADER + RUN), CONFIG)
    rows = RUN.splitlines(keepends=True)
    shuffled = read_run_events(write(tmp_path, HEADER + "".join(rows[::-1])), CONFIG)
    pd.testing.assert_frame_equal(in_order, shuffled)


def test_column_rule_and_no_rule(tmp_path: Path) -> None:
    file = write(tmp_path, HEADER + RUN)
    column = OneBackConfig("column", column="response_time", values=("39.5",))
    marked = read_run_events(file, replace(CONFIG, one_back=column))
    assert marked.index[marked["kind"] == "one-back"].tolist() == [4]
    unmarked = read_run_events(file, replace(CONFIG, one_back=OneBackConfig("none")))
    assert count_presentations([unmarked]) == {"010": 4, "b": 2}
    assert not (unmarked["kind"] == "one-back").any()


def test_ignored_types_leave_no_trace(tmp_path: Path) -> None:
    with_press = RUN.replace("30\t9", "29\tn/a\tpress\tn/a\tn/a\n30\t9")
    config = replace(CONFIG, ignored_types=("press",))
    plain = read_run_events(write(tmp_path, HEADER + RUN), CONFIG)
    pd.testing.assert_frame_equal(
        read_run_events(write(tmp_path, HEADER + with_press), config), plain
    )


def test_without_type_column_every_row_is_a_stimulus(tmp_path: Path) -> None:
    config = EventsConfig("trial_type", OneBackConfig("none"))
    file = write(tmp_path, "onset\tduration\ttrial_type\n0\t1\t001\n1.5\t0\t1e3\n")
    events = read_run_events(file, config)
    assert events["condition"].tolist() == ["001", "1e3"]
    assert events["duration"].tolist() == [1.0, 0.0]


def test_written_table_reads_back(tmp_path: Path) -> None:
    events = read_run_events(write(tmp_path, HEADER + RUN), CONFIG)
    file = tmp_path / "new" / "events.tsv"
    write_run_events(events, file)
    assert file.read_text().splitlines()[:3] == [
        "onset\tduration\tcondition\tkind",
        "0.0\t12.0\tfixation\tfixation",
        "12.0\t9.0\t010\tstimulus",
    ]
    back = pd.read_csv(file, sep="\t", dtype={"condition": str})
    pd.testing.assert_frame_equal(back, events.drop(columns="written"))


BAD_FILES = {
    "empty": ("", "is empty"),
    "no events": (HEADER, "no events"),
    "commas": ((HEADER + RUN).replace("\t", ","), "separates its columns by commas (onset,"),
    "no condition": (
        HEADER.replace("stimulus_name", "stim_file") + RUN,
        "lacks the column stimulus_name (it has onset, duration, event_type, stim_file,",
    ),
    "onset missing": (HEADER + RUN.replace("21\t9", "n/a\t9"), "onset 'n/a' in line 4"),
    "onset infinite": (HEADER + RUN.replace("21\t9", "inf\t9"), "onset 'inf' in line 4"),
    "duration a word": (HEADER + RUN.replace("21\t9", "21\tlong"), "duration 'long' in line 4"),
    "duration negative": (HEADER + RUN.replace("21\t9", "21\t-9"), "negative duration in line 4"),
    "unknown type": (HEADER + RUN.replace("rest", "blank", 1), "event_type 'blank' in line 2"),
    "stimulus without name": (HEADER + RUN.replace("\tb\t", "\tn/a\t", 1), "'n/a' in line 4"),
    "stimulus called fixation": (HEADER + RUN.replace("\tb\t", "\tfixation\t", 1), "'fixation'"),
    "short row": (HEADER + "0\t12\n", "line 2 has 2 cells where the header has 5"),
    "only rest": (HEADER + "0\t12\trest\tn/a\tn/a\n", "holds no stimulus event"),
}


@pytest.mark.parametrize(("text", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_run_events(file, CONFIG)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_binary_and_absent_files(tmp_path: Path) -> None:
    file = tmp_path / "events.tsv"
    with pytest.raises(InputError, match="is missing"):
        read_run_events(file, CONFIG)
    file.write_bytes(b"\xff\xfe\x00onset")
    with pytest.raises(InputError, match="is UTF-16 text"):
        read_run_events(file, CONFIG)


def test_events_past_the_end_of_the_run(tmp_path: Path) -> None:
    file = write(tmp_path, HEADER + RUN)
    events = read_run_events(file, CONFIG)
    check_events_fit_run(events, 72.0, file)
    check_events_fit_run(events, 70.0, file, tolerance=3.0)
    for run_duration, tolerance in [(71.9, 0.0), (68.0, 3.0), (63.0, 100.0)]:
        with pytest.raises(InputError, match=r"events until 72 s \(last onset 63 s\)"):
            check_events_fit_run(events, run_duration, file, tolerance)
