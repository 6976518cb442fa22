//! Each kind of pair signs, verifies, agrees or decrypts what it should and nothing else; signatures are also verified
//! by another library where it can.

use super::ffi::testing::shake256;
use super::oaep::{OaepHash, testing};
use super::*;
use crate::crypto::digest::sha256;

const SIGNING: [(PairKind, Scheme); 10] = [
    (PairKind::Rsa(RsaSize::Bits2048), Scheme::RsaPss(Hash::Sha256)),
    (PairKind::Rsa(RsaSize::Bits2048), Scheme::RsaPkcs1(Hash::Sha512)),
    (PairKind::Ec(Curve::P256), Scheme::Ecdsa(Hash::Sha256)),
    (PairKind::Ec(Curve::P384), Scheme::Ecdsa(Hash::Sha384)),
    (PairKind::Ec(Curve::P521), Scheme::Ecdsa(Hash::Sha512)),
    (PairKind::Ec(Curve::K256), Scheme::Ecdsa(Hash::Sha256)),
    (PairKind::Ed25519, Scheme::Ed25519),
    (PairKind::MlDsa(MlDsaSet::Set44), Scheme::MlDsa),
    (PairKind::MlDsa(MlDsaSet::Set65), Scheme::MlDsa),
    (PairKind::MlDsa(MlDsaSet::Set87), Scheme::MlDsa),
];

fn open(kind: PairKind, purpose: Purpose) -> KeyPair {
    KeyPair::open(kind, purpose, kind.generate().unwrap().expose()).unwrap()
}

#[test]
fn signatures_verify_and_nothing_else_does() {
    for (kind, scheme) in SIGNING {
        let (pair, other) = (open(kind, Purpose::Sign), open(kind, Purpose::Sign));
        let message = Message::Raw(b"message");
        let mut signature = pair.sign(scheme, message).unwrap();
        assert_eq!(pair.verify(scheme, message, &signature), Ok(()), "{kind:?}");
        let bad = Err(PairError::BadSignature);
        assert_eq!(pair.verify(scheme, Message::Raw(b"Message"), &signature), bad, "{kind:?}");
        assert_eq!(other.verify(scheme, message, &signature), bad, "{kind:?}");
        assert_eq!(pair.verify(scheme, message, &signature[1..]), bad, "{kind:?}");
        *signature.last_mut().unwrap() ^= 1;
        assert_eq!(pair.verify(scheme, message, &signature), bad, "{kind:?}");
        let unsuited = if scheme == Scheme::Ed25519 { Scheme::MlDsa } else { Scheme::Ed25519 };
        assert_eq!(pair.sign(unsuited, message), Err(PairError::Unsuited));
        assert_eq!(pair.verify(unsuited, message, &signature), Err(PairError::Unsuited));
        assert!(format!("{pair:?}").ends_with("redacted)"));
    }
}

#[test]
fn digests_are_signed_as_their_messages_are() {
    let digest = sha256(b"message");
    for (kind, scheme) in [
        (PairKind::Rsa(RsaSize::Bits2048), Scheme::RsaPss(Hash::Sha256)),
        (PairKind::Rsa(RsaSize::Bits2048), Scheme::RsaPkcs1(Hash::Sha256)),
        (PairKind::Ec(Curve::P256), Scheme::Ecdsa(Hash::Sha256)),
        (PairKind::Ec(Curve::K256), Scheme::Ecdsa(Hash::Sha256)),
    ] {
        let pair = open(kind, Purpose::Sign);
        let of_digest = pair.sign(scheme, Message::Digest(&digest)).unwrap();
        let of_message = pair.sign(scheme, Message::Raw(b"message")).unwrap();
        assert_eq!(pair.verify(scheme, Message::Raw(b"message"), &of_digest), Ok(()));
        assert_eq!(pair.verify(scheme, Message::Digest(&digest), &of_message), Ok(()));
        assert_eq!(pair.sign(scheme, Message::Digest(&digest[1..])), Err(PairError::DigestLength));
        let wrong = pair.verify(scheme, Message::Digest(&digest[1..]), &of_message);
        assert_eq!(wrong, Err(PairError::DigestLength));
    }
    for (kind, scheme) in [(PairKind::Ed25519, Scheme::Ed25519), (PairKind::MlDsa(MlDsaSet::Set44), Scheme::MlDsa)] {
        assert_eq!(open(kind, Purpose::Sign).sign(scheme, Message::Digest(&digest)), Err(PairError::Unsuited));
    }
}

/// RFC 8032, section 7.3.
#[test]
fn ed25519ph_signs_as_the_rfc_does() {
    let seed = hex::decode("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42").unwrap();
    // RFC 8410, section 7.
    let pkcs8 = [&hex::decode("302e020100300506032b657004220420").unwrap()[..], &seed].concat();
    let pair = KeyPair::open(PairKind::Ed25519, Purpose::Sign, &pkcs8).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, b"abc");
    let (scheme, message) = (Scheme::Ed25519ph, Message::Digest(digest.as_ref()));
    let mut signature = pair.sign(scheme, message).unwrap();
    assert_eq!(
        hex::encode(&signature),
        "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41\
         31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
    );
    assert_eq!(pair.sign(scheme, Message::Raw(b"abc")).as_ref(), Ok(&signature));
    assert_eq!(pair.verify(scheme, message, &signature), Ok(()));
    assert_eq!(pair.verify(scheme, Message::Raw(b"abc"), &signature), Ok(()));
    assert_eq!(pair.verify(Scheme::Ed25519, Message::Raw(b"abc"), &signature), Err(PairError::BadSignature));
    assert_eq!(pair.verify(scheme, message, &signature[1..]), Err(PairError::BadSignature));
    assert_eq!(
        open(PairKind::Ed25519, Purpose::Sign).verify(scheme, message, &signature),
        Err(PairError::BadSignature)
    );
    signature[0] ^= 1;
    assert_eq!(pair.verify(scheme, message, &signature), Err(PairError::BadSignature));
    assert_eq!(pair.sign(scheme, Message::Digest(&[0; 32])), Err(PairError::DigestLength));
    let mldsa = open(PairKind::MlDsa(MlDsaSet::Set44), Purpose::Sign);
    assert_eq!(mldsa.sign(scheme, message), Err(PairError::Unsuited));
}

#[test]
fn an_external_mu_is_signed_as_its_message_is() {
    for (set, length) in [(MlDsaSet::Set44, 1312), (MlDsaSet::Set65, 1952), (MlDsaSet::Set87, 2592)] {
        let (kind, scheme, raw) = (PairKind::MlDsa(set), Scheme::MlDsa, Message::Raw(b"message"));
        let pair = open(kind, Purpose::Sign);
        // The key itself ends its SubjectPublicKeyInfo (RFC 9881).
        let public = &pair.public()[pair.public().len() - length..];
        let mu = shake256(&[&shake256(&[public]), &[0, 0], b"message"]);
        let (mu, other) = (Message::Mu(&mu), Message::Mu(&[7; 64]));
        let mut of_mu = pair.sign(scheme, mu).unwrap();
        let of_message = pair.sign(scheme, raw).unwrap();
        assert_eq!(pair.verify(scheme, raw, &of_mu), Ok(()), "{set:?}");
        assert_eq!(pair.verify(scheme, mu, &of_message), Ok(()), "{set:?}");
        let bad = Err(PairError::BadSignature);
        assert_eq!(pair.verify(scheme, other, &of_mu), bad);
        assert_eq!(pair.verify(scheme, mu, &of_mu[1..]), bad);
        assert_eq!(pair.verify(scheme, mu, b""), bad);
        assert_eq!(open(kind, Purpose::Sign).verify(scheme, mu, &of_mu), bad);
        of_mu[0] ^= 1;
        assert_eq!(pair.verify(scheme, mu, &of_mu), bad);
        assert_eq!(pair.sign(scheme, Message::Mu(&[7; 63])), Err(PairError::DigestLength));
        assert_eq!(pair.verify(scheme, Message::Mu(&[7; 65]), &of_mu), Err(PairError::DigestLength));
    }
    for (kind, scheme) in SIGNING.into_iter().filter(|(_, scheme)| *scheme != Scheme::MlDsa) {
        let pair = open(kind, Purpose::Sign);
        assert_eq!(pair.sign(scheme, Message::Mu(&[7; 64])), Err(PairError::Unsuited), "{kind:?}");
        assert_eq!(pair.verify(scheme, Message::Mu(&[7; 64]), b"s"), Err(PairError::Unsuited), "{kind:?}");
    }
}

#[test]
fn ring_verifies_what_is_signed() {
    // SubjectPublicKeyInfo of an uncompressed point: a header of fixed length, then the point.
    for (curve, algorithm, header) in [
        (Curve::P256, &ring::signature::ECDSA_P256_SHA256_ASN1, 26),
        (Curve::P384, &ring::signature::ECDSA_P384_SHA384_ASN1, 23),
    ] {
        let pair = open(PairKind::Ec(curve), Purpose::Sign);
        let signature = pair.sign(Scheme::Ecdsa(curve.hash()), Message::Raw(b"message")).unwrap();
        let key = ring::signature::UnparsedPublicKey::new(algorithm, &pair.public()[header..]);
        key.verify(b"message", &signature).unwrap();
    }
    let pair = open(PairKind::Ed25519, Purpose::Sign);
    let signature = pair.sign(Scheme::Ed25519, Message::Raw(b"message")).unwrap();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &pair.public()[12..]);
    key.verify(b"message", &signature).unwrap();
    let pair = open(PairKind::Rsa(RsaSize::Bits2048), Purpose::Sign);
    for (scheme, algorithm) in [
        (Scheme::RsaPss(Hash::Sha384), &ring::signature::RSA_PSS_2048_8192_SHA384),
        (Scheme::RsaPkcs1(Hash::Sha256), &ring::signature::RSA_PKCS1_2048_8192_SHA256),
    ] {
        let signature = pair.sign(scheme, Message::Raw(b"message")).unwrap();
        let key = ring::signature::UnparsedPublicKey::new(algorithm, &pair.public()[24..]);
        key.verify(b"message", &signature).unwrap();
    }
}

#[test]
fn keys_of_another_kind_do_not_open() {
    let (rsa, p256) = (PairKind::Rsa(RsaSize::Bits2048), PairKind::Ec(Curve::P256));
    let (rsa_key, p256_key) = (rsa.generate().unwrap(), p256.generate().unwrap());
    let refused = |kind, purpose, key: &SecretBytes| KeyPair::open(kind, purpose, key.expose()).err();
    assert_eq!(refused(PairKind::Rsa(RsaSize::Bits3072), Purpose::Sign, &rsa_key), Some(PairError::Malformed));
    assert_eq!(refused(PairKind::Rsa(RsaSize::Bits3072), Purpose::Encrypt, &rsa_key), Some(PairError::Malformed));
    assert_eq!(refused(PairKind::Ec(Curve::K256), Purpose::Sign, &p256_key), Some(PairError::Malformed));
    assert_eq!(refused(PairKind::Ec(Curve::P384), Purpose::Agree, &p256_key), Some(PairError::Malformed));
    assert_eq!(refused(PairKind::Ed25519, Purpose::Sign, &p256_key), Some(PairError::Malformed));
    assert_eq!(refused(p256, Purpose::Sign, &rsa_key), Some(PairError::Malformed));
    assert_eq!(refused(p256, Purpose::Encrypt, &p256_key), Some(PairError::Unsuited));
    assert_eq!(refused(rsa, Purpose::Agree, &rsa_key), Some(PairError::Unsuited));
    let k256 = PairKind::Ec(Curve::K256).generate().unwrap();
    assert_eq!(refused(PairKind::Ec(Curve::K256), Purpose::Agree, &k256), Some(PairError::Unsuited));
}

#[test]
fn two_sides_agree() {
    for curve in [Curve::P256, Curve::P384, Curve::P521] {
        let (one, two) = (open(PairKind::Ec(curve), Purpose::Agree), open(PairKind::Ec(curve), Purpose::Agree));
        let secret = one.agree(two.public()).unwrap();
        assert_eq!(secret.expose(), two.agree(one.public()).unwrap().expose());
        assert!(secret.expose().iter().any(|&byte| byte != 0));
        let other = open(PairKind::Ec(if curve == Curve::P256 { Curve::P384 } else { Curve::P256 }), Purpose::Agree);
        assert_eq!(one.agree(other.public()).err(), Some(PairError::Failed));
        assert_eq!(one.agree(b"no key").err(), Some(PairError::Failed));
        assert_eq!(one.sign(Scheme::Ecdsa(curve.hash()), Message::Raw(b"m")), Err(PairError::Unsuited));
    }
}

#[test]
fn oaep_opens_what_was_sealed_to_it() {
    let size = RsaSize::Bits2048;
    let (pair, other) = (open(PairKind::Rsa(size), Purpose::Encrypt), open(PairKind::Rsa(size), Purpose::Encrypt));
    let (key, other) = (pair.oaep().unwrap(), other.oaep().unwrap());
    for hash in [OaepHash::Sha1, OaepHash::Sha256] {
        let most = vec![7; hash.most(size)];
        let sealed = key.encrypt(hash, &most).unwrap();
        assert_eq!(key.decrypt(hash, &sealed).unwrap().expose(), most);
        assert!(other.decrypt(hash, &sealed).is_err());
        assert!(key.encrypt(hash, &vec![7; hash.most(size) + 1]).is_err());
        assert!(key.decrypt(hash, &sealed[1..]).is_err());
        let sealed = testing::encrypt_to(pair.public(), hash, b"secret");
        assert_eq!(key.decrypt(hash, &sealed).unwrap().expose(), b"secret");
        let secret = PairKind::Rsa(RsaSize::Bits2048).generate().unwrap();
        let wrapped = testing::wrap_to(pair.public(), hash, secret.expose());
        assert_eq!(key.unwrap(hash, &wrapped).unwrap().expose(), secret.expose());
        for cut in [0, 255, 256, wrapped.len() - 1] {
            assert!(key.unwrap(hash, &wrapped[..cut]).is_err());
        }
    }
}
