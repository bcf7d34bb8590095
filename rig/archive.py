"""Debian's archive, seen for arm64 through lists of our own: the system's stay as they are."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from rig.errors import CannotError, GoneError, RigError
from rig.programs import run
from rig.work import Narrate, Work

__all__ = ["SUITE", "Archive"]

SUITE = "trixie"
_SUITES = (SUITE, f"{SUITE}-backports", "sid")
_HEADERS = re.compile(r"linux-headers-((\d+\.\d+)\..*\+deb13-cloud-arm64)")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Archive:
    """The archive that this machine uses, with the kernels it has now."""

    def __init__(self, work: Work, narrate: Narrate) -> None:
        self._narrate = narrate
        self.mirror = os.environ.get("MMTUI_RIG_MIRROR") or _mirror()
        """Its address; `$MMTUI_RIG_MIRROR` names another one."""
        apt = work.root / "apt"
        for folder in ("lists/partial", "cache/archives/partial"):
            (apt / folder).mkdir(parents=True, exist_ok=True)
        lines = [f"deb [signed-by={_KEYRING}] {self.mirror} {suite} main\n" for suite in _SUITES]
        (apt / "arm64.list").write_text("".join(lines), encoding="utf-8")
        self._options = [
            f"-oDir::Etc::sourcelist={apt / 'arm64.list'}",
            "-oDir::Etc::sourceparts=-",
            f"-oDir::State::lists={apt / 'lists'}",
            f"-oDir::Cache={apt / 'cache'}",
            *("-oAPT::Architecture=arm64", "-oAPT::Architectures=arm64"),
            "-oAPT::Sandbox::User=root",
            "-oAPT::Update::Error-Mode=any",  # lists that could not be fetched are no success
        ]

    def update(self) -> None:
        """Fetch the lists."""
        self._narrate(f"fetching the archive's lists for arm64 from {self.mirror}")
        doing = f"reading the archive {self.mirror}"
        run(["apt-get", *self._options, "update", "-qq"], doing=doing)

    def release(self, name: str) -> str:
        """The newest release of a version such as `7.2`, as `uname -r` will say it.

        Raises:
            GoneError: the archive has none; those it has are named.
        """
        found: dict[str, list[str]] = {}
        for package in run(["apt-cache", *self._options, "pkgnames", "linux-headers-"]).split():
            if match := _HEADERS.fullmatch(package):
                found.setdefault(match[2], []).append(match[1])
        if name not in found:
            message = f"kernel {name} is not in the archive (any more)"
            raise GoneError(message, expected=" or ".join(sorted(found, key=_in_order)))
        return max(found[name], key=_in_order)

    def version(self, package: str, upstream: str) -> str:
        """The newest version of a package that is of an upstream version such as `7.2.12`.

        Raises:
            GoneError: the archive has none; those it has are named.
        """
        said = run(["apt-cache", *self._options, "madison", package]).splitlines()
        found = [words[1].strip() for line in said if len(words := line.split("|")) > 1]
        wanted = [version for version in found if version.rpartition("-")[0] == upstream]
        if not wanted:
            message = f"{package} {upstream} is not in the archive (any more)"
            raise GoneError(f"{message}; it has {', '.join(dict.fromkeys(found)) or 'none'}")
        return wanted[0]

    def has(self, package: str) -> bool:
        """Whether the archive has a package."""
        try:
            return bool(run(["apt-cache", *self._options, "show", package]).strip())
        except RigError:
            return False

    def download(self, packages: Sequence[str], folder: Path) -> list[Path]:
        """Fetch packages into an empty folder; nothing is installed."""
        folder.mkdir(parents=True)
        for package in packages:
            self._narrate(f"fetching {package}")
        doing = f"fetching from {self.mirror}"
        run(["apt-get", *self._options, "download", *packages], cwd=folder, doing=doing)
        return sorted(folder.glob("*.deb"))


def _in_order(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", release)]


def _mirror() -> str:
    """The archive that the system itself uses."""
    targets = run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).split()
    for address in sorted(set(targets)):
        if "security" not in address and address.rstrip("/").endswith("/debian"):
            return address
    raise CannotError("apt knows no archive of Debian", expected="MMTUI_RIG_MIRROR=ADDRESS")
