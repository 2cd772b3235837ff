#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmd-agent as a process: files and trees in both directions.

    test_files.py AGENT [NAME...]
"""
import io
import os
import random
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


def test_pull_leaves_out_kernel_views():
    with Agent() as a, tempfile.TemporaryDirectory() as d:
        os.mkdir(d + "/p")
        if subprocess.run(["mount", "-t", "proc", "proc", d + "/p"],
                          stderr=subprocess.DEVNULL).returncode:
            print("SKIP part: this user cannot mount proc")
            return
        try:
            os.mkfifo(d + "/fifo")
            r, data = a.host.pull(d)
        finally:
            subprocess.run(["umount", d + "/p"], check=True)
        eq(r[0], 0)
        with tarfile.open(fileobj=io.BytesIO(data)) as t:
            base = os.path.basename(d)
            eq(t.getnames(), [base, base + "/p"])


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
                    [("l3", L, d), ("l3", tarfile.DIRTYPE, "")],
                    [("dev", tarfile.CHRTYPE, "")]):
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
        eq(a.host.push(d, data[:600])[:2], (71, "io_error"))
        broken = bytearray(data)
        broken[5] ^= 1
        r = a.host.push(d, bytes(broken))
        assert "checksum" in r[2], r
        os.mkdir(d + "/f2")
        r = a.host.push(d, archive(("f2", tarfile.REGTYPE, "")))
        assert r[0] == 21 and "f2" in r[2], r


if __name__ == "__main__":
    sys.exit(main(globals()))
