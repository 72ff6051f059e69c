"""One scan, several backends: modules whose `scan` has one name, one meaning and one result.

reference   the plain loop over all frames: the specification, and every gradient
packed      open frames only: torch's kernels where whole frames are open, and a loop with its own backward pass
"""

from surnn.kernels import packed, reference

__all__ = ["packed", "reference"]
