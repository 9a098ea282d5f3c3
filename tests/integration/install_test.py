# SPDX-License-Identifier: Apache-2.0
"""Installs into a DESTDIR and builds the README's program against it by pkg-config: shared and static, C and C++.
usage: install_test.py BUILD SANITIZE CC... -- CXX..."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MUST = ["include/sonde/sonde.h", "include/sonde/sonde.hpp", "include/sonde/carrier/http.h", "libsonde.so", "libsonde.so.0", "libsonde.a", "pkgconfig/sonde.pc",
        "sbin/sonded", "bin/sonde", "lib/systemd/system/sonded.service", "lib/sysusers.d/sonde.conf",
        "lib/tmpfiles.d/sonde.conf", "etc/sonde/sonded.yaml", "share/doc/sonde/README.md"]


def run(command, **options):
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result.stdout


def check_files(installed):
    names = {p.as_posix() for p in installed}
    for want in MUST:
        if not any(name.endswith("/" + want) for name in names):
            sys.exit(f"not installed: {want}")
    for name in names:
        if name.endswith((".pc", ".service", ".yaml", ".h")):
            text = pathlib.Path(name).read_text(encoding="utf-8")
            if str(ROOT) in text or "@bindir@" in text:
                sys.exit(f"{name} carries a path of the build")


def check_unit(destdir, unit):
    """systemd's own look at the unit, where there is one; its programs are looked for in the DESTDIR."""
    if not shutil.which("systemd-analyze"):
        print("skip: systemd-analyze is not installed; the unit was not verified")
        return
    text = unit.read_text(encoding="utf-8")
    copy = destdir / "sonded.service"
    lines = []
    for line in text.splitlines():  # ExecStart paths into the DESTDIR
        key, sep, value = line.partition("=")
        lines.append(f"{key}{sep}{destdir}{value}" if key in ("ExecStart", "ExecStartPre") else line)
    copy.write_text("\n".join(lines) + "\n", encoding="utf-8")
    verify = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False)
    ours = [line for line in verify.stderr.splitlines() if "sonded.service" in line]
    if ours:
        sys.exit("systemd-analyze verify: " + "\n".join(ours))
    security = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", str(copy)],
                              capture_output=True, text=True, check=False)
    if security.returncode != 0:
        sys.exit("systemd-analyze security: more exposed than 2.0\n" + security.stdout[-600:])
    print(security.stdout.strip().splitlines()[-1])


def main(build, sanitize, cc, cxx):
    sanitized = [] if sanitize == "none" else [f"-fsanitize={sanitize}"]
    with tempfile.TemporaryDirectory(prefix="sonde-install-") as name:
        destdir = pathlib.Path(name)
        run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", name])
        installed = [p for p in destdir.rglob("*") if p.is_file()]
        check_files(installed)
        pc = next(p for p in installed if p.name == "sonde.pc")
        libdir = pc.parent.parent
        env = dict(os.environ, PKG_CONFIG_LIBDIR=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=name, PKG_CONFIG_PATH="")
        source = destdir / "example.c"
        run([sys.executable, ROOT / "tests/lint/readme_example.py", ROOT / "README.md", source])
        quiet = dict(os.environ, SONDE_AGENT_SOCKET=str(destdir / "no.sock"))
        for compiler, standard, language in ((cc, "c11", "c"), (cxx, "c++11", "c++")):
            for static in (False, True):
                flags = run(["pkg-config", "--cflags", "--libs"] + (["--static"] if static else []) + ["sonde"], env=env).split()
                if static:
                    flags = [str(libdir / "libsonde.a") if f == "-lsonde" else f for f in flags]
                program = destdir / f"example-{language}-{static}"
                run([*compiler, f"-std={standard}", "-Wall", "-Werror", *sanitized, "-x", language, source, "-x", "none",
                     "-o", program, *flags])
                run([program], env=dict(quiet, LD_LIBRARY_PATH=str(libdir)))
        config = next(p for p in installed if p.name == "sonded.yaml")
        sonde = next(p for p in installed if p.parent.name == "bin" and p.name == "sonde")
        run([sonde, "check", "--config", config])
        version = run([next(p for p in installed if p.name == "sonded" and p.parent.name == "sbin"), "--version"])
        project = json.loads(run(["meson", "introspect", "--projectinfo", build]))["version"]
        if project not in version:
            sys.exit(f"sonded --version says {version!r}, the project {project}")
        check_unit(destdir, next(p for p in installed if p.name == "sonded.service"))


if __name__ == "__main__":
    split = sys.argv.index("--")
    main(sys.argv[1], sys.argv[2], sys.argv[3:split], sys.argv[split + 1:])
