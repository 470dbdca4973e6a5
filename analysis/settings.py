"""What a comparison can be told, checked when it is made."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import did_you_mean

Preset = Literal["recommended", "paper"]
VoxelSelection = Literal["top-n", "threshold", "best-n", "random", "all"]
VoxelScore = Literal["max-beta", "reliability", "ncsnr"]
SelectionData = Literal["other-half", "same"]
RdmMetric = Literal["correlation", "cosine", "euclidean", "mahalanobis", "crossnobis"]
RsaMetric = Literal["pearson", "spearman", "kendall-tau-a", "rho-a", "cosine", "whitened-cosine"]
Groups = Literal["paper", "authors-code"]


class OwnFunction(str):
    """A distance or a comparison of the user's own: its name, with the function itself.

    Settings, tables and figures hold the name, and computing calls the function. The name ends in
    brackets, so that it is never that of a distance or comparison of this package.
    """

    function: Callable[..., Any]

    def __new__(cls, function: Callable[..., Any]) -> "OwnFunction":
        """Take the name of a function."""
        name = getattr(function, "__name__", type(function).__name__)
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


class Names(dict[Any, str]):
    """What people call distances and comparisons; one's own function goes by its name."""

    def __missing__(self, metric: str) -> str:
        """Give the name of a function."""
        if not is_own(metric):
            raise KeyError(metric)
        return str(metric)


def _require_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed and not is_own(value):
        raise InputError(
            f"{name} = {value!r} is unknown{did_you_mean(value, allowed)}: choose one of "
            f"{', '.join(allowed)}"
        )


def _require_at_least(name: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise InputError(f"{name} = {value} is too small: give {minimum} or more")


@dataclass(frozen=True)
class ComparisonSettings:
    """Settings of a comparison; the defaults are the preset 'recommended'.

    For the preset 'paper', or some of its settings changed, see `settings_for`.

    Attributes
    ----------
    preset : {'recommended', 'paper'}
        Which analysis the settings make up; see `settings_for`.
    voxel_selection : {'top-n', 'threshold', 'best-n', 'random', 'all'}
        top-n: the `n_voxels` voxels of the highest score in each region; threshold: those above
        the score that leaves exactly `n_voxels` in `threshold_roi`, per subject; best-n: as many
        of the highest score as give each region its highest noise ceiling; random: `n_voxels` at
        random; all.
    voxel_score : {'max-beta', 'reliability', 'ncsnr'}
        What voxels are ordered by: the paper's highest beta for any stimulus; the correlation of
        a voxel's betas between halves of the runs; the ratio of signal to noise over runs.
    selection_data : {'other-half', 'same'}
        Runs that voxels (and their number) are chosen by: the odd runs where the even ones are
        scored and the reverse, averaged; or the runs that are scored, which is circular.
    n_voxels : int
        At least 3: a correlation over two voxels is 1 or -1 whatever the data.
    threshold_roi : str
        The region that sets the threshold.
    skip_zeros : bool
        Whether voxels with a beta of exactly 0 are never among the highest, as in the authors'
        code.
    remove_mean_pattern : bool
        Whether the mean pattern over stimuli is subtracted first, voxel by voxel.
    rdm_metric : {'correlation', 'cosine', 'euclidean', 'mahalanobis', 'crossnobis'} or callable
        Distance between two patterns; see `conceptrsa.analysis.rsa.distances`. A function takes
        patterns (stimuli, features) and gives the pairs in the order of
        `scipy.spatial.distance.pdist`.
    rsa_metric : {'pearson', 'spearman', 'kendall-tau-a', 'rho-a', 'cosine', 'whitened-cosine'} \
            or callable
        Comparison of two RDMs; see `conceptrsa.analysis.rsa.correlations`. A function takes two
        vectors of pairs and gives a number.
    reference_model : str or None
        Every other model is tested against it; None takes ResNet50, else the first visual model.
    groups : {'paper', 'authors-code'}
        As the models' table says; or, as the authors' code had it, ICMLM among the visual models.
    n_random_draws : int
        Random voxel subsets per size in the sweep of the noise ceiling.
    random_replacement : bool
        Whether they are drawn with replacement, as in the authors' code.
    sweep_dense_until, sweep_log_points : int
        The sweep takes every number of voxels up to the first, then so many log-spaced ones.
    n_permutations : int
        Permutations of the stimuli's labels, the identity among them.
    n_bootstraps : int
        Bootstrap samples.
    multiverse : bool
        Whether every voxel selection x distance x comparison is computed as well.
    seed : int
        Of everything random, not negative.
    """

    preset: Preset = "recommended"
    voxel_selection: VoxelSelection = "best-n"
    voxel_score: VoxelScore = "max-beta"
    selection_data: SelectionData = "other-half"
    n_voxels: int = 30
    threshold_roi: str = "hippocampus"
    skip_zeros: bool = False
    remove_mean_pattern: bool = False
    rdm_metric: RdmMetric = "correlation"
    rsa_metric: RsaMetric = "pearson"
    reference_model: str | None = None
    groups: Groups = "paper"
    n_random_draws: int = 100
    random_replacement: bool = False
    sweep_dense_until: int = 100
    sweep_log_points: int = 100
    n_permutations: int = 10_000
    n_bootstraps: int = 1000
    multiverse: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rdm_metric", "rsa_metric"):
            metric = getattr(self, name)
            if callable(metric):
                object.__setattr__(self, name, OwnFunction(metric))
        _require_choice("preset", self.preset, get_args(Preset))
        _require_choice("voxel_selection", self.voxel_selection, get_args(VoxelSelection))
        _require_choice("voxel_score", self.voxel_score, get_args(VoxelScore))
        _require_choice("selection_data", self.selection_data, get_args(SelectionData))
        _require_choice("rdm_metric", self.rdm_metric, get_args(RdmMetric))
        _require_choice("rsa_metric", self.rsa_metric, get_args(RsaMetric))
        _require_choice("groups", self.groups, get_args(Groups))
        _require_at_least("n_voxels", self.n_voxels, 3)
        _require_at_least("n_random_draws", self.n_random_draws, 1)
        _require_at_least("sweep_dense_until", self.sweep_dense_until, 3)
        _require_at_least("sweep_log_points", self.sweep_log_points, 2)
        _require_at_least("n_permutations", self.n_permutations, 100)
        _require_at_least("n_bootstraps", self.n_bootstraps, 100)
        _require_at_least("seed", self.seed, 0)

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
    _require_choice("preset", preset, get_args(Preset))
    return replace(PRESETS[preset], **changes)
