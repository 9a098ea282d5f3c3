# SPDX-License-Identifier: Apache-2.0
"""Warns of files that clang-format would change; never fails (exit 77, a skip, when there is no clang-format)."""
import shutil
import subprocess
import sys
import source


def main(root):
    if not shutil.which("clang-format"):
        print("skip: clang-format is not installed")
        return 77
    for file in source.files(root, ".c", ".h", ".cc"):
        result = subprocess.run(["clang-format", "--dry-run", str(file)], cwd=root, capture_output=True, text=True, check=False)
        if result.stderr:
            print(f"warning: {file.relative_to(root)}: {result.stderr.count('[-Wclang-format-violations]')} places")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
