"""A cue, 300 frames of noise, a question: which of 8 symbols was it? A suGRU beside torch's GRU, a minute on one core.

A cue rings in one of the first 30 frames; all others hold noise. Chance is 12.5 %. Run: python docs/long_delay.py
"""

import time

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot, pad

import surnn

NUM_SYMBOLS, NUM_FRAMES, NUM_NEURONS, NUM_STEPS = 8, 300, 32, 500


def draw(num_streams: int) -> tuple[Tensor, Tensor]:
    """Frames (B, T, 9), the last number a bell that rings with the cue; symbols (B,)."""
    symbol, at = torch.randint(NUM_SYMBOLS, (num_streams,)), torch.randint(NUM_FRAMES // 10, (num_streams,))
    frames = 0.2 * torch.randn(num_streams, NUM_FRAMES, NUM_SYMBOLS + 1)
    frames[torch.arange(num_streams), at] += pad(one_hot(symbol, NUM_SYMBOLS).float(), (0, 1), value=1)
    return frames, symbol


def train(name: str, encoder: nn.Module) -> tuple[float, float]:
    """Share of answers that are right, share of frames that are open; on 1,000 streams that training did not see."""
    head, started = nn.Linear(NUM_NEURONS, NUM_SYMBOLS), time.perf_counter()
    gate = [weight for path, weight in encoder.named_parameters() if path.startswith("gate.")]
    rest = [weight for path, weight in encoder.named_parameters() if not path.startswith("gate.")]
    groups = [{"params": [*rest, *head.parameters()], "lr": 0.01}, *([{"params": gate, "lr": 0.03}] if gate else [])]
    optimizer = torch.optim.Adam(groups)
    for _ in range(NUM_STEPS):
        frames, symbol = draw(32)
        result = encoder(frames)
        loss = cross_entropy(head(result[0][:, -1]), symbol)
        if gate:  # a budget from both sides: 2 % of frames are to be open
            loss = loss + surnn.frame_and_neuron_losses(result.switch, frame_budget=0.02).frames
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*encoder.parameters(), *head.parameters()], 1.0)
        optimizer.step()
    seconds = time.perf_counter() - started
    with torch.no_grad():
        frames, symbol = draw(1_000)
        result = encoder(frames)
        right = float((head(result[0][:, -1]).argmax(-1) == symbol).float().mean())
    share = float(result.rates.frame_share) if gate else 1.0
    print(f"{name:<14} right {right:6.1%}   frames open {share:6.1%}   {seconds:3.0f} s")
    return right, share


def main(seed: int = 0) -> tuple[tuple[float, float], tuple[float, float]]:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    gate = surnn.EventGate(NUM_SYMBOLS + 1, channels=16, dilations=(), initial_logit=0.0)
    su = train("suGRU", surnn.SuGRU(NUM_SYMBOLS + 1, NUM_NEURONS, batch_first=True, gate=gate))
    return su, train("torch's GRU", nn.GRU(NUM_SYMBOLS + 1, NUM_NEURONS, batch_first=True))


if __name__ == "__main__":
    main()
