"""Plugins: a real package, built and installed, and what becomes of bad ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pocketlm.assistant import extensions, plugins
from pocketlm.errors import Error, ParameterError

SOUND = """
from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.tools import Tool

def skills():
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = Tool("forecast", "What the weather will be.", schema)
    return [Skill(tool, lambda arguments: f"rain in {arguments['city']}")]
"""

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "weather-tools"
version = "1.2"

[project.entry-points."pocketlm.tools"]
weather = "weather_tools:skills"

[tool.setuptools]
py-modules = ["weather_tools"]
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a module with an entry point on the path, as an installer leaves them."""
    monkeypatch.setenv("POCKETLM_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(name: str, code: str, target: str | None = None, package: str | None = None) -> None:
        (tmp_path / f"plugin_{name}.py").write_text(code)
        about = tmp_path / f"{package or name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package or name}\nVersion: 1.0\n"
        )
        entry = f"[pocketlm.tools]\n{name} = {target or f'plugin_{name}:skills'}\n"
        (about / "entry_points.txt").write_text(entry)

    yield run
    for name in [name for name in sys.modules if name.startswith("plugin_")]:
        del sys.modules[name]


def opened(names=None):
    told: list[str] = []
    with extensions.open_skills(names, told.append) as skills:
        return skills, told


def test_a_plugins_tools_run_under_its_name(install):
    install("weather", SOUND)
    assert extensions.names() == ["weather"]
    (skill,), told = opened()
    assert told == []
    assert skill.tool.name == "weather.forecast"
    assert skill.run({"city": "Lowby"}) == "rain in Lowby"
    assert [each.tool for each in opened(["weather"])[0]] == [skill.tool]
    with pytest.raises(ParameterError, match="there is: weather"):
        opened(["wether"])


def test_nothing_is_imported_before_it_is_wanted(install):
    install("weather", "raise SystemError('imported')")
    assert list(plugins.plugins()) == ["weather"]
    assert opened([]) == ([], [])


BAD = {
    "no module": ("", "none:skills", "ModuleNotFoundError"),
    "no function": ("", None, "AttributeError"),
    "a module that fails": ("1 / 0", None, "ZeroDivisionError"),
    "a module that does not parse": ("def", None, "SyntaxError"),
    "a module that ends the program": ("import sys; sys.exit(3)", None, "SystemExit"),
    "a function that fails": ("def skills(): raise OSError('no disk')", None, "OSError: no disk"),
    "a function that wants something": ("def skills(x): return []", None, "TypeError"),
    "no function at all": ("skills = 1", None, "TypeError"),
    "a function that returns nothing": ("def skills(): pass", None, "TypeError"),
    "what are no tools": ("def skills(): return ['x']", None, "a str where a Skill should be"),
    "a bad name": (SOUND.replace('"forecast"', '"fore cast"'), None, "letters, digits"),
    "a bad schema": (SOUND.replace('{"type": "string"}', '"string"'), None, "must be an object"),
    "two of a name": (SOUND.replace("return [Skill", "return 2 * [Skill"), None, "a name twice"),
}


@pytest.mark.parametrize(("code", "target", "reason"), BAD.values(), ids=BAD)
def test_a_plugin_that_fails_is_named_and_the_others_go_on(install, code, target, reason):
    install("bad", code, target)
    install("good", SOUND)
    skills, (told,) = opened()
    assert [skill.tool.name for skill in skills] == ["good.forecast"]
    value = target or "plugin_bad:skills"
    assert told.startswith(f"plugin bad ({value} of bad 1.0) cannot be used: ")
    assert reason in told
    with pytest.raises(Error, match="plugin bad"):
        opened(["bad"])


def test_two_of_a_name_are_not_used(install):
    install("weather", SOUND, package="one")
    install("weather", SOUND, package="two")
    install("files", SOUND)
    names = ("files", "weather")
    assert opened() == (
        [],
        [f"several servers, plugins or tools have the name {name}: remove one" for name in names],
    )


def test_a_package_that_is_built_and_installed(tmp_path):
    """By pip, from source, into a folder of its own; used by a program of its own."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "weather_tools.py").write_text(SOUND)
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    installed = subprocess.run(
        [*command, "--no-build-isolation", "--target", site, source],
        capture_output=True,
        text=True,
    )
    assert installed.returncode == 0, installed.stderr
    program = """
from pocketlm.assistant.extensions import open_skills
with open_skills(None, print) as (skill,):
    print(skill.tool.name, skill.effects, skill.run({"city": "Lowby"}))
"""
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "POCKETLM_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "weather.forecast False rain in Lowby\n", done.stderr
    assert Path(site / "weather_tools-1.2.dist-info").is_dir()
