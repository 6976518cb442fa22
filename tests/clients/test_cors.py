"""Cross-origin requests, as a browser sends them."""

import json

import pytest
from support.calls import refused, status_of
from support.requests import EMPTY, Signer, send, signed

SITE = "https://localhost:4200"
RULE = {"AllowedOrigins": [SITE], "AllowedMethods": ["GET", "PUT"], "MaxAgeSeconds": 3000, "AllowedHeaders": ["*"]}
NOT_ALLOWED = (
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / "
    "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
)
VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


def put(s3, bucket, *rules):
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": list(rules)})


def ask(server, method, path, **headers):
    """An unsigned request with these headers, `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(server, method, path, {"host": server.host} | named)


def preflight(server, path, origin, method, headers=None):
    more = {"access_control_request_headers": headers} if headers is not None else {}
    return ask(server, "OPTIONS", path, origin=origin, access_control_request_method=method, **more)


def allowed(response):
    """The headers of the CORS protocol in an answer, by their short names."""
    prefix = "access-control-"
    found = {name.lower()[len(prefix) :]: value for name, value in response.headers.items() if name.lower().startswith(prefix)}
    return found | ({"vary": response.headers["vary"]} if "vary" in response.headers else {})


@pytest.fixture
def public(s3, bucket):
    """A bucket that anybody may read and list, with an object `k`."""
    s3.delete_public_access_block(Bucket=bucket)
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    return bucket


def test_a_configuration_is_kept_given_back_and_removed(s3, bucket):
    with refused("NoSuchCORSConfiguration", 404, "The CORS configuration does not exist") as refusal:
        s3.get_bucket_cors(Bucket=bucket)
    assert refusal.error["BucketName"] == bucket
    rules = [
        {"ID": "one", "AllowedHeaders": ["x-AMZ-*"], "AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["*.get", "*.put"]},
        {"AllowedMethods": ["HEAD"], "AllowedOrigins": ["http://test.com:80"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 0},
    ]
    put(s3, bucket, *rules)
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == rules
    assert status_of(s3.delete_bucket_cors(Bucket=bucket)) == 204
    assert status_of(s3.delete_bucket_cors(Bucket=bucket)) == 204
    with refused("NoSuchCORSConfiguration", 404):
        s3.get_bucket_cors(Bucket=bucket)


@pytest.mark.parametrize(
    "rule, code, message",
    [
        ({"AllowedMethods": ["MYMETHOD"]}, "InvalidRequest", "Found unsupported HTTP method in CORS config. Unsupported method is MYMETHOD"),
        ({"AllowedMethods": ["OPTIONS"]}, "InvalidRequest", "Found unsupported HTTP method in CORS config. Unsupported method is OPTIONS"),
        ({"AllowedOrigins": ["*example*.com"]}, "InvalidRequest", 'AllowedOrigin "*example*.com" can not have more than one wildcard.'),
        ({"AllowedHeaders": ["*a*"]}, "InvalidRequest", 'AllowedHeader "*a*" can not have more than one wildcard.'),
        (
            {"ExposeHeaders": ["*"]},
            "InvalidRequest",
            'ExposeHeader "*" contains wildcard. We currently do not support wildcard for ExposeHeader.',
        ),
        ({"AllowedMethods": []}, "MalformedXML", None),
        ({"AllowedOrigins": []}, "MalformedXML", None),
        ({"ID": "x" * 256}, "InvalidArgument", None),
    ],
)
def test_rules_that_are_refused(s3, bucket, rule, code, message):
    with refused(code, 400, message):
        put(s3, bucket, {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]} | rule)


def test_no_rules_and_too_many(s3, bucket):
    with refused("MalformedXML", 400):
        put(s3, bucket)
    with refused("InvalidRequest", 400):
        put(s3, bucket, *[RULE] * 101)
    put(s3, bucket, *[RULE] * 100)


def test_a_configuration_needs_a_digest(server, bucket):
    body = b"<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>"
    answer = signed(server, "PUT", f"/{bucket}", [("cors", "")], body=body)
    assert (answer.status, answer.code) == (400, "InvalidRequest")


def test_a_preflight_where_cors_is_not_configured(server, bucket):
    for path in (f"/{bucket}", f"/{bucket}/k"):
        answer = ask(server, "OPTIONS", path)
        assert (answer.status, answer.code) == (400, "BadRequest")
        assert answer.error["Message"] == "Insufficient information. Origin request header needed."
        answer = preflight(server, path, SITE, "PUT")
        assert (answer.status, answer.code) == (403, "AccessForbidden")
        assert answer.error["Message"] == "CORSResponse: CORS is not enabled for this bucket."
        assert (answer.error["Method"], answer.error["ResourceType"]) == ("PUT", "BUCKET")
        assert ask(server, "OPTIONS", path, origin=SITE).error["Method"] == "OPTIONS"


def test_a_preflight_to_no_bucket(server):
    answer = preflight(server, "/no-such-bucket-here/k", SITE, "GET")
    assert (answer.status, answer.code) == (403, "AccessForbidden")
    assert answer.error["Message"] == "CORSResponse: Bucket not found"


def test_a_preflight_that_is_allowed(server, s3, bucket):
    put(s3, bucket, RULE)
    answer = preflight(server, f"/{bucket}/k", SITE, "PUT")
    assert (answer.status, answer.body) == (200, b"")
    assert allowed(answer) == {
        "allow-origin": SITE,
        "allow-credentials": "true",
        "allow-methods": "GET, PUT",
        "max-age": "3000",
        "vary": VARY,
    }
    # A presigned URL's query is not looked at.
    assert preflight(server, f"/{bucket}/k?X-Amz-Signature=x", SITE, "GET").status == 200


@pytest.mark.parametrize("origin, method", [("http://localhost:4200", "PUT"), (SITE + "/", "PUT"), (SITE, "DELETE")])
def test_a_preflight_that_is_not_allowed(server, s3, bucket, origin, method):
    put(s3, bucket, RULE)
    for path, kind in ((f"/{bucket}/k", "OBJECT"), (f"/{bucket}", "BUCKET")):
        answer = preflight(server, path, origin, method)
        assert (answer.status, answer.code, answer.error["Message"]) == (403, "AccessForbidden", NOT_ALLOWED)
        assert (answer.error["Method"], answer.error["ResourceType"]) == (method, kind)
        assert allowed(answer) == {}


def test_a_preflight_must_name_a_method(server, s3, bucket):
    put(s3, bucket, RULE)
    answer = ask(server, "OPTIONS", f"/{bucket}/k", origin=SITE)
    assert (answer.status, answer.error["Message"]) == (400, "Invalid Access-Control-Request-Method: null")
    answer = preflight(server, f"/{bucket}/k", SITE, "PATCH")
    assert (answer.status, answer.error["Message"]) == (400, "Invalid Access-Control-Request-Method: PATCH")


def test_requested_headers(server, s3, bucket):
    named = ["x-amz-expected-bucket-owner", "x-AMZ-server-SIDE-encryption", "x-amz-meta-*"]
    put(s3, bucket, RULE | {"AllowedHeaders": named})
    for asked in ("x-AMZ-expected-BUCKET-owner, x-amz-meta-a", "x-amz-expected-bucket-owner,x-amz-meta-a"):
        answer = preflight(server, f"/{bucket}/k", SITE, "PUT", asked)
        assert (answer.status, allowed(answer)["allow-headers"]) == (200, "x-amz-expected-bucket-owner, x-amz-meta-a")
    assert preflight(server, f"/{bucket}/k", SITE, "PUT", "x-amz-request-payer").status == 403
    put(s3, bucket, {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "ExposeHeaders": ["x-amz-id-2", "ETag"]})
    assert preflight(server, f"/{bucket}/k", SITE, "GET", "x-amz-meta-header2").status == 403
    assert allowed(preflight(server, f"/{bucket}/k", SITE, "GET")) == {
        "allow-origin": "*",
        "allow-methods": "GET",
        "expose-headers": "x-amz-id-2, ETag",
        "vary": VARY,
    }


def test_origins_with_wildcards_on_actual_requests(server, s3, public):
    rules = [("GET", "*suffix"), ("GET", "start*end"), ("GET", "prefix*"), ("PUT", "*.put")]
    put(s3, public, *({"AllowedMethods": [method], "AllowedOrigins": [origin]} for method, origin in rules))
    for origin in ("foo.suffix", "startend", "start1end", "prefix", "prefix.suffix"):
        answer = ask(server, "GET", f"/{public}", origin=origin)
        assert answer.status == 200
        assert allowed(answer) == {"allow-origin": origin, "allow-methods": "GET", "allow-credentials": "true", "vary": VARY}
    for origin in ("foo.bar", "foo.suffix.get", "0start12end", "bla.prefix", "foo.put"):
        answer = ask(server, "GET", f"/{public}", origin=origin)
        assert (answer.status, allowed(answer)) == (200, {})
    assert allowed(ask(server, "GET", f"/{public}")) == {}


def test_refusals_are_shown_to_scripts_too(server, s3, public):
    put(s3, public, {"AllowedMethods": ["GET"], "AllowedOrigins": ["*suffix"]}, {"AllowedMethods": ["PUT"], "AllowedOrigins": ["*.put"]})
    answer = ask(server, "GET", f"/{public}/nothing", origin="foo.suffix")
    assert (answer.status, allowed(answer)["allow-origin"]) == (404, "foo.suffix")
    answer = ask(server, "PUT", f"/{public}/new", origin="foo.put")
    assert (answer.status, allowed(answer)["allow-methods"]) == (403, "PUT")
    assert allowed(ask(server, "PUT", f"/{public}/new", origin="foo.suffix")) == {}
    # The method that is asked about decides, as on AWS.
    answer = ask(server, "PUT", f"/{public}/new", origin="foo.suffix", access_control_request_method="GET")
    assert (answer.status, allowed(answer)["allow-origin"]) == (403, "foo.suffix")


def test_a_signed_request_from_a_page(server, s3, bucket):
    put(s3, bucket, RULE)
    signer = Signer.of(server)
    headers = signer.headers("PUT", f"/{bucket}/k", (), {"origin": SITE}, EMPTY)
    answer = send(server, "PUT", f"/{bucket}/k", headers)
    assert (answer.status, allowed(answer)["allow-origin"]) == (200, SITE)
    # What no rule allows is done all the same; the script is not shown the answer.
    headers = signer.headers("DELETE", f"/{bucket}/k", (), {"origin": SITE}, EMPTY)
    answer = send(server, "DELETE", f"/{bucket}/k", headers)
    assert (answer.status, allowed(answer)) == (204, {})


def test_a_virtual_host_and_plain_http(server, s3, bucket):
    put(s3, bucket, RULE)
    host = f"{bucket}.localhost"
    headers = {"host": host, "origin": SITE, "access-control-request-method": "GET"}
    assert send(server, "OPTIONS", "/k", headers).status == 200
    if server.http_url:
        assert send(server, "OPTIONS", "/k", headers, url=server.http_url).status == 200
