# SPDX-License-Identifier: Apache-2.0
"""Warns of files over 500 lines and functions over 70; never fails. Tables, tests and generated code are exempt."""
import re
import sys
import source

FILE_MAX, FUNCTION_MAX = 500, 70


def functions(text):
    """(name, first line, lines) of functions in house style: a closing brace in column 0 ends what a `{` line began."""
    start = None
    for number, line in enumerate(source.strip(text).split("\n"), 1):
        if start is None and line.endswith("{") and "(" in line and not re.match(r"\s|struct|enum|union|static const", line):
            start = number
            name = re.search(r"(\w+)\s*\(", line)
        elif start is None and line.endswith(") {") and line[:1].isspace():
            start, name = number, None  # the last line of a wrapped head
        elif line.startswith("}"):
            if start is not None:
                yield (name.group(1) if name else "function"), start, number - start + 1
            start = None


def main(root):
    for file in source.files(root, ".c", ".h"):
        path = file.relative_to(root).as_posix()
        if path.startswith(("tests/", "exporters/proto/")):
            continue
        text = file.read_text()
        count = text.count("\n")
        if count > FILE_MAX:
            print(f"warning: {path}: {count} lines; split by noun")
        if file.suffix == ".c":
            for name, line, size in functions(text):
                if size > FUNCTION_MAX:
                    print(f"warning: {path}:{line}: {name} has {size} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
