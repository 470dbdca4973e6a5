"""`conceptrsa demo OUT_DIR`: make a data set with planted truth, run everything, and score it."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.cli.parser import given_options
from conceptrsa.pipelines.cli.run_command import add_engine_options, participant_options
from conceptrsa.pipelines.participant_options import ParticipantOptions

if TYPE_CHECKING:  # it takes long to import
    from conceptrsa.pipelines.demo.demo_settings import DemoSettings

log = logging.getLogger(__name__)

SIMULATED = (
    "The brains of this demo are simulated: each region was given the features of one model, which "
    "scores higher and more surely than any real study would show."
)


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "demo",
        help="run everything on a small simulated data set and check the answer",
        description="Simulates a small BIDS data set with planted truth, runs everything on it and "
        "checks how well the truth was recovered. Writes OUT_DIR/bids (raw data), "
        "OUT_DIR/derivatives (betas, regions, tables and figures) and OUT_DIR/recovery.tsv. The "
        "same command continues an interrupted demo.",
        everyday=("--subjects", "--runs", "--seed", "--nprocs"),
        examples=(
            "conceptrsa demo demo",
            "conceptrsa demo demo --subjects 3 --runs 4 --nprocs 4",
            "conceptrsa demo demo-spm --engine spm",
        ),
    )
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="write everything here")
    parser.add_argument(
        "--subjects", type=int, default=5, metavar="N", help="simulate N subjects (default: 5)"
    )
    parser.add_argument(
        "--runs", type=int, default=6, metavar="N", help="simulate N runs of each (default: 6)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed the simulation with this (default: 0)"
    )
    # The defaults of an image with SPM and FreeSurfer are not meant for a newcomer's demo.
    add_engine_options(parser, environment={})
    parser.set_defaults(function=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from conceptrsa.pipelines.demo.demo_dataset import require_demo_folder
    from conceptrsa.pipelines.demo.demo_settings import DemoSettings
    from conceptrsa.pipelines.execution.output_folders import (
        Input,
        require_separate,
        require_writable,
    )
    from conceptrsa.pipelines.execution.run_lock import only_run

    if args.subjects < 2 or args.runs < 2 or args.seed < 0:
        raise InputError(
            "the demo needs --subjects and --runs of at least 2, and --seed of at least 0"
        )
    out: Path = args.out_dir
    options = participant_options(
        given_options(ParticipantOptions, args),
        args.plugin,
        args.use_plugin,
        stimuli_dir=out / "bids" / "stimuli",
        work_dir=out / "work",
        force_config=True,  # all its subjects are processed again if an option differs
    )
    require_demo_folder(out)
    require_separate(out, [Input("--fs-subjects-dir", options.fs_subjects_dir, "files")])
    require_writable(out)
    with only_run([out], ["demo"]):
        settings = DemoSettings(n_subjects=args.subjects, n_runs=args.runs, seed=args.seed)
        return _make_and_run(out, settings, options)


def _make_and_run(out: Path, settings: "DemoSettings", options: ParticipantOptions) -> int:
    from conceptrsa.analysis.betas.read import read_betas
    from conceptrsa.analysis.files.stimuli import StimulusPictures, read_stimuli
    from conceptrsa.analysis.models.features import extract_features
    from conceptrsa.analysis.models.zoo import read_zoo
    from conceptrsa.analysis.settings import settings_for
    from conceptrsa.bids_config import load_dataset_config
    from conceptrsa.pipelines.cli.run_comparison import compare_and_write, used_configuration
    from conceptrsa.pipelines.demo.demo_dataset import write_demo_dataset, write_stimuli
    from conceptrsa.pipelines.demo.recovery import write_recovery
    from conceptrsa.pipelines.participants import run_participants

    bids, derivatives, truth = out / "bids", out / "derivatives", out / "truth"
    config = load_dataset_config("demo")

    log.info("running networks on the pictures")
    write_stimuli(bids / "stimuli")
    stimuli = read_stimuli(bids / "stimuli")
    models = [entry.name for entry in read_zoo().entries if entry.packaged]
    features = extract_features(stimuli, models, out / "cache")
    ids = [stimulus.id for stimulus in stimuli]
    write_demo_dataset(
        out,
        {model.model: model.values for model in features},
        ids,
        settings,
        options.n_procs,
        on_progress=lambda done, total: log.info("data set: %d of %d sessions", done, total),
    )

    failed = run_participants(bids, derivatives, config, options)
    if failed:
        return failed
    patterns = read_betas(derivatives, config.rois, betas_format="derivatives")
    compare_and_write(
        patterns,
        features,
        settings_for("recommended"),
        used_configuration(config),
        derivatives,
        notes=[SIMULATED],
        stimulus_pictures=StimulusPictures.of(stimuli),
    )
    rows = write_recovery(truth, derivatives, out / "recovery.tsv")
    _show(rows)
    print(
        "next: 'conceptrsa init BIDS_OR_BETAS study.toml' writes a configuration for your own data"
    )
    return 0 if all(row.within_limit is not False for row in rows) else 1


def _show(rows: Any) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    for column in ("quantity", "region", "subject", "planted", "recovered", "limit", "within"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row.as_text())
    console = Console()
    # A row that is broken over lines is hard to read; one that runs over the edge is not.
    console.width = max(console.width, 170)
    console.print(table)
