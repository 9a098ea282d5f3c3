# SPDX-License-Identifier: Apache-2.0
"""Calls that are refused: unbounded strings everywhere, sleeping in tests, raw clock, random and memory past the seams.
A line with `lint-allow: <call> <reason>` on it or above it passes."""
import pathlib
import re
import sys
import source

UNBOUNDED = "strcpy stpcpy strcat sprintf vsprintf gets atoi atol atoll atof strtok alloca mktemp tmpnam".split()
SLEEPS = "sleep usleep nanosleep clock_nanosleep thrd_sleep".split()
RAW = ("clock_gettime gettimeofday time ftime rand random srand srandom rand_r drand48 getrandom getentropy "
       "malloc calloc realloc reallocarray strdup strndup asprintf vasprintf open_memstream").split()


# The loop gives the real seams; the sonde command is a process of its own, without a loop.
HEAP_OWNERS = ("agent/loop/", "agent/command/")


def banned(path):
    """(words, why) rows for a file."""
    rows = [(UNBOUNDED, "unbounded or stateful; use the sized form")]
    if path.startswith("tests/") and not path.startswith(("tests/lib/", "tests/bench/")):
        rows.append((SLEEPS, "tests poll a condition with a deadline"))
    if path.startswith(("exporters/", "agent/")) and not path.startswith(HEAP_OWNERS):
        rows.append((RAW, "go through exporters/seam.h"))
    return rows


def check_c(path, text):
    bad = 0
    lines = text.split("\n")
    for number, line in enumerate(source.strip(text).split("\n"), 1):
        if line.lstrip().startswith("#"):
            continue
        for words, why in banned(path):
            for match in re.finditer(r"(?<![\w.>])(" + "|".join(words) + r")\s*\(", line):
                before = line[:match.start()].rstrip()
                declared = re.search(r"(\*|\b(?:int|void|char|uint64_t|uint32_t|size_t|double))$", before)
                if declared and not before.endswith("return"):
                    continue  # a function of this name is declared here (a struct member, a wrapper)
                if not source.allowed(lines, number, match.group(1)):
                    print(f"{path}:{number}: {match.group(1)}(): {why}")
                    bad += 1
    return bad


SLOW_ON_PURPOSE = {"tests/interop/sink.py"}  # plays a slow backend


def check_python(path, text):
    """time.sleep() is for polling: only inside a loop."""
    bad = 0
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if "time.sleep(" not in line or source.allowed(lines, number, "sleep"):
            continue
        indent = len(line) - len(line.lstrip())
        looped = False
        for above in reversed(lines[:number - 1]):
            depth = len(above) - len(above.lstrip())
            if above.strip() and depth < indent:
                indent = depth
                looped = looped or above.lstrip().startswith(("while ", "for "))
                if above.lstrip().startswith("def "):
                    break
        if not looped:
            print(f"{path}:{number}: time.sleep() outside a polling loop")
            bad += 1
    return bad


def main(root):
    root = pathlib.Path(root)
    bad = 0
    for file in source.files(root, ".c", ".h", ".cc"):
        bad += check_c(file.relative_to(root).as_posix(), file.read_text())
    for file in source.files(root, ".py"):
        path = file.relative_to(root).as_posix()
        if path.startswith("tests/") and not path.startswith(("tests/lint/", "tests/bench/")) and path not in SLOW_ON_PURPOSE:
            bad += check_python(path, file.read_text())
    return bad


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1]) else 0)
