"""What each field of a struct means: the string under it in the source, for help texts and references."""

import ast
import inspect
import textwrap

import msgspec


def fields(kind: type[msgspec.Struct]) -> dict[str, str]:
    """The documentation of every field of a struct, its bases' first; empty where there is none."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if owner is msgspec.Struct or not issubclass(owner, msgspec.Struct):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(definition, ast.ClassDef)
        for line, after in zip(definition.body, [*definition.body[1:], None], strict=True):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                text = str(after.value.value) if documented else ""  # type: ignore[union-attr]
                # Where a field is given another default only, its meaning stays.
                found[line.target.id] = " ".join(text.split()) or found.get(line.target.id, "")
    return found
