"""The tables of docs/reliability.md from what the fault tests have recorded; run by `make faults`.

Belongs here: the form of the tables. The rows come from tests/integration/faults, by way of the
file named in RESMON_RECORD_FAULTS.
"""

import json
import os
import platform
import sys
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
BEGIN = "<!-- what follows is written by `make faults` -->"
END = "<!-- what precedes is written by `make faults` -->"
HEADER = (
    "| Fault | Promised | Expected | Stored | Doubled | Lost | Cause of the lost | Seen | Test |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)
FAMILIES = {
    "Servers": "One server of each kind, and six sound ones, of one collector, for 25 s",
    "Processes": "Sound servers, and a process that is killed, stopped or doubled",
}


def machine() -> str:
    """Where this runs."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{platform.platform()}, {os.cpu_count()} CPUs, {memory:.0f} GiB, "
        f"Python {platform.python_version()}"
    )


def row_of(line: dict[str, object]) -> str:
    """One fault."""
    causes = line["causes"]
    assert isinstance(causes, dict)
    file, _, name = str(line["test"]).rpartition("::")
    cells = (
        *(line[key] for key in ("fault", "promise", "expected", "stored", "doubled", "lost")),
        ", ".join(f"`{cause}` {count}" for cause, count in causes.items()),
        line["seen"],
        f"[{name}](../{file})",
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def tables_of(lines: list[dict[str, object]], *, where: str) -> str:
    """The part of the document that is generated.

    Args:
        lines: one object per fault, as recorded.
        where: machine on which they were recorded.
    """
    parts = [f"Machine: {where}.\n"]
    for family, title in FAMILIES.items():
        rows = sorted(
            (line for line in lines if line["family"] == family),
            key=lambda line: (str(line["test"]), str(line["fault"])),
        )
        parts.append(f"\n### {title}\n\n{HEADER}" + "".join(map(row_of, rows)))
    return "".join(parts)


def main() -> None:
    """Write the tables into the document."""
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text("utf-8").splitlines()]
    before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = f"{before}{BEGIN}\n\n{tables_of(lines, where=machine())}\n{END}{after}"
    DOCUMENT.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
