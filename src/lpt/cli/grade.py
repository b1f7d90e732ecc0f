"""`lpt grade FILE`: which option does each reply name? The grader of the whole package, for anyone's replies."""

from typing import Annotated

import typer


def grade(
    file: Annotated[
        str,
        typer.Argument(
            help="JSON lines, or - for standard input. Each holds `output` (a reply) and `options` "
            "(letter to text); it may hold `answer` (the right letter) and `format` (what was asked for: "
            "(X), X. or text). "
            "Whatever else it holds is passed over."
        ),
    ],
) -> None:
    """Grade replies to multiple-choice questions, one JSON line for each.

    Prints `letter` (null if the reply names no option, or no single one), `method` (how it was found), `format_ok`,
    and `correct` (null if unparsed, or if the right answer is not given), in the order of the input, as it is read.
    """
    import contextlib
    from pathlib import Path

    import msgspec

    from lpt.errors import UserError
    from lpt.synthesis import grade as grader

    class Line(msgspec.Struct):
        output: str
        options: dict[str, str] | list[str]
        answer: str | None = None
        format: str | None = None

    decoder = msgspec.json.Decoder(Line)
    name = "standard input" if file == "-" else file
    with contextlib.ExitStack() as stack:
        try:
            lines = typer.get_binary_stream("stdin") if file == "-" else stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise UserError(
                f"{file}: {error.strerror or error}. Give a file of JSON lines, or - for stdin."
            ) from error
        for number, line in enumerate(lines, 1):
            line = line.removeprefix(b"\xef\xbb\xbf").strip()  # noqa: PLW2901 (the same line, cleaned)
            if not line:
                continue
            try:
                row = decoder.decode(line)
                options = row.options if isinstance(row.options, dict) else _lettered(row.options)
                graded = grader.grade(row.output, options, answer=row.answer, format=row.format)
            except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
                raise UserError(f"{name}, line {number}: {error}") from error
            typer.echo(msgspec.json.encode(graded))


def _lettered(options: list[str]) -> dict[str, str]:
    """Options by their letters, as they stand.

    Raises:
        ValueError: there are more than letters.
    """
    from lpt.records import LETTERS

    if len(options) > len(LETTERS):
        raise ValueError(f"a list of options goes from {LETTERS[0]} to {LETTERS[-1]}; this one has {len(options)}")
    return dict(zip(LETTERS, options, strict=False))
