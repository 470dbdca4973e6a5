"""The text files of the demo's BIDS data set that describe it as a whole."""

import json
from importlib.metadata import version

from pipelines.demo.design import slice_delays
from pipelines.demo.settings import DemoSettings

README = """\
# A synthetic fMRI data set with planted truth

Made by `conceptrsa demo`; no person was scanned. Each subject is the MNI152 template, moved,
turned, scaled and sheared, with a skull and scalp drawn around it. The BOLD runs follow the timing
of ds001246's perceptionTest sessions (Horikawa & Kamitani 2017): pictures of 9 s back to back,
each once a run and some repeated straight away (one-back events), between two periods of rest.
They hold head motion, drift, autocorrelated noise, slice delays and signal dropout.

In four regions some voxels respond with a random linear projection of a neural network's features
of the pictures. What was planted is kept beside this folder, in `truth`.

There is no one-back column: a stimulus that equals the stimulus before it is a one-back event.
"""

EVENT_COLUMNS = {
    "trial_no": "Number of the row, from 1",
    "event_type": "stimulus or rest",
    "stimulus_id": "Number of the picture, in ds001246's form",
    "stimulus_name": "Stimulus id: the picture's file name without suffix",
    "category_index": "Number of the picture's category, from 1",
    "image_index": "Number of the picture, from 1",
}


def describe(settings: DemoSettings) -> dict[str, str]:
    """Text of each file at the root of the data set, by its name."""
    delays = slice_delays(settings.bold_shape[2], settings.repetition_time)
    participants = "".join(f"sub-{n:02d}\n" for n in range(1, settings.n_subjects + 1))
    documents = {
        "dataset_description.json": {
            "Name": "conceptrsa demo: synthetic BOLD with planted truth",
            "BIDSVersion": "1.10.0",
            "DatasetType": "raw",
            "License": "CC0",
            "Authors": ["conceptrsa"],
            "GeneratedBy": [{"Name": "conceptrsa", "Version": version("conceptrsa")}],
        },
        "T1w.json": {
            "Manufacturer": "none (synthetic)",
            "MagneticFieldStrength": 3,
        },
        "task-perception_bold.json": {
            "TaskName": "perception",
            "RepetitionTime": settings.repetition_time,
            "SliceTiming": delays.tolist(),
            "SliceEncodingDirection": "k",
            "EchoTime": 0.03,
            "FlipAngle": 80,
            "Manufacturer": "none (synthetic)",
            "MagneticFieldStrength": 3,
        },
        "task-perception_events.json": {
            column: {"Description": text} for column, text in EVENT_COLUMNS.items()
        },
    }
    return {
        "README": README,
        "participants.tsv": "participant_id\n" + participants,
        **{name: json.dumps(content, indent=2) + "\n" for name, content in documents.items()},
    }
