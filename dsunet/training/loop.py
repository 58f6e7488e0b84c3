"""The training loop of a run, in one process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from dsunet.checkpoints.load_and_save import save_model
from dsunet.data.samples import BatchPlan, Sample, Samples
from dsunet.errors import TrainingError
from dsunet.evaluation.predictors import TorchPredictor
from dsunet.network.model import DSUNet
from dsunet.training.curve import write_curve
from dsunet.training.distillation import DistillationLoss
from dsunet.training.feature_cache import FeatureCache
from dsunet.training.initial_model import trains_encoders
from dsunet.training.loader import open_loader
from dsunet.training.options import TrainingOptions, TrainingPrecision
from dsunet.training.progress_report import ProgressReport, format_duration
from dsunet.training.progress_text import memory_in_use
from dsunet.training.run_folder import LogRow, RunFolder
from dsunet.training.schedule import learning_rate
from dsunet.training.state import Position, load_state, save_state
from dsunet.training.step import Stepper
from dsunet.training.tensorboard import TensorBoardLog
from dsunet.training.training_data import TrainingData, evenly_spaced
from dsunet.training.training_network import TrainingNetwork
from dsunet.training.validation import validate, write_overlays

OVERLAYS = 6
"""Number of images in the contact sheet of each epoch."""

_CHECK_INTERVAL = 20  # steps between two checks of the loss, which synchronise with the GPU


class TrainingLoop:
    """The epochs of a run, from its saved state if there is one."""

    def __init__(
        self,
        fabric: Fabric,
        options: TrainingOptions,
        model: DSUNet,
        data: TrainingData,
        folder: RunFolder,
        run: str,
        report: ProgressReport,
        cache: FeatureCache | None = None,
        teacher: DSUNet | None = None,
    ) -> None:
        self._fabric, self._options, self._data = fabric, options, data
        self._folder, self._id, self._report, self._cache = folder, run, report, cache
        self._model = model
        distillation = None if teacher is None else DistillationLoss(fabric, teacher, options)
        self._network = TrainingNetwork(
            model, options, distillation.channels if distillation else ()
        )
        self._dino = model.dino
        if cache is not None:
            model.dino = None  # not needed on the device
        self._stepper = Stepper(fabric, options, self._network, distillation)
        self._plan = BatchPlan(
            data.count,
            options.batch,
            options.seed,
            options.accumulate,
            fabric.global_rank,
            fabric.world_size,
        )
        self._pending: list[Tensor] = []
        self._saved_at = time.monotonic()
        self._position = Position()
        if folder.state.exists():
            self._position = load_state(
                folder.state, run, self._network, self._stepper.optimizer, fabric
            )
        self._loader = self._open_loader(distillation.sides if distillation else {})
        self._tensorboard: TensorBoardLog | None = None

    @property
    def position(self) -> Position:
        """The position of the run."""
        return self._position

    def run(self) -> None:
        """Train to the last epoch."""
        if self._position.epoch >= self._options.epochs:
            self._report.say(
                f"{self._folder.path} is finished: to continue it, give a larger --epochs"
            )
            return
        parts = iter(self._loader)
        with self._open_tensorboard() as self._tensorboard:
            for _ in range(self._position.epoch, self._options.epochs):
                self._train_epoch(parts)
                self._finish_epoch()

    def _open_tensorboard(self) -> contextlib.AbstractContextManager[TensorBoardLog | None]:
        if not (self._options.tensorboard and self._fabric.is_global_zero):
            return contextlib.nullcontext()
        done = self._position.epoch * self._plan.steps_per_epoch + self._position.step
        return TensorBoardLog(self._folder.tensorboard, done + 1)

    def _open_loader(self, teacher_sides: dict[str, int]) -> DataLoader[Sample]:
        options, position = self._options, self._position
        sides = self._model.config.input_sizes | teacher_sides
        if self._cache is not None:
            del sides["dino"]
        samples = Samples(
            self._data.pairs,
            sides,
            seed=options.seed,
            flips=(options.horizontal_flip, options.vertical_flip),
            maps=self._cache.read if self._cache else None,
            unlabelled=self._data.unlabelled,
        )
        return open_loader(
            samples,
            # One iterator over all epochs: workers start once and prefetch across epochs.
            self._plan.parts_from(position.epoch, position.step, options.epochs),
            self._plan.largest_part,
            workers=options.worker_count,
            processes=self._fabric.world_size,
            pinned=self._fabric.device.type == "cuda",
        )

    def _train_epoch(self, parts: Iterator[Sample]) -> None:
        """Run the remaining steps of the epoch."""
        position = self._position
        steps = self._plan.steps(position.epoch)
        for keys in steps[position.step :]:
            start = time.monotonic()
            rate = learning_rate(self._options, position.epoch, position.step, len(steps))
            self._pending.append(self._stepper.step(parts, keys, rate))
            position.step += 1
            position.seconds += time.monotonic() - start
            if len(self._pending) >= _CHECK_INTERVAL or self._report.is_due:
                self._check_losses()
                self._show_progress(len(steps))
            if time.monotonic() - self._saved_at >= 60 * self._options.save_every:
                self._save()
        self._check_losses()

    def _check_losses(self) -> None:
        """Fetch the losses since the last check; raise TrainingError if they are not finite."""
        if not self._pending:
            return
        losses = torch.stack(self._pending).cpu()
        self._pending.clear()
        finite = losses.isfinite().all(1)
        # With FP16, the gradient scaler skips a few steps until its scale is right.
        tolerated = self._options.precision is TrainingPrecision.FP16 and bool(finite.any())
        if not finite.all() and not tolerated:
            step = self._position.step - len(losses) + int(finite.logical_not().nonzero()[0]) + 1
            raise TrainingError(
                f"the loss of step {step} of epoch {self._position.epoch + 1} is not finite: start "
                "a new run with a lower --lr, with --clip 1 or with --precision fp32 (the last "
                "saved state is kept)"
            )
        first = self._position.step - len(losses)
        for number in finite.nonzero().flatten().tolist():
            row = losses[number].tolist()
            self._position.add(row)
            self._log_step(first + number, self._named(row))

    def _named(self, losses: Sequence[float]) -> dict[str, float]:
        """The losses by name, as `TrainingOptions.loss_weights`."""
        return dict(zip(self._options.loss_weights, losses, strict=True))

    def _log_step(self, step: int, losses: Mapping[str, float]) -> None:
        """Log a step to TensorBoard; `step` counts from 0 in this epoch."""
        if self._tensorboard is not None:
            epoch, steps = self._position.epoch, self._plan.steps_per_epoch
            rate = learning_rate(self._options, epoch, step, steps)
            loss = self._weighted(losses)
            self._tensorboard.step(epoch * steps + step + 1, loss, losses, rate)

    def _show_progress(self, steps: int) -> None:
        position, epochs = self._position, self._options.epochs
        left = epochs * steps - position.epoch * steps - position.step
        loss = self._weighted(self._named(position.mean_losses()))
        self._report.show(
            position.step / steps,
            f"epoch {position.epoch + 1}/{epochs}  step {position.step}/{steps}  "
            f"loss {loss:.4f}  lr {self._rate:.1e}  "
            f"{format_duration(left * position.seconds / position.step)} left  "
            f"{memory_in_use(self._fabric.device)}".rstrip(),
        )

    @property
    def _rate(self) -> float:
        """The learning rate of the last step."""
        rate: float = self._stepper.optimizer.param_groups[0]["lr"]
        return rate

    def _weighted(self, losses: Mapping[str, float]) -> float:
        return sum(weight * losses[name] for name, weight in self._options.loss_weights.items())

    def _finish_epoch(self) -> None:
        """Validate, write checkpoints and log, and finally save the state."""
        position = self._position
        means = self._named(position.mean_losses())
        row: LogRow = {
            "epoch": position.epoch + 1,
            "step": (position.epoch + 1) * position.step,
            "loss": self._weighted(means),
            **{f"loss_{name}": loss for name, loss in means.items()},
            "lr": self._rate,
            "images_per_s": self._data.count / position.seconds,
            "seconds": position.seconds,
        }
        if self._fabric.is_global_zero:
            row |= self._validate(position.epoch + 1)
            self._write_checkpoints(row)
        position.finish_epoch(row)
        if self._fabric.is_global_zero:
            if self._tensorboard is not None:
                self._tensorboard.epoch(row)
            self._folder.write_log(position.log)
            write_curve(position.log, self._folder.curve)
            self._report.epoch(row, self._options.epochs)
        self._save()
        self._fabric.barrier()

    def _validate(self, epoch: int) -> dict[str, float]:
        """Write a contact sheet of masks; return validation metrics if validation is due."""
        due = epoch % self._options.val_every == 0 or epoch == self._options.epochs
        with self._whole_model() as model:
            device = self._fabric.device
            predictor = TorchPredictor(model.to(device), device, refuse_constant=False)
            if pairs := evenly_spaced(self._data.val_pairs or self._data.pairs, OVERLAYS):
                write_overlays(predictor, pairs, self._folder.overlays / f"epoch_{epoch:03}.jpg")
            return validate(predictor, self._data.val_pairs) if due and self._data.val_pairs else {}

    def _write_checkpoints(self, row: LogRow) -> None:
        with self._whole_model() as model:
            only_trained = not (self._options.save_all or trains_encoders(model))
            save_model(model, self._folder.checkpoint, only_trained=only_trained)
            if row.get("val_s", 0.0) > self._position.best:
                self._position.best = row["val_s"]
                save_model(model, self._folder.best, only_trained=only_trained)

    @contextlib.contextmanager
    def _whole_model(self) -> Iterator[DSUNet]:
        """The model in evaluation mode, with DINOv2 even if training uses cached maps."""
        model = self._model
        model.dino = self._dino
        model.eval()
        try:
            yield model
        finally:
            model.train()
            if self._cache is not None and self._dino is not None:
                model.dino = None
                self._dino.cpu()

    def _save(self) -> None:
        """Check the losses, then save the state."""
        self._check_losses()
        if self._fabric.is_global_zero:
            save_state(
                self._folder.state,
                self._id,
                self._network,
                self._stepper.optimizer,
                self._fabric,
                self._position,
            )
        self._saved_at = time.monotonic()
