"""Suites of tests and their budgets; a table of both ends every run of pytest."""

from collections import Counter

import pytest

BUDGET_SECONDS = {
    "surnn": 120,
    "featurizers": 110,
    "pipelines": 430,
    "house": 45,
    "benchmarks": 70,
    "slow": 400,
}  # one room each; 1,175 in all

_took_seconds: Counter[str] = Counter()
_num_tests: Counter[str] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--enforce-budgets", action="store_true", help="fail if a suite takes longer than its budget")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    folders = report.nodeid.partition("::")[0].split("/")[1:-1]  # below tests/
    suite = "slow" if "slow" in report.keywords else (folders or ["house"])[0]
    _took_seconds[suite] += report.duration
    _num_tests[suite] += report.when == "call"


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--enforce-budgets") and _over_budget():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_sep("=", "suites")
    terminalreporter.write_line(f"{'suite':<12} {'tests':>6} {'seconds':>8} {'budget':>7}")
    for suite, took in _took_seconds.items():
        remark = "   over budget" if suite in _over_budget() else ""
        budget = BUDGET_SECONDS.get(suite, 0)
        terminalreporter.write_line(f"{suite:<12} {_num_tests[suite]:>6} {took:>8.1f} {budget:>7}{remark}")


def _over_budget() -> list[str]:
    return [suite for suite, took in _took_seconds.items() if took > BUDGET_SECONDS.get(suite, 0)]
