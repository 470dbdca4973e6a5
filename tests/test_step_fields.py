"""Inputs and outputs of a step's class become nipype's specifications."""

import pytest
from nipype.interfaces.base import traits
from nipype.interfaces.utility import IdentityInterface

from conceptrsa.interfaces.python.step import Step
from conceptrsa.pipelines.workflows.steps import Node
from conceptrsa.pipelines.workflows.wiring import begin_workflow, join


class Fields(Step):
    """Fields of every kind."""

    either = traits.Either(traits.Int(), traits.Str())
    no_output = traits.Bool(is_output=False)
    number = traits.Int(is_output=True)
    either_out = traits.Either(None, traits.Int(), is_output=True)


class MoreFields(Fields):
    """Fields besides those of its base."""

    text = traits.Str()


def test_fields_are_inputs_or_outputs() -> None:
    step = MoreFields(either="a", no_output=True, text="b")
    assert set(step.inputs.copyable_trait_names()) == {"either", "no_output", "text"}
    assert set(step.output_spec().copyable_trait_names()) == {"number", "either_out"}
    assert not vars(Fields).keys() & {"either", "no_output", "number", "either_out"}


def test_a_field_that_is_a_class_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Wrong.flag is a class: write Bool\(\)$"):
        type("Wrong", (Step,), {"flag": traits.Bool})


def test_an_input_that_nothing_gives_is_named() -> None:
    workflow, inputnode, _ = begin_workflow("sums", ["one"], ["sum"])
    part = Node(IdentityInterface(fields=["one", "two"]), name="adding")
    with pytest.raises(KeyError, match="adding: nothing before it gives two"):
        join(workflow, [inputnode], part)
    with pytest.raises(KeyError, match="adding: nothing before it gives three"):
        join(workflow, [inputnode], part, one="three")
