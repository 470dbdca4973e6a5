"""Settings of a comparison, which are checked when they are made."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import require_one_of

Preset = Literal["recommended", "paper"]
VoxelSelection = Literal["top-n", "threshold", "best-n", "random", "all"]
VoxelScore = Literal["max-beta", "reliability", "ncsnr"]
SelectionData = Literal["other-half", "same"]
RdmMetric = Literal["correlation", "cosine", "euclidean", "mahalanobis", "crossnobis"]
RsaMetric = Literal["pearson", "spearman", "kendall-tau-a", "rho-a", "cosine", "whitened-cosine"]
Groups = Literal["paper", "authors-code"]
SubjectStimuli = Literal["auto", "shared", "own"]


class OwnFunction(str):
    """A distance or a comparison of the user's own: its name, with the function itself.

    Settings, tables and figures hold the name, and computing calls the function. The name ends in
    brackets, so that it is never that of a distance or comparison of this package.
    """

    function: Callable[..., Any]

    def __new__(cls, function: Callable[..., Any]) -> "OwnFunction":
        """Take the name of a function."""
        named = function
        while isinstance(named, partial):
            named = named.func
        name = getattr(named, "__name__", None) or type(named).__name__
        own = super().__new__(cls, f"{name}()")
        own.function = function
        return own

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how a copy is made."""
        return OwnFunction, (self.function,)


def is_own(metric: str) -> bool:
    """Whether a distance or comparison is a function of the user's own."""
    return isinstance(metric, OwnFunction)


def is_product(metric: str) -> bool:
    """Whether a comparison is a sum of products over pairs of stimuli, which is quick."""
    return metric != "kendall-tau-a" and not is_own(metric)


def rdm_metric_of(metric: str | Callable[..., Any]) -> RdmMetric:
    """Check a distance that is given by its name or as a function.

    Raises
    ------
    InputError
        If no distance has that name.
    """
    return cast(RdmMetric, _metric("rdm_metric", metric, get_args(RdmMetric)))


def rsa_metric_of(metric: str | Callable[..., Any]) -> RsaMetric:
    """Check a comparison of RDMs that is given by its name or as a function.

    Raises
    ------
    InputError
        If no comparison has that name.
    """
    return cast(RsaMetric, _metric("rsa_metric", metric, get_args(RsaMetric)))


def _metric(name: str, metric: str | Callable[..., Any], allowed: tuple[str, ...]) -> str:
    if not isinstance(metric, str) and callable(metric):
        return OwnFunction(metric)
    if not is_own(metric):
        require_one_of(metric, allowed, f"{name} cannot be")
    return metric


class Names(dict[Any, str]):
    """Names of distances and comparisons in text; a user's function keeps its own name."""

    def __missing__(self, metric: str) -> str:
        """Give the name of a function."""
        if not is_own(metric):
            raise KeyError(metric)
        return str(metric)


OF_VOXELS = (
    "voxel_selection", "voxel_score", "selection_data", "n_voxels", "skip_zeros",
    "remove_mean_pattern", "n_random_draws", "random_replacement", "multiverse",
)  # fmt: skip
"""Settings that have no meaning where RDMs are supplied."""

MANY_STIMULI = 200
"""With more stimuli, slow extras are skipped or made coarser, with a note."""

MANY_REGIONS = 100
"""With more regions, slow extras are skipped or made coarser, with a note."""


@dataclass(frozen=True)
class ComparisonSettings:
    """Settings of a comparison; the defaults are the preset 'recommended'.

    For the preset 'paper', or some of its settings changed, see `settings_for`. The first paragraph
    on a field is the help of its option on the command line.

    Examples
    --------
    >>> import conceptrsa as crsa
    >>> settings = crsa.ComparisonSettings(rsa_metric="spearman", multiverse=False)
    >>> settings.preset, settings.rdm_metric
    ('recommended', 'correlation')

    Attributes
    ----------
    preset : {'recommended', 'paper'}
        Take the defaults from this preset. recommended: voxels chosen on one half of the runs and
        scored on the other, intervals and permutation tests; paper: the paper's analysis to the
        letter.
    voxel_selection : {'top-n', 'threshold', 'best-n', 'random', 'all'}
        Select voxels of a region: the N with the highest score (top-n); those above the subject's
        (N+1)th hippocampal one (threshold); as many as give the highest noise ceiling (best-n); N
        at random (random); all of them (all) (default: best-n, and all without betas of odd and
        even runs; paper: top-n).

        N is `n_voxels`, and the hippocampus is `threshold_roi`.
    voxel_score : {'max-beta', 'reliability', 'ncsnr'}
        Rank voxels by their highest beta for any stimulus, as in the paper (max-beta), by the
        correlation between halves of the runs (reliability), or by the signal-to-noise ratio over
        runs (ncsnr).
    selection_data : {'other-half', 'same'}
        Choose voxels on the half of the runs that is not scored, odd and even in turn and averaged
        (other-half); or on the scored runs, which is circular and labelled so (same) (default:
        other-half; paper: same).
    n_voxels : int
        Take this many voxels of a region, with top-n, threshold and random.

        At least 3: a correlation over two voxels is 1 or -1 whatever the data.
    threshold_roi : str
        Region that sets the threshold.
    skip_zeros : bool
        Never choose voxels with a beta of exactly 0, as in the authors' code.
    remove_mean_pattern : bool
        Subtract the mean pattern over stimuli, voxel by voxel, before distances are computed.
    rdm_metric : {'correlation', 'cosine', 'euclidean', 'mahalanobis', 'crossnobis'} or callable
        Measure distances between patterns this way. mahalanobis and crossnobis need what run
        --run-betas writes: the residual covariance, and betas of partitions of the runs.

        See `conceptrsa.analysis.rsa.distances`. A function takes patterns (stimuli, features) and
        gives the pairs in the order of `scipy.spatial.distance.pdist`.
    rsa_metric : {'pearson', 'spearman', 'kendall-tau-a', 'rho-a', 'cosine', 'whitened-cosine'} \
            or callable
        Compare RDMs this way.

        See `conceptrsa.analysis.rsa.correlations`. A function takes two vectors of pairs and gives
        a number.
    reference_model : str or None
        Test every other model against this one (default: ResNet50, else the first visual model,
        else the first).
    groups : {'paper', 'authors-code'}
        Group the models as the table of models says (paper), or with ICMLM among the visual models,
        as a slip in the authors' code has it (authors-code).
    subject_stimuli : {'auto', 'shared', 'own'}
        If subjects saw different stimuli, score each on the stimuli that all share (shared), or on
        its own (own) (default: auto, which takes the shared ones if they are at least half of every
        subject's).
    n_random_draws : int
        Draw random voxels this often for each number of voxels, in the sweep of noise ceilings.
    random_replacement : bool
        Draw random voxels with replacement, as in the authors' code.
    sweep_dense_until, sweep_log_points : int
        The sweep takes every number of voxels up to the first, then so many log-spaced ones.
    n_permutations : int
        Permute the stimuli's labels this often, the unpermuted order included.
    multiverse : bool
        Also score every combination of voxel selection, distance and comparison (default: with
        --preset recommended).
    seed : int
        Seed every random number with this.
    """

    preset: Preset = "recommended"
    voxel_selection: VoxelSelection = "best-n"
    voxel_score: VoxelScore = "max-beta"
    selection_data: SelectionData = "other-half"
    n_voxels: int = field(default=30, metadata={"minimum": 3})
    threshold_roi: str = field(default="hippocampus", metadata={"option": False})
    skip_zeros: bool = False
    remove_mean_pattern: bool = False
    rdm_metric: RdmMetric = "correlation"
    rsa_metric: RsaMetric = "pearson"
    reference_model: str | None = None
    groups: Groups = "paper"
    subject_stimuli: SubjectStimuli = "auto"
    n_random_draws: int = field(default=100, metadata={"minimum": 1})
    random_replacement: bool = False
    sweep_dense_until: int = field(default=100, metadata={"minimum": 3, "option": False})
    sweep_log_points: int = field(default=100, metadata={"minimum": 2, "option": False})
    n_permutations: int = field(default=10_000, metadata={"minimum": 100})
    multiverse: bool = True
    seed: int = field(default=0, metadata={"minimum": 0})

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for setting in fields(self):
            name, value = setting.name, getattr(self, setting.name)
            minimum = setting.metadata.get("minimum")
            if name in ("rdm_metric", "rsa_metric") and callable(value):
                object.__setattr__(self, name, OwnFunction(value))
            elif get_origin(hints[name]) is Literal and not is_own(value):
                require_one_of(value, get_args(hints[name]), f"{name} cannot be")
            elif hints[name] is bool and not isinstance(value, bool):
                raise InputError(
                    f"{name} = {value!r} is neither True nor False: give one of the two"
                )
            elif minimum is not None and (
                type(value) is bool or not isinstance(value, Integral) or value < minimum
            ):
                is_small = isinstance(value, Real) and value < minimum
                what = "too small" if is_small else "not a whole number"
                raise InputError(f"{name} = {value!r} is {what}: give {minimum} or more")

    @property
    def needs_runs(self) -> bool:
        """Whether betas of single runs and the residual covariance are of use."""
        return (
            self.preset == "recommended"
            or self.rdm_metric in ("mahalanobis", "crossnobis")
            or self.voxel_score != "max-beta"
        )


PRESETS = {
    "recommended": ComparisonSettings(),
    "paper": ComparisonSettings(
        preset="paper",
        voxel_selection="top-n",
        selection_data="same",
        multiverse=False,
    ),
}


def settings_for(preset: str = "recommended", **changes: Any) -> ComparisonSettings:
    """Give the settings of a preset with some of them changed.

    Raises
    ------
    InputError
        On an unknown preset or a value that is not possible.
    """
    require_one_of(preset, get_args(Preset), "preset cannot be")
    known = [setting.name for setting in fields(ComparisonSettings)]
    for name in changes:
        require_one_of(name, known, "there is no setting", "choose among")
    return replace(PRESETS[preset], **changes)
