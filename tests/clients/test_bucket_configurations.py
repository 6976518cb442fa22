"""Configurations that are kept and given back: acceleration, request payment, analytics, metrics, intelligent tiering."""

import pytest
from support.calls import refused, status_of
from support.requests import signed

BOTH = {"And": {"Prefix": "p/", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}}


def without_metadata(response):
    return {k: v for k, v in response.items() if k != "ResponseMetadata"}


def test_acceleration(s3, bucket):
    assert without_metadata(s3.get_bucket_accelerate_configuration(Bucket=bucket)) == {}
    for status in ("Enabled", "Suspended"):
        s3.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": status})
        assert s3.get_bucket_accelerate_configuration(Bucket=bucket)["Status"] == status
    with refused("MalformedXML", 400):
        s3.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": "On"})


def test_acceleration_of_a_bucket_with_a_dotted_name(s3, bucket_names):
    name = f"dotted.{next(bucket_names)}"
    s3.create_bucket(Bucket=name)
    with refused("InvalidRequest", 400, "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names"):
        s3.put_bucket_accelerate_configuration(Bucket=name, AccelerateConfiguration={"Status": "Enabled"})
    s3.delete_bucket(Bucket=name)


def test_request_payment(s3, bucket):
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "Requester"
    with refused("MalformedXML", 400):
        s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Nobody"})
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "Requester"


def test_abac(s3, bucket):
    assert s3.get_bucket_abac(Bucket=bucket)["AbacStatus"] == {"Status": "Disabled"}
    s3.put_bucket_abac(Bucket=bucket, AbacStatus={"Status": "Enabled"})
    assert s3.get_bucket_abac(Bucket=bucket)["AbacStatus"] == {"Status": "Enabled"}


# By kind: the name of its operations, of its list, and a configuration without its id.
KINDS = {
    "metrics": ("metrics", "MetricsConfiguration", {"Filter": BOTH}),
    "analytics": (
        "analytics",
        "AnalyticsConfiguration",
        {
            "Filter": {"Tag": {"Key": "k", "Value": "v"}},
            "StorageClassAnalysis": {
                "DataExport": {
                    "OutputSchemaVersion": "V_1",
                    "Destination": {
                        "S3BucketDestination": {"Format": "CSV", "Bucket": "arn:aws:s3:::reports", "Prefix": "x/"}
                    },
                }
            },
        },
    ),
    "intelligent-tiering": (
        "intelligent_tiering",
        "IntelligentTieringConfiguration",
        {
            "Filter": {"Prefix": "logs/"},
            "Status": "Enabled",
            "Tierings": [{"Days": 90, "AccessTier": "ARCHIVE_ACCESS"}, {"Days": 180, "AccessTier": "DEEP_ARCHIVE_ACCESS"}],
        },
    ),
}


class Kind:
    """The operations of a kind that has ids."""

    def __init__(self, s3, bucket, kind):
        self.s3, self.bucket = s3, bucket
        self.name, self.member, self.contents = KINDS[kind]

    def put(self, id, contents=None, inner=None):
        document = {"Id": inner or id} | (contents or self.contents)
        call = getattr(self.s3, f"put_bucket_{self.name}_configuration")
        return call(Bucket=self.bucket, Id=id, **{self.member: document})

    def get(self, id):
        call = getattr(self.s3, f"get_bucket_{self.name}_configuration")
        return call(Bucket=self.bucket, Id=id)[self.member]

    def delete(self, id):
        return getattr(self.s3, f"delete_bucket_{self.name}_configuration")(Bucket=self.bucket, Id=id)

    def page(self, **options):
        return getattr(self.s3, f"list_bucket_{self.name}_configurations")(Bucket=self.bucket, **options)


@pytest.fixture(params=KINDS)
def kind(s3, bucket, request):
    return Kind(s3, bucket, request.param)


def test_by_id(kind):
    with refused("NoSuchConfiguration", 404, "The specified configuration does not exist.") as refusal:
        kind.get("a")
    assert "BucketName" not in refusal.error
    assert status_of(kind.put("a")) == 204
    assert kind.get("a") == {"Id": "a"} | kind.contents
    assert status_of(kind.delete("a")) == 204
    with refused("NoSuchConfiguration", 404):
        kind.get("a")
    with refused("NoSuchConfiguration", 404):
        kind.delete("a")


def test_lists_have_pages_of_a_hundred(kind):
    page = kind.page()
    assert (page["IsTruncated"], page.get(f"{kind.member}List")) == (False, None)
    ids = sorted(f"id.{n:03}" for n in range(103))
    for id in reversed(ids):
        kind.put(id)
    first = kind.page()
    assert first["IsTruncated"] and len(first[f"{kind.member}List"]) == 100
    second = kind.page(ContinuationToken=first["NextContinuationToken"])
    assert not second["IsTruncated"] and second["ContinuationToken"] == first["NextContinuationToken"]
    listed = first[f"{kind.member}List"] + second[f"{kind.member}List"]
    assert [entry["Id"] for entry in listed] == ids
    assert listed[0] == {"Id": ids[0]} | kind.contents


def test_a_token_that_no_page_gave(kind):
    with refused("MalformedContinuationToken", 400, "The continuation-token you provided invalid."):
        kind.page(ContinuationToken="zz")
    empty = kind.page(ContinuationToken="")
    assert (empty["IsTruncated"], empty["ContinuationToken"]) == (False, "")


@pytest.mark.parametrize(
    ("key", "root"),
    [
        ("analytics", "ListBucketAnalyticsConfigurationsResult"),
        ("intelligent-tiering", "ListIntelligentTieringConfigurationsResult"),
        ("inventory", "ListInventoryConfigurationsResult"),
        ("metrics", "ListMetricsConfigurationsResult"),
    ],
)
def test_the_roots_of_lists(server, bucket, key, root):
    answer = signed(server, "GET", f"/{bucket}", [(key, "")])
    assert f"<{root} xmlns=" in answer.body.decode()


def test_ids(kind):
    # (Recorded on AWS, `test_s3_put_inventory_report_exceptions`, `test_s3_analytics_configurations`.)
    with refused("IdMismatch" if kind.name == "metrics" else "MalformedXML", 400):
        kind.put("a", inner="b")
    for bad in ("a/b", "é", "x" * 65):
        with refused("InvalidConfigurationId", 400):
            kind.put(bad)


@pytest.mark.parametrize("filter", [{"And": {"Prefix": "alone"}}, {"Prefix": "a", "Tag": {"Key": "k", "Value": "v"}}])
def test_filters_that_say_too_little_or_too_much(kind, filter):
    with refused("MalformedXML", 400):
        kind.put("a", kind.contents | {"Filter": filter})


@pytest.mark.parametrize("days, tier", [(89, "ARCHIVE_ACCESS"), (731, "DEEP_ARCHIVE_ACCESS")])
def test_tierings_out_of_bounds(s3, bucket, days, tier):
    tierings = Kind(s3, bucket, "intelligent-tiering")
    with refused("InvalidArgument", 400):
        tierings.put("a", tierings.contents | {"Tierings": [{"Days": days, "AccessTier": tier}]})


def test_configurations_survive_a_restart_and_go_with_their_bucket(new_server):
    server = new_server()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="kept")
    s3.put_bucket_request_payment(Bucket="kept", RequestPaymentConfiguration={"Payer": "Requester"})
    Kind(s3, "kept", "metrics").put("a")
    server.kill()
    server.start()
    s3 = server.client("s3")
    assert s3.get_bucket_request_payment(Bucket="kept")["Payer"] == "Requester"
    assert Kind(s3, "kept", "metrics").get("a")["Id"] == "a"
    s3.delete_bucket(Bucket="kept")
    s3.create_bucket(Bucket="kept")
    assert s3.get_bucket_request_payment(Bucket="kept")["Payer"] == "BucketOwner"
    with refused("NoSuchConfiguration", 404):
        Kind(s3, "kept", "metrics").get("a")


def test_another_account_may_not_configure(server, bucket):
    answer = server.curl("-X", "GET", f"{server.url}/{bucket}?requestPayment", sign=False)
    assert "<Code>AccessDenied</Code>" in answer.stdout


@pytest.mark.parametrize("body, code", [(b"", "MissingRequestBodyError"), (b"<x", "MalformedXML"), (b"<Other/>", "MalformedXML")])
def test_documents_that_are_none(server, bucket, body, code):
    answer = signed(server, "PUT", f"/{bucket}", [("accelerate", "")], body=body)
    assert (answer.status, answer.code) == (400, code)
