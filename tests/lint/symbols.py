# SPDX-License-Identifier: Apache-2.0
"""libsonde.so exports exactly the functions that the public headers declare with SONDE_API, and needs libc only.
usage: symbols.py ROOT LIBSONDE.so [sanitized]"""
import pathlib
import re
import subprocess
import sys
import source

NEEDED = re.compile(r"lib(c|m|pthread|gcc_s)\.so|ld-linux|libc\.musl")


def declared(root):
    names = set()
    for header in sorted((pathlib.Path(root) / "include" / "sonde").rglob("*.h")):
        text = re.sub(r"^\s*#.*(\\\n.*)*", "", source.strip(header.read_text()), flags=re.M)
        for match in re.finditer(r"\bSONDE_API(?:_HOT)?\b([^;{]*?)\b(\w+)\s*\(", text):
            names.add(match.group(2))
    return names


def main(root, library, sanitized):
    listing = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    exported = {r[-1].split("@")[0] for r in rows if r[-2] in "TtVvWiBDR"}
    exported = {n for n in exported if not n.startswith(("_", "LIBSONDE", "SONDE_"))}
    wanted = declared(root)
    bad = 0
    for name in sorted(exported - wanted):
        print(f"exported but not in a public header: {name}")
        bad += 1
    for name in sorted(wanted - exported):
        print(f"declared SONDE_API but not exported: {name}")
        bad += 1
    if not sanitized:
        dynamic = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
        for name in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic):
            if not NEEDED.match(name):
                print(f"libsonde needs {name}")
                bad += 1
    print(f"{len(wanted)} functions")
    return 1 if bad or not wanted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], len(sys.argv) > 3 and sys.argv[3] != "none"))
