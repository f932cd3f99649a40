"""Whether a published key set can be had: what `imgateway check --connect` asks."""

from imgateway.adapters.jwt.fetching import fetch
from imgateway.adapters.jwt.key_set import FETCH_SECONDS
from imgateway.adapters.jwt.keys import published_keys
from imgateway.adapters.jwt.signatures import Signatures
from imgateway.core.settings import AuthSettings


def count_published_keys(auth: AuthSettings, url: str, /) -> int:
    """How many keys at `url` fit the allowed algorithms. Blocks, as long as `fetch` does.

    Raises:
        ServiceUnavailableError: no answer, or not a key set.
    """
    signatures = Signatures(auth.algorithms)
    return len(published_keys(auth.algorithms, signatures, fetch(url, seconds=FETCH_SECONDS)).keys)
