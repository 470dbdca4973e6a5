"""What a comparison can be told, checked when it is made."""

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
        """What a copy is made of."""
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
        On a name that there is none of.
    """
    return cast(RdmMetric, _metric("rdm_metric", metric, get_args(RdmMetric)))


def rsa_metric_of(metric: str | Callable[..., Any]) -> RsaMetric:
    """Check a comparison of RDMs that is given by its name or as a function.

    Raises
    ------
    InputError
        On a name that there is none of.
    """
    return cast(RsaMetric, _metric("rsa_metric", metric, get_args(RsaMetric)))


def _metric(name: str, metric: str | Callable[..., Any], allowed: tuple[str, ...]) -> str:
    if not isinstance(metric, str) and callable(metric):
        return OwnFunction(metric)
    if not is_own(metric):
        require_one_of(metric, allowed, f"{name} cannot be")
    return metric


class Names(dict[Any, str]):
    """What people call distances and comparisons; one's own function goes by its name."""

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
"""Beyond so many, extras are left out or made coarser, with a note: their time would be hours."""

MANY_REGIONS = 100
"""Beyond so many, likewise."""


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
        Which settings are the defaults: voxels chosen on odd runs and scored on even ones and the
        reverse, intervals, permutation tests (recommended); or the paper's way to the letter.
    voxel_selection : {'top-n', 'threshold', 'best-n', 'random', 'all'}
        Voxels of a region: the N of the highest score (top-n); every one above the subject's
        (N+1)th hippocampal one (threshold); as many as give each region its highest noise ceiling
        (best-n); N at random (random); all (default: best-n, and all where there are no betas of
        odd and even runs; paper: top-n).

        N is `n_voxels`, and the hippocampus is `threshold_roi`.
    voxel_score : {'max-beta', 'reliability', 'ncsnr'}
        What voxels are ordered by: highest beta for any stimulus, as in the paper; correlation
        between halves of the runs; ratio of signal to noise over runs.
    selection_data : {'other-half', 'same'}
        Runs that voxels (and their number) are chosen by: the half that is not scored, odd and
        even in turn and averaged; or the scored runs, which is circular and labelled so
        (default: other-half; paper: same).
    n_voxels : int
        Voxels of a region that top-n, threshold and random take.

        At least 3: a correlation over two voxels is 1 or -1 whatever the data.
    threshold_roi : str
        The region that sets the threshold.
    skip_zeros : bool
        Never choose voxels with a beta of exactly 0, as the authors' code.
    remove_mean_pattern : bool
        Subtract the mean pattern over stimuli, voxel by voxel, before distances are taken.
    rdm_metric : {'correlation', 'cosine', 'euclidean', 'mahalanobis', 'crossnobis'} or callable
        Distance between patterns; mahalanobis needs the covariance of the residuals, crossnobis
        betas of single runs, both of which the participant level writes with --run-betas.

        See `conceptrsa.analysis.rsa.distances`. A function takes patterns (stimuli, features) and
        gives the pairs in the order of `scipy.spatial.distance.pdist`.
    rsa_metric : {'pearson', 'spearman', 'kendall-tau-a', 'rho-a', 'cosine', 'whitened-cosine'} \
            or callable
        Comparison of RDMs.

        See `conceptrsa.analysis.rsa.correlations`. A function takes two vectors of pairs and gives
        a number.
    reference_model : str or None
        Model that each other one is tested against (default: ResNet50, else the first visual one,
        else the first).
    groups : {'paper', 'authors-code'}
        Groups of the models: as the table of models says (paper); or with ICMLM among the visual
        models, as a slip of theirs has it (authors-code).
    subject_stimuli : {'auto', 'shared', 'own'}
        Stimuli that each subject is scored on where not all saw the same: those that all share; or
        each subject's own (default, auto: the shared ones where they are half of every subject's
        or more).
    n_random_draws : int
        Draws of random voxels for each number of voxels, in the sweep of noise ceilings.
    random_replacement : bool
        Draw them with replacement, as the authors' code.
    sweep_dense_until, sweep_log_points : int
        The sweep takes every number of voxels up to the first, then so many log-spaced ones.
    n_permutations : int
        Permutations of the stimuli's labels, the identity among them.
    multiverse : bool
        Score every voxel selection x distance x comparison as well (default: with the preset
        recommended).
    seed : int
        Of everything random.
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
                raise InputError(f"{name} = {value!r} is neither True nor False: give one of them")
            elif minimum is not None and (
                type(value) is bool or not isinstance(value, Integral) or value < minimum
            ):
                is_small = isinstance(value, Real) and value < minimum
                what = "too small" if is_small else "no whole number"
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
