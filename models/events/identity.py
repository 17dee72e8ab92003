"""How events and learners are named inside: event-id hashes and Kafka partitions."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_HASH_BYTES = 6
_MASK = 0xFFFFFFFF
_MURMUR_SEED = 0x9747B28C
_MURMUR_M = 0x5BD1E995
_DIGITS = 19  # of the largest user id


def event_id_hash(event_id: str) -> int:
    """Return the 48-bit number by which an event id is remembered in a learner's row."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=_HASH_BYTES).digest(), "little")


def event_id_hashes(event_ids: Iterable[str]) -> NDArray[np.uint64]:
    """Return `event_id_hash` of each id, shape (n,)."""
    digests = b"".join([blake2b(name.encode(), digest_size=_HASH_BYTES).digest() for name in event_ids])
    count = len(digests) // _HASH_BYTES
    wide = np.zeros((count, 8), np.uint8)
    wide[:, :_HASH_BYTES] = np.frombuffer(digests, np.uint8).reshape(count, _HASH_BYTES)
    return wide.view("<u8").reshape(count).astype(np.uint64, copy=False)


def murmur2(data: bytes) -> int:
    """Return Kafka's 32-bit murmur2 of `data`, unsigned (org.apache.kafka.common.utils.Utils.murmur2)."""
    length = len(data)
    h = _MURMUR_SEED ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * _MURMUR_M & _MASK
        k = (k ^ k >> 24) * _MURMUR_M & _MASK
        h = h * _MURMUR_M & _MASK ^ k
    if whole < length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _MURMUR_M & _MASK
    h = (h ^ h >> 13) * _MURMUR_M & _MASK
    return h ^ h >> 15


@lru_cache(maxsize=1 << 16)
def partition(user_id: int, count: int) -> int:
    """Return the partition, in [0, count), that Kafka's default partitioner gives the key `str(user_id)`.

    Other languages' clients agree, so that an app may publish without naming partitions.
    """
    return (murmur2(b"%d" % user_id) & 0x7FFFFFFF) % count


def partitions(names: Sequence[bytes], count: int) -> NDArray[np.int64]:
    """Return `partition` of keys ``(n,)`` of at most 20 bytes, all at once."""
    if not names:
        return np.zeros(0, np.int64)
    words = np.array(names, "S20").view("<u4").reshape(len(names), 5)
    length = np.fromiter(map(len, names), np.uint32, len(names))
    m, h = np.uint32(_MURMUR_M), np.uint32(_MURMUR_SEED) ^ length
    for place in range(5):
        k = words[:, place] * m
        k = (k ^ k >> np.uint32(24)) * m
        # The bytes after the end of a key are 0, so the last word is what is left of it.
        left = length.astype(np.int64) - 4 * place
        h = np.where(left >= 4, h * m ^ k, np.where(left > 0, (h ^ words[:, place]) * m, h))
    h = (h ^ h >> np.uint32(13)) * m
    h = h ^ h >> np.uint32(15)
    return (h & np.uint32(0x7FFFFFFF)).astype(np.int64) % count


def name_of(key: bytes | None) -> bytes:
    """Return the user id in a key ``user``, ``user|...`` or ``#...|user``, if there is one."""
    first, _, rest = (key or b"").partition(b"|")
    return rest if first[:1] == b"#" else first


def homes(keys: Sequence[bytes | None], count: int) -> NDArray[np.int64]:
    """Return the partition of the learner that each key names (see `name_of`) ``(n,)``; -1: none."""
    names = [name_of(key) for key in keys]
    good = [name.isdigit() and len(name) <= _DIGITS and name[:1] != b"0" for name in names]
    found = np.full(len(names), -1, np.int64)
    found[good] = partitions([name for name, is_good in zip(names, good, strict=True) if is_good], count)
    return found
