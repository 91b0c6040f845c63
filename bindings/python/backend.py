# SPDX-License-Identifier: BSD-2-Clause
"""Builds the package for pip (PEP 517 and 660). It is files without anything to compile, so nothing
but Python is needed, and `pip install ./bindings/python` works without a network."""
import base64
import hashlib
import io
import pathlib
import re
import tarfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent
PACKAGE = "motionmatcher"
WHEEL = "Wheel-Version: 1.0\nGenerator: motionmatcher\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same files make the same bytes


def setting(name):
    """A text of pyproject.toml, which Python before 3.11 cannot parse."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.search(rf'^{name} = "(.*)"$', text, re.M).group(1)


def stem():
    return f"{PACKAGE}-{setting('version')}"


def metadata():
    return (
        f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {setting('version')}\n"
        f"Summary: {setting('description')}\nLicense: BSD-2-Clause\n"
        f"Requires-Python: {setting('requires-python')}\nClassifier: Typing :: Typed\n"
        "Description-Content-Type: text/markdown\n\n"
        + (ROOT / "README.md").read_text(encoding="utf-8")
    )


def package_files():
    for path in sorted((ROOT / PACKAGE).iterdir()):
        if path.suffix == ".py" or path.name == "py.typed":
            yield f"{PACKAGE}/{path.name}", path.read_bytes()


def write_wheel(directory, files):
    info = f"{stem()}.dist-info"
    files = dict(files)
    files[f"{info}/METADATA"] = metadata().encode()
    files[f"{info}/WHEEL"] = WHEEL.encode()
    record = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(content)}\n")
    files[f"{info}/RECORD"] = "".join(record + [f"{info}/RECORD,,\n"]).encode()
    name = f"{stem()}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return write_wheel(wheel_directory, package_files())


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return write_wheel(wheel_directory, [(f"{PACKAGE}.pth", f"{ROOT}\n".encode())])


def build_sdist(sdist_directory, config_settings=None):
    name = f"{stem()}.tar.gz"
    files = {"PKG-INFO": metadata().encode(), **dict(package_files())}
    for other in ("README.md", "backend.py", "generate.py", "pyproject.toml"):
        files[other] = (ROOT / other).read_bytes()
    with tarfile.open(pathlib.Path(sdist_directory, name), "w:gz") as archive:
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{stem()}/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return name
