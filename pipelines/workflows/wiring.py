"""Begin workflows, and connect them by fields of the same name."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Workflow

from conceptrsa.pipelines.workflows.steps import Node

Fields = list[tuple[Any, str]]
Begun = tuple[Workflow, Node, Node]
"""A workflow, the `inputnode` that it takes from and the `outputnode` that it fills."""


def begin_workflow(name: str, inputs: Iterable[str], outputs: Iterable[str]) -> Begun:
    """Make a workflow with its first and its last node.

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


def join(
    workflow: Workflow, givers: Iterable[Workflow | Node], part: Workflow | Node, **others: str
) -> None:
    """Connect every input of a part with the output of the same name of those before it.

    Parameters
    ----------
    workflow : Workflow
        Holds them all.
    givers : iterable of Workflow or Node
        In their order; of several outputs of one name the last is taken.
    part : Workflow or Node
        Takes all that its `inputnode`, or the node itself, has fields for.
    **others : str
        Inputs that take an output of another name.

    Raises
    ------
    KeyError
        On an input that no output is for.
    """
    given = {
        field: (giver, output)
        for giver in givers
        for field, output in _fields(giver, "outputnode").items()
    }
    for field, target in _fields(part, "inputnode").items():
        wanted = others.get(field, field)
        if wanted not in given:
            raise KeyError(f"{part.name}: nothing before it gives {wanted}")
        workflow.connect(*given[wanted], part, target)


def _fields(part: Workflow | Node, node: str) -> dict[str, str]:
    """Fields of a node, or of this node of a workflow, and how connections name them."""
    if isinstance(part, Workflow):
        return {field: f"{node}.{field}" for field in _fields(part.get_node(node), node)}
    return {field: field for field in part.inputs.copyable_trait_names()}


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
