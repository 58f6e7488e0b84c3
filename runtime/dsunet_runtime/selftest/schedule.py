"""When a loaded artifact is tested.  Importing this module does not import NumPy."""

from __future__ import annotations

import enum


class SelfTestPolicy(enum.StrEnum):
    """Values of `load`'s `selftest`, and of `--selftest`."""

    AUTO = "auto"
    """Anywhere but on ONNX Runtime's CPU provider: the first time on each machine."""
    ALWAYS = "always"
    NEVER = "never"

    @property
    def without_record(self) -> SelfTestPolicy:
        """The policy where no earlier pass counts."""
        return SelfTestPolicy.ALWAYS if self is SelfTestPolicy.AUTO else self
