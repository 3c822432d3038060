"""Reports: pictures (`plots`, with the extra of that name), pages of one file (`Page`), and the page of a run.

`RunReport` is the callback that writes it while a net is trained, `write_report` writes it for any trainer.
"""

import importlib
from typing import TYPE_CHECKING

from anyfw.report.html import Page

if TYPE_CHECKING:
    from anyfw.report import plots
    from anyfw.report.run_facts import fingerprint
    from anyfw.report.run_report import RunReport, write_report
    from anyfw.report.serve import LivePage

_HOME = {
    "LivePage": "anyfw.report.serve",
    "RunReport": "anyfw.report.run_report",
    "fingerprint": "anyfw.report.run_facts",
    "write_report": "anyfw.report.run_report",
}

__all__ = ["LivePage", "Page", "RunReport", "fingerprint", "plots", "write_report"]


def __getattr__(name: str) -> object:
    # A page alone needs no trainer, and plots are for who draws.
    if name == "plots":
        return importlib.import_module("anyfw.report.plots")
    if name not in _HOME:
        raise AttributeError(f"module 'anyfw.report' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value
