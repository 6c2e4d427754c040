"""How much room there is, and what is left out when it gets tight. Numbers are never cut."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """Size of the screen in cells."""

    width: int
    height: int

    @property
    def tiny(self) -> bool:
        """One line per incident, without frame or keys."""
        return self.width < 60 or self.height < 16

    @property
    def narrow(self) -> bool:
        """Short strips, no WHERE."""
        return self.width < 100

    @property
    def wide(self) -> bool:
        """Room for the route's own name."""
        return self.width >= 120

    @property
    def panel(self) -> bool:
        """Whether the lower panel fits; else it folds into `enter`."""
        return not self.narrow and self.height >= 30
