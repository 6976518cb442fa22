"""Static websites, as browsers see them: over HTTPS and plain HTTP, under the website's host name."""

import json

import pytest
from support.calls import refused, status_of
from support.requests import Signer, send

INDEX = {"IndexDocument": {"Suffix": "index.html"}}
PAGES = {
    "index.html": b"<h1>home</h1>",
    "docs/index.html": b"<h1>docs</h1>",
    "a page.html": b"spaces",
    "error.html": b"<h1>sorry</h1>",
}


def configure(s3, bucket, **configuration):
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=INDEX | configuration)


def open_to_all(s3, bucket, *actions):
    s3.delete_public_access_block(Bucket=bucket)
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    statement = {"Effect": "Allow", "Principal": "*", "Action": list(actions), "Resource": resources}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


@pytest.fixture
def site(s3, bucket):
    """A bucket with pages that anybody may read and list."""
    open_to_all(s3, bucket, "s3:GetObject", "s3:ListBucket")
    for key, body in PAGES.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="text/html")
    configure(s3, bucket)
    return bucket


@pytest.fixture(params=["https", "http"])
def visit(server, request):
    """`visit(bucket, path)`: what a browser gets, over either scheme."""
    url = server.url if request.param == "https" else server.http_url

    def visit(bucket, path, method="GET", host=None, **headers):
        named = {"host": host or f"{bucket}.s3-website.localhost"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return send(server, method, path, named, url=url)

    visit.scheme = request.param
    return visit


def test_a_configuration_is_kept_given_back_and_removed(s3, bucket):
    with refused("NoSuchWebsiteConfiguration", 404, "The specified bucket does not have a website configuration") as refusal:
        s3.get_bucket_website(Bucket=bucket)
    assert refusal.error["BucketName"] == bucket
    rule = {
        "Condition": {"HttpErrorCodeReturnedEquals": "404", "KeyPrefixEquals": "a/"},
        "Redirect": {"HostName": "h", "HttpRedirectCode": "302", "Protocol": "https", "ReplaceKeyPrefixWith": "b/"},
    }
    for configuration in (
        INDEX | {"ErrorDocument": {"Key": "e"}, "RoutingRules": [rule]},
        {"RedirectAllRequestsTo": {"HostName": "example.com", "Protocol": "https"}},
    ):
        s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=configuration)
        answer = s3.get_bucket_website(Bucket=bucket)
        answer.pop("ResponseMetadata")
        assert answer == configuration
    assert status_of(s3.delete_bucket_website(Bucket=bucket)) == 204
    assert status_of(s3.delete_bucket_website(Bucket=bucket)) == 204
    with refused("NoSuchWebsiteConfiguration", 404):
        s3.get_bucket_website(Bucket=bucket)


@pytest.mark.parametrize(
    "configuration, code, message",
    [
        ({}, "InvalidArgument", "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty"),
        ({"IndexDocument": {"Suffix": "a/b"}}, "InvalidArgument", "The IndexDocument Suffix is not well formed"),
        ({"IndexDocument": {"Suffix": ""}}, "InvalidArgument", "The IndexDocument Suffix is not well formed"),
        (
            INDEX | {"RedirectAllRequestsTo": {"HostName": "h"}},
            "InvalidArgument",
            "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
        ),
        (
            {"RedirectAllRequestsTo": {"HostName": "h", "Protocol": "gopher"}},
            "InvalidRequest",
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.",
        ),
        (
            INDEX | {"RoutingRules": [{"Redirect": {"ReplaceKeyWith": "a", "ReplaceKeyPrefixWith": "b"}}]},
            "InvalidRequest",
            "You can only define ReplaceKeyPrefix or ReplaceKey but not both.",
        ),
        (
            INDEX | {"RoutingRules": [{"Condition": {}, "Redirect": {"ReplaceKeyWith": "a"}}]},
            "InvalidRequest",
            "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present.",
        ),
        (
            INDEX | {"RoutingRules": [{"Redirect": {"HttpRedirectCode": "200"}}]},
            "InvalidRequest",
            "The provided HTTP redirect code (200) is not valid. Valid codes are 3XX except 300.",
        ),
        (
            INDEX | {"RoutingRules": [{"Condition": {"HttpErrorCodeReturnedEquals": "301"}, "Redirect": {}}]},
            "InvalidRequest",
            "The provided HTTP error code (301) is not valid. Valid codes are 4XX or 5XX.",
        ),
        (INDEX | {"RoutingRules": [{"Redirect": {"HostName": "h"}}] * 51}, "InvalidRequest", None),
    ],
)
def test_configurations_that_are_refused(s3, bucket, configuration, code, message):
    with refused(code, 400, message):
        s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=configuration)


def test_pages_and_index_documents(site, visit):
    for path, key in (("/", "index.html"), ("/docs/", "docs/index.html"), ("/a%20page.html", "a page.html")):
        answer = visit(site, path)
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, PAGES[key], "text/html")
        head = visit(site, path, "HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(PAGES[key])))
    answer = visit(site, "/?versionId=x&response-content-type=y")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html")


def test_every_form_of_the_host_name(site, visit):
    for host in (
        f"{site}.s3-website-us-east-1.amazonaws.com",
        f"{site}.s3-website.us-east-1.amazonaws.com",
        f"{site}.s3-website-us-east-1.localhost",
        f"{site}.S3-Website.localhost:9000",
        f"{site.upper()}.s3-website.localhost",
        f"{site}.s3-website.localhost.:9000",
    ):
        assert visit(site, "/", host=host).body == PAGES["index.html"]


def test_a_configured_domain(new_server, tmp_path):
    config = tmp_path / "strongroom.toml"
    config.write_text('base_domains = ["s3.example.com"]\n')
    server = new_server(arguments=["--config", str(config)])
    s3 = server.client("s3")
    s3.create_bucket(Bucket="www")
    open_to_all(s3, "www", "s3:GetObject")
    s3.put_object(Bucket="www", Key="index.html", Body=b"here")
    configure(s3, "www")
    for host in ("www.s3-website.s3.example.com", "www.s3-website.example.com"):
        assert send(server, "GET", "/", {"host": host}).body == b"here"
        # The certificate is for these names too.
        port = server.address[1]
        done = server.curl("--resolve", f"{host}:{port}:127.0.0.1", f"https://{host}:{port}/", sign=False, check=True)
        assert done.stdout == "here"


def test_a_directory_without_its_slash(site, visit):
    answer = visit(site, "/docs")
    assert (answer.status, answer.headers["location"]) == (302, "/docs/")
    assert answer.headers["x-amz-error-code"] == "Found"


def test_conditions_and_ranges(site, visit):
    first = visit(site, "/")
    etag = first.headers["etag"]
    assert visit(site, "/", if_none_match=etag).status == 304
    answer = visit(site, "/", range="bytes=0-3")
    assert (answer.status, answer.body) == (206, PAGES["index.html"][:4])
    assert visit(site, "/", if_match='"other"').status == 412


def test_error_pages(site, visit):
    answer = visit(site, "/no%3Cthing%3E")
    assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert answer.headers["x-amz-error-code"] == "NoSuchKey"
    assert answer.headers["x-amz-error-message"] == "The specified key does not exist."
    assert answer.headers["x-amz-error-detail-key"] == "no<thing>"
    html = answer.body.decode()
    assert html.startswith("<html>\n<head><title>404 Not Found</title></head>\n<body>\n<h1>404 Not Found</h1>\n<ul>\n")
    assert "<li>Code: NoSuchKey</li>\n<li>Message: The specified key does not exist.</li>\n<li>Key: no&lt;thing&gt;</li>\n" in html
    assert f"<li>RequestId: {answer.headers['x-amz-request-id']}</li>" in html


def test_an_error_document(s3, site, visit):
    configure(s3, site, ErrorDocument={"Key": "error.html"})
    answer = visit(site, "/nothing", if_none_match="*", range="bytes=0-0")
    assert (answer.status, answer.body) == (404, PAGES["error.html"])
    assert (answer.headers["content-type"], answer.headers["x-amz-error-code"]) == ("text/html", "NoSuchKey")


def test_an_error_document_that_redirects(s3, site, visit):
    """Recorded on AWS, `test_object_website_redirect_location`: the status is lost."""
    s3.put_object(Bucket=site, Key="moved.html", Body=b"x", WebsiteRedirectLocation="/error.html")
    configure(s3, site, ErrorDocument={"Key": "moved.html"})
    answer = visit(site, "/nothing")
    assert (answer.status, answer.headers["location"], answer.body) == (301, "/error.html", b"")


def test_an_error_document_that_is_not_there(s3, site, visit):
    configure(s3, site, ErrorDocument={"Key": "gone.html"})
    html = visit(site, "/nothing").body.decode()
    assert "<li>Key: nothing</li>" in html
    second = html.split("<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>")[1]
    assert "<li>Code: NoSuchKey</li>" in second and "<li>Key: gone.html</li>" in second


def test_a_site_that_is_not_public(s3, bucket, visit):
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"secret")
    configure(s3, bucket)
    answer = visit(bucket, "/")
    assert (answer.status, answer.headers["x-amz-error-code"]) == (403, "AccessDenied")
    assert b"secret" not in answer.body


def test_a_site_whose_visitors_would_pay(s3, site, visit):
    """S3 user guide, "Website endpoints": who is not known pays nothing, and a website shows them nothing."""
    s3.put_bucket_request_payment(Bucket=site, RequestPaymentConfiguration={"Payer": "Requester"})
    answer = visit(site, "/")
    assert (answer.status, answer.headers["x-amz-error-code"]) == (403, "AccessDenied")
    s3.put_bucket_request_payment(Bucket=site, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    assert visit(site, "/").status == 200


def test_who_may_not_list_does_not_learn_what_is_missing(s3, site, visit):
    open_to_all(s3, site, "s3:GetObject")
    assert visit(site, "/nothing").status == 403
    assert visit(site, "/docs").status == 302
    # Whatever the visitor wants of the page that it named.
    assert visit(site, "/docs", range="bytes=1000-2000").status == 302
    assert visit(site, "/").status == 200


def test_a_signature_makes_nobody_of_a_visitor(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"secret")
    configure(s3, bucket)
    signer = Signer.of(server)
    signer.host = f"{bucket}.s3-website.localhost"
    assert send(server, "GET", "/", signer.headers("GET", "/")).status == 403


def test_no_bucket_and_no_website(s3, bucket, visit):
    answer = visit("no-such-bucket-here", "/")
    assert (answer.status, answer.headers["x-amz-error-code"]) == (404, "NoSuchBucket")
    assert answer.headers["x-amz-error-detail-bucketname"] == "no-such-bucket-here"
    answer = visit(bucket, "/")
    assert (answer.status, answer.headers["x-amz-error-code"]) == (404, "NoSuchWebsiteConfiguration")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_other_methods(site, visit, method):
    answer = visit(site, "/index.html", method)
    assert (answer.status, answer.headers["x-amz-error-code"]) == (405, "MethodNotAllowed")
    assert answer.headers["allow"] == "HEAD, GET"
    assert b"<li>Message: The specified method is not allowed against this resource.</li>" in answer.body
    assert visit(site, "/").body == PAGES["index.html"]


def test_an_object_that_redirects(s3, site, visit):
    for key, where in (("old.html", "/index.html"), ("away.html", "https://www.example.com/")):
        s3.put_object(Bucket=site, Key=key, Body=b"moved", WebsiteRedirectLocation=where)
        answer = visit(site, f"/{key}")
        assert (answer.status, answer.headers["location"], answer.body) == (301, where, b"")
        # The REST endpoint shows the object, and the header.
        assert s3.get_object(Bucket=site, Key=key)["WebsiteRedirectLocation"] == where


def test_redirect_locations_that_are_refused(s3, bucket):
    with refused("InvalidRedirectLocation", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"", WebsiteRedirectLocation="elsewhere")
    with refused("InvalidRedirectLocation", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"", WebsiteRedirectLocation="/" + "x" * 2048)


def test_all_requests_are_redirected(s3, site, visit):
    s3.put_bucket_website(Bucket=site, WebsiteConfiguration={"RedirectAllRequestsTo": {"HostName": "example.com"}})
    answer = visit(site, "/docs/a%20b")
    assert (answer.status, answer.headers["location"]) == (301, f"{visit.scheme}://example.com/docs/a%20b")
    redirect = {"HostName": "example.com", "Protocol": "https"}
    s3.put_bucket_website(Bucket=site, WebsiteConfiguration={"RedirectAllRequestsTo": redirect})
    assert visit(site, "/").headers["location"] == "https://example.com/"


def test_routing_rules(s3, site, visit):
    rules = [
        {"Condition": {"KeyPrefixEquals": "docs/"}, "Redirect": {"ReplaceKeyPrefixWith": "documents/"}},
        {
            "Condition": {"HttpErrorCodeReturnedEquals": "404", "KeyPrefixEquals": "img/"},
            "Redirect": {"HostName": "img.example.com", "Protocol": "https", "HttpRedirectCode": "302"},
        },
        {"Condition": {"HttpErrorCodeReturnedEquals": "404"}, "Redirect": {"ReplaceKeyWith": "error.html"}},
    ]
    configure(s3, site, RoutingRules=rules)
    own = f"{visit.scheme}://{site}.s3-website.localhost"
    for path, status, location in (
        ("/docs/x", 301, f"{own}/documents/x"),
        ("/img/a%20b.png", 302, "https://img.example.com/img/a%20b.png"),
        ("/nothing", 301, f"{own}/error.html"),
    ):
        answer = visit(site, path)
        assert (answer.status, answer.headers["location"]) == (status, location)
    assert visit(site, "/").status == 200


def test_kms_objects_are_refused(s3, site, visit):
    s3.put_object(Bucket=site, Key="kms.html", Body=b"secret", ServerSideEncryption="aws:kms")
    answer = visit(site, "/kms.html")
    assert (answer.status, answer.headers["x-amz-error-code"]) == (400, "InvalidArgument")
    assert b"secret" not in answer.body


def test_cross_origin_pages(s3, site, visit):
    rule = {"AllowedOrigins": ["https://a.example"], "AllowedMethods": ["GET"]}
    s3.put_bucket_cors(Bucket=site, CORSConfiguration={"CORSRules": [rule]})
    answer = visit(site, "/", origin="https://a.example")
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    answer = visit(site, "/", "OPTIONS", origin="https://a.example", access_control_request_method="GET")
    assert answer.status == 200


def test_keys_that_are_too_long_or_no_text(site, visit):
    assert visit(site, "/" + "k" * 1025).headers["x-amz-error-code"] == "KeyTooLongError"
    assert visit(site, "/%ff").headers["x-amz-error-code"] == "InvalidURI"
