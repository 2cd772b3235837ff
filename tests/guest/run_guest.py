#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one bare-metal guest on vmd-monitor and checks how it ends.

usage: run_guest.py VMD-MONITOR GUEST CASE [MONITOR-OPTION...]
Exit status 0 passed, 1 failed, 77 skipped (no KVM), with the reason printed.
"""
import ctypes
import calendar
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                ".."))
from wait import connected  # noqa: E402

DEADLINE_S = 40


class Run:
    """One monitor in its own directory; ends with the test in any case."""

    def __init__(self, monitor, guest, directory, options):
        self.options = options
        self.monitor, self.guest, self.directory = monitor, guest, directory
        self.process = None
        self.before_exec = None
        self.pass_fds = []
        self.config = {
            "boot-source": {"kernel_image_path": guest},
            "machine-config": {"vcpu_count": 1, "mem_size_mib": 64},
            "control": {"socket_path": "control.sock"},
            "status": {"path": "status.json"},
            "debug-exit": {"port": 0xF4},
        }

    def start(self):
        with open(os.path.join(self.directory, "vm.json"), "w") as file:
            json.dump(self.config, file)
        self.process = subprocess.Popen(
            [self.monitor, "--config", "vm.json", "--id", "test",
             *self.options],
            cwd=self.directory, pass_fds=self.pass_fds, stdin=subprocess.DEVNULL,
            preexec_fn=self.before_exec,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish(self):
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out.decode(), err.decode()

    def status(self):
        with open(os.path.join(self.directory, "status.json")) as file:
            return json.load(file)

    def wait_output(self, text):
        seen, end = b"", time.monotonic() + DEADLINE_S
        while text not in seen:
            ready = select.select([self.process.stdout], [], [],
                                  end - time.monotonic())[0]
            check(ready, f"no {text!r} from the guest, only {seen!r}")
            data = os.read(self.process.stdout.fileno(), 4096)
            check(data, f"monitor ended after {seen!r}")
            seen += data

    def connect(self, name):
        client = connected(os.path.join(self.directory, name), DEADLINE_S)
        client.settimeout(DEADLINE_S)
        return client

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def check(condition, message):
    if not condition:
        print("FAILED:", message)
        raise SystemExit(1)


def ask(client, request):
    client.sendall(json.dumps(request).encode() + b"\n")
    return read_line(client)


def read_line(client):
    line = b""
    while not line.endswith(b"\n"):
        data = client.recv(4096)
        check(data, f"control socket closed after {line!r}")
        line += data
    return json.loads(line)


def run_to_end(run, code, reason):
    run.start()
    got, out, err = run.finish()
    check(got == code, f"exit status {got}, not {code}; {out!r} {err!r}")
    status = run.status()
    check(status["reason"] == reason and status["status"] == code,
          f"status record {status}")
    return out, err


def case_exit(run):
    run_to_end(run, 64 + 42, "debug-exit")


def case_hello(run):
    out, _ = run_to_end(run, 64, "debug-exit")
    check(out.startswith("hello from "), f"serial output {out!r}")


def case_params(run):
    run.config["boot-source"]["boot_args"] = "hello=world"
    run.config["boot-source"]["initrd_path"] = "initrd"
    with open(os.path.join(run.directory, "initrd"), "w") as file:
        file.write("INITRD" + "x" * 5000)
    run_to_end(run, 64, "debug-exit")


def case_poweroff(run):
    run_to_end(run, 0, "poweroff")


def case_reset(run):
    run_to_end(run, 3, "reset")


def case_bios_reset(run):
    run.config["machine-config"]["vcpu_count"] = 2
    case_reset(run)


def case_triple_fault(run):
    _, err = run_to_end(run, 4, "crash")
    check("triple fault" in err, f"stderr {err!r}")
    check(run.status()["error"]["code"] == "guest_crashed", "error code")


def case_told_fault_reset(run):
    """The word on the command line says what a triple fault means."""
    run.config["boot-source"]["boot_args"] = "quiet reboot=w,t panic=-1"
    case_reset(run)


def case_clock(run):
    """The date of the host, in UTC."""
    before = time.time()
    out, _ = run_to_end(run, 64, "debug-exit")
    shown = calendar.timegm(time.strptime(out, "%Y-%m-%d %H:%M:%S\n"))
    # Over a change of the minute its parts may be of both.
    check(before - 61 <= shown <= time.time() + 61, f"the guest's date {out!r}")


def case_smp(run):
    run.config["machine-config"]["vcpu_count"] = 2
    run_to_end(run, 64, "debug-exit")


def case_virtio(run):
    run.config["entropy"] = {}
    run_to_end(run, 64, "debug-exit")


def case_hostile(run):
    passt, peer = socket.socketpair()
    with open(os.path.join(run.directory, "disk"), "wb") as file:
        file.truncate(1 << 20)
    run.config.update({
        "drives": [{"drive_id": "a", "path_on_host": "disk",
                    "is_root_device": True}],
        "network-interfaces": [{"iface_id": "n", "mtu": 1500,
                                "guest_mac": "06:00:00:00:00:01",
                                "passt_socket": f"fd:{passt.fileno()}"}],
        "vsock": {"guest_cid": 3, "uds_path": "vsock.sock"},
        "entropy": {},
        "console": {"log_path": "hvc0.log"},
        "serial": {"log_path": "console.log"},
    })
    run.pass_fds = [passt.fileno()]
    run_to_end(run, 64 + 7, "debug-exit")
    passt.close()
    peer.close()


def case_pause(run):
    run.start()
    run.wait_output(b"spinning\n")
    with run.connect("control.sock") as control:
        check(ask(control, {"action": "status"})["state"] == "running", "1")
        check(ask(control, {"action": "pause"}) == {"ok": True}, "pause")
        check(ask(control, {"action": "status"})["state"] == "paused", "2")
        answer = ask(control, {"action": "pause"})
        check(answer["error"]["code"] == "wrong_state", f"{answer}")
        check(cpu_ticks(run) == cpu_ticks(run, wait=0.2), "it still runs")
        check(ask(control, {"action": "resume"}) == {"ok": True}, "resume")
        before = cpu_ticks(run)
        check(cpu_ticks(run, wait=0.5) > before, "it does not run again")
        check(ask(control, {"action": "kill"}) == {"ok": True}, "kill")
    code, _, _ = run.finish()
    check(code == 5, f"exit status {code}")


def mount_small(at, size):
    """A file system of our own of that size; False where that is forbidden."""
    libc = ctypes.CDLL(None, use_errno=True)
    newns, newuser, private, rec = 0x20000, 0x10000000, 1 << 18, 1 << 14

    def user_namespace():
        uid, gid = os.getuid(), os.getgid()
        if libc.unshare(newns | newuser) != 0:
            return False
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"),
                           ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        return True

    return ((libc.unshare(newns) == 0 or user_namespace())
            and libc.mount(None, b"/", None, private | rec, None) == 0
            and libc.mount(b"none", at.encode(), b"tmpfs", 0, size) == 0)


def case_disk_full(run):
    """The host's disk fills up: paused, nothing lost, and on when asked."""
    disk = os.path.join(run.directory, "disk")
    os.mkdir(disk)
    if not mount_small(disk, b"size=1m"):
        print("SKIP a small file system needs a mount namespace")
        raise SystemExit(77)
    try:
        disk_full(run, os.path.join(disk, "image"))
    finally:
        run.close()
        ctypes.CDLL(None).umount2(disk.encode(), 2)


def disk_full(run, path):
    with open(path, "wb") as image:
        image.truncate(4 << 20)
    run.config["drives"] = [{"drive_id": "a", "path_on_host": path,
                             "is_root_device": False, "is_read_only": False}]
    run.start()
    with run.connect("control.sock") as control, \
            control.makefile("rb") as lines:

        def say(action):
            control.sendall(json.dumps({"action": action}).encode() + b"\n")
            return json.loads(lines.readline())

        told = say("watch")
        while told.get("state") != "paused":
            told = json.loads(lines.readline())
        check(told.get("reason") == "disk_full", f"{told}")
        check(cpu_ticks(run) == cpu_ticks(run, wait=0.2), "it still runs")
        # There is no room yet: it says so again.
        check(say("resume") == {"ok": True}, "resume")
        told = json.loads(lines.readline())
        check(told.get("reason") == "disk_full", f"{told}")
        libc = ctypes.CDLL(None, use_errno=True)
        check(libc.mount(None, os.path.dirname(path).encode(), None, 32,
                         b"size=16m") == 0, "more room")
        check(say("resume") == {"ok": True}, "resume")
    code, out, err = run.finish()
    check(code == 64 and "written" in out, f"status {code} {out!r} {err!r}")
    with open(path, "rb") as image:
        for n in range(1, 33):
            block = image.read(65536)
            check(block[:4] == n.to_bytes(4, "little"), f"start of {n}")
            check(block[-4:] == (0xffffffff ^ n).to_bytes(4, "little"),
                  f"end of {n}")


def cpu_ticks(run, wait=0.0):
    time.sleep(wait)  # a measurement over time, not a wait for an event
    with open(f"/proc/{run.process.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def case_kill(run):
    run.start()
    with run.connect("control.sock") as control:
        check(ask(control, {"action": "kill"}) == {"ok": True}, "kill")
    code, _, _ = run.finish()
    check(code == 5 and run.status()["reason"] == "killed", f"{code}")


def case_sigterm(run):
    run.start()
    run.wait_output(b"spinning\n")
    run.process.send_signal(signal.SIGTERM)
    code, _, _ = run.finish()
    check(code == 5 and run.status()["reason"] == "killed", f"{code}")


def case_signals_blocked(run):
    """A parent may block the very signal that takes a vCPU out of its guest."""
    run.before_exec = lambda: signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
    run.start()
    run.wait_output(b"spinning\n")
    start, end = cpu_ticks(run), time.monotonic() + DEADLINE_S
    while cpu_ticks(run, wait=0.02) < start + 10:  # deep in its loop
        check(time.monotonic() < end, "the guest does not run")
    run.process.send_signal(signal.SIGTERM)
    code, _, _ = run.finish()
    check(code == 5 and run.status()["reason"] == "killed", f"{code}")


def case_control_hostile(run):
    run.start()
    with run.connect("control.sock") as control:
        for bad in [b"\n", b"{\n", b"[]\n", b'{"action":5}\n', b"\xff\xfe\n",
                    b'{"action":"status","action":"kill"}\n', b'{}\n',
                    b'{"action":"status","x":1}\n', b'{"action":"boom"}\n',
                    b"[" * 4000 + b"\n", b'"\x00"\n']:
            control.sendall(bad)
            check("error" in read_line(control), f"{bad!r} was taken")
    with run.connect("control.sock") as control:
        control.sendall(b"x" * 5000)
        end = b"?"
        try:
            while end:
                end = control.recv(100)
        except ConnectionResetError:
            end = b""
        check(end == b"", "a line without end was not hung up on")
    many = [run.connect("control.sock") for _ in range(12)]
    answered = 0
    for client in many:
        try:
            client.sendall(b'{"action":"status"}\n')
            answered += bool(client.recv(4096))
        except (BrokenPipeError, ConnectionResetError):
            pass
    for client in many:
        client.close()
    check(answered == 8, f"{answered} of 12 clients were served, not 8")
    kill_when_a_place_is_free(run)
    code, _, _ = run.finish()
    check(code == 5, f"exit status {code}")


def kill_when_a_place_is_free(run):
    end = time.monotonic() + DEADLINE_S
    while True:
        with run.connect("control.sock") as control:
            try:
                check(ask(control, {"action": "kill"}) == {"ok": True}, "kill")
                return
            except (BrokenPipeError, ConnectionResetError, SystemExit):
                check(time.monotonic() < end, "places are not given back")


def case_serial_socket(run):
    run.config["serial"] = {"socket_path": "serial.sock",
                            "log_path": "console.log"}
    out, _ = run_to_end(run, 64, "debug-exit")
    check(out == "", f"stdout {out!r}")
    with open(os.path.join(run.directory, "console.log")) as file:
        check(file.read() == "hello from elf64\n", "log")


def case_kernel_missing(run):
    run.config["boot-source"]["kernel_image_path"] = "no-such-kernel"
    _, err = run_to_end(run, 1, "error")
    check(run.status()["error"]["code"] == "kernel_missing", f"{err}")
    check("no-such-kernel" in err, f"{err}")


def case_check(run):
    run.options = [*run.options, "--check"]

    def check_says(code, *words):
        run.start()
        got, out, err = run.finish()
        check(got == code, f"exit status {got}, not {code}; {out!r} {err!r}")
        for word in words:
            check(word in err, f"{word!r} is not in {err!r}")

    check_says(0)
    check(os.listdir(run.directory) == ["vm.json"], "the check made a file")
    run.config["serial"] = {"log_path": "no-such-dir/console.log"}
    check_says(2, "no-such-dir/console.log", "config_invalid")
    del run.config["serial"]
    run.config["drives"] = [{"drive_id": "root", "is_root_device": True,
                             "path_on_host": "no-such-disk"}]
    check_says(1, "no-such-disk", "drive_missing", "root")
    run.config["boot-source"]["initrd_path"] = "no-such-initrd"
    check_says(1, "no-such-initrd", "initrd_missing")
    run.config["boot-source"]["kernel_image_path"] = "no-such-kernel"
    check_says(1, "no-such-kernel", "kernel_missing")


def case_blocking_files(run):
    """A FIFO where a file is named: an error at once, never a wait."""
    fifo = os.path.join(run.directory, "fifo")
    os.mkfifo(fifo)
    options = list(run.options)

    def refused(code, *words):
        for run.options in (options, [*options, "--check"]):
            run.start()
            got, _, err = run.finish()
            check(got == code, f"exit status {got}, not {code}: {err!r}")
            for word in words:
                check(word in err, f"{word!r} is not in {err!r}")

    def with_fields(**fields):
        saved = json.loads(json.dumps(run.config))
        run.config.update({k.replace("_", "-"): v for k, v in fields.items()})
        return saved

    guest = run.config["boot-source"]["kernel_image_path"]
    saved = with_fields(boot_source={"kernel_image_path": "fifo"})
    refused(1, "kernel_missing", "FIFO")
    run.config = saved
    saved = with_fields(boot_source={"kernel_image_path": guest,
                                     "initrd_path": "fifo"})
    refused(1, "initrd_missing", "FIFO")
    run.config = saved
    saved = with_fields(drives=[{"drive_id": "d", "path_on_host": "fifo",
                                 "is_root_device": False}])
    refused(1, "FIFO")
    run.config = saved
    for name in ("serial", "console"):
        saved = with_fields(**{name: {"log_path": "fifo"}})
        refused(1, "serial_failed", "other end")
        run.config = saved
    # A log may be a FIFO that somebody reads.
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with_fields(serial={"log_path": "fifo"})
    run.options = options
    run_to_end(run, 64, "debug-exit")
    check(os.read(reader, 100) == b"hello from elf64\n", "nothing in the FIFO")
    os.close(reader)
    run.process = subprocess.Popen(
        [run.monitor, "--config", "fifo"], cwd=run.directory,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    code, _, err = run.finish()
    check(code == 2 and "nobody writes" in err, f"{code} {err!r}")


def case_log_and_metrics(run):
    """As a file of Firecracker asks for them; a warning goes to the log."""
    with open(os.path.join(run.directory, "odd"), "wb") as file:
        file.truncate(1000)
    run.config["logger"] = {"log_path": "vmm.log", "level": "Warning"}
    run.config["metrics"] = {"metrics_path": "metrics"}
    run.config["drives"] = [{"drive_id": "odd", "path_on_host": "odd"}]
    _, err = run_to_end(run, 64 + 42, "debug-exit")
    check(err == "", f"stderr {err!r}")
    with open(os.path.join(run.directory, "vmm.log")) as file:
        log = file.read()
    check("odd" in log and "488" in log, f"log {log!r}")
    with open(os.path.join(run.directory, "metrics")) as file:
        lines = [json.loads(line) for line in file]
    check(len(lines) == 1 and lines[0]["exits"]["io"] > 0, f"{lines}")
    check(abs(lines[0]["utc_timestamp_ms"] / 1000 - time.time()) < 60, "time")


def case_kernel_truncated(run):
    with open(run.guest, "rb") as file:
        data = file.read()
    with open(os.path.join(run.directory, "cut"), "wb") as file:
        file.write(data[:4100])
    run.config["boot-source"]["kernel_image_path"] = "cut"
    run_to_end(run, 1, "error")
    check(run.status()["error"]["code"] == "kernel_truncated",
          f"{run.status()}")


def case_lockdown(run):
    run.start()
    run.wait_output(b"spinning\n")
    with open(f"/proc/{run.process.pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    check(fields["Seccomp"].strip() == "2", "no system call filter")
    check(fields["NoNewPrivs"].strip() == "1", "may gain privileges")
    # Not dumpable: only root may look into it.
    check(os.stat(f"/proc/{run.process.pid}/environ").st_uid == 0, "dumpable")
    threads = 0
    for task in os.listdir(f"/proc/{run.process.pid}/task"):
        with open(f"/proc/{run.process.pid}/task/{task}/status") as file:
            fields = dict(line.split(":", 1) for line in file)
        if fields["Name"].strip() != "vmd-monitor":
            continue  # KVM's own, which never leaves the kernel
        threads += 1
        check(fields["Seccomp"].strip() == "2", f"thread {task} is free")
        for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            check(int(fields[name], 16) == 0, f"thread {task} has {name}")
    check(threads == 2, f"{threads} threads, not the loop and one vCPU")
    run.process.send_signal(signal.SIGINT)
    code, _, _ = run.finish()
    check(code == 5, f"exit status {code}")


def children(pid):
    """The processes whose parent is pid: {pid: name}."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as file:
                text = file.read()
        except OSError:
            continue  # it has ended
        name, rest = text[text.index("(") + 1:].rsplit(")", 1)
        if int(rest.split()[1]) == pid:
            found[int(entry)] = name
    return found


def case_broker(run):
    """Who connects for the guest is there, locked down, and ends with the monitor."""
    run.config["vsock"] = {"guest_cid": 3, "uds_path": "vsock.sock"}
    run.start()
    run.wait_output(b"spinning\n")
    brokers = [pid for pid, name in children(run.process.pid).items()
               if name == "vmd-broker"]
    check(len(brokers) == 1, f"{children(run.process.pid)}")
    with open(f"/proc/{brokers[0]}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    check(fields["Seccomp"].strip() == "2", "no system call filter")
    check(int(fields["VmRSS"].split()[0]) < 2048, f"{fields['VmRSS']}")
    run.process.kill()
    run.finish()
    deadline = time.monotonic() + DEADLINE_S
    while os.path.exists(f"/proc/{brokers[0]}"):
        with open(f"/proc/{brokers[0]}/stat") as file:
            if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                break  # whoever took it over has not looked yet
        check(time.monotonic() < deadline, "the broker goes on")
        time.sleep(0.05)


def case_start_time(run):
    """Not a benchmark: only catches a start that became absurdly slow."""
    best = 1e9
    for _ in range(10):
        start = time.monotonic()
        run.start()
        code, _, _ = run.finish()
        check(code == 64 + 42, f"exit status {code}")
        best = min(best, (time.monotonic() - start) * 1000)
    print(f"best of 10 whole runs: {best:.1f} ms")
    check(best < 200, "a whole run takes longer than 200 ms")


def find_case(name):
    for suffix in ("-pvh", "-elf64"):
        name = name.removesuffix(suffix)
    if name in ("acpi-reset", "i8042-reset", "pci-reset", "fault-reset"):
        return case_reset
    return globals()["case_" + name.replace("-", "_")]


def main():
    monitor, guest, name, *options = sys.argv[1:]
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("SKIP /dev/kvm cannot be opened here")
        return 77
    if name == "lockdown" and "--no-lockdown" in options:
        print("SKIP a sanitizer build is not locked down")
        return 77
    directory = tempfile.mkdtemp(prefix="vmd-guest-")
    run = Run(os.path.abspath(monitor), os.path.abspath(guest), directory,
              options)
    try:
        find_case(name)(run)
    except subprocess.TimeoutExpired:
        check(False, f"the monitor did not end within {DEADLINE_S} s")
    finally:
        run.close()
        shutil.rmtree(directory)
    print("passed:", name)
    return 0


sys.exit(main())
