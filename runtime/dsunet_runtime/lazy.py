"""Public names of a package that load at first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from dsunet_runtime.extras import needs_extra


def lazy_attributes(package: str, modules: Mapping[str, str], extras: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package whose public names load at first use.

    It raises MissingExtraError if a module imports a package that is not installed.

    Args:
        package: Name of the package.
        modules: The module of each name.
        extras: Extras that install what these modules import.
    """

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with needs_extra(extras):
            value = getattr(importlib.import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
