"""The problems that REST itself finds with a request."""

from imgateway.codes import Code, HttpCode, RpcCode
from imgateway.model import Refusal
from imgateway.rpc import RestProblem


def refused(refusal: Refusal, /) -> RestProblem:
    """A refusal of the gateway's as a problem."""
    return RestProblem.of(refusal.code, refusal.message, retry_after=refusal.retry_after)


def invalid(detail: str, /) -> RestProblem:
    """Something in the request's head is wrong."""
    return RestProblem.of(RpcCode.INVALID_ARGUMENT, detail)


FOREIGN = RestProblem.of(Code.FORBIDDEN, "Pages of this origin may not ask.")
TWO_TOKENS = RestProblem.of(Code.UNAUTHENTICATED, "There must be one Authorization header.")
CLIENT_STREAMING = RestProblem.of(RpcCode.UNIMPLEMENTED, "Methods that take a stream can't be called over HTTP.")
FAILED = RestProblem.of(RpcCode.INTERNAL, "The server has failed; its log says how.")
NOT_FOUND = RestProblem.of(RpcCode.NOT_FOUND, "Nothing is served at this path.")
OTHER_METHODS = RestProblem(405, HttpCode.METHOD_NOT_ALLOWED.value, "This path takes other methods; see Allow.")
NOT_JSON = RestProblem(
    415, HttpCode.UNSUPPORTED_MEDIA_TYPE.value, "A body must be application/json in UTF-8, without a content coding."
)
READS_NO_JSON = RestProblem(406, HttpCode.NOT_ACCEPTABLE.value, "The answer is application/json.")
READS_NO_STREAM = RestProblem(
    406, HttpCode.NOT_ACCEPTABLE.value, "The answer is a stream: application/x-ndjson or text/event-stream."
)
TOO_SLOW = RestProblem(408, HttpCode.REQUEST_TIMEOUT.value, "The body did not arrive in time.")


def too_large(limit: int, /) -> RestProblem:
    """The body is longer than allowed."""
    return RestProblem.of(Code.MESSAGE_TOO_LARGE, f"A body may have at most {limit} bytes.")
