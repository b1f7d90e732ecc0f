"""Write constraints.txt from `pip freeze` of two environments: the oldest Python supported, and a newer one.

python scripts/pin.py OLD_FREEZE NEW_FREEZE > constraints.txt
"""

import sys
from pathlib import Path


def pins(path: str) -> dict[str, str]:
    """The `name==version` lines of a freeze, by normalised name."""
    lines = [
        line.partition("==") for line in Path(path).read_text().splitlines() if "==" in line and line[0] != "#"
    ]
    return {name.lower().replace("_", "-"): version for name, _, version in lines}


def main() -> None:
    """Print one constraint a line, with a marker where the two environments differ."""
    old, new = pins(sys.argv[1]), pins(sys.argv[2])
    print("# Every version that the tests have passed with. Written by scripts/pin.py.")
    for name in sorted({*old, *new} - {"long-perceptual-thoughts", "pip", "setuptools"}):
        if old.get(name) == new.get(name):
            print(f"{name}=={new[name]}")
            continue
        if name in old:
            print(f'{name}=={old[name]}; python_version < "3.11"')
        if name in new:
            print(f'{name}=={new[name]}; python_version >= "3.11"')


if __name__ == "__main__":
    main()
