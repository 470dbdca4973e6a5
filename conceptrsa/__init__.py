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
    "Comparison",
    "ComparisonSettings",
    "ComparisonWarning",
    "Features",
    "InputError",
    "ModelRdm",
    "RoiPatterns",
    "SubjectPatterns",
    "SubjectRdms",
    "compare",
    "compute_rdm",
    "extract_features",
    "from_rsatoolbox",
    "load_dataset_config",
    "noise_ceiling",
    "read_betas",
    "read_features",
    "to_rsatoolbox",
]

_HOMES = {
    "Comparison": "analysis.library",
    "ComparisonSettings": "analysis.settings",
    "ComparisonWarning": "analysis.library",
    "Features": "analysis.models.feature_files",
    "InputError": "bids_config.errors",
    "ModelRdm": "analysis.models.feature_files",
    "RoiPatterns": "analysis.brain.patterns",
    "SubjectPatterns": "analysis.brain.patterns",
    "SubjectRdms": "analysis.brain.patterns",
    "compare": "analysis.library",
    "compute_rdm": "analysis.rsa.distances",
    "extract_features": "analysis.library",
    "from_rsatoolbox": "analysis.rsatoolbox_rdms",
    "load_dataset_config": "bids_config.reader",
    "noise_ceiling": "analysis.rsa.noise_ceiling",
    "read_betas": "analysis.library",
    "read_features": "analysis.models.feature_files",
    "to_rsatoolbox": "analysis.rsatoolbox_rdms",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("conceptrsa")
    if name not in _HOMES:
        raise AttributeError(f"module 'conceptrsa' has no attribute {name!r}")
    return getattr(import_module(f"conceptrsa.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
