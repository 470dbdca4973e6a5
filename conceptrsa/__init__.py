"""Which neural network explains which brain region?

The public names are imported when they are first used, so that `import conceptrsa` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conceptrsa.analysis.brain.patterns import RoiPatterns, SubjectPatterns, SubjectRdms
    from conceptrsa.analysis.library import (
        Comparison,
        ComparisonWarning,
        compare,
        extract_features,
        read_betas,
    )
    from conceptrsa.analysis.models.feature_files import Features, ModelRdm, read_features
    from conceptrsa.analysis.rsa.distances import compute_rdm
    from conceptrsa.analysis.rsa.noise_ceiling import noise_ceiling
    from conceptrsa.analysis.rsatoolbox_rdms import from_rsatoolbox, to_rsatoolbox
    from conceptrsa.analysis.settings import ComparisonSettings
    from conceptrsa.bids_config.errors import InputError
    from conceptrsa.bids_config.reader import load_dataset_config

__all__ = [
    "Comparison", "ComparisonSettings", "ComparisonWarning", "Features", "InputError", "ModelRdm",
    "RoiPatterns", "SubjectPatterns", "SubjectRdms", "compare", "compute_rdm", "extract_features",
    "from_rsatoolbox", "load_dataset_config", "noise_ceiling", "read_betas", "read_features",
    "to_rsatoolbox",
]  # fmt: skip

_NAMES = {
    "analysis.brain.patterns": ("RoiPatterns", "SubjectPatterns", "SubjectRdms"),
    "analysis.library": (
        "Comparison", "ComparisonWarning", "compare", "extract_features", "read_betas",
    ),
    "analysis.models.feature_files": ("Features", "ModelRdm", "read_features"),
    "analysis.rsa.distances": ("compute_rdm",),
    "analysis.rsa.noise_ceiling": ("noise_ceiling",),
    "analysis.rsatoolbox_rdms": ("from_rsatoolbox", "to_rsatoolbox"),
    "analysis.settings": ("ComparisonSettings",),
    "bids_config.errors": ("InputError",),
    "bids_config.reader": ("load_dataset_config",),
}  # fmt: skip
"""The public names of each module."""

_HOMES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("conceptrsa")
    if name not in _HOMES:
        raise AttributeError(f"module 'conceptrsa' has no attribute {name!r}")
    return getattr(import_module(f"conceptrsa.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
