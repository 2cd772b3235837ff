#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Walks the tables of docs/copy.md: makes each case, copies with vmctl, looks.

    cp_table.py VM COPY.MD [grid|keeps|streams]

Needs root: device nodes and small file systems are made on both sides.
"""
import io
import os
import re
import shlex
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile

VM, DOC = sys.argv[1:3]
PARTS = sys.argv[3:] or ["grid", "keeps", "streams"]
NEW = "new content\n"
failures = []


def check(what, wanted, seen, detail=""):
    if wanted != seen:
        failures.append("%s: the table says %s, it is %s %s" % (what, wanted, seen, detail))


def tables():
    """{first head: [head, rows...]} of all tables."""
    found, current = {}, None
    for line in open(DOC, encoding="utf-8"):
        if not line.startswith("|"):
            current = None
            continue
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if current is None:
            current = found.setdefault(cells[0], [])
        if not set("".join(cells)) <= set("-"):
            current.append(cells)
    return found


def vmctl(*words, data=None, check_status=False):
    done = subprocess.run(["vmctl", *words], input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120)
    if check_status and done.returncode:
        raise AssertionError("vmctl %r: %s" % (words, done.stderr))
    return done


class Host:
    """The shell of this machine; paths below a directory of our own."""

    def __init__(self, top):
        self.top = top

    def sh(self, script):
        return subprocess.run(["sh", "-ec", script], check=True, timeout=120,
                              stdout=subprocess.PIPE).stdout

    def name(self, path):
        return path


class Guest(Host):
    def sh(self, script):
        return vmctl("exec", VM, "--", "sh", "-ec", script, check_status=True).stdout

    def name(self, path):
        return VM + ":" + path


# What a thing is, one word and more, in any shell.
SHOW = r"""show() {
	if [ -L "$1" ]; then echo "link $(readlink "$1") [$(show "$1/." 2>/dev/null)]"
	elif [ -f "$1" ]; then echo "file $(cat "$1")"
	elif [ -d "$1" ]; then echo "dir $(cd "$1" && find . | sort | tr '\n' ' ')"
	elif [ -p "$1" ]; then echo pipe
	elif [ -c "$1" ]; then echo device
	elif [ -e "$1" ]; then echo other
	else echo absent; fi
}
"""

SOURCES = {
    "file": ("printf 'new content\\n' >src", "src"),
    "empty file": (": >src", "src"),
    "directory": ("mkdir src; printf 'new content\\n' >src/inner", "src"),
    "directory/": ("mkdir src; printf 'new content\\n' >src/inner", "src/"),
    "directory/.": ("mkdir src; printf 'new content\\n' >src/inner", "src/."),
    "link to file": ("printf 'new content\\n' >real; ln -s real src", "src"),
    "link to directory": ("mkdir real; printf 'new content\\n' >real/inner; ln -s real src", "src"),
    "dangling link": ("ln -s nowhere src", "src"),
    "pipe": ("mkfifo src", "src"),
    "device": ("mknod src c 1 3", "src"),
    "socket": (None, "src"),
    "missing": (":", "src"),
}
DESTINATIONS = {
    "absent": (":", "dst"),
    "parent absent": (":", "none/dst"),
    "absent/": (":", "dst/"),
    "file": ("echo old >dst", "dst"),
    "directory": ("mkdir dst", "dst"),
    "link to file": ("echo old >target; ln -s target dst", "dst"),
    "link to directory": ("mkdir target; ln -s target dst", "dst"),
    "dangling link": ("ln -s nowhere dst", "dst"),
    "pipe": ("mkfifo dst", "dst"),
    "device": ("mknod dst c 1 3", "dst"),
    "read-only directory": ("mkdir dst; mount -t tmpfs -o ro none dst", "dst"),
    "full disk": ("mkdir dst; mount -t tmpfs -o size=64k none dst; "
                  "cat /dev/zero >dst/fill 2>/dev/null || :", "dst"),
}


def make_socket(side, path):
    if isinstance(side, Guest):
        # busybox makes one where /dev/log leads to.
        side.sh("rm -f /dev/log; ln -s %s /dev/log; syslogd -n >/dev/null 2>&1 & p=$!; i=0; "
                "while [ ! -S %s ] && [ $i -lt 200 ]; do i=$((i + 1)); usleep 20000; done; "
                "kill $p; rm -f /dev/log" % ((shlex.quote(path),) * 2))
        return b"socket" in side.sh("[ -S %s ] && echo socket || :" % shlex.quote(path))
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
    return True


def outcome(done, before, after, content, captured):
    """The word that describes what has happened; after: of dst, its inside."""
    dst, inside, target = after
    if done.returncode:
        same = (before == after)
        return "refused" if done.stderr and same else "refused, but changed"
    tree = "dir . ./inner"
    is_new = ("file " + content).strip()
    if dst in ("pipe", "device"):
        return "written" if captured in (None, content) else "written wrongly"
    if dst.startswith("link"):
        if target.strip() == is_new:
            return "through"
        if inside.strip() in (is_new, tree):
            return "into"
        return "contents" if target.startswith("dir") and "./inner" in target else "?"
    if inside.strip() in (is_new, tree):
        return "into"
    if dst.strip() == is_new:
        return "made" if before[0] == "absent" else "replaced"
    if dst.strip() == tree:
        return "made or contents"
    return "?"


def look(side, base, columns):
    """Of every column: dst, dst/src, target."""
    script = SHOW + "cd %s\n" % shlex.quote(base)
    for i, _ in enumerate(columns):
        for path in ("dst", "dst/src", "target"):
            script += "show %d/%s | tr '\\n' ' '; echo\n" % (i, path)
    lines = [l.strip() for l in side.sh(script).decode().split("\n")]
    return [lines[3 * i:3 * i + 3] for i, _ in enumerate(columns)]


def walk_row(row, columns, source_side, dest_side, base):
    kind, cells = row[0], row[1:]
    make, source = SOURCES[kind]
    s, d = source_side.top + base, dest_side.top + base
    source_side.sh("mkdir -p %s/s; cd %s/s; %s" % (s, s, make or ":"))
    if make is None and not make_socket(source_side, s + "/s/src"):
        print("SKIP row %s: nothing in the guest makes a socket" % kind)
        return
    script = "mkdir -p %s\n" % d
    for i, column in enumerate(columns):
        script += "mkdir %s/%d; cd %s/%d; %s\n" % (d, i, d, i, DESTINATIONS[column][0])
    dest_side.sh(script)
    content = NEW if kind not in ("empty file", "device") else ""
    before = look(dest_side, d, columns)
    results = []
    for i, column in enumerate(columns):
        to = "%s/%d/%s" % (d, i, DESTINATIONS[column][1])
        helpers, captured = [], None
        if kind == "pipe" and not isinstance(source_side, Guest):
            helpers.append(subprocess.Popen(["sh", "-c", "printf 'new content\\n' >%s/s/src" % s]))
        if column == "pipe" and not isinstance(dest_side, Guest):
            helpers.append(subprocess.Popen(["cat", to], stdout=subprocess.PIPE))
        done = vmctl("cp", source_side.name("%s/s/%s" % (s, source)), dest_side.name(to))
        for p in helpers:
            if done.returncode:
                p.kill()
            out = p.communicate(timeout=60)[0]
            captured = out.decode() if out is not None else captured
        results.append((done, captured))
    after = look(dest_side, d, columns)
    for i, column in enumerate(columns):
        done, captured = results[i]
        seen = outcome(done, before[i], after[i], content, captured)
        wanted = cells[i]
        if seen == "made or contents" and wanted in ("made", "contents"):
            seen = wanted
        if column == "full disk" and seen.startswith("refused"):
            seen = "refused" if ".vmd-cp" not in after[i][0] else "refused, with litter"
        check("%s, %s -> %s" % (base, kind, column), wanted, seen,
              "(%r %r %r)" % (before[i], after[i], done.stderr.decode()[-200:]))
    for i, column in enumerate(columns):
        if column in ("read-only directory", "full disk"):
            dest_side.sh("umount %s/%d/dst" % (d, i))


def walk_grid(found, host, guest):
    for title, sides in (("into the VM", (host, guest)), ("out of the VM", (guest, host))):
        head, rows = found[title][0], found[title][1:]
        assert set(head[1:]) == set(DESTINATIONS), set(head[1:]) ^ set(DESTINATIONS)
        assert [r[0] for r in rows] == list(SOURCES), "rows of " + title
        for n, row in enumerate(rows):
            assert len(row) == len(head), row
            walk_row(row, head[1:], *sides, "/%s%d" % (title[:3].strip(), n))


# ---- what a copy keeps: each row makes a tree in t and judges the copy in c/t ----

BYTES = "caf\\351.txt"
ROWS = {
    "permission bits": ("printf x >t/f; chmod 640 t/f; mkdir t/d; chmod 711 t/d",
                        "stat -c %a c/t/f c/t/d | tr '\\n' ' '", "640 711 ", None),
    "set-id bits": ("printf x >t/f; chmod 6755 t/f", "stat -c %a c/t/f", "6755\n", "755\n"),
    "modification time": ("printf x >t/f; touch -d @1600000000 t/f",
                          "stat -c %Y c/t/f", "1600000000\n", None),
    "owner": ("printf x >t/f; chown 1234:1234 t/f", "stat -c %u:%g c/t/f", "0:0\n", None),
    "hard links in a tree": ("printf x >t/a; ln t/a t/b",
                             "[ c/t/a -ef c/t/b ] && echo yes || echo no", "yes\n", "no\n"),
    "links in a tree": ("ln -s nowhere t/l", "readlink c/t/l", "nowhere\n", None),
    "holes": ("truncate -s 50M t/f; printf x | dd of=t/f bs=1 seek=30000000 conv=notrunc 2>/dev/null",
              "echo $(stat -c %s c/t/f) $(( $(du -k c/t/f | cut -f1) < 1000 )) "
              "$(md5sum <c/t/f | cut -c1-32)",
              "52428800 1 " + "", None),
    "extended attributes": ("printf x >t/f; setfattr -n user.v -v 1 t/f 2>/dev/null || :",
                            "getfattr -d c/t/f 2>/dev/null || :", "kept?", ""),
    "a name that is not UTF-8": ("printf x >\"t/$(printf '%s')\"" % BYTES,
                                 "cat \"c/t/$(printf '%s')\"" % BYTES, "x", None),
    "a name with a newline": ("printf x >'t/a\nb'", "cat 'c/t/a\nb'", "x", None),
    "a name of 255 bytes": ("printf x >t/%s" % ("n" * 255), "cat c/t/%s" % ("n" * 255), "x", None),
    "a name that begins with a dash": ("printf x >t/-rf", "cat c/t/-rf", "x", None),
    "a pipe in a tree": ("mkfifo t/p; printf x >t/f", "[ -p c/t/p ] && cat c/t/f", "x", None),
    "a device in a tree": ("mknod t/n c 1 7; printf x >t/f", "[ -c c/t/n ] && cat c/t/f", "x", None),
    "a socket in a tree": (None, "[ ! -e c/t/s ] && cat c/t/f", "x", None),
    "the mode of a directory that was there": (
        "mkdir t/d; chmod 755 t/d; mkdir -p c/t/d; chmod 1777 c/t/d", "stat -c %a c/t/d", "1777\n", None),
    "a file where the tree has a directory": ("mkdir t/x; mkdir c/t; echo old >c/t/x", "cat c/t/x", "old\n", None),
    "a directory where the tree has a file": ("printf x >t/x; mkdir -p c/t/x", "[ -d c/t/x ]", "", None),
    "a pipe where the tree has a file": ("printf x >t/x; mkdir c/t; mkfifo c/t/x", "[ -p c/t/x ]", "", None),
    "a link where the tree has a file": (
        "printf x >t/x; mkdir c/t; echo old >c/out; ln -s ../out c/t/x",
        "[ ! -L c/t/x ] && cat c/t/x c/out", "xold\n", None),
    "a link where the tree has a directory": (
        "mkdir t/x; printf x >t/x/f; mkdir -p c/t c/out; ln -s ../out c/t/x",
        "[ -L c/t/x ] && ls c/out", "", None),
    "a file of /proc": ("rmdir t; ln -s /proc/version t", "grep -c Linux c/t", "1\n", None),
}


def walk_keep(row, word, source_side, dest_side, base):
    make, judge, kept, dropped = ROWS[row]
    s, d = source_side.top + base, dest_side.top + base
    source_side.sh("mkdir -p %s/t %s/c" % (s, s))
    dest_side.sh("mkdir -p %s/c" % d)
    first, _, there = (make or "printf x >t/f").partition("mkdir c/t;")
    if not there and "mkdir -p c/t" in first:
        first, _, there = first.partition("mkdir -p c/t")
        there = there and "mkdir -p c/t" + there
    elif there:
        there = "mkdir c/t;" + there
    source_side.sh("cd %s; %s" % (s, first.rstrip("; ")))
    if there:
        dest_side.sh("cd %s; %s" % (d, there))
    if make is None and not make_socket(source_side, s + "/t/s"):
        print("SKIP %s: nothing in the guest makes a socket" % row)
        return
    done = vmctl("cp", source_side.name(s + "/t"), dest_side.name(d + "/c"))
    try:
        seen = dest_side.sh("cd %s; %s" % (d, judge)).decode()
    except (AssertionError, subprocess.CalledProcessError) as e:
        seen = "judge failed: %s" % e
    if row == "holes":
        kept += source_side.sh("md5sum <%s/t/f | cut -c1-32" % s).decode()
    where = "%s %s" % (base, row)
    detail = "(%r %r)" % (seen, done.stderr.decode()[-200:])
    if word == "left out":
        check(where, "left out", "left out" if done.returncode == 1 and b"left out" in done.stderr
              else "status %d" % done.returncode, detail)
        return
    if word == "refused":
        check(where, word, "refused" if done.returncode and done.stderr and seen == kept
              else "status %d" % done.returncode, detail)
        return
    want = dropped if word == "dropped" else kept
    check(where, word, word if done.returncode == 0 and seen == want else "something else", detail)


def walk_keeps(found, host, guest):
    rows = found["property"][1:]
    assert [r[0] for r in rows] == list(ROWS), "rows of the properties"
    for n, row in enumerate(rows):
        walk_keep(row[0], row[1], host, guest, "/kin%d" % n)
        walk_keep(row[0], row[2], guest, host, "/kout%d" % n)


# ---- streams ----------------------------------------------------------------

def gnu_tar(host, *how):
    host.sh("cd %s; [ -e sp ] || { truncate -s 3M sp; printf begin | dd of=sp bs=1 seek=1048576 "
            "conv=notrunc 2>/dev/null; printf end | dd of=sp bs=1 seek=3145725 conv=notrunc "
            "2>/dev/null; }" % host.top)
    return subprocess.run(["tar", "-cS", *how, "-C", host.top, "sp"], check=True,
                          stdout=subprocess.PIPE).stdout


def archive(*entries, **pax):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w", format=tarfile.PAX_FORMAT) as t:
        for name, kind, link in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.pax_headers = kind, link, pax
            t.addfile(info)
    return b.getvalue()


def streams(host):
    one = gnu_tar(host, "--format=pax", "--sparse-version=1.0")
    at = one.index(b"\n1048576\n")
    F, L = tarfile.REGTYPE, tarfile.SYMTYPE
    return {
        "GNU tar, old sparse member": gnu_tar(host, "--format=gnu"),
        "GNU tar, sparse 0.0": gnu_tar(host, "--format=pax", "--sparse-version=0.0"),
        "GNU tar, sparse 0.1": gnu_tar(host, "--format=pax", "--sparse-version=0.1"),
        "GNU tar, sparse 1.0": one,
        "star's sparse member": archive(("f", F, ""), **{"SCHILY.realsize": "5"}),
        "a map that lies": one[:at] + b"\n9999999\n" + one[at + 9:],
        "cut in a member": one[:at + 600],
        "no archive": b"not an archive" * 100,
        "an empty archive": archive(),
        "a name with ..": archive(("../x", F, "")),
        "through a link of the archive": archive(("l", L, "/"), ("l/x", F, "")),
        "a directory that is absent": archive(("f", F, "")),
    }


def walk_streams(found, host, guest):
    rows = {r[0]: r[1] for r in found["stream"][1:]}
    data = streams(host)
    back = "out: a tree, and back"
    assert set(rows) == set(data) | {back}, set(rows) ^ (set(data) | {back})
    for n, (name, stream) in enumerate(data.items()):
        d = "%s/st%d" % (guest.top, n)
        guest.sh("mkdir %s" % d)
        done = vmctl("cp", "-", guest.name(d + ("/none" if "absent" in name else "")), data=stream)
        left = guest.sh("ls -A %s | grep -v '^l$' || :" % d).decode()
        seen = "unpacked" if done.returncode == 0 else "refused"
        if done.returncode and (left or not done.stderr):
            seen = "refused, leaving %r" % left
        if "sparse" in name and seen == "unpacked":
            same = (guest.sh("md5sum <%s/sp" % d).split()[0] ==
                    host.sh("md5sum <%s/sp" % host.top).split()[0])
            seen = "unpacked" if same else "unpacked as something else"
        if "star" in name or "map" in name:
            assert b"sparse" in done.stderr, done.stderr
        check(name, rows[name], seen, done.stderr.decode()[-200:])
    guest.sh("mkdir %s/back %s/tree; echo x >%s/tree/f" % ((guest.top,) * 3))
    out = vmctl("cp", guest.name(guest.top + "/tree"), "-", check_status=True).stdout
    done = vmctl("cp", "-", guest.name(guest.top + "/back"), data=out)
    text = guest.sh("cat %s/back/tree/f" % guest.top)
    check(back, rows[back], "unpacked" if done.returncode == 0 and text == b"x\n" else "wrong")


def main():
    found = tables()
    host = Host(tempfile.mkdtemp(prefix="vmd-cp-table-"))
    guest = Guest("/tmp/cp-table-%d" % os.getpid())
    try:
        guest.sh("mkdir -p " + guest.top)
        for part in PARTS:
            {"grid": walk_grid, "keeps": walk_keeps, "streams": walk_streams}[part](
                found, host, guest)
    finally:
        subprocess.run("for m in $(grep -o '%s[^ ]*' /proc/mounts); do umount $m; done; "
                       "rm -rf %s" % (host.top, host.top), shell=True, check=False)
    for line in failures:
        print("WRONG " + line)
    print("%d wrong" % len(failures))
    return 1 if failures else 0


sys.exit(main())
