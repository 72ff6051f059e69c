"""One scan, several backends: modules whose `scan` has one name, one signature and one result.

reference   the plain loop over all frames: the specification, and every gradient
packed      stock torch kernels over the open frames only: the frame switch alone, without its gradient
"""

from surnn.kernels import packed, reference

__all__ = ["packed", "reference"]
