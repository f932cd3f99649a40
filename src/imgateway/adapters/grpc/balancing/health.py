"""What an instance says of itself: the protocol `grpc.health.v1`."""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

import attrs
import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

SILENCE_SECONDS: Final = 0.75
"""Who has said nothing for so long after a connection was made is taken to serve."""
PAUSE_SECONDS: Final = 0.5
LONG_PAUSE_SECONDS: Final = 60.0
"""Until one is asked again that offers no health service, or does not know the service: the next there may."""

_WATCH: Final = "/grpc.health.v1.Health/Watch"
_BRIEFLY: Final = frozenset({grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
_SERVES: Final = frozenset({HealthCheckResponse.SERVING, HealthCheckResponse.SERVICE_UNKNOWN})


@attrs.define(eq=False)
class Health:
    """An instance's health. The last word counts until there is another, also over a new connection.

    Attributes:
        serving: None while nothing is known yet.
    """

    _channel: grpc.aio.Channel
    _service: str
    _on_change: Callable[[], None]
    serving: bool | None = None
    _silence: asyncio.TimerHandle | None = None

    def connected(self) -> None:
        """A connection has been made."""
        self.stop()
        self._silence = asyncio.get_running_loop().call_later(SILENCE_SECONDS, self._say, True)

    def stop(self) -> None:
        """Expect nothing any more."""
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    async def watch(self) -> None:
        """Listen to what it says, until cancelled.

        Where it does not know the service, what it says of the whole server counts, and the service is asked for again
        from time to time.
        """
        asked = self._service
        while True:
            outcome = await self._listen(asked)
            if asked and outcome is grpc.StatusCode.NOT_FOUND:
                asked = ""
                continue
            asked = self._service
            pause = PAUSE_SECONDS if outcome in _BRIEFLY else LONG_PAUSE_SECONDS
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    async def _listen(self, service: str) -> grpc.StatusCode:
        """Until it breaks off, and how; `NOT_FOUND` where the service is not known."""
        watch: Any = self._channel.unary_stream(_WATCH)
        seconds = None if service == self._service else LONG_PAUSE_SECONDS
        call = watch(HealthCheckRequest(service=service).SerializeToString(), wait_for_ready=True, timeout=seconds)
        try:
            # Not by `async for`: a call that is iterated holds itself, and its channel, until garbage is collected.
            while (message := await call.read()) is not grpc.aio.EOF:
                status = HealthCheckResponse.FromString(message).status
                if status == HealthCheckResponse.SERVICE_UNKNOWN and service:
                    return grpc.StatusCode.NOT_FOUND
                self._say(status in _SERVES)
            code = grpc.StatusCode.OK
            self._say(self.serving is not False)
        except DecodeError:
            code = grpc.StatusCode.UNKNOWN
            self._say(True)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            # A connection that breaks says nothing; whoever answers by another status has no such service.
            if code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                self._say(True)
        finally:
            call.cancel()
        return code

    def _say(self, serving: bool) -> None:
        self.stop()
        self.serving = serving
        self._on_change()
