"""The images of docker/Dockerfile: built, and used as their README says. `make image-test`.

IMAGE_TARGETS: which of python, octave and spm (default: all). IMAGE_NETWORKS=no leaves PyTorch out
of them. SPM_OCTAVE: folder of an SPM12 that is compiled for the Octave of Debian bookworm.
"""

import functools
import http.server
import logging
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from container_engine import (
    Engine,
    NoEngineError,
    base_image,
    import_folder,
    index_secrets,
)
from container_engine import (
    engine as find_engine,
)
from small_demo import STIMULI, planted_features, write_small_demo

from conceptrsa.interfaces.numerics.brain_mask import find_brain

pytestmark = pytest.mark.image

ROOT = Path(__file__).resolve().parents[1]
TARGETS = os.environ.get("IMAGE_TARGETS", "python octave spm").split()
TORCH_INDEX = "https://download.pytorch.org/whl/cpu/torch/"
DISK = {
    "python": {"no": 6, "yes": 12},
    "octave": {"no": 4, "yes": 8},
    "spm": {"no": 2, "yes": 5},
}
"""GB that the tests of each target take at most, without networks and with them, and a margin."""
USER = 12345 if os.geteuid() == 0 else os.getuid()
SPM_GIVEN, WITH_SPM_GIVEN = NAMES = "conceptrsa-test-spm12", "conceptrsa-test:octave-with-spm"
log = logging.getLogger("image")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="conceptrsa-image-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    try:
        with find_engine(folder) as found:
            driver = found.output("info", "--format", "{{.Driver}}")
            if driver == "vfs":
                pytest.skip("the Docker engine would copy every layer: no overlay file system")
            version = found.output("version", "--format", "{{.Server.Version}}")
            log.info("Docker engine %s, %s", version, driver)
            yield found
    except NoEngineError as error:
        pytest.skip(str(error))


class Images:
    """Builds targets of the Dockerfile, each once."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.networks = os.environ.get("IMAGE_NETWORKS", "yes")
        if self.networks == "yes" and not _is_reached(TORCH_INDEX):
            log.info("without networks: %s cannot be reached", TORCH_INDEX)
            self.networks = "no"
        _require_disk(engine, sum(DISK[target][self.networks] for target in TARGETS))
        self.base = base_image(engine, folder)
        self.secrets = index_secrets(folder)
        self._built: dict[str, str] = {}

    def build(self, target: str, *options: str) -> str:
        """Name of the image of a target."""
        if target not in self._built:
            began = time.monotonic()
            name = f"conceptrsa-test:{target}"
            done = self.engine.run("build", *self.words(target), *options, "--tag", name, ROOT)
            assert done.returncode == 0, done.stderr[-5000:]
            size = int(self.engine.output("image", "inspect", "--format", "{{.Size}}", name))
            log.info(
                "%s, networks %s: %.2f GB in %.0f s",
                target, self.networks, size / 1e9, time.monotonic() - began,
            )  # fmt: skip
            self._built[target] = name
        return self._built[target]

    def remove(self) -> None:
        """Remove the images; the builder's cache stays, for the next time."""
        self.engine.run("rmi", "--force", *self._built.values(), *NAMES)

    def words(self, target: str) -> list[str]:
        """Options of every build."""
        return [
            "--network", "host", "--progress", "plain", "--target", target,
            "--file", str(ROOT / "docker" / "Dockerfile"),
            "--build-arg", f"BASE_IMAGE={self.base}",
            "--build-arg", f"NETWORKS={self.networks}", *self.secrets,
            "--label", "org.opencontainers.image.revision=test",
        ]  # fmt: skip


def _require_disk(engine: Engine, needed: float) -> None:
    """Raise where the disk of the engine would be full before the end."""
    root = Path(engine.output("info", "--format", "{{.DockerRootDir}}"))
    free = shutil.disk_usage(root).free / 1e9 if root.is_dir() else np.inf  # of another machine
    log.info("%s: %.1f GB free, up to %.0f GB needed", root, free, needed)
    if free < needed:
        raise NoEngineError(f"{root} has {free:.1f} GB free, and the images need {needed:.0f} GB")


def _is_reached(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=20).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def images(engine: Engine, folder: Path) -> Iterator[Images]:
    try:
        made = Images(engine, folder)
    except NoEngineError as error:
        pytest.skip(str(error))
    yield made
    made.remove()


@pytest.fixture(scope="module")
def image(images: Images) -> str:
    return _only(images, "python")


def _only(images: Images, target: str, *options: str) -> str:
    if target not in TARGETS:
        pytest.skip(f"IMAGE_TARGETS leaves {target} out")
    return images.build(target, *options)


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    """`bids`, `features` and `masks` of two subjects, which every user may read."""
    made = folder / "made of two words"
    write_small_demo(made)
    (made / "features").mkdir()
    planted = planted_features()
    for model in list(planted)[:2]:
        values = planted[model]
        np.savez(made / "features" / f"{model}.npz", stimulus=STIMULI, features=values)
    first, second = list(planted)[:2]
    (made / "features" / "models.tsv").write_text(
        f"model\tgroup\n{first}\tvisual\n{second}\tlanguage\n"
    )
    for image in made.glob("bids/sub-*/**/*_T1w.nii.gz"):
        t1w = nib.nifti1.Nifti1Image.from_filename(image)
        mask = nib.nifti1.Nifti1Image(find_brain(t1w).mask.astype(np.uint8), t1w.affine)
        beside = made / "masks" / image.relative_to(made / "bids").parts[0] / "anat"
        beside.mkdir(parents=True)
        nib.save(mask, beside / image.name.replace("_T1w", "_desc-brain_mask"))
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return made


def contained(
    engine: Engine, image: str, *words: str, options: tuple[str | Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run it as its README says: as a user without a name, read-only, without a network."""
    return engine.run(
        "run", "--rm", "--init", "--network", "none", "--user", f"{USER}:{USER}",
        "--read-only", "--tmpfs", "/tmp:exec", *options, image, *words,
    )  # fmt: skip


def mounts(data: Path, out: Path) -> tuple[str, ...]:
    """Options for the data, the results and the working folder, all of the user of the test."""
    options = [f"--mount=type=bind,source={data / 'bids'},target=/data,readonly"]
    for name in ("features", "masks"):
        options.append(f"--mount=type=bind,source={data / name},target=/{name},readonly")
    for name in ("out", "scratch"):
        (out / name).mkdir(parents=True)
        os.chown(out / name, USER, -1)
        options.append(f"--mount=type=bind,source={out / name},target=/{name}")
    return tuple(options)


PARTICIPANT = (
    "/data", "/out", "participant", "--dataset-config", "demo", "--work-dir", "/scratch",
    "--t1w-mask", "/masks", "--participant-label",
)  # fmt: skip


def say(done: subprocess.CompletedProcess[str]) -> str:
    """Whether an error is one sentence of ours; its text."""
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("conceptrsa: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_both_levels_run_as_another_user(
    engine: Engine, image: str, data: Path, tmp_path: Path
) -> None:
    options = mounts(data, tmp_path)
    began = time.monotonic()
    done = contained(engine, image, *PARTICIPANT, "01", "02", options=options)
    assert done.returncode == 0, done.stderr
    log.info("participant, two small subjects: %.0f s", time.monotonic() - began)
    done = contained(
        engine, image, "/data", "/out", "group", "--features", "/features", options=options
    )
    assert done.returncode == 0, done.stderr
    scores = pd.read_csv(tmp_path / "out" / "group" / "scores.tsv", sep="\t")
    models = {path.stem for path in (data / "features").glob("*.npz")}
    assert set(scores["model"]) == models and scores["rsa"].notna().any()
    made = [path for path in tmp_path.rglob("*") if path not in (tmp_path / "out",)]
    assert {path.stat().st_uid for path in made} == {USER}


def test_version_and_help(engine: Engine, image: str) -> None:
    done = contained(engine, image, "--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "conceptrsa")
    done = contained(engine, image, "--help")
    assert done.returncode == 0 and "participant" in done.stdout
    labels = engine.output(
        "image", "inspect", "--format",
        '{{index .Config.Labels "org.opencontainers.image.version"}}', image,
    )  # fmt: skip
    assert labels in contained(engine, image, "--version").stdout


def test_wrong_input_is_one_sentence(
    engine: Engine, image: str, data: Path, tmp_path: Path
) -> None:
    done = contained(engine, image, "/data", "/out", "participant", "--dataset-config", "demo")
    assert done.returncode == 2
    assert "cannot write in /out" in say(done)
    done = contained(engine, image, *PARTICIPANT, "77", options=mounts(data, tmp_path))
    assert done.returncode == 2
    assert "77" in say(done)


def test_nothing_can_be_written(engine: Engine, image: str, data: Path, tmp_path: Path) -> None:
    words = ("run", "--rm", "--network", "none", "--user", f"{USER}", "--read-only")
    done = engine.run(*words, *mounts(data, tmp_path), image, *PARTICIPANT, "01")
    assert done.returncode == 2
    assert "--tmpfs /tmp:exec" in say(done)


@pytest.mark.parametrize("init", [("--init",), ()], ids=["init", "first process"])
def test_stopped_it_says_so_and_goes_on_later(
    engine: Engine, image: str, data: Path, tmp_path: Path, init: tuple[str, ...]
) -> None:
    name = f"conceptrsa-test-{tmp_path.name}"
    words = ["run", "--rm", *init, "--name", name, "--network", "none", "--user", f"{USER}"]
    words += ["--read-only", "--tmpfs", "/tmp:exec", *mounts(data, tmp_path), image]
    running = subprocess.Popen(
        [engine.client, *words, *PARTICIPANT, "01"],
        env=engine.environment(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stderr is not None
    for line in running.stderr:
        if " done (" in line:
            break
    began = time.monotonic()
    engine.output("stop", "--time", "60", name)
    rest = running.communicate()[1]
    assert running.returncode == 143, rest
    assert time.monotonic() - began < 30
    assert "run the same command again" in rest
    assert "Traceback" not in rest and "leaked" not in rest


def test_limits_of_the_container_are_seen(engine: Engine, image: str) -> None:
    options = ("--cpus", "1", "--memory", "3g", "--entrypoint", "conceptrsa")
    done = contained(engine, image, "doctor", options=options)
    said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.count(" ") > 1)
    assert (said["processors"], said["memory"]) == ("1", "3.2 GB"), done.stdout + done.stderr
    assert "MISSING" not in done.stdout and "pip install" not in done.stdout


def test_a_changed_line_does_not_install_everything_again(images: Images, image: str) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        context = Path(name) / "context"
        kept = ROOT.joinpath(".dockerignore").read_text().splitlines()
        for line in kept:
            if line.startswith("!"):
                source, copy = ROOT / line[1:], context / line[1:]
                copy.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "-a", source, copy], check=True)
        with (context / "pipelines" / "__init__.py").open("a") as file:
            file.write("\n# a line more\n")
        began = time.monotonic()
        done = images.engine.run("build", *images.words("python"), context)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "--require-hashes" in done.stderr and "Downloading" not in done.stderr
    log.info("python, a line of the source changed: %.0f s", time.monotonic() - began)


def test_without_buildkit_the_build_ends_at_once(images: Images) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [images.engine.client, "build", "--file", ROOT / "docker" / "Dockerfile", ROOT,
         "--build-arg", f"BASE_IMAGE={images.base}"],
        env={**images.engine.environment(), "DOCKER_BUILDKIT": "0"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "BuildKit" in done.stdout + done.stderr
    assert time.monotonic() - began < 20


def test_octave_without_spm_says_what_is_missing(
    engine: Engine, images: Images, data: Path, tmp_path: Path
) -> None:
    image = _only(images, "octave")
    done = contained(engine, image, *PARTICIPANT, "01", options=mounts(data, tmp_path))
    assert done.returncode == 2
    assert "/opt/spm12" in say(done)


def test_octave_runs_the_real_spm(
    engine: Engine, images: Images, data: Path, tmp_path: Path
) -> None:
    spm = os.environ.get("SPM_OCTAVE")
    if spm is None:
        pytest.skip("SPM_OCTAVE names no folder of an SPM12 for Octave")
    image = _only(images, "octave")
    mounted = f"--mount=type=bind,source={spm},target=/opt/spm12,readonly"
    began = time.monotonic()
    options = (*mounts(data, tmp_path), mounted)
    done = contained(engine, image, *PARTICIPANT, "01", options=options)
    assert done.returncode == 0, done.stderr
    log.info(
        "participant with SPM12 on Octave, one small subject: %.0f s", time.monotonic() - began
    )
    assert list((tmp_path / "out" / "sub-01").rglob("*_space-MNI305_*_stat-effect_statmap.nii.gz"))


def test_octave_takes_spm_from_an_image(engine: Engine, images: Images, tmp_path: Path) -> None:
    if "octave" not in TARGETS:
        pytest.skip("IMAGE_TARGETS leaves octave out")
    spm = tmp_path / "image" / "opt" / "spm12"
    spm.mkdir(parents=True)
    (spm / "spm.m").write_text("% a stand-in\n")
    import_folder(engine, tmp_path / "image", SPM_GIVEN)
    done = engine.run(
        "build", *images.words("octave"), "--build-arg", f"SPM_OCTAVE_IMAGE={SPM_GIVEN}",
        "--build-arg", "SPM_OCTAVE_FOLDER=/opt/spm12", "--tag", WITH_SPM_GIVEN, ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    words = ("run", "--rm", "--network", "none", "--entrypoint", "ls", WITH_SPM_GIVEN)
    assert engine.output(*words, "/opt/spm12") == "spm.m"


@pytest.fixture(scope="module")
def archives(folder: Path) -> Iterator[str]:
    """Address of stand-ins for FreeSurfer, the MATLAB Runtime and SPM."""
    served = folder / "served"
    served.mkdir()
    whole = folder / "stand-in" / "freesurfer"
    for name in (ROOT / "docker" / "freesurfer-required.txt").read_text().split():
        (whole / name).parent.mkdir(parents=True, exist_ok=True)
        (whole / name).write_text("#!/bin/sh\n")
    (whole / "bin" / "tkregister2_cmdl").write_text("#!/bin/sh\n")
    with tarfile.open(served / "freesurfer.tar.gz", "w:gz") as archive:
        archive.add(whole, "freesurfer")
    runtime = 'mkdir -p "$6/v97/runtime/glnxa64"\n'
    _zip(served / "mcr.zip", {"install": f"#!/bin/sh\n{runtime}"})
    unpacks = '#!/bin/sh\nmkdir -p "$0_mcr"\necho "$@"\n'
    _zip(served / "spm.zip", {"spm12/spm12": unpacks})
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=served)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def _zip(path: Path, programs: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in programs.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, text)


def test_the_whole_image_with_stand_ins_for_what_is_licensed(
    engine: Engine, images: Images, archives: str
) -> None:
    files = {"FREESURFER_URL": "freesurfer.tar.gz", "MCR_URL": "mcr.zip", "SPM_URL": "spm.zip"}
    arguments = [
        word
        for name, file in files.items()
        for word in ("--build-arg", f"{name}={archives}/{file}")
    ]
    image = _only(images, "spm", *arguments)
    assert contained(engine, image, "--version").returncode == 0
    script = "command -v recon-all && ls -d ${SPM_STANDALONE}_mcr && ${SPMMCRCMD} job.m"
    done = contained(engine, image, "-c", script, options=("--entrypoint", "bash"))
    assert done.stdout.split() == [
        "/opt/freesurfer/bin/recon-all", "/opt/spm/spm12_mcr", "script", "job.m",
    ]  # fmt: skip
