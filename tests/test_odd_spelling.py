"""Wrong usage is one line with the nearest right spelling, and exit code 2."""

import shlex
from pathlib import Path

import pytest
import supplied_data as data
from odd_inputs import settings as odd

from conceptrsa.analysis.betas.read import find_format
from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.analysis.settings import settings_for
from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.cli import build_parser, main

COMPARE = "compare --betas x --out y"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "the following arguments are required: COMMAND; see conceptrsa --help"),
        ("comapre --betas x", "'comapre' is not a choice (did you mean 'compare'?): choose from"),
        ("Run", "(did you mean 'run'?)"),
        (
            "xyz",
            "'xyz' is not a choice: choose from run, compare, figures, init, atlases,",
        ),
        ("--versoin", "there is no option --versoin (did you mean '--version'?); see conceptrsa -"),
        ("compare --btas x --out y", "there is no option --btas (did you mean '--betas'?)"),
        ("compare -betas x --out y", "there is no option -betas (did you mean '--betas'?)"),
        ("compare --betas=x --otu=y", "there is no option --otu (did you mean '--out'?)"),
        (f"{COMPARE} --preset Papr", "(did you mean 'paper'?): choose from recommended, paper"),
        (f"{COMPARE} --rsa-metric pearsn", "(did you mean 'pearson'?)"),
        (f"{COMPARE} --betas-format stat-maps", "(did you mean 'statmaps'?)"),
        (f"{COMPARE} extra", "unrecognized arguments: extra"),
        (f"{COMPARE} --n 3", "ambiguous option: --n could match"),
        (f"{COMPARE} --n-voxels ten", "argument --n-voxels: 'ten' is not a whole number"),
        (f"{COMPARE} --seed -1", "argument --seed: -1 is too small: give 0 or more"),
        (f"{COMPARE} --seed", "argument --seed: expected one argument"),
        ("run a b participants", "(did you mean 'participant'?): choose from participant, group"),
        ("run a b participant --dataset_confg demo", "(did you mean '--dataset-config'?)"),
        ("run a b participant --engine pyton", "(did you mean 'python'?)"),
        ("run a", "the following arguments are required: OUT_DIR, level"),
        ("features a b --modles CLIP", "(did you mean '--models'?); see conceptrsa features --"),
        ("models chekc CLIP", "(did you mean 'check'?)"),
        ("models --weihgts a=b", "(did you mean '--weights'?); see conceptrsa models --help"),
        ("models check CLIP --devcie cpu", "(did you mean '--device'?); see conceptrsa models che"),
        ("graph g.svg --kind colord", "(did you mean 'colored'?)"),
        ("demo out --subject-s 3", "(did you mean '--subjects'?)"),
        ("doctor --spm-comand x", "(did you mean '--spm-command'?)"),
    ],
)
def test_one_line_with_the_nearest_spelling(
    command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(command))
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert (
        error.startswith("conceptrsa: ") and error.count("\n") == 1 and error.endswith("--help\n")
    )
    assert said in error


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        (f"{COMPARE} --prompt '--a {{label}} b'", "prompt", "--a {label} b"),
        (f"{COMPARE} --preset=paper", "preset", "paper"),
        (f"{COMPARE} --participant 01", "participant_labels", ["01"]),
        ("run a b participant --participant_label 01", "participant_labels", ["01"]),
        ("run a b participant --skip_bids_validation", "validate", False),
        ("run a b participant --work_dir=a_b", "work_dir", Path("a_b")),
        (
            "run a b participant --ignore fieldmaps slicetiming",
            "ignore",
            ["fieldmaps", "slicetiming"],
        ),
        ("run a b participant -wfolder", "work_dir", Path("folder")),
        ("run a b participant -d folder", "derivatives_dir", Path("folder")),
        ("models check CLIP --device cpu", "device", "cpu"),
    ],
)
def test_what_was_right_stays_right(command: str, name: str, value: object) -> None:
    assert getattr(build_parser().parse_args(shlex.split(command)), name) == value


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--models ResNet5", "(did you mean 'ResNet50'?)"),
        ("--reference-model resnet5", "(did you mean 'ResNet50'?)"),
        ("--dataset-config dmo", "(did you mean 'demo'?)"),
        ("--participant-label 011", "(did you mean '01'?)"),
    ],
)
def test_names_in_the_data(
    options: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.write_models(tmp_path / "models")
    betas = odd.derivatives(tmp_path / "betas", odd.config_file(tmp_path))
    command = ["compare", "--betas", str(betas), "--features", str(tmp_path / "models")]
    assert main([*command, "--out", str(tmp_path / "out"), *shlex.split(options)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("clp", "did you mean 'CLIP'"),
        ("EFFICIENTNET-LITE", "did you mean 'EfficientNet-Lite"),
        ("papr", "did you mean 'paper'"),
        ("tim:resnet18", "no library called 'tim' (did you mean 'timm'?)"),
    ],
)
def test_names_of_networks(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = odd.pictures(tmp_path / "pictures", ("a", "b", "c"))
    assert main(["features", str(pictures), str(tmp_path / "out"), "--models", name]) == 2
    assert said in capsys.readouterr().err


def test_names_in_python() -> None:
    with pytest.raises(InputError, match=r"\(did you mean 'recommended'\?\)"):
        settings_for("recomended")
    with pytest.raises(InputError, match=r"\(did you mean 'whitened-cosine'\?\)"):
        settings_for("paper", rsa_metric="whitend_cosine")
    with pytest.raises(InputError, match=r"\(did you mean 'statmaps'\?\)"):
        find_format(Path(), "statmap")
    with pytest.raises(InputError, match=r"\(did you mean 'ResNet50'\?\)"):
        read_zoo().find("resnet-50")
