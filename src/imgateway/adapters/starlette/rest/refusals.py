"""The problems that REST itself finds with a request."""

from imgateway.codes import RPC_HTTP_STATUS, TABLE, Code, HttpCode, RpcCode
from imgateway.model import Refusal
from imgateway.rpc import RestProblem

RETRY_AFTER_SECONDS = 1


def refused(refusal: Refusal, /) -> RestProblem:
    """A refusal of the gateway's as a problem."""
    status = TABLE[refusal.code].http_status or 500
    return RestProblem(status, refusal.code.value, refusal.message, retry_after=refusal.retry_after)


def of_call(code: RpcCode, detail: str, /) -> RestProblem:
    """A problem with the name and the status that a back end's refusal has."""
    return RestProblem(RPC_HTTP_STATUS[code], code.name, detail)


def invalid(detail: str, /) -> RestProblem:
    """Something in the request's head is wrong."""
    return of_call(RpcCode.INVALID_ARGUMENT, detail)


FOREIGN = refused(Refusal(Code.FORBIDDEN, "Pages of this origin may not ask."))
NOT_LOADED = refused(Refusal(Code.UNAVAILABLE, "No routes are known yet.", retry_after=RETRY_AFTER_SECONDS))
TWO_TOKENS = refused(Refusal(Code.UNAUTHENTICATED, "There must be one Authorization header."))
CLIENT_STREAMING = of_call(RpcCode.UNIMPLEMENTED, "Methods that take a stream can't be called over HTTP.")
FAILED = RestProblem(500, HttpCode.INTERNAL.value, "The server has failed; its log says how.")
NOT_FOUND = RestProblem(404, HttpCode.NOT_FOUND.value, "Nothing is served at this path.")
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
    return refused(Refusal(Code.MESSAGE_TOO_LARGE, f"A body may have at most {limit} bytes."))
