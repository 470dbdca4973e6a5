"""Regions appear where they are: in the volume, on slices and on the cortex."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from figure_cases import FIVE, WHOLES, drawn, notes_of, result_of
from nibabel.affines import apply_affine
from scipy import ndimage

from conceptrsa.analysis.betas.volumes import Grid
from conceptrsa.analysis.brain.patterns import RoiPatterns, SubjectPatterns, VoxelGrid
from conceptrsa.analysis.brain.region_map import RegionMap, labels_at, region_map
from conceptrsa.analysis.output.figures import brain_maps
from conceptrsa.analysis.output.figures.all_figures import figure_names
from conceptrsa.analysis.output.figures.appearance import APPEARANCES, IN_REPORT
from conceptrsa.analysis.output.figures.style import View
from conceptrsa.analysis.output.leading_models import LeadingModel, leading_models
from conceptrsa.analysis.output.region_volumes import (
    NO_SCORE,
    read_region_volumes,
    write_best_model_volumes,
    write_region_volumes,
)
from conceptrsa.bids_config.image_spaces import MNI305_TO_MNI152
from conceptrsa.bids_config.tsv import read_table

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


def test_one_subject_or_one_atlas_gives_its_own_voxels() -> None:
    voxels = np.array([1, 5, 900])
    for n in (1, 3):
        found = region_map([subject(f"{i}", {"roi": voxels}, MNI152) for i in range(n)])
        assert found is not None
        np.testing.assert_array_equal(found.voxels["roi"], voxels)


def test_regions_that_differ_give_their_mean_size_and_place() -> None:
    sizes, shifts = (8, 9, 10, 9), ((-4, 0, 0), (4, 0, 0), (0, 4, 0), (0, -4, 0))
    balls = [
        ball(tuple(np.add(CALCARINE, shift)), size)
        for size, shift in zip(sizes, shifts, strict=True)
    ]
    found = region_map([subject(f"{i}", {"roi": of}, MNI152) for i, of in enumerate(balls)])
    assert found is not None
    of_group = found.voxels["roi"]
    assert len(of_group) == round(np.mean([len(of) for of in balls]))
    places = np.stack(np.unravel_index(of_group, MNI152.shape), axis=-1)
    middle = places.mean(axis=0) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    np.testing.assert_allclose(middle, CALCARINE, atol=0.7)
    # What all share is in it, and it is in one piece, as each of them is.
    assert set.intersection(*map(set, balls)) <= set(of_group)
    assert ndimage.label(found.labels(["roi"]))[1] == 1


def test_a_region_without_a_voxel_that_two_share_is_there() -> None:
    subjects = [subject(f"{i}", {"roi": np.array([i, 50 + i])}, MNI152) for i in range(5)]
    found = region_map(subjects)
    assert found is not None and len(found.voxels["roi"]) == 2


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
def test_a_region_is_on_the_cortex_at_its_place(space: str) -> None:
    """The two spaces are 2.6 mm apart there: neither the other one nor the inverse would pass."""
    grid = replace(MNI152, space=space)
    labels = RegionMap(grid, {"left": ball(CALCARINE, 9, grid)}).labels(["left"])
    for side in ("left", "right"):
        surface = brain_maps._surface(side)
        found = brain_maps.labels_on_surface(surface, labels, grid) == 1
        assert found.any() == (side == "left")
        points = surface.white + brain_maps.DEPTHS[:, None, None] * (surface.pial - surface.white)
        if space == "MNI152":
            points = apply_affine(MNI305_TO_MNI152, points)
        second = np.sort(np.linalg.norm(points - CALCARINE, axis=-1), axis=0)[1]
        assert found[second < 9 - 1.8].all()
        assert not found[second > 9 + 1.8].any()


def test_the_medial_wall_is_no_cortex() -> None:
    surface = brain_maps._surface("left")
    everywhere = np.ones(MNI152.shape, dtype=int)
    found = brain_maps.labels_on_surface(surface, everywhere, MNI152)
    assert 0.02 < (found == 0).mean() < 0.08


def test_regions_of_both_kinds_reach_the_cortex() -> None:
    view = mapped()
    region_map = view.result.region_map
    assert region_map is not None
    first = view.rois[0]
    halves = {f"{first.roi}-{side}": region_map.voxels[first.roi] for side in ("left", "right")}
    halves |= {f"deep{i}-left": ball((12.0, -18, 8), 4) for i in range(4)}
    both = replace(region_map, voxels={**region_map.voxels, **halves})
    assert brain_maps.reaches_cortex(replace(view, result=replace(view.result, region_map=both)))


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


def test_names_of_models_and_regions_are_in_the_legend() -> None:
    view = mapped()
    best = leading_models(view.result)
    labels = [handle.get_label() for handle in brain_maps._colours(view).handles]
    assert sorted(name for label in labels for name in label.split(": ")[1].split(", ")) == sorted(
        roi.roi for roi in view.rois
    )
    for roi, one in best.items():
        assert any(label.startswith(f"{one.model}: ") and roi in label for label in labels)


@pytest.mark.parametrize("draw", [brain_maps.draw_brain_slices, brain_maps.draw_brain_surface])
def test_a_region_without_a_related_model_is_white_and_said(
    draw: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = mapped()
    there = leading_models(view.result)
    lacking = view.rois[0].roi
    monkeypatch.setattr(
        brain_maps, "leading_models", lambda _: {n: one for n, one in there.items() if n != lacking}
    )
    colours = brain_maps._colours(view)
    np.testing.assert_array_equal(colours.models[1], 1)
    assert colours.handles[-1].get_label() == f"{NO_SCORE}: {lacking}"
    assert drawn(draw, view).legends


def test_many_best_models_leave_a_legend_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    view = mapped()
    rois = tuple(replace(view.rois[0], roi=f"r{i}") for i in range(40))
    best = {roi.roi: LeadingModel(f"model {min(i, 20)}", 0.1) for i, roi in enumerate(rois)}
    monkeypatch.setattr(brain_maps, "leading_models", lambda _: best)
    labels = [
        handle.get_label() for handle in brain_maps._colours(replace(view, rois=rois)).handles
    ]
    assert len(labels) == len(brain_maps.PALETTE)
    assert labels[0] == "model 20: 20 of 40 regions"
    assert labels[-1] == "others: 12 of 40 regions"


def test_regions_that_are_not_seen_are_named() -> None:
    view = mapped()
    region_map = view.result.region_map
    assert region_map is not None
    voxels = dict(region_map.voxels)
    large, small = (roi.roi for roi in view.rois[:2])
    # As large, and drawn later.
    voxels[small] = voxels[large]
    result = replace(view.result, region_map=replace(region_map, voxels=voxels))
    notes = notes_of(drawn(brain_maps.draw_brain_slices, replace(view, result=result)))
    assert f"Not seen, between the slices or under smaller regions: {large}." in notes


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


def test_best_models_are_volumes(tmp_path: Path) -> None:
    result = mapped().result
    names = [roi.roi for roi in result.rois]
    write_best_model_volumes(result, names, tmp_path)
    labels = nib.load(tmp_path / "space-MNI152_desc-bestmodel_dseg.nii.gz")
    scores = nib.load(tmp_path / "space-MNI152_stat-rsa_desc-bestmodel_statmap.nii.gz")
    np.testing.assert_array_equal(labels.affine, AFFINE)
    table = read_table(tmp_path / "space-MNI152_desc-bestmodel_dseg.tsv")
    models = dict(zip(table.column("index"), table.column("name"), strict=True))
    assert result.region_map is not None
    for name, one in leading_models(result).items():
        place = np.unravel_index(result.region_map.voxels[name][0], MNI152.shape)
        assert models[str(int(labels.dataobj[place]))] == one.model
        assert float(scores.dataobj[place]) == pytest.approx(one.rsa)
    assert np.isnan(scores.get_fdata()).sum() == (np.asarray(labels.dataobj) == 0).sum()
    write_best_model_volumes(replace(result, region_map=None), names, tmp_path)
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize("name", ["paper", "slides", "report"])
def test_slices_are_never_stretched(name: str) -> None:
    view = replace(mapped(), appearance=APPEARANCES[name])
    figure = drawn(brain_maps.draw_brain_slices, view)
    width, height = figure.get_size_inches()
    shapes = [
        box.width * width / (box.height * height)
        for axes in figure.axes
        if axes.images and axes.get_title().startswith("z")
        for box in [axes.get_position()]
    ]
    mm = np.ptp(brain_maps.X_RANGE) / np.ptp(brain_maps.Y_RANGE)
    np.testing.assert_allclose(shapes, mm, rtol=0.01)


@pytest.mark.parametrize(
    ("shape", "name"),
    [((10242, 1, 1), "space-fsaverage_beta.nii.gz"), ((64, 4, 40), "hemi-L_space-fsaverage.mgz")],
)
def test_a_surface_is_no_volume(shape: tuple[int, int, int], name: str) -> None:
    assert Grid(shape, np.eye(4), Path(f"sub-01_{name}")).in_standard_space() is None


def test_regions_under_smaller_ones_are_not_drawn() -> None:
    view = mapped()
    voxels = ball(CALCARINE, 5)
    names = [roi.roi for roi in view.rois]
    hidden = RegionMap(MNI152, {names[0]: np.empty(0, dtype=np.intp), names[1]: voxels})
    first = replace(view.result, region_map=hidden)
    only = replace(IN_REPORT, regions=(names[0],))
    assert not [name for name in figure_names(first, only) if "brain" in name]
