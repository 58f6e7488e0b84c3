"""The outcomes of jobs, computed in this process, in several, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.artifact.shapes import batch_range
from dsunet_runtime.files import remove_leftovers, staging_folder
from dsunet_runtime.prediction.jobs import Job, Plan, results_folder
from dsunet_runtime.prediction.predict import Outcome, check_batch, predict
from dsunet_runtime.scale import processes, ray_workers
from dsunet_runtime.scale.devices import VISIBLE, cores, gpus
from dsunet_runtime.scale.parallelism import Parallelism, needs_gpu
from dsunet_runtime.scale.units import divide
from dsunet_runtime.scale.worker import Indexed, Loading, Work

Run = tuple[Manifest, Iterator[Outcome]]
"""What describes the artifact, and the outcomes of the jobs."""


@contextmanager
def open_run(
    loading: Loading, plan: Plan, batch: int | None, parallelism: Parallelism
) -> Iterator[Run]:
    """Load an artifact where the parallelism says, if there are jobs, and end what was started.

    The folder for the results is created.  `batch` is the artifact's if it is None.  Raises what
    loading raises, OutputError like `results_folder`, and BackendError if workers cannot be
    started; with workers, the outcomes raise it.
    """
    if not plan.jobs:
        yield _described(loading, read_manifest(loading.artifact)), iter(())
        return
    if parallelism.is_this_process:
        with loading.load() as segmenter, results_folder(plan.folder):
            size = batch or segmenter.best_batch
            check_batch(segmenter, plan.jobs, size)
            yield segmenter.manifest, predict(segmenter, plan.jobs, size)
        return
    assert plan.folder is not None
    with (
        results_folder(plan.folder),
        _open_workers(loading, plan.jobs, batch, parallelism, plan.folder) as run,
    ):
        yield run


@contextmanager
def _open_workers(
    loading: Loading, jobs: Sequence[Job], batch: int | None, parallelism: Parallelism, folder: Path
) -> Iterator[Run]:
    manifest = read_manifest(loading.artifact)
    size = batch or batch_range(manifest).optimum
    kinds = tuple(output.kind for job in jobs[:1] for output in job.outputs)
    try:
        with staging_folder(folder) as marks:
            work = Work(loading, manifest.sha256, parallelism.threads, size, kinds, marks)
            with closing(_computed(work, jobs, parallelism)) as found:
                outcomes = (replace(outcome, job=jobs[index]) for index, outcome in found)
                yield _described(loading, manifest), outcomes
    finally:
        for written in {output.path.parent for job in jobs for output in job.outputs}:
            remove_leftovers(written)  # of workers that were killed


def _described(loading: Loading, manifest: Manifest) -> Manifest:
    """Return the manifest with the weights of another domain."""
    if loading.domain is None:
        return manifest
    from dsunet_runtime.artifact.domain import with_domain

    return with_domain(loading.artifact, manifest, loading.domain)


def _computed(
    work: Work, jobs: Sequence[Job], parallelism: Parallelism
) -> Generator[Indexed, None, None]:
    artifact, provider = work.loading.artifact, work.loading.provider
    on_gpu = needs_gpu(artifact, provider)
    if parallelism.ray is not None:
        cluster = ray_workers.Cluster(parallelism.ray, parallelism.count, on_gpu)
        return ray_workers.predict(work, jobs, cluster)
    if on_gpu:
        devices = gpus()
        count = parallelism.count or len(devices)
        environments = [{VISIBLE: devices[i % len(devices)]} for i in range(count)]
    else:
        environments = [{}] * (parallelism.count or 1)
        work = replace(work, threads=work.threads or max(1, cores() // len(environments)))
    units = divide(jobs, work.batch, len(environments))
    # The first one tests the artifact and keeps what it compiles, for the others.
    first_alone = on_gpu or (provider is not None and provider.keeps_compiled)
    return processes.predict(work, units, environments[: len(units)], first_alone=first_alone)
