//! Keys of every spec: what they do, what they refuse, and that they come back from the store.

use super::*;
use crate::crypto::pair::oaep::OaepHash;
use crate::crypto::pair::{Curve, PairKind, Purpose};
use crate::kms::KeySpec;
use crate::kms::spec::{EncryptionAlgorithm, MacAlgorithm, SigningAlgorithm};

async fn make(fixture: &Fixture, spec: KeySpec, usage: KeyUsage) -> KeyRef {
    let new = NewKey { spec, usage, ..NewKey::default() };
    KeyRef::from(&fixture.kms.create_key(&direct(OWNER), new).await.unwrap().arn)
}

fn raw(message: &[u8]) -> Signable {
    Signable::Raw(message.to_vec())
}

#[tokio::test]
async fn macs_verify_after_a_restart() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    for (spec, algorithm) in [
        (KeySpec::Hmac224, MacAlgorithm::HmacSha224),
        (KeySpec::Hmac256, MacAlgorithm::HmacSha256),
        (KeySpec::Hmac384, MacAlgorithm::HmacSha384),
        (KeySpec::Hmac512, MacAlgorithm::HmacSha512),
    ] {
        let name = make(&fixture, spec, KeyUsage::GenerateVerifyMac).await;
        let (_, tag) = kms.generate_mac(&caller, &name, algorithm, b"message").unwrap();
        let reopened = fixture.reopened().await;
        reopened.verify_mac(&caller, &name, algorithm, b"message", &tag).unwrap();
        for (message, tag) in [(&b"Message"[..], &tag[..]), (b"message", &tag[1..]), (b"message", &[0; 64])] {
            let error = reopened.verify_mac(&caller, &name, algorithm, message, tag).unwrap_err();
            assert_eq!((error.kind, error.message.as_str()), (KmsErrorKind::InvalidMac, ""));
        }
        let other = if spec == KeySpec::Hmac256 { MacAlgorithm::HmacSha512 } else { MacAlgorithm::HmacSha256 };
        let error = kms.generate_mac(&caller, &name, other, b"message").unwrap_err();
        let told = format!("Algorithm {} is incompatible with key spec {}.", other.as_str(), spec.as_str());
        assert_eq!((error.kind, error.message), (KmsErrorKind::InvalidKeyUsage, told));
    }
}

#[tokio::test]
async fn every_signing_spec_signs_by_each_of_its_algorithms() {
    let fixture = Fixture::new().await;
    let caller = direct(OWNER);
    for &spec in KeySpec::ALL.iter().filter(|spec| spec.usages().contains(&KeyUsage::SignVerify)) {
        if matches!(spec, KeySpec::Rsa3072 | KeySpec::Rsa4096) {
            continue; // As RSA_2048, and seconds to make.
        }
        let name = make(&fixture, spec, KeyUsage::SignVerify).await;
        for &algorithm in spec.signing_algorithms() {
            let of_digests = algorithm == SigningAlgorithm::Ed25519PhSha512;
            let message = |byte| if of_digests { Signable::Digest(vec![byte; 64]) } else { raw(&[byte]) };
            let (_, signature) = fixture.kms.sign(&caller, &name, algorithm, message(1)).await.unwrap();
            let reopened = fixture.reopened().await;
            reopened.verify(&caller, &name, algorithm, message(1), signature.clone()).await.unwrap();
            let error = reopened.verify(&caller, &name, algorithm, message(2), signature).await.unwrap_err();
            assert_eq!((error.kind, error.message.as_str()), (KmsErrorKind::InvalidSignature, ""), "{spec:?}");
        }
        let key = fixture.kms.public_key(&caller, &name).unwrap();
        assert_eq!((key.spec, key.usage), (spec, KeyUsage::SignVerify));
        assert!(key.der.len() > 40);
    }
}

#[tokio::test]
async fn digests_and_algorithms_are_checked() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = make(&fixture, KeySpec::EccNistP256, KeyUsage::SignVerify).await;
    let digest = Signable::Digest(crate::crypto::digest::sha256(b"message").to_vec());
    let (_, signature) = kms.sign(&caller, &name, SigningAlgorithm::EcdsaSha256, digest).await.unwrap();
    kms.verify(&caller, &name, SigningAlgorithm::EcdsaSha256, raw(b"message"), signature).await.unwrap();
    let short = Signable::Digest(vec![0; 31]);
    let error = kms.sign(&caller, &name, SigningAlgorithm::EcdsaSha256, short).await.unwrap_err();
    let told = "Digest is invalid length for algorithm ECDSA_SHA_256.";
    assert_eq!((error.kind, error.message.as_str()), (KmsErrorKind::Validation, told));
    let error = kms.sign(&caller, &name, SigningAlgorithm::EcdsaSha384, raw(b"m")).await.unwrap_err();
    let told = "Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256.";
    assert_eq!((error.kind, error.message.as_str()), (KmsErrorKind::InvalidKeyUsage, told));
    let name = make(&fixture, KeySpec::EccNistEdwards25519, KeyUsage::SignVerify).await;
    let digest = Signable::Digest(vec![0; 64]);
    let error = kms.sign(&caller, &name, SigningAlgorithm::Ed25519Sha512, digest.clone()).await.unwrap_err();
    let told = "Message type DIGEST is incompatible with algorithm ED25519_SHA_512.";
    assert_eq!((error.kind, error.message.as_str()), (KmsErrorKind::Validation, told));
    let name = make(&fixture, KeySpec::MlDsa44, KeyUsage::SignVerify).await;
    let error = kms.sign(&caller, &name, SigningAlgorithm::MlDsaShake256, digest).await.unwrap_err();
    let told = "Message type DIGEST is incompatible with key spec ML_DSA_44.";
    assert_eq!((error.kind, error.message.as_str()), (KmsErrorKind::Validation, told));
}

#[tokio::test]
async fn rsa_keys_encrypt_what_they_hold() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = make(&fixture, KeySpec::Rsa2048, KeyUsage::EncryptDecrypt).await;
    let symmetric = KeyRef::from(&fixture.key().await);
    let none = EncryptionContext::new();
    let default = Cipher { algorithm: EncryptionAlgorithm::SymmetricDefault, context: &none };
    for (algorithm, most) in [(EncryptionAlgorithm::RsaesOaepSha1, 214), (EncryptionAlgorithm::RsaesOaepSha256, 190)] {
        let cipher = Cipher { algorithm, context: &none };
        let sealed = kms.encrypt_by(&caller, &name, &vec![7; most], cipher).unwrap();
        assert_eq!((sealed.blob.len(), &sealed.material_id), (256, &None));
        let opened = fixture.reopened().await.decrypt_by(&caller, &sealed.blob, Some(&name), cipher).await.unwrap();
        assert_eq!(opened.plaintext.expose(), vec![7; most]);
        let error = kms.encrypt_by(&caller, &name, &vec![7; most + 1], cipher).unwrap_err();
        let name_of = algorithm.as_str();
        let told = format!("Algorithm {name_of} and key spec RSA_2048 cannot encrypt data larger than {most} bytes.");
        assert_eq!((error.kind, error.message), (KmsErrorKind::Validation, told));
        let error = kms.decrypt_by(&caller, &sealed.blob[1..], Some(&name), cipher).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (KmsErrorKind::InvalidCiphertext, ""));
        let error = kms.decrypt_by(&caller, &sealed.blob, None, cipher).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::Validation);
        let error = kms.decrypt_by(&caller, &sealed.blob, Some(&name), default).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::InvalidCiphertext, "it is no ciphertext of a symmetric key");
        let context = context();
        let bound = Cipher { algorithm, context: &context };
        assert_eq!(kms.encrypt_by(&caller, &name, b"p", bound).unwrap_err().kind, KmsErrorKind::Validation);

        let ((source, material), moved) =
            kms.re_encrypt_by(&caller, &sealed.blob, (Some(&name), cipher), (&symmetric, default)).await.unwrap();
        assert_eq!((KeyRef::from(&source), material), (name.clone(), None));
        let (_, back) = kms.re_encrypt_by(&caller, &moved.blob, (None, default), (&name, cipher)).await.unwrap();
        let opened = kms.decrypt_by(&caller, &back.blob, Some(&name), cipher).await.unwrap();
        assert_eq!(opened.plaintext.expose(), vec![7; most]);
    }
    let public = kms.public_key(&caller, &name).unwrap().der;
    let sealed = crate::crypto::pair::oaep::testing::encrypt_to(&public, OaepHash::Sha256, b"from outside");
    let cipher = Cipher { algorithm: EncryptionAlgorithm::RsaesOaepSha256, context: &none };
    let opened = kms.decrypt_by(&caller, &sealed, Some(&name), cipher).await.unwrap();
    assert_eq!(opened.plaintext.expose(), b"from outside");
}

#[tokio::test]
async fn secrets_are_shared_over_the_curves() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    for (spec, curve) in [(KeySpec::EccNistP256, Curve::P256), (KeySpec::EccNistP521, Curve::P521)] {
        let name = make(&fixture, spec, KeyUsage::KeyAgreement).await;
        let kind = PairKind::Ec(curve);
        let peer = crate::crypto::pair::KeyPair::open(kind, Purpose::Agree, kind.generate().unwrap().expose()).unwrap();
        let (_, secret, external) = kms.shared_secret(&caller, &name, peer.public().to_vec()).await.unwrap();
        let public = kms.public_key(&caller, &name).unwrap().der;
        assert_eq!(secret.expose(), peer.agree(&public).unwrap().expose());
        assert!(!external);
        let error = kms.shared_secret(&caller, &name, b"no key".to_vec()).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (KmsErrorKind::Validation, ""));
        assert!(error.source.is_some(), "the reason is kept");
    }
}

#[tokio::test]
async fn data_key_pairs_are_wrapped() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = KeyRef::from(&fixture.key().await);
    for &spec in KeySpec::ALL {
        let Some(kind) = data_pair(spec) else { continue };
        if matches!(spec, KeySpec::Rsa3072 | KeySpec::Rsa4096) {
            continue;
        }
        let made = kms.generate_pair(&caller, &name, &context(), kind, "kms:GenerateDataKeyPair").await.unwrap();
        let opened = kms.decrypt(&caller, &made.wrapped.blob, None, &context()).await.unwrap();
        assert_eq!(opened.plaintext.expose(), made.private.expose());
        if let PairKind::MlKem(_) = kind {
            continue; // Which crypto::pair::kem opens from its seed.
        }
        let pair = crate::crypto::pair::KeyPair::open(kind, Purpose::Sign, made.private.expose()).unwrap();
        assert_eq!(pair.public(), made.public);
    }
    assert!(data_pair(KeySpec::MlDsa44).is_none() && data_pair(KeySpec::SymmetricDefault).is_none());
}

#[tokio::test]
async fn keys_serve_their_own_usage_alone() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let none = EncryptionContext::new();
    let blob = kms.encrypt(&caller, &KeyRef::from(&fixture.key().await), b"p", &none).await.unwrap().blob;
    for (spec, usage) in [
        (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt),
        (KeySpec::Hmac256, KeyUsage::GenerateVerifyMac),
        (KeySpec::EccNistP256, KeyUsage::SignVerify),
        (KeySpec::EccNistP256, KeyUsage::KeyAgreement),
    ] {
        let name = make(&fixture, spec, usage).await;
        let arn = kms.metadata(&caller, &name, DESCRIBE).unwrap().arn;
        let sign = SigningAlgorithm::EcdsaSha256;
        let oaep = Cipher { algorithm: EncryptionAlgorithm::RsaesOaepSha1, context: &none };
        let uses = [
            (KeyUsage::EncryptDecrypt, "Encrypt", kms.encrypt(&caller, &name, b"p", &none).await.map(drop)),
            (KeyUsage::EncryptDecrypt, "Decrypt", kms.decrypt(&caller, b"no blob", Some(&name), &none).await.map(drop)),
            (KeyUsage::EncryptDecrypt, "Decrypt", kms.decrypt_by(&caller, &blob, Some(&name), oaep).await.map(drop)),
            (KeyUsage::EncryptDecrypt, "GenerateDataKey", kms.generate_data_key(&caller, &name, &none).await.map(drop)),
            (
                KeyUsage::EncryptDecrypt,
                "ReEncrypt",
                kms.re_encrypt(&caller, &blob, (None, &none), (&name, &none)).await.map(drop),
            ),
            (
                KeyUsage::EncryptDecrypt,
                "ReEncrypt",
                kms.re_encrypt(&caller, &blob, (Some(&name), &none), (&name, &none)).await.map(drop),
            ),
            (
                KeyUsage::GenerateVerifyMac,
                "GenerateMac",
                kms.generate_mac(&caller, &name, MacAlgorithm::HmacSha256, b"m").map(drop),
            ),
            (
                KeyUsage::GenerateVerifyMac,
                "VerifyMac",
                kms.verify_mac(&caller, &name, MacAlgorithm::HmacSha256, b"m", b"t").map(drop),
            ),
            (KeyUsage::SignVerify, "Sign", kms.sign(&caller, &name, sign, raw(b"m")).await.map(drop)),
            (KeyUsage::SignVerify, "Verify", kms.verify(&caller, &name, sign, raw(b"m"), vec![1]).await.map(drop)),
            (KeyUsage::KeyAgreement, "DeriveSharedSecret", kms.shared_secret(&caller, &name, vec![]).await.map(drop)),
        ];
        let other = kms.decrypt(&caller, &blob, Some(&name), &none).await.unwrap_err();
        assert_eq!(other.kind, KmsErrorKind::IncorrectKey, "{usage:?}: the ciphertext names another key");
        for (needed, operation, result) in uses.into_iter().filter(|(needed, ..)| *needed != usage) {
            let error = result.expect_err(operation);
            let told = format!("{arn} key usage is {} which is not valid for {operation}.", usage.as_str());
            assert_eq!((error.kind, error.message), (KmsErrorKind::InvalidKeyUsage, told), "{needed:?}");
        }
        assert_eq!(kms.public_key(&caller, &name).is_ok(), spec.is_asymmetric());
        if !spec.is_asymmetric() {
            assert_eq!(kms.public_key(&caller, &name).unwrap_err().kind, KmsErrorKind::UnsupportedOperation);
        }
    }
    let rsa = make(&fixture, KeySpec::Rsa2048, KeyUsage::EncryptDecrypt).await;
    let error = kms.generate_data_key(&caller, &rsa, &none).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::InvalidKeyUsage, "{error}");
    assert_eq!(error.message, "You cannot generate a data key with an asymmetric CMK");
}

#[tokio::test]
async fn no_spec_shows_its_material() {
    let fixture = Fixture::new().await;
    for (spec, usage) in [
        (KeySpec::Hmac256, KeyUsage::GenerateVerifyMac),
        (KeySpec::Rsa2048, KeyUsage::EncryptDecrypt),
        (KeySpec::EccNistP256, KeyUsage::SignVerify),
        (KeySpec::MlDsa44, KeyUsage::SignVerify),
    ] {
        make(&fixture, spec, usage).await;
    }
    let shown = format!("{:?}", fixture.kms.ring());
    assert!(shown.contains("MacKey(redacted)") && shown.contains("KeyPair(Rsa(Bits2048), redacted)"), "{shown}");
    assert!(!shown.contains("PrivateKey"), "{shown}");
}

#[tokio::test]
async fn disabled_keys_of_any_spec_do_nothing() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let mac = make(&fixture, KeySpec::Hmac256, KeyUsage::GenerateVerifyMac).await;
    let pair = make(&fixture, KeySpec::EccNistP256, KeyUsage::SignVerify).await;
    for name in [&mac, &pair] {
        kms.set_enabled(&caller, name, false).await.unwrap();
    }
    for refused in [
        kms.generate_mac(&caller, &mac, MacAlgorithm::HmacSha256, b"m").map(drop),
        kms.sign(&caller, &pair, SigningAlgorithm::EcdsaSha256, raw(b"m")).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind, KmsErrorKind::Disabled);
    }
    let error = kms.generate_mac(&caller, &pair, MacAlgorithm::HmacSha256, b"m").unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::InvalidKeyUsage, "what it is for is told before its state");
    kms.public_key(&caller, &pair).expect("what it shows does not use it");
    for name in [&mac, &pair] {
        kms.schedule_deletion(&caller, name, 7).await.unwrap();
        assert_eq!(kms.public_key(&caller, name).unwrap_err().kind, KmsErrorKind::InvalidState);
    }
}
