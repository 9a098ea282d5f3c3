# SPDX-License-Identifier: Apache-2.0
"""Every public header compiles alone, twice in a row, as pedantic C11 and as C++11.
usage: headers.py ROOT CC... -- CXX..."""
import pathlib
import subprocess
import sys

# No -Wshadow: for C++ it counts a function beside a struct of the same name, as sonde_key() is, though both may be had.
FLAGS = ["-fsyntax-only", "-pedantic-errors", "-Wall", "-Wextra", "-Wconversion", "-Werror"]


def main(root, cc, cxx):
    include = pathlib.Path(root) / "include"
    bad = 0
    headers = sorted(include.rglob("*.h"))
    for header in headers:
        name = header.relative_to(include).as_posix()
        text = f"#include <{name}>\n#include <{name}>\nint sonde_header_test;\n"
        for command in (cc + ["-std=c11", "-x", "c"], cxx + ["-std=c++11", "-x", "c++"]):
            run = subprocess.run(command + FLAGS + ["-I", str(include), "-"], input=text, text=True,
                                 capture_output=True, check=False)
            if run.returncode != 0:
                print(f"{name}: {' '.join(command)}\n{run.stderr}")
                bad += 1
    print(f"{len(headers)} headers")
    return 1 if bad or not headers else 0


if __name__ == "__main__":
    split = sys.argv.index("--")
    sys.exit(main(sys.argv[1], sys.argv[2:split], sys.argv[split + 1:]))
