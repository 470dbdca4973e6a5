"""A demo's settings that take seconds instead of minutes, and the data set of several tests."""

from pathlib import Path

import nibabel as nib
import numpy as np
from nilearn.datasets import load_mni152_brain_mask
from PIL import Image

from conceptrsa.interfaces.numerics.resampling import resample_affine
from conceptrsa.pipelines.demo.demo_dataset import write_demo_dataset
from conceptrsa.pipelines.demo.demo_settings import PLANTED_ROIS, DemoSettings
from conceptrsa.pipelines.demo.truth import SubjectTruth

STIMULI = tuple(f"thing_{n:02d}" for n in range(12))
SUBJECTS = ("01", "02")


def small_settings(*, n_subjects: int = 1, n_runs: int = 2, seed: int = 0) -> DemoSettings:
    """Coarse and short."""
    return DemoSettings(
        n_subjects=n_subjects,
        n_runs=n_runs,
        seed=seed,
        bold_shape=(40, 46, 26),
        bold_voxel_mm=4.5,
        t1w_voxel_mm=3.0,
        n_one_backs=1,
        patch_fwhm_mm=4.5,
    )


def planted_features() -> dict[str, np.ndarray]:
    """Random features of the models that drive the regions."""
    rng = np.random.default_rng(5)
    return {roi.model: rng.standard_normal((len(STIMULI), 40)) for roi in PLANTED_ROIS.values()}


def write_small_demo(folder: Path) -> None:
    """Write `bids` and `truth` of two subjects of two runs, unless they are there."""
    settings = small_settings(n_subjects=len(SUBJECTS))
    write_demo_dataset(folder, planted_features(), STIMULI, settings)


def write_pictures(bids: Path) -> None:
    """Write a picture and a label of each stimulus into the data set."""
    rng = np.random.default_rng(3)
    pictures = bids / "stimuli"
    pictures.mkdir()
    for name in STIMULI:
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(pictures / f"{name}.png")
    labels = "".join(f"{name}\tcat number {row}\n" for row, name in enumerate(STIMULI))
    (pictures / "labels.tsv").write_text(f"stimulus\tlabel\n{labels}", encoding="utf-8")


def write_brain_mask(data: Path, reconstruction: Path) -> None:
    """Write FreeSurfer's mask of sub-01, by the template: no network has to find the brain."""
    t1w = nib.load(next(data.glob("bids/sub-01/**/*_T1w.nii.gz")))
    truth = SubjectTruth.read(data / "truth" / "sub-01.npz")
    template = load_mni152_brain_mask(resolution=2)
    to_template = np.linalg.inv(template.affine) @ truth.t1w_to_mni152 @ t1w.affine
    brain = resample_affine(np.asarray(template.dataobj, np.float32), to_template, t1w.shape) > 0.5
    mask = nib.MGHImage(110 * brain.astype(np.uint8), t1w.affine)
    nib.save(mask, reconstruction / "mri" / "brainmask.mgz")
