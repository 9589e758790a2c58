"""What watches a run. Its fields are its options."""

from pydantic import Field

from xtune import Callback


class Clock(Callback):
    """Writes the seconds that each step took to clock.txt in the work dir."""

    digits: int = Field(default=3, ge=0, description="decimals of a second")

    def started(self, facts):
        self.file = facts.work_dir / "clock.txt"

    def stepped(self, row):
        with self.file.open("a", encoding="utf-8") as file:
            file.write(f"{row['step']} {row['seconds']:.{self.digits}f}\n")
