"""Reports: pictures (`plots`, with the extra of that name) and pages of one file (`html`)."""

from anyfw.report.html import Page

__all__ = ["Page"]
