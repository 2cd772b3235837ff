#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the benches in the lab share: a vmd of their own over an image in memory."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

DEADLINE_S = 300


def image_files(state, image):
    """The image's manifest and its blobs below the state directory, by kind."""
    manifest = json.loads((state / f"images/manifests/{image}.json").read_text())
    return manifest, {kind: state / "images/blobs/sha256" / manifest[kind]["digest"]
                      for kind in ("kernel", "initrd", "root") if kind in manifest}


@contextlib.contextmanager
def scratch_state(source, image):
    """A directory in memory, and below it a state directory with the one image."""
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="vmd-bench-", dir="/run"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=75%", "tmpfs", scratch], check=True)
    try:
        state, source = scratch / "state", pathlib.Path(source)
        _, blobs = image_files(source, image)
        for path in [source / f"images/manifests/{image}.json", *blobs.values()]:
            copy = state / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            subprocess.run(["cp", "-p", "--sparse=always", path, copy], check=True)
        yield scratch, state
    finally:
        subprocess.run(["umount", "-l", scratch], check=False)
        shutil.rmtree(scratch, ignore_errors=True)


class Daemon:
    """vmd from PATH; its VMs are gone when it ends."""

    def __init__(self, scratch, state):
        self.env = dict(os.environ, VMD_SOCKET=f"{scratch}/vmd.sock")
        self.run_dir = scratch / "run"
        self.argv = ["vmd", "--state-dir", state, "--run-dir", self.run_dir, "--socket",
                     self.env["VMD_SOCKET"]]
        self.log = open(scratch / "vmd.log", "w+", encoding="utf-8")

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stderr=self.log)
        end = time.monotonic() + DEADLINE_S
        while self.run("version", check=False).returncode:
            if time.monotonic() > end:
                raise RuntimeError("vmd does not answer")
            time.sleep(0.1)
        return self

    def run(self, *words, check=True):
        """vmctl with these words; its completed process, output as text."""
        done = subprocess.run(["vmctl", *words], env=self.env, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False)
        if check and done.returncode:
            self.log.seek(0)
            raise RuntimeError(f"vmctl {' '.join(words)}: {done.stderr}{self.log.read()[-2000:]}")
        return done

    def __exit__(self, *_):
        for name in self.run("ls", "-o", "name", check=False).stdout.split():
            self.run("rm", "--force", name, check=False)
        self.process.terminate()
        self.process.wait()
        self.log.close()
