"""What a step's record stands for: files below folders that it reads, and the code that does it."""

import ast
import importlib
import inspect
import logging
import pickle
import pkgutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import small_workflow
from nipype.interfaces.base import (
    BaseInterface,
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
)
from nipype.pipeline.engine import Workflow

from conceptrsa import interfaces
from conceptrsa.interfaces.freesurfer.command import FreeSurferStep
from conceptrsa.interfaces.freesurfer.recon_all import ReconAll
from conceptrsa.interfaces.freesurfer.registration import RegisterToReconstruction
from conceptrsa.interfaces.freesurfer.to_mni305 import AtlasInMNI305, ResampleByFreeSurfer
from conceptrsa.interfaces.python.data_sink import SaveDerivative
from conceptrsa.interfaces.python.masks import T1wBrainMask
from conceptrsa.interfaces.python.normalize import Normalize
from conceptrsa.interfaces.python.rois import MNI305Rois
from conceptrsa.interfaces.python.step import Step
from conceptrsa.interfaces.spm.run_models import SpmSamplePartition
from conceptrsa.pipelines.workflows import software, steps
from conceptrsa.pipelines.workflows.steps import MapNode, Node

ORIG, ASEG, MASK = "mri/orig.mgz", "mri/aparc+aseg.mgz", "mri/brainmask.mgz"
TALAIRACH = "mri/transforms/talairach.xfm"
SURFACES = [
    f"{name.replace('?', side)}"
    for name in ("surf/?h.white", "surf/?h.thickness", "label/?h.cortex.label")
    for side in "lr"
]
ALL = [ORIG, ASEG, MASK, TALAIRACH, *SURFACES]


@pytest.fixture(autouse=True)
def quiet() -> Any:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def subject_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "subjects" / "sub-01"
    for name in ALL:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def make_node(kind: str, subject_dir: Path) -> Node:
    of_subject = {"fs_subject_dir": str(subject_dir)}
    of_all = {"subjects_dir": str(subject_dir.parent), "subject": "sub-01"}
    made: dict[str, Any] = {
        "brain": lambda: T1wBrainMask(**of_subject),
        "normalize": lambda: Normalize(**of_subject),
        "rois": lambda: MNI305Rois(**of_subject),
        "atlas": lambda: AtlasInMNI305(**of_all),
        "header": lambda: RegisterToReconstruction(method="header", **of_all),
        "bbregister": lambda: RegisterToReconstruction(method="bbregister", **of_all),
        "resample": lambda: ResampleByFreeSurfer(**of_all),
    }
    if kind == "resample":
        node = MapNode(made[kind](), iterfield=["in_file"], name="x")
        node.inputs.in_file = [__file__]
        return node
    return Node(made[kind](), name="x")


def fingerprint(kind: str, subject_dir: Path) -> str:
    return make_node(kind, subject_dir)._get_hashval()[1]


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("brain", {MASK}),
        ("normalize", {TALAIRACH, ORIG}),
        ("rois", {TALAIRACH, ASEG}),
        ("atlas", {TALAIRACH, ORIG, ASEG}),
        ("header", {ORIG}),
        ("bbregister", {ORIG, *SURFACES}),
        ("resample", {TALAIRACH, ORIG}),
    ],
)
def test_a_changed_reconstruction_is_noticed_by_the_steps_that_read_it(
    kind: str, read: set[str], subject_dir: Path
) -> None:
    before = fingerprint(kind, subject_dir)
    assert fingerprint(kind, subject_dir) == before
    noticed = set()
    for name in ALL:
        (subject_dir / name).write_text("changed")
        if fingerprint(kind, subject_dir) != before:
            noticed.add(name)
        (subject_dir / name).write_text(name)
    assert noticed == read
    (subject_dir / ORIG).unlink()
    assert (fingerprint(kind, subject_dir) != before) is (ORIG in read)


def test_every_interface_with_a_folder_among_its_inputs_tells_what_it_reads() -> None:
    """One writes below its folder; one makes it, and does nothing where it is complete."""
    silent = []
    for module in pkgutil.walk_packages(interfaces.__path__, "conceptrsa.interfaces."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(kind, BaseInterface) and kind.__module__ == module.name:
                spec = getattr(kind, "input_spec", None)
                traits = {} if spec is None else spec().traits()
                has_folder = any(type(trait.trait_type) is Directory for trait in traits.values())
                if has_folder and not hasattr(kind, "files_read"):
                    silent.append(kind)
    ours = [kind for kind in silent if not kind.__name__.endswith("Job")]
    assert ours == [FreeSurferStep, ReconAll, SaveDerivative]


def test_every_step_is_the_same_in_another_process() -> None:
    """It is sent by the names of its class and of the classes of its inputs and outputs."""
    steps = []
    for module in pkgutil.walk_packages(interfaces.__path__, "conceptrsa.interfaces."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(kind, Step) and kind is not Step:
                steps.append(kind)
                for spec in (kind, kind.input_spec, kind.output_spec):
                    assert pickle.loads(pickle.dumps(spec)) is spec
                assert type(pickle.loads(pickle.dumps(kind())).inputs) is kind.input_spec
    assert MNI305Rois in steps


def test_a_step_has_the_fields_of_the_classes_that_it_is_made_of() -> None:
    inputs, outputs = SpmSamplePartition.input_spec(), SpmSamplePartition.output_spec()
    assert {"spm_command", "in_files", "noise_model", "rois"} <= set(inputs.copyable_trait_names())
    own = {"betas_file", "residuals_file", "conditions_file"}
    assert set(outputs.copyable_trait_names()) == own


class MakeFolderInput(BaseInterfaceInputSpec):
    folder = Directory()


class MakeFolderOutput(TraitedSpec):
    folder = Directory(exists=True)


class MakeFolder(SimpleInterface):
    """As recon-all: leave a folder alone that is there."""

    input_spec = MakeFolderInput
    output_spec = MakeFolderOutput

    def _run_interface(self, runtime):
        folder = Path(self.inputs.folder)
        if not folder.exists():
            folder.mkdir()
            (folder / "file.txt").write_text("as made")
        self._results["folder"] = str(folder)
        return runtime


class ReadFolderOutput(TraitedSpec):
    out_file = File(exists=True)


class ReadFolder(SimpleInterface):
    input_spec = MakeFolderInput
    output_spec = ReadFolderOutput

    def files_read(self):
        return [Path(self.inputs.folder) / "file.txt"]

    def _run_interface(self, runtime):
        out = Path(runtime.cwd) / "out.txt"
        out.write_text((Path(self.inputs.folder) / "file.txt").read_text())
        self._results["out_file"] = str(out)
        return runtime


def test_a_file_of_a_folder_that_a_step_before_made_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()

    def execute() -> str:
        workflow = Workflow("conceptrsa_wf", base_dir=str(tmp_path / "work"))
        make = Node(MakeFolder(folder=str(tmp_path / "made")), name="make")
        workflow.connect(make, "folder", Node(ReadFolder(), name="read"), "folder")
        workflow.config["execution"].update(poll_sleep_duration="0", create_report="false")
        workflow.config["logging"] = {"log_directory": str(tmp_path / "work")}
        plugin = small_workflow.InProcessPlugin()
        plugin.start_from(tmp_path / "work", False)
        workflow.run(plugin=plugin)
        ran.append(len(plugin._results))
        return (tmp_path / "work" / "conceptrsa_wf" / "read" / "out.txt").read_text()

    ran: list[int] = []
    assert execute() == "as made"
    assert execute() == "as made"
    (tmp_path / "made" / "file.txt").write_text("edited")
    assert execute() == "edited"
    assert ran == [2, 0, 1]


def test_other_code_does_every_step_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = small_workflow.execute(tmp_path)
    monkeypatch.setattr(steps, "code_digest", lambda: "another")
    assert small_workflow.execute(tmp_path)[0] == first
    assert small_workflow.execute(tmp_path)[0] == Counter()


def test_the_digest_of_the_code_is_that_of_sources_and_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_other_process = subprocess.run(
        [
            sys.executable,
            "-c",
            "from conceptrsa.pipelines.workflows import software; print(software.code_digest())",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert software.code_digest() == of_other_process

    package = tmp_path / "package"
    (package / "part").mkdir(parents=True)
    for name in ("__init__.py", "part/step.py"):
        (package / name).write_text("x = 1\n")
    monkeypatch.setattr(
        software, "interfaces", SimpleNamespace(__file__=str(package / "__init__.py"))
    )

    def digest() -> str:
        return software.code_digest.__wrapped__()

    digests = [digest()]
    assert digest() == digests[0]
    (package / "part" / "__pycache__").mkdir()
    (package / "part" / "__pycache__" / "step.pyc").write_bytes(b"1")
    assert digest() == digests[0]
    (package / "part" / "step.py").write_text("x = 2\n")
    digests.append(digest())
    (package / "part" / "step.py").rename(package / "part" / "other.py")
    digests.append(digest())
    monkeypatch.setattr(software, "version", lambda name: "0")
    digests.append(digest())
    assert len(set(digests)) == 4


def test_steps_run_no_code_but_that_of_the_digest() -> None:
    """The interfaces import, of our own, only what is in it."""
    imported = set()
    for path in Path(str(interfaces.__file__)).parent.rglob("*.py"):
        for part in ast.walk(ast.parse(path.read_text())):
            if isinstance(part, ast.Import):
                imported |= {".".join(name.name.split(".")[:2]) for name in part.names}
            elif isinstance(part, ast.ImportFrom):
                imported.add(".".join(str(part.module).split(".")[:2]))
    assert not imported & {"conceptrsa.pipelines", "conceptrsa.analysis"}
