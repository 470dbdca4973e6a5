"""The configuration that derivatives were made with stays with them."""

import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supplied_data as data
from odd_inputs import settings as odd
from recommended_cases import features, patterns, without

import conceptrsa.pipelines.cli.run_comparison
import conceptrsa.pipelines.participants
from conceptrsa.analysis import comparison
from conceptrsa.analysis.betas.read import read_betas
from conceptrsa.analysis.models.feature_files import read_features
from conceptrsa.analysis.output.report.answer import best_by_region
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.settings import ComparisonSettings, settings_for
from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.reader import packaged_configs
from conceptrsa.bids_config.recorded import (
    LABELS,
    RECORD,
    difference,
    notes_on_mixture,
    read_recorded,
    write_recorded,
)
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.cli.comparison_options import ComparisonOptions
from conceptrsa.pipelines.cli.data_options import comparison_config
from conceptrsa.pipelines.cli.run_comparison import settle

FEW = ["--n-permutations", "100", "--n-random-draws", "1"]


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> list[ComparisonResult]:
    """Collects results in place of writing them with all their figures."""
    written: list[ComparisonResult] = []
    monkeypatch.setattr(
        conceptrsa.pipelines.cli.run_comparison,
        "write_comparison",
        lambda result, *_: written.append(result),
    )
    return written


def compare(folder: Path, *options: str) -> int:
    if not (folder / "models").exists():
        data.write_models(folder / "models")
    return main([
        "compare", "--features", str(folder / "models"), "--out", str(folder / "out"), *FEW,
        "--no-multiverse", *options,
    ])  # fmt: skip


def n_visual(result: ComparisonResult) -> int:
    """Voxels of the visual region, those that were not chosen too."""
    (sweep,) = [sweep for sweep in result.sweeps if sweep.roi == "visual"]
    return int(sweep.n_voxels.max())


@pytest.mark.parametrize("name", packaged_configs())
def test_what_is_kept_is_what_was_given(name: str, tmp_path: Path) -> None:
    config = load_dataset_config(name)
    write_recorded(config, tmp_path)
    kept = read_recorded(tmp_path)
    assert kept is not None and difference(config, kept) == "" and kept.name == name
    write_recorded(kept, tmp_path)
    assert read_recorded(tmp_path) == kept
    assert (tmp_path / LABELS).exists() == (config.stimuli.labels_file is not None)


def test_texts_of_every_kind_are_kept(tmp_path: Path) -> None:
    hostile = r"""description = 'a "b" \c {d} é 😀 # = ['"""
    file = odd.config_file(tmp_path, f"{hostile}\n{data.CONFIG}prompt = '{{label}}\"\\\\n'\n")
    config = load_dataset_config(file)
    write_recorded(config, tmp_path)
    assert read_recorded(tmp_path) == config


def test_labels_go_along_and_another_table_is_another_configuration(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    config = load_dataset_config(odd.with_labels(tmp_path))
    write_recorded(config, tmp_path / "out")
    kept = read_recorded(tmp_path / "out")
    assert kept is not None and difference(kept, config) == ""
    odd.with_labels(tmp_path, "stimulus\tlabel\nx\ta nothing\n")
    assert "stimuli.labels_file" in difference(kept, config)


def test_betas_are_read_with_the_configuration_they_carry(
    tmp_path: Path, results: list[ComparisonResult]
) -> None:
    for name, text in (("one", data.CONFIG), ("other", odd.OTHER)):
        betas = odd.derivatives(tmp_path / name, odd.config_file(tmp_path, text))
        assert compare(tmp_path, "--betas", str(betas)) == 0
        assert {subject.rois["visual"].n_voxels for subject in read_betas(betas)} == {
            n_visual(results[-1])
        }
    both, left = results
    assert (n_visual(both), n_visual(left)) == (70, 35)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"preset": "paper", "n_permutations": 100},
            "--n-permutations .* --preset paper: leave it out, or choose --preset recommended",
        ),
        (
            {"voxel_selection": "best-n", "n_voxels": 9},
            "best-n: leave .* top-n or threshold or ran",
        ),
        ({"voxel_selection": "all", "skip_zeros": True}, "--skip-zeros has no .* top-n or best-n"),
    ],
)
def test_an_option_without_a_meaning_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        settle(ComparisonOptions(chosen=given), patterns())


def test_a_run_ends_with_notes_then_what_was_found_then_the_page(
    tmp_path: Path,
    results: list[ComparisonResult],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    betas = odd.derivatives(tmp_path / "one", odd.config_file(tmp_path, data.CONFIG))
    monkeypatch.setattr(conceptrsa.pipelines.cli.run_comparison, "MOST_NOTES", 0)
    assert compare(tmp_path, "--betas", str(betas)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"note: {len(results[0].warnings)} more in the report",
        f"found: {best_by_region(results[0])}",
        f"tables and figures: {tmp_path / 'out' / 'group'}",
        f"report: {tmp_path / 'out' / 'group' / 'report.html'}",
    ]


def test_another_configuration_is_refused_unless_forced(
    tmp_path: Path, results: list[ComparisonResult], capsys: pytest.CaptureFixture[str]
) -> None:
    betas = odd.derivatives(tmp_path / "betas", odd.config_file(tmp_path))
    other = odd.config_file(tmp_path, odd.OTHER, "other.toml")
    options = ["--betas", str(betas), "--dataset-config", str(other)]
    assert compare(tmp_path, *options) == 2
    said = (
        f"{betas} was made with another data set configuration (rois.visual (1011, 2011) and "
        "(1011) now)"
    )
    assert capsys.readouterr().err.strip() == (
        f"conceptrsa: {said}: leave --dataset-config out to use its own (dataset_config.toml "
        "there), choose another folder, or add --force-dataset-config"
    )
    assert main(["run", "raw", str(betas), "group", *options[2:], "--features", "x"]) == 2
    assert said in capsys.readouterr().err
    assert not results
    assert compare(tmp_path, *options, "--force-dataset-config") == 0
    assert n_visual(results[0]) == 35
    assert (
        f"{said}; because of --force-dataset-config, the given one was used" in results[0].warnings
    )


@pytest.mark.parametrize("text", [odd.RENAMED, odd.OTHER_EVENTS, data.CONFIG])
def test_a_configuration_that_gives_the_same_result_is_no_other(
    text: str, tmp_path: Path, results: list[ComparisonResult]
) -> None:
    betas = odd.derivatives(tmp_path / "betas", odd.config_file(tmp_path))
    same = odd.config_file(tmp_path, text, "same.toml")
    assert compare(tmp_path, "--betas", str(betas), "--dataset-config", str(same)) == 0
    assert n_visual(results[0]) == 70


def test_group_uses_what_participant_left(
    tmp_path: Path, results: list[ComparisonResult], capsys: pytest.CaptureFixture[str]
) -> None:
    data.write_models(tmp_path / "models")
    betas = odd.derivatives(tmp_path / "betas", odd.config_file(tmp_path, odd.OTHER))
    group = ["group", "--features", str(tmp_path / "models"), *FEW, "--no-multiverse"]
    assert main(["run", "raw", str(betas), *group]) == 0
    assert n_visual(results[0]) == 35
    (betas / RECORD).unlink()
    assert main(["run", "raw", str(betas), *group]) == 2
    said = capsys.readouterr().err
    assert "lacks the data set configuration" in said and "--dataset-config" in said


def test_betas_of_others_need_regions_by_name(
    tmp_path: Path, results: list[ComparisonResult], capsys: pytest.CaptureFixture[str]
) -> None:
    data.write_spm(tmp_path / "spm")
    data.write_atlas(tmp_path / "atlas.nii.gz")
    options = ["--betas", str(tmp_path / "spm"), "--atlas", str(tmp_path / "atlas.nii.gz")]
    assert compare(tmp_path, *options) == 2
    said = capsys.readouterr().err
    assert "has no label table" in said and "--rois NAME=LABEL,LABEL" in said
    assert compare(tmp_path, *options, "--rois", "V1=1011,2011", "deep=17") == 0
    assert [roi.roi for roi in results[0].rois] == ["V1", "deep"]
    with pytest.raises(InputError, match="has no label table"):
        read_betas(tmp_path / "spm", atlas=tmp_path / "atlas.nii.gz")


@pytest.mark.parametrize("write", [data.write_roi_patterns, data.write_rdms])
def test_data_with_regions_of_their_own_need_no_configuration(
    write: Any, tmp_path: Path, results: list[ComparisonResult]
) -> None:
    write(tmp_path / "betas")
    options = [] if write is data.write_roi_patterns else ["--betas-format", "rdms"]
    data.write_models(tmp_path / "models")
    arguments = ["--features", str(tmp_path / "models"), "--out", str(tmp_path / "out"), *FEW[:2]]
    assert main(["compare", "--betas", str(tmp_path / "betas"), *options, *arguments]) == 0
    assert [roi.roi for roi in results[0].rois] == ["visual", "hippocampus"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("visual=", "'visual=' is not a region: write NAME=LABEL,LABEL"),
        ("=17", "'=17' is not a region"),
        ("visual=17,,53", "'visual=17,,53' is not a region"),
        ("nan=17", "which tables of results cannot tell from a missing value"),
        ("mask:ffa.nii.gz", "'mask:ffa.nii.gz' is not a region: write NAME=mask:FILE"),
        ("a=0", "holds the label 0"),
    ],
)
def test_regions_that_are_none(given: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["compare", "--betas", "x", "--out", "y", "--rois", given])
    assert said in capsys.readouterr().err


def test_two_regions_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    betas = odd.derivatives(tmp_path / "betas", None)
    assert compare(tmp_path, "--betas", str(betas), "--rois", "V1=1011", "V1=2011") == 2
    assert (
        "the regions include 'V1' more than once: give each its own name" in capsys.readouterr().err
    )


def participant(bids: Path, out: Path, *options: str) -> int:
    return main(["run", str(bids), str(out), "participant", "--skip-bids-validation", *options])


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Subjects and baselines that would have been run; nothing is, but their folders are made."""
    done: list[tuple[str, str]] = []
    read = conceptrsa.pipelines.participants.read_dataset

    def run_none(subjects: Any, config: Any, settings: Any, *_: Any) -> dict[str, Any]:
        for subject in subjects:
            (settings.out_dir / f"sub-{subject.subject}").mkdir(exist_ok=True)
            done.append((subject.subject, config.glm.baseline))
        return {}

    def by_name(*args: Any, reading: Any, **_: Any) -> Any:
        return read(*args, names_only=True, reading=reading)

    monkeypatch.setattr(conceptrsa.pipelines.participants, "_run_subjects", run_none)
    monkeypatch.setattr(conceptrsa.pipelines.participants, "read_dataset", by_name)
    monkeypatch.setattr(conceptrsa.pipelines.participants, "checks", lambda *_: ())
    return done


def test_participant_asks_for_a_configuration(
    tmp_path: Path, steps: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bids, out = odd.bids(tmp_path / "bids"), tmp_path / "out"
    for options in ([], ["--dry-run"]):
        assert participant(bids, out, *options) == 2
        assert capsys.readouterr().err.strip() == (
            "conceptrsa: this data set has no configuration: give --dataset-config FILE, a TOML "
            "file of its runs, events and regions (conceptrsa init writes one, docs/adding.md "
            "explains it), or the name of a packaged one (demo, ds001246)"
        )
    assert main(["graph", str(tmp_path / "graph.dot"), "--bids-dir", str(bids)]) == 2
    assert "this data set has no configuration" in capsys.readouterr().err
    assert not steps and not out.exists()


def test_further_subjects_get_the_configuration_of_the_first(
    tmp_path: Path, steps: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bids, out = odd.bids(tmp_path / "bids"), tmp_path / "out"
    given = ["--dataset-config", str(odd.config_file(tmp_path))]
    first, second = ["--participant-label", "01"], ["--participant-label", "02"]
    assert participant(bids, out, *given, *first, "--baseline", "implicit") == 0
    kept = tomllib.loads((out / RECORD).read_text())
    assert kept["rois"] == {"visual": [1011, 2011], "hippocampus": [17]}
    assert kept["glm"]["baseline"] == "implicit"
    assert participant(bids, out, *second) == 0
    assert steps == [("01", "implicit"), ("02", "implicit")]
    for options in ([*given], ["--baseline", "explicit"], ["--pooling", "mean"]):
        capsys.readouterr()
        assert participant(bids, out, *options, *second) == 2
        said = "leave --dataset-config, --baseline, --pooling, --space and --atlas out"
        assert said in capsys.readouterr().err
    for text in (odd.OTHER, odd.OTHER_EVENTS):
        other = ["--dataset-config", str(odd.config_file(tmp_path, text, "other.toml"))]
        capsys.readouterr()
        assert participant(bids, out, *other, *second) == 2
        assert f"{out} was made with another data set configuration" in capsys.readouterr().err
        participant(bids, out, *other, *second, "--dry-run")
        assert f"problem: {out} was made with another" in capsys.readouterr().out
    assert tomllib.loads((out / RECORD).read_text()) == kept and len(steps) == 2
    assert participant(bids, out, *other, *second, "--force-dataset-config") == 0
    assert "subjects that are not run again keep" in capsys.readouterr().err
    assert tomllib.loads((out / RECORD).read_text())["events"]["one_back"]["rule"] == "repeat"


def test_subjects_of_two_configurations_are_said_until_all_are_of_one(
    tmp_path: Path, steps: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bids, out = odd.bids(tmp_path / "bids"), tmp_path / "out"
    given = ["--dataset-config", str(odd.config_file(tmp_path)), "--participant-label", "01"]
    assert participant(bids, out, *given) == 0 and notes_on_mixture(out) == ()
    forced = ["--pooling", "mean", "--force-dataset-config"]
    for label in ("02", "02", "01"):
        assert participant(bids, out, *forced, "--participant-label", label) == 0
    note = f"{out} holds subjects made with different data set configurations (glm.pooling 'joint'"
    assert notes_on_mixture(out) == (f"{note} and 'mean')",)
    assert comparison_config(None, False, out)[1] == notes_on_mixture(out)
    assert participant(bids, out, "--pooling", "joint", "--force-dataset-config") == 0
    assert notes_on_mixture(out) == ()


def test_two_tasks_lie_side_by_side(tmp_path: Path, steps: list[tuple[str, str]]) -> None:
    bids, out = odd.bids(tmp_path / "bids"), tmp_path / "out"
    for file in bids.glob("sub-01/func/*"):
        shutil.copy(file, file.with_name(file.name.replace("perception", "imagery")))
    shutil.copy(bids / "task-perception_bold.json", bids / "task-imagery_bold.json")
    given = ["--dataset-config", str(odd.config_file(tmp_path)), "--participant-label", "01"]
    assert participant(bids, out, *given, "--task-id", "imagery") == 0
    assert participant(bids, out, *given) == 0
    assert participant(bids, out, "--participant-label", "01", "--task-id", "imagery") == 0
    assert len(steps) == 3


@pytest.mark.parametrize(("text", "code"), [(odd.OTHER, 2), (odd.RENAMED, 0)])
def test_a_run_that_began_before_another_was_recorded(
    text: str,
    code: int,
    tmp_path: Path,
    steps: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The other one comes, with its lock and its record, while this one reads the data set."""
    bids, out = odd.bids(tmp_path / "bids"), tmp_path / "out"
    config = odd.config_file(tmp_path)
    read = conceptrsa.pipelines.participants.read_dataset

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        (out / ".conceptrsa-sub-02.lock").touch()
        write_recorded(load_dataset_config(config), out)
        return read(*arguments, **options)

    monkeypatch.setattr(conceptrsa.pipelines.participants, "read_dataset", meanwhile)
    other = odd.config_file(tmp_path, text, "other.toml")
    given = ["--dataset-config", str(other), "--participant-label", "01"]
    assert participant(bids, out, *given) == code
    refused = f"{out} was made with another data set configuration" in capsys.readouterr().err
    assert (refused, len(steps)) == ((True, 0) if code else (False, 1))
    assert not list(out.glob(".conceptrsa-record.lock"))


def test_a_folder_without_subjects_is_nobody_s_yet(
    tmp_path: Path, steps: list[tuple[str, str]]
) -> None:
    bids, out = odd.bids(tmp_path / "bids"), tmp_path / "out"
    out.mkdir()
    write_recorded(load_dataset_config(odd.config_file(tmp_path, odd.OTHER)), out)
    assert participant(bids, out, "--dataset-config", str(odd.config_file(tmp_path))) == 0
    kept = read_recorded(out)
    assert kept is not None and kept.rois[0].labels == (1011, 2011)


def test_subjects_without_a_recorded_configuration_are_said(
    tmp_path: Path, steps: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bids, out = odd.bids(tmp_path / "bids"), tmp_path / "out"
    (out / "sub-03").mkdir(parents=True)
    assert participant(bids, out, "--dataset-config", str(odd.config_file(tmp_path))) == 0
    assert "holds subjects but no dataset_config.toml" in capsys.readouterr().err


def test_what_only_fmriprep_can_ignore_is_said_once(
    tmp_path: Path, steps: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--dataset-config", str(odd.config_file(tmp_path)), "--ignore"]
    unused = ["fieldmaps", "sbref", "t2w", "flair", "fmap-jacobian"]
    bids = odd.bids(tmp_path / "bids")
    assert participant(bids, tmp_path / "out", *given, *unused, "slicetiming") == 0
    said = capsys.readouterr().err
    assert said.count(f"--ignore {' '.join(unused)} has no effect: such data are") == 1


def test_force_needs_something_to_force(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["run", "a", "b", "participant"],
        ["run", "a", "b", "group"],
        ["compare", "--betas", "a", "--out", "b"],
    ):
        assert main([*command, "--force-dataset-config"]) == 2
        assert "--force-dataset-config needs --dataset-config" in capsys.readouterr().err


def test_a_damaged_record_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    betas = odd.derivatives(tmp_path / "betas", odd.config_file(tmp_path))
    (betas / RECORD).write_text("rois = ")
    assert compare(tmp_path, "--betas", str(betas)) == 2
    assert f"{betas / RECORD} is not valid TOML" in capsys.readouterr().err


def test_regions_given_beside_a_configuration_are_said(
    tmp_path: Path, results: list[ComparisonResult]
) -> None:
    betas = odd.derivatives(tmp_path / "betas", odd.config_file(tmp_path))
    assert compare(tmp_path, "--betas", str(betas), "--rois", "left=1011", "both=1011,2011") == 0
    assert [roi.roi for roi in results[0].rois] == ["left", "both"]
    assert any("regions are those of --rois" in note for note in results[0].warnings)
    assert np.isfinite(results[0].rois[0].rsa).all()


def test_there_is_one_default_in_python_and_on_the_command_line(
    tmp_path: Path, results: list[ComparisonResult]
) -> None:
    assert settings_for() == ComparisonSettings() == settings_for("recommended")
    data.write_roi_patterns(tmp_path / "betas")
    data.write_models(tmp_path / "models")
    subjects, models = read_betas(tmp_path / "betas"), read_features(tmp_path / "models")
    in_python = comparison.compare(subjects, models)
    command = ["compare", "--betas", str(tmp_path / "betas"), "--out", str(tmp_path / "out")]
    assert main([*command, "--features", str(tmp_path / "models")]) == 0
    assert in_python.settings == results[0].settings == ComparisonSettings()
    assert in_python.inference is not None and not in_python.primary.circular


def test_the_default_takes_all_voxels_where_runs_have_no_halves() -> None:
    whole = without("halves", without("runs", patterns(3)))
    result = comparison.compare(whole, features())
    assert result.settings == replace(ComparisonSettings(), voxel_selection="all")
    assert any("no betas of odd and even runs" in note for note in result.warnings)
    with pytest.raises(InputError, match="no betas of odd and even runs"):
        comparison.compare(whole, features(), ComparisonSettings())
