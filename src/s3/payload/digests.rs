//! The digests of a payload: computed as it passes, then held against what was said of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Verified;
use super::plan::{PayloadPlan, PlannedChecksum};
use crate::crypto::digest::{Digest as _, Md5, Sha256};
use crate::s3::checksum::{Algorithm, Checksum, Checksums, Hasher};
use crate::s3::error::{ErrorCode, Result, S3Error};

/// What is computed of a payload and what is expected.
pub(super) struct Digests {
    sha256: Option<Sha256>,
    md5: Option<Md5>,
    /// Every checksum but SHA-256, which shares the hash of the signature, and MD5 where the entity tag is one.
    checksum: Option<Hasher>,
    also: Option<Hasher>,
    signed_sha256: Option<[u8; 32]>,
    content_md5: Option<[u8; 16]>,
    tells_hex: bool,
    planned: PlannedChecksum,
}

impl Digests {
    pub(super) fn of(plan: &PayloadPlan) -> Self {
        let algorithm = plan.checksum.algorithm();
        let sha256 = plan.sha256.is_some() || algorithm == Some(Algorithm::Sha256);
        Self {
            sha256: sha256.then(Sha256::new),
            md5: plan.md5.then(Md5::new),
            checksum: algorithm
                .filter(|algorithm| match algorithm {
                    Algorithm::Sha256 => false,
                    Algorithm::Md5 => !plan.md5,
                    _ => true,
                })
                .map(Hasher::new),
            also: plan.also.map(Hasher::new),
            signed_sha256: plan.sha256,
            content_md5: plan.content_md5,
            tells_hex: plan.tells_hex,
            planned: plan.checksum,
        }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(data);
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(data);
        }
        for checksum in [&mut self.checksum, &mut self.also].into_iter().flatten() {
            checksum.update(data);
        }
    }

    /// Holds the digests against what was signed, declared, and (`trailer`) sent after the body.
    pub(super) fn verify(self, length: u64, trailer: Option<Checksum>) -> Result<Verified> {
        let sha256: Option<[u8; 32]> = self.sha256.map(|sha256| sha256.finalize().into());
        if let (Some(signed), Some(computed)) = (self.signed_sha256, sha256)
            && signed != computed
        {
            return Err(ErrorCode::ContentSha256Mismatch
                .with("ClientComputedContentSHA256", hex::encode(signed))
                .with("S3ComputedContentSHA256", hex::encode(computed)));
        }
        let md5: Option<[u8; 16]> = self.md5.map(|md5| md5.finalize().into());
        if let (Some(sent), Some(computed)) = (self.content_md5, md5)
            && sent != computed
        {
            let expected = if self.tells_hex { hex::encode(sent) } else { STANDARD.encode(sent) };
            return Err(ErrorCode::BadDigest
                .with("ExpectedDigest", expected)
                .with("CalculatedDigest", STANDARD.encode(computed)));
        }
        let shared = |algorithm| match algorithm {
            Algorithm::Sha256 => Checksum::from_digest(algorithm, &sha256?),
            Algorithm::Md5 => Checksum::from_digest(algorithm, &md5?),
            _ => None,
        };
        let computed = match self.checksum {
            Some(hasher) => Some(hasher.finish()),
            None => self.planned.algorithm().and_then(shared),
        };
        let expected = match self.planned {
            PlannedChecksum::None | PlannedChecksum::Computed(_) => None,
            PlannedChecksum::Declared(checksum) => Some(checksum),
            PlannedChecksum::Announced(_) => Some(trailer.ok_or(ErrorCode::MalformedTrailer)?),
        };
        if let Some(expected) = expected
            && computed != Some(expected)
        {
            let algorithm = expected.algorithm();
            let message = format!("The {algorithm} you specified did not match the calculated checksum.");
            return Err(S3Error::new(ErrorCode::BadDigest, message));
        }
        let also = self.also.map(Hasher::finish);
        Ok(Verified { length, md5, checksums: Checksums::over_bytes(computed.into_iter().chain(also)), _proof: () })
    }
}

impl PlannedChecksum {
    pub(super) fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::None => None,
            Self::Computed(algorithm) | Self::Announced(algorithm) => Some(algorithm),
            Self::Declared(checksum) => Some(checksum.algorithm()),
        }
    }
}
