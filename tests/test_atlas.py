import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.affines import apply_affine
from nilearn.datasets import load_mni152_gm_template
from scipy.ndimage import map_coordinates

from conceptrsa.bids_config.desikan_killiany import desikan_killiany_mni152, region_names
from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.atlas import desikan_killiany_mni305
from conceptrsa.interfaces.python.rois import MNI305Rois, RoiCoverage


def volume_and_centre(image: nib.Nifti1Image, *labels: int) -> tuple[float, np.ndarray]:
    voxels = np.argwhere(np.isin(np.asarray(image.dataobj), labels))
    millilitres = len(voxels) * abs(np.linalg.det(image.affine[:3, :3])) / 1000
    return millilitres, apply_affine(image.affine, voxels.mean(axis=0))


def test_ids_and_names_are_those_of_freesurfer():
    _, names = desikan_killiany_mni152()
    assert len(names) == 83
    assert names[1011] == "ctx-lh-lateraloccipital"
    assert names[2021] == "ctx-rh-pericalcarine"
    assert names[1007] == "ctx-lh-fusiform"
    assert names[2016] == "ctx-rh-parahippocampal"
    assert (names[17], names[53]) == ("Left-Hippocampus", "Right-Hippocampus")
    assert names[1035] == "ctx-lh-insula"
    assert names == region_names()


@pytest.mark.parametrize("space", [desikan_killiany_mni152, desikan_killiany_mni305])
def test_regions_lie_where_they_belong(space):
    image, names = space()
    assert np.asarray(image.dataobj).dtype == np.int16
    assert set(np.unique(np.asarray(image.dataobj))) == {0, *names}
    for index, name in names.items():
        _, (x, _, _) = volume_and_centre(image, index)
        if "lh" in name or "Left" in name:
            assert x < 0, name
        elif "rh" in name or "Right" in name:
            assert x > 0, name
    assert volume_and_centre(image, 1021, 2021)[1][1] < -70
    assert volume_and_centre(image, 1032, 2032)[1][1] > 40
    assert volume_and_centre(image, 1017, 2017)[1][2] > 40
    assert volume_and_centre(image, 1007)[1][2] < volume_and_centre(image, 1009)[1][2] + 10


def test_volumes_are_those_of_a_brain():
    image, _ = desikan_killiany_mni305()
    for labels, low, high in (((17,), 3, 8), ((53,), 3, 8), ((1007,), 6, 16), ((16,), 15, 35)):
        assert low < volume_and_centre(image, *labels)[0] < high
    everything, _ = volume_and_centre(image, *region_names())
    assert 500 < everything < 1000


def test_hippocampus_keeps_its_place_between_the_spaces():
    before = volume_and_centre(desikan_killiany_mni152()[0], 17)[1]
    after = volume_and_centre(desikan_killiany_mni305()[0], 17)[1]
    np.testing.assert_allclose(after, apply_affine(mni305_grid.MNI152_TO_MNI305, before), atol=0.3)


def test_cortex_lies_in_the_grey_matter_of_the_template_to_a_tenth_of_a_mm():
    """The packaged header is off by half a voxel along each axis; moved by it, grey fits best."""
    image, _ = desikan_killiany_mni152()
    template = load_mni152_gm_template(resolution=1)
    grey = template.get_fdata(dtype=np.float32)
    cortex = apply_affine(image.affine, np.argwhere(np.asarray(image.dataobj) >= 1000))
    world_to_grey = np.linalg.inv(template.affine)

    def share_in_grey(shift: np.ndarray) -> float:
        voxels = apply_affine(world_to_grey, cortex + shift)
        return float(map_coordinates(grey, voxels.T, order=1).mean())

    here = share_in_grey(np.zeros(3))
    for axis in np.eye(3):
        behind, before = share_in_grey(-axis), share_in_grey(axis)
        assert here > max(behind, before) + 0.01
        best = 0.5 * (behind - before) / (behind - 2 * here + before)  # top of the parabola
        assert abs(best) < 0.1


def write_betas(folder, leftmost: float):
    """Betas without data at x below `leftmost` mm."""
    data = np.ones((*mni305_grid.SHAPE, 2), dtype=np.float32)
    x = apply_affine(mni305_grid.AFFINE, np.indices(mni305_grid.SHAPE).reshape(3, -1).T)[:, 0]
    data[x.reshape(mni305_grid.SHAPE) < leftmost] = np.nan
    nib.save(nib.Nifti1Image(data, mni305_grid.AFFINE), folder / "betas.nii")
    return str(folder / "betas.nii")


def test_steps_write_regions_and_their_coverage(tmp_path):
    found = MNI305Rois().run(cwd=str(tmp_path)).outputs
    labels = pd.read_csv(found.labels_file, sep="\t")
    assert list(labels.columns) == ["index", "name"]
    assert dict(zip(labels["index"], labels["name"], strict=True))[53] == "Right-Hippocampus"
    step = RoiCoverage(
        dseg_file=found.dseg_file,
        betas_file=write_betas(tmp_path, -27),
        rois=[("hippocampus-left", [17]), ("hippocampus-right", [53]), ("hippocampus", [17, 53])],
    )
    table = pd.read_csv(step.run(cwd=str(tmp_path)).outputs.coverage_file, sep="\t")
    table = table.set_index("roi")
    left = np.argwhere(np.asarray(nib.load(found.dseg_file).dataobj) == 17)
    n_covered = int((apply_affine(mni305_grid.AFFINE, left)[:, 0] >= -27).sum())
    assert table["n_voxels"].to_dict() == {
        "hippocampus-left": 881,
        "hippocampus-right": 813,
        "hippocampus": 881 + 813,
    }
    assert 0 < n_covered < 881
    assert table["n_covered"]["hippocampus-left"] == n_covered
    assert table["coverage"]["hippocampus-right"] == 1
    assert table["n_covered"]["hippocampus"] == n_covered + 813
    assert table["coverage"]["hippocampus"] == pytest.approx((n_covered + 813) / 1694, abs=1e-4)
    assert (table["distance_from_atlas_mm"] == 0).all()
    assert json.loads(Path(found.report_file).read_text()) == {}


def test_distance_from_the_packaged_atlas_is_that_of_the_centres(tmp_path):
    """A region 3, 2 and 1 voxels off is 7.48 mm off; one that the atlas does not have, n/a."""
    atlas, _ = desikan_killiany_mni305()
    moved = np.roll(np.asarray(atlas.dataobj), (3, 2, 1), axis=(0, 1, 2))
    moved[:2, :2, :2] = 9999
    nib.save(nib.Nifti1Image(moved, mni305_grid.AFFINE), tmp_path / "dseg.nii")
    step = RoiCoverage(
        dseg_file=str(tmp_path / "dseg.nii"),
        betas_file=write_betas(tmp_path, -1000),
        rois=[("fusiform", [1007, 2007]), ("lesion", [9999])],
    )
    table = pd.read_csv(step.run(cwd=str(tmp_path)).outputs.coverage_file, sep="\t")
    assert list(table.columns) == [
        "roi", "n_voxels", "n_covered", "coverage", "distance_from_atlas_mm",
    ]  # fmt: skip
    fusiform, lesion = table["distance_from_atlas_mm"]
    assert fusiform == pytest.approx(2 * np.sqrt(9 + 4 + 1), abs=0.01)
    assert np.isnan(lesion)


@pytest.mark.parametrize(
    ("region", "error"),
    [(("nowhere", [9999]), InputError), (("hippocampus-left", [17]), StepError)],
)
def test_region_without_voxels_or_without_data_is_refused(tmp_path, region, error):
    step = RoiCoverage(
        dseg_file=MNI305Rois().run(cwd=str(tmp_path)).outputs.dseg_file,
        betas_file=write_betas(tmp_path, 0),
        rois=[region],
    )
    with pytest.raises(error, match=region[0]):
        step.run(cwd=str(tmp_path))
