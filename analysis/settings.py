"""What a comparison can be told, checked when it is made."""

from dataclasses import dataclass
from typing import Literal, get_args

from bids_config.errors import InputError

Preset = Literal["paper"]
VoxelSelection = Literal["top-n", "threshold", "all"]
RdmMetric = Literal["correlation", "cosine"]
RsaMetric = Literal["pearson", "spearman"]


@dataclass(frozen=True)
class ComparisonSettings:
    """Settings of a comparison; the defaults are the paper's main analysis.

    Attributes
    ----------
    preset : {'paper'}
        Which analysis the settings make up.
    voxel_selection : {'top-n', 'threshold', 'all'}
        top-n: the `n_voxels` voxels of the highest beta in each region; threshold: those above
        the beta that leaves exactly `n_voxels` in `threshold_roi`, per subject; all.
    n_voxels : int
        At least 3: a correlation over two voxels is 1 or -1 whatever the data.
    threshold_roi : str
        The region that sets the threshold.
    rdm_metric : {'correlation', 'cosine'}
        Distance between two patterns, of brains and models.
    rsa_metric : {'pearson', 'spearman'}
        Correlation between two RDMs.
    reference_model : str or None
        Every other model is tested against it; None takes ResNet50, else the first visual model.
    n_random_draws : int
        Random voxel subsets per size in the sweep of the noise ceiling.
    sweep_dense_until, sweep_log_points : int
        The sweep takes every number of voxels up to the first, then so many log-spaced ones.
    seed : int
        Of the random draws, not negative.
    """

    preset: Preset = "paper"
    voxel_selection: VoxelSelection = "top-n"
    n_voxels: int = 30
    threshold_roi: str = "hippocampus"
    rdm_metric: RdmMetric = "correlation"
    rsa_metric: RsaMetric = "pearson"
    reference_model: str | None = None
    n_random_draws: int = 100
    sweep_dense_until: int = 100
    sweep_log_points: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        _require_choice("preset", self.preset, get_args(Preset))
        _require_choice("voxel_selection", self.voxel_selection, get_args(VoxelSelection))
        _require_choice("rdm_metric", self.rdm_metric, get_args(RdmMetric))
        _require_choice("rsa_metric", self.rsa_metric, get_args(RsaMetric))
        _require_at_least("n_voxels", self.n_voxels, 3)
        _require_at_least("n_random_draws", self.n_random_draws, 1)
        _require_at_least("sweep_dense_until", self.sweep_dense_until, 3)
        _require_at_least("sweep_log_points", self.sweep_log_points, 2)
        _require_at_least("seed", self.seed, 0)


def _require_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} = {value!r} is unknown: choose one of {', '.join(allowed)}")


def _require_at_least(name: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise InputError(f"{name} = {value} is too small: give {minimum} or more")
