"""Optional packages, which extras of this distribution install; names that load at first use."""

from __future__ import annotations

import contextlib
import importlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any


def install_command(extras: str) -> str:
    """Return the command that installs extras, from where this distribution was installed.

    It works in any folder.

    Args:
        extras: Names as in pyproject.toml, such as `cpu` or `rtx,cuda`.
    """
    clone = Path(__file__).resolve().parents[2]
    if (clone / "pyproject.toml").is_file():
        return f"pip install -e {shlex.quote(f'{clone}[{extras}]')}"
    return f"pip install {shlex.quote(f'dsunet[{extras}]{_origin()}')}"


@contextlib.contextmanager
def needs_extra(extras: str, fault: type[Exception]) -> Iterator[None]:
    """Convert the error of an import that finds no package to `fault`, with the remedy."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise fault(
            f"{missing_package(error)} is not installed: {install_command(extras)}"
        ) from error


def missing_package(error: ModuleNotFoundError) -> str:
    """Return the top-level package that an import did not find."""
    return str(error.name).partition(".")[0]


def lazy_names(
    package: str, modules: Mapping[str, str], extras: str, fault: type[Exception]
) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package whose public names load at first use.

    Args:
        package: Name of the package.
        modules: The module of each name.
        extras: Extras that install what these modules import.
        fault: Exception to raise if something of that is not installed.
    """

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with needs_extra(extras, fault):
            value = getattr(importlib.import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load


def _origin() -> str:
    """Where the distribution came from if not from an index: ` @ ` and a URL (PEP 610)."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        text = distribution("dsunet").read_text("direct_url.json")
    except PackageNotFoundError:
        return ""
    if text is None:
        return ""
    found = json.loads(text)
    if "vcs_info" not in found:
        return f" @ {found['url']}"
    return f" @ {found['vcs_info']['vcs']}+{found['url']}@{found['vcs_info']['commit_id']}"
