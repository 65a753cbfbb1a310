"""The base class of kernels, which libraries know as ``ipykernel.kernelbase.Kernel``."""

from __future__ import annotations

import logging
from typing import Any

from traitlets import Any as AnyTrait
from traitlets import Instance
from traitlets.config import SingletonConfigurable


class Kernel(SingletonConfigurable):
    """The base class of kernels. Libraries derive kernels of their own from it, which run in a cell and talk to
    frontends of their own (panel, solara, metakernel). ``Kernel.instance()`` is the kernel that runs."""

    __module__ = "ipykernel.kernelbase"

    #: None for kernels that libraries make: they set it, and ask whether it is set.
    log: Any = Instance(logging.Logger, allow_none=True)

    # Options that ipykernel has, and configuration files may set. They have no effect.
    debug_just_my_code = AnyTrait(False).tag(config=True)
    filter_internal_frames = AnyTrait(True).tag(config=True)
    stop_on_error_timeout = AnyTrait(0.0).tag(config=True)
    _darwin_app_nap = AnyTrait(True).tag(config=True)
    _execute_sleep = AnyTrait(0.0005).tag(config=True)
    _poll_interval = AnyTrait(0.01).tag(config=True)
