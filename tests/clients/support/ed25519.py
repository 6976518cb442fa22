"""Ed25519ph by RFC 8032, section 5.1, as no library at hand has it: slow, and for public values alone."""

import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
PREFIX = b"SigEd25519 no Ed25519 collisions\x01\x00"  # prehashed, with an empty context


def _decode(point):
    y = int.from_bytes(point, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or y >= P:
        raise ValueError("not on the curve")
    return (P - x if x & 1 != sign else x, y)


def _add(one, other):
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P)
    return x % P, y % P


def _times(scalar, point):
    total = (0, 1)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point, scalar = _add(point, point), scalar >> 1
    return total


BASE = _decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def ed25519ph_verifies(public, message, signature):
    """Whether `signature` is the one of `message`, which is hashed here, by the key `public`."""
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    hashed = hashlib.sha512(PREFIX + r + public + hashlib.sha512(message).digest()).digest()
    challenge = int.from_bytes(hashed, "little") % ORDER
    return s < ORDER and _times(s, BASE) == _add(_decode(r), _times(challenge, _decode(public)))
