"""Problems by their codes."""

import pytest

from imgateway.codes import Code, RpcCode
from imgateway.rpc import RestProblem


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (RpcCode.NOT_FOUND, 404),
        (RpcCode.UNAUTHENTICATED, 401),
        (Code.FORBIDDEN, 403),
        (Code.MESSAGE_TOO_LARGE, 413),
        (Code.KICKED, 500),  # it only ever ends connections
    ],
)
def test_the_tables_have_the_status(code: RpcCode | Code, status: int) -> None:
    made = RestProblem.of(code, "Why.", ({"@type": "t"},), retry_after=3)
    assert made == RestProblem(status, code.name, "Why.", ({"@type": "t"},), 3)


def test_the_names_are_those_that_clients_know() -> None:
    for code in Code:
        assert RestProblem.of(code, "").code == code.value
