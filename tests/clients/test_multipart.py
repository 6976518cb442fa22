"""Multipart uploads, from their creation to their end."""

import time

import pytest

from support.calls import body_of, completed, headers_of, in_parallel, keys_of, multipart, refused, status_of, upload_parts
from support.data import CHECKSUMS, checksum, composite, content, md5, multipart_etag
from support.identities import allow, document
from support.peers import every_key_service
from support.requests import signed

MIN = 5 * 2**20
PARTS = [content(MIN, 1), content(MIN + 12_345, 2), content(1_000, 3)]
WHOLE = b"".join(PARTS)


def complete(s3, bucket, key, upload, parts):
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


@pytest.fixture
def upload(s3, bucket):
    """An upload of key `k` with nothing in it yet: the parameters that name it."""
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    return {"Bucket": bucket, "Key": "k", "UploadId": upload_id}


@every_key_service
@pytest.mark.parametrize("sse", ["AES256", "aws:kms"])
def test_life(s3, bucket, sse):
    created = s3.create_multipart_upload(
        Bucket=bucket, Key="k", ServerSideEncryption=sse, Metadata={"a": "b"}, ContentType="text/x-test"
    )
    assert (created["Bucket"], created["Key"]) == (bucket, "k")
    upload, done = created["UploadId"], []
    for number, part in enumerate(PARTS, 1):
        answer = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=part)
        assert (answer["ETag"] == f'"{md5(part)}"') == (sse == "AES256")
        assert answer["ServerSideEncryption"] == sse
        done.append(completed(number, answer))
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="k")
    answer = complete(s3, bucket, "k", upload, done)
    assert answer["ETag"] == multipart_etag([part["ETag"] for part in done])
    assert (answer["Bucket"], answer["Key"]) == (bucket, "k")
    assert answer["Location"].endswith(f"{bucket}/k")
    stored = s3.get_object(Bucket=bucket, Key="k")
    assert body_of(stored) == WHOLE
    assert stored["ETag"] == answer["ETag"]
    assert stored["Metadata"] == {"a": "b"}
    assert stored["ContentType"] == "text/x-test"
    assert keys_of(s3, bucket) == ["k"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@every_key_service
@pytest.mark.parametrize("sse", ["AES256", "aws:kms"])
def test_ranges_over_the_borders_of_parts(s3, bucket, sse):
    multipart(s3, bucket, "k", PARTS, ServerSideEncryption=sse)
    borders = (0, MIN, len(WHOLE) - 1000, len(WHOLE))
    for border in borders:
        for first, end in ((border - 5, border + 5), (border - 70_000, border + 70_000), (border, border + 1)):
            first, end = max(first, 0), min(end, len(WHOLE))
            if first >= end:
                continue
            answer = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{end - 1}")
            assert body_of(answer) == WHOLE[first:end], (first, end)
            assert answer["ContentRange"] == f"bytes {first}-{end - 1}/{len(WHOLE)}"


@pytest.mark.parametrize("read", ["get_object", "head_object"])
def test_reading_by_part(s3, bucket, read):
    multipart(s3, bucket, "k", PARTS)
    offset = 0
    for number, part in enumerate(PARTS, 1):
        answer = getattr(s3, read)(Bucket=bucket, Key="k", PartNumber=number)
        assert status_of(answer) == 206
        assert answer["PartsCount"] == 3
        assert answer["ContentLength"] == len(part)
        assert answer["ContentRange"] == f"bytes {offset}-{offset + len(part) - 1}/{len(WHOLE)}"
        if read == "get_object":
            assert body_of(answer) == part
        offset += len(part)
    with refused("InvalidPartNumber" if read == "get_object" else "416", 416):
        getattr(s3, read)(Bucket=bucket, Key="k", PartNumber=4)
    assert "PartsCount" not in getattr(s3, read)(Bucket=bucket, Key="k")


def test_a_part_is_replaced_and_parts_may_be_left_out(s3, upload):
    for body in (b"first", content(MIN, 9), b"last of all" * 1000):
        s3.upload_part(PartNumber=3, Body=b"never used", **upload)
        one = s3.upload_part(PartNumber=7, Body=body, **upload)
    listed = s3.list_parts(**upload)["Parts"]
    assert [(part["PartNumber"], part["Size"]) for part in listed] == [(3, 10), (7, 11_000)]
    answer = complete(s3, upload["Bucket"], "k", upload["UploadId"], [completed(7, one)])
    assert answer["ETag"].endswith('-1"')
    assert body_of(s3.get_object(Bucket=upload["Bucket"], Key="k")) == b"last of all" * 1000


def test_the_replaced_part_is_no_longer_known(s3, upload):
    old = s3.upload_part(PartNumber=1, Body=b"old", **upload)
    s3.upload_part(PartNumber=1, Body=b"new", **upload)
    with refused("InvalidPart", 400):
        complete(s3, upload["Bucket"], "k", upload["UploadId"], [completed(1, old)])


def test_part_lists_that_are_refused(s3, upload):
    bucket, upload_id = upload["Bucket"], upload["UploadId"]
    one = completed(1, s3.upload_part(PartNumber=1, Body=PARTS[0], **upload))
    two = completed(2, s3.upload_part(PartNumber=2, Body=b"end", **upload))
    with refused(
        "InvalidPartOrder", 400,
        "The list of parts was not in ascending order. Parts must be ordered by part number.",
    ) as refusal:  # fmt: skip
        complete(s3, bucket, "k", upload_id, [two, one])
    assert refusal.error["UploadId"] == upload_id
    message = (
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified "
        "entity tag may not match the part's entity tag."
    )
    with refused("InvalidPart", 400, message) as refusal:
        complete(s3, bucket, "k", upload_id, [one, two | {"PartNumber": 3}])
    assert refusal.error["PartNumber"] == "3"
    with refused("InvalidPart", 400):
        complete(s3, bucket, "k", upload_id, [one | {"ETag": '"0123456789abcdef0123456789abcdef"'}])
    with refused("MalformedXML", 400):
        complete(s3, bucket, "k", upload_id, [])
    complete(s3, bucket, "k", upload_id, [one, two])
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == PARTS[0] + b"end"


def test_parts_that_are_too_small(s3, upload):
    small = completed(1, s3.upload_part(PartNumber=1, Body=b"x" * (MIN - 1), **upload))
    last = completed(2, s3.upload_part(PartNumber=2, Body=b"end", **upload))
    message = "Your proposed upload is smaller than the minimum allowed size"
    with refused("EntityTooSmall", 400, message) as refusal:
        complete(s3, upload["Bucket"], "k", upload["UploadId"], [small, last])
    assert refusal.error["ProposedSize"] == str(MIN - 1)
    assert refusal.error["MinSizeAllowed"] == str(MIN)
    assert refusal.error["PartNumber"] == "1"


def test_no_such_upload(s3, bucket, upload):
    message = (
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed."
    )
    s3.abort_multipart_upload(**upload)
    for wrong in (upload, upload | {"UploadId": "nonsense"}):
        for call in (
            lambda wrong=wrong: s3.upload_part(PartNumber=1, Body=b"x", **wrong),
            lambda wrong=wrong: s3.list_parts(**wrong),
            lambda wrong=wrong: s3.abort_multipart_upload(**wrong),
            lambda wrong=wrong: complete(s3, bucket, "k", wrong["UploadId"], [{"PartNumber": 1, "ETag": '"x"'}]),
        ):
            with refused("NoSuchUpload", 404, message) as refusal:
                call()
            assert refusal.error["UploadId"] == wrong["UploadId"]


def test_an_upload_belongs_to_its_key(s3, upload):
    with refused("NoSuchUpload", 404):
        s3.upload_part(PartNumber=1, Body=b"x", **(upload | {"Key": "other"}))


def test_abort_leaves_nothing(s3, upload):
    s3.upload_part(PartNumber=1, Body=b"x", **upload)
    assert status_of(s3.abort_multipart_upload(**upload)) == 204
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=upload["Bucket"])
    assert keys_of(s3, upload["Bucket"]) == []


@pytest.mark.parametrize("number", [0, 10_001, -1])
def test_part_numbers_out_of_bounds(s3, upload, number):
    message = "Part number must be an integer between 1 and 10000, inclusive"
    with refused("InvalidArgument", 400, message) as refusal:
        s3.upload_part(PartNumber=number, Body=b"x", **upload)
    assert refusal.error["ArgumentName"] == "partNumber"


def test_completing_twice_is_one_object(s3, bucket):
    upload, done = upload_parts(s3, bucket, "k", PARTS[:1])
    first = complete(s3, bucket, "k", upload, done)
    again = complete(s3, bucket, "k", upload, done)
    assert again["ETag"] == first["ETag"]
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == PARTS[0]


def test_a_completion_that_is_sent_many_times_at_once(s3, bucket):
    """A client that waited in vain asks again, and the first time may be under way yet."""
    for n in range(3):
        upload, done = upload_parts(s3, bucket, f"k{n}", [b"only"])
        answers = in_parallel(lambda _: complete(s3, bucket, f"k{n}", upload, done), range(16))
        assert {answer["ETag"] for answer in answers} == {multipart_etag([done[0]["ETag"]])}
    upload, done = upload_parts(s3, bucket, "first", [b"only"])
    name = {"Bucket": bucket, "Key": "first", "UploadId": upload, "MultipartUpload": {"Parts": done}}
    answers = in_parallel(lambda _: s3.complete_multipart_upload(**name, IfNoneMatch="*"), range(16))
    assert len({answer["ETag"] for answer in answers}) == 1


def test_an_object_is_as_old_as_its_upload(s3, bucket):
    upload, done = upload_parts(s3, bucket, "k", [b"only"])
    begun = s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["Initiated"]
    time.sleep(1.1)
    complete(s3, bucket, "k", upload, done)
    assert s3.head_object(Bucket=bucket, Key="k")["LastModified"] == begun
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["LastModified"] == begun


def test_completing_replaces_an_object(s3, bucket):
    upload, done = upload_parts(s3, bucket, "k", PARTS[:1])
    s3.put_object(Bucket=bucket, Key="k", Body=b"meanwhile")
    complete(s3, bucket, "k", upload, done)
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == MIN


def test_completing_on_a_condition(s3, bucket):
    upload, done = upload_parts(s3, bucket, "k", [b"only"])
    s3.put_object(Bucket=bucket, Key="k", Body=b"meanwhile")
    with refused("PreconditionFailed", 412):
        s3.complete_multipart_upload(
            Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": done}, IfNoneMatch="*"
        )
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"meanwhile"


def test_list_parts_in_pages(s3, upload):
    made = [s3.upload_part(PartNumber=n, Body=b"x" * n, **upload) for n in (1, 2, 5, 9, 10_000)]
    whole = s3.list_parts(**upload)
    assert [part["PartNumber"] for part in whole["Parts"]] == [1, 2, 5, 9, 10_000]
    assert [part["ETag"] for part in whole["Parts"]] == [part["ETag"] for part in made]
    none = s3.list_parts(MaxParts=0, **upload)
    assert not none["IsTruncated"] and "Parts" not in none
    assert whole["StorageClass"] == "STANDARD"
    assert whole["Initiator"]["ID"]
    assert whole["Owner"]["ID"]
    found, marker = [], 0
    while True:
        page = s3.list_parts(MaxParts=2, PartNumberMarker=marker, **upload)
        assert page["MaxParts"] == 2
        assert page["PartNumberMarker"] == marker
        found += [part["PartNumber"] for part in page["Parts"]]
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
        assert marker == found[-1]
    assert found == [1, 2, 5, 9, 10_000]


def test_list_uploads(s3, bucket):
    keys = ["a/1", "a/2", "b", "b", "c/1", "d"]
    ids = [s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in keys]
    whole = s3.list_multipart_uploads(Bucket=bucket)
    assert [upload["Key"] for upload in whole["Uploads"]] == keys
    # The last is told of though nothing is behind it.
    assert (whole["IsTruncated"], whole["NextKeyMarker"], whole["NextUploadIdMarker"]) == (False, "d", ids[-1])
    none = s3.list_multipart_uploads(Bucket=bucket, Prefix="none")
    assert (none["IsTruncated"], none["NextKeyMarker"], none["NextUploadIdMarker"]) == (False, "", "")
    assert {upload["UploadId"] for upload in whole["Uploads"]} == set(ids)
    for upload in whole["Uploads"]:
        assert upload["StorageClass"] == "STANDARD"
        assert upload["Initiated"]
        assert upload["Owner"]["ID"] == s3.list_buckets()["Owner"]["ID"]
    assert [u["Key"] for u in s3.list_multipart_uploads(Bucket=bucket, Prefix="a/")["Uploads"]] == ["a/1", "a/2"]
    folded = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [entry["Prefix"] for entry in folded["CommonPrefixes"]] == ["a/", "c/"]
    assert [upload["Key"] for upload in folded["Uploads"]] == ["b", "b", "d"]
    found, more = [], {}
    while True:
        page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=1, **more)
        found += [(upload["Key"], upload["UploadId"]) for upload in page["Uploads"]]
        if not page["IsTruncated"]:
            break
        more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert [key for key, _ in found] == keys
    assert {upload_id for _, upload_id in found} == set(ids)
    # A marker's id is of its key; of an upload that has ended nobody knows.
    with refused("InvalidArgument", 400, "Invalid uploadId marker") as refusal:
        s3.list_multipart_uploads(Bucket=bucket, KeyMarker="b", UploadIdMarker=ids[-1])
    assert (refusal.error["ArgumentName"], refusal.error["ArgumentValue"]) == ("upload-id-marker", ids[-1])
    s3.abort_multipart_upload(Bucket=bucket, Key="d", UploadId=ids[-1])
    page = s3.list_multipart_uploads(Bucket=bucket, KeyMarker="c/1", UploadIdMarker=ids[-1])
    assert (page.get("Uploads", []), page["IsTruncated"]) == ([], False)
    s3.create_multipart_upload(Bucket=bucket, Key="d")
    assert ("Prefix" in whole, none["Prefix"]) == (False, "none")
    after = s3.list_multipart_uploads(Bucket=bucket, KeyMarker="b")
    assert [upload["Key"] for upload in after["Uploads"]] == ["c/1", "d"]
    # Without a key's marker, an upload's is not even shown.
    after = s3.list_multipart_uploads(Bucket=bucket, UploadIdMarker=ids[1])
    assert (after["UploadIdMarker"], len(after["Uploads"])) == ("", 6)


@every_key_service
@pytest.mark.parametrize("sse", ["AES256", "aws:kms"])
def test_copying_parts(s3, bucket, sse):
    source = content(MIN + 50_000, "source")
    s3.put_object(Bucket=bucket, Key="source", Body=source, ServerSideEncryption=sse)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ServerSideEncryption=sse)["UploadId"]
    name = {"Bucket": bucket, "Key": "k", "UploadId": upload, "CopySource": f"{bucket}/source"}
    one = s3.upload_part_copy(PartNumber=1, **name)
    two = s3.upload_part_copy(PartNumber=2, CopySourceRange="bytes=65530-70000", **name)
    assert one["ServerSideEncryption"] == sse
    done = [completed(1, one["CopyPartResult"]), completed(2, two["CopyPartResult"])]
    complete(s3, bucket, "k", upload, done)
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == source + source[65_530:70_001]


def test_copying_ranges_that_are_refused(s3, bucket, upload):
    s3.put_object(Bucket=bucket, Key="source", Body=b"x" * 100)
    name = upload | {"CopySource": f"{bucket}/source", "PartNumber": 1}
    for text in ("bytes=0-", "bytes=-5", "0-5", "bytes=9-3"):
        with refused("InvalidArgument", 400):
            s3.upload_part_copy(CopySourceRange=text, **name)
    with refused("InvalidArgument", 400, "Range specified is not valid for source object of size: 100"):
        s3.upload_part_copy(CopySourceRange="bytes=0-100", **name)
    with refused("InvalidRequest", 400, "The specified copy range is invalid for the source object size"):
        s3.upload_part_copy(CopySourceRange="bytes=100-200", **name)
    with refused("NoSuchKey", 404):
        s3.upload_part_copy(**(name | {"CopySource": f"{bucket}/none"}))
    with refused("PreconditionFailed", 412):
        s3.upload_part_copy(CopySourceIfMatch='"0123456789abcdef0123456789abcdef"', **name)


def test_copied_parts_show_the_checksum_that_was_asked_for(plain_s3, bucket):
    plain_s3.put_object(Bucket=bucket, Key="source", Body=b"x")
    for asked, shown in (({}, set()), ({"ChecksumAlgorithm": "CRC32"}, {"ChecksumCRC32"})):
        begun = plain_s3.create_multipart_upload(Bucket=bucket, Key="k", **asked)
        name = {"Bucket": bucket, "Key": "k", "UploadId": begun["UploadId"], "PartNumber": 1}
        result = plain_s3.upload_part_copy(CopySource=f"{bucket}/source", **name)["CopyPartResult"]
        assert set(result) == {"ETag", "LastModified"} | shown


def test_copied_parts_take_no_metadata(server, s3, bucket, upload):
    s3.put_object(Bucket=bucket, Key="source", Body=b"x")
    query = [("partNumber", "1"), ("uploadId", upload["UploadId"])]
    headers = {"x-amz-copy-source": f"{bucket}/source"}
    for directive in ("COPY", "REPLACE"):
        answer = signed(
            server, "PUT", f"/{bucket}/k", query, headers=headers | {"x-amz-metadata-directive": directive}
        )
        assert (answer.status, answer.code) == (400, "InvalidArgument")
        assert answer.error["Message"] == "The specified header is not valid in this context"
        assert answer.error["ArgumentName"] == "x-amz-metadata-directive"
        assert answer.error["ArgumentValue"] == directive
    assert signed(server, "PUT", f"/{bucket}/k", query, headers=headers).status == 200


def test_a_completion_of_no_upload_without_parts(s3, bucket):
    with refused("NoSuchUpload", 404) as refusal:
        s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId="fakeid")
    assert refusal.error["UploadId"] == "fakeid"


def test_a_full_objects_checksum_is_said_with_its_type(plain_s3, bucket):
    for algorithm, is_taken in (("CRC32C", False), ("CRC32", False), ("CRC64NVME", True)):
        name = {"Bucket": bucket, "Key": algorithm}
        begun = plain_s3.create_multipart_upload(ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT", **name)
        name |= {"UploadId": begun["UploadId"]}
        given = {f"Checksum{algorithm}": checksum(algorithm, b"x")}
        parts = {"Parts": [completed(1, plain_s3.upload_part(PartNumber=1, Body=b"x", **name, **given)) | given]}
        if not is_taken:
            message = f"The {algorithm.lower()} you specified did not match the calculated checksum."
            with refused("BadDigest", 400, message):
                plain_s3.complete_multipart_upload(MultipartUpload=parts, **name, **given)
        kind = {} if is_taken else {"ChecksumType": "FULL_OBJECT"}
        plain_s3.complete_multipart_upload(MultipartUpload=parts, **name, **given, **kind)


def test_completions_that_name_no_parts(s3, upload):
    with refused("InvalidRequest", 400, "You must specify at least one part"):
        s3.complete_multipart_upload(**upload)
    etag = s3.upload_part(PartNumber=1, Body=b"x", **upload)["ETag"]
    for number in (0, -1):
        with refused("InvalidArgument", 400, "PartNumber must be >= 1"):
            complete(s3, upload["Bucket"], "k", upload["UploadId"], [{"PartNumber": number, "ETag": etag}])


def test_the_size_that_a_completion_names(server, s3, bucket, upload):
    etag = s3.upload_part(PartNumber=1, Body=b"four", **upload)["ETag"]
    part = f"<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()

    def answer(size):
        query = [("uploadId", upload["UploadId"])]
        return signed(server, "POST", f"/{bucket}/k", query, headers={"x-amz-mp-object-size": size}, body=body)

    for size, message in {
        "size": "Value for x-amz-mp-object-size header is invalid: 'size'",
        "-4": "Value for x-amz-mp-object-size header is less than zero: '-4'",
        "5": "The provided 'x-amz-mp-object-size' header value 5 does not match what was computed: 4",
    }.items():
        refusal = answer(size)
        assert (refusal.status, refusal.code, refusal.error["Message"]) == (400, "InvalidRequest", message)
    assert answer("4").status == 200


@pytest.mark.parametrize("algorithm", list(CHECKSUMS))
def test_checksums(plain_s3, bucket, algorithm):
    full = algorithm == "CRC64NVME"
    kind = "FULL_OBJECT" if full else "COMPOSITE"
    created = plain_s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm)
    assert (created["ChecksumAlgorithm"], created["ChecksumType"]) == (algorithm, kind)
    name, done = f"Checksum{algorithm}", []
    for number, part in enumerate(PARTS, 1):
        answer = plain_s3.upload_part(
            Bucket=bucket, Key="k", UploadId=created["UploadId"], PartNumber=number, Body=part,
            **{name: checksum(algorithm, part)},
        )  # fmt: skip
        assert answer[name] == checksum(algorithm, part)
        done.append(completed(number, answer, algorithm))
    listed = plain_s3.list_parts(Bucket=bucket, Key="k", UploadId=created["UploadId"])
    assert [part[name] for part in listed["Parts"]] == [checksum(algorithm, part) for part in PARTS]
    answer = complete(plain_s3, bucket, "k", created["UploadId"], done)
    expected = checksum(algorithm, WHOLE) if full else composite(algorithm, PARTS)
    assert (answer[name], answer["ChecksumType"]) == (expected, kind)
    head = plain_s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[name], head["ChecksumType"]) == (expected, kind)
    attributes = plain_s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum", "ObjectParts"])
    assert attributes["ObjectParts"]["TotalPartsCount"] == 3
    if full:
        # Of parts whose checksums are none of the object's, only how many they are is told.
        assert attributes["ObjectParts"] == {"TotalPartsCount": 3}
        return
    assert attributes["Checksum"][name] == expected.split("-")[0]
    assert [part["Size"] for part in attributes["ObjectParts"]["Parts"]] == [len(part) for part in PARTS]
    none = plain_s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], MaxParts=0)
    assert not none["ObjectParts"]["IsTruncated"] and "Parts" not in none["ObjectParts"]


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_full_object_checksums(plain_s3, bucket, algorithm):
    name = f"Checksum{algorithm}"
    created = plain_s3.create_multipart_upload(
        Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT"
    )
    done = []
    for number, part in enumerate(PARTS, 1):
        answer = plain_s3.upload_part(
            Bucket=bucket, Key="k", UploadId=created["UploadId"], PartNumber=number, Body=part,
            **{name: checksum(algorithm, part)},
        )  # fmt: skip
        done.append(completed(number, answer, algorithm))
    end = {"Bucket": bucket, "Key": "k", "UploadId": created["UploadId"], "MultipartUpload": {"Parts": done}}
    with refused("BadDigest", 400):
        plain_s3.complete_multipart_upload(**end, ChecksumType="FULL_OBJECT", **{name: checksum(algorithm, b"other")})
    answer = plain_s3.complete_multipart_upload(**end, ChecksumType="FULL_OBJECT", **{name: checksum(algorithm, WHOLE)})
    assert answer[name] == checksum(algorithm, WHOLE)
    assert answer["ChecksumType"] == "FULL_OBJECT"


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"])
def test_hashes_have_no_full_object_form(plain_s3, bucket, algorithm):
    with refused("InvalidRequest", 400):
        plain_s3.create_multipart_upload(
            Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT"
        )


def test_a_composite_upload_wants_each_part_s_checksum(plain_s3, bucket):
    upload = plain_s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")["UploadId"]
    answer = plain_s3.upload_part(
        Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x", ChecksumSHA256=checksum("SHA256", b"x")
    )
    message = (
        "The upload was created using a sha256 checksum. The complete request must include the checksum for each part. "
        "It was missing for part 1 in the request."
    )
    with refused("InvalidRequest", 400, message):
        complete(plain_s3, bucket, "k", upload, [{"PartNumber": 1, "ETag": answer["ETag"]}])
    wrong = completed(1, answer) | {"ChecksumSHA256": checksum("SHA256", b"y")}
    with refused("InvalidPart", 400):
        complete(plain_s3, bucket, "k", upload, [wrong])
    foreign = {"PartNumber": 1, "ETag": answer["ETag"], "ChecksumCRC32": checksum("CRC32", b"x")}
    with refused("BadDigest", 400, "The crc32 you specified for part 1 did not match what we received."):
        complete(plain_s3, bucket, "k", upload, [foreign])
    complete(plain_s3, bucket, "k", upload, [completed(1, answer, "SHA256")])


def test_the_default_checksum_of_an_upload(plain_s3, bucket):
    multipart(plain_s3, bucket, "k", PARTS)
    head = plain_s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] == checksum("CRC64NVME", WHOLE)
    assert head["ChecksumType"] == "FULL_OBJECT"


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256", "CRC64NVME"])
def test_the_default_checksum_beside_those_of_the_parts(plain_s3, bucket, algorithm):
    """Parts may bring a checksum that their upload did not ask for: the object gets the default one all the same, and no part
    has one to be named by. (Recorded on AWS, `test_complete_multipart_parts_checksum_default`.)"""
    upload, name = plain_s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"], f"Checksum{algorithm}"
    done, given = [], [{name: checksum(algorithm, part)} for part in PARTS]
    for number, (part, sum) in enumerate(zip(PARTS, given), 1):
        answer = plain_s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=part, **sum)
        assert {key for key in answer if key.startswith("Checksum")} == {name}
        done.append(completed(number, answer))
    for sum in (given[0], {"ChecksumSHA1": checksum("SHA1", PARTS[0])}):
        with refused("InvalidPart", 400) as refusal:
            complete(plain_s3, bucket, "k", upload, [done[0] | sum, *done[1:]])
        assert refusal.error["PartNumber"] == "1"
    end = {"Bucket": bucket, "Key": "k", "UploadId": upload, "MultipartUpload": {"Parts": done}}
    with refused("BadDigest", 400):
        plain_s3.complete_multipart_upload(ChecksumCRC64NVME=checksum("CRC64NVME", b"other"), **end)
    # One of the whole that is of another algorithm is not looked at.
    answer = plain_s3.complete_multipart_upload(ChecksumCRC32C=checksum("CRC32C", b"other") + "-2", **end)
    assert answer["ChecksumCRC64NVME"] == checksum("CRC64NVME", WHOLE)


@pytest.mark.parametrize(("algorithm", "kind"), [("SHA256", "COMPOSITE"), ("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT")])
def test_a_parts_own_checksum(plain_s3, bucket, algorithm, kind):
    name = f"Checksum{algorithm}"
    upload = plain_s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    given = [{name: checksum(algorithm, part)} for part in PARTS]
    done = [
        completed(number, plain_s3.upload_part(Bucket=bucket, Key="k", UploadId=upload["UploadId"], PartNumber=number, Body=part, **sum))
        | sum
        for number, (part, sum) in enumerate(zip(PARTS, given), 1)
    ]  # fmt: skip
    complete(plain_s3, bucket, "k", upload["UploadId"], done)
    for number, expected in enumerate(given, 1):
        for read in (plain_s3.get_object, plain_s3.head_object):
            answer = read(Bucket=bucket, Key="k", PartNumber=number, ChecksumMode="ENABLED")
            shown = (answer.get(name), answer.get("ChecksumType"))
            assert shown == ((expected[name], kind) if kind == "COMPOSITE" else (None, None))
            assert name not in headers_of(read(Bucket=bucket, Key="k", PartNumber=number))


def test_parts_of_an_upload_that_named_no_algorithm_show_no_checksum(plain_s3, bucket):
    multipart(plain_s3, bucket, "k", PARTS)
    whole = plain_s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert whole["ChecksumCRC64NVME"] == checksum("CRC64NVME", WHOLE)
    for read in (plain_s3.get_object, plain_s3.head_object):
        answer = read(Bucket=bucket, Key="k", PartNumber=2, ChecksumMode="ENABLED")
        assert not [name for name in answer if name.startswith("Checksum")]


def test_the_kind_of_checksum_may_not_change(plain_s3, bucket):
    for begun, asked in (("FULL_OBJECT", "COMPOSITE"), ("COMPOSITE", "FULL_OBJECT")):
        upload = plain_s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32", ChecksumType=begun)
        name, given = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"]}, {"ChecksumCRC32": checksum("CRC32", b"x")}
        done = [completed(1, plain_s3.upload_part(PartNumber=1, Body=b"x", **name, **given)) | given]
        message = (
            f"The upload was created using the {begun} checksum mode. The complete request must use the same checksum mode."
        )
        bare = [{key: part[key] for key in ("PartNumber", "ETag")} for part in done]
        for parts in (done, bare):
            with refused("InvalidRequest", 400, message):
                plain_s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, ChecksumType=asked, **name)
        plain_s3.complete_multipart_upload(MultipartUpload={"Parts": done}, ChecksumType=begun, **name)


def test_an_empty_part(s3, bucket):
    multipart(s3, bucket, "k", [PARTS[0], b""])
    empty = s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert (status_of(empty), body_of(empty), empty["PartsCount"]) == (200, b"", 2)
    assert "content-range" not in headers_of(empty)


def test_uploads_of_one_key_are_listed_as_they_were_begun(s3, bucket):
    begun = []
    for _ in range(5):
        begun.append(s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"])
        time.sleep(0.002)
    assert [upload["UploadId"] for upload in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == begun


def test_a_users_upload_names_the_user(server, s3, bucket):
    iam = server.client("iam")
    arn = iam.create_user(UserName="uploader", Path="/team/")["User"]["Arn"]
    key = iam.create_access_key(UserName="uploader")["AccessKey"]
    iam.put_user_policy(UserName="uploader", PolicyName="p", PolicyDocument=document(allow("s3:*", "*")))
    user = server.client("s3", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    upload = user.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    initiator = {"ID": arn, "DisplayName": "uploader"}
    assert s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["Initiator"] == initiator
    assert s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Initiator"] == initiator


def test_the_location_has_the_key_as_one_segment(server, s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a/b c+é")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="a/b c+é", UploadId=upload, PartNumber=1, Body=b"x")
    answer = complete(s3, bucket, "a/b c+é", upload, [completed(1, part)])
    assert answer["Location"] == f"{server.url}/{bucket}/a%2Fb+c%2B%C3%A9"


def test_a_wrong_part_stores_nothing(plain_s3, bucket, upload):
    good = plain_s3.upload_part(PartNumber=1, Body=b"good", **upload)
    with refused("BadDigest", 400):
        plain_s3.upload_part(PartNumber=1, Body=b"bad", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==", **upload)
    listed = plain_s3.list_parts(**upload)["Parts"]
    assert [(part["ETag"], part["Size"]) for part in listed] == [(good["ETag"], 4)]


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"<CompleteMultipartUpload/>", b"<CompleteMultipartUpload><Part/></CompleteMultipartUpload>"],
)
def test_malformed_complete(server, upload, body):
    query = [("uploadId", upload["UploadId"])]
    answer = signed(server, "POST", f"/{upload['Bucket']}/k", query, body=body)
    assert answer.status == 400
    assert answer.code in ("MalformedXML", "InvalidRequest")


def test_the_parts_count_stands_in_no_plain_get(s3, bucket):
    multipart(s3, bucket, "k", [b"only"])
    assert "x-amz-mp-parts-count" not in headers_of(s3.get_object(Bucket=bucket, Key="k"))
    one = s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert one["PartsCount"] == 1
    assert body_of(one) == b"only"
