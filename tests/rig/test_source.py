"""Kernels that are built from source: fetched, configured and compiled once, or a sentence."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rig import setup, source
from rig.archive import Archive
from rig.errors import CannotError, GoneError, RigError
from rig.programs import run_telling
from rig.work import SOURCES, Work

MADISON = """\
linux-source-7.2 |   7.2.13-1 | http://d/debian sid/main arm64 Packages
linux-source-7.2 | {version}-1~bpo13+1 | http://d/debian trixie-backports/main arm64 Packages
linux-source-7.2 | 7.2.9-1~bpo13+1 | http://d/debian trixie-backports/main arm64 Packages
"""
RECIPE = source.FROM_SOURCE["7.2-nopm"]
WANTED = (SOURCES / "configs" / RECIPE.config).read_text()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Programs that do what the real ones would leave behind, and write down that they ran."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("cat", "mkdir", "sh", "sleep"):
        (folder / tool).symlink_to(shutil.which(tool) or "")
    monkeypatch.setenv("PATH", str(folder))

    def install(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\necho {name} $* >> {tmp_path}/ran\n{script}\n")
        (folder / name).chmod(0o755)

    tree = tmp_path / "work/chroot/build/linux-source-7.2"
    install("apt-cache", f"cat {tmp_path}/madison")
    install("apt-get", "case $* in *download*) : > linux-source-7.2.deb;; esac")
    install("dpkg", "")
    install("tar", "mkdir $2/linux-source-7.2")
    install(
        "chroot",
        f"case $* in *allnoconfig*) cat {tree}/nopm.half {tmp_path}/more > {tree}/.config;;"
        f" *Image*) cat {tmp_path}/make; exit $(cat {tmp_path}/status);; esac",
    )
    for name, text in (
        ("madison", MADISON.format(version="7.2.12")),
        ("more", "CONFIG_FUNNY=y\n"),
        ("make", "make: a word\n  CC      mm/rmap.o\n"),
        ("status", "0"),
        ("ran", ""),
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("MMTUI_RIG_MIRROR", "http://d/debian")
    return install


def build(tmp_path: Path) -> tuple[Path, str, list[str]]:
    """Build, and return the tree, what was run, and what was told."""
    work, told = Work(tmp_path / "work"), list[str]()
    (tmp_path / "ran").write_text("")
    archive = Archive(work, told.append)
    tree = source.build_from_source(work, archive, work.kernel("7.2-nopm"), told.append)
    return tree, (tmp_path / "ran").read_text(), told


@pytest.mark.usefixtures("machine")
def test_each_step_is_done_once(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("2")
    (tmp_path / "make").write_text("  CC      mm/rmap.o\nmm/rmap.c:7:1: error: oh\nmake: Error 2\n")
    with pytest.raises(RigError, match=r"building 7\.2-nopm failed: mm/rmap\.c:7:1: error: oh"):
        build(tmp_path)
    first = (tmp_path / "ran").read_text()
    assert "download linux-source-7.2=7.2.12-1~bpo13+1" in first
    assert "allnoconfig" in first
    (tmp_path / "status").write_text("0")
    tree, ran, told = build(tmp_path)
    assert ran.count("\n") == 2, "packages and make; nothing is fetched or configured again"
    assert "-j" in ran
    assert told[-1].startswith("building 7.2-nopm")
    assert (tree / RECIPE.config).read_text() == WANTED
    assert not list(tree.parent.glob("*.half"))
    (tree / RECIPE.config).write_text("CONFIG_OLD=y\n")
    assert "allnoconfig" in build(tmp_path)[1], "another configuration than ours"


@pytest.mark.usefixtures("machine")
def test_a_source_that_left_the_archive_is_gone(tmp_path: Path) -> None:
    (tmp_path / "madison").write_text(MADISON.format(version="7.2.11"))
    gone = r"linux-source-7\.2 7\.2\.12 is not in .* \(any more\); it has 7\.2\.13-1, 7\.2\.11-1"
    with pytest.raises(GoneError, match=gone):
        build(tmp_path)
    (tmp_path / "madison").write_text("")
    with pytest.raises(GoneError, match="it has none"):
        build(tmp_path)


@pytest.mark.parametrize(
    ("option", "instead"),
    [("CONFIG_NUMA=n", "CONFIG_NUMA=y"), ("CONFIG_KSM=y", "# CONFIG_KSM is not set")],
)
def test_an_option_that_the_source_drops_is_named(
    tmp_path: Path, machine: Callable[[str, str], None], option: str, instead: str
) -> None:
    (tmp_path / "more").write_text(WANTED.replace(option, instead))
    tree = tmp_path / "work/chroot/build/linux-source-7.2"
    machine("chroot", f"case $* in *make*) cat {tmp_path}/more > {tree}/.config;; esac")
    for _ in range(2):  # and again, not built all the same
        with pytest.raises(CannotError, match=rf"7\.2\.12 does not take {option}"):
            build(tmp_path)


@pytest.mark.usefixtures("machine")
def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_ROOM", 1 << 60)
    with pytest.raises(CannotError, match=r"needs \d+ GB in .*, which has"):
        build(tmp_path)
    assert "download" not in (tmp_path / "ran").read_text()


def test_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0.0, 30.0)
    monkeypatch.setattr(source.time, "monotonic", lambda: next(clock))
    told: list[str] = []
    said = source._meter("k", 50, told.append)
    for number in range(60):
        said(f"  CC      mm/{number}.o")
        said("make[1]: nothing is built by this")
    parts = [int(line.split()[1]) for line in told]
    assert parts == sorted(parts)
    assert {10, 50, 90, 99} <= set(parts)
    assert told[0] == "k: 8 % built, 2 min, mm/3.o", "after two minutes, though it is no tenth"


def test_what_takes_long_ends_with_us(tmp_path: Path) -> None:
    """And so does what it has started."""
    pid = tmp_path / "pid"

    def told(line: str) -> None:
        pid.write_text(line)
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_telling(["sh", "-c", "sleep 1000 & echo $!; wait"], told, doing="sleeping")
    assert time.monotonic() - began < 500
    for _ in range(1000):
        stat = Path(f"/proc/{int(pid.read_text())}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.01)
    else:
        os.kill(int(pid.read_text()), signal.SIGKILL)
        pytest.fail("it goes on")


def test_a_program_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotError, match=r"there is no debootstrap .*expected Debian's package"):
        run_telling(["debootstrap"], print, doing="x")


def test_what_is_gone_is_said_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: Callable[[str, str], None]
) -> None:
    monkeypatch.setattr(setup, "_check_machine", lambda: None)
    monkeypatch.setattr(setup, "_install", lambda narrate: None)
    monkeypatch.setattr(setup, "check_version", lambda plugins: "7.2.22")
    machine("apt-cache", f"case $* in *madison*) cat {tmp_path}/madison;; esac")
    (tmp_path / "madison").write_text("")
    told: list[str] = []
    gone = setup.set_up(Work(tmp_path / "work"), ["7.2-nopm", "6.11", "6.11"], told.append)
    assert [line.split(" is not in ")[0] for line in gone] == [
        "linux-source-7.2 7.2.12",
        "kernel 6.11",
    ]
    assert told[-2:] == gone
    assert "debootstrap" not in (tmp_path / "ran").read_text()


def test_what_was_mounted_is_found() -> None:
    mounts = (
        "/dev/vda / ext4 rw 0 0\nproc /w\\040x/half/proc proc rw 0 0\nsys /w/half2 sysfs rw 0 0\n"
    )
    assert setup._mounts_below(Path("/w x/half"), mounts) == ["/w x/half/proc"]
    assert setup._mounts_below(Path("/w/half"), mounts) == []
