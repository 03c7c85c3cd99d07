"""The files around the code agree with each other: metadata, Makefile, workflow, hooks and CONTRIBUTING."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

import f2edge

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


@cache
def metadata() -> dict[str, Any]:
    """Return the parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@cache
def load(path: Path) -> Any:
    """Parse a YAML file; ``on``, which YAML 1.1 takes for true, keeps its name."""
    text = re.sub(r"^on:", '"on":', path.read_text("utf-8"), flags=re.MULTILINE)
    return yaml.safe_load(text)


def jobs() -> dict[str, Any]:
    """Return the jobs of the workflow by their names."""
    workflow_jobs: dict[str, Any] = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    return workflow_jobs


def commands(job: str) -> str:
    """Return all that a job of the workflow runs."""
    return "\n".join(step.get("run", "") for step in jobs()[job]["steps"])


def matrix_pythons() -> list[str]:
    """Return the versions of Python that the workflow tests."""
    return list(jobs()["tests"]["strategy"]["matrix"]["python"])


def number(text: str) -> tuple[int, ...]:
    """Turn "3.10" into (3, 10), so that versions compare by number."""
    return tuple(map(int, text.split(".")))


def make(*arguments: str) -> str:
    """Run make in the repository, and return what it prints."""
    program = shutil.which("make")
    if program is None:
        pytest.skip("there is no make")
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = [program, "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=outer, check=True, stdout=subprocess.PIPE, encoding="utf-8")  # noqa: S603
    return done.stdout


def phony() -> list[str]:
    """Return the targets that the Makefile declares as phony."""
    lines = re.findall(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    return " ".join(lines).split()


def test_a_bare_make_prints_the_help() -> None:
    """``make`` does no work: it prints what ``make help`` does."""
    assert make() == make("help")


def test_help_names_every_target_with_what_it_does() -> None:
    """Every phony target has a line with a description, and no line names anything else."""
    lines = [re.fullmatch(r"make ([\w-]+) +(\S.+)", line) for line in make("help").splitlines()]
    assert all(lines)
    assert sorted(line[1] for line in lines if line) == sorted(phony())


def test_the_version_stands_in_one_place() -> None:
    """The metadata read the version from a literal, so that no import is needed."""
    assert "version" not in metadata()["project"]
    assert metadata()["project"]["dynamic"] == ["version"]
    module, _, attribute = metadata()["tool"]["setuptools"]["dynamic"]["version"]["attr"].rpartition(".")
    body = ast.parse(Path(sys.modules[module].__file__ or "").read_text("utf-8")).body
    literals = {
        target.id: ast.literal_eval(node.value)
        for node in body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert literals[attribute] == f2edge.__version__


def test_the_installed_version_equals_the_code() -> None:
    """After a change of the version, the package must be installed again: ``touch pyproject.toml``, then make."""
    assert version("f2edge") == f2edge.__version__


def test_files_that_are_not_python_are_in_the_wheel() -> None:
    """Every file beside the modules of ``f2edge`` is named as package data, the JSON Schemas among them."""
    package, settings = ROOT / "f2edge", metadata()["tool"]["setuptools"]
    folders = {ROOT / settings["package-dir"][name]: patterns for name, patterns in settings["package-data"].items()}
    shipped = {path for folder, patterns in folders.items() for pattern in patterns for path in folder.glob(pattern)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert len(others) > 10
    assert others == shipped


def test_the_workflow_calls_the_gate() -> None:
    """A job runs .ci/run as it is, and the file may be executed."""
    assert ".ci/run" in commands("run").splitlines()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_workflow_covers_the_versions_of_python() -> None:
    """The matrix begins with the oldest version that may install f2edge, and has all that the classifiers claim."""
    oldest = metadata()["project"]["requires-python"].removeprefix(">=")
    prefix = "Programming Language :: Python :: "
    names = [name.removeprefix(prefix) for name in metadata()["project"]["classifiers"] if name.startswith(prefix)]
    claimed = {name for name in names if "." in name}
    assert min(matrix_pythons(), key=number) == min(claimed, key=number) == oldest
    assert claimed <= set(matrix_pythons())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_need_no_trust(path: Path) -> None:
    """A workflow only reads the repository, uses no secret, pins its actions, and has a time limit."""
    assert load(path)["permissions"] == {"contents": "read"}
    assert "secrets." not in path.read_text("utf-8")
    steps = [step for job in load(path)["jobs"].values() for step in job["steps"]]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in actions)
    assert all("timeout-minutes" in job for job in load(path)["jobs"].values())


def test_files_that_the_workflow_runs_are_there() -> None:
    """Each script that a step names is in the repository, and each target of make in the Makefile."""
    text = "\n".join(map(commands, jobs()))
    scripts = re.findall(r"(?<=\s)\.ci/\S+", f" {text}")
    assert {".ci/run", ".ci/smoke.py"} <= set(scripts)
    assert all((ROOT / script).is_file() for script in scripts)
    assert set(re.findall(r"make ([\w-]+)", text)) <= set(phony())


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms_are_forms(path: Path) -> None:
    """A form has what GitHub asks for: a name, a description, and a body with a unique id for each input."""
    form = load(path)
    if path.name == "config.yml":
        assert {"name", "url", "about"} == set(form["contact_links"][0])
        return
    assert {"name", "description", "body"} <= set(form)
    inputs = [item for item in form["body"] if item["type"] != "markdown"]
    assert len({item["id"] for item in inputs}) == len(inputs) > 0
    assert all(item["attributes"]["label"] for item in inputs)


def test_hooks_run_the_pinned_tools() -> None:
    """Hooks run the tools of .venv or pre-commit's own checks, so that they agree with ``make lint``."""
    config = load(ROOT / ".pre-commit-config.yaml")
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = {hook["id"]: hook for hook in config["repos"][0]["hooks"]}
    assert {hook["language"] for hook in hooks.values()} == {"system", "pygrep"}
    assert hooks["ruff-check"]["entry"].split()[:2] == [".venv/bin/ruff", "check"]
    assert hooks["ruff-format"]["entry"].split()[:2] == [".venv/bin/ruff", "format"]


@pytest.mark.parametrize("tool", ["ruff", "mypy"])
def test_linters_are_pinned_and_installed(tool: str) -> None:
    """Linters are pinned, because with every rule on, another version is a change of its own."""
    pins = [entry for entry in metadata()["project"]["optional-dependencies"]["dev"] if entry.startswith(tool)]
    assert pins == [f"{tool}=={version(tool)}"]


def test_dependencies_have_lower_bounds() -> None:
    """Each dependency has a lower bound, which the job with the oldest versions installs."""
    project = metadata()["project"]
    extras = project["optional-dependencies"]
    entries = [*project["dependencies"], *extras["compile"], *extras["onnx"], *extras["eval"]]
    outside = [entry for entry in entries if not entry.startswith("f2edge[")]
    assert [entry for entry in outside if not re.match(r"[\w.-]+(>=|==)\d", entry)] == []


def test_files_that_contributing_names_are_there() -> None:
    """Every file and folder that CONTRIBUTING.md names exists."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\s]+)`", prose)
    files = [span for span in spans if re.fullmatch(r"[\w./-]*(/|\.(py|md|toml|yml))|\.ci/\w+", span)]
    assert len(files) > 30
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_names_that_contributing_uses_are_in_the_code() -> None:
    """Every constant and private name that CONTRIBUTING.md mentions exists in the code."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    names = {name for name in re.findall(r"`(\w+)`", text) if name.isupper() or name.startswith("_")}
    code = "\n".join(path.read_text("utf-8") for path in (*ROOT.glob("*/*.py"), *ROOT.glob("*/*/*.py")))
    assert len(names) > 8
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", code)] == []
