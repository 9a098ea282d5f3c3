# SPDX-License-Identifier: Apache-2.0
"""The README's table of the specification's checklist, made of items.tsv and the tests' names.
usage: table.py ROOT           prints the table
       table.py ROOT --check   fails when README.md has another one, an item has neither a test nor a reason, or both, or a
                               test has no item
       table.py ROOT --write   puts it into README.md"""
import pathlib
import re
import sys

BEGIN = "<!-- checklist: made by tests/checklist/table.py -->\n"
END = "<!-- end of the checklist -->\n"


def slug(item):
    return re.sub(r"[^a-z0-9]+", "_", item.lower()).strip("_")


def items_of(folder):
    items = []
    for number, line in enumerate((folder / "items.tsv").read_text().splitlines(), 1):
        if line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) not in (2, 3) or not all(fields):
            sys.exit(f"items.tsv:{number}: wants area, item and perhaps a reason, apart by tabs")
        items.append((fields[0], fields[1], fields[2] if len(fields) == 3 else ""))
    return items


def tests_of(folder, area):
    file = folder / f"{area}_test.c"
    text = file.read_text() if file.exists() else ""
    return re.findall(r"^        (?:cmocka_unit_test|WITH_READER)\((\w+)\)", text, re.M)


def problems(folder, items):
    areas = dict.fromkeys(area for area, _, _ in items)
    for area in areas:
        tests = tests_of(folder, area)
        named = {slug(item): reason for of, item, reason in items if of == area}
        for name, reason in named.items():
            if (name in tests) == bool(reason):
                yield f"{area}: {name}: " + ("a test and a reason why there is none" if reason else "no test and no reason")
        for name in tests:
            if name not in named:
                yield f"{area}: {name}: a test of no item in items.tsv"


def table(items):
    lines = ["| area | has a test of that name in `tests/checklist/` |", "|---|---|"]
    for area in dict.fromkeys(area for area, _, _ in items):
        lines.append(f"| {area} | " + " · ".join(item for of, item, reason in items if of == area and not reason) + " |")
    lines += ["", "| area | done otherwise | |", "|---|---|---|"]
    lines += [f"| {area} | {item} | {reason} |" for area, item, reason in items if reason]
    return "\n".join(lines) + "\n"


def main(root, mode=None):
    root = pathlib.Path(root)
    folder, readme = root / "tests" / "checklist", root / "README.md"
    items = items_of(folder)
    found = list(problems(folder, items))
    text = readme.read_text()
    if mode is None:
        print(table(items), end="")
    elif BEGIN not in text or END not in text:
        found.append(f"README.md has no {BEGIN.strip()} and {END.strip()}")
    else:
        head, rest = text.split(BEGIN, 1)
        old, tail = rest.split(END, 1)
        if mode == "--write":
            readme.write_text(head + BEGIN + table(items) + END + tail)
        elif old != table(items):
            found.append("README.md: the table is not what table.py makes: run table.py ROOT --write")
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
