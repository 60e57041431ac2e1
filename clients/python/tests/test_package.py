"""The wheel and the source distribution, installed into an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from world import ROOT, started

_PACKAGE = ROOT / "clients/python"
_README = (_PACKAGE / "README.md").read_text()
SNIPPETS = [part.split("```")[0] for part in _README.split("```python\n")[1:]]
#: Packages that the environment of the tests has, but an application has not.
_NOT_INSTALLED = ("tara-export",)


def run(*arguments: object, cwd: Path, **environment: str) -> str:
    completed = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


class Package:
    """The built packages, and an environment that has only the wheel and mypy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        source = folder / "source"
        # Only files of the repository: a build leaves files that the next one would include.
        listed = run(
            "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", ".", cwd=_PACKAGE
        ).split("\0")
        for name in filter(None, listed):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((_PACKAGE / name).read_bytes())
        # Without isolation, so that the pinned setuptools builds.
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source, cwd=folder)
        (self.wheel,) = (folder / "dist").glob("*.whl")
        (self.sdist,) = (folder / "dist").glob("*.tar.gz")
        freeze = run(sys.executable, "-m", "pip", "freeze", cwd=folder).splitlines()
        pinned = [line for line in freeze if not line.lower().startswith(_NOT_INSTALLED)]
        (folder / "constraints.txt").write_text("\n".join(pinned))
        venv.create(folder / "environment", with_pip=True)
        self.python = folder / "environment/bin/python"
        self.install(f"{self.wheel}[progress]", "mypy")

    def install(self, *packages: object) -> None:
        # The index and cache of the tests' environment.
        settings = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        home = {"HOME": os.environ.get("HOME", "")}
        options = ["--quiet", "--disable-pip-version-check", "--constraint", self.folder / "constraints.txt"]
        run(self.python, "-m", "pip", "install", *options, *packages, cwd=self.folder, **settings, **home)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return Package(tmp_path_factory.mktemp("package"))


def test_wheel_has_types_and_the_licence(package: Package) -> None:
    with zipfile.ZipFile(package.wheel) as archive:
        names = archive.namelist()
        (licence,) = [name for name in names if name.endswith("licenses/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    for marker in ("tara_export/py.typed", "tara/export/v1/py.typed", "tara/export/v1/review_pb2.pyi"):
        assert marker in names
    assert "Name: tara-export\n" in metadata and "License-Expression: Apache-2.0\n" in metadata
    # Another distribution can have modules in the namespace.
    assert "tara/__init__.py" not in names
    assert not [name for name in names if "test" in name]


def test_source_distribution_builds_the_same_wheel(package: Package) -> None:
    folder = package.folder / "rebuilt"
    folder.mkdir()
    with tarfile.open(package.sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as rebuilt, zipfile.ZipFile(package.wheel) as built:
        contents = [
            {info.filename: info.CRC for info in archive.infolist() if not info.filename.endswith("RECORD")}
            for archive in (rebuilt, built)
        ]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("index", range(len(SNIPPETS)))
def test_snippet_has_strict_types(package: Package, index: int) -> None:
    file = package.folder / f"snippet_{index}.py"
    file.write_text(SNIPPETS[index])
    run(
        package.python,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        package.folder / "cache",
        file,
        cwd=package.folder,
    )


def test_types_are_known_and_not_any(package: Package) -> None:
    file = package.folder / "checked.py"
    file.write_text(
        "from tara.export.v1 import review_pb2\n"
        "from tara_export import Client\n"
        "from tara_export.dropin import S3ExportManager\n"
        "reveal_type(review_pb2.Review().document_name)\n"
        "reveal_type(S3ExportManager().send_queued)\n"
        "with Client('127.0.0.1:1', token=lambda: 'a') as client:\n"
        "    reveal_type(client.get_export('a'))\n"
        "    client.get_export(1)\n"
    )
    checked = subprocess.run(
        [package.python, "-m", "mypy", "--strict", file], cwd=package.folder, capture_output=True, text=True
    )
    revealed = [line.split('"')[1] for line in checked.stdout.splitlines() if "Revealed type" in line]
    assert revealed[0] in ("builtins.str", "str") and revealed[2].endswith("export_pb2.Export"), checked
    assert "send_queued" not in revealed[1] and revealed[1].startswith("def ()"), checked
    assert checked.stdout.count("error:") == 1 and 'incompatible type "int"' in checked.stdout


def test_snippets_run_as_printed(package: Package, tmp_path: Path) -> None:
    where = run(package.python, "-c", "import tara_export; print(tara_export.__file__)", cwd=tmp_path)
    assert "site-packages" in where
    for code in SNIPPETS:
        if "token" in code or "list_targets" in code:
            # Run by test_readme.py with a server that requires a token, or has targets.
            continue
        with started() as world:
            address = world.addresses["server"]
            run(
                package.python,
                "-c",
                code.replace("127.0.0.1:8080", address),
                cwd=tmp_path,
                TARA_EXPORT_SERVER=address,
            )
    assert (tmp_path / "report.txt").exists() and (tmp_path / "bundle.zip").exists()
