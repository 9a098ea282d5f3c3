# SPDX-License-Identifier: Apache-2.0
"""What tests of scraping share: reading /metrics."""
import re


def labels_of(text):
    return {name: value.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")
            for name, value in re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', text)}


def series_of(text):
    """A list of (name, labels, value)."""
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = re.fullmatch(r"([^{ ]+)(?:\{(.*)\})? ([^ {}]+)(?: # .*)?", line).groups()
            found.append((name, labels_of(labels or ""), float(value)))
    return found


def value_of(series, metric, /, **labels):
    found = [value for n, l, value in series if n == metric and all(l.get(k) == v for k, v in labels.items())]
    assert len(found) < 2, (metric, labels, found)
    return found[0] if found else None
