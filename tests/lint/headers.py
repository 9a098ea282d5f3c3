# SPDX-License-Identifier: Apache-2.0
"""Every public header compiles alone, twice in a row, as pedantic C11 and as C++11 to C++20, under the warnings that
users turn on; so does code that uses the macros, which expand where the user's warnings count. Those for C++ (.hpp) are
compiled as C++17 and C++20. By the compilers that are named, and by gcc and clang where these are installed, which do
not warn of the same: inside extern "C" only clang tells of casts in the style of C.
usage: headers.py ROOT CC... -- CXX..."""
import pathlib
import shutil
import subprocess
import sys

FLAGS = ["-fsyntax-only", "-pedantic-errors", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
CXX_FLAGS = ["-Wold-style-cast", "-Wmissing-field-initializers"]
STANDARDS = ["-std=c++11", "-std=c++14", "-std=c++17", "-std=c++20"]
USE = """#include <sonde/sonde.h>
void sonde_use(void);
void sonde_use(void) {
    struct sonde_options library = SONDE_OPTIONS_INIT;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_log_record record = SONDE_LOG_RECORD_INIT;
    struct sonde_span span;
    (void)sonde_start(&library);
    sonde_span_start(&span, SONDE_NAME("use"), &options);
    sonde_span_set_cstr(&span, SONDE_KEY("key"), "value");
    sonde_span_set_cstr(&span, sonde_key_cstr("key"), "value");
    record.event_name = SONDE_NAME("event");
    sonde_log_emit(&record);
    sonde_span_end(&span);
}
"""


def compilers(cc, cxx):
    """Pairs of commands for C and C++, each kind once."""
    pairs = [(cc, cxx)]
    for c, cpp in (("gcc", "g++"), ("clang", "clang++")):
        if shutil.which(c) and shutil.which(cpp) and not (c in cc or (c == "gcc" and "cc" in cc)):
            pairs.append(([c], [cpp]))
    return pairs


def commands_of(cc, cxx, name, everything):
    """What to compile a header with. Those for one client library are compiled by the ends of the range."""
    cpp = [cxx + [std, "-x", "c++"] + CXX_FLAGS for std in STANDARDS]
    if name.endswith(".hpp"):
        return cpp[2:]
    return [cc + ["-std=c11", "-x", "c"]] + (cpp if everything else [cpp[0], cpp[2]])


def main(root, cc, cxx):
    include = pathlib.Path(root) / "include"
    bad = 0
    headers = sorted(include.rglob("*.h")) + sorted(include.rglob("*.hpp"))
    names = [header.relative_to(include).as_posix() for header in headers]
    texts = [(name, f"#include <{name}>\n#include <{name}>\nint sonde_header_test;\n") for name in names]
    for name, text in texts + [("a use of the macros", USE)]:
        everything = name in ("sonde/sonde.h", "a use of the macros")
        for pair in compilers(cc, cxx):
            for command in commands_of(*pair, name, everything):
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
