"""Which methods need no token."""

from collections.abc import Iterable

import attrs


@attrs.define(eq=False)
class PublicMethods:
    """Methods listed as `pkg.Service/Method` or `pkg.Service/*`."""

    _exact: frozenset[str]
    _beginnings: tuple[str, ...]

    @classmethod
    def of(cls, entries: Iterable[str], /) -> "PublicMethods":
        """From the setting."""
        listed = tuple(entries)
        return cls(
            frozenset(entry for entry in listed if not entry.endswith("*")),
            tuple(entry[:-1] for entry in listed if entry.endswith("*")),
        )

    def __contains__(self, rpc: str) -> bool:
        return rpc in self._exact or rpc.startswith(self._beginnings)

    def unused(self, rpcs: Iterable[str], /) -> list[str]:
        """The entries that stand for none of these methods."""
        known = list(rpcs)
        beginnings = [f"{b}*" for b in self._beginnings if not any(rpc.startswith(b) for rpc in known)]
        return [*sorted(self._exact.difference(known)), *beginnings]
