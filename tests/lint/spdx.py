# SPDX-License-Identifier: Apache-2.0
"""Every source file says its licence in its first three lines, and none carries machine paths or download addresses."""
import pathlib
import re
import sys
import source

SUFFIXES = [".c", ".h", ".cc", ".py", ".sh", ".yaml", ".yml", ".build", ".map", ".proto", ".rules", ".service", ".conf",
            ".txt", ""]
DATA = re.compile(r"(\.in/|/corpus/|/vectors?/|^LICENSE$|^instrumentation/exported-symbols\.txt$|^\.gitignore$|\.gitattributes$)")
MARK = "SPDX-License-Identifier: " + "Apache-2.0"
URL_TO_FETCH = re.compile(r"\b(curl|wget)\b[^\n]*https?://|git clone |pip install [^\n]*https?://")


def main(root):
    root = pathlib.Path(root)
    bad = 0
    for file in source.files(root, *SUFFIXES):
        path = file.relative_to(root).as_posix()
        if DATA.search(path):
            continue
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue  # binary test data
        head = "\n".join(text.split("\n")[:3])
        if MARK not in head and text.strip():
            print(f"{path}: no SPDX line")
            bad += 1
        if path.startswith(("script/", ".ci/")) and URL_TO_FETCH.search(text):
            print(f"{path}: downloads something past the package managers")
            bad += 1
    return bad


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1]) else 0)
