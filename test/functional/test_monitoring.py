"""What etc/monitoring/ has fits the figures that Postern shows."""

import json
import pathlib
import re
import shutil

import pytest

from support import promtool

HERE = pathlib.Path(__file__).parents[2] / "etc/monitoring"
MANUAL = HERE.parent / "postern-metrics.7.in"


def known_metrics():
    """The manual's, which a unit test compares with the table that is counted by."""
    return set(re.findall(r"^\.It Ic (\w+)$", MANUAL.read_text(encoding="utf-8"), re.MULTILINE))


def expressions():
    dashboard = json.loads((HERE / "grafana.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    rules = (HERE / "alerts.yml").read_text(encoding="utf-8")
    yield from re.findall(r"expr: (?:>-\n)?(.*(?:\n {10}.*)*)", rules)


def used_metrics(expression):
    return {re.sub("_(bucket|sum|count)$", "", name)
            for name in re.findall(r"\b(?:postern|process)_\w+", expression)}


def test_nothing_is_asked_for_that_does_not_exist():
    known = known_metrics()
    assert len(known) > 20
    used = set().union(*map(used_metrics, expressions()))
    assert used and used <= known, used - known


def test_labels_that_are_asked_for_exist(postern):
    """A label that is misspelt would make an alert that never comes."""
    from support import control
    with postern.log_in() as client:
        client.quit()
    shown = "\n".join(control.metrics(postern))
    rules = (HERE / "alerts.yml").read_text(encoding="utf-8")
    for label, values in re.findall(r'(limit|result)=~?"([\w|]+)"', rules):
        for value in values.split("|"):
            assert f'{label}="{value}"' in shown, (label, value)


def test_prometheus_takes_the_rules(tmp_path):
    for name in ("alerts.yml", "prometheus.yml"):
        shutil.copy(HERE / name, tmp_path)
    count = (tmp_path / "alerts.yml").read_text(encoding="utf-8").count("- alert: ")
    assert f"SUCCESS: {count} rules found" in promtool.run("check", "rules", tmp_path / "alerts.yml")
    promtool.run("check", "config", tmp_path / "prometheus.yml")


def test_prometheus_understands_what_the_dashboard_asks(tmp_path):
    """As rules, for which Grafana's own words have values."""
    dashboard = json.loads((HERE / "grafana.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    words = {f"${each['name']}" for each in dashboard["templating"]["list"]}
    for expression in asked:
        used = set(re.findall(r"\$\w+", expression)) - {"$__rate_interval"}
        assert used <= words, (expression, used - words)
    rules = [{"record": f"asked:{number}", "expr": re.sub(
        r"\$\w+", "any", expression.replace("$__rate_interval", "5m"))}
        for number, expression in enumerate(asked)]
    (tmp_path / "rules.yml").write_text(
        json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    assert f"SUCCESS: {len(rules)} rules found" in promtool.run("check", "rules",
                                                               tmp_path / "rules.yml")


RULES_TEST = """
rule_files: [alerts.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'postern_certificate_not_after_timestamp_seconds{certificate="/c.pem",instance="a"}'
        values: '259200x120'
      - series: 'postern_backend_sessions_total{backend="default",result="opened",instance="a"}'
        values: '0+10x120'
      - series: 'postern_backend_sessions_total{backend="default",result="unreachable",instance="a"}'
        values: '0+10x120'
      - series: 'up{job="postern",instance="a"}'
        values: '1x120'
    alert_rule_test:
      - eval_time: 90m
        alertname: PosternCertificateEnds
        exp_alerts:
          - exp_labels: {certificate: /c.pem, instance: a, severity: warning}
            exp_annotations:
              summary: The certificate /c.pem ends in 3 days
              description: It is read at a reload; is its renewal's hook in place?
      - eval_time: 20m
        alertname: PosternMailServerFails
        exp_alerts:
          - exp_labels: {backend: default, instance: a, severity: critical}
            exp_annotations:
              summary: The mail server "default" behind a fails
              description: 50% of the sessions there cannot be opened.
      - eval_time: 20m
        alertname: PosternDown
        exp_alerts: []
"""


def test_an_alert_comes_when_it_should(tmp_path):
    shutil.copy(HERE / "alerts.yml", tmp_path)
    (tmp_path / "test.yml").write_text(RULES_TEST, encoding="utf-8")
    promtool.run("test", "rules", tmp_path / "test.yml")


@pytest.mark.parametrize("key", ["title", "uid", "panels", "templating", "schemaVersion"])
def test_the_dashboard_is_one(key):
    assert json.loads((HERE / "grafana.json").read_text(encoding="utf-8"))[key]


def test_panels_do_not_lie_on_each_other():
    dashboard = json.loads((HERE / "grafana.json").read_text(encoding="utf-8"))
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
