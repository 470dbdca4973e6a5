"""`conceptrsa-docker`: what it asks of a stand-in for a container engine, and of Docker."""

import argparse
import ast
import csv
import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from conceptrsa.pipelines.cli import build_parser as build_parser_of_all
from conceptrsa.pipelines.cli import conceptrsa_docker

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "pipelines" / "cli" / "conceptrsa_docker.py"

ENGINE = """#!{python}
import json, os, sys
from pathlib import Path
folder = Path({folder!r})
words = sys.argv[1:]
answers = json.loads((folder / "answers.json").read_text())
for start, (out, error, code) in answers.items():
    if " ".join(words).startswith(start) or words[-1] == start:
        print(out)
        print(error, file=sys.stderr)
        sys.exit(code)
if words[0] in ("run", "exec"):
    (folder / "command.json").write_text(json.dumps([Path(sys.argv[0]).name, *words]))
    (folder / "environment.json").write_text(json.dumps(dict(os.environ)))
    sys.exit(answers.get("code", 0) and 7)
"""


@dataclass
class Done:
    """How the program ended, and what it asked of the container engine."""

    code: int
    out: str
    error: str
    command: list[str]

    @property
    def mounts(self) -> dict[str, tuple[str, bool]]:
        """Source, and whether it is read-only, by the place in the container."""
        values = [
            v for word, v in zip(self.command, self.command[1:], strict=False) if word == "--mount"
        ]
        found = {}
        for value in values:
            first, source, target, *others = next(csv.reader([value]))
            assert first == "type=bind" and others in ([], ["readonly"])
            found[target.removeprefix("target=")] = (source.removeprefix("source="), bool(others))
        return found

    @property
    def words(self) -> list[str]:
        """What `conceptrsa run` is told."""
        return self.command[self.command.index("/data") :]

    def option(self, name: str) -> list[str]:
        """Values of an option of the engine."""
        pairs = zip(self.command, self.command[1:], strict=False)
        return [value for word, value in pairs if word == name]

    def here(self, place: str) -> Path:
        """What of this machine is at a place in the container."""
        for target, (source, _) in self.mounts.items():
            if place == target or place.startswith(target + "/"):
                return Path(source + place.removeprefix(target))
        raise AssertionError(f"{place} is in none of {self.mounts}")


@dataclass
class Lab:
    """A folder with a data set, stand-ins for container engines, and nothing else on the PATH."""

    folder: Path

    def answer(self, **answers: tuple[str, str, int]) -> None:
        by_command = {name.replace("_", " "): answer for name, answer in answers.items()}
        (self.folder / "bin" / "answers.json").write_text(json.dumps(by_command))

    def image(self, **variables: str) -> None:
        pairs = [f"{name}={value}" for name, value in variables.items()]
        self.answer(
            image=(json.dumps(pairs), "", 0),
            info=("25276502016 [name=seccomp]", "", 0),
            env=("\n".join(pairs), "", 0),
        )

    @property
    def environment(self) -> dict[str, str]:
        """What the engine was started with."""
        read: dict[str, str] = json.loads((self.folder / "bin" / "environment.json").read_text())
        return read

    def run(self, *words: str | Path, environment: dict[str, str] | None = None) -> Done:
        recorded = self.folder / "bin" / "command.json"
        recorded.unlink(missing_ok=True)
        variables = {
            "PATH": str(self.folder / "bin"),
            "HOME": str(self.folder / "home"),
            **(environment or {}),
        }
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(FILE), *map(str, words)],
            cwd=self.folder, env=variables, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        command = json.loads(recorded.read_text()) if recorded.exists() else []
        if "--print" in words and done.returncode == 0:
            command = shlex.split(done.stdout)
        return Done(done.returncode, done.stdout, done.stderr, command)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "bids" / "sub-01" / "anat").mkdir(parents=True)
    (tmp_path / "license.txt").write_text("1")
    for engine in ("docker", "podman", "apptainer", "singularity"):
        program = tmp_path / "bin" / engine
        program.write_text(ENGINE.format(python=sys.executable, folder=str(tmp_path / "bin")))
        program.chmod(0o755)
    lab.image(CONCEPTRSA_NORMALIZATION="python")
    return lab


def run_parser() -> argparse.ArgumentParser:
    commands = next(
        action
        for action in build_parser_of_all()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    parser = commands.choices["run"]
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def test_data_are_read_and_results_written_as_the_user(lab: Lab) -> None:
    done = lab.run(
        "bids", "results/new", "participant", "--participant_label", "01", "02", "--nprocs=4"
    )
    assert (done.code, done.error.strip()) == (0, "")
    assert done.command[:4] == ["docker", "run", "--name", done.command[3]]
    start = done.command[4 : done.command.index("--mount")]
    assert start[:7] == [
        "--rm",
        "--init",
        "--read-only",
        "--tmpfs",
        "/tmp:exec",
        "--user",
        start[6],
    ]
    assert start[6] == f"{os.getuid()}:{os.getgid()}"
    assert done.mounts["/data"] == (str(lab.folder / "bids"), True)
    assert done.mounts["/out"] == (str(lab.folder / "results" / "new"), False)
    assert (lab.folder / "results" / "new").is_dir()
    image = f"conceptrsa:{conceptrsa_docker.VERSION}"
    assert done.command[done.command.index("/data") - 1] == image
    assert done.words == [
        "/data", "/out", "participant", "--participant-label", "01", "02", "--nprocs=4"
    ]  # fmt: skip
    assert (
        "-it" not in done.command and "-i" not in done.command and "--network" not in done.command
    )


def test_options_may_come_first(lab: Lab) -> None:
    done = lab.run("--nprocs", "4", "-w", "work", "--models", "A", "B", "bids", "out", "group")
    assert done.words == ["/data", "/out", "group", "--nprocs", "4", "--models", "A", "B"]
    # At the group level the work folder holds features and weights, and is no option of `run`.
    assert done.here("/scratch") == lab.folder / "work"
    assert "XDG_CACHE_HOME=/scratch/.cache" in done.option("-e")


def test_the_container_decides_the_exit_code(lab: Lab) -> None:
    lab.answer(image=("[]", "", 0), info=("", "", 1), run=("", "a subject failed", 1))
    done = lab.run("bids", "out", "participant")
    assert (done.code, done.error.strip()) == (1, "a subject failed")


# --- options that name files ---------------------------------------------------------------------


def test_every_path_of_run_is_known() -> None:
    ours = conceptrsa_docker.build_parser()._option_string_actions
    for action in run_parser()._actions:
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        if action.option_strings and (action.type is Path or re.search("PATH|DIR|FILE", metavar)):
            assert set(action.option_strings) <= set(ours), f"{action.option_strings}: mount it"
            ours_takes_list = ours[action.option_strings[-1]].nargs == "+"
            assert ours_takes_list == (action.nargs == "+"), action.option_strings


def test_own_options_are_in_nobodys_way() -> None:
    of_run = set(run_parser()._option_string_actions) - {"-h", "--help", "--version"}
    ours = set(conceptrsa_docker.build_parser()._option_string_actions)
    paths = {f"--{name}" for name in conceptrsa_docker.PATH_OPTIONS}
    assert of_run & ours == paths | {"-d", "-w", "--work-dir", "--bids-database-dir"}
    # No option of `run` reads as the beginning of one that is handled here.
    assert not [o for o in of_run - ours for own in ours if own.startswith(o)]


@pytest.mark.parametrize("name", conceptrsa_docker.PATH_OPTIONS)
def test_paths_are_mounted_and_rewritten(lab: Lab, name: str) -> None:
    is_output = name in conceptrsa_docker.OUTPUTS
    kind = {"bids-filter-file": "f.json", "fs-license-file": "license.txt", "use-plugin": "p.yml",
            "registry": "r.toml", "dataset-config": "c.toml",
            "weights": "w.pt"}.get(name)  # fmt: skip
    there = lab.folder / "elsewhere" / "a b" / (kind or name)
    there.parent.mkdir(parents=True)
    if kind:
        there.write_text("content")
    elif not is_output:
        there.mkdir()
    given = f"CLIP={there}" if name == "weights" else str(there)
    done = lab.run("bids", "out", "group", f"--{name}", given)
    assert done.code == 0, done.error
    place = done.words[done.words.index(f"--{name}") + 1]
    if name == "weights":
        start, _, place = place.partition("=")
        assert start == "CLIP"
    assert done.here(place) == there
    assert place.startswith(f"/mnt/{name}") and (kind is None or place.endswith(f"/{kind}"))
    target = next(t for t in done.mounts if place.startswith(t) and t.startswith("/mnt"))
    assert done.mounts[target][1] is not is_output
    assert there.exists()


def test_several_values_have_places_of_their_own(lab: Lab) -> None:
    for folder in ("one", "two"):
        (lab.folder / folder).mkdir()
        (lab.folder / folder / "net.pt").write_text(folder)
    given = ["--weights", "A=one/net.pt", "B=two/net.pt", "--weights", "C=one"]
    done = lab.run("bids", "out", "group", *given)
    values = done.words[done.words.index("--weights") + 1 :]
    assert [(v.partition("=")[0], done.here(v.partition("=")[2])) for v in values] == [
        ("A", lab.folder / "one" / "net.pt"),
        ("B", lab.folder / "two" / "net.pt"),
        ("C", lab.folder / "one"),
    ]


def test_names_that_are_no_paths_stay(lab: Lab) -> None:
    (lab.folder / "demo").mkdir()
    (lab.folder / "masks").mkdir()
    masks = "masks/sub-{subject}/mask.nii.gz"
    done = lab.run("bids", "out", "participant", "--dataset-config", "demo", "--t1w-mask", masks)
    assert done.words[3:] == [
        "--dataset-config", "demo", "--t1w-mask", "/mnt/t1w-mask/sub-{subject}/mask.nii.gz"
    ]  # fmt: skip
    assert done.here("/mnt/t1w-mask") == lab.folder / "masks"
    assert lab.run("bids", "out", "group", "--weights", "CLIP").words[3:] == ["--weights", "CLIP"]


def test_a_table_of_labels_beside_the_configuration_is_seen(lab: Lab) -> None:
    (lab.folder / "study").mkdir()
    (lab.folder / "study" / "study.toml").write_text("")
    done = lab.run("bids", "out", "participant", "--dataset-config", "study/study.toml")
    assert done.mounts["/mnt/dataset-config"] == (str(lab.folder / "study"), True)


def test_what_is_missing_is_told_before_anything_runs(lab: Lab) -> None:
    done = lab.run("bids", "out", "participant", "--stimuli", "pictures")
    assert (done.code, done.command) == (2, [])
    assert done.error == (
        f"conceptrsa-docker: --stimuli {lab.folder}/pictures does not exist: correct its path\n"
    )
    assert not (lab.folder / "out").exists()


@pytest.mark.parametrize("word", ["--stim", "--work", "--deriv=x", "--fs-lic"])
def test_short_names_of_paths_are_refused(lab: Lab, word: str) -> None:
    done = lab.run("bids", "out", "participant", word, "x")
    assert done.code == 2 and "write it in full" in done.error


@pytest.mark.parametrize(
    "words", [[], ["bids"], ["bids", "out"], ["bids", "out", "subject"], ["participant"]]
)
def test_folders_and_level_are_needed(lab: Lab, words: list[str]) -> None:
    done = lab.run(*words)
    assert done.code == 2 and "BIDS_DIR OUT_DIR participant" in done.error


# --- unusual paths -------------------------------------------------------------------------------

HOSTILE = [
    "a folder",
    "with:colon",
    "a,b",
    'quo"te',
    "-dash",
    "é 日本",
    "$HOME",
    "it's",
    "a\nb",
    "=,=",
    "*",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_can_be_mounted(lab: Lab, name: str) -> None:
    for folder in ("data", "out", "work", "stimuli"):
        (lab.folder / name / folder).mkdir(parents=True)
    given = [f"./{name}/data/", f"./{name}/out", "group"]
    done = lab.run(*given, f"--work-dir={name}/work", f"--stimuli={name}/stimuli/", "--print")
    assert done.code == 0, done.error
    real = {place: source for place, (source, _) in done.mounts.items()}
    for place, folder in (("/data", "data"), ("/out", "out"), ("/scratch", "work"),
                          ("/mnt/stimuli", "stimuli")):  # fmt: skip
        assert real[place] == str(lab.folder / name / folder)


def test_home_links_and_parents_are_followed(lab: Lab) -> None:
    (lab.folder / "home" / "pictures").mkdir()
    (lab.folder / "link").symlink_to(lab.folder / "bids")
    (lab.folder / "bids" / "code").mkdir()
    done = lab.run(
        "link", "bids/../out", "group", "--stimuli=~/pictures", "--features", "link/code/.."
    )
    assert done.here("/data") == lab.folder / "bids"
    assert done.here("/out") == lab.folder / "out"
    assert done.here("/mnt/stimuli") == lab.folder / "home" / "pictures"
    assert done.words[3:] == ["--stimuli", "/mnt/stimuli", "--features", "/data"]


def test_output_in_derivatives(lab: Lab) -> None:
    done = lab.run(
        "bids", "bids/derivatives/conceptrsa", "participant", "-w", "bids/derivatives/work"
    )
    assert done.code == 0
    assert done.mounts["/out"] == (str(lab.folder / "bids/derivatives/conceptrsa"), False)


@pytest.mark.parametrize(
    ("out", "others", "said"),
    [
        ("bids", [], "OUT_DIR {0}/bids is BIDS_DIR ({0}/bids)"),
        ("./bids/../bids/", [], "is BIDS_DIR"),
        ("link", [], "OUT_DIR {0}/link is BIDS_DIR"),
        ("bids/results", [], "OUT_DIR {0}/bids/results lies in BIDS_DIR"),
        (".", [], "holds BIDS_DIR"),
        ("out", ["-w", "bids"], "--work-dir {0}/bids is BIDS_DIR"),
        ("out", ["-w", "bids/work"], "--work-dir {0}/bids/work lies in BIDS_DIR"),
        ("pictures/out", ["--stimuli", "pictures"], "lies in --stimuli"),
        ("prep", ["-d", "prep"], "is --derivatives"),
    ],
)  # fmt: skip
def test_results_are_not_mixed_with_data(lab: Lab, out: str, others: list[str], said: str) -> None:
    (lab.folder / "pictures").mkdir()
    (lab.folder / "prep").mkdir()
    (lab.folder / "link").symlink_to("bids")
    done = lab.run("bids", out, "participant", *others)
    assert (done.code, done.command) == (2, [])
    assert said.format(lab.folder) in done.error and done.error.count("\n") == 1


def test_data_may_lie_in_sourcedata_of_the_results(lab: Lab) -> None:
    (lab.folder / "study" / "sourcedata").mkdir(parents=True)
    shutil.move(lab.folder / "bids", lab.folder / "study" / "sourcedata" / "raw")
    assert lab.run("study/sourcedata/raw", "study", "participant").code == 0


# --- links ---------------------------------------------------------------------------------------


def test_links_of_git_annex_stay_whole(lab: Lab) -> None:
    bids = lab.folder / "bids"
    content = bids / ".git" / "annex" / "objects" / "k" / "key.toml"
    content.parent.mkdir(parents=True)
    content.write_text("")
    (bids / "code").mkdir()
    (bids / "code" / "study.toml").symlink_to("../.git/annex/objects/k/key.toml")
    (bids / "sub-01" / "anat" / "T1w.nii").symlink_to("../../.git/annex/objects/k/key.toml")
    (bids / "stimuli").mkdir()
    (bids / "stimuli" / "a.png").symlink_to("../.git/annex/objects/k/key.toml")
    config, pictures = bids / "code" / "study.toml", bids / "stimuli"
    done = lab.run(bids, "out", "participant", "--dataset-config", config, "--stimuli", pictures)
    assert done.words[3:] == [
        "--dataset-config", "/data/code/study.toml", "--stimuli", "/data/stimuli"
    ]  # fmt: skip
    assert not any(place.startswith("/mnt") for place in done.mounts)
    assert done.error.strip() == ""


def test_what_links_lead_to_is_mounted(lab: Lab) -> None:
    store = lab.folder / "store"
    for subject in ("sub-02", "sub-03"):
        (store / subject).mkdir(parents=True)
        (lab.folder / "bids" / subject).symlink_to(store / subject)
    (lab.folder / "modules" / "bids").mkdir(parents=True)
    (lab.folder / "bids" / ".git").symlink_to("../modules/bids")
    done = lab.run("bids", "out", "participant")
    assert done.code == 0
    assert done.mounts[str(store)] == (str(store), True)
    # From /data, ../modules is this.
    assert done.mounts["/modules"] == (str(lab.folder / "modules"), True)
    assert len(done.error.strip().splitlines()) == 2 and f"{store} is mounted as well" in done.error


@pytest.mark.parametrize(
    "target",
    ["/usr/lib/x", "/bin/x", "/lib64/y/x", "/opt/venv/x", "/opt/spm12/a/x", "../usr/x", "/etc/x"],
)
def test_programs_of_the_image_are_not_hidden(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(target)
    mounts = conceptrsa_docker.Mounts()
    mounts.mount(tmp_path, "/data")
    monkeypatch.setattr(Path, "exists", lambda path: True)
    conceptrsa_docker.mount_linked_folders(mounts)
    assert list(mounts.by_target) == ["/data"]


def test_programs_of_all_images_are_known() -> None:
    recipe = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    installed = set(re.findall(r"/opt/[a-z0-9]+", recipe))
    assert installed and installed <= set(conceptrsa_docker.NOT_ENTERED)


def test_links_that_stay_broken_are_told(lab: Lab) -> None:
    file = lab.folder / "scan.nii"
    file.write_text("")
    for name in ("a.nii", "b.nii"):
        (lab.folder / "bids" / "sub-01" / "anat" / name).symlink_to(file)
    (lab.folder / "bids" / "gone").symlink_to("/nowhere/at/all")
    done = lab.run("bids", "out", "participant")
    link = lab.folder / "bids" / "sub-01" / "anat" / "a.nii"
    assert done.code == 0
    assert f"cannot follow the link {link} -> {file} (and 1 more)" in done.error


# --- FreeSurfer's licence ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "words", "is_needed"),
    [
        ("freesurfer", ["participant"], True),
        ("freesurfer", ["participant", "--normalization", "python"], False),
        ("freesurfer", ["participant", "--normalization=python"], False),
        ("freesurfer", ["participant", "--dry-run"], False),
        ("freesurfer", ["participant", "-e", "CONCEPTRSA_NORMALIZATION=python"], False),
        ("freesurfer", ["group"], False),
        ("python", ["participant"], False),
        ("python", ["participant", "--normalization", "freesurfer"], True),
    ],
)
def test_a_licence_is_asked_for_where_freesurfer_runs(
    lab: Lab, image: str, words: list[str], is_needed: bool
) -> None:
    lab.image(CONCEPTRSA_NORMALIZATION=image)
    without = lab.run("bids", "out", *words)
    assert (without.code == 2) is is_needed
    assert ("FreeSurfer needs a licence" in without.error) is is_needed
    named = {"FS_LICENSE": str(lab.folder / "license.txt")}
    done = lab.run("bids", "out", *words, environment=named)
    assert done.code == 0
    place = "/mnt/fs-license-file/license.txt"
    assert (f"FS_LICENSE={place}" in done.option("-e")) is is_needed
    assert (place in done.mounts) is is_needed


def test_where_a_licence_is_found(lab: Lab) -> None:
    lab.image(CONCEPTRSA_NORMALIZATION="freesurfer")
    home = {"FREESURFER_HOME": str(lab.folder)}
    done = lab.run("bids", "out", "participant", environment=home)
    assert done.here("/mnt/fs-license-file/license.txt") == lab.folder / "license.txt"
    given = ["bids", "out", "participant", "--fs-license-file", "license.txt"]
    done = lab.run(*given, environment={"FS_LICENSE": "/nowhere"})
    assert done.words[-2:] == ["--fs-license-file", "/mnt/fs-license-file/license.txt"]
    assert not [word for word in done.command if word.startswith("FS_LICENSE")]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("crsa:1-python", 0),
        ("crsa:octave", 0),
        ("crsa_python", 0),
        ("crsa:1", 2),
        ("crsa:mypython", 2),
    ],
)
@pytest.mark.parametrize("said", ["No such image", "Cannot connect"])
def test_without_the_image_its_name_tells_of_the_licence(
    lab: Lab, name: str, code: int, said: str
) -> None:
    lab.answer(image=("", said, 1), info=("", "", 1))
    done = lab.run("bids", "out", "participant", "--print", "--image", name)
    assert done.code == code
    assert ("FreeSurfer needs a licence" in done.error) is (code == 2)


@pytest.mark.parametrize("image", ["python", "freesurfer"])
def test_print_asks_the_image_as_well(lab: Lab, image: str) -> None:
    lab.image(CONCEPTRSA_NORMALIZATION=image)
    for name in ("crsa:1", "crsa:python"):
        done = lab.run("bids", "out", "participant", "--print", "--image", name)
        assert (done.code == 2) is (image == "freesurfer"), done.error


# --- the engine ----------------------------------------------------------------------------------

# As Docker 20.10, Docker 28 and Podman say it.
NO_DAEMON = "Cannot connect to the Docker daemon at unix:///s.sock. Is the docker daemon running?"
NOT_ALLOWED = (
    "permission denied while trying to connect to the Docker daemon socket at "
    "unix:///var/run/docker.sock: connect: permission denied"
)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (NO_DAEMON, "sudo systemctl start docker"),
        (NOT_ALLOWED, "usermod -aG docker"),
        (NOT_ALLOWED.replace("perm", "Got perm", 1), "usermod -aG docker"),
        (
            "Error: No such image: conceptrsa:1",
            "there is no image conceptrsa:1 on this machine: build it",
        ),
        (
            "Error response from daemon: no such image: conceptrsa:1",
            "there is no image conceptrsa:1",
        ),
        (
            "Error: inspecting object: conceptrsa:1: image not known",
            "there is no image conceptrsa:1",
        ),
        ("", "no reason given"),
    ],
)
def test_an_engine_that_refuses(lab: Lab, said: str, remedy: str) -> None:
    lab.answer(image=("", said, 1))
    done = lab.run("bids", "out", "participant", "--image", "conceptrsa:1")
    assert (done.code, done.command) == (2, [])
    assert remedy in done.error and done.error.count("\n") == 1
    assert not (lab.folder / "out").exists()


def test_no_engine(lab: Lab) -> None:
    (lab.folder / "bin" / "docker").unlink()
    done = lab.run("bids", "out", "participant")
    assert done.code == 2
    assert done.error == (
        "conceptrsa-docker: docker cannot be run (No such file or directory): install it, or "
        "choose another --container-engine\n"
    )


@pytest.mark.parametrize(
    ("memory", "is_said"), [("2085298176", True), ("5233123840", False), ("", False)]
)
def test_little_memory_is_told(lab: Lab, memory: str, is_said: bool) -> None:
    lab.answer(image=("[]", "", 0), info=(f"{memory} [name=seccomp]", "", 0))
    done = lab.run("bids", "out", "participant")
    assert done.code == 0 and ("docker has 2.1 GB of memory" in done.error) is is_said


def test_root_of_a_rootless_engine_is_the_user(lab: Lab) -> None:
    lab.answer(image=("null", "", 0), info=("9085298176 [name=seccomp name=rootless]", "", 0))
    assert lab.run("bids", "out", "participant").option("--user") == ["0:0"]
    lab.answer(image=("[]", "", 0), info=("9085298176 true", "", 0))
    done = lab.run("bids", "out", "participant", "--container-engine", "podman")
    assert done.command[0] == "podman" and done.option("--user") == ["0:0"]
    assert lab.run("bids", "out", "participant", "--user", "5:6").option("--user") == ["5:6"]


def test_a_lab_s_groups_reach_rootless_podman(lab: Lab) -> None:
    lab.answer(image=("[]", "", 0), info=("9085298176 true", "", 0))
    others = set(os.getgroups()) - {os.getgid()}
    done = lab.run("bids", "out", "participant", "--container-engine", "podman")
    assert ("--group-add=keep-groups" in done.command) is bool(others)
    lab.answer(image=("[]", "", 0), info=("9085298176 [name=rootless]", "", 0))
    done = lab.run("bids", "out", "participant")
    assert not [word for word in done.command if word.startswith("--group-add")]


def test_users_are_not_mapped(lab: Lab) -> None:
    lab.answer(image=("[]", "", 0), info=("9085298176 [name=seccomp name=userns]", "", 0))
    done = lab.run("bids", "out", "participant")
    assert "--userns=host" in done.command
    assert done.option("--user") == [f"{os.getuid()}:{os.getgid()}"]
    lab.image()
    assert "--userns=host" not in lab.run("bids", "out", "participant").command


@pytest.mark.parametrize("security", ["[name=seccomp]", "[name=rootless]", "[name=userns]"])
def test_print_shows_what_would_run(lab: Lab, security: str) -> None:
    lab.answer(image=("[]", "", 0), info=(f"9085298176 {security}", "", 0))
    printed = lab.run("bids", "out", "participant", "--print").command
    ran = lab.run("bids", "out", "participant").command
    assert printed == [*ran[:2], *ran[4:]] and ran[2] == "--name"


@pytest.mark.parametrize(
    "word", ["-d", "-dit", "-itd", "-d=true", "--detach", "--detach=true", "--detach-keys=x"]
)
def test_a_container_cannot_be_detached(lab: Lab, word: str) -> None:
    done = lab.run("bids", "out", "participant", f"--docker-arg={word}")
    assert (done.code, done.command) == (2, [])
    assert f"--docker-arg={word}: a detached container would be removed at once" in done.error
    assert done.error.count("\n") == 1 and not (lab.folder / "out").exists()


@pytest.mark.parametrize("redirected", [None, "stdin", "stdout", "stderr"])
def test_a_terminal_is_connected_where_all_streams_are_on_it(
    lab: Lab, redirected: str | None
) -> None:
    ours, theirs = pty.openpty()
    streams = dict.fromkeys(["stdin", "stdout", "stderr"], theirs)
    if redirected is not None:
        streams[redirected] = subprocess.DEVNULL
    words = ["bids", "out", "participant", "--normalization=python"]
    subprocess.run(
        [sys.executable, str(FILE), *words], cwd=lab.folder, check=True,
        env={"PATH": str(lab.folder / "bin"), "HOME": str(lab.folder)}, **streams,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    command = json.loads((lab.folder / "bin" / "command.json").read_text())
    assert ("-it" in command) is (redirected is None)
    assert any(word.startswith("--detach-keys=") for word in command) is (redirected is None)


def test_print_needs_no_engine_and_makes_nothing(lab: Lab) -> None:
    before = sorted(lab.folder.rglob("*"))
    done = lab.run("bids", "out dir", "participant", "--print", "--normalization", "python",
                   "--prompt", "it's {label}", environment={"PATH": ""})  # fmt: skip
    assert done.code == 0, done.error
    assert done.command[:2] == ["docker", "run"] and "--name" not in done.command
    assert done.words == [
        "/data", "/out", "participant", "--normalization", "python", "--prompt", "it's {label}"
    ]  # fmt: skip
    assert f"mkdir -p '{lab.folder}/out dir'" in done.error
    assert sorted(lab.folder.rglob("*")) == before


def test_variables_and_arguments_of_the_engine(lab: Lab) -> None:
    (lab.folder / "nets").mkdir()
    given = ["-e", "A=1", "B=x=y", "--env", "C", "3", "-e", "HERE", "-e", "UNSET",
             "--docker-arg=--gpus=all", "--docker-arg=--cpus=2", "--network", "none"]  # fmt: skip
    here = {
        "HERE": "yes",
        "CONCEPTRSA_OFFLINE": "1",
        "CONCEPTRSA_WEIGHTS": str(lab.folder / "nets"),
    }
    done = lab.run(*given, "bids", "out", "group", environment=here)
    assert done.option("-e") == [
        "XDG_CACHE_HOME=/cache", "CONCEPTRSA_WEIGHTS=/mnt/downloads", "CONCEPTRSA_OFFLINE",
        "A=1", "B=x=y", "C=3", "HERE",
    ]  # fmt: skip
    assert lab.environment["HERE"] == "yes"
    assert done.mounts["/mnt/downloads"] == (str(lab.folder / "nets"), False)
    assert done.option("--network") == ["none"]
    image = done.command.index("/data") - 1
    assert done.command[image - 2 : image] == ["--gpus=all", "--cpus=2"]


def test_weights_and_features_are_kept(lab: Lab) -> None:
    done = lab.run("bids", "out", "group")
    cache = lab.folder / "home" / ".cache" / "conceptrsa-docker"
    assert done.mounts["/cache"] == (str(cache), False) and cache.is_dir()
    other = {"XDG_CACHE_HOME": str(lab.folder / "c")}
    done = lab.run("bids", "out", "group", environment=other)
    assert done.here("/cache") == lab.folder / "c" / "conceptrsa-docker"


def test_a_shell_has_the_same_mounts(lab: Lab) -> None:
    run = lab.run("bids", "out", "participant", "--stimuli", "bin")
    done = lab.run("bids", "out", "participant", "--stimuli", "bin", "--shell")
    assert done.mounts == run.mounts
    assert done.command[-3:-1] == ["--entrypoint", "bash"] and "-i" in done.command
    alone = lab.run("--shell")
    assert alone.code == 0 and list(alone.mounts) == ["/cache"]


def test_versions(lab: Lab) -> None:
    done = lab.run("--version")
    assert done.out == f"conceptrsa-docker {conceptrsa_docker.VERSION}\n"
    assert done.command[1:5] == ["run", "--rm", "--entrypoint", "conceptrsa"]
    assert done.command[-1] == "--version"
    (lab.folder / "bin" / "docker").unlink()
    done = lab.run("--version")
    assert done.code == 2 and done.out.startswith("conceptrsa-docker ")


@pytest.mark.parametrize("engine", ["apptainer", "singularity"])
def test_apptainer(lab: Lab, engine: str) -> None:
    name = f"conceptrsa_{conceptrsa_docker.VERSION}.sif"
    words = ["bids", "out", "participant", "--container-engine", engine, "--normalization=python"]
    missing = lab.run(*words)
    assert missing.code == 2
    assert "docker save -o conceptrsa.tar conceptrsa:" in missing.error
    assert f"{engine} build {name} docker-archive://conceptrsa.tar" in missing.error
    (lab.folder / name).write_text("")
    done = lab.run(
        *words, "-e", "A=1", "--network", "none", "--docker-arg=--nv", "--prompt", "$HOME a"
    )
    assert done.code == 0
    assert done.command[:4] == [engine, "exec", "--cleanenv", "--containall"]
    assert done.option("--env") == ["XDG_CACHE_HOME=/cache", "A=1"]
    assert done.mounts["/data"] == (str(lab.folder / "bids"), True)
    assert Path(done.option("--workdir")[0]).parent == lab.folder / "out" / ".work"
    assert done.command[done.command.index(name) :] == [name, "conceptrsa", "run", *done.words]
    assert "--nv" in done.command and done.words[-1] == "$HOME a"
    shell = lab.run(*words, "--shell", "--image", "docker-daemon://conceptrsa:1")
    assert shell.command[-2:] == ["docker-daemon://conceptrsa:1", "bash"]


def test_apptainer_s_temporary_files_go_at_the_end(lab: Lab) -> None:
    words = ["bids", "out", "participant", "-w", "work", "--container-engine=apptainer"]
    words += ["--image", "docker://conceptrsa:python"]
    first, second = (Path(lab.run(*words).option("--workdir")[0]) for _ in range(2))
    assert first.parent == second.parent == lab.folder / "work" and first != second
    until = time.monotonic() + 20
    while any((lab.folder / "work").iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any((lab.folder / "work").iterdir())


@pytest.mark.parametrize("engine", ["apptainer", "singularity"])
def test_a_secret_is_not_on_apptainer_s_command_line(lab: Lab, engine: str) -> None:
    (lab.folder / "crsa.sif").write_text("")
    words = ["bids", "out", "participant", "--container-engine", engine, "--image=crsa.sif"]
    secret = {"HF_TOKEN": "hf_1234"}
    done = lab.run(*words, "-e", "HF_TOKEN", environment=secret)
    name = f"{engine.upper()}ENV_HF_TOKEN"
    assert done.code == 0 and "hf_1234" not in " ".join(done.command)
    assert lab.environment[name] == "hf_1234"
    printed = lab.run(*words, "-e", "HF_TOKEN", "--print", environment=secret)
    assert printed.out.startswith(f'{name}="$HF_TOKEN" {engine} exec ')


@pytest.mark.parametrize("name", ["crsa.sif", "crsa-python.sif"])
def test_apptainer_is_asked_what_the_image_holds(lab: Lab, name: str) -> None:
    (lab.folder / name).write_text("")
    words = ["bids", "out", "participant", "--container-engine=apptainer", "--image", name]
    lab.image(CONCEPTRSA_CONTAINER="python")
    assert lab.run(*words).code == lab.run(*words, "--print").code == 0
    lab.image(CONCEPTRSA_NORMALIZATION="freesurfer")
    assert "FreeSurfer needs a licence" in lab.run(*words).error
    lab.answer(env=("", "INFO: first\n\x1b[91mERROR: no such file\n\x1b[0m", 1))  # as 1.4.5 writes
    done = lab.run(*words)
    assert done.code == 2 and f"cannot start {name} (ERROR: no such file)" in done.error


# --- the file ------------------------------------------------------------------------------------


def test_it_is_one_file_for_python_3_8() -> None:
    tree = ast.parse(FILE.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert imported <= set(sys.stdlib_module_names)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from conceptrsa.pipelines.cli.conceptrsa_docker import build_parser; "
        "build_parser().format_help(); sys.exit(bool({'numpy', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_is_installed_with_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == conceptrsa_docker.VERSION
    assert project["scripts"]["conceptrsa-docker"] == (
        f"{conceptrsa_docker.__name__}:{conceptrsa_docker.main.__name__}"
    )


@pytest.mark.parametrize("page", ["docker/README.md", "docs/container.md"])
def test_commands_of_a_page_start_a_container(lab: Lab, page: str) -> None:
    """With an image that has no FreeSurfer, which no command asks a licence for."""
    lab.image(CONCEPTRSA_CONTAINER="python")
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^conceptrsa-docker (.*)", text, re.MULTILINE)
    assert commands
    for command in commands:
        words = shlex.split(command, comments=True)
        for word in words:
            if re.search(r"FILE|\.(sif|toml|txt)$", word):
                (lab.folder / word).touch()
            elif word.endswith("DIR"):
                (lab.folder / word).mkdir(exist_ok=True)
        if "apptainer" in words and "--image" not in words:
            (lab.folder / f"conceptrsa_{conceptrsa_docker.VERSION}.sif").touch()
        done = lab.run(*words)
        assert done.code == 0, f"{command}: {done.error}"


def test_commands_of_the_page() -> None:
    page = (ROOT / "docs" / "container.md").read_text(encoding="utf-8")
    commands = re.findall(r"^(?:conceptrsa-docker|python conceptrsa_docker.py) (.*)", page, re.M)
    assert len(commands) == 4 and f"conceptrsa:{conceptrsa_docker.VERSION}`" in page
    for command in commands:
        words = shlex.split(command, comments=True)
        _, positional, rest = conceptrsa_docker.read_command_line(words)
        run_parser().parse_args([*positional, *rest])
