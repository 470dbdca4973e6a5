"""Regions where they are in the brain, coloured by their best model and by its score."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image, ImageDraw

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.brain.patterns import VoxelGrid
from conceptrsa.analysis.brain.region_map import RegionMap, labels_at
from conceptrsa.analysis.inference.findings import ALPHA
from conceptrsa.analysis.output.figures.captions import CAPTIONS, details_of, note
from conceptrsa.analysis.output.figures.sheet import Sheet, lay_out, title_room
from conceptrsa.analysis.output.figures.style import (
    FURTHER_COLOURS,
    MUTED_COLOUR,
    RSA_NAMES,
    SMALL,
    View,
    group_colours,
)
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.bids_config.image_spaces import MNI305_TO_MNI152

N_SLICES = 7
STEP = 1.0
"""Millimetres of a slice's pixel."""

X_RANGE, Y_RANGE, Z_RANGE = (-76.0, 76.0), (-112.0, 80.0), (-60, 80)
"""Millimetres that hold the head's brain."""

NEAR = 8.0
"""Millimetres around a slice that need no other slice."""

SLICE_WIDTH, SURFACE_WIDTH = 1.25, 1.45
NO_MODEL, OUTLINE = "#ffffff", "#222222"
SCORES = "viridis"
LEAST_ON_SURFACE = 0.5
"""Share of the regions that have to reach the cortex for it to be drawn."""

MOST_OUTLINED = 60
"""Of more regions, outlines would cover the cortex."""

PIXELS = 1000
"""Of the picture of a surface, before neighbouring pixels are joined."""

_X, _Y, _Z = np.eye(3)
VIEWS = {
    ("left", "lateral"): (-_Y, _Z),
    ("right", "lateral"): (_Y, _Z),
    ("left", "medial"): (_Y, _Z),
    ("right", "medial"): (-_Y, _Z),
    ("left", "ventral"): (-_X, _Y),
    ("right", "ventral"): (-_X, _Y),
}
"""What goes to the right and what up in a picture."""

DEPTHS = np.linspace(0.1, 0.9, 5)
"""Between white matter and pia."""


@dataclass(frozen=True)
class _Colours:
    """Colours (regions and none, 3) of the best model and of its score; the first is unused.

    Attributes
    ----------
    models, scores : ndarray
    handles : list of Artist
        Of the legend.
    norm : Normalize
        From scores to their colours.
    """

    models: Floats
    scores: Floats
    handles: list[Artist]
    norm: Normalize


def draw_brain_slices(view: View) -> Figure:
    """Draw axial slices; as few as show every region, if so many do."""
    region_map = _map_of(view)
    labels = region_map.labels([roi.roi for roi in view.rois])
    colours = _colours(view)
    x = np.arange(X_RANGE[0], X_RANGE[1] + STEP, STEP)
    y = np.arange(Y_RANGE[0], Y_RANGE[1] + STEP, STEP)
    heights = [SLICE_WIDTH * (Y_RANGE[1] - Y_RANGE[0]) / (X_RANGE[1] - X_RANGE[0])] * 2
    slices = slices_through(labels, region_map.grid)
    sheet = lay_out(
        len(slices), SLICE_WIDTH, heights, per_row=len(slices), left=0.3, between=0.04, right=0.9,
        above=title_room(0), below=0.15, gap=0.04, appearance=view.appearance,
    )  # fmt: skip
    for stack, z in zip(sheet.stacks, slices, strict=True):
        points = np.stack([*np.meshgrid(x, y, indexing="xy"), np.full((len(y), len(x)), z)], -1)
        here = labels_at(points, labels, region_map.grid)
        brain = _template(points, region_map.grid.space)
        for panel, colour in zip(stack, (colours.models, colours.scores), strict=True):
            picture = np.where((here > 0)[..., None], colour[here], brain)
            picture[_borders(here)] = to_rgb(OUTLINE)
            panel.imshow(
                picture, origin="lower", extent=(*X_RANGE, *Y_RANGE), interpolation="nearest",
                aspect="auto",
            )  # fmt: skip
            _without_frame(panel)
        sheet.set_title(stack[0], f"z = {z:.0f}".replace("-", "−"))
    for panel in sheet.stacks[0]:
        for place, side in ((0.03, "L"), (0.97, "R")):
            panel.text(
                place, 0.97, side, transform=panel.transAxes, fontsize=SMALL, va="top",
                ha="left" if side == "L" else "right", color=MUTED_COLOUR,
            )  # fmt: skip
    return _finished(sheet, view, colours, "brain_slices")


def _borders(labels: Integers) -> Any:
    """Pixels of regions that touch another region, or none."""
    padded = np.pad(labels, 1)
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (labels > 0) & np.any([labels != one for one in around], axis=0)


def slices_through(labels: Integers, grid: VoxelGrid, n_slices: int = N_SLICES) -> list[float]:
    """Heights (mm) of axial slices near as much as possible of every region, small or large."""
    there = np.nonzero(labels)
    heights = np.stack(there, axis=-1) @ grid.affine[2, :3] + grid.affine[2, 3]
    levels = np.arange(Z_RANGE[0], Z_RANGE[1] + 1, 2)
    nearest = np.clip(np.rint((heights - levels[0]) / 2).astype(int), 0, len(levels) - 1)
    counts = np.zeros((labels.max() + 1, len(levels)))
    np.add.at(counts, (labels[there], nearest), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    chosen: list[int] = []
    left = shares.copy()
    for _ in range(n_slices):
        # What a slice shows of a region weighs most; then what lies near.
        gains = np.array([(left * kernel).sum() for kernel in _kernels(levels)])
        if gains.max() <= 0:
            break
        best = int(gains.argmax())
        chosen.append(best)
        left[:, np.abs(levels - levels[best]) < NEAR] = 0.0
    return [float(levels[place]) for place in sorted(chosen)]


def _kernels(levels: Integers) -> Floats:
    """Weights of heights around each, from 1 down to 0 at `NEAR` mm."""
    return np.asarray(np.maximum(1 - np.abs(levels[:, None] - levels) / NEAR, 0.0))


def draw_brain_surface(view: View) -> Figure:
    """Draw both hemispheres' inflated cortex from the side, from the middle and from below."""
    region_map = _map_of(view)
    labels = region_map.labels([roi.roi for roi in view.rois])
    colours = _colours(view)
    shown = [
        ("left", "lateral"), ("left", "medial"), ("left", "ventral"),
        ("right", "ventral"), ("right", "medial"), ("right", "lateral"),
    ]  # fmt: skip
    sheet = lay_out(
        len(shown), SURFACE_WIDTH, [SURFACE_WIDTH] * 2, per_row=len(shown), left=0.15, between=0.08,
        right=0.9, above=title_room(0), below=0.15, gap=0.0, appearance=view.appearance,
    )  # fmt: skip
    for stack, (side, seen_from) in zip(sheet.stacks, shown, strict=True):
        surface = _surface(side)
        here = labels_on_surface(surface, labels, region_map.grid)
        for panel, colour in zip(stack, (colours.models, colours.scores), strict=True):
            base = np.where(surface.is_sulcus, 0.75, 0.9)[:, None]
            painted = np.where((here > 0)[:, None], colour[here], base)
            panel.imshow(_painted(surface, painted, here, VIEWS[side, seen_from]))
            _without_frame(panel)
        sheet.set_title(stack[0], f"{side}, {seen_from}")
    return _finished(sheet, view, colours, "brain_surface")


def reaches_cortex(view: View) -> bool:
    """Whether so many regions reach the cortex that a picture of it shows the study."""
    region_map = _map_of(view)
    labels = region_map.labels([roi.roi for roi in view.rois])
    seen = np.concatenate(
        [
            np.unique(labels_on_surface(_surface(side), labels, region_map.grid))
            for side in ("left", "right")
        ]
    )
    return len(np.setdiff1d(seen, [0])) >= LEAST_ON_SURFACE * len(region_map.voxels)


@dataclass(frozen=True)
class Surface:
    """One hemisphere of fsaverage5, whose coordinates are in MNI305.

    Attributes
    ----------
    white, pial, inflated : ndarray, (vertices, 3)
    faces : ndarray of int, (faces, 3)
    is_sulcus : ndarray of bool, (vertices,)
    """

    white: Floats
    pial: Floats
    inflated: Floats
    faces: Integers
    is_sulcus: Any


@cache
def _surface(side: str) -> Surface:
    from nibabel import load
    from nilearn.datasets import fetch_surf_fsaverage

    files = fetch_surf_fsaverage("fsaverage5")
    (inflated, faces), (white, _), (pial, _), (depth,) = (
        [array.data for array in load(files[f"{kind}_{side}"]).darrays]
        for kind in ("infl", "white", "pial", "sulc")
    )
    return Surface(white, pial, inflated, faces, depth > 0)


def labels_on_surface(surface: Surface, labels: Integers, grid: VoxelGrid) -> Integers:
    """Give the label that most of a vertex' points between white matter and pia have, or 0."""
    points = surface.white + DEPTHS[:, None, None] * (surface.pial - surface.white)
    if grid.space == "MNI152":
        points = points @ MNI305_TO_MNI152[:3, :3].T + MNI305_TO_MNI152[:3, 3]
    found = np.sort(labels_at(points, labels, grid), axis=0)
    # The one in the middle is that of the majority, where there is one.
    middle = found[len(DEPTHS) // 2]
    return np.where((found == middle).sum(axis=0) > len(DEPTHS) // 2, middle, 0)


def _painted(
    surface: Surface, colours: Floats, labels: Integers, axes: tuple[Floats, Floats]
) -> Any:
    """Paint the faces that are seen, those farthest away first: a square picture."""
    across, up = axes
    towards = np.cross(across, up)
    corners = surface.inflated[surface.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = normals @ towards / np.maximum(np.linalg.norm(normals, axis=1), 1e-9)
    seen = np.flatnonzero(facing > 0)
    seen = seen[np.argsort(corners[seen].mean(axis=1) @ towards)]
    of_corners = labels[surface.faces[seen]]
    painted = colours[surface.faces[seen, 0]]
    if len(np.unique(labels)) <= MOST_OUTLINED:
        painted[(of_corners != of_corners[:, :1]).any(axis=1)] = to_rgb(OUTLINE)
    painted = painted * (0.6 + 0.4 * facing[seen])[:, None]
    flat = np.stack([corners[seen] @ across, -corners[seen] @ up], axis=-1)
    low, high = flat.min(axis=(0, 1)), flat.max(axis=(0, 1))
    places = (flat - (low + high) / 2) / (high - low).max() * 0.97 * PIXELS + PIXELS / 2
    picture = Image.new("RGB", (PIXELS, PIXELS), "white")
    pen = ImageDraw.Draw(picture)
    for corners_of_face, colour in zip(places, (255 * painted).astype(int), strict=True):
        fill = tuple(colour.tolist())
        pen.polygon(list(map(tuple, corners_of_face.tolist())), fill=fill, outline=fill)
    return picture.resize((PIXELS // 2, PIXELS // 2), Image.Resampling.LANCZOS)


def _map_of(view: View) -> RegionMap:
    assert view.result.region_map is not None
    return view.result.region_map


def _colours(view: View) -> _Colours:
    best = [_best(view, index) for index in range(len(view.rois))]
    names = list(dict.fromkeys(name for name, _ in best if name is not None))
    palette = group_colours(names, FURTHER_COLOURS)
    scores = [score for name, score in best if name is not None]
    low, high = (min(0.0, *scores), max(scores)) if len(scores) > 1 else (0.0, max([1e-3, *scores]))
    norm = Normalize(low, high)
    scale = matplotlib.colormaps[SCORES]
    none = to_rgb(NO_MODEL)
    of_models = [none if name is None else to_rgb(palette[name]) for name, _ in best]
    of_scores = [none if name is None else scale(norm(score))[:3] for name, score in best]
    handles: list[Artist] = [Patch(color=palette[name], label=name) for name in names]
    if any(name is None for name, _ in best):
        handles.append(
            Patch(
                facecolor=NO_MODEL,
                edgecolor=OUTLINE,
                linewidth=0.6,
                label="no model found to be related",
            )
        )
    return _Colours(np.array([none, *of_models]), np.array([none, *of_scores]), handles, norm)


def _best(view: View, index: int) -> tuple[str | None, float]:
    """The model of a region with the highest score, of those related to it where that is tested."""
    roi = view.rois[index]
    if not view.has_intervals:
        means = mean_over_subjects(roi.rsa)
        if not np.isfinite(means).any():
            return None, np.nan
        highest = int(np.nanargmax(means))
        return view.result.models[highest].name, float(means[highest])
    related = [score for score in view.inference.of(roi.roi).model_scores if score.p_max < ALPHA]
    if not related:
        return None, np.nan
    best = max(related, key=lambda score: score.rsa)
    return best.model, best.rsa


def _finished(sheet: Sheet, view: View, colours: _Colours, name: str) -> Figure:
    last = sheet.stacks[-1][1]
    scale = last.inset_axes((1.08, 0.1, 0.07, 0.8))
    mapped = matplotlib.cm.ScalarMappable(colours.norm, SCORES)
    bar = sheet.figure.colorbar(mapped, cax=scale)
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label(f"RSA ({RSA_NAMES[view.settings.rsa_metric]})", fontsize=SMALL)
    kind = "tested" if view.has_intervals else "untested"
    own_space = "MNI152" if name == "brain_slices" else "MNI305"
    is_moved = _map_of(view).grid.space != own_space
    through = ", brought there by the affine between MNI305 and MNI152" if is_moved else ""
    return sheet.finish(
        CAPTIONS[name]["title"],
        details_of(view),
        colours.handles,
        [note(view, name, through=through), note(view, "brain_slices", kind)],
    )


def _without_frame(panel: Axes) -> None:
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def _template(points: Floats, space: str) -> Floats:
    """Grey values (..., 3) of MNI152's template at points (mm) of a space, white outside."""
    from scipy import ndimage

    image, affine = _mni152()
    if space == "MNI305":
        points = points @ MNI305_TO_MNI152[:3, :3].T + MNI305_TO_MNI152[:3, 3]
    inverse = np.linalg.inv(affine)
    places = np.moveaxis(points @ inverse[:3, :3].T + inverse[:3, 3], -1, 0)
    values = ndimage.map_coordinates(image, places, order=1)
    grey = np.where(values > 0.02, 0.35 + 0.6 * values, 1.0)
    return np.repeat(grey[..., None], 3, axis=-1)


@cache
def _mni152() -> tuple[Floats, Floats]:
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=2)
    values = np.asarray(template.dataobj, dtype=np.float64)
    return values / values.max(), np.asarray(template.affine)
