"""Timing on a device, the row that comes of it, and how it is printed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from benchmarks.turns import Figure, Sample, in_turns
from inpainting.networks.device.hardware import Hardware

HALF_GATE, FULL_GATE = 2e-2, 1e-5
"""How far from the peer, as relative L2, a row computed in 16 or in 32 bits may be and still count."""


@dataclass(slots=True)
class Row:
    """One line of the table. Lower is better; `unit` is s or MB.

    floor: seconds that the arithmetic alone takes at the ceiling measured in the same run.
    parity: relative L2 to the peer's output, and gate: how much of it is allowed. A row without parity does not count,
    unless there is nothing to compare with (`is_ceiling`). more: further values for the JSON line only.
    """

    key: str
    what: str
    ours: Figure
    a: Figure | None = None
    b: Figure | None = None
    floor: float | None = None
    parity: float | None = None
    gate: float = HALF_GATE
    unit: str = "s"
    is_ceiling: bool = False
    note: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        return self.is_ceiling or (self.parity is not None and self.parity <= self.gate)

    def line(self) -> str:
        peers = (self.a, self.b)
        spreads = "/".join(short(one.spread) for one in (self.ours, *peers) if one and len(one.values) > 1)
        cells = [
            *(self.key, self.what, self._shown(self.ours)),
            *(self._shown(peer) for peer in peers),
            *(self._times(peer) for peer in peers),
            f"{100 * self.floor / self.ours.median:.0f} %" if self.floor and self.ours.median else "",
            "" if self.is_ceiling else "none" if self.parity is None else f"{self.parity:.1e}",
            spreads,
            "; ".join(part for part in (self._remark(), self.note) if part),
        ]
        return "| " + " | ".join(cells) + " |"

    def _remark(self) -> str:
        if self.counts:
            return ""
        reason = "no parity" if self.parity is None else f"parity over {self.gate:.0e}"
        return f"does not count ({reason})"

    def _shown(self, figure: Figure | None) -> str:
        return "" if figure is None else f"{short(figure.median)} {self.unit}"

    def _times(self, peer: Figure | None) -> str:
        if peer is None or not self.ours.median:
            return ""
        ratio = f"{peer.median / self.ours.median:.2f}"
        # What one side differs from itself is no difference between two.
        is_equal = abs(peer.median - self.ours.median) <= max(peer.spread, self.ours.spread)
        return f"{ratio} (equal)" if is_equal and len(self.ours.values) > 1 else ratio

    def as_json(self) -> dict[str, Any]:
        sides = {"ours": self.ours, "a": self.a, "b": self.b}
        return {
            **{"row": self.key, "what": self.what, "unit": self.unit},
            **{name: side.as_json() for name, side in sides.items() if side is not None},
            **{"floor": self.floor, "parity": self.parity, "gate": self.gate, "counts": self.counts},
            **{"note": self.note, **self.more},
        }


def heading(peer_a: str, peer_b: str) -> str:
    names = ("row", "what", "ours", peer_a, peer_b, "x A", "x B", "% floor", "parity", "spread", "remarks")
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def short(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def busy_note(ours: Figure, a: Figure, b: Figure | None = None) -> str:
    """The sides by processor time."""
    summary = f"processor time: ours {short(ours.busy_median)} s, A {short(a.busy_median)} s"
    times = [f"{a.busy_median / ours.busy_median:.2f}"]
    if b is not None:
        summary += f", B {short(b.busy_median)} s"
        times.append(f"{b.busy_median / ours.busy_median:.2f}")
    return f"{summary} (x {' and '.join(times)})"


def timed(hardware: Hardware, call: Callable[[], Any], inner: int = 1) -> Sample:
    """Seconds of one of `inner` calls, by three clocks. Waits for the device at the ends only."""
    hardware.synchronize()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if hardware.is_cuda else []
    started, busy = time.perf_counter(), time.process_time()
    for event in events[:1]:
        event.record()
    for _ in range(inner):
        call()
    for event in events[1:]:
        event.record()
    hardware.synchronize()
    seconds = (time.perf_counter() - started) / inner
    device = events[0].elapsed_time(events[1]) / 1e3 / inner if events else None
    return Sample(seconds, (time.process_time() - busy) / inner, device)


def contest(
    hardware: Hardware,
    sides: Mapping[str, Callable[[], Any]],
    *,
    repeats: int,
    budget_seconds: float,
    inner: int = 1,
    warm: int = 1,
) -> dict[str, Figure]:
    """The sides in turns, after `warm` calls of each."""
    for call in sides.values():
        for _ in range(warm):
            call()
    measures = {name: partial(timed, hardware, call, inner) for name, call in sides.items()}
    return in_turns(measures, repeats=repeats, budget_seconds=budget_seconds)


def difference(ours: Any, theirs: Any) -> float:
    """Relative L2: |ours - theirs| / |theirs|."""
    mine, other = torch.as_tensor(ours).double().cpu(), torch.as_tensor(theirs).double().cpu()
    return float(torch.linalg.vector_norm(mine - other) / torch.linalg.vector_norm(other))
