# SPDX-License-Identifier: Apache-2.0
"""Every alert of dashboards/rules/ by promtool: it fires, not early, not without data, and it resolves. And each has a
runbook page that says what its names in the text mean.  usage: alerts_test.py
Exit 77 (skipped) when promtool is not installed."""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import alert_cases

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "dashboards" / "rules"
RUNBOOKS = ROOT / "dashboards" / "runbooks"
HEADINGS = ("## What it means", "## What to look at", "## What helps")
SEVERITIES = ("critical", "warning", "info")


def rules_by_name():
    """The alerts as dicts of their lines; the files are ours and simple, so that no YAML library is needed."""
    alerts = {}
    for path in sorted(RULES.glob("*.yml")):
        for block in re.split(r"\n      - ", path.read_text())[1:]:
            fields = dict(re.findall(r"^ *(alert|for|severity|summary|description|runbook_url): (.*)$", block, re.M))
            if "alert" in fields:
                assert fields["alert"] not in alerts, f"{fields['alert']} is there twice"
                alerts[fields["alert"]] = fields
    return alerts


def check_alert(alert, fields):
    assert re.fullmatch(r"Sonde([A-Z][A-Za-z0-9]*)", alert), alert
    assert fields["severity"] in SEVERITIES, f"{alert}: severity {fields['severity']}"
    summary = json.loads(fields["summary"])
    assert "{{" not in summary and summary.endswith("."), f"{alert}: the summary is one constant sentence"
    assert "{{" in fields["description"], f"{alert}: the description says of what"
    page = RUNBOOKS / f"{alert}.md"
    assert fields["runbook_url"] == str(page.relative_to(ROOT)), f"{alert}: {fields['runbook_url']}"
    text = page.read_text()
    assert text.startswith(f"# {alert}\n") and summary in text, f"{page}: name and summary at the top"
    for heading in HEADINGS:
        body = text.partition(heading)[2].partition("\n## ")[0]
        assert len(body.strip()) > 40, f"{page}: nothing under {heading!r}"


def expected(case, fields):
    annotations = {"summary": json.loads(fields["summary"]), "description": case.description,
                   "runbook_url": fields["runbook_url"]}
    return [{"exp_labels": {"severity": fields["severity"], **case.labels}, "exp_annotations": annotations}]


def tests_of(case, fields):
    """Two tests in promtool's form: with the series, and without any of the alert's own."""
    def at(minute, alerts):
        return {"eval_time": f"{minute}m", "alertname": case.alert, "exp_alerts": alerts}

    series = [{"series": name, "values": values} for name, values in case.series]
    yield {"interval": "1m", "name": case.alert, "input_series": series,
           "alert_rule_test": [at(case.early, []), at(case.fires, expected(case, fields)), at(case.calm, [])]}
    yield {"interval": "1m", "name": f"{case.alert}, no data",
           "input_series": [{"series": 'another{job="x"}', "values": "1x2000"}],
           "alert_rule_test": [at(case.early, []), at(case.fires, []), at(case.calm, [])]}


def run(promtool, files, tests):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "tests.json"  # which is YAML
        path.write_text(json.dumps({"rule_files": [str(file) for file in files], "evaluation_interval": "1m",
                                    "tests": tests}))
        return subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False)


def main():
    promtool = shutil.which("promtool")
    if not promtool:
        print("skipped: promtool is not installed")
        return 77
    files = sorted(RULES.glob("*.yml"))
    done = subprocess.run([promtool, "check", "rules", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    alerts = rules_by_name()
    for alert, fields in alerts.items():
        check_alert(alert, fields)
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == set(alerts), "a runbook page of no alert"
    assert {case.alert for case in alert_cases.CASES} == set(alerts), "alerts and their cases differ"
    tests = [test for case in alert_cases.CASES for test in tests_of(case, alerts[case.alert])]
    done = run(promtool, files, tests)
    assert done.returncode == 0, done.stdout + done.stderr
    # that a wrong expectation fails
    tests[0]["alert_rule_test"][1]["exp_alerts"] = []
    assert run(promtool, files, tests).returncode != 0, "promtool found nothing wrong with a wrong test"
    print(f"{len(alerts)} alerts, {len(tests)} tests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
