"""Checks of ONNX files, without onnxruntime, which a light installation lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from inpainting.catalog.inspection.files import ModelRefused, only_file
from inpainting.catalog.inspection.formats import onnx_files, onnx_protobuf
from inpainting.catalog.inspection.model_files import check_model
from tests.support import tiny_networks
from tests.support.tiny_networks import lama, migan


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.onnx"


def refusal(path: Path, data: bytes, family: str = "lama") -> str:
    path.write_bytes(data)
    with pytest.raises(ModelRefused) as caught:
        check_model(path, family)
    return caught.value.message


@pytest.mark.parametrize(
    ("family", "data"),
    [("lama", lama()), ("lama", lama(64)), ("migan", migan()), ("migan", migan((512, 512)))],
)
def test_networks_shaped_like_the_published_ones_are_accepted(path: Path, family: str, data: bytes) -> None:
    path.write_bytes(data)
    check_model(path, family)


def test_each_network_is_accepted_for_its_own_family_alone(path: Path) -> None:
    assert "float32" in refusal(path, migan(), "lama")
    assert "uint8" in refusal(path, lama(), "migan")


def with_instance_normalisation(data: bytes) -> bytes:
    """The network with the operator of MODNet before its own."""
    model = onnx.load_from_string(data)
    graph = model.graph
    (first,) = (node for node in graph.node if graph.input[0].name in node.input)
    graph.node.insert(0, helper.make_node("InstanceNormalization", [graph.input[0].name, "scale", "bias"], ["even"]))
    first.input[0] = "even"
    graph.initializer.extend([tiny_networks.number("scale", [1] * 3), tiny_networks.number("bias", [0] * 3)])
    onnx.checker.check_model(model)
    changed: bytes = model.SerializeToString()
    return changed


@pytest.mark.parametrize("family", ["u2net", "u2net-cloth-seg", "isnet", "isnet-anime", "birefnet"])
def test_another_network_with_the_same_input_and_output_is_refused(path: Path, family: str) -> None:
    network = tiny_networks.salient(channels=4 if family == "u2net-cloth-seg" else 1)
    path.write_bytes(network)
    check_model(path, family)
    message = refusal(path, with_instance_normalisation(network), family)
    assert message == (
        "network.onnx normalises each image by itself, as MODNet does, and no U²-Net, IS-Net or BiRefNet. Those "
        f"networks take images in another size and range, so it is not of the family {family}."
    )


def test_the_error_states_what_was_found(path: Path) -> None:
    path.write_bytes(lama(64))
    found = onnx_protobuf.read(path)
    assert found.inputs == {
        "image": onnx_protobuf.Value(1, (None, 3, 64, 64)),
        "mask": onnx_protobuf.Value(1, (None, 1, 64, 64)),
    }
    assert list(found.outputs) == ["output"]


def test_external_tensor_data_is_refused(path: Path) -> None:
    assert "another file" in refusal(path, tiny_networks.with_external_numbers())


def foreign_node() -> Any:
    return helper.make_node("Anything", ["mask"], ["x"], domain="com.example")


def inside_an_if() -> Any:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    branch = helper.make_graph([foreign_node()], "branch", [], [value])
    return helper.make_node("If", ["mask"], ["y"], then_branch=branch, else_branch=branch)


@pytest.mark.parametrize("node", [foreign_node(), inside_an_if()], ids=["outside", "inside an If"])
def test_operators_of_other_domains_are_refused_in_every_subgraph(path: Path, node: Any) -> None:
    assert "com.example" in refusal(path, lama(64, before=[node]))


def test_model_local_functions_are_refused(path: Path) -> None:
    function = helper.make_function(
        "", "Sub", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    assert "functions" in refusal(path, lama(64, functions=[function]))


@pytest.mark.parametrize("sides", [(512, 256), (32, 32), (4096, 4096), (512, "width")])
def test_sizes_that_are_not_square_are_refused(path: Path, sides: Any) -> None:
    assert "squares of 64 to 2048" in refusal(path, migan(sides), "migan")


def test_unexpected_inputs_are_refused(path: Path) -> None:
    assert "takes image and mask" in refusal(path, lama(64).replace(b"mask", b"hole"))


def test_a_file_over_the_limit_is_refused_before_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "MAX_ONNX_BYTES", 2**20)
    assert "larger than 1 MB" in refusal(path, bytes(2**20 + 1))


def varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


@pytest.mark.parametrize("key", [2**32 + (7 << 3 | 2), 2**34 + (7 << 3 | 2), 2**69 - 1, 0, 2, 2**32])
def test_an_oversized_field_key_is_refused(path: Path, key: int) -> None:
    """protobuf reads only the lower 32 bits of the key, so onnxruntime would run the hidden graph."""
    hidden = helper.make_graph([foreign_node()], "hidden", [], []).SerializeToString()
    data = lama(64) + varint(key) + varint(len(hidden)) + hidden
    assert "no .onnx file, or it is damaged" in refusal(path, data)


def test_a_file_with_too_many_fields_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_protobuf, "MAX_FIELDS", 1000)
    assert "too many fields" in refusal(path, b"\x08\x01" * 1001)


def test_deeply_nested_graphs_are_refused(path: Path) -> None:
    node = helper.make_node("Neg", ["mask"], ["x"])
    for _ in range(20):
        inner = helper.make_graph([node], "inner", [], [])
        node = helper.make_node("If", ["mask"], ["x"], then_branch=inner)
    assert "too deep" in refusal(path, lama(64, before=[node]))


def test_a_file_that_is_not_onnx_is_refused(path: Path, tmp_path: Path) -> None:
    for data in (b"", b"\x80\x04]q\x00.", b"MZ", lama(64)[:-5], bytes(100)):
        assert "no .onnx file, or it is damaged" in refusal(path, data)
    other = tmp_path / "network.pt"
    assert "may hold a pickle" in refusal(other, lama(64))
    with pytest.raises(ModelRefused, match="one such file"):
        check_model(tmp_path, "lama")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), change=st.integers(1, 255))
def test_a_damaged_file_is_accepted_or_refused_without_another_error(path: Path, at: int, change: int) -> None:
    data = bytearray(migan())
    data[at % len(data)] ^= change
    path.write_bytes(bytes(data))
    try:
        check_model(path, "migan")
    except ModelRefused:
        return


def test_the_variant_selects_one_of_several_files() -> None:
    names = ["README.md", "lama.onnx", "lama_fp32.onnx"]
    assert only_file(names, ".onnx", "lama_fp32") == "lama_fp32.onnx"
    assert only_file(["README.md", "one.onnx"], ".onnx", "") == "one.onnx"
    for listed, variant in ((names, ""), (names, "lama_fp16"), (["README.md"], "")):
        with pytest.raises(ModelRefused):
            only_file(listed, ".onnx", variant)
