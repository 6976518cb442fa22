//! What key pairs do beside encrypting: signatures, public keys, shared secrets; and pairs made for others.

use super::ciphers::pair;
use super::{LocalKms, Need, incompatible, off_thread};
use crate::crypto::SecretBytes;
use crate::crypto::pair::{KeyPair, Message, PairError, PairKind};
use crate::kms::error::{KmsError, KmsErrorKind};
use crate::kms::spec::{MaterialKind, SigningAlgorithm};
use crate::kms::{Caller, EncryptionContext, KeyArn, KeyRef, KeySpec, KeyUsage, WrappedKey};

/// What is signed.
#[derive(Clone, Debug)]
pub enum Signable {
    /// A message.
    Raw(Vec<u8>),
    /// A message's digest.
    Digest(Vec<u8>),
    /// Of ML-DSA, a message's representative mu.
    ExternalMu(Vec<u8>),
}

/// A public key as the API shows it.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// The full ARN.
    pub arn: KeyArn,
    /// Its SubjectPublicKeyInfo.
    pub der: Vec<u8>,
    /// Its kind.
    pub spec: KeySpec,
    /// What it is for.
    pub usage: KeyUsage,
}

/// A data key pair.
#[derive(Debug)]
pub struct GeneratedPair {
    /// The private key as PKCS #8.
    pub private: SecretBytes,
    /// The private key, wrapped.
    pub wrapped: WrappedKey,
    /// The public key's SubjectPublicKeyInfo.
    pub public: Vec<u8>,
}

impl LocalKms {
    /// Signs a message or its digest (`Sign`).
    ///
    /// # Errors
    /// `InvalidKeyUsageException`, and as the key's state and policy say.
    pub async fn sign(
        &self,
        caller: &Caller,
        name: &KeyRef,
        algorithm: SigningAlgorithm,
        message: Signable,
    ) -> Result<(KeyArn, Vec<u8>), KmsError> {
        let kind = message.kind();
        let work = move |pair: &KeyPair| pair.sign(algorithm.scheme(), message.for_algorithm(algorithm)?);
        self.with_signer(caller, name, (algorithm, kind), "kms:Sign", work).await
    }

    /// Verifies a signature of a message or its digest (`Verify`).
    ///
    /// # Errors
    /// `KMSInvalidSignatureException`, and as [`Self::sign`].
    pub async fn verify(
        &self,
        caller: &Caller,
        name: &KeyRef,
        algorithm: SigningAlgorithm,
        message: Signable,
        signature: Vec<u8>,
    ) -> Result<KeyArn, KmsError> {
        let kind = message.kind();
        let work = move |pair: &KeyPair| pair.verify(algorithm.scheme(), message.for_algorithm(algorithm)?, &signature);
        self.with_signer(caller, name, (algorithm, kind), "kms:Verify", work).await.map(|(arn, ())| arn)
    }

    /// The public half of an asymmetric key (`GetPublicKey`).
    ///
    /// # Errors
    /// `UnsupportedOperationException` of a key that has none, and as the key's state and policy say.
    pub fn public_key(&self, caller: &Caller, name: &KeyRef) -> Result<PublicKey, KmsError> {
        let key = self.find(caller, name, "kms:GetPublicKey")?;
        self.permit(caller, &key, "kms:GetPublicKey")?;
        // The state before the spec, and a disabled key shows its public half. (Recorded on AWS by floci's
        // getPublicKeyRejectsAKeyPendingDeletionOrImport and getPublicKeyWorksOnADisabledKey.)
        key.state(self.clock.now()).allow(Need::Toggle, key.arn.as_str())?;
        if !key.spec.is_asymmetric() {
            return Err(KmsErrorKind::UnsupportedOperation.with(""));
        }
        let der = pair(&key)?.public().to_vec();
        Ok(PublicKey { arn: key.arn.clone(), der, spec: key.spec, usage: key.usage })
    }

    /// The secret shared with the holder of `peer`, a SubjectPublicKeyInfo on the key's curve (`DeriveSharedSecret`); also
    /// whether the key's material is imported.
    ///
    /// # Errors
    /// `ValidationException` if `peer` is no such key, and as the key's state, usage and policy say.
    pub async fn shared_secret(
        &self,
        caller: &Caller,
        name: &KeyRef,
        peer: Vec<u8>,
    ) -> Result<(KeyArn, SecretBytes, bool), KmsError> {
        let key = self.usable(caller, name, "kms:DeriveSharedSecret", KeyUsage::KeyAgreement)?;
        let (arn, external) = (key.arn.clone(), key.is_external());
        let agreed = off_thread(move || pair(&key).map(|pair| pair.agree(&peer))).await??;
        // AWS has no text for it. (Recorded on AWS: test_derive_shared_secret.)
        let secret = agreed.map_err(|error| KmsErrorKind::Validation.because("", error))?;
        Ok((arn, secret, external))
    }

    /// A fresh pair of `kind`, its private half wrapped under a symmetric key (`GenerateDataKeyPair`).
    ///
    /// # Errors
    /// As the key's state, usage and policy say.
    pub async fn generate_pair(
        &self,
        caller: &Caller,
        name: &KeyRef,
        context: &EncryptionContext,
        kind: PairKind,
        action: &'static str,
    ) -> Result<GeneratedPair, KmsError> {
        self.symmetric(caller, name, (action, context))?;
        let (private, public) = self.make(move || kind.generate_pair()).await?;
        // Making the pair takes time: the key may have been disabled meanwhile.
        let key = self.symmetric(caller, name, (action, context))?;
        let wrapped = self.wrap(&key, private.expose(), context)?;
        Ok(GeneratedPair { private, wrapped, public })
    }

    async fn with_signer<T: Send + 'static>(
        &self,
        caller: &Caller,
        name: &KeyRef,
        (algorithm, kind): (SigningAlgorithm, &'static str),
        action: &'static str,
        work: impl FnOnce(&KeyPair) -> Result<T, PairError> + Send + 'static,
    ) -> Result<(KeyArn, T), KmsError> {
        let key = self.usable(caller, name, action, KeyUsage::SignVerify)?;
        if !key.spec.signing_algorithms().contains(&algorithm) {
            return Err(incompatible(&key, algorithm.as_str()));
        }
        let (arn, spec) = (key.arn.clone(), key.spec);
        let result = off_thread(move || pair(&key).map(work)).await??;
        result.map(|result| (arn, result)).map_err(|error| refused(error, algorithm, (kind, spec)))
    }
}

impl Signable {
    /// Its `MessageType`.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Raw(_) => "RAW",
            Self::Digest(_) => "DIGEST",
            Self::ExternalMu(_) => "EXTERNAL_MU",
        }
    }

    /// What the algorithm is given.
    fn for_algorithm(&self, algorithm: SigningAlgorithm) -> Result<Message<'_>, PairError> {
        let is_prehashed = algorithm == SigningAlgorithm::Ed25519PhSha512;
        match self {
            Self::Raw(_) if is_prehashed => Err(PairError::Unsuited),
            // "KMS still performs the SHA-512 prehash … This means the input is hashed twice: once by you and once by KMS." (API
            // reference, Sign)
            Self::Digest(digest) if is_prehashed && digest.len() == 64 => Ok(Message::Raw(digest)),
            Self::Raw(message) => Ok(Message::Raw(message)),
            Self::Digest(digest) => Ok(Message::Digest(digest)),
            Self::ExternalMu(mu) => Ok(Message::Mu(mu)),
        }
    }
}

fn refused(error: PairError, algorithm: SigningAlgorithm, (kind, spec): (&str, KeySpec)) -> KmsError {
    let algorithm = algorithm.as_str();
    match error {
        PairError::BadSignature => KmsErrorKind::InvalidSignature.with(""),
        PairError::DigestLength => {
            KmsErrorKind::Validation.with(format!("Digest is invalid length for algorithm {algorithm}."))
        }
        // Recorded on AWS by floci's mlDsaRejectsDigestMessageType and ed25519RejectsTheCombinationsRealKmsRejects.
        PairError::Unsuited => {
            let with = match spec.material() {
                MaterialKind::Pair(PairKind::MlDsa(_)) => format!("key spec {}", spec.as_str()),
                _ => format!("algorithm {algorithm}"),
            };
            KmsErrorKind::Validation.with(format!("Message type {kind} is incompatible with {with}."))
        }
        PairError::Malformed | PairError::Failed => KmsErrorKind::Internal.because("signing failed", error),
    }
}

/// The kind of pair that GenerateDataKeyPair makes for `spec`, if it makes such.
pub fn data_pair(spec: KeySpec) -> Option<PairKind> {
    match spec.material() {
        // "The DER-encoded PKCS8 PrivateKeyInfo contains the private key in seed format" (API reference, GenerateDataKeyPair).
        MaterialKind::Pair(kind @ (PairKind::Rsa(_) | PairKind::Ec(_) | PairKind::Ed25519 | PairKind::MlKem(_))) => {
            Some(kind)
        }
        MaterialKind::Pair(PairKind::MlDsa(_)) | MaterialKind::Symmetric | MaterialKind::Mac(_) => None,
    }
}
