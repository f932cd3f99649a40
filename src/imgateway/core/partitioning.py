"""Which partition a record goes to: the rule of Kafka's own clients, so that every producer agrees on it.

Java clients hash a record's key with murmur2 (`org.apache.kafka.common.utils.Utils.murmur2`), clear the sign bit and
take the rest modulo the number of partitions. Order per key holds only while everyone who writes the key does the same.
"""

import struct
from functools import lru_cache

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_CACHED_KEYS = 4096


def murmur2(data: bytes, /) -> int:
    """The 32-bit murmur2 hash of `data` with Kafka's seed, unsigned."""
    size = len(data)
    words = size // 4
    h = _SEED ^ size
    for word in struct.unpack_from(f"<{words}I", data):
        mixed = word * _M & _MASK
        h = (h * _M & _MASK) ^ ((mixed ^ mixed >> 24) * _M & _MASK)
    tail = data[words * 4 :]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


@lru_cache(maxsize=_CACHED_KEYS)
def partition_of(key: bytes, partitions: int, /) -> int:
    """The partition of `key` among `partitions`; remembered for the keys seen last, as conversations come in bursts."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
