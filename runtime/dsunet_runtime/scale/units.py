"""Jobs in small groups.

A unit holds whole batches, so that every image is computed in the batch in which one process
computes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dsunet_runtime.jobs import Job

_PER_WORKER = 16
"""Units of each worker, if there are enough images: the last ones to finish wait for 1/16."""
_MOST_IMAGES = 64


@dataclass(frozen=True, slots=True)
class Unit:
    """Consecutive jobs."""

    first: int
    """Index of the first one among all jobs."""
    jobs: tuple[Job, ...]

    @property
    def indices(self) -> range:
        """Indices of the jobs among all jobs."""
        return range(self.first, self.first + len(self.jobs))

    def split(self, size: int) -> Iterator[Unit]:
        """Divide it into units of `size` jobs; the last may be smaller."""
        for start in range(0, len(self.jobs), size):
            yield Unit(self.first + start, self.jobs[start : start + size])


def divide(jobs: Sequence[Job], batch: int, workers: int) -> list[Unit]:
    """Divide jobs into units for a number of workers that compute batches."""
    wanted = min(_MOST_IMAGES, len(jobs) // (_PER_WORKER * workers))
    return [*Unit(0, tuple(jobs)).split(max(1, wanted // batch) * batch)]
