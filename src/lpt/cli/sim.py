"""`lpt sim`: simulated models behind one OpenAI-compatible server."""

from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from lpt.serving.dials import Dials as ServerDials
    from lpt.world.dials import Dials as RoleDials


def sim(
    port: Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    dial: Annotated[
        Optional[list[str]],  # noqa: UP045 (typer reads it at run time on 3.10)
        typer.Option("--dial", help="Set a dial, as in --dial leak=0.8 --dial latency=0.02. May be repeated."),
    ] = None,
    fault: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--fault", help="Inject a fault with a probability, as in --fault 500=0.1. May be repeated."),
    ] = None,
    dials: Annotated[bool, typer.Option("--dials", help="List the dials and faults, and stop.")] = False,
) -> None:
    """Serve simulated models for the world of scenes: `asker`, `student`, `reasoner`, and `expert` and `judge`.

    The first line on stdout is the base URL. The asker reads the caption in its prompt, the student looks at the
    pixels that it was sent, the reasoner continues the turn that it was given; the expert looks harder, the judge
    reads what it is shown. `board-asker` and `board-reasoner` do the same for boards, the world of
    recipes/miniature.toml. Nothing is looked up.
    """
    from lpt.serving.app import make_app
    from lpt.serving.serve import serve
    from lpt.world.roles import ROLES

    if dials:
        _list_dials()
        return
    server, roles = _set(dial or [], fault or [])
    serve(make_app({name: make(roles) for name, make in ROLES.items()}, server), host, port)


def _set(settings: list[str], faults: list[str]) -> "tuple[ServerDials, RoleDials]":
    """Sort `name=value` settings into the server's dials and the roles'."""
    import difflib

    import msgspec

    from lpt.errors import UserError
    from lpt.serving.dials import Dials as ServerDials
    from lpt.serving.dials import parse_faults
    from lpt.world.dials import Dials as RoleDials

    chosen: dict[type, dict[str, Any]] = {ServerDials: {"faults": parse_faults(faults)}, RoleDials: {}}
    for setting in settings:
        name, equals, value = setting.partition("=")
        kind = next((kind for kind in chosen if name in kind.__struct_fields__), None)  # type: ignore[attr-defined]
        if kind is None or not equals:
            known = [*ServerDials.__struct_fields__, *RoleDials.__struct_fields__]
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; `lpt sim --dials` lists them"
            raise UserError(f"--dial wants NAME=VALUE with the name of a dial, not {setting!r}{hint}")
        chosen[kind][name] = value
    try:
        server: ServerDials = msgspec.convert(chosen[ServerDials], ServerDials, strict=False)
        roles: RoleDials = msgspec.convert(chosen[RoleDials], RoleDials, strict=False)
    except msgspec.ValidationError as error:
        raise UserError(f"--dial: {error}") from None
    return server, roles


def _list_dials() -> None:
    import msgspec

    from lpt import documented
    from lpt.serving.dials import FAULTS
    from lpt.serving.dials import Dials as ServerDials
    from lpt.world.dials import Dials as RoleDials

    for title, kind in (("The models", RoleDials), ("The server", ServerDials)):
        typer.echo(f"{title} (--dial NAME=VALUE)")
        meanings = documented.fields(kind)
        rest = kind()
        for field in msgspec.structs.fields(kind):
            setting = f"{field.name}={getattr(rest, field.name)}"
            typer.echo(f"  {setting:<34} {meanings[field.name]}")
    typer.echo("Faults (--fault NAME=PROBABILITY)")
    for name, meaning in FAULTS.items():
        typer.echo(f"  {name:<34} {meaning}")
