"""From jobs to outcomes: in this process, in several, or on a Ray cluster."""

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
from dsunet_runtime.prediction.predict_jobs import Outcome, check_batch, predict_jobs
from dsunet_runtime.workers import processes, ray_workers
from dsunet_runtime.workers.devices import VISIBLE, cores, gpus
from dsunet_runtime.workers.parallelism import Parallelism, needs_gpu
from dsunet_runtime.workers.units import divide
from dsunet_runtime.workers.worker import IndexedOutcome, LoadOptions, WorkerOptions

Prediction = tuple[Manifest, Iterator[Outcome]]
"""The manifest of the artifact, and the outcomes of the jobs, in order or, with Ray, unordered."""


@contextmanager
def dispatch(
    load_options: LoadOptions, plan: Plan, batch: int | None, parallelism: Parallelism
) -> Iterator[Prediction]:
    """Compute the jobs of a plan in this process or by workers, which end with the context.

    The artifact is not loaded if there are no jobs.  The folder for the results is created.

    Args:
        load_options: The artifact and how to load it.
        plan: The jobs.
        batch: Number of images per inference call; None for the artifact's recommended batch.
        parallelism: The workers.

    Raises:
        OutputError: As in `results_folder`.
        RuntimeFault: As in `dsunet_runtime.load`; with workers, the iterator of outcomes raises it.
        BackendError: Workers cannot be started.
    """
    if not plan.jobs:
        yield _with_domain(load_options, read_manifest(load_options.artifact)), iter(())
        return
    if parallelism.is_this_process:
        with load_options.load() as segmenter, results_folder(plan.folder):
            size = batch or segmenter.best_batch
            check_batch(segmenter, plan.jobs, size)
            yield segmenter.manifest, predict_jobs(segmenter, plan.jobs, size)
        return
    assert plan.folder is not None
    with (
        results_folder(plan.folder),
        _open_workers(load_options, plan.jobs, batch, parallelism, plan.folder) as prediction,
    ):
        yield prediction


@contextmanager
def _open_workers(
    load_options: LoadOptions,
    jobs: Sequence[Job],
    batch: int | None,
    parallelism: Parallelism,
    folder: Path,
) -> Iterator[Prediction]:
    manifest = read_manifest(load_options.artifact)
    size = batch or batch_range(manifest).optimum
    kinds = tuple(output.kind for job in jobs[:1] for output in job.outputs)
    try:
        with staging_folder(folder) as marks:
            options = WorkerOptions(
                load_options, manifest.sha256, parallelism.threads, size, kinds, marks
            )
            with closing(_computed(options, jobs, parallelism)) as indexed:
                outcomes = (replace(outcome, job=jobs[index]) for index, outcome in indexed)
                yield _with_domain(load_options, manifest), outcomes
    finally:
        for written in {output.path.parent for job in jobs for output in job.outputs}:
            remove_leftovers(written)  # of killed workers


def _with_domain(load_options: LoadOptions, manifest: Manifest) -> Manifest:
    """Return the manifest, with a domain that of its weights."""
    if load_options.domain is None:
        return manifest
    from dsunet_runtime.artifact.domain import with_domain

    return with_domain(load_options.artifact, manifest, load_options.domain)


def _computed(
    options: WorkerOptions, jobs: Sequence[Job], parallelism: Parallelism
) -> Generator[IndexedOutcome, None, None]:
    artifact, provider = options.load_options.artifact, options.load_options.provider
    on_gpu = needs_gpu(artifact, provider)
    if parallelism.ray is not None:
        cluster = ray_workers.Cluster(parallelism.ray, parallelism.count, on_gpu)
        return ray_workers.predict_on_ray(options, jobs, cluster)
    if on_gpu:
        devices = gpus()
        count = parallelism.count or len(devices)
        environments = [{VISIBLE: devices[i % len(devices)]} for i in range(count)]
    else:
        environments = [{}] * (parallelism.count or 1)
        options = replace(options, threads=options.threads or max(1, cores() // len(environments)))
    units = divide(jobs, options.batch, len(environments))
    # The others use the self-test record of the first one, and the kernels that it compiled.
    first_alone = on_gpu or (provider is not None and provider.keeps_compiled)
    return processes.predict_in_processes(
        options, units, environments[: len(units)], first_alone=first_alone
    )
