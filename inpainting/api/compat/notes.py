"""What had no effect, or another one than its sender expects, while a request was read."""

from __future__ import annotations

from dataclasses import dataclass, field

from inpainting.core.validation import abbreviate


@dataclass(frozen=True, slots=True)
class Notes:
    """The parts of a request without effect: names of fields, and sentences."""

    ignored: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def ignore(self, name: str, why: str) -> None:
        self.ignored.append(name)
        self.warnings.append(f"{name}: {why}")

    def clamp(self, name: str, value: float, highest: float) -> float:
        if value > highest:
            self.ignore(name, f"{abbreviate(value)} is above the highest value here; {highest:g} was used.")
        return min(value, highest)
