"""Options that several commands share."""

import argparse
import os
from pathlib import Path


def add_resource_options(parser: argparse.ArgumentParser) -> None:
    """Add the number of processes and the memory, as fMRIPrep spells them."""
    group = parser.add_argument_group("resources")
    group.add_argument(
        "--nprocs", "--nthreads", "--n-cpus", type=_positive, default=_processors(), metavar="N",
        help="processes at once (default: all processors of this machine)",
    )  # fmt: skip
    group.add_argument(
        "--omp-nthreads", type=_positive, metavar="N",
        help="processors that one step may use (default: all of --nprocs for one subject, else 1)",
    )  # fmt: skip
    group.add_argument(
        "--mem-mb", type=_positive, default=4000, metavar="MB",
        help="memory of all steps together (default: 4000)",
    )  # fmt: skip


def add_selection_options(parser: argparse.ArgumentParser) -> None:
    """Add which subjects and which task are taken."""
    parser.add_argument("--participant-label", nargs="+", metavar="LABEL", help="default: all")
    parser.add_argument("--task-id", metavar="TASK", help="in the place of the configuration's")


def add_dataset_options(parser: argparse.ArgumentParser) -> None:
    """Add the data set's configuration."""
    parser.add_argument(
        "--dataset-config", default="ds001246", metavar="NAME_OR_PATH",
        help="what is particular to the data set: ds001246, demo, or a TOML file "
        "(default: ds001246)",
    )  # fmt: skip


def add_comparison_options(parser: argparse.ArgumentParser) -> None:
    """Add what the comparison of models and brain can be told."""
    group = parser.add_argument_group("comparison")
    group.add_argument(
        "--stimuli", type=Path, metavar="DIR",
        help="pictures named <stimulus>.<ext>, with labels.tsv (stimulus, label) for language "
        "models",
    )  # fmt: skip
    group.add_argument(
        "--features", type=Path, metavar="DIR",
        help="features in the place of networks: <model>.tsv or <model>.npz, and models.tsv",
    )  # fmt: skip
    group.add_argument(
        "--models", nargs="+", metavar="NAME",
        help="networks to compare (default: all whose weights are there; see 'conceptrsa models')",
    )  # fmt: skip
    group.add_argument(
        "--preset", choices=("paper",), default="paper", help="the paper's way (default)"
    )
    group.add_argument(
        "--voxel-selection", choices=("top-n", "threshold", "all"), default="top-n",
        help="top-n: the N voxels with the highest beta; threshold: every voxel above the "
        "subject's (N+1)th hippocampal one; all (default: top-n)",
    )  # fmt: skip
    group.add_argument("--n-voxels", type=_positive, default=30, metavar="N", help="default: 30")
    group.add_argument("--rdm-metric", choices=("correlation", "cosine"), default="correlation")
    group.add_argument("--rsa-metric", choices=("pearson", "spearman"), default="pearson")
    group.add_argument(
        "--n-random-draws", type=_positive, default=100, metavar="N",
        help="draws of the random control of Figure 1 (default: 100)",
    )  # fmt: skip
    group.add_argument(
        "--reference-model", metavar="NAME",
        help="model that each other one is tested against (default: ResNet50, else the first "
        "visual one, else the first)",
    )  # fmt: skip
    group.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    group.add_argument(
        "--cache-dir", type=Path, metavar="DIR",
        help="where features are kept (default: the user's cache folder)",
    )  # fmt: skip


def default_cache_dir() -> Path:
    """Give the user's cache folder of this program (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "conceptrsa"


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value
