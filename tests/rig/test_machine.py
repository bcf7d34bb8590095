"""What the rig needs of the machine: programs, images, boots, and the sentences when they lack."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from mmtui.__main__ import main
from mmtui.exit_codes import ExitCode
from rig import setup, storelog
from rig.archive import Archive
from rig.boot import Guest, boot
from rig.compile import plugin
from rig.emulator import check_version
from rig.errors import CannotError, GoneError, RigError
from rig.guest import translate
from rig.image import find_modules, unpack_image, unpack_module
from rig.initramfs import initramfs
from rig.own import NEEDED, own_kernel
from rig.programs import run
from rig.record import Recorder
from rig.symbols import _why
from rig.work import SOURCES, Kernel, Work, work_directory
from tests.rig.samples import LAYOUT, SYMBOLS, folio, one, process, record, said

IMAGE = bytearray(128)
IMAGE[56:60] = b"ARM\x64"
Program = Callable[[str, str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return a function that puts a shell script in the place of a program."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("cat", "sed", "sleep"):  # what the scripts use; everything else is not there
        (folder / tool).symlink_to(shutil.which(tool) or "")
    monkeypatch.setenv("PATH", str(folder))

    def install(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return install


@pytest.fixture
def kernel(tmp_path: Path) -> tuple[Work, Kernel]:
    """A work directory with a kernel in it, as far as a boot looks at it."""
    work = Work(tmp_path / "work")
    made = work.kernel("7.2")
    made.modules.mkdir(parents=True)
    (made.modules / "zram.ko.xz").write_bytes(lzma.compress(b"zram"))
    for name, text in (("image", "i"), ("release", "7.2.1"), ("build", "t"), ("mmoracle.ko", "m")):
        (made.folder / name).write_text(text)
    work.init.write_text("init")
    return work, made


# -- images ----------------------------------------------------------------------------------


def zboot(packed: bytes) -> bytes:
    head = bytearray(64)
    head[:8] = b"MZ\0\0zimg"
    head[8:16] = struct.pack("<II", 64, len(packed))
    return bytes(head) + packed + b"rest"


@pytest.mark.parametrize(
    "packed",
    [
        bytes(IMAGE),
        gzip.compress(IMAGE),
        gzip.compress(IMAGE) + b"\0" * 9,
        lzma.compress(IMAGE, lzma.FORMAT_XZ),
        zboot(gzip.compress(IMAGE)),
    ],
    ids=["plain", "gzip", "gzip and more", "xz", "EFI"],
)
def test_an_image_is_unpacked(packed: bytes) -> None:
    assert unpack_image(packed, "vmlinuz") == bytes(IMAGE)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x7fELF" + bytes(99), "no kernel for arm64"),
        (gzip.compress(b"text"), "no kernel for arm64"),
        (b"\x1f\x8brubbish", "cannot be unpacked"),
        (zboot(b"\x04\x22\x4d\x18lz4"), "not known"),
    ],
    ids=["ELF", "packed text", "rubbish", "lz4"],
)
def test_what_is_no_image_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(RigError, match=words):
        unpack_image(data, "vmlinuz")


def test_modules_are_found_and_unpacked(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.ko.gz").write_bytes(gzip.compress(b"a"))
    (tmp_path / "b.ko.xz").write_bytes(lzma.compress(b"b"))
    (tmp_path / "c.ko").write_bytes(b"c")
    found = find_modules(tmp_path, ["a", "b", "c", "d"])
    assert {name: unpack_module(file) for name, file in found.items()} == {
        "a": b"a",
        "b": b"b",
        "c": b"c",
    }


def test_the_guests_root_is_an_archive(kernel: tuple[Work, Kernel]) -> None:
    data = initramfs(*kernel, "scenario x\nend\n", ["want-layout"])
    names, at = {}, 0
    while data[at : at + 6] == b"070701":
        size, length = int(data[at + 54 : at + 62], 16), int(data[at + 94 : at + 102], 16)
        name = data[at + 110 : at + 110 + length - 1].decode()
        start = at + (110 + length + 3) // 4 * 4
        names[name] = data[start : start + size]
        at = start + (size + 3) // 4 * 4
    assert at == len(data)
    assert list(names)[-1] == "TRAILER!!!"
    assert names["modules.txt"] == b"/zram.ko\n/mmoracle.ko\n"
    assert (names["zram.ko"], names["want-layout"]) == (b"zram", b"")
    assert names["scenarios.txt"] == b"scenario x\nend\n"


# -- programs --------------------------------------------------------------------------------


def test_a_program_that_is_not_there_is_named_with_its_package(program: Program) -> None:
    with pytest.raises(CannotError, match=r"no mkfs\.xfs .*expected Debian's package xfsprogs"):
        run(["mkfs.xfs", "-q", "x"])
    program("mkfs.xfs", "echo one; echo 'E: no space'; echo other; exit 3")
    with pytest.raises(RigError, match=r"mkfs\.xfs -q x failed: no space"):
        run(["mkfs.xfs", "-q", "x"])
    program("mkfs.xfs", "echo well")
    assert run(["mkfs.xfs"]) == "well\n"


def test_versions_of_qemu(program: Program) -> None:
    with pytest.raises(CannotError, match="qemu-system-arm"):
        check_version(plugins=False)
    program("qemu-system-aarch64", "echo 'QEMU emulator version 9.1.2 (Debian 1:9.1.2)'")
    assert check_version(plugins=False) == "9.1.2"
    with pytest.raises(CannotError, match=r"need QEMU 7\.2 .*this is 9\.1"):
        check_version(plugins=True)
    program("qemu-system-aarch64", "echo 'QEMU emulator version 7.2.22 (Debian)'")
    program("nm", "echo '0001 T qemu_get_cpu'")
    with pytest.raises(CannotError, match="does not export aarch64_cpu_gdb_read_register"):
        check_version(plugins=True)
    program("nm", "sed -n 's/.*/x/p'")


def test_the_sources_of_the_guest_are_package_data() -> None:
    for name in ("guest/init.c", "guest/mmoracle.c", "guest/Kbuild", "configs/nopm.config"):
        assert (SOURCES / name).is_file(), name
    for name in ("stores", "two"):
        assert (SOURCES / f"plugins/{name}.c").is_file()
        assert plugin(Work(Path("/w")), name) == Path(f"/w/{name}.so")


# -- the archive -----------------------------------------------------------------------------


def test_a_kernel_that_left_the_archive_is_gone(tmp_path: Path, program: Program) -> None:
    program("apt-get", "echo http://deb.debian.org/debian/ http://x/debian-security/")
    packages = ("6.12.117+deb13", "6.12.90+deb13", "7.2.12+deb13", "7.3~rc1+deb13")
    names = " ".join(f"linux-headers-{p}-cloud-arm64 linux-headers-{p}-arm64" for p in packages)
    program("apt-cache", f"for name in {names}; do echo $name; done")
    archive = Archive(Work(tmp_path), print)
    assert archive.mirror == "http://deb.debian.org/debian/"
    assert archive.release("6.12") == "6.12.117+deb13-cloud-arm64"
    with pytest.raises(GoneError, match=r"6\.11 is not in .*expected 6\.12 or 7\.2"):
        archive.release("6.11")


def test_setting_up_needs_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CannotError, match="needs root"):
        setup.set_up(Work(tmp_path), [], print)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotError, match="no apt"):
        setup.set_up(Work(tmp_path), [], print)


def test_two_do_not_set_up_at_once(tmp_path: Path) -> None:
    work = Work(tmp_path / "new")
    with work.locked(), pytest.raises(CannotError, match="another mmtui"), work.locked():
        pass
    with work.locked():
        pass


def test_where_it_all_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert work_directory().root == Path(os.environ["XDG_CACHE_HOME"]) / "mmtui/rig"
    monkeypatch.setenv("MMTUI_RIG", str(tmp_path))
    assert work_directory().root == tmp_path
    assert work_directory().kernels() == []


# -- a kernel of one's own -------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "linux"
    (tree / "include/config").mkdir(parents=True)
    (tree / ".config").write_text("".join(f"CONFIG_{option}=y\n" for option in NEEDED))
    (tree / "include/config/kernel.release").write_text("7.2.0-mine\n")
    (tree / "Image.gz").write_bytes(gzip.compress(IMAGE))
    (tree / "Module.symvers").write_text("")
    (tree / "drivers").mkdir()
    (tree / "drivers/zram.ko").write_text("zram")
    return tree


def test_a_kernel_of_ones_own(tree: Path, tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    kernel = own_kernel(work, "mine", str(tree / "Image.gz"), str(tree))
    assert (kernel.name, kernel.release, kernel.build_tree) == ("mine", "7.2.0-mine", str(tree))
    assert kernel.image.read_bytes() == bytes(IMAGE)
    assert own_kernel(work, "mine", str(tree / "Image.gz"), str(tree)) == kernel
    (tree / "Image.gz").write_bytes(gzip.compress(IMAGE + b"new"))
    again = own_kernel(work, "mine", str(tree / "Image.gz"), str(tree))
    assert again.folder != kernel.folder, "it was built anew"
    assert (again.modules / "zram.ko").read_text() == "zram"
    (tree / "drivers/zram.ko").write_text("another")
    once_more = own_kernel(work, "mine", str(tree / "Image.gz"), str(tree))
    assert (once_more.modules / "zram.ko").read_text() == "another"


def test_a_tree_in_the_chroot_is_built_in_there(tree: Path, tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    work.root.mkdir()
    work.chroot.symlink_to(tmp_path)
    kernel = own_kernel(work, "mine", str(tree / "Image.gz"), str(tree))
    assert kernel.build_tree == "chroot:/linux"


def test_a_kernel_that_cannot_be_asked_is_refused(tree: Path, tmp_path: Path) -> None:
    work, image = Work(tmp_path / "work"), str(tree / "Image.gz")
    with pytest.raises(RigError, match="no kernel image"):
        own_kernel(work, "mine", str(tree / "nothing"), str(tree))
    with pytest.raises(RigError, match=r"expected a folder with \.config"):
        own_kernel(work, "mine", image, str(tmp_path))
    config = (tree / ".config").read_text()
    (tree / ".config").write_text(config.replace("CONFIG_KPROBES=y\n", ""))
    with pytest.raises(CannotError, match="without CONFIG_KPROBES"):
        own_kernel(work, "mine", image, str(tree))
    (tree / ".config").write_text(config)
    (tree / "Module.symvers").unlink()
    with pytest.raises(RigError, match=r"no Module\.symvers.* expected `make modules`"):
        own_kernel(work, "mine", image, str(tree))
    (tree / "include/config/kernel.release").unlink()
    with pytest.raises(RigError, match="never built"):
        own_kernel(work, "mine", image, str(tree))


# -- boots -----------------------------------------------------------------------------------


def qemu(console: str, then: str = "") -> str:
    """A script that says what a guest would, where it is told to."""
    find = (
        "for word; do case $word in file,id=out,path=*) out=${word#file,id=out,path=};; esac; done"
    )
    return f"{find}\ncat > $out <<'END'\n{console}END\n{then}"


PLAYED = "@B x\n" + said(1, [folio()], A=process([], 0)) + said(2, [], A=process([], 0)) + "@E x\n"


def test_a_boot_is_read(kernel: tuple[Work, Kernel], program: Program) -> None:
    program("qemu-system-aarch64", qemu(PLAYED + "@Q\n"))
    booted = boot(Guest(*kernel), "", patience=30)
    assert booted.ended
    assert booted.console == PLAYED + "@Q\n"
    assert not list((kernel[0].root / "tmp").iterdir())


def test_a_guest_that_says_nothing_more_is_ended(
    kernel: tuple[Work, Kernel], program: Program
) -> None:
    program("qemu-system-aarch64", qemu(PLAYED, "exec sleep 1000"))
    ends: list[str] = []
    booted = boot(Guest(*kernel), "", patience=0.3, progress=ends.append)
    assert not booted.ended
    assert ends == ["x"]


def test_what_qemu_complains_of_is_said(kernel: tuple[Work, Kernel], program: Program) -> None:
    program("qemu-system-aarch64", "echo 'qemu: no such plugin' >&2; exit 1")
    with pytest.raises(RigError, match="QEMU did not start: qemu: no such plugin"):
        boot(Guest(*kernel), "")


def test_a_scenario_that_kills_the_guest_is_left_out(
    kernel: tuple[Work, Kernel], program: Program, tmp_path: Path
) -> None:
    """The second one hangs at first; the third is played in a boot of its own."""
    first = PLAYED.replace(" x\n", " one\n") + "@B two\n" + said(1, [])
    later = PLAYED.replace(" x\n", " three\n") + "@Q\n"
    mark = tmp_path / "was-here"
    script = f"if [ -e {mark} ]; then\n{qemu(later)}\nelse\n: > {mark}\n{qemu(first)}\nfi"
    program("qemu-system-aarch64", script)
    scenario = one("mmap A R 4p\nwrite A R 0 1")
    batch = [translate(scenario._replace(name=name)) for name in ("one", "two", "three")]
    told: list[str] = []
    recorder = Recorder(Guest(*kernel), narrate=told.append)
    recorded = [each.states for each in recorder.record(batch)]
    assert [each["scenario"] for each in recorded] == ["one", "three"]
    assert [step["action"] for step in recorded[0]["steps"]] == ["mmap A R 4p", "write A R 0 1"]
    assert recorder.failed == {"two": "the guest hung or died in it"}
    assert told == ["two: the guest hung or died in it; going on behind it"]


def test_a_log_that_ends_too_early_is_said(kernel: tuple[Work, Kernel], program: Program) -> None:
    """QEMU was ended before it wrote the log of the second action."""
    work, real = kernel
    (real.folder / "kallsyms").write_text(SYMBOLS)
    (real.folder / "layout.json").write_text(json.dumps(LAYOUT._asdict()))
    one_step = record(storelog.ON) + record(storelog.OFF)
    (work.root / "log").write_bytes(one_step)
    find = "for word; do case $word in *,log=*) log=${word#*,log=}; log=${log%%,*};; esac; done"
    copy = f"{find}\ncat {work.root / 'log'} > $log"
    program("qemu-system-aarch64", qemu(PLAYED + "@Q\n", copy))
    scenario = translate(one("mmap A R 4p\nwrite A R 0 1"), stores=True)
    recorder = Recorder(Guest(*kernel), stores=True)
    (found,) = recorder.record([scenario])
    assert recorder.failed == {"x": "the log of stores ends before it does"}
    assert not found.states["complete"]
    assert found.stores is not None
    assert [step["step"] for step in found.stores["steps"]] == [1]


def test_a_kernel_that_does_not_come_up(kernel: tuple[Work, Kernel], program: Program) -> None:
    program("qemu-system-aarch64", qemu("@X no /proc/mmoracle 2\n"))
    with pytest.raises(RigError, match=r"7\.2 does not come up: @X no /proc/mmoracle"):
        list(Recorder(Guest(*kernel)).record([translate(one("mmap A R 4p"))]))


def test_why_a_kernel_does_not_come_up() -> None:
    """An image and a tree that do not belong together are told by the kernel's log."""
    log = "[ 1.1] mmoracle: loading out-of-tree module taints kernel.\n[ 1.2] other\n"
    problems = ["load /mmoracle.ko -8"]
    assert _why(problems, log) == "load /mmoracle.ko -8"
    assert _why([], log) == "[ 1.2] other"
    magic = "mmoracle: version magic '7.2.12' should be '7.3.4'"
    assert _why(problems, f"{log}[ 1.3] {magic}\n[ 1.4] more\n") == magic
    assert _why([], "") == "it said nothing"


# -- the commands ----------------------------------------------------------------------------


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    file = tmp_path / "x.scn"
    file.write_text("scenario x\nmmap A R 4p\nwrite A R 0 1\nend\n")
    return str(file)


Seen = tuple[int, str, str]


@pytest.fixture
def mmtui(capsys: pytest.CaptureFixture[str]) -> Callable[..., Seen]:
    def command(*arguments: str) -> Seen:
        status = main(list(arguments))
        seen = capsys.readouterr()
        return status, seen.out, seen.err

    return command


def test_nothing_is_set_up(mmtui: Callable[..., Seen], program: Program, scenario: str) -> None:
    status, out, err = mmtui("record", scenario, "-k", "7.2")
    assert (status, out, err.count("\n")) == (ExitCode.CANNOT, "", 1)
    assert "qemu-system-arm" in err
    program("qemu-system-aarch64", "echo 'QEMU emulator version 7.2.22'")
    status, out, err = mmtui("record", scenario, "-k", "7.2")
    assert (status, out, err.count("\n")) == (ExitCode.CANNOT, "", 1)
    assert "`mmtui rig setup` first" in err
    status, out, err = mmtui("rig", "check")
    assert (status, err) == (ExitCode.CANNOT, "")
    assert "no kernels" in out


def test_what_cannot_be_played_is_refused_before_anything_runs(
    mmtui: Callable[..., Seen], scenario: str
) -> None:
    Path(scenario).write_text("scenario x\nmmap A R 4p\nfold A R 0 4\nend\n")
    status, _, err = mmtui("record", scenario, "-k", "7.2")
    assert status == ExitCode.USAGE
    assert err.startswith(f"mmtui: {scenario}:3:1: no real kernel")
    status, _, err = mmtui("race", scenario, "-k", "7.2")
    assert status == ExitCode.USAGE
    assert "0 blocks of CPUs" in err
    status, _, err = mmtui("record", scenario, scenario, "-k", "7.2")
    assert status == ExitCode.USAGE
    assert "second scenario 'x'" in err


def test_a_recording_goes_where_it_belongs(
    mmtui: Callable[..., Seen],
    kernel: tuple[Work, Kernel],
    program: Program,
    scenario: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    work, _ = kernel
    monkeypatch.setenv("MMTUI_RIG", str(work.root))
    monkeypatch.setattr("rig.ready.build_init", lambda *_: None)
    monkeypatch.setattr("rig.ready.build_plugins", lambda *_: None)
    monkeypatch.setattr("rig.ready.build_module", lambda *_: None)
    monkeypatch.setattr("rig.ready.learn", lambda *_: None)
    work.xfs.write_text("")
    version = "[ \"$1\" = --version ] && echo 'QEMU emulator version 7.2.22' && exit\n"
    program("qemu-system-aarch64", version + qemu(PLAYED + "@Q\n"))
    into = str(tmp_path / "out")
    status, out, err = mmtui("record", scenario, "-k", "7.2", "-o", into)
    assert (status, out) == (ExitCode.OK, f"{into}/7.2/x.json\n")
    assert re.search(r"^1 of 1 in .* a minute$", err, re.M)
    assert mmtui("record", scenario, "-k", "7.2", "--hwaf", "-o", into)[1].endswith(
        "7.2-hwaf/x.json\n"
    )
    status, out, _ = mmtui("record", scenario, "-k", "7.2", "--json")
    assert out.startswith('{"scenario": "x"')
    status, _, err = mmtui("record", scenario, "-k", "6.6")
    assert status == ExitCode.CANNOT
    assert "kernel 6.6 is not set up (there is 7.2)" in err
    status, _, err = mmtui("record", scenario, "-k", "7.2", "--image", "x")
    assert status == ExitCode.USAGE
    assert "both" in err
    program("qemu-system-aarch64", version + qemu("@B x\n", "echo Oops"))
    status, _, err = mmtui("record", scenario, "-k", "7.2", "-o", into)
    assert status == ExitCode.FAILED
    assert "the guest hung or died in it" in err
