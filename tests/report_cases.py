"""Small results of comparisons with planted truth, for the tests of the report."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from conceptrsa.analysis.brain.patterns import RoiPatterns, SubjectPatterns, SubjectRdms
from conceptrsa.analysis.comparison import compare
from conceptrsa.analysis.files.stimuli import StimulusPictures
from conceptrsa.analysis.models.feature_files import Features
from conceptrsa.analysis.output.write import write_comparison
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.rsa.distances import compute_rdm
from conceptrsa.analysis.settings import settings_for

QUICK = {"n_random_draws": 2, "sweep_dense_until": 8, "sweep_log_points": 2}
QUICK_INFERENCE = {"n_permutations": 100}

HOSTILE_STIMULUS = "</script><script>alert('stimulus')</script>"
HOSTILE_MODEL = "<img src=x onerror=alert(1)>&\"'"
HOSTILE_REGION = "<i>region</i> {{ 7 * 7 }}"
HOSTILE_NOTE = "<b>note</b>"

TWO_KINDS = {"visual-a": "visual", "visual-b": "visual", "text-a": "language", "text-b": "language"}


def planted_result(
    *,
    truth: Mapping[str, str | None],
    groups: Mapping[str, str] = TWO_KINDS,
    n_subjects: int = 5,
    stimuli: Sequence[str] = tuple(f"s{number:02d}" for number in range(24)),
    noise: float = 0.5,
    notes: Mapping[str, str] | None = None,
    preset: str = "recommended",
    sources: Sequence[Path] = (),
    few_voxels: Mapping[str, int] | None = None,
    **changes: object,
) -> ComparisonResult:
    """Compare models with regions of which some carry a kind of model.

    Parameters
    ----------
    truth : mapping of str to (str or None)
        By region the group whose space it carries; None: nothing but noise.
    groups : mapping of str to str
        By model its group; models of one group share a space.
    few_voxels : mapping of str to int
        By region the voxels that it has in all subjects but the first, where not 30.
    """
    rng = np.random.default_rng(0)
    n = len(stimuli)
    spaces = {group: rng.standard_normal((n, 5)) for group in dict.fromkeys(groups.values())}

    def seen_through(space: np.ndarray, n_features: int) -> np.ndarray:
        return space @ rng.standard_normal((space.shape[1], n_features))

    features = [
        Features(
            name,
            group,
            tuple(stimuli),
            seen_through(spaces[group], 40) + 0.5 * rng.standard_normal((n, 40)),
            note=(notes or {}).get(name, ""),
        )
        for name, group in groups.items()
    ]
    subjects = []
    for number in range(n_subjects):
        rois = {}
        for roi, group in truth.items():
            signal = np.zeros((n, 30)) if group is None else seen_through(spaces[group], 30)
            odd, even = signal + 2 * noise * rng.standard_normal((2, n, 30))
            size = (few_voxels or {}).get(roi, 30) if number else 30
            odd, even = odd[:, :size], even[:, :size]
            rois[roi] = RoiPatterns((odd + even) / 2, np.arange(size), halves=(odd, even))
        subjects.append(
            SubjectPatterns(f"{number + 1:02d}", tuple(stimuli), rois, sources=tuple(sources))
        )
    quick = {**QUICK, **(QUICK_INFERENCE if preset == "recommended" else {})}
    if preset == "recommended":
        quick["multiverse"] = False
    return compare(subjects, features, settings_for(preset, **{**quick, **changes}))


@lru_cache
def planted() -> ComparisonResult:
    """One region that carries the visual models, one that carries nothing."""
    return planted_result(truth={"V1": "visual", "deep": None})


@lru_cache
def supplied() -> ComparisonResult:
    """A comparison of RDMs that were supplied."""
    rng = np.random.default_rng(0)
    stimuli = tuple(f"s{number:02d}" for number in range(20))
    latent = rng.standard_normal((20, 4))
    subjects = [
        SubjectRdms(
            f"{number}",
            stimuli,
            {"IT": compute_rdm(latent + 0.2 * rng.standard_normal((20, 4)), "correlation")[None]},
        )
        for number in range(4)
    ]
    models = [
        Features("good", "visual", stimuli, latent @ rng.standard_normal((4, 30))),
        Features("bad", "language", stimuli, rng.standard_normal((20, 30))),
    ]
    return compare(subjects, models, settings_for("recommended", n_permutations=100))


def pictures_of(stimuli: Sequence[str], folder: Path) -> StimulusPictures:
    """Give every stimulus a picture of its own colour and a label."""
    colours = np.random.default_rng(1).integers(0, 255, (len(stimuli), 3))
    for stimulus, colour in zip(stimuli, colours, strict=True):
        Image.new("RGB", (120, 90), tuple(colour.tolist())).save(folder / f"{stimulus}.png")
    files = {stimulus: folder / f"{stimulus}.png" for stimulus in stimuli}
    return StimulusPictures(files, {stimulus: f"thing {stimulus}" for stimulus in stimuli})


@lru_cache
def hostile() -> ComparisonResult:
    """Every name is an attempt to be more than a name."""
    return planted_result(
        truth={HOSTILE_REGION: "visual", "plain": None},
        groups={HOSTILE_MODEL: "visual", "visual-b": "visual", "{{ 7 * 7 }}": "language"},
        stimuli=tuple(sorted((HOSTILE_STIMULUS, *(f"<!-- {number}" for number in range(15))))),
        notes={HOSTILE_MODEL: HOSTILE_NOTE},
        n_subjects=3,
    )


def written_report(
    result: ComparisonResult, out_dir: Path, stimulus_pictures: StimulusPictures | None = None
) -> Path:
    """Write a comparison with all its files, and give its report."""
    write_comparison(result, out_dir, {"dataset_config": {"name": HOSTILE_NOTE}}, stimulus_pictures)
    return out_dir / "group" / "report.html"
