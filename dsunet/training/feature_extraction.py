"""Fill the feature cache before the first epoch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning_fabric import Fabric

from dsunet.checkpoints.pretrained import encoder_hashes
from dsunet.data.samples import FLIPS, SampleKey, Samples
from dsunet.errors import TrainingError
from dsunet.network.model import DSUNet
from dsunet.training.feature_cache import FeatureCache, flipped_images, resample_for_cache
from dsunet.training.loader import open_loader
from dsunet.training.options import TrainingOptions
from dsunet.training.progress_report import ProgressReport
from dsunet.training.training_data import TrainingData

_BATCH = 4
"""Images per forward pass of DINOv2; it needs far less memory than a training step."""


def extract_features(
    fabric: Fabric,
    options: TrainingOptions,
    model: DSUNet,
    data: TrainingData,
    report: ProgressReport,
) -> FeatureCache | None:
    """Fill the cache of the options, divided among the processes; None if there is none.

    Raises TrainingError if the model has no DINOv2, or if the cache cannot be written.
    """
    if options.cache is None:
        return None
    if model.dino is None:
        raise TrainingError(
            "--cache stores DINOv2's feature maps, and injection none has none: omit it"
        )
    cache = FeatureCache(
        options.cache,
        model.config,
        encoder_hashes(model.state_dict())["dino"],
        options.precision.value,
        data.image_hashes,
    )
    missing = cache.missing()
    fabric.barrier()  # before anyone writes
    model.dino.to(fabric.device)
    _fill(fabric, options, cache, model, data, missing, report)
    model.dino.cpu()
    fabric.barrier()
    return cache


def _fill(
    fabric: Fabric,
    options: TrainingOptions,
    cache: FeatureCache,
    model: DSUNet,
    data: TrainingData,
    missing: Sequence[int],
    report: ProgressReport,
) -> None:
    """Compute and write the maps of this process's part of the missing images."""
    own = missing[fabric.global_rank :: fabric.world_size]
    sides = {"dino": model.config.dino.image_size}
    images = Samples(data.pairs, sides, seed=0, flips=(0, 0), unlabelled=data.unlabelled)
    batches = [
        [SampleKey(0, index) for index in own[start : start + _BATCH]]
        for start in range(0, len(own), _BATCH)
    ]
    if not own:
        return
    report.say(f"computing DINOv2's feature maps of {len(own)} images for the cache")
    loader = open_loader(
        images,
        batches,
        min(_BATCH, len(own)),
        workers=options.worker_count,
        processes=fabric.world_size,
    )
    for done, (keys, batch) in enumerate(zip(batches, loader, strict=True), 1):
        inputs = fabric.to_device(batch["dino"])
        with torch.inference_mode(), fabric.autocast():
            maps = [
                resample_for_cache(model.dino_maps(flip), model.config)
                for flip in flipped_images(inputs)
            ]
        for number, key in enumerate(keys):
            of_image = [[one[number] for one in maps[flip]] for flip in range(len(FLIPS))]
            cache.write(key.number, of_image)
        report.show(done / len(batches), f"image {min(done * _BATCH, len(own))} of {len(own)}")
