"""The part of ONNX that running reads (deploy/onnx_file) is ONNX's own."""

from __future__ import annotations

import onnx
from google.protobuf.descriptor import FieldDescriptor

from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.onnx_file import onnx_file_pb2, parse_model


def field_facts(field: FieldDescriptor) -> tuple[object, ...]:
    """Returns all that the bytes of a field depend on; an enumeration's are those of an int32."""
    type_of = FieldDescriptor.TYPE_INT32 if field.type == FieldDescriptor.TYPE_ENUM else field.type
    inner = field.message_type.name if field.message_type else None
    return field.name, type_of, field.is_repeated, field.is_packed, inner


def test_every_field_is_that_of_onnx() -> None:
    ours = onnx_file_pb2.DESCRIPTOR.message_types_by_name
    assert set(ours) == {"ModelProto", "GraphProto", "NodeProto", "AttributeProto", "TensorProto"}
    for name, message in ours.items():
        theirs = getattr(onnx, name).DESCRIPTOR.fields_by_number
        assert [field_facts(field) for field in message.fields] == [
            field_facts(theirs[field.number]) for field in message.fields
        ]


def test_what_is_not_read_is_kept(lenet_deployment: Deployment, resnet_deployment: Deployment) -> None:
    for deployment in (lenet_deployment, resnet_deployment):
        content = deployment.model_file.read_bytes()
        again = onnx.load_model_from_string(parse_model(content).SerializeToString())
        assert again == onnx.load_model_from_string(content)
        assert again.functions and again.opset_import
