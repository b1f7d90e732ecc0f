"""What a recipe names as path.py:function or module:function."""

import sys
from pathlib import Path

import pytest

from lpt.errors import UserError
from lpt.plugins import load_object


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "good.py": "import beside_good\n\ndef two():\n    return beside_good.TWO\n\nclass Box:\n    inner = two\n",
        "beside_good.py": "TWO = 2\n",
        "bad.py": "def f(:\n",
        "raising.py": "raise RuntimeError('no')\n",
        "leaving.py": "import sys\nsys.exit(3)\n",
        "needing.py": "import no_such_package_at_all\n",
        "data.py": "from dataclasses import dataclass\n\n@dataclass\nclass D:\n    x: 'int' = 3\n",
        "own_module_of_this_test.py": "def f():\n    return 'module'\n",
        "needing_module_of_this_test.py": "import no_such_package_at_all\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_function_of_a_file_and_of_a_module(folder: Path, monkeypatch: pytest.MonkeyPatch):
    path = list(sys.path)
    assert load_object("good.py:two", folder)() == 2
    assert load_object(f"{folder}/good.py:Box.inner")() == 2
    assert load_object("data.py:D", folder)().x == 3
    assert load_object("own_module_of_this_test:f", folder)() == "module"
    assert load_object("os.path:join", folder)("a", "b") == "a/b"
    assert sys.path == path
    monkeypatch.chdir(folder)
    assert load_object("good.py:two")() == 2


def test_a_file_that_has_changed_is_loaded_anew(folder: Path):
    load_object("good.py:two", folder)
    (folder / "good.py").write_text("def two():\n    return 'two and a half'\n")
    assert load_object("good.py:two", folder)() == "two and a half"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("good.py", "write path/to/file.py:name or module:name"),
        ("", "does not say what to load"),
        (":f", "does not say what to load"),
        ("good.py:", "does not say what to load"),
        ("no.py:f", r"no.py:f: there is no file /.*/no.py"),
        ("bad.py:f", r"bad.py cannot be loaded: SyntaxError"),
        ("raising.py:f", "raising.py cannot be loaded: RuntimeError: no"),
        ("leaving.py:f", "leaving.py cannot be loaded: SystemExit: 3"),
        ("needing.py:f", "ModuleNotFoundError: No module named 'no_such_package_at_all'"),
        ("good.py:tow", "has no `tow`; did you mean `two`"),
        ("good.py:Box.outer", "has no `outer`"),
        ("no_such_module_of_this_test:f", "there is no module no_such_module_of_this_test"),
        ("no_such_module_of_this_test.inner:f", "there is no module no_such_module_of_this_test"),
        ("sub/file:f", r"file's name must end in .py"),
        ("needing_module_of_this_test:f", "imports no_such_package_at_all, which is not installed"),
        (".relative:f", "cannot be loaded"),
    ],
)
def test_each_way_to_fail_is_told(folder: Path, spec: str, message: str):
    path, modules = list(sys.path), set(sys.modules)
    with pytest.raises(UserError, match=message) as caught:
        load_object(spec, folder)
    assert spec in str(caught.value)
    assert sys.path == path
    assert not [name for name in set(sys.modules) - modules if name.startswith("lpt_own") and "good" not in spec]
