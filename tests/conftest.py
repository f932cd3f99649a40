"""Fixtures every test may use."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# Enough to find what is wrong, little enough for every commit; how long one takes says nothing on a busy machine.
settings.register_profile("gateway", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gateway")

# The contract suites' assertions show their values like those of a test module.
pytest.register_assert_rewrite("imgateway.testing")

# A job in a shell's background ignores SIGINT, and so would every process that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Core tests run on both event loops; modules bound to asyncio's sockets override this."""
    return str(request.param)
