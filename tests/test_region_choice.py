"""Regions by names and patterns of a label table, by masks, and from atlases in other grids."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import supplied_data as data

import conceptrsa as crsa
import conceptrsa.pipelines.cli.run_comparison
import conceptrsa.pipelines.participants
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.label_tables import read_label_table, table_beside
from conceptrsa.bids_config.reader import load_comparison_config, load_dataset_config
from conceptrsa.bids_config.recorded import (
    OF_COMPARISON,
    difference,
    read_recorded,
    write_recorded,
)
from conceptrsa.bids_config.schema import RoiDefinition
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.execution.run_lock import only_run

LABELS = {"L_visual": (1011,), "R_visual": (2011,), "hippocampus": (17,)}
FEW = ["--n-permutations", "100", "--n-random-draws", "1"]
DSEG = "index\tname\n1011\tL_visual\n2011\tR_visual\n17\thippocampus\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Volumes in a table, an atlas with its label table, and models; the current folder."""
    data.write_table(tmp_path / "betas.tsv")
    data.write_atlas(tmp_path / "atlas.nii.gz")
    (tmp_path / "atlas.tsv").write_text(DSEG)
    data.write_models(tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def betas(*rois: Any, **options: Any) -> tuple[crsa.SubjectPatterns, ...]:
    given = {"atlas": "atlas.nii.gz"} | options
    return crsa.read_betas("betas.tsv", list(rois) or None, with_runs=False, **given)


def in_region(subject: crsa.SubjectPatterns, name: str, labels: tuple[int, ...]) -> None:
    """Compare with what was written there."""
    inside = np.isin(data.labels(), labels)
    expected = data.runs_of(subject.subject)[:, :, inside].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(subject.rois[name].values, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("dseg.tsv", DSEG),
        ("quoted.tsv", DSEG.replace("L_visual", '"L_visual"')),
        ("dseg.tsv", "index\tname\tcolor\n0\tBackground\t#000000\n" + DSEG.partition("\n")[2]
         .replace("\n", "\t#ff0000\n")),
        ("LUT.txt", "# No. Label Name: R G B A\n\n0 Unknown 0 0 0 0\n1011  L_visual 20 30 140 0\n"
         "2011  R_visual 20 30 140 0\n17 hippocampus 220 216 20 0\n"),
        ("order.txt", "1011\tL_visual\t20\t30\t140\t0\n2011\tR_visual\t2\t3\t4\t0\n"
         "17\thippocampus\t1\t1\t1\t0\n"),
        ("names.csv", "id,label,structure\n1011,L_visual,cortex\n2011,R_visual,cortex\n"
         "17,hippocampus,subcortex\n"),
        ("excel.csv", "\ufeffLabel;Region Name\r\n1011;L_visual\r\n2011;R_visual\r\n"
         "17;hippocampus\r\n"),
        ("floats.csv", ",index,name\n0,1011.0,L_visual\n1,2011.0,R_visual\n2,17.0,hippocampus\n"),
    ],
)  # fmt: skip
def test_label_tables(tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / file).write_text(content, encoding="utf-8")
    found = read_label_table(tmp_path / file).labels
    assert dict(found) == LABELS and list(found) == list(LABELS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no label table"),
        ("visual\nhippocampus\n", "has no column of whole numbers"),
        ("index\tcolor\n1\tred\n", "has no column of names"),
        ("1 a\n1 b\n", "calls the label 1 'a' and 'b'"),
        ("1 a\nx b\n", "has 'x b' as its label 2"),
        ("1\ta\n2\t\n", "has '2 ' as its label 2: write a whole number and a name"),
    ],
)
def test_label_tables_that_are_none(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "table.tsv").write_text(content)
    with pytest.raises(InputError, match=f"table.tsv {said}"):
        read_label_table(tmp_path / "table.tsv")


@pytest.mark.parametrize(
    ("atlas", "table", "others"),
    [
        ("atlas.nii.gz", "atlas.csv", ["readme.txt"]),
        ("tpl-X_res-02_atlas-Schaefer_dseg.nii.gz", "tpl-X_atlas-Schaefer_dseg.tsv",
         ["tpl-X_dseg.tsv"]),
        ("Schaefer2018_400Parcels_7Networks_order_FSLMNI152_2mm.nii.gz",
         "Schaefer2018_400Parcels_7Networks_order.txt",
         ["Schaefer2018_400Parcels_17Networks_order.txt"]),
        ("aparc+aseg.mgz", "FreeSurferColorLUT.txt", []),
        ("atlas.nii", None, ["betas.tsv"]),
    ],
)  # fmt: skip
def test_the_table_beside_an_atlas(
    tmp_path: Path, atlas: str, table: str | None, others: list[str]
) -> None:
    for name in (atlas, *others, *([table] if table else [])):
        (tmp_path / name).touch()
    assert table_beside(tmp_path / atlas) == (table and tmp_path / table)


def test_every_label_of_the_table_is_a_region_in_its_order(folder: Path) -> None:
    for subject in betas():
        assert list(subject.rois) == list(LABELS)
        for name, labels in LABELS.items():
            in_region(subject, name, labels)
        assert not subject.notes


def test_labels_that_the_atlas_lacks_are_said(folder: Path) -> None:
    (folder / "atlas.tsv").write_text(DSEG + "99\tamygdala\n")
    first, *others = betas()
    assert list(first.rois) == list(LABELS)
    assert first.notes == ("regions of the label table that the atlas lacks: amygdala",)
    assert not any(subject.notes for subject in others)
    (folder / "atlas.tsv").write_text("index\tname\n99\tamygdala\n")
    with pytest.raises(InputError, match="none of the labels of its table"):
        betas()
    with pytest.raises(InputError, match="no voxel with label 99, which region amygdala needs"):
        betas("amygdala")


def test_labels_without_a_name_in_the_table_are_said(folder: Path) -> None:
    (folder / "atlas.tsv").write_text("index\tname\n1011\tL_visual\n")
    (note,) = betas()[0].notes
    assert note == (
        "labels of atlas.nii.gz that belong to no region, because its label table does not name "
        "them: 17, 2011"
    )
    assert not betas("L_*")[0].notes


def test_labels_that_were_named_have_to_be_there_each(folder: Path) -> None:
    (folder / "atlas.tsv").write_text(DSEG + "99\tR_V1\n98\tL_V1\n")
    with pytest.raises(InputError, match="no voxel with label 99, which region visual needs"):
        betas("visual=L_visual,R_V1")
    (note,) = betas("left=L_*")[0].notes
    assert note.endswith("regions with only some of their labels in the atlas: left (1 of 2)")


def test_names_with_commas(folder: Path) -> None:
    name = "Inferior Temporal Gyrus, anterior division"
    (folder / "atlas.tsv").write_text(f"index\tname\n1011\t{name}\n17\thippocampus\n")
    assert list(betas(name)[0].rois) == [name]
    in_region(betas(f"IT={name},hippocampus")[0], "IT", (1011, 17))


@pytest.mark.parametrize("column", ["hemisphere", "hemi"])
def test_a_column_of_hemispheres_is_part_of_the_names(folder: Path, column: str) -> None:
    table = f"index\tname\t{column}\n1011\tV1\tL\n2011\tV1\tR\n17\thippocampus\tL\n"
    (folder / "atlas.tsv").write_text(table)
    assert list(betas()[0].rois) == ["L_V1", "R_V1", "L_hippocampus"]
    in_region(betas("V1=?_V1")[0], "V1", (1011, 2011))
    (folder / "atlas.tsv").write_text(table.replace("V1\tR", "V2\tR"))
    assert list(betas()[0].rois) == ["V1", "V2", "hippocampus"]


def test_a_name_and_a_pattern_that_fits_it_are_one_region(folder: Path) -> None:
    assert list(betas("hippocampus", "*")[0].rois) == ["hippocampus", "L_visual", "R_visual"]


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ('<atlas><data><label index="0" x="48">Frontal Pole</label><label index="1">Insular '
         "Cortex</label></data></atlas>", {"Frontal Pole": (1,), "Insular Cortex": (2,)}),
        ("<atlas><data><label><index>2001</index><name>Precentral_L</name></label></data></atlas>",
         {"Precentral_L": (2001,)}),
        ("<atlas><header><type>Label</type></header><data>"
         '<label index="0">Unclassified</label><label index="1" x="69">Genu</label></data></atlas>',
         {"Genu": (1,)}),
        ("<atlas><header><type>Probabilistic</type></header><data>"
         '<label index="0">A</label></data></atlas>', {"A": (1,)}),
    ],
)  # fmt: skip
def test_label_tables_in_xml(
    tmp_path: Path, content: str, labels: dict[str, tuple[int, ...]]
) -> None:
    (tmp_path / "atlas.xml").write_text(content)
    assert read_label_table(tmp_path / "atlas.xml").labels == labels


@pytest.mark.parametrize(
    ("name", "is_said"),
    [("V1", True), ("7Networks_LH_Vis_1", True), ("Background", False), ("Unknown", False),
     ("*.*.*.*.*", False), ("NONE", False), ("Clear Label", False), ("???", False)],
)  # fmt: skip
def test_a_table_that_counts_from_0_is_doubted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, is_said: bool
) -> None:
    file = tmp_path / "atlas.tsv"
    file.write_text(f"index\tname\n0\t{name}\n1\tV2\n")
    assert read_label_table(file).labels == {"V2": (1,)}
    assert ("add 1 to its numbers" in caplog.text) == is_said


def test_regions_without_data_are_left_out_unless_they_were_named(folder: Path) -> None:
    for file in (folder / "maps").glob("02_*"):
        volume = np.asarray(nib.load(file).dataobj).copy()
        volume[2] = np.nan
        data.save(volume, file)
    first = betas()[0]
    assert list(first.rois) == ["L_visual", "R_visual"]
    assert any(
        note.endswith("because some subject has no voxel with data in them: hippocampus (sub-02)")
        for note in first.notes
    )
    with pytest.raises(InputError, match="region hippocampus of sub-02 holds no voxel with data"):
        betas("hippocampus", "L_visual")


def test_regions_outside_of_the_betas_are_left_out_unless_they_were_named(folder: Path) -> None:
    labels = np.concatenate([data.labels(), np.full(data.SHAPE, 5, np.int16)])
    data.save(labels, folder / "atlas.nii.gz")
    (folder / "atlas.tsv").write_text(DSEG + "5\tfar\n")
    first = betas()[0]
    assert list(first.rois) == list(LABELS)
    assert "regions left out, because they have no voxel in the grid: far" in first.notes
    with pytest.raises(InputError, match=r"region far of .* holds no voxel in the grid"):
        betas("far")


@pytest.mark.parametrize(
    ("rois", "expected"),
    [
        (["hippocampus", "L_visual"], {"hippocampus": (17,), "L_visual": (1011,)}),
        (["hippocampus", "*visual"],
         {"hippocampus": (17,), "L_visual": (1011,), "R_visual": (2011,)}),
        (["visual=?_visual"], {"visual": (1011, 2011)}),
        (["deep=17", "V1_all=R_visual,1011"], {"deep": (17,), "V1_all": (1011, 2011)}),
        (["17", "2011"], {"hippocampus": (17,), "R_visual": (2011,)}),
    ],
)  # fmt: skip
def test_regions_by_names_patterns_and_numbers(
    folder: Path, rois: list[str], expected: dict[str, tuple[int, ...]]
) -> None:
    for subject in betas(*rois):
        assert list(subject.rois) == list(expected)
        for name, labels in expected.items():
            in_region(subject, name, labels)


def test_the_tools_own_derivatives_have_a_label_table(tmp_path: Path) -> None:
    data.write_derivatives(tmp_path)
    for atlas in tmp_path.glob("sub-*/anat/*_dseg.nii.gz"):
        atlas.with_name(atlas.name.replace(".nii.gz", ".tsv")).write_text(DSEG)
    for subject in crsa.read_betas(tmp_path, ["hippocampus", "V1=L_*"]):
        assert list(subject.rois) == ["hippocampus", "V1"]
        in_region(subject, "V1", (1011,))
    atlas.with_name(atlas.name.replace(".nii.gz", ".tsv")).write_text("17 other\n")
    with pytest.raises(InputError, match="are different label tables: give one for all subjects"):
        crsa.read_betas(tmp_path, ["hippocampus"])


def test_masks_need_no_atlas_and_may_be_each_subjects_own(folder: Path) -> None:
    for subject in data.SUBJECTS:
        labels = np.isin(data.labels(), 17 if subject == "02" else (1011, 17))
        data.save(labels.astype(np.uint8), folder / "masks" / f"sub-{subject}_FFA.nii.gz")
    found = betas("FFA=mask:masks/sub-{subject}_FFA.nii.gz", atlas=None)
    for subject in found:
        in_region(subject, "FFA", (17,) if subject.subject == "02" else (1011, 17))
        assert f"sub-{subject.subject}_FFA.nii.gz" in [file.name for file in subject.sources]
    mixed = betas("FFA=mask:masks/sub-01_FFA.nii.gz", "R_visual")
    assert list(mixed[0].rois) == ["FFA", "R_visual"]
    in_region(mixed[1], "FFA", (1011, 17))


def test_a_pattern_of_a_notebook(folder: Path) -> None:
    given = {"deep": [17], "visual": "*_visual"}
    subjects = crsa.read_betas("betas.tsv", given, atlas="atlas.nii.gz")
    assert list(subjects[0].rois) == ["deep", "visual"]


def finer(labels: np.ndarray, factor: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The same labels in voxels of half the size, and their affine."""
    fine = labels.repeat(factor, 0).repeat(factor, 1).repeat(factor, 2)
    affine = data.AFFINE @ np.diag([1 / factor] * 3 + [1])
    affine[:3, 3] += data.AFFINE[:3, :3] @ ([(1 / factor - 1) / 2] * 3)
    return fine, affine


def test_an_atlas_in_another_grid_gives_the_same_regions(folder: Path) -> None:
    labels, affine = finer(data.labels())
    flipped = labels[::-1], affine @ nib.affines.from_matvec(np.diag([-1, 1, 1]), [11, 0, 0])
    for volume, grid in ((labels, affine), flipped):
        data.save(volume, folder / "atlas.nii.gz", grid)
        first, *others = betas()
        for subject in (first, *others):
            for name, of_region in LABELS.items():
                in_region(subject, name, of_region)
        (note,) = first.notes
        assert "atlas.nii.gz resampled by nearest neighbour to the grid" in note
        assert "6 x 7 x 5 voxels): every region lies within it" in note
        assert not any(subject.notes for subject in others)


def test_coverage_is_said(folder: Path) -> None:
    labels, affine = finer(data.labels())
    affine = affine.copy()
    affine[1, 3] += 6  # three voxels of the betas
    data.save(labels, folder / "atlas.nii.gz", affine)
    (note,) = betas()[0].notes
    # Left and right are 7 voxels long and hippocampus 4, from the first one on.
    assert "at least 57% of each region lies within it (L_visual the least)" in note
    found = betas()[0].rois
    assert [roi.n_voxels for roi in found.values()] == [20, 20, 20]


def test_regions_that_share_voxels_are_said(folder: Path) -> None:
    first = betas("all=*visual,17", "visual=*visual", "deep=hippocampus")[0]
    (note,) = first.notes
    assert note == (
        "regions that share voxels: all and visual (70 voxels), all and deep (20 voxels)"
    )


@pytest.mark.parametrize("write", [data.write_roi_patterns, data.write_rdms, data.write_rdm_tables])
def test_names_choose_among_the_regions_of_files(
    tmp_path: Path, write: Callable[..., None]
) -> None:
    write(tmp_path)
    assert list(crsa.read_betas(tmp_path, ["hippocampus", "vis*"])[0].rois) == [
        "hippocampus", "visual",
    ]  # fmt: skip
    assert list(crsa.read_betas(tmp_path, ["hippocampus"])[0].rois) == ["hippocampus"]
    with pytest.raises(InputError, match=r"no region 'visuel' \(did you mean 'visual'\?\)"):
        crsa.read_betas(tmp_path, ["visuel"])
    with pytest.raises(InputError, match="choose among them by name, as in --rois"):
        crsa.read_betas(tmp_path, ["V1=visual"])


def move(folder: Path) -> None:
    affine = data.AFFINE.copy()
    affine[0, 3] = 300
    data.save(data.labels(), folder / "atlas.nii.gz", affine)


def mix_grids(folder: Path) -> None:
    for file in (folder / "maps").glob("02_*"):
        volume = np.asarray(nib.load(file).dataobj)
        data.save(volume, file, np.diag([-2.0, 2.0, 2.5, 1.0]))


def nothing(folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("damage", "rois", "said"),
    [
        (nothing, "V1=99", "atlas.nii.gz has no voxel with label 99, which region V1 needs"),
        (nothing, "L_visuel", "names no region 'L_visuel' (did you mean 'L_visual'?)"),
        (nothing, "visual", "names no region 'visual' (there is L_visual, R_visual): write one of"),
        (nothing, "V1=Hippo*", "no region that fits 'Hippo*' (did you mean 'hippocampus'?)"),
        (nothing, "99", "atlas.tsv names no label 99: write NAME=99"),
        (move, "V1=L_visual", "region V1 of atlas.nii.gz holds no voxel in the grid of"),
        (mix_grids, "V1=17", "lies on another grid than the betas of other subjects"),
        (nothing, "V1=mask:absent.nii.gz", "absent.nii.gz is missing"),
        (
            nothing,
            "V1=mask:atlas.nii.gz",
            "holds the labels 17, 1011, 2011: a mask has only one number",
        ),
        (lambda folder: (folder / "atlas.tsv").unlink(), "L_visual", "no label table beside it"),
        (lambda folder: next((folder / "maps").glob("02_*")).unlink(), "17", "is missing"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(
    folder: Path, damage: Callable[[Path], object], rois: str, said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    damage(folder)
    command = ["compare", "--betas", "betas.tsv", "--atlas", "atlas.nii.gz", "--rois", rois]
    assert main([*command, "--features", "models", "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert len([line for line in error.splitlines() if line.startswith("conceptrsa: ")]) == 1


def test_an_atlas_of_another_space_is_refused(tmp_path: Path) -> None:
    data.write_derivatives(tmp_path / "derivatives")
    atlas = tmp_path / "tpl-MNI152NLin6Asym_dseg.nii.gz"
    data.write_atlas(atlas)
    with pytest.raises(InputError, match=r"in the space MNI152NLin6Asym but .* in MNI305"):
        crsa.read_betas(tmp_path / "derivatives", {"deep": [17]}, atlas=atlas)


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ComparisonResult, Any]]:
    """Collects results and what was used, in place of writing them with all their figures."""
    written: list[tuple[ComparisonResult, Any]] = []
    monkeypatch.setattr(
        conceptrsa.pipelines.cli.run_comparison,
        "write_comparison",
        lambda result, out, used, pictures: written.append((result, used)),
    )
    return written


def test_a_configuration_of_regions_alone(
    folder: Path, results: list[tuple[ComparisonResult, Any]]
) -> None:
    (folder / "regions.toml").write_text("[rois]\nV1-L = [1011]\n")
    command = ["compare", "--betas", "betas.tsv", "--atlas", "atlas.nii.gz", *FEW]
    command += ["--no-multiverse", "--features", "models", "--out", "out"]
    assert main([*command, "--dataset-config", "regions.toml"]) == 0
    assert main([*command, "--rois", "deep=hipp*", "L_visual"]) == 0
    (of_config, _), (chosen, used) = results
    assert [roi.roi for roi in of_config.rois] == ["V1-L"]
    assert [roi.roi for roi in chosen.rois] == ["deep", "L_visual"]
    labels = [(roi["name"], roi["labels"]) for roi in used["dataset_config"]["rois"]]
    assert labels == [("deep", [17]), ("L_visual", [1011])]


def test_a_configuration_of_names_patterns_and_masks(
    folder: Path, results: list[tuple[ComparisonResult, Any]]
) -> None:
    (folder / "study").mkdir()
    data.save((data.labels() == 17).astype(np.uint8), folder / "study" / "ffa.nii.gz")
    (folder / "study" / "regions.toml").write_text(
        '[rois]\nFFA = "mask:ffa.nii.gz"\nvisual = "?_visual"\n"L V1" = [1011]\n'
    )
    command = ["compare", "--betas", "betas.tsv", "--atlas", "atlas.nii.gz", *FEW]
    command += ["--no-multiverse", "--features", "models", "--out", "out"]
    assert main([*command, "--dataset-config", "study/regions.toml"]) == 0
    ((result, used),) = results
    assert [roi.roi for roi in result.rois] == ["FFA", "visual", "L V1"]
    assert used["dataset_config"]["rois"] == [
        {"name": "FFA", "mask": str(folder / "study" / "ffa.nii.gz")},
        {"name": "visual", "labels": [1011, 2011]},
        {"name": "L V1", "labels": [1011]},
    ]


def test_names_in_the_configuration_of_a_data_set(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    text = data.CONFIG.replace("[1011, 2011]", '"ctx-?h-lateraloccipital"')
    file.write_text(text)
    assert load_dataset_config(file).rois[0] == RoiDefinition("visual", (1011, 2011))
    # The comparison may have another atlas, whose labels are called so.
    assert [str(roi) for roi in load_comparison_config(file).rois[:1]] == [
        "visual=ctx-?h-lateraloccipital"
    ]
    for said, problem in (
        ('"lateraloccipital"', r"aparc\+aseg \(Desikan-Killiany\) names no region"),
        ('"mask:ffa.nii.gz"', "ffa.nii.gz is a mask, but the participant level takes labels"),
        ('""', "is not a region"),
    ):
        file.write_text(data.CONFIG.replace("[1011, 2011]", said))
        with pytest.raises(InputError, match=f"study.toml: .*{problem}"):
            load_dataset_config(file)


def test_names_in_a_configuration_are_those_of_the_atlas_that_is_given(tmp_path: Path) -> None:
    file, atlas = tmp_path / "study.toml", tmp_path / "parcels.nii.gz"
    file.write_text(data.CONFIG.replace("[1011, 2011]", '"ctx-?h-lateraloccipital"'))
    with pytest.raises(
        InputError, match=r"parcels\.nii\.gz, which has no label table beside it: put"
    ):
        load_dataset_config(file, atlas)
    data.write_atlas(atlas)
    (tmp_path / "parcels.tsv").write_text("index\tname\n3\tctx-lh-lateraloccipital\n")
    assert load_dataset_config(file, atlas).rois[0] == RoiDefinition("visual", (3,))


def test_an_output_folder_is_of_one_atlas(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(data.CONFIG)
    config = load_dataset_config(tmp_path / "study.toml")
    one = replace(config, atlas=tmp_path / "one.nii.gz")
    write_recorded(one, tmp_path)
    recorded = read_recorded(tmp_path)
    assert recorded is not None and not difference(recorded, one)
    named = RoiDefinition('Léft β (V1; "x")', (17,))
    write_recorded(replace(one, rois=(named,)), tmp_path)
    again = read_recorded(tmp_path)
    assert again is not None and again.rois == (named,)
    assert not difference(recorded, replace(config, atlas=Path("/mnt/one.nii.gz")))
    other = difference(recorded, replace(config, atlas=tmp_path / "other.nii.gz"))
    assert other == "atlas.file 'one.nii.gz' and 'other.nii.gz'"
    assert difference(recorded, config) == "atlas.file 'one.nii.gz' and absent"
    assert not difference(recorded, config, OF_COMPARISON)


def test_regions_of_both_levels_of_run(
    folder: Path,
    results: list[tuple[ComparisonResult, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "study.toml").write_text(data.CONFIG)
    (folder / "bids").mkdir()
    taken: list[Any] = []
    monkeypatch.setattr(
        conceptrsa.pipelines.participants,
        "run_participants",
        lambda bids, out, config, options: taken.append(config.rois) or 0,
    )
    command = ["run", "bids", "derivatives", "participant", "--dataset-config", "study.toml"]
    rois = ["--rois", "left=ctx-lh-lateral*", "Left-Hippocampus", "brain=1011,17"]
    assert main([*command, *rois]) == 0
    assert taken == [
        (
            RoiDefinition("left", (1011, 1012)),
            RoiDefinition("Left-Hippocampus", (17,)),
            RoiDefinition("brain", (1011, 17)),
        )
    ]
    assert main([*command, "--rois", "FFA=mask:ffa.nii.gz"]) == 2
    assert "give masks to compare" in capsys.readouterr().err
    data.write_derivatives(folder / "derivatives")
    (folder / "derivatives" / "dataset_config.toml").write_text(data.CONFIG)
    command = ["run", "bids", "derivatives", "group", *FEW, "--features", "models"]
    assert main([*command, "--no-multiverse", "--rois", "deep=17", "left=1011"]) == 0
    ((result, _),) = results
    assert [roi.roi for roi in result.rois] == ["deep", "left"]
    assert "regions are those of --rois" in " ".join(result.warnings)
    # All parts read the subjects at the same time.
    with only_run([folder / "derivatives"], ["sub-01", "group-part-1-of-2"]):
        assert main([*command, "--no-multiverse", "--part", "2/2"]) == 0
        assert main([*command, "--no-multiverse", "--part", "1/2"]) == 2
    said = capsys.readouterr()
    assert "regions finished: " in said.out and "writing group-part-1-of-2" in said.err
