"""`conceptrsa-docker`: `conceptrsa run` in a container, given paths of this machine.

The file also runs alone, as `python conceptrsa_docker.py`, where there is Python 3.8 or newer and
no conceptrsa: it imports nothing but the standard library.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

VERSION = "0.1.0"
PROGRAM = "conceptrsa-docker"
DOCKER_LIKE, APPTAINER_LIKE = ("docker", "podman"), ("apptainer", "singularity")
ENOUGH_MEMORY = 5e9
"""Bytes: the default 4 GB of `conceptrsa run`, and the system around it."""
WITHOUT_FREESURFER = r"[-:_](python|octave)(\.sif)?$"
"""Names of images that need no licence, for where the image itself cannot be asked."""
NOT_COVERED = ("/", "/opt", "/tmp", "/var")
"""Folders of the image that nothing is mounted over."""
NOT_ENTERED = (
    "/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr",
    "/opt/freesurfer", "/opt/mcr", "/opt/spm", "/opt/spm12", "/opt/venv",
)  # fmt: skip
"""Folders of the image that nothing is mounted over or in."""
KEYS_TO_DETACH = ",".join(["ctrl-_", "ctrl-^"] * 4)
"""Nobody types this; for no keys at all, Docker takes its default, Ctrl-P Ctrl-Q."""
HOLD_INPUTS = ("sourcedata", "inputs")
"""Places where an output folder may hold the data set that it is made from."""

PATH_OPTIONS = (
    "dataset-config", "bids-filter-file", "derivatives", "atlas", "t1w-mask", "fs-subjects-dir",
    "fs-license-file", "use-plugin", "stimuli", "features", "weights", "weights-dir", "registry",
    "cache-dir",
)  # fmt: skip
"""Options of `conceptrsa run` that name files or folders, besides the work folder."""
LISTS = ("weights", "registry")
OUTPUTS = ("fs-subjects-dir", "cache-dir")
"""Options whose folders are written to, and made if they are missing."""
HOLD_NO_RESULTS = ("derivatives", "fs-subjects-dir", "stimuli", "features")


class Refusal(Exception):
    """A mistake of the user, with its remedy, in one sentence."""


def main(argv: Sequence[str] | None = None) -> int:
    """Start the container.

    The container engine takes the place of this process: the exit code is the container's, and
    signals reach it.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name, by default those of the process.

    Returns
    -------
    int
        2 for wrong use or input, and where no container can be started.
    """
    try:
        return run(sys.argv[1:] if argv is None else argv)
    except (Refusal, RuntimeError) as error:  # Path knows no home for ~name
        warn(str(error))
    except OSError as error:
        warn(f"{error.filename}: {error.strerror}; correct it, or choose another")
    return 2


def run(argv: Sequence[str]) -> int:
    """Do what a command line asks for."""
    options, positional, rest = read_command_line(argv)
    if options.version:
        return show_version(options)
    if not positional and not options.shell:
        raise Refusal(
            f"name BIDS_DIR OUT_DIR participant, or group, in this order; see {PROGRAM} --help"
        )
    mounts = Mounts()
    words = mount_arguments(options, positional, rest, mounts) if positional else []
    variables = variables_of(options, mounts)
    engine, image_variables = ask_engine(options)
    if needs_license(words, options, variables, image_variables):
        variables["FS_LICENSE"] = mounts.mount_or_reuse(find_license(), "fs-license-file")
    if options.container_engine in DOCKER_LIKE:
        warn_of_little_memory(options.container_engine, engine.memory)
        return run_docker(options, words, mounts, variables, engine)
    return run_apptainer(options, words, mounts, variables)


def show_version(options: argparse.Namespace) -> int:
    """Print the versions of this program and of the image."""
    print(f"{PROGRAM} {VERSION}", flush=True)
    engine, image = options.container_engine, options.image
    inspect_image(options)
    command = [engine, "exec", image, "conceptrsa", "--version"]
    if engine in DOCKER_LIKE:
        command = [engine, "run", "--rm", "--entrypoint", "conceptrsa", image, "--version"]
    os.execvp(engine, command)


def warn(message: str) -> None:
    """Say something on the standard error."""
    print(f"{PROGRAM}: {message}", file=sys.stderr, flush=True)


# --- the command line ----------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Parser whose mistakes are one sentence."""

    def error(self, message: str) -> NoReturn:
        """Refuse what was typed."""
        raise Refusal(f"{message}; see {PROGRAM} --help")


def build_parser() -> Parser:
    """Make the parser of what this program handles itself; all else is of `conceptrsa run`."""
    parser = Parser(
        prog=PROGRAM,
        usage="%(prog)s BIDS_DIR OUT_DIR {participant,group} [OPTION ...]",
        description="Runs `conceptrsa run` in a container: with all of its options, with paths of "
        "this machine, and with the options below.",
        epilog=f"All options of `conceptrsa run`: docker run --rm conceptrsa:{VERSION} --help",
        allow_abbrev=False,
    )
    add = parser.add_argument_group("container").add_argument
    add(
        "--container-engine", choices=DOCKER_LIKE + APPTAINER_LIKE, default="docker",
        help="what runs the container (default: docker)",
    )  # fmt: skip
    add(
        "-i", "--image",
        help=f"its image (default: conceptrsa:{VERSION}; for apptainer and singularity, the file "
        f"conceptrsa_{VERSION}.sif)",
    )  # fmt: skip
    add("--shell", action="store_true", help="open bash in the container, with the same mounts")
    add("--print", action="store_true", help="print the engine's command and do not run it")
    add("--version", action="store_true", help="print the versions of this program and the image")
    add(
        "-e", "--env", action="append", nargs="+", metavar="NAME=VALUE", default=[],
        help="set a variable in the container; NAME alone: as it is here, and not shown to others",
    )  # fmt: skip
    add("--network", help="none: without a connection; or a network of the engine")
    add("-u", "--user", metavar="UID[:GID]", help="who the results belong to (default: you)")
    add("--no-tty", action="store_true", help="do not connect the container with the terminal")
    add(
        "--docker-arg", "--container-arg", action="append", metavar="ARG", default=[],
        help="a further argument of the engine, as in --docker-arg=--gpus=all",
    )  # fmt: skip
    title = "options of `conceptrsa run` that name files, which are mounted"
    add = parser.add_argument_group(title).add_argument
    add(
        "-w", "--work-dir", metavar="DIR",
        help="intermediate files; also features and downloaded weights, which are otherwise kept "
        "in your cache folder",
    )  # fmt: skip
    for name in PATH_OPTIONS:
        flags = (*(["-d"] if name == "derivatives" else []), f"--{name}")
        if name in LISTS:
            metavar = "NAME=PATH" if name == "weights" else "PATH"
            add(*flags, dest=name, metavar=metavar, nargs="+", action="extend", default=[])
        else:
            add(*flags, dest=name, metavar="PATH")
    add("--bids-database-dir", metavar="DIR", help="accepted for compatibility; has no effect")
    return parser


def read_command_line(
    words: Sequence[str],
) -> tuple[argparse.Namespace, list[str], list[str]]:
    """Split a command line.

    How many values each option takes is known in the container only; where the level stands shows
    which words are the two folders.

    Returns
    -------
    options : Namespace
        Options that are handled here.
    positional : list of str
        BIDS_DIR, OUT_DIR and level, or nothing where they are not there.
    rest : list of str
        All else.
    """
    words = [_with_hyphens(word) for word in words if word != "--"]
    positional: list[str] = []
    for start, (*folders, level) in enumerate(zip(words, words[1:], words[2:])):  # noqa: B905
        if level in ("participant", "group") and not any(f.startswith("-") for f in folders):
            positional = words[start : start + 3]
            del words[start : start + 3]
            break
    parser = build_parser()
    options, rest = parser.parse_known_args(words)
    for word in rest:
        name = word.partition("=")[0]
        meant = [flag for flag in parser._option_string_actions if flag.startswith(name)]
        if name.startswith("--") and meant:
            raise Refusal(f"{name} may be short for {meant[0]}; write it in full")
    if options.image is None:
        is_docker = options.container_engine in DOCKER_LIKE
        options.image = f"conceptrsa:{VERSION}" if is_docker else f"conceptrsa_{VERSION}.sif"
    return options, positional, rest


def _with_hyphens(word: str) -> str:
    """Take --work_dir for --work-dir, as `conceptrsa run` does."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


# --- what is mounted -----------------------------------------------------------------------------


def mount_arguments(
    options: argparse.Namespace, positional: Sequence[str], rest: Sequence[str], mounts: Mounts
) -> list[str]:
    """Mount all that a command line names, and give what `conceptrsa run` is told.

    Raises
    ------
    Refusal
        If something does not exist, or results would be mixed with it.
    """
    bids, out = map(_absolute, positional[:2])
    outputs = mount_folders(bids, out, options.work_dir, mounts)
    words = ["/data", "/out", positional[2], *rest]
    # `run ... group` has no such option: there it holds weights and features only.
    if options.work_dir is not None and positional[2] == "participant":
        words += ["--work-dir", "/scratch"]
    for name in PATH_OPTIONS:
        value = vars(options)[name]
        if value:
            values = value if name in LISTS else [value]
            words.append(f"--{name}")
            words += [mount_value(name, text, mounts, outputs) for text in values]
    mount_linked_folders(mounts)
    return words


def mount_folders(bids: Path, out: Path, work: str | None, mounts: Mounts) -> dict[str, Path]:
    """Mount the data set, the output and the work folder where images expect them.

    Returns
    -------
    dict of str to Path
        Folders that are written, by what they were given as.

    Raises
    ------
    Refusal
        If there is no data set, or what is written would be mixed with it.
    """
    if not bids.is_dir():
        raise Refusal(f"BIDS_DIR {bids} is not a folder: give the root of the data set")
    outputs = {"OUT_DIR": out, **({} if work is None else {"--work-dir": _absolute(work)})}
    for name, folder in outputs.items():
        require_apart(name, folder, "BIDS_DIR", bids)
    inside = below(bids.resolve(), out)
    if inside is not None and inside.parts[0] not in HOLD_INPUTS:
        raise Refusal(
            f"OUT_DIR {out} holds BIDS_DIR ({bids}), which would be mixed with results: choose "
            f"another, such as a new folder in {bids}/derivatives"
        )
    mounts.mount(bids, "/data")
    mounts.mount(out, "/out", is_output=True)
    if work is not None:
        mounts.mount(outputs["--work-dir"], "/scratch", is_output=True)
    return outputs


def require_apart(name: str, output: Path, title: str, folder: Path) -> None:
    """Refuse output in a folder that is read, other than its derivatives.

    `conceptrsa run` does so as well, but not where each folder is mounted at a place of its own.
    """
    inside = below(output.resolve(), folder)
    if inside is not None and "derivatives" not in map(str.lower, inside.parts[:1]):
        relation = "lies in" if inside.parts else "is"
        raise Refusal(
            f"{name} {output} {relation} {title} ({folder}), whose files would be mixed with "
            f"results: choose another, such as a new folder in {folder}/derivatives"
        )


def mount_value(name: str, text: str, mounts: Mounts, outputs: Mapping[str, Path]) -> str:
    """Mount what a value of an option names, and give the value that means the same there.

    Raises
    ------
    Refusal
        If it does not exist, or results would be mixed with it.
    """
    # A configuration that comes with conceptrsa; or a typing error, of which that tells.
    pattern = {"dataset-config": "[./]", "weights": "=."}.get(name, "")
    if not re.search(pattern, text):
        return text
    start, equals, text = text.partition("=") if name == "weights" else ("", "", text)
    path = _absolute(text)
    # {subject} stands for a label: the folder above it holds all that it may stand for.
    parts = path.parts
    n_fixed = next((n for n, part in enumerate(parts) if "{subject}" in part), len(parts))
    path, rest = Path(*parts[:n_fixed]), parts[n_fixed:]
    if not path.exists() and name not in OUTPUTS:
        raise Refusal(f"--{name} {path} does not exist: correct its path")
    if name in HOLD_NO_RESULTS:
        for title, folder in outputs.items():
            require_apart(title, folder, f"--{name}", path)
    if name == "dataset-config" and path.resolve() == _without_links_above(path):
        path, rest = path.parent, (path.name,)  # it may name a table of labels beside it
    target = mounts.mount_or_reuse(path, name, name in OUTPUTS)
    return f"{start}{equals}{PurePosixPath(target, *rest)}"


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine, and whether the container may write to it."""

    source: Path
    is_output: bool

    def argument(self, target: str) -> str:
        """Value of --mount; unlike -v it can name any path, as its fields are quoted as in CSV."""
        fields = ["type=bind", f"source={self.source}", f"target={target}"]
        if not self.is_output:
            fields.append("readonly")
        return ",".join(
            '"' + text.replace('"', '""') + '"' if re.search('[",\r\n]', text) else text
            for text in fields
        )


@dataclass
class Mounts:
    """Paths of this machine, and where the container sees them.

    Attributes
    ----------
    by_target : dict of str to Mount
        By path in the container.
    missing : list of Path
        Folders to make before it starts.
    """

    by_target: dict[str, Mount] = field(default_factory=dict)
    missing: list[Path] = field(default_factory=list)

    def mount(self, path: Path, target: str, is_output: bool = False) -> str:
        """Mount a file or folder, and give its path in the container."""
        self.by_target[target] = Mount(path.resolve(), is_output)
        if not path.exists():
            self.missing.append(path)
        return target

    def mount_or_reuse(self, path: Path, name: str, is_output: bool = False) -> str:
        """Mount what an option names, and give its path there.

        What lies in the data set, the output or the work folder keeps its place there, so that
        links of git-annex lead where they should, and `conceptrsa run` sees what is in what.
        """
        for target in ("/scratch", "/out", "/data"):
            mount = self.by_target.get(target)
            if mount is not None and (mount.is_output or not is_output):
                inside = below(_without_links_above(path), mount.source)
                if inside is not None and below(path.resolve(), mount.source) is not None:
                    return str(PurePosixPath(target, inside))
        number = sum(target.startswith(f"/mnt/{name}") for target in self.by_target)
        folder = f"/mnt/{name}" + (f"-{number + 1}" if number else "")
        return self.mount(path, f"{folder}/{path.name}" if path.is_file() else folder, is_output)

    def arguments(self) -> list[str]:
        """Give all of them as Docker and Apptainer take them."""
        values = [mount.argument(target) for target, mount in self.by_target.items()]
        return [word for value in values for word in ("--mount", value)]

    def shows(self, path: Path, seen: PurePosixPath) -> bool:
        """Whether the container sees a file of this machine at some place."""
        return any(
            PurePosixPath(target) in (seen, *seen.parents)
            and below(path.resolve(), mount.source) is not None
            for target, mount in self.by_target.items()
        )


def below(inner: Path, outer: Path) -> Path | None:
    """Path from a folder to what is in it or is it; None for what lies elsewhere."""
    for parent in (inner, *inner.parents):
        if parent.exists() and outer.exists() and parent.samefile(outer):
            return inner.relative_to(parent)
    return None


def _absolute(text: str) -> Path:
    return Path.cwd() / Path(text).expanduser()


def _without_links_above(path: Path) -> Path:
    return path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name


def mount_linked_folders(mounts: Mounts) -> None:
    """Mount folders that links in read-only folders lead to, and tell which links stay broken.

    Looked at are what lies at the top of each folder, and all of the data set's first subject.
    """
    broken = []
    targets = list(mounts.by_target)
    for target, mount in list(mounts.by_target.items()):
        if mount.is_output:
            continue
        for link in _links(mount.source):
            text = os.readlink(link)  # noqa: PTH115
            place = PurePosixPath(target, link.parent.relative_to(mount.source))
            seen = PurePosixPath(os.path.normpath(place / text))
            if not link.exists() or mounts.shows(link, seen):
                continue
            if link.parent == mount.source and _is_free(seen.parent, targets):
                warn(f"{link} leads to {text}: {seen.parent} is mounted as well")
                mounts.mount((link.parent / text).parent, str(seen.parent))
            else:
                broken.append(f"{link} -> {text}")
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        warn(
            f"the container cannot follow the link {broken[0]}{more}: put the file itself there, "
            "or mount what it leads to at the same place, with --docker-arg"
        )


def _is_free(folder: PurePosixPath, targets: Sequence[str]) -> bool:
    """Whether nothing is hidden by a mount there: no other mount, and nothing of the image."""
    around = {str(folder), *map(str, folder.parents)}
    above_a_target = any(folder in PurePosixPath(target).parents for target in targets)
    return (
        str(folder) not in NOT_COVERED
        and around.isdisjoint((*NOT_ENTERED, *targets))
        and not above_a_target
    )


def _links(folder: Path) -> Iterator[Path]:
    top = sorted(folder.iterdir()) if folder.is_dir() else []
    yield from (path for path in top if path.is_symlink())
    for first in [path for path in top if path.name.startswith("sub-")][:1]:
        inside = [] if first.is_symlink() else sorted(first.rglob("*"))
        yield from (path for path in inside if path.is_symlink())


# --- variables and FreeSurfer's licence ----------------------------------------------------------


def variables_of(options: argparse.Namespace, mounts: Mounts) -> dict[str, str | None]:
    """Give the environment of the container; None stands for the value that a variable has here.

    Weights and features outlive the container in folders of this machine.
    """
    variables: dict[str, str | None] = {"XDG_CACHE_HOME": "/scratch/.cache"}
    if options.work_dir is None:
        caches = _absolute(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
        variables["XDG_CACHE_HOME"] = mounts.mount(caches / PROGRAM, "/cache", is_output=True)
    if weights := os.environ.get("CONCEPTRSA_WEIGHTS"):
        variables["CONCEPTRSA_WEIGHTS"] = mounts.mount_or_reuse(
            _absolute(weights), "downloads", is_output=True
        )
    # NAME=VALUE as for docker, or NAME VALUE as for fmriprep-docker.
    given = (words if "=" in words[0] else ["=".join(words)] for words in options.env)
    for text in ["CONCEPTRSA_OFFLINE", *(word for words in given for word in words)]:
        name, equals, value = text.partition("=")
        if equals:
            variables[name] = value
        elif os.environ.get(name):
            variables[name] = None  # a secret stays out of the list of processes
    return variables


def needs_license(
    words: Sequence[str],
    options: argparse.Namespace,
    variables: Mapping[str, str | None],
    image_variables: Mapping[str, str] | None,
) -> bool:
    """Whether FreeSurfer will run without a licence file that was named.

    What decides is the option, else the variable, else the image, else the name of the image.
    """
    if words[2:3] != ["participant"] or "--dry-run" in words or vars(options)["fs-license-file"]:
        return False
    for word, following in zip(words, [*words[1:], ""]):  # noqa: B905
        name, equals, value = word.partition("=")
        if name == "--normalization":
            return (value if equals else following) == "freesurfer"
    variable = "CONCEPTRSA_NORMALIZATION"
    if variable in variables:
        given = variables[variable]
        return (os.environ[variable] if given is None else given) == "freesurfer"
    if image_variables is None:
        return re.search(WITHOUT_FREESURFER, options.image) is None
    return image_variables.get(variable) == "freesurfer"


def find_license() -> Path:
    """Find FreeSurfer's licence where its users keep it.

    Raises
    ------
    Refusal
        If there is none.
    """
    given, home = os.environ.get("FS_LICENSE"), os.environ.get("FREESURFER_HOME")
    named = [_absolute(given)] if given else []
    named += [Path(home, name) for name in ("license.txt", ".license")] if home else []
    for path in named:
        if path.is_file():
            return path
    raise Refusal(
        "FreeSurfer needs a licence file and none was found; it is free of charge at "
        "https://surfer.nmr.mgh.harvard.edu/registration.html: give --fs-license-file, set "
        "$FS_LICENSE, or choose --normalization python"
    )


# --- what the container engine tells -------------------------------------------------------------


@dataclass(frozen=True)
class EngineInfo:
    """Memory and security options of Docker or Podman."""

    memory: int = 0
    """Bytes; 0 if unknown."""
    security: str = ""

    @property
    def is_rootless(self) -> bool:
        """Whether it runs as the user, not as root."""
        return "name=rootless" in self.security or self.security == "true"

    @property
    def maps_users(self) -> bool:
        """Whether users in the container are others outside, as with Docker's userns-remap."""
        return "name=userns" in self.security


def ask_engine(options: argparse.Namespace) -> tuple[EngineInfo, dict[str, str] | None]:
    """Ask the engine about itself, and about the environment of the image, None if unknown.

    Raises
    ------
    Refusal
        If the engine or the image is not there, or may not be used; not for --print, which works
        without them.
    """
    engine = EngineInfo()
    try:
        if options.container_engine in DOCKER_LIKE:
            engine = inspect_engine(options.container_engine)
        return engine, inspect_image(options)
    except Refusal:
        if not options.print:
            raise
    return engine, None


def inspect_engine(engine: str) -> EngineInfo:
    """Ask Docker or Podman about itself."""
    wanted = "{{.MemTotal}} {{.SecurityOptions}}"
    if engine == "podman":
        wanted = "{{.Host.MemTotal}} {{.Host.Security.Rootless}}"
    memory, _, security = ask(engine, "info", "--format", wanted).stdout.strip().partition(" ")
    return EngineInfo(int(memory) if memory.isdigit() else 0, security)


def inspect_image(options: argparse.Namespace) -> dict[str, str] | None:
    """Give the environment of the image, or None where it is unknown.

    Raises
    ------
    Refusal
        If the engine or the image is not there, or may not be used.
    """
    engine, image = options.container_engine, options.image
    if engine in APPTAINER_LIKE:
        return inspect_apptainer_image(options)
    asked = ask(engine, "image", "inspect", "--format", "{{json .Config.Env}}", image)
    if asked.returncode == 0:
        return _by_name(json.loads(asked.stdout) or ())
    said = asked.stderr.strip()
    if "permission denied" in said.lower():
        raise Refusal(
            f"you may not use {engine}: have yourself added to its group ('sudo usermod -aG docker "
            "$USER') and log in again"
        )
    if re.search("no such|not known", said, re.IGNORECASE):
        raise Refusal(
            f"there is no image {image} on this machine: build it as docker/README.md tells, fetch "
            f"it with '{engine} pull', or name another with --image"
        )
    raise Refusal(
        f"{engine} does not answer ({_last_line(said)}): start Docker Desktop, or on "
        "Linux 'sudo systemctl start docker'"
    )


def inspect_apptainer_image(options: argparse.Namespace) -> dict[str, str] | None:
    """Start the image to see its environment, which no command of Apptainer tells."""
    engine, image = options.container_engine, options.image
    if "://" in image:  # it may have to be fetched, which Apptainer is to show
        return None
    if not _absolute(image).exists():
        raise Refusal(
            f"there is no image {image}: where Docker is, 'docker save -o conceptrsa.tar "
            f"conceptrsa:{VERSION}', and here '{engine} build {image} "
            "docker-archive://conceptrsa.tar', or name another with --image"
        )
    asked = ask(engine, "exec", "--cleanenv", "--containall", *options.docker_arg, image, "env")
    if asked.returncode != 0:
        raise Refusal(
            f"{engine} cannot start {image} ({_last_line(asked.stderr)}): build it again, or name "
            "another with --image"
        )
    return _by_name(asked.stdout.splitlines())


def _last_line(said: str) -> str:
    """Give the line with the reason, without the colours that Apptainer writes even to files."""
    return re.sub(r"\x1b\[[0-9;]*m", "", said).strip().rpartition("\n")[2] or "no reason given"


def _by_name(pairs: Iterable[str]) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in pairs)


def ask(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the container engine for what it says.

    Raises
    ------
    Refusal
        If there is no such program.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Refusal(
            f"{command[0]} cannot be run ({error.strerror}): install it, or choose another "
            "--container-engine"
        ) from None


def warn_of_little_memory(engine: str, memory: int) -> None:
    """Say that a subject may fail for lack of memory."""
    if 0 < memory < ENOUGH_MEMORY:
        warn(
            f"{engine} has {memory / 1e9:.1f} GB of memory, and a subject may need "
            f"{ENOUGH_MEMORY / 1e9:.0f}: give it more (Docker Desktop: Settings, Resources)"
        )


# --- the container engine's command --------------------------------------------------------------


def run_docker(
    options: argparse.Namespace,
    words: Sequence[str],
    mounts: Mounts,
    variables: Mapping[str, str | None],
    engine: EngineInfo,
) -> int:
    """Start the container with Docker or Podman."""
    command = [options.container_engine, "run", "--rm", "--init"]
    command += ["--read-only", "--tmpfs", "/tmp:exec"]
    command += terminal_arguments(options)
    command += user_arguments(options, engine)
    if options.network is not None:
        command += ["--network", options.network]
    command += mounts.arguments()
    for name, value in variables.items():
        command += ["-e", name if value is None else f"{name}={value}"]
    for argument in options.docker_arg:
        if re.match("-[itPq]*d|--detach", argument):
            raise Refusal(
                f"--docker-arg={argument}: a detached container would be removed at once; leave "
                "--detach out, and start the command in tmux or screen"
            )
        command.append(argument)
    command += ["--entrypoint", "bash", options.image] if options.shell else [options.image, *words]
    if options.print:
        return print_command(command, mounts)
    container = f"conceptrsa-{unique_name()}"
    command[2:2] = ["--name", container]
    clean_up = partial(subprocess.call, [options.container_engine, "rm", "--force", container])
    return start(command, mounts, clean_up)


def terminal_arguments(options: argparse.Namespace) -> list[str]:
    """Connect the container with the terminal, from which it is not to be detached."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if not options.no_tty and all(stream.isatty() for stream in streams):
        return ["-it", f"--detach-keys={KEYS_TO_DETACH}"]
    return ["-i"] if options.shell else []


def user_arguments(options: argparse.Namespace, engine: EngineInfo) -> list[str]:
    """Have results belong to the user, and data be read that are for the user's groups only."""
    user_namespace = ["--userns=host"] if engine.maps_users else []
    if options.user is not None:
        return [*user_namespace, "--user", options.user]
    groups = sorted({*os.getgroups()} - {os.getgid()}) if sys.platform == "linux" else []
    if engine.is_rootless:  # root in there is the user out here, whose groups have no number
        is_podman = options.container_engine == "podman"
        keep_groups = ["--group-add=keep-groups"] if is_podman and groups else []
        return ["--user", "0:0", *keep_groups]
    user = f"{os.getuid()}:{os.getgid()}"
    return [*user_namespace, "--user", user, *(f"--group-add={group}" for group in groups)]


def run_apptainer(
    options: argparse.Namespace,
    words: Sequence[str],
    mounts: Mounts,
    variables: Mapping[str, str | None],
) -> int:
    """Start the container with Apptainer or Singularity.

    By `exec`, as the script behind `run` has a shell read all words once more.
    """
    engine = options.container_engine
    command = [engine, "exec", "--cleanenv", "--containall"]
    if options.network is not None:
        command += ["--net", "--network", options.network]
    temporary = temporary_folder(mounts)
    if temporary is not None:
        command += ["--workdir", str(temporary)]
    command += mounts.arguments()
    inherited = {}
    for name, value in variables.items():
        if value is None:
            inherited[f"{engine.upper()}ENV_{name}"] = name  # how Apptainer is handed variables
        else:
            command += ["--env", f"{name}={value}"]
    command += [*options.docker_arg, options.image]
    command += ["bash"] if options.shell else ["conceptrsa", "run", *words]
    if options.print:
        return print_command(command, mounts, inherited)
    os.environ.update({name: os.environ[source] for name, source in inherited.items()})
    clean_up = partial(shutil.rmtree, temporary, ignore_errors=True) if temporary else None
    return start(command, mounts, clean_up)


def temporary_folder(mounts: Mounts) -> Path | None:
    """Name a folder for what goes to /tmp, which has 64 MB without one."""
    for target, name in ("/scratch", ""), ("/out", ".work"):
        if target in mounts.by_target:
            folder = mounts.by_target[target].source / name / f".apptainer-{unique_name()}"
            mounts.missing.append(folder)
            return folder
    return None


def unique_name() -> str:
    """Give a name that no other run has, on this machine or on another that shares its folders."""
    return f"{os.getpid()}-{time.time_ns()}"


def print_command(
    command: Sequence[str], mounts: Mounts, inherited: Mapping[str, str] | None = None
) -> int:
    """Print a command to copy, and on the standard error which folders it needs."""
    assignments = [f'{name}="${source}"' for name, source in (inherited or {}).items()]
    print(*assignments, shlex.join(command))
    if mounts.missing:
        warn(f"make these folders first: mkdir -p {shlex.join(map(str, mounts.missing))}")
    return 0


def start(command: list[str], mounts: Mounts, clean_up: Callable[[], object] | None) -> int:
    """Let a command take the place of this process."""
    for folder in mounts.missing:
        folder.mkdir(parents=True, exist_ok=True)
    if clean_up is not None:
        call_at_the_end(clean_up)
    sys.stdout.flush()
    os.execvp(command[0], command)


def call_at_the_end(clean_up: Callable[[], object]) -> None:
    """Have something removed when this process is gone, whatever it was ended by.

    Docker passes signals on, but not before the container has started, and SIGKILL never.
    """
    reading, writing = os.pipe()
    if os.fork():
        os.close(reading)
        os.set_inheritable(writing, True)
        return
    os.close(writing)
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    os.read(reading, 1)  # until the other end is closed
    for pause in (0, 2):  # a container may just be being made
        time.sleep(pause)
        clean_up()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
