"""Ways to damage betas, atlases and models of every form, and a command line run on the damage."""

import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import supplied_data as data
from numpy.typing import NDArray

from conceptrsa.pipelines.cli import main

Change = Callable[[NDArray[Any]], NDArray[Any]]
Damage = Callable[[Path], object]

FIRST, SECOND = data.STIMULI[:2]
BETAS_TABLE = (
    "derivatives/sub-02/func/sub-02_task-perception_space-MNI305_res-2_stat-effect_statmap.tsv"
)
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d ")
NEEDS_ATLAS = ("paper", "spm", "statmaps", "table.tsv")
RECOMMENDED = ("--n-permutations", "100")
WITH_VOXELS = ("--n-random-draws", "1")
WRITERS: Mapping[str, Callable[[Path], None]] = {
    "derivatives": data.write_derivatives,
    "paper": data.write_paper_layout,
    "spm": data.write_spm,
    "statmaps": data.write_statmaps,
    "table.tsv": data.write_table,
    "patterns": data.write_roi_patterns,
    "rdms": data.write_rdms,
    "rdm_tables": data.write_rdm_tables,
}


@dataclass(frozen=True)
class Case:
    """Betas of one form, what is done to them, and words of what has to be said about it."""

    form: str
    damage: Damage
    said: tuple[str, ...]
    options: tuple[str, ...] = field(default=())


def arrays(file: str, **changes: Change) -> Damage:
    """Change arrays of `.npz` files; `__` in a name stands for the slash."""

    def damage(root: Path) -> None:
        found = sorted(root.glob(file))
        assert found
        for path in found:
            content = dict(np.load(path))
            for name, change in changes.items():
                key = name.replace("__", "/")
                content[key] = change(content[key])
            np.savez(path, **content)

    return damage


def filled(value: float, *where: Any) -> Change:
    """Put a value at an index of (runs, stimuli, voxels)."""

    def change(values: NDArray[Any]) -> NDArray[Any]:
        changed = values.astype(np.float64)
        changed[where] = value
        return changed

    return change


def first_stimuli(number: int) -> Change:
    return lambda values: values[:number] if values.ndim == 1 else values[:, :number]


def first_square(number: int) -> Change:
    return lambda rdm: rdm[:number, :number]


def lines_of(file: str, keep: Callable[[str], bool]) -> Damage:
    """Keep the header of a table and some of its lines."""

    def damage(root: Path) -> None:
        header, *lines = (root / file).read_text().splitlines()
        kept = [line for line in lines if keep(line)]
        assert len(kept) < len(lines)
        (root / file).write_text("\n".join([header, *kept]) + "\n")

    return damage


def text(file: str, old: str, new: str) -> Damage:
    """Replace the first place of a text in a file."""

    def damage(root: Path) -> None:
        content = (root / file).read_text()
        assert old in content
        (root / file).write_text(content.replace(old, new, 1))

    return damage


def without(pattern: str) -> Damage:
    """Remove the files of a pattern."""

    def damage(root: Path) -> None:
        found = sorted(root.glob(pattern))
        assert found
        for file in found:
            file.unlink()

    return damage


def labels_without(label: int) -> Damage:
    def damage(root: Path) -> None:
        volume = data.labels()
        volume[volume == label] = 0
        data.save(volume, root / "atlas.nii.gz")

    return damage


def own_labels_without(label: int) -> Damage:
    def damage(root: Path) -> None:
        volume = data.labels()
        volume[volume == label] = 0
        (file,) = root.glob("derivatives/sub-02/anat/*_dseg.nii.gz")
        data.save(volume, file)

    return damage


def other_place(root: Path) -> None:
    """An atlas that lies beside the betas."""
    affine = data.AFFINE.copy()
    affine[2, 3] = 500
    data.save(data.labels(), root / "atlas.nii.gz", affine)


def other_affine_of_one(root: Path) -> None:
    (file,) = root.glob("derivatives/sub-02/anat/*_dseg.nii.gz")
    data.save(data.labels(), file, np.diag([2.0, 2.0, 2.0, 1.0]))


def constant_volume(value: float) -> Damage:
    """Give one stimulus of one subject the same beta everywhere."""

    def damage(root: Path) -> None:
        (file,) = root.glob(f"paper/sub-02/{SECOND}_*")
        data.save(np.full(data.SHAPE, value, np.float32), file)

    return damage


def fewer_volumes(root: Path) -> None:
    """Take the last stimulus out of all betas of one subject."""
    for table in (root / "derivatives/sub-02/func").glob("*.tsv"):
        table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
        file = table.with_suffix(".nii.gz")
        data.save(np.asarray(nib.load(file).dataobj)[..., :-1], file)


def second_volume(root: Path) -> None:
    (file,) = root.glob(f"paper/sub-02/{FIRST}_*")
    file.with_name(f"{FIRST}_..beta_0099.nii").write_bytes(file.read_bytes())


def model_rdm(n_stimuli: int, n_pairs: int) -> Damage:
    def damage(root: Path) -> None:
        np.savez(
            root / "models" / "CLIP.npz",
            stimulus=data.STIMULI[:n_stimuli],
            rdm=np.arange(n_pairs, dtype=np.float64),
        )

    return damage


def model_twice(root: Path) -> None:
    values = np.random.default_rng(0).standard_normal((len(data.STIMULI), 5))
    names = (*data.STIMULI[:-1], FIRST)
    np.savez(root / "models" / "ResNet50.npz", stimulus=names, features=values)


def nothing(root: Path) -> None:
    """Leave the data as they are."""


ONE, OF_ALL = "patterns/sub-02_*.npz", "patterns/*.npz"


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every form of betas once, and what goes with them."""
    root = tmp_path_factory.mktemp("intact")
    for form, write in WRITERS.items():
        write(root / form / form if form.endswith(".tsv") else root / form)
    return root


@pytest.fixture
def run(
    intact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[Case], tuple[int, list[str], list[str]]]:
    """Damage a copy of a form and run the command: exit code, complaints and notes."""
    monkeypatch.setattr("conceptrsa.analysis.output.write.write_figures", lambda *_: None)

    def run_case(case: Case) -> tuple[int, list[str], list[str]]:
        is_table = case.form.endswith(".tsv")
        source = intact / case.form
        shutil.copytree(source, tmp_path if is_table else tmp_path / case.form, dirs_exist_ok=True)
        data.write_atlas(tmp_path / "atlas.nii.gz")
        data.write_models(tmp_path / "models")
        (tmp_path / "small.toml").write_text(data.CONFIG)
        case.damage(tmp_path)
        options = [*case.options]
        if "paper" not in options:
            options += RECOMMENDED
        if not case.form.startswith("rdm"):
            options += WITH_VOXELS
        if case.form in NEEDS_ATLAS:
            options += ["--atlas", str(tmp_path / "atlas.nii.gz")]
        arguments = {"betas": case.form, "features": "models", "out": "out"}
        command = ["compare", "--dataset-config", str(tmp_path / "small.toml"), *options]
        for name, value in arguments.items():
            command += [f"--{name}", str(tmp_path / value)]
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            code = main(command)
        said = capsys.readouterr()
        complaints = [line for line in said.err.splitlines() if not LOG_LINE.match(line)]
        notes = [line for line in said.out.splitlines() if line.startswith("note: ")]
        return code, complaints, [note.removeprefix("note: ") for note in notes]

    return run_case
