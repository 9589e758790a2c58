"""A clinic's rows to conversations. All columns are options, since every clinic calls them something else."""

from collections.abc import Mapping, Sequence
from typing import Any

from xtune import Conversation
from xtune.mappers.columns import blank, exchange, text

Row = Mapping[str, Any]


def visit(
    row: Row,
    *,
    context: Sequence[str] = ("Department", "Age", "Sex", "History"),
    complaint: str = "Complaint",
    advice: str = "Advice",
) -> Conversation:
    """A visit: the columns about the patient and the complaint, each on a line with its name; the advice is trained on.

    Cells of `context` may be empty, and are then left out. A visit without complaint or advice is empty.

    >>> visit({"Department": "ENT", "Age": "34", "Sex": "", "History": None,
    ...        "Complaint": "Sore throat for two days", "Advice": "Drink enough and rest your voice."}).turns
    (Turn(role='user', text='Department: ENT\\nAge: 34\\nComplaint: Sore throat for two days', learn=None),
     Turn(role='assistant', text='Drink enough and rest your voice.', learn=None))
    """
    said = text(row, complaint)
    cells = {column: text(row, column) for column in context} | {complaint: said}
    lines = [f"{column}: {cell}" for column, cell in cells.items() if not blank(cell)]
    return exchange("" if blank(said) else "\n".join(lines), text(row, advice))


def question(
    row: Row, *, question: str = "question", answer: str = "answer", source: str | None = "source"
) -> Conversation:
    """A question from a leaflet and its answer, which ends with the leaflet's name; `source` None leaves that out.

    >>> question({"question": "May I take it with milk?", "answer": "Yes.", "source": "Leaflet 12"}).turns
    (Turn(role='user', text='May I take it with milk?', learn=None),
     Turn(role='assistant', text='Yes.\\n\\nSource: Leaflet 12', learn=None))
    """
    said = text(row, answer)
    leaflet = text(row, source) if source else ""
    if not blank(said) and not blank(leaflet):
        said += f"\n\nSource: {leaflet}"
    return exchange(text(row, question), said)
