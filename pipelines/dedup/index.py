"""The near-duplicate index: partitions, in this process or as Ray actors, behind one batch interface.

A key belongs to partition `key mod S`. A call sends each partition its part of the batch, all at once, so a
shard costs a fixed number of rounds (look up, signatures, insert) of at most S calls each, whatever its size.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.partition import Partition, hash_ordinals
from snowcoder.base import UserError

_CORPUS_BITS = 58  # of a code, below the corpus: 2**26 shards of 2**32 rows
_ORDINAL = (1 << _CORPUS_BITS) - 1


class PartitionLost(Exception):
    """A partition's process is gone, and its part of the index with it. `rebuild` restores it."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__(number, name)
        self.number = number

    def __str__(self) -> str:
        return f"partition {self.args[0]} of the near-duplicate index ({self.args[1]}) is gone; rebuild it"


class Partitions(Protocol):
    """Where the partitions live."""

    def __len__(self) -> int: ...

    def call(self, method: str, arguments: Mapping[int, tuple]) -> dict[int, Any]:
        """Call `method` of each partition named, with its own arguments, at the same time."""
        ...

    def replace(self, number: int, cfg: DedupConfig) -> None:
        """An empty partition in place of this one."""
        ...


class LocalPartitions:
    """Partitions in this process, for one-process runs and tests."""

    def __init__(self, cfg: DedupConfig) -> None:
        self._partitions = [Partition(number, cfg) for number in range(cfg.partitions)]

    def __len__(self) -> int:
        return len(self._partitions)

    def call(self, method: str, arguments: Mapping[int, tuple]) -> dict[int, Any]:
        return {
            number: getattr(self._partitions[number], method)(*args) for number, args in arguments.items()
        }

    def replace(self, number: int, cfg: DedupConfig) -> None:
        """An empty partition in place of this one."""
        self._partitions[number] = Partition(number, cfg)


class RayPartitions:
    """Named Ray actors, looked up by name, so that any task can reach them. Pickles to names only.

    The creator's object must live as long as the index: Ray ends a named actor with its last original handle.
    """

    def __init__(self, name_prefix: str, count: int, labels: Mapping[str, str] | None = None) -> None:
        self._names = [f"{name_prefix}-{number}" for number in range(count)]
        self._labels = dict(labels or {})
        self._handles: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._names)

    def __reduce__(self) -> tuple:
        return RayPartitions, (self._names[0].rpartition("-")[0], len(self._names), self._labels)

    def call(self, method: str, arguments: Mapping[int, tuple]) -> dict[int, Any]:
        """As `Partitions.call`; raises PartitionLost where an actor has died."""
        refs = {
            number: getattr(self._handle(number), method).remote(*args) for number, args in arguments.items()
        }
        return {number: self._answer(number, ref) for number, ref in refs.items()}

    def replace(self, number: int, cfg: DedupConfig) -> None:
        """An empty actor under the name of the lost one."""
        import ray

        actor = ray.remote(Partition).options(
            name=self._names[number],
            num_cpus=0,  # it answers in microseconds; a core of its own would idle
            memory=cfg.partition_bytes,
            max_restarts=0,  # a restarted actor would be empty, and let duplicates pass
            scheduling_strategy="SPREAD",
            label_selector=self._labels or None,
        )
        self._handles[number] = actor.remote(number, cfg)

    def _handle(self, number: int) -> Any:
        import ray

        if number not in self._handles:
            try:
                self._handles[number] = ray.get_actor(self._names[number])
            except ValueError as missing:
                raise PartitionLost(number, self._names[number]) from missing
        return self._handles[number]

    def _answer(self, number: int, ref: Any) -> Any:
        import ray

        try:
            return ray.get(ref)
        except ray.exceptions.ActorDiedError as died:
            self._handles.pop(number)  # the name may have a new bearer by the next call
            raise PartitionLost(number, self._names[number]) from died
        except ray.exceptions.RayTaskError as failed:
            if isinstance(failed.cause, UserError):
                raise failed.cause from None  # one line, without the actor's traceback
            raise


def create_partitions(
    cfg: DedupConfig, name_prefix: str, labels: Mapping[str, str] | None = None
) -> RayPartitions:
    """Start the actors `name_prefix-0` ... and wait until all hold their memory. Keep the returned object.

    `labels`: of the nodes that they may be on; None: any. Call it once the cluster has its nodes: actors are placed
    where there is memory now.
    """
    partitions = RayPartitions(name_prefix, cfg.partitions, labels)
    for number in range(cfg.partitions):
        partitions.replace(number, cfg)
    partitions.call("stats", dict.fromkeys(range(cfg.partitions), ()))
    return partitions


class Index:
    """Batches of keys to partitions and back. Holds no state of its own.

    `below`: read-only indices of other corpora, whose owners come before all owners here. Owners travel as *codes*:
    the ordinal, and in its upper bits the corpus, which is `number` here and 0 ... in those below. Without any, a code
    is the ordinal.
    """

    def __init__(
        self, partitions: Partitions, below: Sequence[Index] = (), number: int | None = None
    ) -> None:
        self.partitions = partitions
        self.below = tuple(below)
        self.number = len(self.below) if number is None else number

    def codes(self, ordinals: np.ndarray) -> np.ndarray:
        """Codes int64[n] of this corpus' ordinals."""
        return ordinals | (self.number << _CORPUS_BITS)

    def places(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ordinals int64[n], corpora int8[n]: 0 for this one, k for the k-th below)."""
        corpus = codes >> _CORPUS_BITS
        return codes & _ORDINAL, np.where(corpus == self.number, 0, corpus + 1).astype(np.int8)

    def lookup(self, exact: np.ndarray, bands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Owners' codes int64 of exact keys uint64[n, 2] and band keys uint64[m], -1 where free. A round a corpus."""
        owners = self._lookup(exact, bands)
        for number, base in reversed(list(enumerate(self.below))):
            for mine, found in zip(owners, base._lookup(exact, bands), strict=True):
                owned = found >= 0
                mine[owned] = found[owned] & _ORDINAL | (number << _CORPUS_BITS)
        return owners

    def owned_below(self, bands: np.ndarray) -> np.ndarray:
        """bool as `bands`: the key is owned in another corpus, which comes first, so it is not owned here."""
        owned = np.zeros(bands.size, np.bool_)
        for base in self.below:
            owned |= base._lookup(np.zeros((0, 2), np.uint64), bands.reshape(-1))[1] >= 0
        return owned.reshape(bands.shape)

    def _lookup(self, exact: np.ndarray, bands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        exact_parts, band_parts = self._split(exact[:, 0]), self._split(bands)
        answers = self.partitions.call(
            "lookup",
            {
                number: (exact[exact_parts[number]], bands[band_parts[number]])
                for number in range(len(self.partitions))
                if len(exact_parts[number]) or len(band_parts[number])
            },
        )
        exact_owners, band_owners = np.empty(len(exact), np.int64), np.empty(len(bands), np.int64)
        for number, (of_exact, of_bands) in answers.items():
            exact_owners[exact_parts[number]] = of_exact
            band_owners[band_parts[number]] = of_bands
        return exact_owners, band_owners

    def signatures(self, codes: np.ndarray, width: int) -> np.ndarray:
        """Signatures uint8[n, width] of kept documents. A round a corpus."""
        found = np.empty((len(codes), width), np.uint8)
        corpus = codes >> _CORPUS_BITS
        for number, index in (*enumerate(self.below), (self.number, self)):
            here = np.flatnonzero(corpus == number)
            if len(here):
                found[here] = index._signatures(index.codes(codes[here] & _ORDINAL), width)
        return found

    def _signatures(self, codes: np.ndarray, width: int) -> np.ndarray:
        parts = self._split(hash_ordinals(codes))
        found = np.empty((len(codes), width), np.uint8)
        arguments = {number: (codes[part],) for number, part in enumerate(parts) if len(part)}
        for number, rows in self.partitions.call("signatures", arguments).items():
            found[parts[number]] = rows
        return found

    def insert(
        self,
        exact: np.ndarray,
        exact_owners: np.ndarray,
        bands: np.ndarray,
        band_owners: np.ndarray,
        codes: np.ndarray,
        signatures: np.ndarray,
        only: Collection[int] | None = None,
    ) -> None:
        """Give keys to owners and store the signatures of `codes`; idempotent. One round.

        `only`: partitions to send to, the others being known to have it already.
        """
        exact_parts, band_parts = self._split(exact[:, 0]), self._split(bands)
        signature_parts = self._split(hash_ordinals(codes))
        arguments = {}
        for number in range(len(self.partitions)) if only is None else only:
            e, b, s = exact_parts[number], band_parts[number], signature_parts[number]
            if len(e) or len(b) or len(s):
                arguments[number] = (
                    exact[e],
                    exact_owners[e],
                    bands[b],
                    band_owners[b],
                    codes[s],
                    signatures[s],
                )
        self.partitions.call("insert", arguments)

    def checksums(self) -> list[int]:
        """One 64-bit checksum per partition, independent of the order of insertion."""
        return self._all("checksum")

    def stats(self) -> list[dict[str, int]]:
        return self._all("stats")

    def _all(self, method: str) -> list[Any]:
        answers = self.partitions.call(method, dict.fromkeys(range(len(self.partitions)), ()))
        return [answers[number] for number in range(len(self.partitions))]

    def _split(self, keys: np.ndarray) -> list[np.ndarray]:
        """Indices of the keys of each partition."""
        count = len(self.partitions)
        owner = (keys % np.uint64(count)).astype(np.uint16)
        order = np.argsort(owner, kind="stable")  # a radix sort on 16 bits
        return np.split(order, np.searchsorted(owner[order], np.arange(1, count)))
