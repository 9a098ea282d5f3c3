# SPDX-License-Identifier: Apache-2.0
"""The dashboards' JSON keeps the rules of grafana/dashboard-linter that are meant for Prometheus, and our own: panels do not
overlap, links lead from one to the others, metrics have names that sonded gives. What their queries give on a Prometheus,
tests/integration/dashboard_test.py asks.  usage: dashboards.py"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DASHBOARDS = ROOT / "dashboards"
BUILT_IN = {"__rate_interval", "__range", "__all", "datasource"}
PREFIXES = ("sonde_", "http_", "rpc_", "messaging_", "graphql_")


def dashboards():
    """{name: dashboard}"""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels_of(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def selectors(expression):
    """[(metric, text of its matchers or None)]; labels in by (...) and the like are none."""
    bare = re.sub(r"\b(by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)", " ", expression)
    found = re.findall(r"\b([a-z_][a-z0-9_:]*)\s*\{([^}]*)\}", bare)
    bare = re.sub(r"\b[a-z_][a-z0-9_:]*\s*\{[^}]*\}|\[[^\]]*\]", " ", bare)
    return found + [(name, None) for name in re.findall(r"\b[a-z_][a-z0-9_:]*\b(?!\s*\()", bare)
                    if name not in ("or", "and", "unless", "bool", "offset")]


def check_head(name, dashboard):
    assert dashboard["uid"] == f"sonde-{name}", "uid"
    assert dashboard["editable"] is False, "editable"
    assert dashboard["graphTooltip"] == 1 and dashboard["refresh"] == "30s" and dashboard["timezone"] == "browser", "head"
    assert 36 <= dashboard["schemaVersion"] <= 41, "schemaVersion"
    assert dashboard["tags"] == ["sonde"] and dashboard["title"] and dashboard["description"].endswith("."), "head"
    link = dashboard["links"][0]
    assert link["tags"] == ["sonde"] and link["asDropdown"] and link["includeVars"] and link["keepTime"], "links"


def check_variables(dashboard):
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    sources = [variable for variable in variables.values() if variable["type"] == "datasource"]
    assert len(sources) == 1 and sources[0]["name"] == "datasource" and sources[0]["label"] == "Data source", "datasource"
    assert variables["job"]["label"] == "Job" and variables["instance"]["label"] == "Instance", "job, instance"
    used = set(re.findall(r"\$(\w+)", json.dumps(dashboard)))
    for name, variable in variables.items():
        assert name in used or variable["type"] == "datasource", f"variable {name}: not used"
        if variable["type"] == "datasource":
            continue
        assert variable["type"] == "query" and variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, name
        everything = ".+" if name in ("job", "instance") else variable["allValue"]  # of others, none is among all
        assert variable["multi"] and variable["includeAll"] and variable["allValue"] == everything in (".+", ".*"), name
        assert variable["refresh"] == 2, name
        assert re.fullmatch(r"label_values\(.+, \w+\)", variable["query"]["query"]), name
    unknown = used - set(variables) - BUILT_IN
    assert not unknown, f"unknown variables: {unknown}"


def check_places(dashboard):
    ids, taken = set(), set()
    for panel in dashboard["panels"]:
        assert panel["id"] not in ids, f"{panel['title']}: id used twice"
        ids.add(panel["id"])
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, f"{panel['title']}: placed over another, or outside"
        taken |= cells


def check_query(expression):
    for metric, matchers in selectors(expression):
        assert metric.startswith(PREFIXES), f"{metric}: none of sonded's"
        assert matchers and 'job=~"$job"' in matchers and 'instance=~"$instance"' in matchers, f"{metric}: job and instance"
        if re.search("_(total|bucket|count|sum)$", metric):
            assert re.search(rf"\b(rate|increase)\(\s*{metric}\{{[^}}]*\}}\[", expression), f"{metric}: a counter without rate"
    assert expression.count("(") == expression.count(")"), "parentheses"
    assert all(each in ("$__rate_interval", "$__range") for each in re.findall(r"\[([^\]]*)\]", expression)), \
        "a fixed interval; use $__rate_interval"


def check_panel(panel):
    assert panel["title"] and panel["description"].endswith("."), "no description"
    assert panel["fieldConfig"]["defaults"]["unit"], "no unit"
    assert panel["targets"], "no query"
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]), "refId used twice"
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, "data source"
        check_query(target["expr"])
        if "histogram_quantile" in target["expr"] and panel["type"] == "timeseries":
            assert target.get("exemplar") is True or "exporter/" in target["expr"], "a histogram without exemplars"


def check_provisioning(names):
    text = (DASHBOARDS / "provisioning" / "dashboards.yml").read_text(encoding="utf-8")
    assert "allowUiUpdates: false" in text and "type: file" in text, "provisioning/dashboards.yml"
    text = (DASHBOARDS / "provisioning" / "datasources.yml").read_text(encoding="utf-8")
    assert "type: prometheus" in text and "exemplarTraceIdDestinations" in text, "provisioning/datasources.yml"
    assert {"services", "brokers", "breakers", "resilience", "sagas", "agent"} <= names, names


def main():
    bad = 0

    def complain(where, check, *arguments):
        nonlocal bad
        try:
            check(*arguments)
        except AssertionError as error:
            print(f"{where}: {error}")
            bad += 1
    every = dashboards()
    for name, dashboard in every.items():
        where = f"dashboards/{name}.json"
        complain(where, check_head, name, dashboard)
        complain(where, check_variables, dashboard)
        complain(where, check_places, dashboard)
        for panel in panels_of(dashboard):
            complain(f"{where}: {panel['title']}", check_panel, panel)
    complain("dashboards/provisioning", check_provisioning, set(every))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
