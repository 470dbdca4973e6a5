"""Comparisons of every shape whose figures are drawn, and what can be read from a drawn figure."""

from functools import lru_cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from conceptrsa.analysis.brain.patterns import RoiPatterns, SubjectPatterns, SubjectRdms
from conceptrsa.analysis.comparison import compare
from conceptrsa.analysis.models.feature_files import Features
from conceptrsa.analysis.output.figures.style import View, style
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.rsa.distances import compute_rdm
from conceptrsa.analysis.settings import settings_for

WHOLES = ("visual", "fusiform", "hippocampus", "parahippocampal")
HALVES = tuple(f"{roi}-{side}" for roi in WHOLES for side in ("left", "right"))
NINE = WHOLES + HALVES[:5]
Models = tuple[tuple[str, tuple[str, ...]], ...]
SIXTEEN: Models = (
    ("multimodal", ("CLIP", "TSM", "VirTex", "ICMLM-attfc", "ICMLM-tfm")),
    (
        "visual",
        ("ResNet50", "BiT-M", "AR-L2", "AR-Linf4", "AR-Linf8", "SIN", "SIN-IN", "SIN-IN+FIN"),
    ),
    ("language", ("GPT-2", "BERT", "CLIP-L")),
)
FIVE: Models = (
    ("visual", ("EfficientNet-Lite0", "EfficientNet-Lite1", "EfficientNet-Lite2")),
    ("language", ("MiniLM",)),
    ("multimodal", ("ConSE-standin",)),
)
TWO_GROUPS: Models = (("visual", ("ResNet50", "SIN")), ("language", ("BERT", "GPT-2")))
ONE: Models = (("visual", ("ResNet50",)),)
HOSTILE: Models = (
    ("visual", ("a$b$c_%s", "W" * 60)),
    ("language", ("^{x}_" + "long-name-" * 9, "\\alpha")),
)
STAND_IN_NOTE = "stand-in for an image-text network: ImageNet classes seen, embedded as text"
TINY = {"n_random_draws": 2, "sweep_dense_until": 10, "sweep_log_points": 3}
QUICK = {"n_permutations": 100}


def features_of(models: Models, latent: np.ndarray, rng: np.random.Generator) -> list[Features]:
    noise = {"multimodal": 0.3, "visual": 1.0, "language": 3.0}
    n_stimuli = len(latent)
    return [
        Features(
            name,
            group,
            tuple(f"s{row:02d}" for row in range(n_stimuli)),
            latent @ rng.standard_normal((4, 30))
            + noise[group] * rng.standard_normal((n_stimuli, 30)),
            note=STAND_IN_NOTE if name.startswith("ConSE") else "",
        )
        for group, names in models
        for name in names
    ]


@lru_cache
def result_of(
    models: Models,
    n_subjects: int,
    rois: tuple[str, ...],
    preset: str = "paper",
    noisy: str = "hippocampus",
    n_stimuli: int = 12,
    **changes: object,
) -> ComparisonResult:
    """Regions that share a latent space with the models, but for one that is noise."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((n_stimuli, 4))
    stimuli = tuple(f"s{row:02d}" for row in range(n_stimuli))
    features = features_of(models, latent, rng)
    subjects = []
    for number in range(n_subjects):
        regions = {}
        for roi in rois:
            strength = 0.0 if roi.startswith(noisy) else 0.5
            signal = strength * latent @ rng.standard_normal((4, 40))
            odd, even = signal + rng.standard_normal((2, n_stimuli, 40))
            regions[roi] = RoiPatterns((odd + even) / 2, np.arange(40), halves=(odd, even))
        subjects.append(SubjectPatterns(f"{number + 1:02d}", stimuli, regions))
    quick = QUICK if preset == "recommended" else {}
    return compare(subjects, features, settings_for(preset, **{**TINY, **quick, **changes}))


@lru_cache
def supplied_rdms(preset: str) -> ComparisonResult:
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((12, 4))
    subjects = [
        SubjectRdms(
            f"{number}",
            tuple(f"s{row:02d}" for row in range(12)),
            {"IT": compute_rdm(latent + rng.standard_normal((12, 4)), "correlation")[None]},
        )
        for number in range(4)
    ]
    return compare(subjects, features_of(FIVE, latent, rng), settings_for(preset, **QUICK))


def sixteen() -> ComparisonResult:
    return result_of(SIXTEEN, 4, WHOLES, "recommended", multiverse=False)


def five() -> ComparisonResult:
    return result_of(FIVE, 4, WHOLES[:3], "recommended", multiverse=True)


CASES = {
    "paper, 16 models, 9 regions": lambda: result_of(SIXTEEN, 5, NINE),
    "paper, 5 models, 50 subjects": lambda: result_of(FIVE, 50, WHOLES[2:]),
    "paper, one model, 2 subjects, one region": lambda: result_of(ONE, 2, WHOLES[:1]),
    "paper, hostile names": lambda: result_of(HOSTILE, 3, ("$v$", "x_" * 30)),
    "paper, supplied RDMs": lambda: supplied_rdms("paper"),
    "paper, slow comparison": lambda: result_of(
        FIVE, 3, ("visual",), rsa_metric="kendall-tau-a", remove_mean_pattern=True
    ),
    "recommended, 16 models": sixteen,
    "recommended, 5 models": five,
    "recommended, two groups, 2 subjects": lambda: result_of(
        TWO_GROUPS, 2, WHOLES[:1], "recommended", multiverse=True
    ),
    "recommended, one model": lambda: result_of(
        ONE, 3, WHOLES[2:], "recommended", multiverse=False
    ),
    "recommended, hostile names": lambda: result_of(
        HOSTILE, 3, ("$v$", "x_" * 30), "recommended", multiverse=True
    ),
    "recommended, circular, 92 stimuli": lambda: result_of(
        TWO_GROUPS, 3, WHOLES[:1], "recommended", n_stimuli=92, multiverse=False,
        selection_data="same",
    ),
    "recommended, supplied RDMs": lambda: supplied_rdms("recommended"),
}  # fmt: skip


def view_of(result: ComparisonResult) -> View:
    return View(result, result.primary, result.rois)


def drawn(draw: object, view: View) -> Figure:
    with style():
        return draw(view)  # type: ignore[operator, no-any-return]


def notes_of(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts)


def bars(axes: Axes) -> list[tuple[str, float]]:
    """Colour and length of each horizontal bar."""
    (collection,) = [c for c in axes.collections if isinstance(c, PolyCollection)]
    colours = [to_hex(colour[:3]).upper() for colour in collection.get_facecolor()]
    return [
        (colour, path.vertices[1, 0])
        for colour, path in zip(colours, collection.get_paths(), strict=True)
    ]


def points(axes: Axes) -> dict[int, float]:
    """Value of each row that is a point."""
    (collection,) = [c for c in axes.collections if isinstance(c, PathCollection)]
    return {round(float(row)): float(value) for value, row in collection.get_offsets()}


def markers(axes: Axes, marker: str) -> list[tuple[float, float]]:
    return [
        (float(x), float(y))
        for line in axes.lines
        if line.get_marker() == marker
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def whiskers(axes: Axes) -> np.ndarray:
    """Low and high ends of horizontal whiskers (rows, 2)."""
    segments = [
        segment
        for collection in axes.collections
        if not isinstance(collection, PolyCollection) and hasattr(collection, "get_segments")
        for segment in collection.get_segments()
    ]
    return np.array([segment[:, 0] for segment in segments])
