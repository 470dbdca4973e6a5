"""Bad input on the command line: one sentence and exit code 2, or a stated, recorded fallback."""

import json
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
from PIL import Image

from analysis.stimuli import read_stimuli
from bids_config.errors import InputError
from pipelines.cli import main

Change = Callable[[NDArray[Any]], NDArray[Any]]
Damage = Callable[[Path], object]

FIRST, SECOND = data.STIMULI[:2]
BETAS_TABLE = (
    "derivatives/sub-02/func/sub-02_task-perception_space-MNI305_res-2_stat-effect_statmap.tsv"
)
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d ")
NEEDS_ATLAS = ("paper", "spm", "statmaps", "table.tsv")
RECOMMENDED = ("--n-permutations", "100", "--n-bootstraps", "100")
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


def other_shape(root: Path) -> None:
    data.save(data.labels()[:5], root / "atlas.nii.gz")


def other_affine(root: Path) -> None:
    data.save(data.labels(), root / "atlas.nii.gz", np.diag([2.0, 2.0, 2.0, 1.0]))


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
REFUSED: Mapping[str, Case] = {
    "nan-pattern-in-patterns": Case(
        "patterns",
        arrays(
            ONE,
            visual__betas=filled(np.nan, slice(None), 0),
            hippocampus__betas=filled(np.nan, slice(None), 0),
        ),
        ("stimulus", "sub-02", "not finite in any voxel of any region", "estimate it again"),
    ),
    "nan-pattern-in-one-region": Case(
        "patterns",
        arrays(ONE, visual__betas=filled(np.nan, slice(None), 0)),
        ("region visual of sub-02", "no voxel with data", "leave the region out"),
    ),
    "nan-pattern-in-a-volume": Case(
        "paper",
        constant_volume(np.nan),
        (SECOND, "sub-02", "not finite", "leave that stimulus out of every subject"),
    ),
    "nan-distance": Case(
        "rdms",
        arrays("rdms/sub-02.npz", visual__rdm=filled(np.nan, 0, 1)),
        ("visual/rdm", "sub-02.npz", "not finite", "compute it again"),
    ),
    "constant-voxels-at-zero": Case(
        "patterns",
        arrays(ONE, visual__betas=filled(0.0, ...)),
        ("every beta of sub-02 in region visual is 0", "leave the region out"),
    ),
    "constant-pattern-recommended": Case(
        "patterns",
        arrays(ONE, visual__betas=filled(2.0, slice(None), 3)),
        ("sub-02", "the same in every voxel of visual", "leave that stimulus out"),
    ),
    "constant-pattern-paper": Case(
        "paper",
        constant_volume(2.0),
        (SECOND, "sub-02", "the same in every voxel of visual", "leave that stimulus out"),
        ("--preset", "paper"),
    ),
    "two-stimuli-in-patterns": Case(
        "patterns",
        arrays(
            OF_ALL,
            stimulus=first_stimuli(2),
            visual__betas=first_stimuli(2),
            hippocampus__betas=first_stimuli(2),
        ),
        ("2 stimuli of sub-01", "at least 3"),
    ),
    "two-stimuli-in-a-table": Case(
        "table.tsv",
        lines_of("table.tsv", lambda line: line.split("\t")[1] in (FIRST, SECOND)),
        ("2 stimuli of sub-01", "at least 3"),
    ),
    "two-stimuli-in-rdms": Case(
        "rdms",
        arrays(
            "rdms/*.npz",
            stimulus=first_stimuli(2),
            visual__rdm=first_square(2),
            hippocampus__rdm=first_square(2),
        ),
        ("2 stimuli of sub-01", "at least 3"),
    ),
    **{
        f"one-subject-in-{form}": Case(
            form,
            nothing,
            ("at least 2 subjects", "only sub-02", "add another subject"),
            ("--participant-label", "02"),
        )
        for form in WRITERS
    },
    "missing-stimulus-in-paper": Case(
        "paper",
        without(f"paper/sub-02/{FIRST}_*"),
        ("sub-02 has no beta of stimulus", FIRST, "add it, or take that stimulus out"),
    ),
    "missing-stimulus-in-spm": Case(
        "spm",
        without("spm/sub-02/glm/beta_0005.nii"),
        ("beta_0005.nii is missing", "SPM.mat", "put the betas beside it"),
    ),
    "missing-stimulus-in-statmaps": Case(
        "statmaps",
        without(f"statmaps/sub-02/*/*contrast-{data.contrast(FIRST)}_*"),
        ("sub-02 has no beta of stimulus", FIRST, "add it, or take that stimulus out"),
    ),
    "missing-stimulus-in-a-table": Case(
        "table.tsv",
        lines_of("table.tsv", lambda line: not line.startswith(f"02\t{FIRST}\t")),
        ("sub-02 has no beta of stimulus", FIRST, "add it, or take that stimulus out"),
    ),
    "missing-stimulus-in-derivatives": Case(
        "derivatives",
        fewer_volumes,
        ("sub-02 has no beta of stimulus", "add it, or take that stimulus out"),
    ),
    "missing-row-in-derivatives": Case(
        "derivatives",
        lines_of(BETAS_TABLE, lambda line: FIRST not in line),
        ("sub-02", "statmap.tsv must number each volume once", "make it again"),
    ),
    "missing-stimulus-in-patterns": Case(
        "patterns",
        arrays(
            ONE,
            stimulus=first_stimuli(7),
            visual__betas=first_stimuli(7),
            hippocampus__betas=first_stimuli(7),
        ),
        ("sub-02 has no beta of stimulus", "add it, or take that stimulus out"),
    ),
    "missing-stimulus-in-rdms": Case(
        "rdms",
        arrays(
            "rdms/sub-02.npz",
            stimulus=first_stimuli(7),
            visual__rdm=first_square(7),
            hippocampus__rdm=first_square(7),
        ),
        ("sub-02 has no RDM of stimulus", "add it, or take that stimulus out"),
    ),
    "missing-stimulus-in-a-model": Case(
        "rdms",
        model_rdm(7, 21),
        (data.STIMULI[7], "no features of CLIP", "add"),
    ),
    "duplicate-stimuli-in-paper": Case(
        "paper", second_volume, ("both betas of stimulus", FIRST, "keep one")
    ),
    "duplicate-stimuli-in-a-table": Case(
        "table.tsv",
        text("table.tsv", f"02\t{FIRST}", f"02\t{SECOND}"),
        ("both betas of stimulus", SECOND, "in run 9", "keep one"),
    ),
    "duplicate-stimuli-in-derivatives": Case(
        "derivatives",
        text(BETAS_TABLE, FIRST, SECOND),
        (SECOND, "sub-02"),
    ),
    "duplicate-stimuli-in-patterns": Case(
        "patterns",
        arrays(ONE, stimulus=lambda names: np.array([*names[:-1], names[0]])),
        ("sub-02_patterns.npz holds the stimulus", "more than once", "keep one"),
    ),
    "duplicate-stimuli-in-rdms": Case(
        "rdms",
        arrays("rdms/sub-02.npz", stimulus=lambda names: np.array([*names[:-1], names[0]])),
        ("sub-02.npz holds the stimulus", "more than once", "keep one"),
    ),
    "duplicate-stimuli-in-rdm-tables": Case(
        "rdm_tables",
        lambda root: (root / "rdm_tables/sub-02_visual.tsv").write_text(
            (root / "rdm_tables/sub-02_visual.tsv").read_text().replace(SECOND, FIRST)
        ),
        ("sub-02_visual.tsv holds the stimulus", FIRST, "more than once", "keep one"),
    ),
    "duplicate-stimuli-in-a-model": Case(
        "rdms", model_twice, ("ResNet50.npz", FIRST, "more than once", "keep one")
    ),
    **{
        f"model-called-{name.replace('/', '')}": Case(
            "rdms",
            text("models/models.tsv", "animacy\t", f"{name}\t"),
            ("models.tsv", f"a model called '{name}'", "give it another name"),
        )
        for name in ("nan", "n/a")
    },
    "category-called-nan": Case(
        "rdms",
        text("models/categories.tsv", "animacy", "nan"),
        ("categories.tsv", "a model called 'nan'", "give it another name"),
    ),
    "empty-stimulus-name-in-categories": Case(
        "rdms",
        text("models/categories.tsv", FIRST, ""),
        ("categories.tsv", "a stimulus called ''", "give it another name"),
    ),
    "endless-field-in-models": Case(
        "rdms",
        text("models/models.tsv", "animacy\t", "x" * 140_000 + "\t"),
        ("models.tsv", "is not a table", "save it as tab-separated"),
    ),
    "mismatching-rdm-size-of-a-region": Case(
        "rdms",
        arrays("rdms/sub-02.npz", visual__rdm=first_square(7)),
        ("visual/rdm", "sub-02.npz", "(7, 7) for 8 stimuli", "8 x 8"),
    ),
    "mismatching-rdm-size-of-a-vector": Case(
        "rdms",
        arrays("rdms/sub-02.npz", visual__rdm=lambda rdm: np.arange(21.0)),
        ("visual/rdm", "sub-02.npz", "(21,) for 8 stimuli", "28 distances"),
    ),
    "mismatching-rdm-size-of-a-table": Case(
        "rdm_tables",
        lines_of("rdm_tables/sub-02_visual.tsv", lambda line: not line.startswith(FIRST)),
        ("sub-02_visual.tsv", "the same stimuli in its header and in its first column"),
    ),
    "mismatching-rdm-size-of-a-model": Case(
        "rdms", model_rdm(8, 27), ("CLIP.npz", "(27,) for 8 stimuli", "28 distances")
    ),
    **{
        f"label-not-in-the-atlas-of-{form}": Case(
            form,
            labels_without(17),
            ("atlas.nii.gz holds no voxel with label 17", "region hippocampus", "give the atlas"),
        )
        for form in NEEDS_ATLAS
    },
    "label-not-in-the-atlas-of-derivatives": Case(
        "derivatives",
        own_labels_without(2011),
        ("sub-02", "holds no voxel with label 2011", "region visual", "give the atlas"),
    ),
    **{
        f"other-{what}-than-{form}": Case(
            form, damage, ("lies on another grid than", "atlas.nii.gz", "resample one of them")
        )
        for what, damage in (("shape", other_shape), ("affine", other_affine))
        for form in NEEDS_ATLAS
    },
    "other-affine-than-derivatives": Case(
        "derivatives",
        other_affine_of_one,
        ("sub-02", "lies on another grid than", "dseg.nii.gz", "resample one of them"),
    ),
}

STATED: Mapping[str, Case] = {
    "nan-voxel-recommended": Case(
        "patterns",
        arrays(ONE, visual__betas=filled(np.nan, 0, 0, 0)),
        ("sub-02: voxels left out because a beta is not finite: visual 1 of 70",),
        ("--no-multiverse",),
    ),
    "infinite-voxel-paper": Case(
        "patterns",
        arrays(ONE, visual__betas=filled(np.inf, 1, 2, 3)),
        ("sub-02: voxels left out because a beta is not finite: visual 1 of 70",),
        ("--preset", "paper"),
    ),
    "fewer-voxels-than-asked-paper": Case(
        "patterns",
        nothing,
        ("sub-01: region hippocampus holds 20 voxels with data, fewer than the 30 asked for",),
        ("--preset", "paper"),
    ),
    "fewer-voxels-than-asked-recommended": Case(
        "patterns",
        nothing,
        ("sub-03: region visual holds 70 voxels with data, fewer than the 1000 asked for",),
        ("--no-multiverse", "--voxel-selection", "top-n", "--n-voxels", "1000"),
    ),
    "fewer-voxels-than-asked-threshold": Case(
        "patterns",
        nothing,
        ("sub-03: region hippocampus holds 20 voxels with data, fewer than the 1000 asked for",),
        ("--preset", "paper", "--voxel-selection", "threshold", "--n-voxels", "1000"),
    ),
    "two-voxels-in-one-subject-recommended": Case(
        "patterns",
        arrays(
            ONE,
            visual__betas=lambda betas: betas[..., :2],
            visual__voxels=lambda voxels: voxels[:2],
            visual__residual_covariance=lambda covariance: covariance[:2, :2],
        ),
        ("visual: no result for sub-02",),
        ("--no-multiverse",),
    ),
    "constant-voxels-recommended": Case(
        "patterns",
        arrays(ONE, visual__betas=filled(0.0, ..., slice(0, 6))),
        ("sub-02: voxels whose beta is the same for all stimuli, kept: visual 6 of 70",),
        ("--no-multiverse",),
    ),
    "stimulus-in-fewer-runs": Case(
        "table.tsv",
        lines_of("table.tsv", lambda line: not re.match(rf"02\t{FIRST}\t.*\t9\t", line)),
        (
            "sub-02: stimuli not in all runs, averaged over those that they are in: "
            f"{FIRST} (3 of 4)",
        ),
        ("--no-multiverse",),
    ),
    "no-halves": Case(
        "paper",
        nothing,
        ("there are no betas of odd and even runs", "all voxels of every region are used"),
        ("--no-multiverse",),
    ),
}


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
    monkeypatch.setattr("analysis.outputs.write_figures", lambda *_: None)

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


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_sentence(
    name: str, run: Callable[[Case], tuple[int, list[str], list[str]]], tmp_path: Path
) -> None:
    case = REFUSED[name]
    code, complaints, _ = run(case)
    assert code == 2
    (complaint,) = complaints
    assert complaint.startswith("conceptrsa: ")
    for words in case.said:
        assert words in complaint
    assert not (tmp_path / "out" / "group").exists()


@pytest.mark.parametrize("name", STATED)
def test_falls_back_and_says_so(
    name: str, run: Callable[[Case], tuple[int, list[str], list[str]]], tmp_path: Path
) -> None:
    case = STATED[name]
    code, complaints, notes = run(case)
    assert (code, complaints) == (0, [])
    for words in case.said:
        assert any(words in note for note in notes)
    group = tmp_path / "out" / "group"
    provenance = json.loads((group / "provenance.json").read_text())
    assert provenance["warnings"] == notes
    tables = sorted(group.glob("*.tsv"))
    assert tables
    for table in tables:
        header, *rows = [line.split("\t") for line in table.read_text().splitlines()]
        for row in rows:
            assert len(row) == len(header)
            assert not {"nan", "inf", "-inf", "none"} & {cell.strip().lower() for cell in row}


def test_bad_stimuli_are_refused_in_one_sentence(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "labels.tsv").write_text(f"stimulus\tlabel\na\t{'x' * 140_000}\n")
    with pytest.raises(InputError, match=r"labels\.tsv cannot be read .*field larger"):
        read_stimuli(tmp_path)
    (tmp_path / "labels.tsv").unlink()
    Image.new("RGB", (4, 4)).save(tmp_path / "nan.png")
    with pytest.raises(InputError, match=r"a stimulus called 'nan'.*: give it another name"):
        read_stimuli(tmp_path)
