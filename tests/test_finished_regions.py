"""A long comparison that is interrupted goes on from the regions that are finished."""

import io
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rdm_study import write_study
from recommended_cases import FEW, TOP_10, features, patterns

import conceptrsa as crsa
from conceptrsa.analysis import all_regions, kept_findings, own_scores
from conceptrsa.analysis.brain.patterns import SubjectPatterns, Subjects
from conceptrsa.analysis.comparison import compare, compute_part
from conceptrsa.analysis.finished_regions import Part
from conceptrsa.analysis.kept_findings import FOLDER, remove_finished
from conceptrsa.analysis.models.feature_files import Features
from conceptrsa.analysis.output.tables import tables_of
from conceptrsa.analysis.pace import SECONDS_BETWEEN_LINES, Pace
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.settings import ComparisonSettings, settings_for
from conceptrsa.analysis.single_region import Plan, RegionFindings
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import Share, limited_to
from conceptrsa.bids_config.names import warn_once
from conceptrsa.pipelines.cli import main, run_comparison

EVERYTHING = settings_for("recommended", **FEW)
SETTINGS = settings_for("paper", **FEW)
"""Which take a fraction of a second."""
REGIONS = ("visual", "hippocampus", "hippocampus-left")
SECONDS = 120

Computed = list[str]


@pytest.fixture(autouse=True)
def computed(monkeypatch: pytest.MonkeyPatch) -> Computed:
    """Keep every region, however quick, and list those that are computed."""
    seen: Computed = []
    compute_region = all_regions.compute_region

    def listed(roi: str, subjects: Subjects, plan: Plan) -> RegionFindings:
        seen.append(roi)
        return compute_region(roi, subjects, plan)

    monkeypatch.setattr(all_regions, "compute_region", listed)
    monkeypatch.setattr(kept_findings, "SECONDS_WORTH_KEEPING", -1.0)
    return seen


def compared(
    work_dir: Path | None,
    settings: ComparisonSettings = SETTINGS,
    subjects: Subjects | None = None,
    models: list[Features] | None = None,
    n_jobs: int | None = None,
) -> ComparisonResult:
    return compare(
        subjects or patterns(), models or features(), settings, n_jobs=n_jobs, work_dir=work_dir
    )


def require_same(one: ComparisonResult, other: ComparisonResult) -> None:
    """Every table, RDM, sweep and note, to the bit."""
    tables, others = tables_of(one), tables_of(other)
    assert tables.keys() == others.keys()
    for name, table in tables.items():
        if table is None:
            assert others[name] is None
        else:
            pd.testing.assert_frame_equal(table, others[name], check_exact=True)
    for each, same in zip(
        (one.primary, *one.variants), (other.primary, *other.variants), strict=True
    ):
        assert (each.notes, each.folds, each.settings) == (same.notes, same.folds, same.settings)
        for roi, same_roi in zip(each.rois, same.rois, strict=True):
            np.testing.assert_array_equal(roi.rdms, same_roi.rdms, strict=True)
    assert one.warnings == other.warnings


def kept_in(folder: Path) -> list[Path]:
    return sorted((folder / FOLDER).rglob("*.npz"))


@pytest.fixture(scope="module")
def undisturbed() -> ComparisonResult:
    return compared(None)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"voxel_selection": "threshold", "rdm_metric": "crossnobis"},
        {"preset": "paper", "multiverse": False},
    ],
)
def test_what_is_found_on_the_disk_is_what_would_be_computed(
    changes: dict[str, Any], computed: Computed, tmp_path: Path
) -> None:
    settings = replace(EVERYTHING, **changes)
    first = compared(tmp_path, settings)
    assert sorted(computed) == sorted(REGIONS)
    assert len(kept_in(tmp_path)) == 3
    computed.clear()
    require_same(compared(tmp_path, settings), first)
    assert not computed
    require_same(compared(None, settings), first)


def test_supplied_rdms_are_kept_as_well(computed: Computed, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    names = [f"s{number}" for number in range(8)]
    subjects = [
        crsa.SubjectRdms.from_arrays(f"{n}", names, {roi: generator.random(28) for roi in "ab"})
        for n in range(3)
    ]
    models = [Features(m, m[0], tuple(names), generator.random((8, 5))) for m in ("v1", "w2", "w3")]
    settings = replace(SETTINGS, voxel_selection="all", multiverse=False)
    first = compared(tmp_path, settings, subjects, models)
    computed.clear()
    require_same(compared(tmp_path, settings, subjects, models), first)
    assert not computed


def test_regions_that_lack_a_subject_are_kept_as_well(computed: Computed, tmp_path: Path) -> None:
    subjects = patterns()
    for number in range(4):
        roi = subjects[number].rois["visual"]
        subjects[number].rois["visual"] = roi.of_voxels(np.arange(2))
    first = compared(tmp_path, subjects=subjects)
    assert any("visual" in note for note in first.warnings)
    computed.clear()
    require_same(compared(tmp_path, subjects=subjects), first)
    assert not computed


def changed_pattern() -> list[SubjectPatterns]:
    subjects = patterns()
    roi = subjects[2].rois["hippocampus"]
    assert roi.halves is not None
    odd, even = roi.halves
    even = even.copy()
    even[3, 7] = np.nextafter(even[3, 7], np.inf)
    subjects[2].rois["hippocampus"] = replace(roi, halves=(odd, even))
    return subjects


def changed_model() -> list[Features]:
    first, *others = features()
    values = np.array(first.values)
    values[0, 0] += 1e-9
    return [replace(first, values=values), *others]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"settings": replace(SETTINGS, seed=1)}, REGIONS),
        ({"settings": replace(SETTINGS, n_permutations=201)}, REGIONS),
        ({"models": changed_model()}, REGIONS),
        ({"models": features()[::-1]}, REGIONS),
        ({"subjects": patterns()[::-1]}, REGIONS),
        # Where the threshold comes from, every region depends on it.
        ({"subjects": changed_pattern()}, REGIONS),
        ({"settings": replace(SETTINGS, threshold_roi="none")}, REGIONS),
    ],
)
def test_other_data_models_and_settings_are_others(
    change: dict[str, Any], again: tuple[str, ...], computed: Computed, tmp_path: Path
) -> None:
    compared(tmp_path)
    computed.clear()
    compared(tmp_path, **change)
    assert sorted(computed) == sorted(again)


def test_one_changed_region_is_one_to_compute(computed: Computed, tmp_path: Path) -> None:
    settings = replace(SETTINGS, threshold_roi="visual")
    compared(tmp_path, settings)
    computed.clear()
    compared(tmp_path, settings, changed_pattern())
    assert computed == ["hippocampus"]


def test_a_function_of_ones_own_is_computed_anew(computed: Computed, tmp_path: Path) -> None:
    def similarity(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.corrcoef(one, other)[0, 1])

    settings = settings_for(
        "paper", voxel_selection="all", rsa_metric=similarity, **(FEW | {"n_random_draws": 1})
    )
    for _ in range(2):
        computed.clear()
        compared(tmp_path, settings)
        assert len(computed) == 3
    assert not kept_in(tmp_path)


@pytest.mark.parametrize("n_common", [20, 0])
def test_stimuli_of_each_subjects_own(
    n_common: int, computed: Computed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is found of each subject is kept as well."""
    generator = np.random.default_rng(3)
    names = [f"s{number:03d}" for number in range(80)]
    values = generator.standard_normal((3, 80, 6))
    models = [Features(f"m{n}", "ab"[n % 2], tuple(names), one) for n, one in enumerate(values)]
    subjects = []
    for number in range(3):
        rows = [*range(n_common), *range(20 + 20 * number, 40 + 20 * number)]
        betas = {
            roi: values[0][rows] @ generator.standard_normal((6, 25))
            + 2 * generator.standard_normal((4, len(rows), 25))
            for roi in "ab"
        }
        given = [names[row] for row in rows]
        subjects.append(crsa.SubjectPatterns.from_arrays(f"{number}", given, betas))
    settings = replace(TOP_10, n_permutations=100, subject_stimuli="own")
    plain = compared(None, settings, subjects, models)
    first = compared(tmp_path, settings, subjects, models)
    require_same(first, plain)
    assert len(kept_in(tmp_path)) == 2 + 3 * 2
    computed.clear()
    monkeypatch.setattr(own_scores, "_compute_subject", None)
    require_same(compared(tmp_path, settings, subjects, models), plain)
    assert not computed


def test_any_number_of_processors_gives_the_same_bytes(undisturbed: ComparisonResult) -> None:
    one, *others = (compared(None, EVERYTHING, n_jobs=n_jobs) for n_jobs in (1, 2, 7))
    for other in others:
        require_same(one, other)
    require_same(compared(None, n_jobs=-1), undisturbed)
    with limited_to(Share(3, 10**6)):
        require_same(compared(None), undisturbed)
    with pytest.raises(InputError, match="n_jobs = 0 is not possible"):
        compared(None, n_jobs=0)


KILLED = """
import sys
import time
from pathlib import Path
from test_finished_regions import SETTINGS
from recommended_cases import features, patterns
import conceptrsa as crsa
from conceptrsa.analysis import all_regions, kept_findings

folder = Path(sys.argv[1])
compute_region = all_regions.compute_region

def slowly(roi, subjects, plan):
    if roi != "visual":
        while not list(folder.rglob("[!.]*.npz")):
            time.sleep(0.01)
        print("one is kept", flush=True)
        time.sleep(600)
    return compute_region(roi, subjects, plan)

all_regions.compute_region = slowly
kept_findings.SECONDS_WORTH_KEEPING = -1.0
crsa.compare(patterns(), features(), SETTINGS, n_jobs=2, work_dir=folder)
"""


def test_a_killed_comparison_goes_on_from_the_regions_that_are_done(
    computed: Computed, undisturbed: ComparisonResult, tmp_path: Path
) -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "one is kept\n"
        process.kill()
    (tmp_path / FOLDER / "left").mkdir()
    half_written = tmp_path / FOLDER / "left" / ".writing-abc.npz"
    half_written.write_bytes(b"half")
    with pytest.warns(crsa.ComparisonWarning):
        found = crsa.compare(patterns(), features(), SETTINGS, work_dir=tmp_path)
    assert sorted(computed) == ["hippocampus", "hippocampus-left"]
    require_same(found.result, undisturbed)
    assert not list(tmp_path.iterdir())


def damaged_files() -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "no archive", b"nonsense"
    for name, arrays in {
        "pickled": {"description": np.array([threading.Lock], dtype=object)},
        "no text": {"description": np.frombuffer(b"{", np.uint8)},
        "another kind": {"description": np.frombuffer(b'{"kind": "Lock", "parts": {}}', np.uint8)},
        "no kind": {"description": np.frombuffer(b'{"parts": {"mapping": []}}', np.uint8)},
        "other parts": {
            "description": np.frombuffer(
                b'{"kind": "RegionFindings", "parts": {"mapping": [["a", 1]]}}', np.uint8
            )
        },
        "a number": {"description": np.frombuffer(b"3", np.uint8)},
        "deep": {"description": np.frombuffer(b"[" * 100_000, np.uint8)},
    }.items():
        content = io.BytesIO()
        np.savez(content, **arrays)
        yield name, content.getvalue()


@pytest.mark.parametrize("content", [pytest.param(c, id=name) for name, c in damaged_files()])
def test_a_damaged_file_is_computed_again(
    content: bytes, computed: Computed, undisturbed: ComparisonResult, tmp_path: Path
) -> None:
    compared(tmp_path)
    computed.clear()
    for file in kept_in(tmp_path):
        file.write_bytes(content)
    require_same(compared(tmp_path), undisturbed)
    assert len(computed) == 3


def test_a_bit_that_was_flipped_is_seen(
    computed: Computed, undisturbed: ComparisonResult, tmp_path: Path
) -> None:
    compared(tmp_path)
    computed.clear()
    for file in kept_in(tmp_path):
        content = bytearray(file.read_bytes())
        for place in range(50, len(content), len(content) // 20):
            content[place] ^= 1
        file.write_bytes(content)
    require_same(compared(tmp_path), undisturbed)
    assert len(computed) == 3


def test_nothing_in_a_kept_file_is_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Harm:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return os.mkdir, (str(canary),)

    compared(tmp_path)
    content = io.BytesIO()
    np.savez(content, description=np.array([Harm()], dtype=object))
    for file in kept_in(tmp_path):
        file.write_bytes(content.getvalue())
    compared(tmp_path)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Harm()))
    assert canary.exists()


def test_no_place_to_keep_regions_is_said_once(
    undisturbed: ComparisonResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file where a folder should be stands for a disk that is full or may not be written."""
    (tmp_path / FOLDER).write_text("")
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="conceptrsa"):
        require_same(compared(tmp_path), undisturbed)
    said = [record.message for record in caplog.records if "cannot be kept" in record.message]
    assert len(said) == 1
    assert f"finished regions cannot be kept in {tmp_path}" in said[0]
    remove_finished(tmp_path)
    assert (tmp_path / FOLDER).exists()


def test_only_kept_regions_are_removed(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "work"
    elsewhere.mkdir()
    (elsewhere / "mine.npz").write_text("")
    compared(folder)
    (folder / FOLDER / "link").symlink_to(elsewhere)
    (folder / FOLDER / "notes.txt").write_text("")
    remove_finished(folder)
    assert not kept_in(folder)
    assert (elsewhere / "mine.npz").exists() and (folder / FOLDER / "notes.txt").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / FOLDER).symlink_to(elsewhere)
    remove_finished(tmp_path / "other")
    assert (elsewhere / "mine.npz").exists()


def test_two_comparisons_at_once_in_one_folder(
    undisturbed: ComparisonResult, tmp_path: Path
) -> None:
    found: list[ComparisonResult] = []
    threads = [
        threading.Thread(target=lambda: found.append(compared(tmp_path, n_jobs=1)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in found:
        require_same(result, undisturbed)
    assert len(found) == 2


def test_short_regions_are_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kept_findings, "SECONDS_WORTH_KEEPING", 1000.0)
    compared(tmp_path)
    assert not kept_in(tmp_path)


def test_how_many_regions_are_done_and_the_time_left_are_told() -> None:
    steps: list[str] = []
    pace = Pace("regions", 10, 2, steps.append)
    for seconds in (30.0, 30.0, 0.0):
        pace.tell(seconds)
    assert not steps
    pace.told -= 2 * SECONDS_BETWEEN_LINES
    pace.tell(20.0)
    pace.tell(30.0)
    # Six regions of 27 seconds, two at a time; what was found finished says nothing of the time.
    assert steps == ["4 of 10 regions done, about 80 s left"]
    for _ in range(5):
        pace.told -= 2 * SECONDS_BETWEEN_LINES
        pace.tell(30.0)
    assert len(steps) == 5 and steps[-1].startswith("9 of 10 regions done, about ")


INTERRUPTED = """
import sys
import time
from pathlib import Path
from conceptrsa.analysis import all_regions
from conceptrsa.bids_config.machine import end_if_stopped
from conceptrsa.pipelines.cli import main

folder = Path(sys.argv[1])

def endless(roi, subjects, plan):
    (folder / f"begun-{roi}").touch()
    while True:
        end_if_stopped()
        time.sleep(0.05)

all_regions.compute_region = endless
raise SystemExit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_regions_that_are_at_work(number: signal.Signals, tmp_path: Path) -> None:
    words = write_study(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path), *words],
        stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    ) as process:  # fmt: skip
        deadline = time.monotonic() + SECONDS
        while len(list(tmp_path.glob("begun-*"))) < 2 and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + number, said
    assert said.splitlines()[-1] == (
        "conceptrsa: interrupted; run the same command again to continue"
    )
    assert "Traceback" not in said
    assert len(list(tmp_path.glob("begun-*"))) == 2


def test_parts_are_joined(
    computed: Computed, undisturbed: ComparisonResult, tmp_path: Path
) -> None:
    steps: list[str] = []
    found = [
        compute_part(patterns(), features(), SETTINGS, Part(number, 4), tmp_path)
        for number in (1, 2, 3, 4)
    ]
    assert found == [("visual",), ("hippocampus",), ("hippocampus-left",), ()]
    computed.clear()
    joined = compare(patterns(), features(), SETTINGS, steps.append, work_dir=tmp_path)
    assert not computed
    require_same(joined, undisturbed)
    assert "continuing from 3 finished regions" in steps


def test_a_part_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("")
    with pytest.raises(InputError, match="could not keep region visual"):
        compute_part(patterns(), features(), SETTINGS, Part(1, 2), tmp_path)


def test_parts_on_the_command_line(
    computed: Computed,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    words, group_dir = write_study(tmp_path), tmp_path / "out" / "group"
    assert main([*words, "--part", "1/2"]) == 0
    assert "regions finished: a, c\n" in capsys.readouterr().out
    assert main([*words, "--part", "2/2"]) == 0
    assert not list(group_dir.glob("*.tsv"))
    computed.clear()
    n_kept: list[int] = []
    monkeypatch.setattr(
        run_comparison,
        "write_comparison",
        lambda result, out_dir, used, pictures: n_kept.append(len(kept_in(group_dir))),
    )
    assert main(words) == 0
    # They stay until everything is written.
    assert n_kept == [3] and not computed
    assert not list(group_dir.iterdir())
    for wrong in ("0/2", "3/2", "1", "a/b", "-1/2", "1/0"):
        assert main([*words, f"--part={wrong}"]) == 2
        assert f"--part {wrong} is not a part: give K/N" in capsys.readouterr().err
