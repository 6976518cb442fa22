//! Whom clients of other servers trust.

use reqwest::Certificate;

/// A file of authorities holds none.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It is no PEM, or what is in it is no certificate.
    #[error(transparent)]
    Malformed(#[from] reqwest::Error),
    /// There is nothing of the kind in it.
    #[error("there is no certificate (-----BEGIN CERTIFICATE-----) in it")]
    Empty,
}

/// The certificates of a PEM bundle, one at least.
///
/// # Errors
/// [`TrustError`].
pub fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, TrustError> {
    let certificates = Certificate::from_pem_bundle(pem)?;
    if certificates.is_empty() { Err(TrustError::Empty) } else { Ok(certificates) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_vouches_for_nobody() {
        for none in ["", "nothing of the kind\n", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            let error = authorities(none.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "there is no certificate (-----BEGIN CERTIFICATE-----) in it", "{none}");
        }
    }
}
