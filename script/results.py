# SPDX-License-Identifier: Apache-2.0
"""Reads meson's testlog.json files. On stdout one line per test: `passed|failed|skipped LABEL NAME: reason`; on stderr the
end of the output of each that failed.  usage: results.py LABEL FILE..."""
import json
import sys

PASSED = {"OK", "EXPECTEDFAIL"}


def reason(text):
    """Why it was skipped: its last line that says so, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if "skip" in line.lower()]
    return (said or lines or ["it does not say why"])[-1]


def main(label, files):
    for path in files:
        try:
            with open(path, encoding="utf-8") as file:
                tests = [json.loads(line) for line in file]
        except OSError as error:
            print(f"failed {label}: {error}")
            continue
        for test in tests:
            name = f"{label} {test['name']}"
            output = (test.get("stdout") or "") + (test.get("stderr") or "")
            if test["result"] in PASSED:
                print(f"passed {name}")
            elif test["result"] == "SKIP":
                print(f"skipped {name}: {reason(output)}")
            else:
                print(f"failed {name}: {test['result']}, exit {test.get('returncode')}")
                tail = "\n".join(output.splitlines()[-40:])
                print(f"=== {name}: {test['result']}\n{tail}\n", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
