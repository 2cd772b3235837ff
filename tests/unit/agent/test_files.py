#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmd-agent as a process: files and trees in both directions.

    test_files.py AGENT [NAME...]
"""
import io
import os
import random
import socket
import subprocess
import sys
import tarfile
import tempfile

from agent_rig import Agent, eq, main, wire


def make_tree(d):
    rng = random.Random(2)
    os.makedirs(d + "/t/deep/" + "n" * 150 + "/" + "m" * 150)
    os.makedirs(d + "/t/readonly")
    for i in range(40):
        with open(d + "/t/deep/f%d" % i, "wb") as f:
            f.write(rng.randbytes(rng.choice([0, 1, 511, 512, 513, 70000])))
        os.chmod(f.name, rng.choice([0o600, 0o644, 0o755, 0o4711, 0o440]))
        os.utime(f.name, ns=(0, 1700000000123456789 + i))
    with open(d + "/t/deep/" + "n" * 150 + "/" + "m" * 150 + "/ä ö\n", "w"):
        pass
    with open(d + "/t/readonly/file", "w") as f:
        f.write("x")
    os.chmod(d + "/t/readonly", 0o555)
    os.symlink("../deep/f1", d + "/t/readonly-link")
    os.symlink("x" * 300, d + "/t/long-link")
    os.symlink("/etc", d + "/t/out")
    os.link(d + "/t/deep/f2", d + "/t/hard")
    os.utime(d + "/t/deep", ns=(0, 1600000000000000000))


def describe(top):
    """Everything that must be the same after a round trip."""
    seen, inodes = {}, {}
    for base, dirs, files in os.walk(top):
        for name in sorted(dirs + files) + ["."]:
            path = os.path.join(base, name)
            st = os.lstat(path)
            rel = os.path.relpath(path, top)
            what = [st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns]
            if os.path.islink(path):
                what.append(os.readlink(path))
            elif os.path.isfile(path):
                with open(path, "rb") as f:
                    what.append(f.read())
                if st.st_nlink > 1:
                    inodes.setdefault(st.st_ino, []).append(rel)
            seen[rel] = what
    return seen, sorted(sorted(v) for v in inodes.values())


def test_pull_push_round_trip():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        make_tree(d)
        os.mkdir(d + "/back")
        r, data = a.host.pull(d + "/t")
        eq(r, (0, "", ""))
        r = a.host.push(d + "/back", data)
        eq(r, (0, "", ""))
        wanted, seen = describe(d + "/t"), describe(d + "/back/t")
        eq(seen[1], wanted[1])
        for name, what in wanted[0].items():
            assert name in seen[0], "%r is missing" % name
            eq((name, seen[0][name]), (name, what))
        eq(len(seen[0]), len(wanted[0]))
        # Python's tarfile and the tar program read it as well.
        with tarfile.open(fileobj=io.BytesIO(data)) as t:
            eq(len(t.getmembers()), len(set(t.getnames())))
        os.mkdir(d + "/tar")
        subprocess.run(["tar", "xpf", "-", "-C", d + "/tar"], input=data,
                       check=True)
        eq(describe(d + "/tar/t")[1], wanted[1])
        os.chmod(d + "/t/readonly", 0o755)
        os.chmod(d + "/back/t/readonly", 0o755)
        os.chmod(d + "/tar/t/readonly", 0o755)


def test_push_reads_other_writers():
    for fmt in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        with Agent() as a, tempfile.TemporaryDirectory() as d:
            b = io.BytesIO()
            long = "p" * 60 + "/" + "q" * 90
            with tarfile.open(fileobj=b, mode="w", format=fmt) as t:
                info = tarfile.TarInfo(long)
                info.size, info.mode, info.mtime = 3, 0o640, 1e9
                info.uid = os.geteuid()
                info.gid = os.getegid()
                t.addfile(info, io.BytesIO(b"abc"))
            eq(a.host.push(d, b.getvalue()), (0, "", ""))
            with open(d + "/" + long) as f:
                eq(f.read(), "abc")


def test_push_64_mib():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        data = random.Random(3).randbytes(1 << 20) * 64
        b = io.BytesIO()
        with tarfile.open(fileobj=b, mode="w") as t:
            info = tarfile.TarInfo("big")
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
        eq(a.host.push(d, b.getvalue()), (0, "", ""))
        with open(d + "/big", "rb") as f:
            assert f.read() == data
        r, back = a.host.pull(d + "/big")
        with tarfile.open(fileobj=io.BytesIO(back)) as t:
            assert t.extractfile("big").read() == data


def archive(*entries):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w") as t:
        for name, kind, link in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            t.addfile(info)
    return b.getvalue()


def test_pull_says_what_it_leaves_out():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        os.mkdir(d + "/p")
        base = os.path.basename(d)
        wanted = [base, base + "/fifo", base + "/p"]
        os.mkfifo(d + "/fifo")
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(d + "/sock")
            r, data = a.host.pull(d)
        eq(r, (0, "", base + "/sock: socket"))
        with tarfile.open(fileobj=io.BytesIO(data)) as t:
            eq(sorted(t.getnames()), wanted)
        os.unlink(d + "/sock")
        if subprocess.run(["mount", "-t", "proc", "proc", d + "/p"],
                          stderr=subprocess.DEVNULL).returncode:
            print("SKIP part: this user cannot mount proc")
            return
        try:
            r, data = a.host.pull(d)
        finally:
            subprocess.run(["umount", d + "/p"], check=True)
        eq(r, (0, "", base + "/p: what the kernel shows in it"))
        with tarfile.open(fileobj=io.BytesIO(data)) as t:
            eq(sorted(t.getnames()), wanted)


def test_pull_files_without_a_size():
    with Agent() as a:
        r, data = a.host.pull("/proc/cpuinfo")
        eq(r, (0, "", ""))
        with tarfile.open(fileobj=io.BytesIO(data)) as t:
            assert b"processor" in t.extractfile("cpuinfo").read()


def make_sparse(path):
    """1 GiB with three islands; its hash by islands."""
    with open(path, "wb") as f:
        f.truncate(1 << 30)
        for at, text in ((0, b"first"), (300 << 20, b"second"),
                         ((1 << 30) - 4, b"last")):
            f.seek(at)
            f.write(text)


def same_sparse(path):
    with open(path, "rb") as f:
        eq(os.fstat(f.fileno()).st_size, 1 << 30)
        for at, text in ((0, b"first"), (4090, bytes(6)),
                         (300 << 20, b"second"), ((1 << 30) - 4, b"last")):
            f.seek(at)
            eq(f.read(len(text)), text)
        assert os.fstat(f.fileno()).st_blocks * 512 < 1 << 20


def test_sparse_files_of_every_kind():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        make_sparse(d + "/disk.img")
        os.mkdir(d + "/in")
        for how in (["--format=gnu"], ["--format=pax", "--sparse-version=0.0"],
                    ["--format=pax", "--sparse-version=0.1"],
                    ["--format=pax", "--sparse-version=1.0"]):
            data = subprocess.run(
                ["tar", "-cS", *how, "-C", d, "disk.img"], check=True,
                stdout=subprocess.PIPE).stdout
            assert len(data) < 1 << 20
            eq(a.host.push(d + "/in", data), (0, "", ""))
            same_sparse(d + "/in/disk.img")
            os.unlink(d + "/in/disk.img")
        # Ours: as short, and GNU tar and Python read it.
        r, data = a.host.pull(d + "/disk.img")
        eq(r, (0, "", ""))
        assert len(data) < 1 << 20, len(data)
        eq(a.host.push(d + "/in", data), (0, "", ""))
        same_sparse(d + "/in/disk.img")
        os.mkdir(d + "/tar")
        subprocess.run(["tar", "xf", "-", "-C", d + "/tar"], input=data,
                       check=True)
        same_sparse(d + "/tar/disk.img")
        with tarfile.open(fileobj=io.BytesIO(data)) as t:
            eq(t.getnames(), ["disk.img"])
            eq(t.getmember("disk.img").size, 1 << 30)
        # Many parts: the old form continues its map in further blocks.
        with open(d + "/comb", "wb") as f:
            for i in range(300):
                f.seek(i * 65536)
                f.write(b"%d" % i)
        for how in "gnu", "pax":
            data = subprocess.run(
                ["tar", "-cS", "--format=" + how, "-C", d, "comb"], check=True,
                stdout=subprocess.PIPE).stdout
            eq(a.host.push(d + "/in", data), (0, "", ""))
            with open(d + "/comb", "rb") as f, open(d + "/in/comb", "rb") as g:
                assert f.read() == g.read()
        # Zeros that come in full stay holes.
        b = io.BytesIO()
        with tarfile.open(fileobj=b, mode="w") as t:
            info = tarfile.TarInfo("zeros")
            info.size = 8 << 20
            t.addfile(info, io.BytesIO(bytes(8 << 20)))
        eq(a.host.push(d + "/in", b.getvalue()), (0, "", ""))
        st = os.stat(d + "/in/zeros")
        eq(st.st_size, 8 << 20)
        assert st.st_blocks * 512 < 1 << 20, st.st_blocks


def test_sparse_archives_that_lie_are_refused():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        make_sparse(d + "/disk.img")
        data = subprocess.run(["tar", "-cS", "--format=pax", "-C", d,
                               "disk.img"], check=True,
                              stdout=subprocess.PIPE).stdout
        os.mkdir(d + "/in")
        body = data.index(b"4\n0\n")
        for old, new in ((b"4\n0\n", b"5\n0\n"), (b"4\n0\n", b"4\nx\n"),
                         (b"4\n0\n", b"2\n0\n"),
                         (b"realsize=1073741824", b"realsize=0000000009"),
                         (b"major=1", b"major=7")):
            at = body if old.startswith(b"4") else data.index(old)
            r = a.host.push(d + "/in", data[:at] + new + data[at + len(old):])
            eq(r[:2], (71, "bad_archive"))
            assert "sparse" in r[2], r
            eq(os.listdir(d + "/in"), [])


def test_push_stays_inside():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        os.makedirs(d + "/in")
        os.mkdir(d + "/out")
        with open(d + "/secret", "w") as f:
            f.write("s")
        F, L, H = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
        for bad in ([("../x", F, "")], [("a/../../x", F, "")],
                    [("l", L, "../out"), ("l/x", F, "")],
                    [("l", L, d + "/out"), ("l/y/x", F, "")],
                    [("h", H, "../secret")], [("h", H, d + "/secret")],
                    [("l2", L, ".."), ("h", H, "l2/secret")],
                    [("l3", L, d), ("l3", tarfile.DIRTYPE, "")]):
            r = a.host.push(d + "/in", archive(*bad))
            assert r[0] and r[1] == "io_error", (bad, r)
            assert bad[-1][0].split("/")[-1] in r[2], r
        eq(sorted(os.listdir(d)), ["in", "out", "secret"])
        eq(os.listdir(d + "/out"), [])
        eq(os.stat(d + "/secret").st_nlink, 1)
        # An absolute name lands below the target.
        eq(a.host.push(d + "/in", archive(("/abs/x", F, "")))[0], 0)
        assert os.path.exists(d + "/in/abs/x")


def test_push_pull_errors_name_the_file():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        r = a.host.push(d + "/none", archive())
        assert r[0] == 2 and "none" in r[2], r
        r, _ = a.host.pull(d + "/none")
        assert r[0] == 2 and "none" in r[2], r
        data = archive(("f", tarfile.REGTYPE, ""))
        eq(a.host.push(d, data[:600])[:2], (71, "bad_archive"))
        broken = bytearray(data)
        broken[5] ^= 1
        r = a.host.push(d, bytes(broken))
        assert r[1] == "bad_archive" and "checksum" in r[2], r
        os.mkdir(d + "/f2")
        r = a.host.push(d, archive(("f2", tarfile.REGTYPE, "")))
        assert r[0] == 21 and "f2" in r[2], r


def test_push_replaces_only_what_is_whole():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        with open(d + "/f", "w") as f:
            f.write("old")
        b = io.BytesIO()
        with tarfile.open(fileobj=b, mode="w") as t:
            info = tarfile.TarInfo("f")
            info.size = 100000
            t.addfile(info, io.BytesIO(bytes(100000)))
        # The sender stops half way; what was there is there.
        eq(a.host.push(d, b.getvalue()[:60000])[1], "bad_archive")
        eq(os.listdir(d), ["f"])
        with open(d + "/f") as f:
            eq(f.read(), "old")
        for kind in "fifo", "sock":
            os.unlink(d + "/f")
            if kind == "fifo":
                os.mkfifo(d + "/f")
            else:
                s = socket.socket(socket.AF_UNIX)
                s.bind(d + "/f")
            mode = os.stat(d + "/f").st_mode
            r = a.host.push(d, archive(("f", tarfile.REGTYPE, "")))
            assert r[0] and "will not replace" in r[2], r
            eq(os.stat(d + "/f").st_mode, mode)
        s.close()


def test_push_does_not_change_the_directory_it_is_sent_to():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        os.mkdir(d + "/in")
        os.chmod(d + "/in", 0o1777)
        eq(a.host.push(d + "/in", archive((".", tarfile.DIRTYPE, ""),
                                          ("./f", tarfile.REGTYPE, ""))),
           (0, "", ""))
        eq(os.stat(d + "/in").st_mode & 0o7777, 0o1777)
        eq(os.listdir(d + "/in"), ["f"])


if __name__ == "__main__":
    sys.exit(main(globals()))
