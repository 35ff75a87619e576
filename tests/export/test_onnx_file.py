"""The ONNX file says how to use the model, and nothing of the machine that wrote it."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest

from raybench.export.onnx_file import _describe
from raybench.export.settings import read_settings
from tests.export.conftest import Finished

onnx = pytest.importorskip("onnx")

NOTE = "/home/alice/site-packages/net.py:12"


def noted(message: object) -> object:
    """With the exporter's kinds of notes, where a message may have them."""
    for name in ("doc_string", "metadata_props"):
        if name in message.DESCRIPTOR.fields_by_name:  # type: ignore[attr-defined]
            if name == "doc_string":
                message.doc_string = NOTE  # type: ignore[attr-defined]
            else:
                message.metadata_props.add(key="stack_trace", value=NOTE)  # type: ignore[attr-defined]
    return message


def branch(name: str) -> object:
    """A graph inside of a node."""
    value = noted(onnx.helper.make_tensor(f"{name}_c", onnx.TensorProto.FLOAT, [1], [1.0]))
    node = noted(onnx.helper.make_node("Constant", [], [name], value=value))
    out = noted(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]))
    return noted(onnx.helper.make_graph([node], name, [], [out]))


def test_notes_are_cleared_at_every_depth(handed_over: Path, tmp_path: Path) -> None:
    condition = noted(onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, []))
    out = noted(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1]))
    choice = onnx.helper.make_node(
        "If", ["c"], ["y"], then_branch=branch("a"), else_branch=branch("b")
    )
    for attribute in choice.attribute:
        noted(attribute)
    inner = noted(onnx.helper.make_node("Relu", ["x"], ["z"]))
    imports = [onnx.helper.make_opsetid("", 18)]
    function = noted(onnx.helper.make_function("own", "f", ["x"], ["z"], [inner], imports))
    weight = noted(onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [1.0]))
    graph = noted(onnx.helper.make_graph([noted(choice)], "g", [condition], [out], [weight]))
    model = noted(onnx.helper.make_model(graph, functions=[function], opset_imports=imports))
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path))
    assert path.read_bytes().count(NOTE.encode()) > 20
    _describe(path, read_settings(handed_over))
    assert b"alice" not in path.read_bytes()
    kept = onnx.load(str(path))
    onnx.checker.check_model(kept)
    facts = {entry.key: json.loads(entry.value) for entry in kept.metadata_props}
    assert facts["labels"] == ["cat", "dog", "yak|<b>"] and facts["image_size"] == 32


@pytest.mark.slow
def test_it_names_no_place_of_this_machine(fine_tuned: Finished, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    folder = fine_tuned.sweep.export(tmp_path / "model", "test_vit", onnx=True)
    content = (folder / "model.onnx").read_bytes()
    places = (str(Path.home()), str(tmp_path), str(Path(__file__).parents[2]), "/tmp/", ".py")
    for trace in ("site-packages", "stack_trace", getpass.getuser(), *places):
        assert len(trace) < 2 or trace.encode() not in content, trace
