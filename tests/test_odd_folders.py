"""An output folder that is an input, or lies among inputs, is refused before it is written to."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import supplied_data as data
from PIL import Image

from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.execution.output_folders import (
    Input,
    below_folder,
    require_no_other_data_set,
    require_separate,
)

RAW = {"Name": "study", "BIDSVersion": "1.10.0", "DatasetType": "raw"}


def content(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Raw data, fMRIPrep's of them, and pictures, as a study has them."""
    root = tmp_path / "study"
    for folder, made in (
        ("bids", {}),
        ("bids/derivatives/fmriprep", {"GeneratedBy": [{"Name": "fMRIPrep"}]}),
        ("elsewhere", {"GeneratedBy": [{"Name": "xcp_d"}]}),
    ):
        (root / folder / "sub-01").mkdir(parents=True)
        kind = "derivative" if made else "raw"
        description = RAW | made | {"DatasetType": kind}
        (root / folder / "dataset_description.json").write_text(json.dumps(description))
    (root / "bids" / "stimuli").mkdir()
    for place, name in enumerate(data.STIMULI):
        Image.new("RGB", (8, 8), (place, 0, 0)).save(root / "bids" / "stimuli" / f"{name}.png")
    (root / "link").symlink_to(root / "bids")
    return root


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("bids", "OUT_DIR {} is BIDS_DIR itself, whose files would be mixed with results or"),
        ("link", "OUT_DIR {} is BIDS_DIR itself"),
        ("bids/../bids/.", "OUT_DIR {} is BIDS_DIR itself"),
        ("bids/sub-01", "OUT_DIR {} lies in BIDS_DIR"),
        ("bids/results", "OUT_DIR {} lies in BIDS_DIR"),
        ("link/results", "OUT_DIR {} lies in BIDS_DIR"),
        (".", "OUT_DIR {} holds BIDS_DIR"),
        ("bids/derivatives/fmriprep", "OUT_DIR {} is --derivatives itself"),
        ("bids/derivatives/fmriprep/new", "OUT_DIR {} lies in --derivatives"),
        ("bids/derivatives", "OUT_DIR {} holds --derivatives"),
        ("elsewhere", "OUT_DIR {} holds another data set, whose dataset_description.json would be"),
    ],
)
def test_results_do_not_go_into_what_is_read(
    out: str, said: str, dry: list[str], study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(study)
    given = [str(study / "bids"), f"{study}/{out}", "participant", "--skip-bids-validation"]
    given += [
        "--dataset-config",
        "demo",
        "--derivatives",
        str(study / "bids" / "derivatives" / "fmriprep"),
        *dry,
    ]
    assert main(["run", *given]) == 2
    captured = capsys.readouterr()
    assert said.format(Path(f"{study}/{out}")) in captured.out + captured.err
    assert content(study) == before


def test_work_does_not_go_into_what_is_read(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for work in ("bids", "bids/work", "bids/stimuli"):
        given = [str(study / "bids"), str(study / "new"), "participant", "-w", str(study / work)]
        given += ["--dataset-config", "demo"]
        assert main(["run", *given]) == 2
        assert f"--work-dir {study / work} " in capsys.readouterr().err


@pytest.mark.parametrize(
    "out", ["new", "bids/derivatives/mine", "bids/derivatives/a/b", "link/derivatives/mine"]
)
def test_usual_places_are_accepted(out: str, study: Path) -> None:
    require_separate(
        study / out,
        [
            Input("BIDS_DIR", study / "bids", "data set"),
            Input("--derivatives", study / "bids/derivatives/fmriprep", "data set"),
            Input("--stimuli", study / "bids/stimuli", "files"),
            Input("--stimuli", None, "files"),
            Input("--stimuli", study / "absent", "files"),
        ],
    )


def test_raw_data_may_lie_in_sourcedata(tmp_path: Path) -> None:
    (tmp_path / "sourcedata" / "raw").mkdir(parents=True)
    require_separate(tmp_path, [Input("BIDS_DIR", tmp_path / "sourcedata" / "raw", "data set")])


def test_data_may_lie_in_inputs(tmp_path: Path) -> None:
    raw, made = tmp_path / "inputs" / "raw", tmp_path / "inputs" / "fmriprep"
    for folder in (raw, made):
        folder.mkdir(parents=True)
    inputs = [Input("BIDS_DIR", raw, "data set"), Input("--derivatives", made, "data set")]
    require_separate(tmp_path, inputs)
    with pytest.raises(InputError, match=f"such as a new folder in {raw}/derivatives"):
        require_separate(made, inputs)


def test_a_description_that_is_none_of_ours(tmp_path: Path) -> None:
    for generated in (3, "x", {"Name": "conceptrsa"}, ["conceptrsa"], None):
        description = {"DatasetType": "derivative", "GeneratedBy": generated}
        (tmp_path / "dataset_description.json").write_text(json.dumps(description))
        with pytest.raises(InputError, match="holds another data set"):
            require_no_other_data_set(tmp_path)


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_no_index_of_names_is_written(
    dry: list[str], study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(study)
    given = [study / "bids", study / "new", "participant", "--dataset-config", "demo"]
    given += ["--bids-database-dir", study / "bids" / "index", *dry]
    assert main(["run", *map(str, given)]) == 2
    said = capsys.readouterr()
    assert "sub-01 has no BOLD run of task perception" in said.out + said.err
    assert content(study) == before and not (study / "bids" / "index").exists()


def test_upper_and_lower_case_of_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that knows no difference: both names lead to one folder."""
    for name in ("Study", "study"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(Path, "samefile", lambda one, other: str(one).lower() == str(other).lower())
    assert below_folder(tmp_path / "study" / "out", tmp_path / "Study") == Path("out")


def npz(folder: Path) -> None:
    data.write_roi_patterns(folder)


@pytest.mark.parametrize(
    ("write", "out", "said"),
    [
        (npz, "betas", "--out {} is --betas itself"),
        (npz, "betas/sub-01/rsa", "--out {} lies in --betas"),
        (data.write_rdms, "betas", "--out {} is --betas itself"),
        (npz, "models", "--out {} is --features itself"),
        (npz, "models/rsa", "--out {} lies in --features"),
    ],
)
def test_compare_does_not_write_into_what_it_reads(
    write: Callable[[Path], None],
    out: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "betas")
    data.write_models(tmp_path / "models")
    before = content(tmp_path)
    given = ["--betas", tmp_path / "betas", "--features", tmp_path / "models"]
    assert main(["compare", *map(str, given), "--out", str(tmp_path / out)]) == 2
    assert said.format(tmp_path / out) in capsys.readouterr().err
    assert content(tmp_path) == before


def test_inputs_below_the_folder_that_is_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    npz(tmp_path / "group")
    data.write_models(tmp_path / "models")
    given = ["--betas", tmp_path / "group", "--features", tmp_path / "models", "--out", tmp_path]
    assert main(["compare", *map(str, given)]) == 2
    assert f"--out {tmp_path} holds --betas" in capsys.readouterr().err


def test_group_and_features_and_demo(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(study)
    pictures, bids = study / "bids" / "stimuli", study / "bids"
    for arguments, said in (
        (["run", bids, bids, "group"], f"OUT_DIR {bids} is BIDS_DIR itself"),
        (["features", pictures, pictures], f"OUT_DIR {pictures} is STIMULI_DIR itself"),
        (["features", pictures, pictures / "new"], f"OUT_DIR {pictures / 'new'} lies in STIMULI"),
        (["features", pictures, bids], f"OUT_DIR {bids} holds another data set"),
        (["demo", study], f"{bids} holds a data set that is not the demo"),
        (["demo", bids], f"{bids} is a data set: choose another folder for the demo"),
    ):
        assert main([str(argument) for argument in arguments]) == 2
        assert said in capsys.readouterr().err
    assert content(study) == before


def test_a_derivatives_folder_takes_its_own_comparison(tmp_path: Path) -> None:
    data.write_derivatives(tmp_path / "derivatives")
    data.write_models(tmp_path / "models")
    (tmp_path / "config.toml").write_text(data.CONFIG)
    given = ["--betas", "derivatives", "--features", "models", "--out", "derivatives"]
    options = ["--n-permutations", "100", "--no-multiverse"]
    paths = [str(tmp_path / g) if not g.startswith("-") else g for g in given]
    config = ["--dataset-config", str(tmp_path / "config.toml"), "--n-random-draws", "1"]
    assert main(["compare", *paths, *options, *config]) == 0
    assert np.isfinite((tmp_path / "derivatives" / "group" / "rsa.tsv").stat().st_size)
