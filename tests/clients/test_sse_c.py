"""SSE-C: keys that the client brings along. Each row of AWS's error table, and where a key is asked for."""

import base64
import hashlib

import pytest

from support.calls import body_of, completed, headers_of, keys_of, refused
from support.data import checksum, content, md5
from support.requests import signed

SSE = "x-amz-server-side-encryption"
ALGORITHM = f"{SSE}-customer-algorithm"
KEY = f"{SSE}-customer-key"
KEY_MD5 = f"{SSE}-customer-key-md5"
SECRET, OTHER = b"0123456789abcdef0123456789abcdef", b"another key of thirty-two bytes!"
DATA = content(150_000, "sse-c")
PART = content(5 * 2**20, "sse-c part")
MINE = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": SECRET}
THEIRS = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": OTHER}
SOURCE = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": SECRET}
NEEDED = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve "
    "the object."
)
WRONG = "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key."
INVALID = "The secret key was invalid for the specified algorithm."
MISMATCH = "The calculated MD5 hash of the key did not match the hash that was provided."
AS_BEGUN = (
    "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate "
    "encryption parameters."
)


def key_headers(secret=SECRET):
    return {
        ALGORITHM: "AES256",
        KEY: base64.b64encode(secret).decode(),
        KEY_MD5: base64.b64encode(hashlib.md5(secret).digest()).decode(),
    }


def encryption(response):
    return {name: value for name, value in headers_of(response).items() if name.startswith(SSE)}


SHORT = key_headers(b"short")
ECHO = {name: value for name, value in key_headers().items() if name != KEY}


@pytest.fixture
def open_bucket(s3, bucket):
    """A bucket that takes customers' keys."""
    rule = {"BlockedEncryptionTypes": {"EncryptionType": ["NONE"]}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    return bucket


@pytest.fixture
def stored(s3, open_bucket):
    s3.put_object(Bucket=open_bucket, Key="k", Body=DATA, **MINE)
    return open_bucket


def test_the_header_matrix(s3, open_bucket):
    name = {"Bucket": open_bucket, "Key": "k"}
    put = s3.put_object(Body=DATA, **name, **MINE)
    assert encryption(put) == ECHO
    assert put["ETag"] != f'"{md5(DATA)}"'
    assert put["ETag"] != s3.put_object(Body=DATA, **name, **MINE)["ETag"]
    read = s3.get_object(**name, **MINE)
    assert encryption(read) == ECHO
    assert body_of(read) == DATA
    assert body_of(s3.get_object(Range="bytes=65530-65545", **name, **MINE)) == DATA[65530:65546]
    head = s3.head_object(ChecksumMode="ENABLED", **name, **MINE)
    assert encryption(head) == ECHO
    assert head["ChecksumCRC32"] == checksum("CRC32", DATA)
    # Here botocore leaves encoding the key to its caller.
    encoded = {"SSECustomerKey": key_headers()[KEY], "SSECustomerKeyMD5": key_headers()[KEY_MD5]}
    attributes = s3.get_object_attributes(ObjectAttributes=["ObjectSize", "Checksum"], **name, **(MINE | encoded))
    assert (encryption(attributes), attributes["ObjectSize"]) == ({}, len(DATA))
    assert encryption(s3.list_objects_v2(Bucket=open_bucket)) == {}
    copied = s3.copy_object(Bucket=open_bucket, Key="c", CopySource=f"{open_bucket}/k", **SOURCE, **THEIRS)
    assert encryption(copied)[KEY_MD5] == key_headers(OTHER)[KEY_MD5]
    assert body_of(s3.get_object(Bucket=open_bucket, Key="c", **THEIRS)) == DATA


def test_a_multipart_upload(s3, open_bucket):
    created = s3.create_multipart_upload(Bucket=open_bucket, Key="m", ChecksumAlgorithm="CRC32", **MINE)
    assert encryption(created) == ECHO
    name = {"Bucket": open_bucket, "Key": "m", "UploadId": created["UploadId"]}
    first = s3.upload_part(PartNumber=1, Body=PART, ChecksumAlgorithm="CRC32", **name, **MINE)
    assert encryption(first) == ECHO
    s3.put_object(Bucket=open_bucket, Key="source", Body=DATA)
    second = s3.upload_part_copy(PartNumber=2, CopySource=f"{open_bucket}/source", **name, **MINE)
    assert encryption(second) == ECHO
    for options in ({}, THEIRS):
        message = "The provided encryption parameters did not match the ones used originally." if options else AS_BEGUN
        with refused("InvalidRequest", 400, message):
            s3.upload_part(PartNumber=3, Body=b"x", **name, **options)
    encoded = {"SSECustomerKey": key_headers()[KEY], "SSECustomerKeyMD5": key_headers()[KEY_MD5]}
    listed = s3.list_parts(**name, **(MINE | encoded))
    assert (len(listed["Parts"]), encryption(listed)) == (2, {})
    parts = [completed(1, first, "CRC32"), completed(2, second["CopyPartResult"], "CRC32")]
    # Checksums are sealed under the key: to hold the parts' against them takes it. (API reference, CompleteMultipartUpload.)
    with refused("InvalidRequest", 400, AS_BEGUN):
        s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **name)
    wrong = [parts[0] | {"ChecksumCRC32": checksum("CRC32", b"other")}, parts[1]]
    with refused("InvalidPart", 400):
        s3.complete_multipart_upload(MultipartUpload={"Parts": wrong}, **name, **MINE)
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **name, **MINE)
    assert body_of(s3.get_object(Bucket=open_bucket, Key="m", **MINE)) == PART + DATA
    assert body_of(s3.get_object(Bucket=open_bucket, Key="m", PartNumber=2, **MINE)) == DATA


def test_a_part_with_a_key_that_the_upload_was_not_begun_with(s3, open_bucket):
    upload = s3.create_multipart_upload(Bucket=open_bucket, Key="m")["UploadId"]
    with refused("InvalidRequest", 400, AS_BEGUN):
        s3.upload_part(Bucket=open_bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"x", **MINE)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            {SSE: "AES256"},
            "InvalidArgument",
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
        ),
        (
            {ALGORITHM: "AES128"},
            "InvalidEncryptionAlgorithmError",
            "The Encryption request you specified is not valid. Supported value: AES256.",
        ),
        (
            {ALGORITHM: None},
            "InvalidArgument",
            "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption "
            "algorithm.",
        ),
        (
            {KEY: None},
            "InvalidArgument",
            "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret "
            "key.",
        ),
        ({KEY_MD5: None}, "InvalidArgument", INVALID),
        (SHORT, "InvalidArgument", INVALID),
        ({KEY_MD5: key_headers(OTHER)[KEY_MD5]}, "InvalidArgument", MISMATCH),
        ({KEY: SHORT[KEY]}, "InvalidArgument", MISMATCH),
    ],
    ids=["with SSE", "another algorithm", "no algorithm", "no key", "no MD5", "a short key", "another MD5", "both"],
)
@pytest.mark.parametrize("query", [[], [("uploads", "")]], ids=["PutObject", "CreateMultipartUpload"])
def test_bad_keys(server, s3, open_bucket, query, change, code, message):
    headers = {name: value for name, value in (key_headers() | change).items() if value is not None}
    method, body = ("POST", b"") if query else ("PUT", DATA)
    answer = signed(server, method, f"/{open_bucket}/k", query, headers, body)
    assert (answer.status, answer.code, answer.error["Message"]) == (400, code, message)
    assert answer.error["ArgumentName"] == SSE
    if SSE in change:
        assert answer.error["ArgumentValue"] == "AES256"
    assert keys_of(s3, open_bucket) == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reading_takes_the_key(server, s3, stored, method):
    without_md5 = {name: value for name, value in key_headers().items() if name != KEY_MD5}
    for headers, status, code, message in (
        ({}, 400, "InvalidRequest", NEEDED),
        (key_headers(OTHER), 403, "AccessDenied", WRONG),
        (without_md5, 403, "AccessDenied", WRONG),
        (SHORT, 403, "AccessDenied", WRONG),
        (key_headers() | {KEY_MD5: SHORT[KEY_MD5]}, 400, "InvalidArgument", MISMATCH),
    ):
        answer = signed(server, method, f"/{stored}/k", headers=headers)
        assert answer.status == status
        if method == "GET":
            assert (answer.code, answer.error["Message"]) == (code, message)
        else:
            assert answer.body == b""


def test_every_reader_takes_the_key(s3, stored):
    name = {"Bucket": stored, "Key": "k"}
    with refused("InvalidRequest", 400, NEEDED):
        s3.get_object_attributes(ObjectAttributes=["ETag"], **name)
    with refused("InvalidRequest", 400, NEEDED):
        s3.copy_object(Bucket=stored, Key="c", CopySource=f"{stored}/k")
    for key in (OTHER, b"short"):
        with refused("AccessDenied", 403, WRONG):
            s3.copy_object(
                Bucket=stored, Key="c", CopySource=f"{stored}/k", **(SOURCE | {"CopySourceSSECustomerKey": key})
            )
    upload = s3.create_multipart_upload(Bucket=stored, Key="m")["UploadId"]
    with refused("InvalidRequest", 400, NEEDED):
        s3.upload_part_copy(Bucket=stored, Key="m", UploadId=upload, PartNumber=1, CopySource=f"{stored}/k")
    copied = s3.upload_part_copy(
        Bucket=stored, Key="m", UploadId=upload, PartNumber=1, CopySource=f"{stored}/k", **SOURCE
    )
    assert copied["CopyPartResult"]["ETag"] == f'"{md5(DATA)}"'


def test_a_key_for_an_object_that_has_none(s3, open_bucket):
    s3.put_object(Bucket=open_bucket, Key="k", Body=DATA)
    with refused("InvalidRequest", 400, "The encryption parameters are not applicable to this object."):
        s3.get_object(Bucket=open_bucket, Key="k", **MINE)


def test_copies_between_kinds(s3, stored, shared_key):
    """The target's encryption is the request's, whatever the source's."""
    s3.copy_object(
        Bucket=stored,
        Key="kms",
        CopySource=f"{stored}/k",
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId=shared_key["Arn"],
        **SOURCE,
    )
    assert body_of(s3.get_object(Bucket=stored, Key="kms")) == DATA
    s3.copy_object(Bucket=stored, Key="plain", CopySource=f"{stored}/k", **SOURCE)
    plain = s3.get_object(Bucket=stored, Key="plain")
    assert (body_of(plain), plain["ETag"]) == (DATA, f'"{md5(DATA)}"')
    s3.copy_object(Bucket=stored, Key="k", CopySource=f"{stored}/k", **SOURCE, **THEIRS)
    assert body_of(s3.get_object(Bucket=stored, Key="k", **THEIRS)) == DATA


def test_customers_keys_over_plain_http_are_refused(server, s3, stored):
    message = (
        "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection."
    )
    for method, body in (("PUT", DATA), ("GET", b"")):
        answer = signed(server, method, f"/{stored}/k", headers=key_headers(), body=body, url=server.http_url)
        assert (answer.status, answer.code, answer.error["Message"]) == (400, "InvalidArgument", message)


def test_the_key_is_nowhere_on_disk_nor_in_the_log(new_server):
    server = new_server()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="keys")
    rule = {"BlockedEncryptionTypes": {"EncryptionType": ["NONE"]}}
    s3.put_bucket_encryption(Bucket="keys", ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_object(Bucket="keys", Key="k", Body=DATA, **MINE)
    assert body_of(s3.get_object(Bucket="keys", Key="k", **MINE)) == DATA
    with refused("AccessDenied", 403):
        s3.get_object(Bucket="keys", Key="k", **THEIRS)
    assert server.stop() == 0
    forms = [form for key in (SECRET, OTHER) for form in (key, base64.b64encode(key), key.hex().encode())]
    for path in [*server.files(), server.log]:
        stored_bytes = path.read_bytes()
        assert not any(form in stored_bytes for form in forms), path
        assert DATA[1000:1064] not in stored_bytes, path


def test_what_was_stored_stays_readable_when_the_bucket_is_blocked_again(s3, stored):
    rule = {"BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]}}
    s3.put_bucket_encryption(Bucket=stored, ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert body_of(s3.get_object(Bucket=stored, Key="k", **MINE)) == DATA
    with refused("AccessDenied", 403):
        s3.put_object(Bucket=stored, Key="k", Body=DATA, **MINE)


def test_an_update_of_the_encryption_is_refused(s3, stored, shared_key):
    with refused("InvalidRequest", 400) as refusal:
        s3.update_object_encryption(
            Bucket=stored, Key="k", ObjectEncryption={"SSEKMS": {"KMSKeyArn": shared_key["Arn"]}}
        )
    assert "doesn't support source objects with the encryption type DSSE-KMS or SSE-C" in refusal.message
