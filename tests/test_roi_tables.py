"""Betas typed into tables: wide ones of voxels, CSV beside TSV, and subjects by other names."""

from pathlib import Path
from typing import Any

import betas_forms
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import supplied_data as data
from betas_forms import check, read

from conceptrsa.analysis.betas.beta_index import behind_subject
from conceptrsa.analysis.betas.read import find_format, read_betas
from conceptrsa.analysis.brain.patterns import have_patterns
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.tsv import read_table
from conceptrsa.pipelines.cli import main

root = betas_forms.root


def frame(subject: str) -> pd.DataFrame:
    """A row a stimulus, a column a voxel of both regions."""
    parts = []
    for roi in data.ROIS:
        rows = data.patterns_of(subject, roi)[:, list(data.SHUFFLED)].mean(axis=0)
        columns = [f"{roi.name}_{n}" for n in range(rows.shape[1])]
        parts.append(pd.DataFrame(rows, columns=columns))
    wide = pd.concat(parts, axis=1)
    wide.insert(0, "stimulus", [f"{data.STIMULI[row]}.JPEG" for row in data.SHUFFLED])
    return wide


def require_same(path: Path, halves: bool = False, **options: Any) -> None:
    subjects = read_betas(path, data.ROIS, **options)
    assert have_patterns(subjects)
    assert [subject.label for subject in subjects] == ["sub-01", "sub-02", "sub-03"]
    for subject in subjects:
        assert subject.stimuli == data.STIMULI
        assert [*subject.rois] == ["visual", "hippocampus"]
        for roi in data.ROIS:
            expected = data.patterns_of(subject.subject, roi)
            found = subject.rois[roi.name]
            np.testing.assert_allclose(found.values, expected.mean(axis=0), rtol=1e-6)
            assert (found.odd is not None) == halves
            if halves:
                np.testing.assert_allclose(found.even, expected[1::2].mean(axis=0), rtol=1e-6)
                assert found.runs is None or len(found.runs) == data.N_RUNS


@pytest.mark.parametrize("name", ["sub-{}.csv", "sub-{}.tsv", "S{}.csv", "{}.csv"])
def test_a_table_a_subject(tmp_path: Path, name: str) -> None:
    """Rows of one stimulus are its presentations."""
    data.write_roi_tables(tmp_path, name, "\t" if name.endswith(".tsv") else ",")
    assert find_format(tmp_path).name == "roi-tables"
    require_same(tmp_path, halves=True, with_runs=True)


def test_a_table_a_region(tmp_path: Path) -> None:
    for subject in data.SUBJECTS:
        for roi in data.ROIS:
            wide = frame(subject).filter(regex=f"stimulus|{roi.name}")
            wide.columns = ["stimulus", *(f"v{n}" for n in range(wide.shape[1] - 1))]
            # German spreadsheets, and an index that pandas wrote.
            wide.to_csv(tmp_path / f"sub-{subject}_{roi.name}.csv", sep=";")
    assert find_format(tmp_path).name == "roi-tables"
    require_same(tmp_path)


def test_one_table_of_all_subjects(tmp_path: Path) -> None:
    tables = [frame(subject).assign(subject=f"sub-{subject}") for subject in data.SUBJECTS]
    pd.concat(tables).to_csv(tmp_path / "betas.csv", index=False)
    assert find_format(tmp_path / "betas.csv").name == "roi-tables"
    require_same(tmp_path / "betas.csv")


def test_volumes_in_a_csv_table(root: Path, tmp_path: Path) -> None:
    table = pd.read_csv(root / "table.tsv", sep="\t", dtype=str)
    table["file"] = [str(root / file) for file in table["file"]]
    table["stimulus"] += ".png"
    table.to_csv(tmp_path / "betas.csv", index=False)
    assert find_format(tmp_path / "betas.csv").name == "table"
    check(read(tmp_path / "betas.csv", atlas=root / "atlas.nii.gz"))


def test_rdms_as_csv(tmp_path: Path) -> None:
    data.write_rdm_tables(tmp_path)
    for file in tmp_path.glob("*.tsv"):
        square = pd.read_csv(file, sep="\t", index_col=0)
        square.rename_axis(None).to_csv(file.with_suffix(".csv"))
        file.unlink()
    assert find_format(tmp_path).name == "rdms"
    first, *_ = read_betas(tmp_path, data.ROIS)
    np.testing.assert_allclose(first.rois["visual"][0], data.rdm_of("01", data.ROIS[0]))


@pytest.mark.parametrize("name", ["S{}.npz", "subj{}.npz", "{}.npz", "subject-{}_betas.npz"])
def test_subjects_by_other_names(tmp_path: Path, name: str) -> None:
    data.write_roi_patterns(tmp_path)
    for subject in data.SUBJECTS:
        (tmp_path / f"sub-{subject}_patterns.npz").rename(tmp_path / name.format(subject))
    assert find_format(tmp_path).name == "roi-patterns"
    require_same(tmp_path, halves=True)


def test_csv_tables_know_quotes_and_the_index_of_pandas(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text(
        '\ufeff"stimulus","note, long"\r\n"a ""b""", 1\r\n\r\nc,2\r\n', encoding="utf-8"
    )
    table = read_table(file)
    assert table.columns == ("stimulus", "note, long")
    assert table.rows == [['a "b"', "1"], ["c", "2"]] and table.lines == (2, 4)
    file.write_text(",x\n0,1\n1,2\n")
    assert read_table(file).columns == ("x",)
    file.write_text(",x\ndog,1\ncat,2\n")
    assert read_table(file).columns == ("stimulus", "x")
    file.write_text("a,b\n1\n")
    with pytest.raises(InputError, match=r"line 2 has 1 cells where the header has 2"):
        read_table(file)


def test_csv_tables_of_a_changed_index_and_of_quoted_separators(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    for first in ("", "Unnamed: 0"):
        file.write_text(f"{first},stimulus,x\n5,a,1\n7,b,2\n")
        assert read_table(file).columns == ("stimulus", "x")
        assert read_table(file).rows == [["a", "1"], ["b", "2"]]
    file.write_text('"stimulus";"V1, left, 0"\n"a";"1"\n')
    assert read_table(file).rows == [["a", "1"]]
    for text in ('stimulus,x\n"a,1\nb,2\n', 'stimulus,"x\n' + "a" * 200_000):
        file.write_text(text)
        with pytest.raises(InputError, match="check that every quote is closed"):
            read_table(file)


@pytest.mark.parametrize("name", ["sub-01_V1", "sub_01_V1", "S1_V1", "sub-01_lh_V1", "sub-01", "1"])
def test_regions_stand_behind_the_subject(name: str) -> None:
    region = "lh_V1" if "lh" in name else "V1" if "V1" in name else ""
    assert behind_subject(Path(f"{name}.csv")) == region


def test_two_tables_of_one_rdm(tmp_path: Path) -> None:
    data.write_rdm_tables(tmp_path)
    file = sorted(tmp_path.glob("sub-01*.tsv"))[0]
    file.with_suffix(".csv").write_text(file.read_text().replace("\t", ","))
    with pytest.raises(InputError, match="are both the RDM of"):
        read_betas(tmp_path, data.ROIS)


def test_other_columns_are_no_voxels(tmp_path: Path) -> None:
    for subject in ("01", "02"):
        text = f"stimulus,onset,v0,v1\na,0,{subject},2\nb,4,2,3\nc,8,3,5\n"
        (tmp_path / f"sub-{subject}_V1.csv").write_text(text)
    with pytest.raises(InputError, match="the column 'onset' beside numbered voxels"):
        read_betas(tmp_path)


def test_plain_maps_of_nilearn(root: Path, tmp_path: Path) -> None:
    """`effect_size` maps by stimulus, and `save_glm_to_bids` of images without file names."""
    data.write_effect_maps(tmp_path / "maps")
    for subject in data.SUBJECTS:
        for run, betas in enumerate(data.runs_of(subject), start=1):
            below = Path(f"sub-{subject}/run-{run}")
            for stimulus, beta in zip(data.STIMULI, betas, strict=True):
                name = f"contrast-{data.contrast(stimulus)}_stat-effect_statmap.nii.gz"
                data.save(beta, tmp_path / "bids" / below / name)
    for folder, form in (("maps", "maps"), ("bids", "statmaps")):
        assert find_format(tmp_path / folder).name == form
        options = {"atlas": root / "atlas.nii.gz", "stimuli": data.STIMULI}
        check(read(tmp_path / folder, **options))


def test_betas_of_two_forms_are_said(root: Path, tmp_path: Path) -> None:
    data.write_roi_patterns(tmp_path)
    data.write_rdm_tables(tmp_path)
    (first, *_) = read_betas(tmp_path, data.ROIS)
    assert first.notes[0] == (
        f"{tmp_path} holds betas as roi-patterns, which is used, and as rdms: --betas-format "
        "chooses another"
    )
    assert not read(root / "derivatives")[0].notes
    assert not read(root / "paper", atlas=root / "atlas.nii.gz")[0].notes


def bold(folder: Path) -> None:
    data.save(np.ones((3, 3, 3, 4)), folder / "sub-01/func/sub-01_task-x_bold.nii.gz")


def loose_volumes(folder: Path) -> None:
    data.save(np.ones((3, 3, 3)), folder / "dog.nii.gz")


def nameless_arrays(folder: Path) -> None:
    np.savez(folder / "anna.npz", **{"stimulus": ["a"], "V1/betas": np.ones((1, 2))})


def regions_without_betas(folder: Path) -> None:
    np.savez(folder / "sub-01.npz", stimulus=["a"], V1=np.ones((1, 2)))


def loose_glmsingle(folder: Path) -> None:
    (folder / "TYPED_FITHRF_GLMDENOISE_RR.npy").write_bytes(b"")


def loose_session(folder: Path) -> None:
    (folder / "betas_session01.hdf5").write_bytes(b"")


def other_table(folder: Path) -> None:
    (folder / "notes.csv").write_text("a,b\n1,2\n")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (bold, "it holds BOLD images, not betas: estimate betas with conceptrsa run"),
        (loose_volumes, "put each into sub-XX/<stimulus>.nii.gz"),
        (nameless_arrays, "anna.npz names no subject: rename it to sub-01.npz"),
        (regions_without_betas, "needs the arrays stimulus and <region>/betas (it holds"),
        (loose_glmsingle, "resembles glmsingle: put each subject's outputs into"),
        (loose_session, "resembles nsd: give the folder that holds nsddata_betas"),
        (other_table, "notes.csv resembles table: it needs the columns"),
        (lambda folder: None, "it is empty"),
    ],
)
def test_no_known_form_is_one_sentence(
    tmp_path: Path, make: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "betas").mkdir()
    make(tmp_path / "betas")
    command = ["compare", "--betas", str(tmp_path / "betas"), "--out", str(tmp_path / "out")]
    assert main([*command, "--features", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and len(error) < 500


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stimulus,V1_1,V1_2\na,1,x\nb,2,3\nc,3,4\n", "has V1_2 'x' in line 2"),
        ("stimulus,voxel\na,1\nb,2\nc,3\n", "column 'voxel', which names no region"),
        ("stimulus,V1_1\n,1\nb,2\nc,3\n", "line 2 has no stimulus"),
        ("stimulus,V1_1\na.png,1\na.jpg,2\nc,3\n", "which are both stimulus 'a'"),
        ("stimulus,V1_1,V1_1\na,1,1\nb,2,3\n", "holds the column 'V1_1' more than once"),
    ],
)
def test_wrong_tables(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "sub-01.csv").write_text(text)
    (tmp_path / "sub-02.csv").write_text("stimulus,V1_1,V1_2\na,3,1\nb,2,2\nc,1,9\n")
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        read_betas(tmp_path, betas_format="roi-tables")


def test_tables_of_one_subject_that_differ(tmp_path: Path) -> None:
    (tmp_path / "sub-01_V1.csv").write_text("stimulus,a1,a2\na,1,2\nb,2,3\nc,3,5\n")
    (tmp_path / "sub-01_V2.csv").write_text("stimulus,a1,a2\na,1,2\nc,2,3\nb,3,5\n")
    with pytest.raises(InputError, match=r"sub-01_V2\.csv has different rows from sub-01_V1\.csv"):
        read_betas(tmp_path)


def test_atlas_for_tables_is_refused(tmp_path: Path) -> None:
    frame("01").to_csv(tmp_path / "sub-01.csv", index=False)
    nib.save(nib.Nifti1Image(data.labels(), data.AFFINE), tmp_path / "atlas.nii.gz")
    with pytest.raises(InputError, match="has its own regions"):
        read_betas(tmp_path, atlas=tmp_path / "atlas.nii.gz")


def test_a_few_repeats_of_a_task_do_not_choose_the_stimuli(tmp_path: Path) -> None:
    """Three of thirty stimuli shown twice, as by a one-back task, leave all thirty there."""
    rng = np.random.default_rng(0)
    names = [f"s{number:02d}" for number in range(30)]
    shown = [*names, *names[:3]]
    for subject in ("01", "02"):
        table = pd.DataFrame(rng.standard_normal((33, 4)), columns=[f"V1_{i}" for i in range(4)])
        table.insert(0, "stimulus", shown)
        table.to_csv(tmp_path / f"sub-{subject}.csv", index=False)
    assert len(read_betas(tmp_path)[0].stimuli) == 30
    assert read_betas(tmp_path, min_repeats=2)[0].stimuli == ("s00", "s01", "s02")
