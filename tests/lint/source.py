# SPDX-License-Identifier: Apache-2.0
"""Which files the lint looks at, and their text without comments and string contents."""
import pathlib
import re
import subprocess

SKIPPED_DIRS = {".git", ".venv", ".cache", "__pycache__"}
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def files(root, *suffixes):
    """Files of the source tree with one of these suffixes, sorted: what git knows or would add, else everything."""
    root = pathlib.Path(root)
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        names = [root / n for n in listed.stdout.split("\0") if n]
    else:  # a tarball
        names = [p for p in root.rglob("*") if not SKIPPED_DIRS.intersection(p.relative_to(root).parts)
                 and not p.relative_to(root).parts[0].startswith("build")]
    return sorted(p for p in names if p.suffix in suffixes and p.is_file())


def strip(text, keep_strings=False):
    """Blanks comments (and the insides of strings); line numbers stay."""
    def blank(match):
        token = match.group(0)
        if token[0] == '"' and keep_strings:
            return token
        if token[0] in "\"'":
            return token[0] + token[0]
        return "\n" * token.count("\n") or " "
    return TOKEN.sub(blank, text)


def allowed(lines, number, word):
    """True when line `number` (1-based) or the one above carries `lint-allow: word` with its reason."""
    return any(re.search(r"lint-allow:.*\b" + re.escape(word) + r"\b", lines[i - 1])
               for i in (number, number - 1) if i >= 1)
