# SPDX-License-Identifier: Apache-2.0
"""Each check refuses what it is there to refuse, and passes what is right."""
import contextlib
import io
import pathlib
import tempfile

import calls
import dashboards
import layers
import spdx
import tests_registered

SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"
# check, file, text, how many complaints
ROWS = [
    (layers, "instrumentation/a.c", '#include "agent/loop/loop.h"\n', 1),
    (layers, "exporters/a.c", '#include "agent/log.h"\n#include <uv.h>\n#include <sys/socket.h>\n', 3),
    (layers, "agent/queue/a.c", "#include <uv.h>\n", 1),
    (layers, "agent/loop/a.c", '#include <uv.h>\n#include "exporters/seam.h"\n', 0),
    (layers, "instrumentation/trace/a.c", "#include <sys/socket.h>\n#include <protobuf-c/protobuf-c.h>\n", 2),
    (layers, "instrumentation/link/a.c", "#include <sys/socket.h>\n", 0),
    (layers, "include/sonde/a.h", "#include <stdio.h>\n", 1),
    (layers, "examples/a.c", '#include "instrumentation/ring/layout.h"\n', 1),
    (layers, "agent/view/a.c", '#include "agent/net/http_private.h"\n', 1),
    (layers, "agent/net/a.c", '#include "agent/net/http_private.h"\n', 0),
    (layers, "exporters/b.c", '// #include "agent/log.h"\n/* #include <uv.h> */\n', 0),
    (calls, "instrumentation/a.c", "strcpy(a, b);\nx = atoi(s);\nmy_strcpy(a, b);\n", 2),
    (calls, "exporters/a.c", "p = malloc(1);\nq = a->resize(a, 0, 1);\ntime(NULL);\n", 2),
    (calls, "exporters/b.c", "p = malloc(1); /* lint-allow: malloc libcurl frees it */\n", 0),
    (calls, "agent/loop/a.c", "p = malloc(1);\n", 0),
    (calls, "tests/unit/a_test.c", "usleep(1);\n", 1),
    (calls, "tests/a.c", 'puts("sleep(1)"); /* sleep(1) */\n', 0),
    (calls, "tests/a.py", "def f():\n    time.sleep(1)\n", 1),
    (calls, "tests/b.py", "def f():\n    while not g():\n        time.sleep(1)\n", 0),
    (tests_registered, "tests/unit/ring/lost_test.c", "int x;\n", 1),
    (tests_registered, "tests/unit/ring/found_test.c", "int x;\n", 0),
]

BOTH = 'job=~"$job",instance=~"$instance"'
# expression, is it right
QUERIES = [
    (f"sum by (le) (rate(sonde_a_bucket{{{BOTH}}}[$__rate_interval]))", True),
    (f"sonde_a{{{BOTH}}} or 0 * max(sonde_b{{{BOTH}}})", True),
    (f"sonde_a{{{BOTH}}} or 0 * max(sonde_b)", False),
    ('rate(sonde_a_total{job=~"$job"}[$__rate_interval])', False),
    (f"rate(sonde_a_total{{{BOTH}}}[5m])", False),
    (f"sum(sonde_a_total{{{BOTH}}})", False),
    (f"up{{{BOTH}}}", False),
    (f"sum(sonde_a{{{BOTH}}}", False),
]


def is_right(expression):
    try:
        dashboards.check_query(expression)
    except AssertionError:
        return False
    return True


def complaints(check, path, text):
    with tempfile.TemporaryDirectory(prefix="sonde-lint-") as name:
        root = pathlib.Path(name)
        file = root / path
        file.parent.mkdir(parents=True)
        file.write_text(text)
        if path.startswith("tests/unit/"):
            (root / "tests/unit/meson.build").write_text("  ['found', 'ring'],\n")
        with contextlib.redirect_stdout(io.StringIO()):
            return check.main(root)


def main():
    for check, path, text, want in ROWS:
        suffix = pathlib.Path(path).suffix
        text = SPDX + text if suffix != ".py" else text
        got = complaints(check, path, text)
        assert got == want, f"{check.__name__} {path}: {got} complaints, not {want}"
    for expression, want in QUERIES:
        assert is_right(expression) == want, expression
    assert complaints(spdx, "agent/a.c", "int x;\n") == 1
    assert complaints(spdx, "agent/a.c", SPDX) == 0
    assert complaints(spdx, "script/x", "# SPDX-License-Identifier: Apache-2.0\ncurl -O " + "https:" + "//example.org/x\n") == 1
    print(f"{len(ROWS) + 3} rows")


if __name__ == "__main__":
    main()
