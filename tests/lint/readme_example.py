# SPDX-License-Identifier: Apache-2.0
"""Prints the README's C example: the first ```c block. Fails when there is none or it has more than 15 lines of code.
usage: readme_example.py README.md OUTPUT.c"""
import re
import sys


def main(readme, output):
    with open(readme, encoding="utf-8") as file:
        match = re.search(r"^```c\n(.*?)^```", file.read(), re.M | re.S)
    if not match:
        sys.exit("README.md has no ```c block")
    code = match.group(1)
    if len([line for line in code.split("\n") if line.strip()]) > 15:
        sys.exit("the README's example has more than 15 lines")
    with open(output, "w", encoding="utf-8") as file:
        file.write(code)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
