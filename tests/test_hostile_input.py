"""Input is data: whatever stands in it, a sentence comes out, nothing runs and nothing strays."""

import ast
import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_demo import small_settings

from conceptrsa.analysis.models.feature_files import Features, read_features, write_features
from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.names import clean_name
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.demo.demo_dataset import write_demo_dataset
from conceptrsa.pipelines.demo.demo_settings import PLANTED_ROIS
from conceptrsa.pipelines.execution.slurm_job import run_step

OWN_FILES = {"pipelines/execution/slurm_job.py"}
"""Reads what the run has just written for it, byte for byte, and nothing else."""
PACKAGES = ("analysis", "bids_config", "interfaces", "pipelines")
ROOT = Path(__file__).resolve().parents[1]
STIMULI = tuple(f"thing_{n:02d}" for n in range(12))
FEW = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
HOSTILE = (
    "$(touch canary)",
    "`touch canary`; touch canary",
    "../../canary",
    "<script>alert(1)</script>",
    "'; touch canary; '",
    "=cmd|'/C calc'!A0",
    "a\u202eb",
    "%s%n{0.__class__}",
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(HOSTILE)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    random = np.random.default_rng(3)
    planted = {roi.model: random.standard_normal((12, 40)) for roi in PLANTED_ROIS.values()}
    write_demo_dataset(folder, planted, STIMULI, small_settings(n_subjects=1), 1)
    return folder / "bids"


@contextmanager
def replaced(file: Path, content: bytes) -> Iterator[None]:
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(before)


def look_at(bids: Path, capsys: pytest.CaptureFixture[str]) -> int:
    """Check the data set as a run does; whatever is wrong is said, without a traceback."""
    folder = bids.parent
    before = sorted(path.name for path in folder.iterdir())
    code = main(["run", str(bids), str(folder / "out"), "participant", "--dataset-config", "demo",
                 "--dry-run"])  # fmt: skip
    said = capsys.readouterr()
    assert code in (0, 2)
    assert "Traceback" not in said.out + said.err
    if code == 2:
        assert "problem: " in said.out or said.err.startswith("conceptrsa: ")
    assert sorted(path.name for path in folder.iterdir()) == before
    assert not list(Path.cwd().glob("*canary*"))
    return code


@FEW
@given(values=st.dictionaries(
    st.sampled_from(["RepetitionTime", "SliceTiming", "TaskName", "PhaseEncodingDirection"]),
    ANYTHING,
))  # fmt: skip
@example(values={"RepetitionTime": 1e308, "SliceTiming": [0.0] * 10_000})
@example(values={"RepetitionTime": float("nan"), "SliceTiming": [[0.0], {}]})
def test_sidecars(bids: Path, capsys: pytest.CaptureFixture[str], values: dict[str, Any]) -> None:
    file = bids / "task-perception_bold.json"
    content = {**json.loads(file.read_text(encoding="utf-8")), **values}
    with replaced(file, json.dumps(content).encode()):
        look_at(bids, capsys)


@FEW
@given(content=st.binary(max_size=300))
@example(content=b'{"a":' * 20_000)
@example(content=b"!!python/object/apply:os.system ['touch canary']")
def test_sidecars_that_are_no_json(
    bids: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    with replaced(bids / "task-perception_bold.json", content):
        assert look_at(bids, capsys) == 2


@FEW
@given(
    row=st.integers(0, 11),
    column=st.sampled_from(["onset", "duration", "stimulus_name", "event_type"]),
    value=st.sampled_from([*HOSTILE, "nan", "-inf", "1e999", "n/a", ""]) | st.text(max_size=12),
)
def test_events(
    bids: Path, capsys: pytest.CaptureFixture[str], row: int, column: str, value: str
) -> None:
    file = next(bids.glob("sub-01/**/func/*_events.tsv"))
    header, *rows = [line.split("\t") for line in file.read_text().splitlines()]
    rows[row % len(rows)][header.index(column)] = value
    text = "\n".join("\t".join(cells) for cells in [header, *rows])
    with replaced(file, text.encode("utf-8", "surrogatepass")):
        look_at(bids, capsys)


@FEW
@given(place=st.integers(0, 347), damage=st.binary(min_size=1, max_size=8))
@example(place=40, damage=b"\x07\x00\xff\x7f\xff\x7f\xff\x7f")
@example(place=108, damage=b"\x00\x00\x80\x7f")
def test_headers_of_images(
    bids: Path, capsys: pytest.CaptureFixture[str], place: int, damage: bytes
) -> None:
    file = next(bids.glob("sub-01/**/func/*_bold.nii.gz"))
    content = bytearray(gzip.decompress(file.read_bytes()))
    content[place : place + len(damage)] = damage
    with replaced(file, gzip.compress(bytes(content), 1)):
        look_at(bids, capsys)


@pytest.mark.parametrize("name", [
    "sub-01_task-perception_run-$(touch canary)_bold.nii.gz",
    "sub-01_task-perception_run-01;touch canary_bold.nii.gz",
    "sub-01_task-perception_run-<b>_bold.nii.gz",
    "sub-01_task-perception_run-1\n2_bold.nii.gz",
    "..._bold.nii.gz",
])  # fmt: skip
def test_names_of_files(bids: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    real = next(bids.glob("sub-01/**/func/*_bold.nii.gz"))
    hostile = real.with_name(name)
    shutil.copy(real, hostile)
    try:
        look_at(bids, capsys)
    finally:
        hostile.unlink()


@FEW
@given(name=st.sampled_from(HOSTILE) | st.text(min_size=1, max_size=30))
@example(name="/etc/passwd")
@example(name="con")
@example(name=".." * 3)
def test_names_of_models_stay_in_their_folder(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.mktemp("models")
    try:
        features = Features(name, "visual", ("a", "b"), np.eye(2))
        write_features([features], folder / "inside")
        (again,) = read_features(folder / "inside")
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert again.model == clean_name(name)
    assert [path.name for path in folder.iterdir()] in ([], ["inside"])


def test_no_module_can_run_what_it_reads() -> None:
    """No pickle, no YAML of objects, no shell, no evaluation of text."""
    forbidden = {
        "eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "yaml.load",
        "yaml.unsafe_load", "subprocess.getoutput", "np.loads", "dill.load", "joblib.load",
    }  # fmt: skip
    found = []
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            if file.relative_to(ROOT).as_posix() in OWN_FILES:
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                keywords = {word.arg: word.value for word in node.keywords}
                told = {
                    arg: isinstance(value, ast.Constant) and value.value is True
                    for arg, value in keywords.items()
                }
                unsafe = told.get("shell") or told.get("allow_pickle")
                if ast.unparse(node.func) in forbidden or unsafe:
                    found.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert not found


def test_a_job_loads_nothing_but_what_was_submitted(tmp_path: Path) -> None:
    canary, node_file = tmp_path / "canary", tmp_path / "node.pklz"
    node_file.write_bytes(b"cos\nmkdir\n(V" + str(canary).encode() + b"\ntR.")
    submitted = hashlib.sha256(b"another").hexdigest()
    with pytest.raises(StepError, match=r"node\.pklz was changed after it was submitted"):
        run_step(node_file, submitted, tmp_path / "outcome.json")
    assert [path.name for path in tmp_path.iterdir()] == ["node.pklz"]
    # It would have done harm: the same bytes, if they were what was submitted, are loaded.
    own = hashlib.sha256(node_file.read_bytes()).hexdigest()
    with pytest.raises(TypeError):
        run_step(node_file, own, tmp_path / "outcome.json")
    assert canary.is_dir()
