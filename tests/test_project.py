"""What a project has besides its code: licence, metadata, and pages that name what exists."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

import dsunet_runtime
from dsunet_runtime.extras import install_command

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = {
    "dsunet": ROOT / "dsunet",
    "dsunet_export": ROOT / "export/dsunet_export",
    "dsunet_runtime": ROOT / "runtime/dsunet_runtime",
}
COMMANDS = {"dsunet": "dsunet", "dsunet-export": "dsunet_export", "dsunet-run": "dsunet_runtime"}
LICENCE_FILES = ("LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist of this tree."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_holds_the_licence(distributions: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(distributions[0]) as wheel:
        (folder,) = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info" in name}
        metadata = BytesParser().parsebytes(wheel.read(f"{folder}/METADATA"))
        for name in LICENCE_FILES:
            assert wheel.read(f"{folder}/licenses/{name}") == (ROOT / name).read_bytes()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Author"] == "The dsunet developers"
    assert metadata.get_all("License-File") == [*LICENCE_FILES]


def test_the_sdist_holds_the_licence(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {*LICENCE_FILES} <= names


def test_licence_is_apache_2_in_full() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in text


def test_citation_names_the_software_and_the_paper() -> None:
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Xu", "Yang", "Xu"]
    assert paper["url"] == PROJECT["urls"]["Paper"]
    assert (citation["license"], citation["keywords"]) == (PROJECT["license"], PROJECT["keywords"])


ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()


@pytest.mark.parametrize("package", PACKAGES)
def test_architecture_lists_every_module(package: str) -> None:
    folder = PACKAGES[package]
    block = ARCHITECTURE.split(f"\n{folder.relative_to(ROOT)}/\n")[1]
    (lines,) = re.findall(r"\A(?:    .+\n)+", block)
    listed = {line.split()[0] for line in lines.splitlines()}
    there = {
        path.name + "/" * path.is_dir()
        for path in folder.iterdir()
        if path.name not in ("__init__.py", "__main__.py", "__pycache__", "py.typed")
    }
    assert listed == there


def folders_of(package: Path) -> list[Path]:
    return [file.parent for file in package.rglob("__init__.py") if file.parent != package]


FOLDERS = [folder for package in PACKAGES.values() for folder in folders_of(package)]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_lists_its_modules(folder: Path) -> None:
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    rows = re.findall(r"^(\w+(?:, \w+)*)  +\S", docstring, flags=re.MULTILINE)
    listed = [name for row in rows for name in row.split(", ")]
    modules = {
        path.stem
        for path in folder.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert sorted(listed) == sorted(modules - {"__init__"})


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_pages_name_what_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    names = re.findall(r"`((?:dsunet|dsunet_export|dsunet_runtime)(?:\.\w+)+)`", text)
    paths = re.findall(r"[`(]([\w.]+(?:/[\w.]*)+|\w+\.(?:md|toml|txt))[`)]", text)
    made = ("masks/", "build/")  # by a command, so not in a clean clone
    places = [path for path in paths if not path.startswith(made) and "NAME" not in path]
    assert len(names) > 5
    assert len(places) > 5
    assert [name for name in names if not is_defined(name)] == []
    assert [path for path in places if not (ROOT / path).exists()] == []


def test_contributing_names_targets_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text())):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def is_defined(name: str) -> bool:
    """Whether `package.module.Class.method` is in the source, without an import of it."""
    package, *parts = name.split(".")
    place = PACKAGES[package]
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    if parts and (place / f"{parts[0]}.py").is_file():
        place /= f"{parts.pop(0)}.py"
    else:
        place /= "__init__.py"
    body = ast.parse(place.read_text()).body
    for part in parts:
        found = [statement for statement in body if part in names_of(statement)]
        if not found:
            return False
        body = getattr(found[0], "body", [])
    return True


def names_of(statement: ast.stmt) -> set[str]:
    """The names that a statement defines."""
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case ast.ImportFrom(names=aliases):
            return {alias.asname or alias.name for alias in aliases}
    return set()


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("dsunet_runtime", {"dsunet", "dsunet_export"}), ("dsunet", {"dsunet_export"})],
)
def test_imports_go_one_way(package: str, forbidden: set[str]) -> None:
    for file in PACKAGES[package].rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Import(names=aliases):
                    modules = {alias.name for alias in aliases}
                case ast.ImportFrom(module=str(module)):
                    modules = {module}
                case _:
                    continue
            assert not {module.partition(".")[0] for module in modules} & forbidden, file


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, flags=re.MULTILINE)
    command = ["make", "--no-print-directory", "help"]
    lines = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    assert [line.split()[1] for line in lines] == phony.split()
    assert all(line.split()[2:] for line in lines)


def test_hooks_run_the_ruff_of_this_project() -> None:
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    entries = [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]
    assert entries == ["ruff format --force-exclude", "ruff check --force-exclude"]


@pytest.mark.parametrize("package", PACKAGES)
def test_one_version(package: str, distributions: tuple[Path, Path]) -> None:
    version = importlib.import_module(package).__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert distributions[0].name == f"dsunet-{version}-py3-none-any.whl"
    sources = [file.read_text() for file in PACKAGES[package].rglob("*.py")]
    assert sum(f'"{version}"' in source for source in sources) == (package == "dsunet_runtime")


@pytest.mark.parametrize(("command", "package"), COMMANDS.items())
def test_version_of_the_commands(command: str, package: str) -> None:
    app = importlib.import_module(f"{package}.cli").app
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"{command} {dsunet_runtime.__version__}\n")


@pytest.mark.parametrize(("command", "package"), COMMANDS.items())
def test_packages_run_as_their_commands(command: str, package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", package, "nonsense"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{command}: ")
    assert done.stderr.endswith(f"see `{command} --help`\n")


@pytest.mark.parametrize(("command", "package"), COMMANDS.items())
def test_h_is_help(command: str, package: str) -> None:
    app = importlib.import_module(f"{package}.cli").app
    names = [one.name or one.callback.__name__ for one in app.registered_commands]
    for arguments in ([], *([name] for name in names)):
        short = CliRunner().invoke(app, [*arguments, "-h"], prog_name=command)
        long = CliRunner().invoke(app, [*arguments, "--help"], prog_name=command)
        assert short.exit_code == long.exit_code == 0
        assert short.stdout == long.stdout
        assert short.stdout.startswith(" ".join(["Usage:", command, *arguments]))
        assert "-h, --help" in short.stdout


@pytest.mark.parametrize(("command", "package"), COMMANDS.items())
def test_shell_completion(command: str, package: str) -> None:
    app = importlib.import_module(f"{package}.cli").app
    variable = f"_{command.replace('-', '_').upper()}_COMPLETE"

    def complete(*words: str) -> list[str]:
        typed = {"COMP_WORDS": " ".join([command, *words]), "COMP_CWORD": str(len(words))}
        environment = {variable: "complete_bash", **typed}
        result = CliRunner().invoke(app, env=environment, prog_name=command)
        assert result.stderr == ""
        return result.stdout.split()

    names = [one.name or one.callback.__name__ for one in app.registered_commands]
    assert complete("") == names
    assert complete(names[0][:3]) == [names[0]]
    assert "--help" in complete(names[0], "--")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_api_is_declared(package: str) -> None:
    code = (
        f"import sys, {package} as package\n"
        "assert dir(package) == sorted(package.__all__), dir(package)\n"
        "assert not {'torch', 'onnx', 'onnxruntime', 'numpy', 'PIL'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    module = importlib.import_module(package)
    assert module.__all__ == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        getattr(module, "nonsense")  # noqa: B009 - for type checkers


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_of_the_api_has_every_name(package: str) -> None:
    page = (ROOT / "docs/api.md").read_text()
    (members,) = re.findall(
        rf"^::: {package}\n    options:\n      members: \[([\w, \n]+)\]$", page, flags=re.MULTILINE
    )
    assert sorted(re.findall(r"\w+", members)) == importlib.import_module(package).__all__


def test_a_missing_package_of_the_export_is_named_with_its_extra() -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\nimport dsunet_export\n"
        "try:\n    dsunet_export.export_onnx\n"
        "except dsunet_export.MissingExtraError as error:\n    print(error)"
    )
    line = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert line == f"torch is not installed: {install_command('export')}\n"


def test_the_demo_uses_declared_names_only() -> None:
    tree = ast.parse((ROOT / "examples/demo.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules = {str(node.module) for node in imports if str(node.module).startswith("dsunet")}
    assert modules == {"dsunet", "dsunet_export"}


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_dockerfiles(name: str) -> None:
    """As far as it shows without a build of them."""
    text = (ROOT / f"docker/{name}.Dockerfile").read_text()
    assert text.startswith("# Example: ")
    (base,) = re.findall(r"^FROM (\S+)$", text, flags=re.MULTILINE)
    assert re.fullmatch(r"[a-z/]+:\d+\.\d+[\w.-]+", base)
    copied = re.findall(r"^COPY (.+) \S+$", text, flags=re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    sent = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    assert sources == {*sent}
    assert [source for source in sources if not (ROOT / source).exists()] == []
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", text)
    assert {*extras.split(",")} <= PROJECT["optional-dependencies"].keys()
    users = re.findall(r"^USER (\w+)$", text, flags=re.MULTILINE)
    assert users == ["dsunet"]
