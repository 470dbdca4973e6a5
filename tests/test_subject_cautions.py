"""What fMRIPrep left undone is said on the page of a subject and printed."""

from pathlib import Path

import pytest
from subject_derivatives import TASK, change_sidecar, write_subject

from conceptrsa.pipelines.participants import cautions_of
from conceptrsa.pipelines.reports.subject_page import write_subject_page
from conceptrsa.pipelines.reports.subject_records import read_cautions

BETAS = f"sub-01/func/sub-01_task-{TASK}_space-MNI305_res-2_stat-effect_statmap.json"
COVERAGE = "only 75% of the region hippocampus has betas"
FMRIPREP = {"Engine": "python", "Preprocessing": "fMRIPrep 25"}


@pytest.fixture
def out_dir(tmp_path: Path) -> Path:
    write_subject(tmp_path)
    for sidecar in tmp_path.glob("sub-01/func/*tsnr_boldmap.json"):
        sidecar.write_text('{"RepetitionTime": 3.0}')
    return tmp_path


def page_of(out_dir: Path) -> str:
    return write_subject_page(out_dir, "01", TASK, read_cautions(out_dir, "01")).read_text()


def test_nothing_is_said_of_what_is_right(out_dir: Path) -> None:
    estimation = {**FMRIPREP, "SliceTimingCorrected": True}
    change_sidecar(out_dir / BETAS, Estimation=estimation, NonSteadyStateVolumes=[0, 0])
    assert read_cautions(out_dir, "01") == [COVERAGE]
    assert "without slice timing correction" not in page_of(out_dir)


def test_what_the_brain_mask_warns_of(out_dir: Path) -> None:
    change_sidecar(
        out_dir / "sub-01" / "anat" / "sub-01_desc-brain_mask.json", warnings=["it is cut"]
    )
    assert "sub-01_desc-brain_mask: it is cut" in read_cautions(out_dir, "01")


def test_a_damaged_sidecar_of_a_subject_that_is_done_is_a_note(out_dir: Path) -> None:
    assert cautions_of(out_dir, "01") == [COVERAGE]
    sidecar = out_dir / "sub-01" / "anat" / "sub-01_desc-brain_mask.json"
    sidecar.parent.mkdir(exist_ok=True)
    sidecar.write_text("{")
    (note,) = cautions_of(out_dir, "01")
    assert note.startswith(
        f"results are written, but their warnings cannot be read ({sidecar} is not valid JSON"
    )


def test_slices_that_were_not_corrected(out_dir: Path) -> None:
    change_sidecar(out_dir / BETAS, Estimation={**FMRIPREP, "SliceTimingCorrected": False})
    caution, _ = read_cautions(out_dir, "01")
    assert caution.startswith("fMRIPrep did not correct slice timing")
    html = page_of(out_dir)
    assert caution in html
    assert "already preprocessed, without slice timing correction" in html
    assert "<dt>Slice timing corrected</dt><dd>no</dd>" in html


def test_slices_that_were_to_be_ignored(out_dir: Path) -> None:
    change_sidecar(out_dir / BETAS, Estimation={"Engine": "spm", "SliceTimingCorrected": False})
    caution, _ = read_cautions(out_dir, "01")
    assert caution.startswith(
        "slice timing was not corrected (--ignore slicetiming): the model assumes"
    )
    html = page_of(out_dir)
    assert caution in html
    assert "Slice timing was not corrected (--ignore slicetiming)." in html


def test_images_that_were_taken_in_spite_of_something(out_dir: Path) -> None:
    said = "the orientation of sub-01_T1w.nii.gz cannot be trusted"
    change_sidecar(out_dir / BETAS, Noticed=[said])
    assert read_cautions(out_dir, "01") == [said, COVERAGE]
    assert said in page_of(out_dir)


def test_non_steady_state_volumes_in_the_model(out_dir: Path) -> None:
    change_sidecar(out_dir / BETAS, Estimation=FMRIPREP, NonSteadyStateVolumes=[2, 0])
    caution, _ = read_cautions(out_dir, "01")
    assert caution.startswith("2 non-steady-state volumes") and "1 of 2 runs" in caution
    assert caution in page_of(out_dir)
