"""The report of a comparison: `report.html` beside its tables and figures."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from conceptrsa.analysis.files.stimuli import StimulusPictures
from conceptrsa.analysis.output.report.answer import answer
from conceptrsa.analysis.output.report.answer_table import answer_tables
from conceptrsa.analysis.output.report.contents import Column, Figures, embed_figures, read_tables
from conceptrsa.analysis.output.report.explorer import (
    explorer_data,
    notes_on_rdms,
    rdms_to_show,
    stimuli_data,
)
from conceptrsa.analysis.output.report.methods import describe_methods, write_citation
from conceptrsa.analysis.output.report.rendering import counted, render_page
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.bids_config.writing import write_text

REPORT = "report.html"
CITATION = "CITATION.bib"

SCRIPTS = ("folds.js", "scrolling.js", "tables.js", "explorer.js", "stimuli.js")

SECTIONS = (
    ("answer", "The answer"),
    ("warnings", "What to know before trusting it"),
    ("figures", "Figures"),
    ("explore", "RDMs and stimuli"),
    ("tables", "Tables"),
    ("methods", "Methods"),
    ("provenance", "Where the numbers come from"),
)

MODEL_COLUMNS = tuple(
    Column(name, numeric=False) for name in ("model", "group", "note", "SHA-256 of its features")
)


PARTS_OF_EXPLORER = (
    ("stimulus-map", "Map of the stimuli"),
    ("disagreement", "Where brain and model disagree"),
    ("stimulus-influence", "Which stimuli drive the score"),
)


def write_report(
    result: ComparisonResult,
    group_dir: Path,
    provenance: Mapping[str, Any],
    stimulus_pictures: StimulusPictures | None = None,
) -> None:
    """Write the report and the file of citations, from a result and the files made of it.

    Parameters
    ----------
    result : ComparisonResult
    group_dir : Path
        Holds the tables, and the figures in its folder `figures`; those that are not there are
        not in the report.
    provenance : mapping
        As `conceptrsa.analysis.output.write.provenance_of` gives it.
    stimulus_pictures : StimulusPictures, optional
        Pictures and labels of the stimuli.
    """
    methods = describe_methods(result)
    write_citation(methods.references, group_dir / CITATION)
    figures = embed_figures(result, group_dir / "figures")
    rdms = rdms_to_show(result)
    explorer = None if rdms is None else explorer_data(result, rdms)
    shown, notes = stimuli_data(
        rdms.stimuli if rdms and explorer else (), stimulus_pictures or StimulusPictures()
    )
    page = render_page(
        "group.html.j2",
        scripts=SCRIPTS,
        title=_title(provenance),
        subtitle=_subtitle(result, provenance["versions"]["conceptrsa"]),
        sections=list(_sections(figures, bool(explorer))),
        answer=answer(result),
        answer_tables=answer_tables(result),
        warnings=[text for text in result.warnings if not text.startswith("sub-")],
        warnings_on_subjects=[text for text in result.warnings if text.startswith("sub-")],
        figures=figures,
        explorer=None if explorer is None else {**shown, **explorer},
        explorer_notes=() if rdms is None else (*notes_on_rdms(result, rdms), *notes),
        has_rdms=rdms is not None,
        tables=list(read_tables(group_dir)),
        methods=methods,
        citation_file=CITATION,
        provenance=provenance,
        further_settings=_as_text(provenance["further_settings"]),
        origins=_as_text({model.name: model.origin for model in result.models if model.origin}),
        model_columns=MODEL_COLUMNS,
        model_rows=[
            (model.name, model.group, model.note, model.features_sha256) for model in result.models
        ],
        input_columns=(Column("file", numeric=False), Column("SHA-256", numeric=False)),
    )
    write_text(group_dir / REPORT, page)


def _sections(figures: Figures, has_explorer: bool) -> Iterator[tuple[str, str]]:
    """Sections, below the figures those that are folded, and the parts of the explorer."""
    for section in SECTIONS:
        yield section
        if section[0] == "figures":
            yield from ((topic.id, topic.title) for topic in figures.topics)
        if section[0] == "explore" and has_explorer:
            yield from PARTS_OF_EXPLORER


def _title(provenance: Mapping[str, Any]) -> str:
    """The question, and of which study where its name is known.

    Without a date: the same result gives the same page.
    """
    study = provenance["further_settings"].get("dataset_config", {}).get("name")
    question = "Which neural network explains which brain region?"
    return f"{study}: {question[0].lower()}{question[1:]}" if study else question


def _subtitle(result: ComparisonResult, version: str) -> str:
    return (
        f"{counted(len(result.subjects), 'subject')}, {result.sets.size} stimuli, "
        f"{counted(len(result.rois), 'region')}, {counted(len(result.models), 'model')}; preset "
        f"{result.settings.preset}; conceptrsa {version}."
    )


def _as_text(content: Mapping[str, Any]) -> str:
    """Nested settings as indented text; empty if there are none."""
    return json.dumps(content, indent=2, ensure_ascii=False) if content else ""
