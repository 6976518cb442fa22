"""What lies on the disk: no plaintext, nothing derived from it, and nothing that can be bent unseen."""

import base64
import hashlib
import http.client
import re

import pytest

from support.calls import body_of, multipart
from support.data import CHECKSUMS, content
from support.requests import signed

MARKER = content(48, "the marker that must not be found")
KINDS = ["AES256", "aws:kms"]


def marked(size, seed):
    """`size` bytes with the marker at every offset modulo 3, again and again, and at both ends."""
    filler = content(1021, seed)
    unit = MARKER + filler
    return (unit * (size // len(unit) + 1))[: size - len(MARKER)] + MARKER


def traces(data):
    """(what it is, the bytes) of everything that would give `data` away."""
    yield "plaintext", MARKER
    yield "half of the plaintext", MARKER[12:36]
    yield "hexadecimal", MARKER.hex().encode()
    for shift in range(3):
        yield f"base64 from byte {shift}", base64.b64encode(MARKER[shift:][:45])[4:-4]
    for name in ("md5", "sha1", "sha256"):
        digest = hashlib.new(name, data).digest()
        yield name, digest
        yield f"{name} in hexadecimal", digest.hex().encode()
        yield f"{name} in base64", base64.b64encode(digest)
    for name, of in CHECKSUMS.items():
        if len(of(data)) >= 8:
            yield name, of(data)
        yield f"{name} in base64", base64.b64encode(of(data))


def assert_nowhere(server, wanted):
    """None of the (name, bytes) pairs is in any file of the data directory."""
    by_bytes = {}
    for name, needle in wanted:
        by_bytes.setdefault(needle, name)
    pattern = re.compile(b"|".join(re.escape(needle) for needle in by_bytes))
    looked_at = 0
    for path in server.files():
        data = path.read_bytes()
        looked_at += len(data)
        if found := pattern.search(data):
            raise AssertionError(f"{by_bytes[found[0]]} is in {path} at {found.start()}")
    assert looked_at > 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_plaintext_on_disk(fresh_server, kind):
    s3 = fresh_server.client("s3")
    s3.create_bucket(Bucket="secret")
    objects = {f"o{size}": marked(size, kind) for size in (100, 4_000, 60_000, 1_048_576, 3_000_000)}
    parts = [marked(5 * 2**20, f"{kind} 1"), marked(300_000, f"{kind} 2")]
    for key, data in objects.items():
        for algorithm in ("CRC32", "CRC64NVME", "SHA256"):
            s3.put_object(
                Bucket="secret",
                Key=f"{key}-{algorithm}",
                Body=data,
                ServerSideEncryption=kind,
                ChecksumAlgorithm=algorithm,
            )
        assert body_of(s3.get_object(Bucket="secret", Key=f"{key}-SHA256")) == data
    multipart(s3, "secret", "parts", parts, ServerSideEncryption=kind)
    unfinished = s3.create_multipart_upload(Bucket="secret", Key="unfinished", ServerSideEncryption=kind)["UploadId"]
    s3.upload_part(Bucket="secret", Key="unfinished", UploadId=unfinished, PartNumber=1, Body=parts[0])
    wanted = [trace for data in [*objects.values(), *parts, b"".join(parts)] for trace in traces(data)]
    assert_nowhere(fresh_server, wanted)
    assert fresh_server.stop() == 0
    assert_nowhere(fresh_server, wanted)


def test_the_search_finds_what_is_there(fresh_server):
    """The test above can fail: a name, which is not encrypted, is found."""
    s3 = fresh_server.client("s3")
    s3.create_bucket(Bucket="secret")
    s3.put_object(Bucket="secret", Key="a-name-in-clear", Body=b"x")
    with pytest.raises(AssertionError, match="the name is in"):
        assert_nowhere(fresh_server, [("the name", b"a-name-in-clear")])


def test_kms_keys_and_secrets_are_not_on_disk_in_clear(fresh_server):
    kms = fresh_server.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    data_key = kms.generate_data_key(KeyId=key, KeySpec="AES_256")["Plaintext"]
    kms.encrypt(KeyId=key, Plaintext=MARKER)
    assert fresh_server.stop() == 0
    assert_nowhere(fresh_server, [("a data key", data_key), ("a plaintext", MARKER)])


def occupied(path):
    """Offsets of the 4 KiB blocks of a file that hold ciphertext."""
    data = path.read_bytes()
    blocks = range(0, len(data) - 4095, 4096)
    return [at for at in blocks if len(set(data[at : at + 4096])) > 200]


def read_whatever_comes(server, path):
    """(status, body so far) of a GET that may be cut off."""
    try:
        answer = signed(server, "GET", path)
        return answer.status, answer.body
    except http.client.IncompleteRead as cut:
        return 200, cut.partial
    except (ConnectionError, http.client.HTTPException):
        return 0, b""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_bent_bytes_are_never_delivered(fresh_server, kind):
    """Every byte that a client gets of a damaged object is right, and the damage is not passed off as the end."""
    server, data = fresh_server, content(8 * 2**20, "bent")
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bent")
    s3.put_object(Bucket="bent", Key="large", Body=data, ServerSideEncryption=kind)
    assert server.stop() == 0
    path = max(server.files(), key=lambda path: len(occupied(path)))
    blocks = occupied(path)
    assert len(blocks) * 4096 >= len(data) * 0.95, "the object is not where this test looks"
    original = path.read_bytes()

    def flip(at):
        return lambda bent: bent.__setitem__(at, bent[at] ^ 0x40)

    def swap(a, b, size=64 * 1024):
        def change(bent):
            bent[a : a + size], bent[b : b + size] = bent[b : b + size], bent[a : a + size]

        return change

    changes = {
        "the first block": flip(blocks[1] + 7),
        "the middle": flip(blocks[len(blocks) // 2] + 2048),
        "the end": flip(blocks[-2] + 11),
        "two places swapped": swap(blocks[64], blocks[1024]),
        "the middle wiped": lambda bent: bent.__setitem__(slice(blocks[512], blocks[512] + 65_536), bytes(65_536)),
    }
    for what, change in changes.items():
        bent = bytearray(original)
        change(bent)
        assert bytes(bent) != original
        path.write_bytes(bent)
        server.start()
        status, body = read_whatever_comes(server, "/bent/large")
        assert len(body) < len(data) or status >= 500, f"{what}: delivered whole"
        if status == 200:
            assert data.startswith(body), f"{what}: wrong bytes were delivered"
        assert server.get("/_/health/ready").status == 200
        assert server.stop() == 0
    path.write_bytes(original)
    server.start()
    assert signed(server, "GET", "/bent/large").body == data
