"""A Transformer encoder on torch's scaled dot-product attention, with a cache of keys and values for streaming."""

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from surnn import frames_within

from .contract import Encoded


class Cache(NamedTuple):
    """Keys and values of all frames so far, per layer: (B, heads, T, d)."""

    keys: Tensor
    values: Tensor


class Transformer(nn.Module):
    """Pre-norm blocks of attention and a two-layer network, sinusoidal positions.

    Args:
        input_size: numbers per frame, given by the pipeline.
        hidden_size: width, found by the pipeline.
        num_layers: blocks.
        num_heads: attention heads.
        expansion: width inside the two-layer network, in widths.
        causal: frames attend to earlier ones only; an answer per sequence is then read after the last frame, otherwise
            from the mean over all.

    Raises:
        ValueError: if the width is odd or no multiple of the number of heads.

    Source: Vaswani et al. 2017, arXiv:1706.03762; norms before the blocks: Xiong et al. 2020, arXiv:2002.04745.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 2,
        num_heads: int = 2,
        expansion: int = 2,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if not self.allows(hidden_size, num_heads=num_heads):
            raise ValueError(f"hidden_size={hidden_size} must be even, and a multiple of num_heads={num_heads}")
        self.size, self.is_causal = hidden_size, causal
        self.readout: Literal["last", "mean"] = "last" if causal else "mean"
        self.entry = nn.Linear(input_size, hidden_size)
        self.blocks = nn.ModuleList(_Block(hidden_size, num_heads, expansion * hidden_size) for _ in range(num_layers))
        self.norm = nn.LayerNorm(hidden_size)

    @staticmethod
    def allows(hidden_size: int, *, num_heads: int = 2, **_: Any) -> bool:
        """Whether a width can be built."""
        return hidden_size % 2 == hidden_size % num_heads == 0

    def forward(self, frames: Tensor, state: Any = None, lengths: Tensor | None = None) -> Encoded:
        """`state`: one cache per block; only a causal model can stream.

        Raises:
            ValueError: if a model that is not causal gets a state.
        """
        if state is not None and not self.is_causal:
            raise ValueError("this Transformer looks ahead and cannot stream; build it with causal=True")
        past = 0 if state is None else state[0].keys.shape[2]
        mask = None if lengths is None else frames_within(lengths.to(frames.device), frames.shape[1])[:, None, None]
        hidden = self.entry(frames) + positions(past, frames.shape[1], self.size).to(frames)
        caches = []
        for index, block in enumerate(self.blocks):
            hidden, cache = block(hidden, None if state is None else state[index], mask, self.is_causal)
            caches.append(cache)
        return Encoded(self.norm(hidden), caches if self.is_causal else None)


class _Block(nn.Module):
    def __init__(self, width: int, num_heads: int, inner: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.before_attention, self.before_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projections, self.exit = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, hidden: Tensor, past: Cache | None, mask: Tensor | None, is_causal: bool) -> tuple[Tensor, Cache]:
        queries, keys, values = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in self.projections(self.before_attention(hidden)).chunk(3, -1)
        )
        if past is not None:
            keys, values = torch.cat((past.keys, keys), 2), torch.cat((past.values, values), 2)
        new, total = queries.shape[2], keys.shape[2]
        if is_causal and total > new:  # the new frames see all cached ones, and each other in order
            mask = torch.ones(new, total, dtype=torch.bool, device=hidden.device).tril(total - new)
            attended = scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        elif is_causal:  # padding lies after all frames that count
            attended = scaled_dot_product_attention(queries, keys, values, is_causal=True)
        else:
            attended = scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        hidden = hidden + self.exit(attended.transpose(1, 2).flatten(2))
        hidden = hidden + self.down(gelu(self.up(self.before_network(hidden))))
        return hidden, Cache(keys, values)


def positions(first: int, number: int, width: int) -> Tensor:
    """(number, width) sines and cosines of the frames' indices, with wavelengths from 2 pi to 20,000 pi."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(first, first + number)[:, None] * rates
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)
