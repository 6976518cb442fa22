"""Bytes to store, and what should be said of them."""

import base64
import binascii
import hashlib
import random

from awscrt import checksums


def content(size, seed=0):
    """`size` bytes that nothing compresses, the same for the same seed."""
    return random.Random(f"{seed}/{size}").randbytes(size)


def md5(data):
    return hashlib.md5(data).hexdigest()


def base64_text(data):
    return base64.b64encode(data).decode()


CHECKSUMS = {
    "CRC32": lambda data: (binascii.crc32(data) & 0xFFFFFFFF).to_bytes(4, "big"),
    "CRC32C": lambda data: checksums.crc32c(data).to_bytes(4, "big"),
    "CRC64NVME": lambda data: checksums.crc64nvme(data).to_bytes(8, "big"),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
    "SHA512": lambda data: hashlib.sha512(data).digest(),
    "MD5": lambda data: hashlib.md5(data).digest(),
    "XXHASH64": lambda data: bytes(checksums.XXHash.compute_xxhash64(data)),
    "XXHASH3": lambda data: bytes(checksums.XXHash.compute_xxhash3_64(data)),
    "XXHASH128": lambda data: bytes(checksums.XXHash.compute_xxhash3_128(data)),
}


def checksum(algorithm, data):
    """The base64 text of a checksum, as S3 shows it."""
    return base64_text(CHECKSUMS[algorithm](data))


def composite(algorithm, parts):
    """The checksum of the parts' checksums, as S3 shows it for a COMPOSITE upload."""
    joined = b"".join(CHECKSUMS[algorithm](part) for part in parts)
    return f"{checksum(algorithm, joined)}-{len(parts)}"


def multipart_etag(etags):
    """The ETag of a multipart object, from the ETags of its parts."""
    joined = b"".join(bytes.fromhex(etag.strip('"')) for etag in etags)
    return f'"{hashlib.md5(joined).hexdigest()}-{len(etags)}"'
