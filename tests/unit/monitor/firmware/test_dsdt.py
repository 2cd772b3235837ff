#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The DSDT as ACPI's reference interpreter (package acpica-tools) reads it: what
a guest's kernel finds and does. usage: test_dsdt.py DSDT-PROGRAM"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

DUMP = sys.argv.pop()
GENERATION = 0xEF000


class Dsdt(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.dir.name) / "dsdt.aml"
        cls.path.write_bytes(subprocess.run([DUMP], check=True, capture_output=True).stdout)

    @classmethod
    def tearDownClass(cls):
        cls.dir.cleanup()

    def execute(self, *commands):
        done = subprocess.run(["acpiexec", "-b", ",".join(commands), self.path], text=True,
                              cwd=self.dir.name, capture_output=True, timeout=60)
        out = done.stdout + done.stderr
        self.assertEqual(done.returncode, 0, out)
        self.assertNotRegex(out, r"(?i)exception|AE_(?!OK)[A-Z_]+", out)
        return out

    def source(self):
        done = subprocess.run(["iasl", "-d", self.path], text=True, capture_output=True,
                              cwd=self.dir.name, timeout=60)
        text = done.stdout + done.stderr
        self.assertEqual(done.returncode, 0, text)
        self.assertNotRegex(text, r"(?i)error|warning|invalid", text)
        return self.path.with_suffix(".dsl").read_text(encoding="utf-8")

    def test_it_is_read_without_a_complaint(self):
        source = self.source()
        self.assertEqual(source.count("LNRO0005"), 16)
        self.assertIn('"VM_Gen_Counter"', source)

    def test_generation_id_is_where_it_says(self):
        out = self.execute("evaluate \\_SB.VGEN.ADDR")
        values = re.findall(r"\[Integer\] = ([0-9A-F]{16})", out)
        self.assertEqual([int(v, 16) for v in values], [GENERATION, 0], out)

    def test_an_event_tells_just_whom_it_is_for(self):
        for gsi in (9, 12, 5):
            self.execute(f"evaluate \\_SB.GED0._EVT {gsi:x}")
        told = re.findall(r"If \(\(Arg0 == 0x([0-9A-F]+)\)\)\s*{\s*Notify \((\w+), 0x80\)[^}]*}",
                          self.source())
        self.assertEqual(told, [("09", "PWRB"), ("0C", "VGEN")])


if not (shutil.which("iasl") and shutil.which("acpiexec")):
    print("SKIP: iasl or acpiexec is not installed (package acpica-tools)")
    sys.exit(77)
unittest.main()
