"""What services offer: their proto files, from a descriptor set or by asking them."""

from imgateway.adapters.grpc.schema.descriptor_set import read_descriptor_set
from imgateway.adapters.grpc.schema.files import Loaded, merge
from imgateway.adapters.grpc.schema.reflection import reflect

__all__ = ["Loaded", "merge", "read_descriptor_set", "reflect"]
