"""REST: HTTP requests answered by the methods of a back end's services."""

from imgateway.adapters.starlette.rest.application import RestApplication
from imgateway.adapters.starlette.rest.document import openapi_document
from imgateway.adapters.starlette.rest.mount import RestMount

__all__ = ["RestApplication", "RestMount", "openapi_document"]
