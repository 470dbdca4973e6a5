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
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

VERSION = "0.1.0"
PROGRAM = "conceptrsa-docker"
DOCKER_LIKE, APPTAINER_LIKE = ("docker", "podman"), ("apptainer", "singularity")
ENOUGH_MEMORY = 8e9  # bytes
WITHOUT_FREESURFER = ("-python", "-octave")
"""Ends of the names of images that need no licence."""
NEEDED_BY_IMAGE = ("/", "/etc", "/opt", "/tmp", "/usr", "/var")
"""Folders in the container that nothing is mounted over."""
HOLD_INPUTS = ("sourcedata", "inputs")
"""Where an output folder may hold the data set that it is made from."""

PATH_OPTIONS = (
    "dataset-config", "bids-filter-file", "derivatives", "t1w-mask", "fs-subjects-dir",
    "fs-license-file", "use-plugin", "stimuli", "features", "weights", "weights-dir", "registry",
    "cache-dir",
)  # fmt: skip
"""Options of `conceptrsa run` that name files or folders, besides the work folder."""
LISTS = ("weights", "registry")
OUTPUTS = ("fs-subjects-dir", "cache-dir")
"""Those that are written to, and made where they are missing."""
HOLD_NO_RESULTS = ("derivatives", "fs-subjects-dir", "stimuli", "features")


class Refusal(Exception):
    """What is wrong, with its remedy, in one sentence."""


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
        help="set a variable in the container; NAME alone: as it is here",
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
    add("--bids-database-dir", metavar="DIR", help="without effect, as it is there")
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
        What is handled here.
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
    return options, positional, rest


def _with_hyphens(word: str) -> str:
    """Take --work_dir for --work-dir, as `conceptrsa run` does."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine, and whether the container may write to it."""

    source: Path
    is_output: bool

    def argument(self, target: str) -> str:
        """Value of --mount; unlike -v it can name any path, as its fields are quoted as in CSV."""
        fields = ["type=bind", f"source={self.source}", f"target={target}"]
        fields += [] if self.is_output else ["readonly"]
        return ",".join(
            '"' + text.replace('"', '""') + '"' if re.search('[",\r\n]', text) else text
            for text in fields
        )


@dataclass
class Places:
    """Where the container sees what of this machine.

    Attributes
    ----------
    mounts : dict of str to Mount
        By path in the container.
    missing : list of Path
        Folders to make before it starts.
    """

    mounts: dict[str, Mount] = field(default_factory=dict)
    missing: list[Path] = field(default_factory=list)

    def mount(self, path: Path, target: str, is_output: bool = False) -> str:
        """Mount a file or folder, and give its path in the container."""
        self.mounts[target] = Mount(path.resolve(), is_output)
        self.missing += [] if path.exists() else [path]
        return target

    def place(self, path: Path, name: str, is_output: bool = False) -> str:
        """Mount what an option names, and give its path there.

        What lies in the data set, the output or the work folder keeps its place there, so that
        links of git-annex lead where they should, and `conceptrsa run` sees what is in what.
        """
        for target in ("/scratch", "/out", "/data"):
            mount = self.mounts.get(target)
            if mount is not None and (mount.is_output or not is_output):
                inside = below(_without_links_above(path), mount.source)
                if inside is not None and below(path.resolve(), mount.source) is not None:
                    return str(PurePosixPath(target, inside))
        number = sum(target.startswith(f"/mnt/{name}") for target in self.mounts)
        folder = f"/mnt/{name}" + (f"-{number + 1}" if number else "")
        return self.mount(path, f"{folder}/{path.name}" if path.is_file() else folder, is_output)

    def shows(self, path: Path, seen: PurePosixPath) -> bool:
        """Whether the container sees a file of this machine at some place."""
        return any(
            PurePosixPath(target) in (seen, *seen.parents)
            and below(path.resolve(), mount.source) is not None
            for target, mount in self.mounts.items()
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


def mount_folders(bids: Path, out: Path, work: str | None, places: Places) -> dict[str, Path]:
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
        raise Refusal(f"BIDS_DIR {bids} is no folder: give the root of the data set")
    outputs = {"OUT_DIR": out, **({} if work is None else {"--work-dir": _absolute(work)})}
    for name, folder in outputs.items():
        require_apart(name, folder, "BIDS_DIR", bids)
    inside = below(bids.resolve(), out)
    if inside is not None and inside.parts[0] not in HOLD_INPUTS:
        raise Refusal(
            f"OUT_DIR {out} holds BIDS_DIR ({bids}), which would be mixed with results: choose "
            f"another, such as a new folder in {bids}/derivatives"
        )
    places.mount(bids, "/data")
    places.mount(out, "/out", is_output=True)
    if work is not None:
        places.mount(outputs["--work-dir"], "/scratch", is_output=True)
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


def place_value(name: str, text: str, places: Places, outputs: Mapping[str, Path]) -> str:
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
    place = PurePosixPath(places.place(path, name, name in OUTPUTS), *rest)
    return f"{start}{equals}{place}"


def mount_linked(places: Places) -> None:
    """Mount folders that links in read-only folders lead to, and tell which links stay broken.

    Looked at are what lies at the top of each folder, and all of the data set's first subject.
    """
    mounted = list(places.mounts.items())
    taken = [PurePosixPath(target) for target, _ in mounted]
    broken = []
    for target, mount in mounted:
        for link in [] if mount.is_output else _links(mount.source):
            text = os.readlink(link)  # noqa: PTH115
            at = PurePosixPath(target, link.parent.relative_to(mount.source))
            seen = PurePosixPath(os.path.normpath(at / text))
            folder = seen.parent
            if not link.exists() or places.shows(link, seen):
                continue
            is_free = str(folder) not in NEEDED_BY_IMAGE and not any(
                folder in (place, *place.parents) or place in folder.parents for place in taken
            )
            if link.parent == mount.source and is_free:
                note(f"{link} leads to {text}: {folder} is mounted as well")
                places.mount((link.parent / text).parent, str(folder))
            else:
                broken.append(f"{link} -> {text}")
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        note(
            f"the container cannot follow the link {broken[0]}{more}: put the file itself there, "
            "or mount what it leads to at the same place, with --docker-arg"
        )


def _links(folder: Path) -> Iterator[Path]:
    top = sorted(folder.iterdir()) if folder.is_dir() else []
    yield from (path for path in top if path.is_symlink())
    for first in [path for path in top if path.name.startswith("sub-")][:1]:
        inside = [] if first.is_symlink() else sorted(first.rglob("*"))
        yield from (path for path in inside if path.is_symlink())


def variables_of(options: argparse.Namespace, places: Places) -> dict[str, str]:
    """Environment of the container; weights and features outlive it in folders of this machine."""
    variables = {"XDG_CACHE_HOME": "/scratch/.cache"}
    if options.work_dir is None:
        caches = _absolute(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
        variables["XDG_CACHE_HOME"] = places.mount(caches / PROGRAM, "/cache", is_output=True)
    if weights := os.environ.get("CONCEPTRSA_WEIGHTS"):
        variables["CONCEPTRSA_WEIGHTS"] = places.place(_absolute(weights), "downloads", True)
    # NAME=VALUE as for docker, or NAME VALUE as for fmriprep-docker.
    given = (words if "=" in words[0] else ["=".join(words)] for words in options.env)
    for text in ["CONCEPTRSA_OFFLINE", *(word for words in given for word in words)]:
        name, equals, value = text.partition("=")
        if equals or os.environ.get(name):
            variables[name] = value if equals else os.environ[name]
    return variables


def needs_license(words: Sequence[str], image: str, variables: Mapping[str, str] | None) -> bool:
    """Whether FreeSurfer will run: as options say, else the variables, else the image's name."""
    if words[2:3] != ["participant"] or "--dry-run" in words:
        return False
    for word, following in zip(words, [*words[1:], ""]):  # noqa: B905
        name, equals, value = word.partition("=")
        if name == "--normalization":
            return (value if equals else following) == "freesurfer"
    if variables is None:
        return not image.endswith(WITHOUT_FREESURFER)
    return variables.get("CONCEPTRSA_NORMALIZATION") == "freesurfer"


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


def inspect_image(engine: str, image: str) -> dict[str, str] | None:
    """Give the environment of an image, or None where it is not known.

    Raises
    ------
    Refusal
        If the engine or the image is not there, or may not be used.
    """
    if engine in APPTAINER_LIKE:
        ask(engine, "--version")
        if "://" not in image and not _absolute(image).exists():
            raise Refusal(
                f"there is no image {image}: make it with '{engine} build {image} "
                f"docker-daemon://conceptrsa:{VERSION}', or name another with --image"
            )
        return None
    asked = ask(engine, "image", "inspect", "--format", "{{json .Config.Env}}", image)
    if asked.returncode == 0:
        return dict(pair.partition("=")[::2] for pair in json.loads(asked.stdout) or ())
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
        f"{engine} does not answer ({said.splitlines()[-1] if said else 'no reason given'}): start "
        "Docker Desktop, or on Linux 'sudo systemctl start docker'"
    )


def look_at_machine(engine: str) -> bool:
    """Warn of little memory, and tell whether the engine runs as the user, not as root."""
    wanted = "{{.MemTotal}} {{.SecurityOptions}}"
    if engine == "podman":
        wanted = "{{.Host.MemTotal}} {{.Host.Security.Rootless}}"
    memory, _, security = ask(engine, "info", "--format", wanted).stdout.strip().partition(" ")
    if memory.isdigit() and 0 < int(memory) < ENOUGH_MEMORY:
        note(
            f"{engine} has {int(memory) / 1e9:.1f} GB of memory, and a subject may need "
            f"{ENOUGH_MEMORY / 1e9:.0f}: give it more, in the settings of Docker Desktop"
        )
    return "rootless" in security or security == "true"


def docker_command(
    options: argparse.Namespace, places: Places, variables: Mapping[str, str], is_rootless: bool
) -> list[str]:
    """Give the command up to the image."""
    command = [options.container_engine, "run", "--rm", "--init"]
    command += ["--read-only", "--tmpfs", "/tmp:exec"]
    if sys.stdin.isatty() and sys.stdout.isatty() and not options.no_tty:
        command.append("-it")
    elif options.shell:
        command.append("-i")
    if options.user is not None:
        command += ["--user", options.user]
    elif is_rootless:  # root in there is the user out here
        command += ["--user", "0:0"]
    else:
        command += ["--user", f"{os.getuid()}:{os.getgid()}"]
        # Data of a lab may be readable for its group only.
        others = sorted({*os.getgroups()} - {os.getgid()}) if sys.platform == "linux" else []
        command += [f"--group-add={group}" for group in others]
    command += [] if options.network is None else ["--network", options.network]
    return command + common_arguments("-e", options, places, variables)


def apptainer_command(
    options: argparse.Namespace, places: Places, variables: Mapping[str, str]
) -> list[str]:
    """Give the command up to the image; `run` would have a shell read all words once more."""
    command = [options.container_engine, "exec", "--cleanenv", "--containall"]
    command += [] if options.network is None else ["--net", "--network", options.network]
    for target, name in ("/scratch", ".apptainer"), ("/out", ".work/.apptainer"):
        if target in places.mounts:
            folder = places.mounts[target].source / name  # else /tmp has 64 MB
            places.missing += [] if folder.exists() else [folder]
            command += ["--workdir", str(folder)]
            break
    return command + common_arguments("--env", options, places, variables)


def common_arguments(
    env: str, options: argparse.Namespace, places: Places, variables: Mapping[str, str]
) -> list[str]:
    """Give mounts, variables and what was given for the engine."""
    words = [w for place, m in places.mounts.items() for w in ("--mount", m.argument(place))]
    words += [word for name, value in variables.items() for word in (env, f"{name}={value}")]
    return [*words, *options.docker_arg]


def words_in_container(
    options: argparse.Namespace, positional: Sequence[str], rest: Sequence[str], places: Places
) -> list[str]:
    """Mount all that a command line names, and give what `conceptrsa run` is told.

    Raises
    ------
    Refusal
    """
    bids, out = map(_absolute, positional[:2])
    outputs = mount_folders(bids, out, options.work_dir, places)
    words = ["/data", "/out", positional[2], *rest]
    # `run ... group` has no such option: there it holds weights and features only.
    if options.work_dir is not None and positional[2] == "participant":
        words += ["--work-dir", "/scratch"]
    for name in PATH_OPTIONS:
        value = vars(options)[name]
        values = value if name in LISTS else [value] if value else []
        words += [f"--{name}"] if values else []
        words += [place_value(name, text, places, outputs) for text in values]
    mount_linked(places)
    return words


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
        return _main(sys.argv[1:] if argv is None else argv)
    except (Refusal, RuntimeError) as error:  # Path knows no home for ~name
        note(str(error))
    except OSError as error:
        note(f"{error.filename}: {error.strerror}; correct it, or choose another")
    return 2


def _main(argv: Sequence[str]) -> int:
    options, positional, rest = read_command_line(argv)
    engine, places = options.container_engine, Places()
    is_docker, is_dry = engine in DOCKER_LIKE, options.print
    image = options.image or (f"conceptrsa:{VERSION}" if is_docker else f"conceptrsa_{VERSION}.sif")
    if options.version:
        print(f"{PROGRAM} {VERSION}")
        inspect_image(engine, image)
        if is_docker:
            return start(engine, "run", "--rm", "--entrypoint", "conceptrsa", image, "--version")
        return start(engine, "exec", image, "conceptrsa", "--version")
    if not positional and not options.shell:
        raise Refusal(
            f"name BIDS_DIR OUT_DIR participant, or group, in this order; see {PROGRAM} --help"
        )
    words = words_in_container(options, positional, rest, places) if positional else []
    variables = variables_of(options, places)
    known = None if is_dry else inspect_image(engine, image)
    of_container = None if known is None else {**known, **variables}
    if not vars(options)["fs-license-file"] and needs_license(words, image, of_container):
        variables["FS_LICENSE"] = places.place(find_license(), "fs-license-file")
    if is_docker:
        is_rootless = not is_dry and look_at_machine(engine)
        command = docker_command(options, places, variables, is_rootless)
        command += ["--entrypoint", "bash", image] if options.shell else [image, *words]
    else:
        command = apptainer_command(options, places, variables)
        command += [image, *(["bash"] if options.shell else ["conceptrsa", "run", *words])]
    if is_dry:
        print(shlex.join(command))
        if places.missing:
            note(f"make these folders first: mkdir -p {shlex.join(map(str, places.missing))}")
        return 0
    for folder in places.missing:
        folder.mkdir(parents=True, exist_ok=True)
    if is_docker:
        name = f"conceptrsa-{os.getpid()}-{time.time_ns()}"
        command[2:2] = ["--name", name]
        remove_at_the_end(engine, name)
    return start(*command)


def remove_at_the_end(engine: str, container: str) -> None:
    """Have a container removed when this process is gone, whatever it was ended by.

    The engine passes signals on, but not before the container has started, and SIGKILL never.
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
    for pause in (0, 2):  # it may just be being made
        time.sleep(pause)
        subprocess.call([engine, "rm", "--force", container])
    os._exit(0)


def start(*command: str) -> int:
    """Let a command take the place of this process."""
    sys.stdout.flush()
    os.execvp(command[0], command)


def note(message: str) -> None:
    """Say something on the standard error."""
    print(f"{PROGRAM}: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
