# SPDX-License-Identifier: Apache-2.0
"""A *_test.c, *_test.py or *_test.sh that no meson.build beside or above it names is a test nobody runs."""
import pathlib
import re
import sys
import source


def named(root, file):
    """True when a meson.build from the file's folder up to tests/ names its stem or file name as a word."""
    stem = file.stem[:-len("_test")]
    pattern = re.compile(r"['/](" + re.escape(stem) + r"|" + re.escape(file.stem) + r"|" + re.escape(file.name) + r")'")
    folder = file.parent
    while folder != root:
        build = folder / "meson.build"
        if build.exists() and pattern.search(build.read_text()):
            return True
        folder = folder.parent
    return False


def main(root):
    root = pathlib.Path(root)
    bad = 0
    for file in source.files(root, ".c", ".py", ".sh", ".cc"):
        path = file.relative_to(root).as_posix()
        if path.startswith("tests/") and file.stem.endswith("_test") and not named(root, file):
            print(f"{path}: no row in meson.build")
            bad += 1
    return bad


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1]) else 0)
