# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus that scrapes one agent every second, and its API."""
import json
import pathlib
import subprocess
import urllib.parse
import urllib.request

import rig

DASHBOARDS = pathlib.Path(__file__).resolve().parents[2] / "dashboards"
RULES = DASHBOARDS / "rules"
PROGRAMS = ("prometheus", "promtool")


class Prometheus(rig.Process):
    """agent: HOST:PORT of its page. rules: loads those of dashboards/rules/ and evaluates them every second."""

    def __init__(self, directory, agent, port, rules=False):
        self.address, self.log_path = f"127.0.0.1:{port}", pathlib.Path(directory) / "prometheus.log"
        config = (DASHBOARDS / "prometheus.yml").read_text(encoding="utf-8")
        config = config.replace("127.0.0.1:4320", agent).replace("15s", "1s")
        if rules:
            config = config.replace("scrape_interval: 1s", "scrape_interval: 1s\n  evaluation_interval: 1s")
            config = config.replace('"rules/*.yml"', f'"{RULES}/*.yml"')
        path = pathlib.Path(directory) / "prometheus.yml"
        path.write_text(config, encoding="utf-8")
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(["prometheus", "--config.file", path, "--storage.tsdb.path",
                                             pathlib.Path(directory) / "prometheus", "--web.listen-address", self.address,
                                             "--log.level", "warn"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        rig.wait_until(self.ready, "Prometheus ready")

    def log(self):
        return self.log_path.read_text(encoding="utf-8")

    def ready(self):
        assert self.process.poll() is None, self.log()
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=10) as answer:
                return b"Ready" in answer.read()
        except OSError:
            return False

    def api(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as reply:
            answer = json.loads(reply.read())
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, expression):
        """Values that are numbers; NaN is the quotient of nothing by nothing, and no data."""
        result = self.api("query", query=expression)["result"]
        return [float(sample["value"][1]) for sample in result if sample["value"][1] != "NaN"]

    def targets(self):
        return self.api("targets", state="active")["activeTargets"]
