"""Without Triton, and until GPU kernels run, everything else works as if they did not exist."""

import subprocess
import sys


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_and_using_surnn_does_not_import_triton() -> None:
    code = """
import sys, torch, surnn
before = "triton" in sys.modules  # whatever torch does is torch's affair
import surnn.kernels.triton_rows
layer = surnn.SuGRU(3, 4, batch_first=True)
rows = torch.randn(1, 5, 3)
layer(rows).output.sum().backward()
assert not surnn.kernels.triton_rows.can_run(layer.cell, rows[0], layer.layer_weights[0][0])
print(before or "triton" not in sys.modules)
"""
    assert run(code) == "True\n"


def test_where_triton_is_missing_the_error_names_what_to_do() -> None:
    code = """
import sys, torch, surnn
sys.modules["triton"] = None
from surnn.kernels.triton_rows import run_rows
from surnn.layout import lay_out
layer = surnn.SuGRU(3, 4)
layer(torch.randn(5, 1, 3))
(weights,), = layer.layer_weights
given = torch.randn(5, 3), (torch.zeros(1, 4),), weights, lay_out(torch.tensor([5])), None, None, None, False
try:
    run_rows(layer.cell, *given)
except ModuleNotFoundError as error:
    print(error)
"""
    said = run(code)
    assert "package triton, which comes with torch for CUDA on Linux" in said
    assert "install torch from its CUDA index" in said
