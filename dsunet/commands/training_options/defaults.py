"""Defaults and limits of the options of a training run."""

from __future__ import annotations

import dataclasses
import types
from typing import TYPE_CHECKING, Any

from dsunet.training.options import Distillation, TrainingOptions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_RATE = 1000.0
"""The largest learning rate, weight decay and weight of a loss."""


def _defaults_of(options: type[DataclassInstance]) -> Any:
    """The defaults of a dataclass, as attributes."""
    return types.SimpleNamespace(**{one.name: one.default for one in dataclasses.fields(options)})


DEFAULT = _defaults_of(TrainingOptions)
"""The defaults of `TrainingOptions`, by field."""

DISTILLATION_DEFAULT = _defaults_of(Distillation)
"""The defaults of `Distillation`, by field."""
