# SPDX-License-Identifier: Apache-2.0
"""No two archives of ours define the same symbol: a program that needs both would not link.
usage: archives.py ARCHIVE..."""
import subprocess
import sys


def defined(archive):
    listing = subprocess.run(["nm", "-g", "--defined-only", archive], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in listing.splitlines() if len(line.split()) == 3 and line.split()[1] in "TDBRC"}


def main(archives):
    home = {}
    bad = 0
    for archive in archives:
        for name in sorted(defined(archive)):
            if not name.startswith("__") and name in home and home[name] != archive:
                print(f"{name}: in {home[name]} and in {archive}")
                bad += 1
            home.setdefault(name, archive)
    return 1 if bad or not home else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
