"""Images of other types, shapes and headers: taken rightly, or refused before anything runs."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import supplied_data
from odd_inputs import images as odd

from conceptrsa.analysis.betas.read import read_betas
from conceptrsa.analysis.betas.volumes import read_volume
from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import doubt_about_place, open_image, open_volume
from conceptrsa.interfaces.numerics.freesurfer_subject import labels_mni305
from conceptrsa.interfaces.numerics.reslicing import realign_files
from conceptrsa.interfaces.numerics.slice_timing import correct_slice_timing
from conceptrsa.interfaces.numerics.time_series import (
    TimeSeries,
    Volumes,
    open_time_series,
    temporal_snr,
)
from conceptrsa.interfaces.python.fmriprep_inputs import summarize_volumes
from conceptrsa.interfaces.python.masks import T1wBrainMask
from conceptrsa.interfaces.python.preprocess import Coregister, Realign
from conceptrsa.interfaces.python.quality_images import AnatomicalViews
from conceptrsa.interfaces.spm.preprocessing_jobs import slice_times_ms
from conceptrsa.interfaces.spm.spm_files import mend_spikes
from conceptrsa.pipelines.bids.dataset import Reading, SubjectInputs
from conceptrsa.pipelines.bids.reading import read_dataset, survey
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.execution.forecast import forecast_subject
from conceptrsa.pipelines.graph import example_settings
from conceptrsa.pipelines.participant_options import ParticipantOptions
from conceptrsa.pipelines.reports.subject_records import read_cautions
from conceptrsa.pipelines.workflows.participant import init_participant_wf

CONFIG = load_dataset_config("demo")
ORIENTATION = Reading(ignore=frozenset({"orientation"}))
NO_SLICE_TIMES = Reading(ignore=frozenset({"slicetiming"}))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return odd.write_data_set(tmp_path_factory.mktemp("odd") / "bids")


@pytest.fixture
def bids(pristine: Path, tmp_path: Path) -> Path:
    """A copy to spoil, of links to what is not changed."""
    for file in pristine.rglob("*"):
        copy = tmp_path / "bids" / file.relative_to(pristine)
        if file.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    return tmp_path / "bids"


def refusal(bids: Path, reading: Reading | None = None) -> str:
    """The sentence of the refusal, which a dry run finds as well."""
    with pytest.raises(InputError) as caught:
        read_dataset(bids, CONFIG, reading=reading)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert survey(bids, CONFIG, reading=reading)[1][0] == sentence
    return sentence


def subject_of(bids: Path, reading: Reading | None = None) -> SubjectInputs:
    (subject,) = read_dataset(bids, CONFIG, reading=reading)
    assert not survey(bids, CONFIG, reading=reading)[1]
    return subject


# Where an image lies


@pytest.mark.parametrize("file", [odd.T1W, odd.BOLD, odd.SECOND_BOLD, odd.MASK])
@pytest.mark.parametrize(("change", "said"), odd.UNTRUSTED.values(), ids=odd.UNTRUSTED)
def test_a_place_that_cannot_be_trusted_is_refused_or_said(
    bids: Path, file: str, change: Callable[[nib.Nifti1Header], object], said: str
) -> None:
    odd.change_header(bids / file, change)
    reading = Reading(t1w_mask=bids / odd.MASK)
    sentence = refusal(bids, reading)
    assert sentence.startswith(
        f"the orientation of {bids / file} cannot be trusted, because {said}"
    )
    assert sentence.endswith("or accept it with --ignore orientation")
    noticed = subject_of(bids, replace(reading, ignore=ORIENTATION.ignore)).noticed
    assert len(noticed) == 1
    assert noticed[0].startswith(
        f"the orientation of {Path(file).name} cannot be trusted, as {said}"
    )


@pytest.mark.parametrize("change", odd.TRUSTED.values(), ids=odd.TRUSTED)
def test_one_of_sform_and_qform_suffices(
    bids: Path, change: Callable[[nib.Nifti1Header], object]
) -> None:
    for file in (odd.T1W, odd.BOLD, odd.SECOND_BOLD):
        odd.change_header(bids / file, change)
    subject = subject_of(bids)
    assert subject.noticed == ()
    assert np.allclose(nib.load(subject.t1w).affine, odd.AFFINE)


def test_half_a_turn_in_single_precision_is_rounding(tmp_path: Path) -> None:
    """Where a quaternion of single precision is worst: half a turn and a little more."""
    for angle in (1e-6, 1e-4, 1.2315506e-3, 1.3e-3, 1e-2):
        cos, sin = np.cos(angle), np.sin(angle)
        affine = np.diag([1.0, 1, 1, 1])
        affine[:3, :3] = [[-cos, sin, 0], [-sin, -cos, 0], [0, 0, 1]]
        image = nib.Nifti1Image(np.zeros((256, 256, 256), np.uint8), affine)
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
        assert doubt_about_place(image) is None


def test_rounding_grows_with_the_image() -> None:
    """At a field of view of 320 mm rounding was 0.541 mm, which is no other place."""
    for size, apart, is_trusted in (
        (256, 0.49, True), (256, 0.55, False), (320, 0.541, True), (320, 0.7, False),
    ):  # fmt: skip
        image = nib.Nifti1Image(np.zeros((size, size, size), np.uint8), np.eye(4))
        image.set_sform(np.eye(4), 1)
        qform = np.eye(4)
        qform[0, 3] = apart
        image.set_qform(qform, 1)
        assert (doubt_about_place(image) is None) == is_trusted


@pytest.mark.parametrize("code", [5, 2 | 64])
def test_a_unit_code_that_is_none_is_unknown(bids: Path, tmp_path: Path, code: int) -> None:
    for file in (odd.T1W, odd.BOLD, odd.SECOND_BOLD):
        odd.change_header(bids / file, odd.fields(xyzt_units=code))
    assert subject_of(bids).noticed == ()
    _values(bids / odd.BOLD, tmp_path / "steps")


def test_an_affine_that_cannot_be_inverted_is_never_taken(bids: Path) -> None:
    odd.change_header(bids / odd.T1W, odd.fields(srow_x=[0, 0, 0, 0]))
    for reading in (None, ORIENTATION):
        assert f"{odd.T1W} has an affine that cannot be inverted" in refusal(bids, reading)


@pytest.mark.parametrize("good", [True, False])
def test_mgz_without_good_ras(tmp_path: Path, good: bool) -> None:
    file = tmp_path / "brain.mgz"
    nib.save(nib.MGHImage(np.ones((4, 5, 6), np.uint8), odd.AFFINE), file)
    if not good:
        import gzip

        content = bytearray(gzip.decompress(file.read_bytes()))
        content[28:30] = b"\0\0"
        file.write_bytes(gzip.compress(bytes(content)))
    doubt = doubt_about_place(open_image(file))
    assert (doubt is None) == good
    assert good or "its goodRASFlag is 0" in str(doubt)


def test_analyze_tells_no_orientation(tmp_path: Path) -> None:
    image = nib.Spm2AnalyzeImage(np.ones((4, 5, 6), np.int16), np.diag([-3.0, 3, 3, 1]))
    nib.save(image, tmp_path / "mask.hdr")
    (tmp_path / "mask.mat").unlink(missing_ok=True)
    doubt = doubt_about_place(open_image(tmp_path / "mask.img"))
    assert "it is of the Analyze format" in str(doubt)


def test_the_page_and_the_comparison_say_what_was_ignored(bids: Path, tmp_path: Path) -> None:
    odd.change_header(bids / odd.T1W, odd.NO_CODES)
    subject = subject_of(bids, ORIENTATION)
    out = tmp_path / "out"
    settings = example_settings(CONFIG, ParticipantOptions())
    workflow = init_participant_wf(subject, replace(settings, out_dir=out))
    metadata = workflow.get_node("derivatives_wf.save_betas_standard").inputs.metadata
    assert [content["Noticed"] for content in metadata] == [list(subject.noticed)] * 3
    func = out / "sub-01" / "func"
    func.mkdir(parents=True)
    name = "sub-01_task-perception_space-MNI305_res-2_stat-effect_statmap.json"
    (func / name).write_text(json.dumps(metadata[0]))
    assert read_cautions(out, "01") == list(subject.noticed)


def test_betas_note_what_the_participant_level_noticed(tmp_path: Path) -> None:
    supplied_data.write_derivatives(tmp_path, halves=False)
    for betas in tmp_path.glob("sub-*/func/*_statmap.nii.gz"):
        content = {"Noticed": ["x cannot be trusted"] if "sub-02" in betas.name else []}
        betas.with_name(betas.name.replace(".nii.gz", ".json")).write_text(json.dumps(content))
    notes = [subject.notes for subject in read_betas(tmp_path, supplied_data.ROIS)]
    assert notes == [(), ("sub-02: x cannot be trusted",), ()]


def test_a_dry_run_says_the_same(
    bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd.change_header(bids / odd.BOLD, odd.NO_CODES)
    arguments = (
        "run", str(bids), str(tmp_path / "out"), "participant", "--dataset-config", "demo",
        "--skip-bids-validation", "--dry-run",
    )  # fmt: skip
    assert main(arguments) == 2
    assert f"problem: the orientation of {bids / odd.BOLD}" in capsys.readouterr().out
    main([*arguments, "--ignore", "orientation"])
    said = capsys.readouterr().out
    name = Path(odd.BOLD).name
    assert f"note: sub-01: the orientation of {name} cannot be trusted" in said
    assert "problem: the orientation" not in said


@pytest.mark.parametrize("spoiled", ["sub-02/*", "atlas.nii"])
def test_supplied_betas_and_atlas(tmp_path: Path, spoiled: str) -> None:
    supplied_data.write_paper_layout(tmp_path)
    atlas = tmp_path / "atlas.nii"
    supplied_data.write_atlas(atlas)
    files = sorted(tmp_path.glob(spoiled))
    for file in tmp_path.rglob("*.nii"):
        # The guess that is made without codes, so that grids agree.
        base = nib.load(file).header.get_base_affine()
        supplied_data.save(np.asarray(nib.load(file).dataobj).copy(), file, base)
    rois = supplied_data.ROIS
    assert all(not subject.notes for subject in read_betas(tmp_path, rois, atlas=atlas))
    for file in files:
        odd.change_header(file, odd.NO_CODES)
    with pytest.raises(InputError) as caught:
        read_betas(tmp_path, rois, atlas=atlas)
    assert str(caught.value).startswith(
        f"the orientation of {files[0]} cannot be trusted, because its"
    )
    subjects = read_betas(tmp_path, rois, atlas=atlas, ignore=["orientation"])
    whose = {subject.label for subject in subjects if subject.notes}
    assert whose == ({"sub-02"} if spoiled != "atlas.nii" else {s.label for s in subjects})
    note = next(subject.notes[0] for subject in subjects if subject.notes)
    assert f"the orientation of {files[0].name} cannot be trusted, as its sform and qform" in note
    assert ("(the first of 8 files)" in note) == (spoiled != "atlas.nii")


def test_betas_are_opened_once_and_the_first_bad_one_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supplied_data.write_paper_layout(tmp_path)
    supplied_data.write_atlas(tmp_path / "atlas.nii")
    opened: list[Path] = []
    read: list[Path] = []

    def load(file: Path, **how: Any) -> Any:
        opened.append(Path(file))
        return nib_load(file, **how)

    def values_of(image: Any, index: int, voxels: Any, file: Path) -> Any:
        read.append(file)
        return read_volume(image, index, voxels, file)

    nib_load = nib.load
    monkeypatch.setattr("nibabel.load", load)
    monkeypatch.setattr("conceptrsa.analysis.betas.beta_images.read_volume", values_of)
    read_betas(tmp_path, supplied_data.ROIS, atlas=tmp_path / "atlas.nii")
    betas = sorted(tmp_path.glob("sub-*/*"))
    opened = [file for file in opened if file in betas]
    # The header of each subject's first file gives the grid that the atlas is brought to.
    assert sorted(set(opened)) == betas and len(opened) == len(betas) + len(supplied_data.SUBJECTS)
    assert len(read) == len(betas)
    read.clear()
    odd.change_header(betas[0], odd.other_qform(odd.moved(5)))
    with pytest.raises(InputError, match=re.escape(f"the orientation of {betas[0]} cannot")):
        read_betas(tmp_path, supplied_data.ROIS, atlas=tmp_path / "atlas.nii")
    assert not read


# What voxels are


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, "colours"])
@pytest.mark.parametrize("file", [odd.T1W, odd.BOLD, odd.SECOND_BOLD, odd.MASK])
def test_voxels_that_are_no_single_numbers(bids: Path, file: str, dtype: Any) -> None:
    shape = nib.load(bids / file).shape
    if dtype == "colours":
        odd.save(*_with_file(odd.colours(shape), bids / file))
        said = f"{bids / file} holds colours or vectors: give an image with one number per voxel"
    else:
        odd.save(np.ones(shape), bids / file, dtype)
        said = f"{bids / file} holds complex numbers: give an image of their magnitude"
    assert refusal(bids, Reading(t1w_mask=bids / odd.MASK)) == said


def _with_file(values: tuple[Any, Any], file: Path) -> tuple[Any, Path, Any]:
    return values[0], file, values[1]


def test_complex_betas_and_atlas(tmp_path: Path) -> None:
    supplied_data.write_paper_layout(tmp_path)
    supplied_data.write_atlas(tmp_path / "atlas.nii")
    for spoiled in (next(tmp_path.glob("sub-03/*")), tmp_path / "atlas.nii"):
        content = spoiled.read_bytes()
        values = np.asarray(nib.load(spoiled).dataobj).copy()
        supplied_data.save(values.astype(np.complex64), spoiled)
        with pytest.raises(InputError, match=re.escape(f"{spoiled} holds complex numbers")):
            read_betas(tmp_path, supplied_data.ROIS, atlas=tmp_path / "atlas.nii")
        spoiled.write_bytes(content)


def test_real_and_imaginary_parts_are_no_runs_of_their_own(bids: Path) -> None:
    for part in ("mag", "real", "imag", "phase"):
        for bold in (odd.BOLD, odd.SECOND_BOLD):
            name = bold.replace("_bold", f"_part-{part}_bold")
            (bids / name).write_bytes((bids / bold).read_bytes())
    for bold in (odd.BOLD, odd.SECOND_BOLD):
        (bids / bold).unlink()
    runs = subject_of(bids).runs
    assert [run.bold.name.split("_")[3] for run in runs] == ["part-mag", "part-mag"]


@pytest.mark.parametrize(
    ("file", "shape", "said"),
    [
        (odd.T1W, (14, 13, 10, 2), "14 x 13 x 10 x 2: a T1w image must be one three-dimensional"),
        (odd.T1W, (1, 14, 13, 10), "1 x 14 x 13 x 10: a T1w image must be one three-dimensional"),
        (odd.T1W, (14, 13), "14 x 13: a T1w image must be one three-dimensional volume"),
        (odd.MASK, (14, 13, 10, 2), "14 x 13 x 10 x 2: it must be one three-dimensional volume"),
        (odd.BOLD, (14, 13, 10, 1), "1 volumes but at least 20 are needed"),
        (odd.BOLD, (14, 13, 10), "14 x 13 x 10: a BOLD run must have four dimensions"),
        (odd.BOLD, (14, 13, 10, 24, 3), "14 x 13 x 10 x 24 x 3: a BOLD run must have four"),
        (odd.BOLD, (14, 13, 10, 1, 24), "14 x 13 x 10 x 1 x 24: a BOLD run must have four"),
        (odd.BOLD, (14, 13, 1, 24), "motion cannot be estimated from a single slice"),
    ],
)
def test_shapes(bids: Path, file: str, shape: tuple[int, ...], said: str) -> None:
    odd.save(np.ones(shape), bids / file)
    sentence = refusal(bids, Reading(t1w_mask=bids / odd.MASK))
    assert sentence.startswith(str(bids / file)) and said in sentence


@pytest.mark.parametrize("shape", [(210, 1, 1), (14, 15, 1)])
@pytest.mark.parametrize("suffix", [".nii", ".mgz"])
def test_surfaces_and_slabs_are_compared(
    tmp_path: Path, shape: tuple[int, ...], suffix: str
) -> None:
    """Betas and atlas of a surface (n x 1 x 1) or a single slice."""
    supplied_data.write_paper_layout(tmp_path)
    atlas = tmp_path / "atlas.nii"
    supplied_data.write_atlas(atlas)
    expected = read_betas(tmp_path, supplied_data.ROIS, atlas=atlas)
    for file in tmp_path.rglob("*.nii"):
        values = np.asarray(nib.load(file).dataobj).reshape(shape)
        file.unlink()
        supplied_data.save(values, file.with_suffix(suffix))
    found = read_betas(tmp_path, supplied_data.ROIS, atlas=atlas.with_suffix(suffix))
    for one, other in zip(expected, found, strict=True):
        for roi in one.rois:
            assert np.array_equal(one.rois[roi].values, other.rois[roi].values)


def test_axes_of_length_one_behind_a_volume_are_taken(bids: Path, tmp_path: Path) -> None:
    """What the check accepts the steps accept, and their results are those without the axis."""
    flat, deep = bids / odd.T1W, tmp_path / "deep_T1w.nii.gz"
    values = np.asarray(nib.load(flat).dataobj)
    for shape in ((*values.shape, 1), (*values.shape, 1, 1)):
        odd.save(values.reshape(shape), deep)
        odd.save(values.reshape(shape), bids / odd.T1W)
        assert subject_of(bids).t1w == bids / odd.T1W
        volume = open_volume(deep)
        assert volume.shape == values.shape and volume.get_filename() == str(deep)
        assert np.array_equal(np.asarray(volume.dataobj), values)


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_a_t1w_that_shows_nothing(bids: Path, value: float) -> None:
    odd.save(np.full(odd.SHAPE[:3], value), bids / odd.T1W, np.float32)
    assert refusal(bids) == f"{bids / odd.T1W} is the same in every voxel: restore the image"


def test_scaled_values_survive_the_loss_of_an_axis(tmp_path: Path) -> None:
    file = odd.save(odd.head()[..., :1], tmp_path / "T1w.nii.gz")
    odd.change_header(file, odd.fields(scl_slope=0.5, scl_inter=-7.0))
    expected = 0.5 * odd.head()[..., 0] - 7
    assert np.array_equal(np.asarray(open_volume(file).dataobj), expected)
    nib.save(open_volume(file), tmp_path / "again.nii.gz")
    again = np.asarray(nib.load(tmp_path / "again.nii.gz").dataobj)
    assert np.allclose(again, expected, atol=0.5)


def test_every_step_opens_a_t1w_of_four_dimensions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []

    class SeenError(Exception):
        pass

    def see(*images: Any, **_: Any) -> None:
        seen.extend(image.shape for image in images if hasattr(image, "affine"))
        raise SeenError

    t1w = odd.save(odd.head()[..., :1], tmp_path / "T1w.nii.gz")
    flat = odd.save(odd.head()[..., 0], tmp_path / "flat.nii.gz")
    np.savetxt(tmp_path / "eye.txt", np.eye(4))
    for target in (
        "conceptrsa.interfaces.python.masks.find_brain",
        "conceptrsa.interfaces.python.masks.take_brain_mask",
        "conceptrsa.interfaces.python.preprocess.coregister",
        "conceptrsa.interfaces.python.preprocess.gather_evidence",
        "conceptrsa.interfaces.python.normalize.normalize",
        "conceptrsa.interfaces.python.rois.find_regions",
        "conceptrsa.interfaces.python.quality_images.resample_for_display",
    ):
        monkeypatch.setattr(target, see)
    from conceptrsa.interfaces.python.normalize import Normalize
    from conceptrsa.interfaces.python.preprocess import CheckCoregistration
    from conceptrsa.interfaces.python.rois import MNI305Rois

    eye = str(tmp_path / "eye.txt")
    monkeypatch.chdir(tmp_path)
    for step in (
        T1wBrainMask(t1w_file=t1w),
        T1wBrainMask(t1w_file=t1w, supplied_file=t1w),
        Coregister(source_file=flat, reference_file=t1w),
        CheckCoregistration(
            source_file=flat, mask_file=flat, reference_file=t1w, transform_file=eye
        ),
        Normalize(in_file=t1w, mask_file=flat),
        MNI305Rois(t1w_file=t1w, t1w_mask_file=flat, t1w_to_mni305_file=eye),
        AnatomicalViews(
            t1w_file=t1w, boldref_file=flat, bold_to_t1w_file=eye, t1w_to_mni305_file=eye
        ),
    ):
        with pytest.raises(SeenError):
            step.run()
    assert set(seen) == {odd.SHAPE[:3]} and len(seen) == 10


# Links without content


@pytest.mark.parametrize(
    "name",
    [
        odd.T1W, odd.BOLD, odd.MASK, odd.SIDECAR, odd.BOLD.replace("_bold.nii.gz", "_events.tsv"),
        "dataset_description.json",
    ],
)  # fmt: skip
def test_links_without_content_of_all_kinds(bids: Path, name: str) -> None:
    (bids / name).unlink()
    (bids / name).symlink_to(".git/annex/objects/x")
    sentence = refusal(bids, Reading(t1w_mask=bids / odd.MASK))
    assert sentence == (
        f"{bids / name} is a link to a file that is missing: fetch its content (with git-annex or "
        "DataLad: `datalad get`)"
    )


@pytest.mark.parametrize("name", ["*/*_statmap.nii.gz", "*/*_statmap.tsv", "*/*_dseg.nii.gz"])
def test_links_without_content_among_betas(tmp_path: Path, name: str) -> None:
    supplied_data.write_derivatives(tmp_path)
    file = next(tmp_path.glob(f"sub-02/{name}"))
    file.unlink()
    file.symlink_to("absent")
    with pytest.raises(InputError, match=re.escape(f"{file} is a link to a file that is missing")):
        read_betas(tmp_path, supplied_data.ROIS)


# What fMRIPrep left


@pytest.fixture
def fmriprep(tmp_path: Path) -> Path:
    return odd.write_fmriprep(tmp_path / "fmriprep")


@pytest.mark.parametrize("image", odd.FMRIPREP)
def test_images_of_fmriprep_are_looked_at_alike(bids: Path, fmriprep: Path, image: str) -> None:
    file, reading = fmriprep / odd.FMRIPREP[image], Reading(derivatives_dir=fmriprep)
    content = file.read_bytes()
    assert subject_of(bids, reading).noticed == ()
    odd.change_header(file, odd.other_qform(odd.moved(5)))
    assert refusal(bids, reading).startswith(f"the orientation of {file} cannot be trusted")
    ignoring = replace(reading, ignore=ORIENTATION.ignore)
    (noticed,) = subject_of(bids, ignoring).noticed
    assert noticed.startswith(f"the orientation of {file.name} cannot be trusted")
    shape = nib.load(file).shape
    odd.save(np.ones(shape), file, np.complex64)
    assert refusal(bids, ignoring).startswith(f"{file} holds complex numbers")
    odd.save(np.ones((*shape[:3], 2, 2)), file)
    assert f"{file} has the shape 14 x 13 x 10 x 2 x 2: " in refusal(bids, ignoring)
    file.write_bytes(content[:-2000])
    assert str(file) in refusal(bids, reading)
    file.unlink()
    file.symlink_to("nothing")
    assert f"{file} is a link to a file that is missing" in refusal(bids, reading)


def test_labels_of_fmriprep_are_whole_numbers(bids: Path, fmriprep: Path) -> None:
    file, reading = fmriprep / odd.FMRIPREP["dseg"], Reading(derivatives_dir=fmriprep)
    labels = np.where(odd.head()[..., :1] > 100, 17.0, 0)
    odd.save(labels, file)
    assert subject_of(bids, reading).segmentation == file
    flat = labels_mni305(odd.save(labels[..., 0], file.with_name("flat.nii")), np.eye(4))
    deep = labels_mni305(file, np.eye(4))
    assert deep.shape == flat.shape and np.array_equal(deep.dataobj, flat.dataobj)
    odd.save(labels / 2, file, np.float32)
    assert f"{file} is not a volume of whole-number labels" in refusal(bids, reading)
    odd.save(labels * 2000, file, np.int32)
    with pytest.raises(InputError, match=r"holds the label 34000, above the largest"):
        labels_mni305(file, np.eye(4))


# What values are


def _values(file: Path, folder: Path) -> np.ndarray:
    """Values after slice timing and realignment."""
    folder.mkdir()
    correct_slice_timing(file, folder / "corrected.nii", odd.SLICE_TIMES, "k", odd.TR)
    (run,) = realign_files([folder / "corrected.nii"], folder).runs
    return np.asarray(nib.load(run).dataobj)


@pytest.mark.parametrize(
    "how",
    [
        {"dtype": np.uint16}, {"dtype": np.int32}, {"dtype": np.float32}, {"dtype": np.float64},
        {"dtype": np.uint32}, {"dtype": np.int64}, {"endianness": ">"},
        {"endianness": ">", "dtype": np.float64}, {"kind": nib.Nifti2Image},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_numbers_of_all_types(bids: Path, tmp_path: Path, how: dict[str, Any], suffix: str) -> None:
    expected = _values(bids / odd.BOLD, tmp_path / "expected")
    (bids / odd.BOLD).unlink()
    bold = (bids / odd.BOLD).with_name(Path(odd.BOLD).name.replace(".nii.gz", suffix))
    odd.save(odd.head(), bold, **how)
    assert subject_of(bids).runs[0].image == bold
    assert np.allclose(_values(bold, tmp_path / "found"), expected, atol=0.2)


@pytest.mark.parametrize(
    ("header", "slope", "intercept"),
    [
        ({"scl_slope": 0.0, "scl_inter": 5.0}, 1, 0),  # NIfTI: a slope of 0 is none
        ({"scl_slope": np.nan, "scl_inter": np.nan}, 1, 0),
        ({"scl_slope": 0.5, "scl_inter": 100.0}, 0.5, 100),
        ({"scl_slope": 2.0, "scl_inter": -1000.0}, 2, -1000),
    ],
)
def test_scales(
    bids: Path, tmp_path: Path, header: dict[str, float], slope: float, intercept: float
) -> None:
    odd.change_header(bids / odd.BOLD, odd.fields(**header))
    assert subject_of(bids).noticed == ()
    corrected = tmp_path / "corrected.nii"
    correct_slice_timing(bids / odd.BOLD, corrected, [1.0] * 10, "k", odd.TR)
    expected = slope * odd.head() + intercept
    assert np.allclose(np.asarray(nib.load(corrected).dataobj), expected, atol=0.1)


def test_a_scale_that_is_no_number_is_refused(bids: Path) -> None:
    odd.change_header(bids / odd.BOLD, odd.fields(scl_slope=1.0, scl_inter=np.inf))
    assert f"{odd.BOLD} cannot be read (Valid slope but invalid intercept inf)" in refusal(bids)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_run_with_no_numbers_is_refused_before_anything_runs(
    bids: Path, value: float, dtype: Any
) -> None:
    odd.save(odd.with_spike(value), bids / odd.SECOND_BOLD, dtype)
    assert refusal(bids) == (
        f"{bids / odd.SECOND_BOLD} holds NaN or infinite values in volume 9: convert it again "
        "from the scanner's files"
    )


def test_voxels_of_fmriprep_that_are_no_numbers_are_no_data() -> None:
    values = odd.head(3).astype(np.float32)
    values[7, 6, 5, 1] = np.nan
    mean, valid = summarize_volumes(nib.Nifti1Image(values, odd.AFFINE))
    assert not valid[7, 6, 5] and valid[7, 6, 6]
    assert np.isfinite(mean).all()


@pytest.mark.parametrize(
    ("unit", "tr"), [("msec", 2000.0), ("unknown", 2000.0), ("usec", 2e6), ("sec", 0.0)]
)
def test_a_tr_of_the_header_in_another_unit(bids: Path, unit: str, tr: float) -> None:
    odd.save(odd.head(), bids / odd.BOLD, time_unit=unit, tr=tr)
    assert subject_of(bids).runs[0].repetition_time == odd.TR


def test_a_tr_of_the_header_said_to_be_seconds(bids: Path) -> None:
    odd.save(odd.head(), bids / odd.BOLD, tr=2000.0)
    assert "has a TR of 2000 s in its header but 2 s in its sidecar" in refusal(bids)


# Spikes


@pytest.mark.parametrize("volume", [0, 8, 23])
@pytest.mark.parametrize("packed", [True, False])
def test_one_hot_voxel_changes_nothing_but_itself(
    bids: Path, tmp_path: Path, volume: int, packed: bool
) -> None:
    bold = bids / odd.BOLD
    if not packed:
        bold.unlink()
        bold = bold.with_suffix("")
    odd.save(odd.head(), bold, np.int32)
    assert subject_of(bids).noticed == ()
    before = _values(bold, tmp_path / "before")
    odd.save(odd.with_spike(3e6, volume), bold, np.int32)
    assert subject_of(bids).noticed == (
        f"spikes in volume {volume + 1} of {bold.name} (1 value, up to 3e+06, more than 20 times "
        "bright tissue) are interpolated from the volumes before and after",
    )
    after = _values(bold, tmp_path / "after")
    elsewhere = np.ones(odd.SHAPE[:3], dtype=bool)
    elsewhere[4:11, 3:10, 2:9] = False
    assert np.abs(after - before)[elsewhere].max() < 1
    assert np.abs(after - before).max() < 60


def test_ordinary_values_are_not_touched(bids: Path) -> None:
    run = open_time_series(bids / odd.BOLD)
    volumes = run.volumes().without_spikes()
    assert not volumes.is_mended
    assert np.array_equal(volumes.stored, odd.head())
    # A bright vessel, and a volume that is bright as a whole.
    odd.save(odd.with_spike(15000), bids / odd.BOLD)
    assert not open_time_series(bids / odd.BOLD).volumes().without_spikes().is_mended
    bright = odd.head()
    bright[..., 3] *= 1000
    odd.save(bright, bids / odd.BOLD, np.int32)
    assert not open_time_series(bids / odd.BOLD).volumes().without_spikes().is_mended
    assert subject_of(bids).noticed == ()


def test_spm_gets_a_copy_without_spikes(bids: Path, tmp_path: Path) -> None:
    raw = odd.save(odd.with_spike(-3e6), tmp_path / "raw.nii", np.int32)
    odd.change_header(raw, odd.fields(scl_slope=2.0, scl_inter=10.0))
    copy = tmp_path / "copy.nii"
    copy.symlink_to(raw)
    content = raw.read_bytes()
    mend_spikes(copy)
    assert raw.read_bytes() == content and not copy.is_symlink()
    repaired = nib.load(copy)
    assert repaired.get_data_dtype() == np.int32 and np.array_equal(repaired.affine, odd.AFFINE)
    expected = odd.head()
    expected[7, 6, 5, 8] = np.rint(expected[7, 6, 5, [7, 9]].mean())
    assert np.array_equal(np.asarray(repaired.dataobj), 2 * expected + 10)
    mend_spikes(copy)
    ordinary = tmp_path / "ordinary.nii"
    ordinary.symlink_to(copy)
    mend_spikes(ordinary)
    assert ordinary.is_symlink()


def test_spikes_of_fmriprep_are_said_and_left(bids: Path, fmriprep: Path, tmp_path: Path) -> None:
    bold = fmriprep / odd.FMRIPREP["bold"]
    values = odd.with_spike(3e6)
    values[0, 0, 0, 5] = np.nan  # no data
    odd.save(values, bold, np.float32)
    assert subject_of(bids, Reading(derivatives_dir=fmriprep)).noticed == (
        f"spikes in volume 9 of {bold.name} (1 value, up to 3e+06, more than 20 times bright "
        "tissue) are left in, as preprocessed runs are not changed",
    )
    run = open_time_series(odd.save(odd.with_spike(3e6), tmp_path / "run.nii", np.float32))
    clean = open_time_series(odd.save(odd.head(), tmp_path / "clean.nii", np.float32))
    spiky, usual = temporal_snr(run), temporal_snr(clean)
    assert spiky[7, 6, 5] < 1 < usual[7, 6, 5]


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("what", ["raw", "fmriprep"])
def test_demeaned_runs_are_refused(bids: Path, fmriprep: Path, dtype: Any, what: str) -> None:
    is_raw = what == "raw"
    file = bids / odd.SECOND_BOLD if is_raw else fmriprep / odd.FMRIPREP["bold"]
    reading = None if is_raw else Reading(derivatives_dir=fmriprep)
    values = odd.head()
    for demeaned in (values - values.mean(axis=-1, keepdims=True), -values):
        odd.save(np.rint(demeaned) if dtype is np.int16 else demeaned, file, dtype)
        sentence = refusal(bids, reading)
        assert sentence.startswith(f"{file} has a mean over time of ")
        assert sentence.endswith("give images that are not demeaned or filtered")


# Slice times


@pytest.mark.parametrize("late", [2.0005, -0.0005])
def test_slice_times_outside_the_volume_by_rounding(
    bids: Path, tmp_path: Path, late: float
) -> None:
    times = [late, *odd.SLICE_TIMES[1:]]
    (bids / odd.SIDECAR).write_text(json.dumps({"RepetitionTime": odd.TR, "SliceTiming": times}))
    (run,) = subject_of(bids).runs[:1]
    out = tmp_path / "out.nii"
    correct_slice_timing(run.bold, out, run.slice_times, run.slice_axis, run.repetition_time)
    assert nib.load(out).shape == odd.SHAPE
    ms = slice_times_ms([*run.slice_times], "k", run.repetition_time, odd.SHAPE, run.bold)
    assert min(ms) >= 0 and max(ms) <= 2000


@pytest.mark.parametrize("late", [2.005, -0.005])
def test_slice_times_outside_the_volume(bids: Path, tmp_path: Path, late: float) -> None:
    times = [late, *odd.SLICE_TIMES[1:]]
    (bids / odd.SIDECAR).write_text(json.dumps({"RepetitionTime": odd.TR, "SliceTiming": times}))
    assert "they must be seconds (not ms) from 0 up to the TR; correct SliceTiming" in refusal(bids)
    for step in (
        lambda: correct_slice_timing(bids / odd.BOLD, tmp_path / "out.nii", times, "k", odd.TR),
        lambda: slice_times_ms(times, "k", odd.TR, odd.SHAPE, bids / odd.BOLD),
    ):
        with pytest.raises(InputError, match="from 0 up to the TR"):
            step()


@pytest.fixture
def without_slice_times(bids: Path) -> Path:
    (bids / odd.SIDECAR).write_text(json.dumps({"RepetitionTime": odd.TR}))
    return bids


def test_the_way_out_without_slice_times_is_named(without_slice_times: Path) -> None:
    assert refusal(without_slice_times) == (
        f"{without_slice_times / odd.BOLD} has no SliceTiming: add it, in seconds, to "
        f"{without_slice_times / odd.SIDECAR}, or give --ignore slicetiming to skip slice timing "
        "correction"
    )


def test_a_tr_is_needed_all_the_same(without_slice_times: Path) -> None:
    (without_slice_times / odd.SIDECAR).write_text("{}")
    assert "has no RepetitionTime" in refusal(without_slice_times, NO_SLICE_TIMES)


@pytest.mark.parametrize("engine", ["python", "spm"])
def test_without_slice_timing_the_step_is_left_out_and_said(
    without_slice_times: Path, tmp_path: Path, engine: str
) -> None:
    subject = subject_of(without_slice_times, NO_SLICE_TIMES)
    assert [run.slice_times for run in subject.runs] == [(), ()]
    config = replace(CONFIG, glm=replace(CONFIG.glm, slice_time_reference=0.0))
    workflow = init_participant_wf(
        subject, example_settings(config, ParticipantOptions(engine=engine))
    )
    assert not [name for name in workflow.list_node_names() if "slice_timing" in name]
    realign = workflow.get_node("preprocessing_wf.realign")
    assert realign.inputs.uses_up_inputs is False
    betas = workflow.get_node("derivatives_wf.save_betas_standard").inputs.metadata[0]
    assert betas["Estimation"]["SliceTimingCorrected"] is False
    assert betas["Estimation"]["SliceTimeReference"] == 0.5
    for tsnr in workflow.get_node("quality_wf.save_tsnr").inputs.metadata:
        assert tsnr["SliceTimingCorrected"] is False and "StartTime" not in tsnr
    options = ParticipantOptions(engine=engine)  # type: ignore[arg-type]
    names = [step.name for step in forecast_subject(subject, options, tmp_path).steps]
    assert names[:2] == ["realignment", "coregistration"]


def test_compressed_runs_are_unpacked_once(
    bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = [bids / odd.BOLD, bids / odd.SECOND_BOLD]
    contents = [file.read_bytes() for file in raw]
    opened: list[Path] = []

    def see(run: TimeSeries) -> Volumes:
        opened.append(run.path)
        return read(run)

    read = TimeSeries.volumes
    (tmp_path / "expected").mkdir()
    expected = realign_files(raw, tmp_path / "expected")
    monkeypatch.setattr(TimeSeries, "volumes", see)
    (tmp_path / "step").mkdir()
    outputs = Realign(in_files=raw).run(cwd=str(tmp_path / "step")).outputs
    assert opened and all(path.suffix == ".nii" and not path.exists() for path in opened)
    assert [file.read_bytes() for file in raw] == contents
    for by_step, by_function in zip(outputs.out_files, expected.runs, strict=True):
        assert Path(by_step).name == by_function.name
        assert Path(by_step).read_bytes() == by_function.read_bytes()
    assert len(list((tmp_path / "step").iterdir())) == len(list(expected.mean.parent.iterdir()))


def test_with_slice_timing_the_raw_files_are_not_taken_by_realignment(bids: Path) -> None:
    settings = replace(example_settings(CONFIG, ParticipantOptions()), keep_work=False)
    workflow = init_participant_wf(subject_of(bids), settings)
    assert workflow.get_node("preprocessing_wf.realign").inputs.uses_up_inputs is True


def test_slice_times_that_are_there_are_ignored_too(bids: Path) -> None:
    (bids / odd.SIDECAR).write_text(json.dumps({"RepetitionTime": odd.TR, "SliceTiming": ["x"]}))
    assert "give --ignore slicetiming" in refusal(bids)
    assert not subject_of(bids, NO_SLICE_TIMES).has_corrected_slices


def test_ignoring_is_of_the_participant_level(
    without_slice_times: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(without_slice_times), str(tmp_path / "out")]
    ignore = ["--dataset-config", "demo", "--ignore", "slicetiming"]
    assert main([*arguments, "group", *ignore]) == 2
    assert "--ignore belongs to the participant level" in capsys.readouterr().err
    main([*arguments, "participant", *ignore, "--skip-bids-validation", "--dry-run"])
    said = capsys.readouterr().out
    assert "SliceTiming" not in said and "step realignment" in said
    assert "step slice timing" not in said
    graph = ["graph", str(tmp_path / "graph.dot"), "--bids-dir", str(without_slice_times)]
    assert main([*graph, *ignore]) == 0
    assert "slice_timing" not in (tmp_path / "graph.dot").read_text()
