"""The workflow of a subject as a picture."""

import logging
import shutil
import tempfile
from pathlib import Path

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.schema import DatasetConfig
from conceptrsa.pipelines.bids.dataset import BoldRun, Reading, SubjectInputs
from conceptrsa.pipelines.bids.reading import read_dataset
from conceptrsa.pipelines.participant_options import ParticipantOptions
from conceptrsa.pipelines.workflows.engines import SpmSettings
from conceptrsa.pipelines.workflows.mni305 import NormalizationSettings
from conceptrsa.pipelines.workflows.participant import ParticipantSettings, init_participant_wf

FORMATS = (".svg", ".png", ".pdf", ".dot")
log = logging.getLogger(__name__)


def write_graph(
    out_file: Path,
    config: DatasetConfig,
    settings: ParticipantSettings,
    kind: str,
    bids_dir: Path | None = None,
    participant_label: str | None = None,
    reading: Reading | None = None,
) -> Path:
    """Draw a subject's workflow.

    Parameters
    ----------
    out_file : Path
        Where to; its extension is the format.
    config : DatasetConfig
        Which runs belong to the experiment.
    settings : ParticipantSettings
        Whose interfaces are drawn.
    kind : {'orig', 'hierarchical', 'flat', 'colored', 'exec'}
        As nipype calls them.
    bids_dir : Path, optional
        Take the runs of a subject of this data set, else of an example with two runs.
    participant_label : str, optional
        Which subject, by default the first.
    reading : Reading, optional
        How the data set is read: without slice timing, or from fMRIPrep's output.

    Returns
    -------
    Path
        What was written: `out_file`, or a `.dot` beside it where Graphviz is missing.

    Raises
    ------
    InputError
        If the format is not known.
    """
    if out_file.suffix not in FORMATS:
        raise InputError(f"{out_file} must end in one of: {', '.join(FORMATS)}")
    subject = _example_subject(config.runs.task)
    if bids_dir is not None:
        labels = None if participant_label is None else [participant_label]
        subject = read_dataset(bids_dir, config, labels, names_only=True, reading=reading)[0]
    workflow = init_participant_wf(subject, settings)
    if out_file.suffix != ".dot" and shutil.which("dot") is None:
        out_file = out_file.with_suffix(".dot")
        log.warning("Graphviz is not installed, so the graph is written as %s", out_file)
    logging.getLogger("nipype.workflow").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        dot_file = Path(folder) / "graph.dot"
        file_format = out_file.suffix.removeprefix(".")
        workflow.write_graph(str(dot_file), graph2use=kind, format=file_format, simple_form=False)
        out_file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dot_file.with_suffix(out_file.suffix), out_file)
    return out_file


def example_settings(config: DatasetConfig, options: ParticipantOptions) -> ParticipantSettings:
    """Settings of a workflow that is drawn and not run: nothing that they name need be there."""
    normalization = NormalizationSettings(
        options.normalization,
        Path("freesurfer") if options.normalization == "freesurfer" else None,
        options.regions_from(),
        Path("fsaverage") if options.regions_from() == "fsaverage" else None,
    )
    spm, out_dir = SpmSettings(run_model=options.run_model), Path("out")
    return ParticipantSettings(
        options.engine, config.runs.task, config.glm, config.rois, out_dir, normalization, spm
    )


def _example_subject(task: str) -> SubjectInputs:
    def example_run(number: int) -> BoldRun:
        stem = f"sub-01_task-{task}_run-{number:02d}"
        return BoldRun(
            subject="01", session=None, run=f"{number:02d}",
            bold=Path(f"sub-01/func/{stem}_bold.nii.gz"),
            events=Path(f"sub-01/func/{stem}_events.tsv"),
            repetition_time=3.0, slice_times=(0.0,), slice_axis="k",
        )  # fmt: skip

    return SubjectInputs(
        "01", Path("sub-01/anat/sub-01_T1w.nii.gz"), (example_run(1), example_run(2))
    )
