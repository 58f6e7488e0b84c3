"""When the self-test runs.  Importing this module does not import NumPy."""

from __future__ import annotations

import enum


class SelfTestPolicy(enum.StrEnum):
    """Values of `load`'s `selftest`, and of `--selftest`."""

    AUTO = "auto"
    """The first time on each machine, except on ONNX Runtime's CPU provider."""
    ALWAYS = "always"
    NEVER = "never"

    @property
    def without_record(self) -> SelfTestPolicy:
        """The policy if earlier passes do not count."""
        return SelfTestPolicy.ALWAYS if self is SelfTestPolicy.AUTO else self
