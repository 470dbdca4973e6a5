"""The brain in a T1w image: found, told by a stripped image, supplied, or refused."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine, from_matvec
from planted_heads import BRAIN_CENTRE, demo_head, dice, head, t1w

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.interfaces.numerics import brain_mask
from conceptrsa.interfaces.numerics.brain_mask import find_brain, require_network, take_brain_mask
from conceptrsa.interfaces.numerics.normalization import normalize
from conceptrsa.interfaces.numerics.registration_search import image_data
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.transforms import rigid_matrix
from conceptrsa.interfaces.python.masks import T1wBrainMask
from conceptrsa.pipelines.bids.subject_files import find_t1w_mask


def stripped(background: float = 0.0) -> nib.Nifti1Image:
    """The template without its skull, on a constant background."""
    parts = head()
    data = np.where(parts.brain, 500 * parts.t1 + 1 + background, background)
    return nib.Nifti1Image(data.astype(np.float32), parts.affine)


def saved(image: nib.Nifti1Image, file: Path) -> nib.Nifti1Image:
    """The same image, with a name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, file)
    return nib.load(file)


def as_image(mask: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    return nib.Nifti1Image(mask.astype(np.uint8), affine)


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a package were not installed."""
    found = brain_mask.find_spec
    monkeypatch.setattr(
        brain_mask, "find_spec", lambda name: None if name == package else found(name)
    )


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: nib.Nifti1Image) -> np.ndarray:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(brain_mask, "_by_network", refuse)


def network_finds(monkeypatch: pytest.MonkeyPatch, mask: np.ndarray) -> None:
    monkeypatch.setattr(brain_mask, "_by_network", lambda _: mask)


# --- Found


@pytest.mark.parametrize("background", [0.0, -1000.0, 30.0])
def test_a_stripped_image_shows_its_brain(background: float, no_network: None) -> None:
    found = find_brain(stripped(background))
    assert np.array_equal(found.mask, head().brain)
    assert "without skull" in found.method and found.warnings == ()
    assert found.volume_ml == pytest.approx(head().brain.sum() * 8 / 1000)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_does_no_harm(value: float, no_network: None) -> None:
    """In the background and well inside the brain, where it counts as 0."""
    data = np.array(stripped().dataobj)
    inside = tuple(np.argwhere(head().brain).mean(axis=0).astype(int))
    data[0, 0, 0] = data[inside] = value
    image = nib.Nifti1Image(data, head().affine)
    assert np.isfinite(image_data(image)).all()
    assert image_data(image)[inside] == image_data(image)[0, 0, 0] == 0
    assert np.array_equal(find_brain(image).mask, head().brain)


@pytest.mark.slow
def test_the_brain_of_a_head_with_skull_and_neck_is_found() -> None:
    planted = demo_head()
    data = np.asarray(planted.t1w.dataobj, dtype=np.float32).copy()
    data[:3, :3, :3], data[-3:, -3:, -3:] = np.nan, np.inf
    found = find_brain(nib.Nifti1Image(data, planted.t1w.affine))
    assert dice(found.mask, planted.brain) > 0.93
    assert "network" in found.method and found.warnings == ()


def test_the_network_gives_the_same_mask_however_many_threads_there_are() -> None:
    torch = pytest.importorskip("torch")
    image = t1w(np.random.default_rng(2))
    threads = torch.get_num_threads()
    try:
        masks = []
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            masks.append(find_brain(image).mask)
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(*masks)
    assert dice(masks[0], head().brain) > 0.93


@pytest.mark.slow
def test_where_the_network_errs_the_template_is_brought_to_the_whole_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(5)
    planted = rigid_matrix(np.array([5.0, -4, 3]), np.array([0.05, 0.03, -0.06]), BRAIN_CENTRE)
    image = t1w(generator, planted, skull=False)
    network_finds(monkeypatch, np.arange(image.shape[0])[:, None, None] < np.full(image.shape, 9))
    found = find_brain(image)
    assert dice(found.mask, head().brain) > 0.93
    assert found.method.startswith("the template's mask")
    (warning,) = found.warnings
    assert "network's brain mask was not used" in warning and "width" in warning


# --- Refused


def phantom(kind: str) -> nib.Nifti1Image:
    """What is no head, on voxels of 3 mm."""
    rng = np.random.default_rng(0)
    affine = from_matvec(3 * np.eye(3), [-96, -96, -96])
    shape = (64, 64, 64)
    places = apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    noise = np.abs(rng.normal(size=shape))
    distance = np.linalg.norm(places, axis=-1)
    data = {
        "noise": noise,
        "small ball": 500 * (distance < 40) + 20 * noise,
        "ball of a brain's size": 500 * (distance < 75) + 20 * noise,
        "constant": np.ones(shape),
    }[kind]
    return nib.Nifti1Image(data.astype(np.float32), affine)


def half_a_head() -> nib.Nifti1Image:
    image = t1w(np.random.default_rng(5))
    data = np.array(image.dataobj)
    data[: data.shape[0] // 2] = 0
    return nib.Nifti1Image(data, image.affine)


NO_HEADS = {
    "noise": lambda: phantom("noise"),
    "small ball": lambda: phantom("small ball"),
    "ball of a brain's size": lambda: phantom("ball of a brain's size"),
    "constant": lambda: phantom("constant"),
    "half a head": half_a_head,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", NO_HEADS)
def test_what_is_no_head_is_refused_before_anything_comes_of_it(kind: str, tmp_path: Path) -> None:
    """By its mask, or where what the network sees in it is held against the template."""
    image = saved(NO_HEADS[kind](), tmp_path / "sub-01_T1w.nii")
    with pytest.raises(StepError) as refusal:
        normalize(image, find_brain(image).mask)
    assert "sub-01_T1w.nii" in str(refusal.value)
    assert kind == "constant" or "--t1w-mask" in str(refusal.value)


def test_where_nothing_helps_the_file_and_the_way_out_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(_: nib.Nifti1Image) -> None:
        raise StepError("no registration")

    image = saved(t1w(np.random.default_rng(0)), tmp_path / "sub-01_T1w.nii")
    network_finds(monkeypatch, np.zeros(image.shape, dtype=bool))
    monkeypatch.setattr(brain_mask, "normalize", fail)
    with pytest.raises(StepError, match=r"it is empty.*sub-01_T1w\.nii.*--t1w-mask"):
        find_brain(image)


def test_without_deepbet_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = brain_mask.find_spec
    monkeypatch.setattr(
        brain_mask, "find_spec", lambda name: None if name == "deepbet" else found(name)
    )
    with pytest.raises(InputError, match="pip install --no-deps deepbet") as refusal:
        find_brain(t1w(np.random.default_rng(0)))
    assert "--t1w-mask" in str(refusal.value)
    # A stripped image and a supplied mask need no network.
    assert find_brain(stripped()).volume_ml > 1000
    assert take_brain_mask(stripped(), as_image(head().brain, head().affine)).volume_ml > 1000


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("torch", "pip install torch"),
        ("fill_voids", "pip install fill-voids"),
        ("cc3d", "pip install connected-components-3d"),
    ],
)
def test_each_package_of_the_network_is_asked_for_by_its_name(
    package: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_network()
    found = brain_mask.find_spec
    monkeypatch.setattr(
        brain_mask, "find_spec", lambda name: None if name == package else found(name)
    )
    with pytest.raises(InputError, match=command):
        require_network()


# --- Supplied


def test_a_supplied_mask_of_another_grid_is_brought_to_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = head()
    image = t1w(np.random.default_rng(0))
    exact = take_brain_mask(image, as_image(parts.brain, parts.affine))
    assert np.array_equal(exact.mask, parts.brain)
    assert exact.warnings == ()
    turn = from_matvec(np.eye(3)[[2, 0, 1]])
    exchanged = as_image(parts.brain.transpose(1, 2, 0), parts.affine @ turn)
    assert np.array_equal(take_brain_mask(image, exchanged).mask, parts.brain)
    network_finds(monkeypatch, parts.brain)  # which was asked, and says the same again
    affine = from_matvec(1.3 * np.eye(3), [-95, -130, -80])
    fine = resample(
        parts.brain.astype(np.uint8), parts.affine, (150, 180, 150), affine, np.eye(4), "nearest"
    )
    assert dice(take_brain_mask(image, as_image(fine, affine)).mask, parts.brain) > 0.98


def test_a_mask_of_another_grid_that_lies_beside_the_brain_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By 14 mm: little else would show it."""
    parts = head()
    image = t1w(np.random.default_rng(0))
    network_finds(monkeypatch, parts.brain)
    aside = rigid_matrix(np.array([0.0, 14, 0]), np.zeros(3))
    (warning,) = take_brain_mask(image, as_image(parts.brain, aside @ parts.affine)).warnings
    assert "check that it is in the right place" in warning
    cut = as_image(parts.brain[:, :, :-1], parts.affine)
    assert take_brain_mask(image, cut).warnings == ()
    without("deepbet", monkeypatch)
    assert take_brain_mask(image, cut).warnings == ()


@pytest.mark.parametrize("form", ["4D", "probabilities", "stripped head with NaN"])
def test_a_supplied_mask_may_be_probabilities_or_a_stripped_head(form: str) -> None:
    parts = head()
    data = {
        "4D": parts.brain[..., None].astype(np.uint8),
        "probabilities": 0.25 + 0.5 * parts.brain,
        "stripped head with NaN": np.where(parts.brain, 500.0, np.nan),
    }[form]
    given = nib.Nifti1Image(data, parts.affine)
    assert np.array_equal(take_brain_mask(stripped(), given).mask, parts.brain)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("elsewhere", "it is empty"),
        ("half beside", "its .* is"),
        ("empty", "it is constant"),
        ("whole image", "its volume is"),
        ("in pieces", "of it is one connected component"),
        ("4D", "is not a 3D image"),
    ],
)
def test_what_is_no_mask_of_this_image_is_refused_by_its_name(
    case: str, said: str, tmp_path: Path
) -> None:
    brain, affine = head().brain, head().affine
    i, j, k = np.indices(brain.shape)
    masks = {
        "elsewhere": (brain, rigid_matrix(np.array([400.0, 0, 0]), np.zeros(3)) @ affine),
        "half beside": (brain, rigid_matrix(np.array([0.0, 130, 0]), np.zeros(3)) @ affine),
        "empty": (np.zeros_like(brain), affine),
        "whole image": (i + j + k > 0, affine),
        "in pieces": (brain & ((i // 8 + j // 8 + k // 8) % 2 == 0), affine),
        "4D": (np.stack([brain, brain], axis=-1), affine),
    }
    given = saved(as_image(*masks[case]), tmp_path / "sub-01_desc-brain_mask.nii.gz")
    with pytest.raises(StepError, match=rf"sub-01_desc-brain_mask\.nii\.gz.*{said}"):
        take_brain_mask(t1w(np.random.default_rng(0)), given)


def test_a_brain_that_the_border_cuts_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The uppermost 30 mm are missing: from a head with skull, and a supplied mask."""
    parts = head()
    top = np.flatnonzero(parts.brain.any(axis=(0, 1)))[-1] - 15
    image = t1w(np.random.default_rng(0)).slicer[:, :, :top]
    mask = parts.brain[:, :, :top]
    network_finds(monkeypatch, mask)
    supplied = take_brain_mask(image, as_image(parts.brain, parts.affine))
    for found in (find_brain(image), supplied):
        assert np.array_equal(found.mask, mask)
        (warning,) = found.warnings
        assert "the border of the image cuts through" in warning and "square cm" in warning
    square_cm = float(warning.split("through ")[1].split(" square")[0])
    assert square_cm == pytest.approx(mask[:, :, -1].sum() * 4 / 100, rel=0.2)


# --- The step


@pytest.mark.parametrize("whose", ["supplied", "FreeSurfer's", "the image's"])
def test_the_step_takes_the_mask_that_there_is(
    whose: str, no_network: None, tmp_path: Path
) -> None:
    """A supplied one goes before FreeSurfer's, and that before what the image shows."""
    parts = head()
    image = saved(stripped(), tmp_path / "T1w.nii")
    step = T1wBrainMask(t1w_file=image.get_filename())
    larger = {
        "supplied": np.roll(parts.brain, 1, axis=0),
        "FreeSurfer's": np.roll(parts.brain, 1, axis=1),
        "the image's": parts.brain,
    }
    if whose != "the image's":
        folder = tmp_path / "subjects" / "sub-01"
        brain = larger["FreeSurfer's"] * np.float32(110)
        saved(nib.MGHImage(brain, parts.affine), folder / "mri" / "brainmask.mgz")
        step.inputs.fs_subject_dir = str(folder)
        assert step.files_read() == [folder / "mri" / "brainmask.mgz"]
    if whose == "supplied":
        given = saved(as_image(larger["supplied"], parts.affine), tmp_path / "mask.nii.gz")
        step.inputs.supplied_file = given.get_filename()
    outputs = step.run(cwd=str(tmp_path)).outputs
    mask = nib.load(outputs.mask_file)
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_allclose(mask.affine, image.affine)
    assert np.array_equal(np.asarray(mask.dataobj) > 0, larger[whose])
    report = json.loads(Path(outputs.report_file).read_text())
    assert set(report) == {"method", "volume_ml", "warnings"}
    said = {"supplied": "mask.nii.gz", "FreeSurfer's": "brainmask.mgz", "the image's": "skull"}
    assert said[whose] in report["method"]


def test_a_folder_without_freesurfers_mask_is_none(no_network: None, tmp_path: Path) -> None:
    image = saved(stripped(), tmp_path / "T1w.nii")
    step = T1wBrainMask(t1w_file=image.get_filename(), fs_subject_dir=str(tmp_path))
    assert step.files_read() == []
    report = json.loads(Path(step.run(cwd=str(tmp_path)).outputs.report_file).read_text())
    assert "without skull" in report["method"]


# --- Which file belongs to which subject


def make_files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """T1w images of two subjects, the second of two sessions."""
    make_files(
        tmp_path / "bids",
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii.gz",
        "sub-02/ses-b/anat/sub-02_ses-b_T1w.nii.gz",
    )
    return tmp_path / "bids"


def test_a_file_is_that_of_its_subject(raw: Path, tmp_path: Path) -> None:
    make_files(tmp_path / "masks", "sub-01.nii.gz", "sub-02.nii.gz")
    of_first = raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    pattern = tmp_path / "masks" / "sub-{subject}.nii.gz"
    assert find_t1w_mask(pattern, "01", of_first) == tmp_path / "masks" / "sub-01.nii.gz"
    named = tmp_path / "masks" / "sub-01.nii.gz"
    assert find_t1w_mask(named, "01", of_first) == named
    with pytest.raises(InputError, match=r"sub-03\.nii\.gz is missing.*\{subject\}"):
        find_t1w_mask(pattern, "03", of_first)


def test_one_file_for_several_subjects_is_refused(raw: Path, tmp_path: Path) -> None:
    make_files(tmp_path, "mask.nii.gz")
    of_first = raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    with pytest.raises(InputError, match=r"one file but .* write \{subject\}"):
        find_t1w_mask(tmp_path / "mask.nii.gz", "01", of_first)
    alone = tmp_path / "alone"
    make_files(alone, "sub-01/anat/sub-01_T1w.nii.gz")
    of_alone = alone / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    assert find_t1w_mask(tmp_path / "mask.nii.gz", "01", of_alone) == tmp_path / "mask.nii.gz"


def test_a_folder_of_derivatives_has_the_mask_of_the_image(raw: Path, tmp_path: Path) -> None:
    masks = tmp_path / "derivatives"
    make_files(
        masks,
        "sub-01/anat/sub-01_desc-brain_mask.nii.gz",
        "sub-01/anat/sub-01_desc-brain_mask.json",
        "sub-01/anat/sub-01_space-MNI152_desc-brain_mask.nii.gz",
        "sub-01/func/sub-01_task-rest_desc-brain_mask.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_desc-brain_mask.nii.gz",
        "sub-02/ses-b/anat/sub-02_ses-b_desc-brain_mask.nii.gz",
    )
    first = find_t1w_mask(masks, "01", raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    assert first == masks / "sub-01" / "anat" / "sub-01_desc-brain_mask.nii.gz"
    for session in ("a", "b"):
        stem = f"sub-02_ses-{session}"
        image = raw / "sub-02" / f"ses-{session}" / "anat" / f"{stem}_T1w.nii.gz"
        found = find_t1w_mask(masks, "02", image)
        assert found.name == f"{stem}_desc-brain_mask.nii.gz"
    of_another = raw / "sub-02" / "ses-c" / "anat" / "sub-02_ses-c_T1w.nii.gz"
    with pytest.raises(InputError, match=r"has no brain mask of sub-02_ses-c_T1w\.nii\.gz"):
        find_t1w_mask(masks, "02", of_another)
    third = raw / "sub-03" / "anat" / "sub-03_T1w.nii.gz"
    with pytest.raises(InputError, match=r"add anat/sub-03_desc-brain_mask\.nii\.gz"):
        find_t1w_mask(masks, "03", third)


def test_a_mask_of_an_epi_is_none_of_the_anatomy(raw: Path, tmp_path: Path) -> None:
    masks = tmp_path / "derivatives"
    make_files(masks, "sub-01/func/sub-01_task-rest_desc-brain_mask.nii.gz")
    of_first = raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    with pytest.raises(InputError, match=r"has no brain mask of sub-01_T1w\.nii\.gz"):
        find_t1w_mask(masks, "01", of_first)


def test_masks_that_could_both_be_meant_are_refused(raw: Path, tmp_path: Path) -> None:
    masks = tmp_path / "derivatives"
    make_files(
        masks,
        "sub-02/anat/sub-02_desc-brain_mask.nii.gz",
        "sub-02/ses-a/anat/sub-02_desc-brain_mask.nii.gz",
    )
    image = raw / "sub-02" / "ses-a" / "anat" / "sub-02_ses-a_T1w.nii.gz"
    with pytest.raises(InputError, match=r"has 2 brain masks that match sub-02_ses-a_T1w"):
        find_t1w_mask(masks, "02", image)


def test_an_image_that_fmriprep_made_has_the_mask_beside_it(tmp_path: Path) -> None:
    make_files(
        tmp_path,
        "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz",
        "sub-01/anat/sub-01_desc-brain_mask.nii.gz",
        "sub-01/anat/sub-01_run-2_desc-brain_mask.nii.gz",
    )
    image = tmp_path / "sub-01" / "anat" / "sub-01_desc-preproc_T1w.nii.gz"
    found = find_t1w_mask(tmp_path, "01", image)
    assert found.name == "sub-01_desc-brain_mask.nii.gz"
