"""Tags of objects and buckets."""

import pytest
import requests
from botocore.config import Config

from support.calls import body_of, headers_of, multipart, refused, status_of
from support.data import checksum
from support.requests import signed

URL_MESSAGE = (
    "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
)


def tag_set(**tags):
    return {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}


def tags_of(s3, bucket, key="k", **options):
    return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key=key, **options)["TagSet"]}


def test_the_tags_of_an_object(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    before = s3.head_object(Bucket=bucket, Key="k")
    assert tags_of(s3, bucket) == {}
    assert "TagCount" not in before
    answer = s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(b="2", a=""))
    assert status_of(answer) == 200
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == tag_set(b="2", a="")["TagSet"]
    for answer in (s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
        assert answer["TagCount"] == 2
        # Tags are beside the object: neither its entity tag nor its time is another.
        assert (answer["ETag"], answer["LastModified"]) == (before["ETag"], before["LastModified"])
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(only="one"))
    assert tags_of(s3, bucket) == {"only": "one"}
    assert status_of(s3.delete_object_tagging(Bucket=bucket, Key="k")) == 204
    assert tags_of(s3, bucket) == {}
    # What is written anew has none of what was there.
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=b")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert tags_of(s3, bucket) == {}


def test_tags_of_every_alphabet(s3, bucket):
    tags = {"naïve key": "wert+-=._:/@", "鍵": "値", "Ключ 1": ""}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(**tags))
    assert tags_of(s3, bucket) == tags
    query = "&".join(f"{requests.utils.quote(k, safe='')}={requests.utils.quote(v, safe='')}" for k, v in tags.items())
    s3.put_object(Bucket=bucket, Key="other", Body=b"x", Tagging=query)
    assert tags_of(s3, bucket, "other") == tags


def test_tags_that_are_given_with_an_object(s3, bucket, server):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="tag=&tag1=a%20b&tag2")
    assert tags_of(s3, bucket) == {"tag": "", "tag1": "a b", "tag2": ""}
    multipart(s3, bucket, "parts", [b"x"], Tagging="up=loaded")
    assert tags_of(s3, bucket, "parts") == {"up": "loaded"}


def test_tags_in_a_form_are_a_document(s3, bucket, server):
    signer = server.client("s3", config=Config(signature_version="s3v4"))

    def post(document):
        fields = {"tagging": document}
        form = signer.generate_presigned_post(bucket, "form", Fields=fields, Conditions=[fields])
        return requests.post(form["url"], data=form["fields"], files={"file": b"x"}, verify=server.ca, timeout=30)

    document = "<Tagging><TagSet><Tag><Key>form</Key><Value>v</Value></Tag></TagSet></Tagging>"
    for place in ("</Tag>", "</TagSet>", "</Tagging>"):
        answer = post(document.replace(place, f"<Unknown/>{place}"))
        assert answer.status_code == 400 and "<Code>MalformedXML</Code>" in answer.text, answer.text
    with refused("404", 404):
        s3.head_object(Bucket=bucket, Key="form")
    answer = post(document)
    assert answer.status_code == 204, answer.text
    assert tags_of(s3, bucket, "form") == {"form": "v"}


def test_tags_of_copies(s3, bucket):
    source = {"Bucket": bucket, "Key": "k"}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1&b=2")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    assert tags_of(s3, bucket, "copy") == {"a": "1", "b": "2"}
    # The directive on metadata is not the one on tags.
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, MetadataDirective="REPLACE", Tagging="c=3")
    assert tags_of(s3, bucket, "copy") == {"a": "1", "b": "2"}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, TaggingDirective="REPLACE", Tagging="c=3")
    assert tags_of(s3, bucket, "copy") == {"c": "3"}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, TaggingDirective="REPLACE")
    assert tags_of(s3, bucket, "copy") == {}
    with refused("InvalidArgument", 400):
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, TaggingDirective="MERGE")


def test_tags_of_versions(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    one, two = (s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging=f"n={n}")["VersionId"] for n in (1, 2))
    assert tags_of(s3, bucket) == {"n": "2"}
    assert tags_of(s3, bucket, VersionId=one) == {"n": "1"}
    answer = s3.put_object_tagging(Bucket=bucket, Key="k", VersionId=one, Tagging=tag_set(old="yes"))
    assert answer["VersionId"] == one
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["VersionId"] == two
    assert tags_of(s3, bucket, VersionId=one) == {"old": "yes"}
    assert tags_of(s3, bucket) == {"n": "2"}
    assert s3.delete_object_tagging(Bucket=bucket, Key="k", VersionId=one)["VersionId"] == one
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    for version in ({"VersionId": marker}, {}):
        for call in (s3.get_object_tagging, s3.delete_object_tagging):
            with refused("MethodNotAllowed", 405) as refusal:
                call(Bucket=bucket, Key="k", **version)
            assert refusal.error["ResourceType"] == "DeleteMarker"
        with refused("MethodNotAllowed", 405):
            s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(a="b"), **version)
    assert tags_of(s3, bucket, VersionId=two) == {"n": "2"}


def test_objects_that_are_not_there(s3, bucket):
    for call, named in ((s3.get_object_tagging, f"{bucket}/k"), (s3.delete_object_tagging, "k")):
        with refused("NoSuchKey", 404) as refusal:
            call(Bucket=bucket, Key="k")
        assert refusal.error["Key"] == named
    with refused("NoSuchKey", 404):
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(a="b"))


@pytest.mark.parametrize(
    ("tags", "code", "message"),
    [
        ([("a", "1"), ("a", "2")], "InvalidTag", "Cannot provide multiple Tags with the same key"),
        ([("a,b", "1")], "InvalidTag", "The TagKey you have provided is invalid"),
        ([("a\tb", "1")], "InvalidTag", "The TagKey you have provided is invalid"),
        ([("a", "1\n2")], "InvalidTag", "The TagValue you have provided is invalid"),
        ([("k" * 129, "1")], "InvalidTag", "The TagKey you have provided is invalid"),
        ([("a", "1,2")], "InvalidTag", "The TagValue you have provided is invalid"),
        ([("a", "v" * 257)], "InvalidTag", "The TagValue you have provided is invalid"),
        ([("aws:a", "1")], "InvalidTag", "Your TagKey cannot be prefixed with aws:"),
        ([(f"k{n}", "1") for n in range(11)], "BadRequest", "Object tags cannot be greater than 10"),
    ],
)
def test_tags_that_no_object_may_have(s3, bucket, tags, code, message):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="kept=yes")
    given = {"TagSet": [{"Key": key, "Value": value} for key, value in tags]}
    with refused(code, 400, message):
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=given)
    query = "&".join(f"{requests.utils.quote(key)}={requests.utils.quote(value)}" for key, value in tags)
    twice = len({key for key, _ in tags}) < len(tags)
    with refused("InvalidArgument" if twice else code, 400, URL_MESSAGE if twice else message):
        s3.put_object(Bucket=bucket, Key="k", Body=b"y", Tagging=query)
    assert tags_of(s3, bucket) == {"kept": "yes"}
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"x"


def test_headers_that_are_no_tags(s3, bucket):
    with refused("InvalidArgument", 400, URL_MESSAGE) as refusal:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="key1=val1,key2=val2")
    assert refusal.error["ArgumentName"] == "x-amz-tagging"
    assert refusal.error["ArgumentValue"] == "key1=val1,key2=val2"


def test_documents_that_are_none(s3, bucket, server):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for document in ("<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", "<Other/>"):
        answer = signed(server, "PUT", f"/{bucket}/k", [("tagging", "")], body=document.encode())
        assert answer.code == "MalformedXML", document


def test_a_document_without_a_tag_set_has_no_tags(s3, bucket, server):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=b")
    s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(a="b"))
    headers = {"x-amz-checksum-crc32": checksum("CRC32", b"<Tagging/>")}
    for path, status in ((f"/{bucket}/k", 200), (f"/{bucket}", 204)):
        answer = signed(server, "PUT", path, [("tagging", "")], headers=headers, body=b"<Tagging/>")
        assert answer.status == status, answer.body
    assert tags_of(s3, bucket) == {}
    with refused("NoSuchTagSet", 404):
        s3.get_bucket_tagging(Bucket=bucket)


def test_the_tags_of_a_bucket_want_a_digest_and_those_of_an_object_none(s3, bucket, server):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    document = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    answer = signed(server, "PUT", f"/{bucket}", [("tagging", "")], body=document)
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert answer.error["Message"] == "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
    with refused("NoSuchTagSet", 404):
        s3.get_bucket_tagging(Bucket=bucket)
    assert signed(server, "PUT", f"/{bucket}/k", [("tagging", "")], body=document).status == 200
    assert tags_of(s3, bucket) == {"a": "b"}


def test_the_tags_of_a_bucket(s3, bucket):
    tags = lambda: s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    with refused("NoSuchTagSet", 404, "The TagSet does not exist") as refusal:
        tags()
    assert refusal.error["BucketName"] == bucket
    assert status_of(s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(b="2", a=""))) == 204
    assert tags() == tag_set(b="2", a="")["TagSet"]
    s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(c="3"))
    assert tags() == tag_set(c="3")["TagSet"]
    with refused("InvalidTag", 400, "System tags cannot be added/updated by requester"):
        s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(**{"aws:x": "1"}))
    with refused("InvalidTag", 400, "Cannot provide multiple Tags with the same key"):
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "1"}] * 2})
    s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(**{f"k{n}": "v" for n in range(50)}))
    with refused("BadRequest", 400):
        s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(**{f"k{n}": "v" for n in range(51)}))
    assert status_of(s3.delete_bucket_tagging(Bucket=bucket)) == 204
    with refused("NoSuchTagSet", 404):
        tags()
    s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(c="3"))
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": []})
    with refused("NoSuchTagSet", 404):
        tags()


def test_a_bucket_that_is_made_with_tags(s3, bucket_names):
    name = next(bucket_names)
    configuration = {"Tags": tag_set(team="red")["TagSet"]}
    s3.create_bucket(Bucket=name, CreateBucketConfiguration=configuration)
    assert s3.get_bucket_tagging(Bucket=name)["TagSet"] == configuration["Tags"]
    with refused("BucketAlreadyOwnedByYou", 409):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration=configuration)
    s3.create_bucket(Bucket=name)
    assert s3.get_bucket_tagging(Bucket=name)["TagSet"] == configuration["Tags"]
    s3.delete_bucket(Bucket=name)
    with refused("InvalidTag", 400):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"Tags": tag_set(**{"aws:a": "1"})["TagSet"]})


def test_the_command_line(aws, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    aws("s3api", "put-object-tagging", "--bucket", bucket, "--key", "k", "--tagging", "TagSet=[{Key=a,Value=1}]")
    assert aws("s3api", "get-object-tagging", "--bucket", bucket, "--key", "k").json["TagSet"] == tag_set(a="1")["TagSet"]
    aws("s3", "cp", f"s3://{bucket}/k", f"s3://{bucket}/copy")
    assert tags_of(s3, bucket, "copy") == {"a": "1"}
    assert "x-amz-tagging-count" in headers_of(s3.get_object(Bucket=bucket, Key="copy"))
