"""Regions appear where they are: in the volume, on slices and on the cortex."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from figure_cases import FIVE, WHOLES, drawn, result_of

from conceptrsa.analysis.brain.patterns import RoiPatterns, SubjectPatterns, VoxelGrid
from conceptrsa.analysis.brain.region_map import RegionMap, labels_at, region_map
from conceptrsa.analysis.output.figures import brain_maps
from conceptrsa.analysis.output.figures.all_figures import figure_names
from conceptrsa.analysis.output.figures.style import View
from conceptrsa.analysis.output.region_volumes import read_region_volumes, write_region_volumes

AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
"""Voxels run to the left, as in many templates."""

MNI152 = VoxelGrid((91, 109, 91), AFFINE, "MNI152")
CALCARINE = (-8.0, -84.0, 4.0)
"""Of the left visual cortex."""


def ball(centre: tuple[float, float, float], radius: float, grid: VoxelGrid = MNI152) -> np.ndarray:
    """Flat indices of the voxels around a place (mm)."""
    places = np.indices(grid.shape).reshape(3, -1).T @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return np.flatnonzero(np.linalg.norm(places - centre, axis=1) <= radius)


def subject(label: str, voxels: dict[str, np.ndarray], grid: VoxelGrid | None) -> SubjectPatterns:
    rois = {name: RoiPatterns(np.ones((3, len(of))), of) for name, of in voxels.items()}
    return SubjectPatterns(label, ("a", "b", "c"), rois, grid=grid)


def test_a_voxel_is_of_a_region_in_half_of_the_subjects() -> None:
    seen = {"01": [1, 2, 3], "02": [2, 3], "03": [3, 4]}
    subjects = [subject(name, {"roi": np.array(of)}, MNI152) for name, of in seen.items()]
    found = region_map(subjects)
    assert found is not None
    np.testing.assert_array_equal(found.voxels["roi"], [2, 3])


@pytest.mark.parametrize(
    "other", [None, replace(MNI152, space="MNI305"), replace(MNI152, shape=(91, 109, 92))]
)
def test_without_a_common_grid_there_is_no_map(other: VoxelGrid | None) -> None:
    voxels = {"roi": np.array([1, 2])}
    assert region_map([subject("01", voxels, MNI152), subject("02", voxels, other)]) is None


def test_smaller_regions_lie_on_top() -> None:
    found = RegionMap(MNI152, {"small": np.array([5]), "large": np.array([4, 5, 6])})
    labels = found.labels(["small", "large"]).ravel()
    np.testing.assert_array_equal(labels[4:7], [2, 1, 2])


def test_labels_are_at_their_places_of_the_world() -> None:
    labels = RegionMap(MNI152, {"left": ball(CALCARINE, 3)}).labels(["left"])
    points = np.array([CALCARINE, (8.0, -84.0, 4.0), (500.0, 0, 0)])
    np.testing.assert_array_equal(labels_at(points, labels, MNI152), [1, 0, 0])


@pytest.mark.parametrize("space", ["MNI152", "MNI305"])
def test_a_region_is_on_the_cortex_near_its_place(space: str) -> None:
    grid = replace(MNI152, space=space)
    labels = RegionMap(grid, {"left": ball(CALCARINE, 9, grid)}).labels(["left"])
    for side in ("left", "right"):
        surface = brain_maps._surface(side)
        found = brain_maps.labels_on_surface(surface, labels, grid) == 1
        assert found.any() == (side == "left")
        middle = (surface.white + surface.pial)[found] / 2
        assert (np.linalg.norm(middle - CALCARINE, axis=1) < 13).all()


def test_slices_go_through_every_region() -> None:
    regions = {f"{z}": ball((20, -20, z), 4) for z in (-40, -10, 12, 50)}
    labels = RegionMap(MNI152, regions).labels(list(regions))
    heights = np.array(brain_maps.slices_through(labels, MNI152))
    assert len(heights) <= brain_maps.N_SLICES
    assert all(np.abs(heights - z).min() <= 2 for z in (-40, -10, 12, 50))


def mapped() -> View:
    result = result_of(FIVE, 5, WHOLES)
    names = [roi.roi for roi in result.rois]
    centres = [CALCARINE, (40.0, -50, -20), (-28, -20, -16), (26, -34, -14)]
    voxels = {name: ball(centre, 9) for name, centre in zip(names, centres, strict=False)}
    result = replace(result, region_map=RegionMap(MNI152, voxels))
    return View(result, result.primary, result.rois)


def test_left_is_left_on_slices() -> None:
    view = mapped()
    one = replace(view, rois=view.rois[:1])
    figure = drawn(brain_maps.draw_brain_slices, one)
    of_models = [axes for axes in figure.axes if axes.images and "z =" in axes.get_title()]
    pictures = {axes.get_title(): axes.images[0] for axes in of_models}
    colour = brain_maps._colours(one).models[1]
    picture = pictures["z = 4"]
    rows, columns = np.nonzero((np.asarray(picture.get_array()) == colour).all(axis=-1))
    left, _, bottom, _ = picture.get_extent()
    assert left + columns.mean() == pytest.approx(CALCARINE[0], abs=1.5)
    assert bottom + rows.mean() == pytest.approx(CALCARINE[1], abs=1.5)
    words = [text.get_text() for text in of_models[0].texts]
    assert words == ["L", "R"]


def test_figures_are_there_where_regions_have_a_place() -> None:
    view = mapped()
    names = figure_names(view.result)
    assert {"brain_slices", "brain_surface"} <= set(names)
    deep = {roi.roi: ball((12.0, -18, 8), 4) for roi in view.rois}
    in_depth = replace(view.result, region_map=RegionMap(MNI152, deep))
    assert "brain_surface" not in figure_names(in_depth)
    assert not [
        name for name in figure_names(replace(view.result, region_map=None)) if "brain" in name
    ]


def test_label_volumes_are_read_as_they_were_written(tmp_path: Path) -> None:
    regions = {"V1": ball(CALCARINE, 5), "V1-left": ball(CALCARINE, 3)}
    written = RegionMap(MNI152, regions)
    kinds = {"regions": ["V1"], "hemispheres": ["V1-left"]}
    write_region_volumes(written, kinds, tmp_path)
    assert (tmp_path / "space-MNI152_desc-regions_dseg.tsv").read_text() == "index\tname\n1\tV1\n"
    found = read_region_volumes(tmp_path)
    assert found is not None and found.grid.is_same(MNI152)
    for name, voxels in regions.items():
        np.testing.assert_array_equal(found.voxels[name], voxels)
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    write_region_volumes(written, kinds, tmp_path)
    assert first == {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    write_region_volumes(None, kinds, tmp_path)
    assert not list(tmp_path.iterdir())
