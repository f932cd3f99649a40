"""Fetching a small document by HTTP: no redirects, bounded in size, and bounded in time as far as a thread can be."""

import http.client
import time
import urllib.error
import urllib.request
from typing import IO, Any, Final

from imgateway.errors import ServiceUnavailableError

MAX_DOCUMENT_BYTES: Final = 256 * 1024
_CHUNK_BYTES: Final = 16 * 1024


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A key set comes from where the settings say, so that nobody on the way can point elsewhere."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


def fetch(url: str, /, *, seconds: float) -> bytes:
    """The document at `url`. Blocks: meant for a thread.

    The proxy settings of the environment (`HTTPS_PROXY`, `NO_PROXY`) are honoured.

    Args:
        url: http or https.
        seconds: how long to wait for each piece of the answer's head, and for its whole body.

    Raises:
        ServiceUnavailableError: no answer, or not a usable one; the text names neither the address nor the content.
    """
    deadline = time.monotonic() + seconds
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310  # AuthSettings: http(s)
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=seconds) as response:
            document = bytearray()
            while chunk := response.read1(_CHUNK_BYTES):
                document += chunk
                if len(document) > MAX_DOCUMENT_BYTES:
                    raise ServiceUnavailableError(f"the answer is longer than {MAX_DOCUMENT_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise ServiceUnavailableError(f"the answer took longer than {seconds:g} s")
            return bytes(document)
    except urllib.error.HTTPError as error:
        error.close()
        raise ServiceUnavailableError(f"HTTP status {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ServiceUnavailableError(f"no answer ({type(error).__name__})") from error
