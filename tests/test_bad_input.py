"""Bad input on the command line is refused in one sentence, with exit code 2."""

from collections.abc import Callable, Mapping
from pathlib import Path

import damaged_input
import numpy as np
import pytest
import supplied_data as data
from damaged_input import (
    BETAS_TABLE,
    FIRST,
    NEEDS_ATLAS,
    OF_ALL,
    ONE,
    SECOND,
    Case,
    arrays,
    constant_volume,
    filled,
    first_square,
    first_stimuli,
    labels_without,
    lines_of,
    model_rdm,
    model_twice,
    other_affine_of_one,
    other_place,
    own_labels_without,
    second_volume,
    text,
    without,
)
from PIL import Image

from conceptrsa.analysis.files.stimuli import read_stimuli
from conceptrsa.bids_config.errors import InputError

intact, run = damaged_input.intact, damaged_input.run

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
        (SECOND, "sub-02", "not finite", "or leave that stimulus out"),
    ),
    "nan-distance": Case(
        "rdms",
        arrays("rdms/sub-02.npz", visual__rdm=filled(np.nan, 0, 1)),
        ("visual/rdm", "sub-02.npz", "not finite", "compute it again"),
    ),
    "constant-voxels-at-zero": Case(
        "patterns",
        arrays(ONE, visual__betas=filled(0.0, ...)),
        ("region visual of sub-02", "no voxel with data", "leave the region out"),
    ),
    "constant-pattern-recommended": Case(
        "patterns",
        arrays(ONE, visual__betas=filled(2.0, slice(None), 3)),
        ("sub-02", "the same in every voxel of visual", "leave that stimulus out"),
    ),
    "constant-pattern-paper": Case(
        "paper",
        constant_volume(2.0),
        (SECOND, "sub-02", "the same in every voxel of every region", "leave that stimulus out"),
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
    "missing-stimulus-in-spm": Case(
        "spm",
        without("spm/sub-02/glm/beta_0005.nii"),
        ("beta_0005.nii is missing", "SPM.mat", "put the betas beside it"),
    ),
    "missing-row-in-derivatives": Case(
        "derivatives",
        lines_of(BETAS_TABLE, lambda line: FIRST not in line),
        ("sub-02", "statmap.tsv must number each volume once", "write it again"),
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
        ("sub-02_patterns.npz include", "more than once", "keep one"),
    ),
    "duplicate-stimuli-in-rdms": Case(
        "rdms",
        arrays("rdms/sub-02.npz", stimulus=lambda names: np.array([*names[:-1], names[0]])),
        ("sub-02.npz include", "more than once", "keep one"),
    ),
    "duplicate-stimuli-in-rdm-tables": Case(
        "rdm_tables",
        lambda root: (root / "rdm_tables/sub-02_visual.tsv").write_text(
            (root / "rdm_tables/sub-02_visual.tsv").read_text().replace(SECOND, FIRST)
        ),
        ("sub-02_visual.tsv holds the column", FIRST, "more than once", "keep one"),
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
        ("categories.tsv holds 'animacy'", "models.tsv does not list", "add its row"),
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
            ("atlas.nii.gz has no voxel with label 17", "region hippocampus", "give the atlas"),
        )
        for form in NEEDS_ATLAS
    },
    "label-not-in-the-atlas-of-derivatives": Case(
        "derivatives",
        own_labels_without(2011),
        ("sub-02", "has no voxel with label 2011", "region visual", "give the atlas"),
    ),
    **{
        f"other-place-than-{form}": Case(
            form,
            other_place,
            ("atlas.nii.gz holds no voxel", "0% of it", "check that both are in the same space"),
        )
        for form in NEEDS_ATLAS
    },
    "other-affine-than-derivatives": Case(
        "derivatives",
        other_affine_of_one,
        ("sub-02", "is not in the grid of", "dseg.nii.gz", "resample one of them"),
    ),
}


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


def test_bad_stimuli_are_refused_in_one_sentence(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "nan.png")
    with pytest.raises(InputError, match=r"a stimulus called 'nan'.*: give it another name"):
        read_stimuli(tmp_path)
