"""How workflows are begun and joined: by fields of the same name, as far as that goes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Workflow

from conceptrsa.pipelines.workflows.steps import Node

Fields = list[tuple[Any, str]]


def begin_workflow(
    name: str, inputs: Iterable[str], outputs: Iterable[str]
) -> tuple[Workflow, Node, Node]:
    """Make a workflow, the `inputnode` that it takes from and the `outputnode` that it fills.

    Parameters
    ----------
    name : str
        Of the workflow.
    inputs, outputs : iterable of str
        Fields of the two nodes.
    """
    return (
        Workflow(name=name),
        Node(IdentityInterface(fields=list(inputs)), name="inputnode"),
        Node(IdentityInterface(fields=list(outputs)), name="outputnode"),
    )


def into(*fields: str) -> Fields:
    """Connect fields of a node with those of the same names of a workflow's inputs."""
    return [(field, f"inputnode.{field}") for field in fields]


def across(*fields: str) -> Fields:
    """Connect outputs of a workflow with the inputs of the same names of another one."""
    return [(f"outputnode.{field}", f"inputnode.{field}") for field in fields]


def out_of(*fields: str) -> Fields:
    """Connect outputs of a workflow with the fields of the same names of a node."""
    return [(f"outputnode.{field}", field) for field in fields]


def as_files(*fields: str) -> Fields:
    """Connect fields with the inputs of an interface that are called `FIELD_file`."""
    return [(field, f"{field}_file") for field in fields]


def first(items: list[object]) -> object:
    """Give the first, such as that of all runs (nipype runs this by its source)."""
    return items[0]


def grouped(items: list[object], partitions: list[list[int]]) -> list[list[object]]:
    """Sort what there is of each run by partition (nipype runs this by its source)."""
    return [[items[run] for run in part] for part in partitions]


def connections(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give output and input of each connection in the data of an edge of nipype's graph."""
    for source, target in data["connect"]:
        yield (source[0] if isinstance(source, tuple) else source), target
