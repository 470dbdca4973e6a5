"""Regions where they are in the brain, coloured by their best model and by its score."""

from collections import Counter
from collections.abc import Sequence
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
from conceptrsa.analysis.brain.region_map import SMOOTHING, RegionMap, labels_at
from conceptrsa.analysis.output.figures.appearance import IN_REPORT
from conceptrsa.analysis.output.figures.captions import CAPTIONS, details_of, note
from conceptrsa.analysis.output.figures.sheet import Sheet, lay_out, title_room
from conceptrsa.analysis.output.figures.style import (
    FURTHER_COLOURS,
    KNOWN_COLOURS,
    MUTED_COLOUR,
    RSA_NAMES,
    SMALL,
    View,
)
from conceptrsa.analysis.output.leading_models import leading_models
from conceptrsa.analysis.output.region_volumes import NO_SCORE, NONE_RELATED
from conceptrsa.bids_config.image_spaces import MNI305_TO_MNI152
from conceptrsa.bids_config.names import some_of

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

SURFACE_DPI = 300
"""Of pictures of a surface; in the report half of that, so that its files stay small."""

BORDER_WIDTH = 2
"""Pixels, before neighbouring ones are joined."""

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

DEPTHS = np.array([0.5, 0.3, 0.7, 0.1, 0.9])
"""Between white matter and pia, the middle first."""

FEWEST_DEPTHS = 2
"""At which a region has to be found."""

THINNEST = 0.5
"""Millimetres: where white matter and pia are closer, as in the medial wall, is no cortex."""

MOST_OUTLINED = 60
"""Regions that are outlined; of more, thinner ones, outlines would be most of what is seen."""

MOST_NAMED = 12
"""Regions whose names fit into the legend."""

PALETTE = (*(colour for colour in FURTHER_COLOURS if colour != "#777777"), *KNOWN_COLOURS.values())
OTHERS, OTHER_MODELS = "others", "#4d4d4d"
"""Of models beyond the palette: those that are the best in the fewest regions."""

GREYS = 32
"""Levels of what is behind regions, so that files stay small."""


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
        above=title_room(0), below=0.15, gap=0.04, keeps_width=True, appearance=view.appearance,
    )  # fmt: skip
    pictured = []
    for stack, z in zip(sheet.stacks, slices, strict=True):
        points = np.stack([*np.meshgrid(x, y, indexing="xy"), np.full((len(y), len(x)), z)], -1)
        here = labels_at(points, labels, region_map.grid)
        pictured.append(here)
        brain = _template(points, region_map.grid.space)
        for panel, colour in zip(stack, (colours.models, colours.scores), strict=True):
            picture = np.where((here > 0)[..., None], colour[here], brain)
            if len(view.rois) <= MOST_OUTLINED:
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
    return _finished(sheet, view, colours, "brain_slices", pictured)


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
    pixels = round(sheet.width * SURFACE_DPI)
    pixels = pixels // 2 if view.appearance == IN_REPORT else pixels
    pictured = []
    for stack, (side, seen_from) in zip(sheet.stacks, shown, strict=True):
        surface = _surface(side)
        here = labels_on_surface(surface, labels, region_map.grid)
        pictured.append(here)
        for panel, colour in zip(stack, (colours.models, colours.scores), strict=True):
            base = np.where(surface.is_sulcus, 0.62, 0.76)[:, None]
            painted = np.where((here > 0)[:, None], colour[here], base)
            picture = _painted(surface, painted, here, VIEWS[side, seen_from], pixels)
            panel.imshow(picture, interpolation="none")
            _without_frame(panel)
        sheet.set_title(stack[0], f"{side}, {seen_from}")
    return _finished(sheet, view, colours, "brain_surface", pictured)


def is_mapped(view: View) -> bool:
    """Whether any region has a voxel that lies under no smaller region."""
    return bool(_map_of(view).labels([roi.roi for roi in view.rois]).any())


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
    n_mapped = len(np.setdiff1d(np.unique(labels), [0]))
    return len(np.setdiff1d(seen, [0])) >= max(1, LEAST_ON_SURFACE * n_mapped)


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
    """Give the label found most often between a vertex' white matter and pia, or 0."""
    points = surface.white + DEPTHS[:, None, None] * (surface.pial - surface.white)
    if grid.space == "MNI152":
        points = points @ MNI305_TO_MNI152[:3, :3].T + MNI305_TO_MNI152[:3, 3]
    found = labels_at(points, labels, grid)
    times = np.where(found > 0, (found[:, None] == found).sum(axis=1), 0)
    # Of two that are found as often, the one nearer to the middle.
    most = times.argmax(axis=0)[None]
    best = np.take_along_axis(found, most, axis=0)[0]
    is_found = np.take_along_axis(times, most, axis=0)[0] >= FEWEST_DEPTHS
    is_cortex = np.linalg.norm(surface.pial - surface.white, axis=1) >= THINNEST
    return np.where(is_found & is_cortex, best, 0)


def _painted(
    surface: Surface,
    colours: Floats,
    labels: Integers,
    axes: tuple[Floats, Floats],
    pixels: int,
) -> Any:
    """Paint the faces that are seen, those farthest away first: a picture of pixels x pixels."""
    across, up = axes
    # Twice as large, since lines and edges are smooth once neighbouring pixels are joined.
    size = 2 * pixels
    towards = np.cross(across, up)
    corners = surface.inflated[surface.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = normals @ towards / np.maximum(np.linalg.norm(normals, axis=1), 1e-9)
    seen = np.flatnonzero(facing > 0)
    seen = seen[np.argsort(corners[seen].mean(axis=1) @ towards)]
    of_corners = labels[surface.faces[seen]]
    shade = np.rint((0.75 + 0.25 * facing[seen]) * GREYS) / GREYS
    painted = (255 * colours[surface.faces[seen]] * shade[:, None, None]).astype(int)
    flat = np.stack([corners[seen] @ across, -corners[seen] @ up], axis=-1)
    low, high = flat.min(axis=(0, 1)), flat.max(axis=(0, 1))
    places = (flat - (low + high) / 2) / (high - low).max() * 0.97 * size + size / 2
    middles, centres = (places + np.roll(places, -1, axis=1)) / 2, places.mean(axis=1)
    differ = of_corners != np.roll(of_corners, -1, axis=1)
    picture = Image.new("RGB", (size, size), "white")
    pen = ImageDraw.Draw(picture)

    def fill(shape: Any, colour: Integers) -> None:
        flat_colour = tuple(colour.tolist())
        pen.polygon(list(map(tuple, np.stack(shape).tolist())), flat_colour, flat_colour)

    for face, is_border in enumerate(differ.any(axis=1)):
        if not is_border:
            fill(places[face], painted[face, 0])
            continue
        # Each corner's share of the face.
        for one in range(3):
            shape = (places[face, one], middles[face, one], centres[face], middles[face, one - 1])
            fill(shape, painted[face, one])
    for face, edge in np.argwhere(differ) if labels.max() <= MOST_OUTLINED else ():
        line = (*centres[face].tolist(), *middles[face, edge].tolist())
        pen.line(line, OUTLINE, BORDER_WIDTH)
    return picture.resize((pixels, pixels), Image.Resampling.BOX)


def _map_of(view: View) -> RegionMap:
    assert view.result.region_map is not None
    return view.result.region_map


def _colours(view: View) -> _Colours:
    of_all = leading_models(view.result)
    best = [of_all.get(roi.roi) for roi in view.rois]
    found = [one for one in best if one is not None]
    # Of all regions, so that whole regions and hemispheres have the same colours.
    ranked = [name for name, _ in Counter(one.model for one in of_all.values()).most_common()]
    named = ranked if len(ranked) <= len(PALETTE) else ranked[: len(PALETTE) - 1]
    palette = dict(zip(named, PALETTE, strict=False))
    scores = [one.rsa for one in found]
    norm = Normalize(min([0.0, *scores]), max([1e-3, *scores]))
    scale = matplotlib.colormaps[SCORES]
    none = to_rgb(NO_MODEL)
    of_models = [
        none if one is None else to_rgb(palette.get(one.model, OTHER_MODELS)) for one in best
    ]
    of_scores = [none if one is None else scale(norm(one.rsa))[:3] for one in best]
    regions: dict[str | None, list[str]] = {name: [] for name in (*named, OTHERS, None)}
    for roi, one in zip(view.rois, best, strict=True):
        name = None if one is None else one.model if one.model in palette else OTHERS
        regions[name].append(roi.roi)
    nothing = NONE_RELATED if view.has_intervals else NO_SCORE
    handles: list[Artist] = [
        Patch(
            facecolor=NO_MODEL if name is None else palette.get(name, OTHER_MODELS),
            edgecolor=OUTLINE, linewidth=0.6,
            label=f"{name or nothing}: {_named(of, len(view.rois))}",
        )
        for name, of in regions.items() if of
    ]  # fmt: skip
    return _Colours(np.array([none, *of_models]), np.array([none, *of_scores]), handles, norm)


def _named(regions: Sequence[str], n_all: int) -> str:
    """The names of regions, or their number where there are many."""
    return some_of(regions, 3) if n_all <= MOST_NAMED else f"{len(regions)} of {n_all} regions"


def _finished(
    sheet: Sheet, view: View, colours: _Colours, name: str, pictured: Sequence[Integers]
) -> Figure:
    last = sheet.stacks[-1][1]
    scale = last.inset_axes((1.08, 0.1, 0.07, 0.8))
    mapped = matplotlib.cm.ScalarMappable(colours.norm, SCORES)
    bar = sheet.figure.colorbar(mapped, cax=scale)
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label(f"RSA ({RSA_NAMES[view.settings.rsa_metric]})", fontsize=SMALL)
    kind = "tested" if view.has_intervals else "untested"
    own_space = "MNI152" if name == "brain_slices" else "MNI305"
    is_moved = _map_of(view).grid.space != own_space
    through = " (by FreeSurfer's affine between MNI305 and MNI152)" if is_moved else ""
    notes = [note(view, name, through=through)]
    if len(view.result.subjects) > 1:
        notes[0] += " " + note(view, "brain_slices", "shared", smoothing=f"{SMOOTHING:g}")
    seen = np.unique(np.concatenate([labels.ravel() for labels in pictured]))
    unseen = [roi.roi for number, roi in enumerate(view.rois, 1) if number not in seen]
    if unseen:
        notes[0] += " " + note(view, name, "unseen", regions=some_of(unseen))
    notes.append(note(view, "brain_slices", kind))
    return sheet.finish(CAPTIONS[name]["title"], details_of(view), colours.handles, notes)


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
    grey = np.where(values > 0.02, np.rint((0.3 + 0.5 * values) * GREYS) / GREYS, 1.0)
    return np.repeat(grey[..., None], 3, axis=-1)


@cache
def _mni152() -> tuple[Floats, Floats]:
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=2)
    values = np.asarray(template.dataobj, dtype=np.float64)
    return values / values.max(), np.asarray(template.affine)
