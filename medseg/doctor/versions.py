"""The installed versions against the tested ones."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from medseg import __version__
from medseg.doctor.finding import Finding
from medseg.shipped import shipped

_SHOWN = ("torch", "monai", "mlflow")


def python_version() -> Finding:
    """The versions of medseg and Python, and the platform."""
    value = f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return Finding("medseg", value)


def package_versions() -> Finding:
    """The packages that medseg requires: which are missing, and which differ from the tested versions."""
    try:
        required = list(_required())
    except metadata.PackageNotFoundError:
        mend = "pip install medseg, or in a checkout pip install -e ."
        return Finding("packages", "medseg is not installed", mend, broken=True)

    tested = tested_versions()
    installed = {name: _installed_version(name) for name in required}
    amiss = {name: found for name, found in installed.items() if not _as_tested(found, tested[name])}
    if not amiss:
        shown = ", ".join(f"{name} {installed[name]}" for name in _SHOWN if name in installed)
        return Finding("packages", f"{shown}; all {len(required)} as tested")
    value = ", ".join(f"{name} {found or 'is missing'} (tested: {tested[name]})" for name, found in amiss.items())
    mend = f"pip install {' '.join(f'{name}=={tested[name]}' for name in amiss)}"
    return Finding("packages", value, mend, broken=None in amiss.values())


def tested_versions() -> dict[str, Version]:
    """The versions that medseg was tested with on this Python and platform, by normalised package name."""
    lines = shipped("scripts/constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        str(canonicalize_name(pin.name)): Version(str(pin.specifier).removeprefix("=="))
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


def _required() -> Iterator[str]:
    """The normalised names of what medseg requires here, without its extras."""
    for requirement in map(Requirement, metadata.requires("medseg") or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)


def _installed_version(name: str) -> Version | None:
    try:
        return Version(metadata.version(name))
    except metadata.PackageNotFoundError:
        return None


def _as_tested(found: Version | None, tested: Version) -> bool:
    return found is not None and found.public == tested.public  # 2.13.0+cpu is a build of 2.13.0
