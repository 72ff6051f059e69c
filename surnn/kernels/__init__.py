"""One scan, several backends: modules whose `scan` has one name, one meaning and one result.

reference   the plain loop over all frames: the specification, and every gradient
packed      open frames only: torch's kernels where whole frames are open, and a loop with its own backward pass
event       open frames and open neurons only, on a CPU: loops compiled by numba; imported at first use
triton      open frames only, on a GPU: packed's scan over kernels fused over time; triton is imported at first use
"""

from surnn.kernels import packed, reference

__all__ = ["packed", "reference"]
