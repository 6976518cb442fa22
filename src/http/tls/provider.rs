//! The cryptography of TLS: aws-lc-rs, with the ciphers of whichever library is the fastest here.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use crate::crypto::provider::Provider;

/// What TLS is to use, on either side.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if Provider::fastest() == Provider::Ring {
        provider.cipher_suites = rustls::crypto::ring::ALL_CIPHER_SUITES.to_vec();
    }
    Arc::new(provider)
}

/// Makes it the process's own, for libraries that bring their clients and do not ask.
pub fn install() {
    // A second start in one process finds the first one's.
    let _ = CryptoProvider::install_default(Arc::unwrap_or_clone(provider()));
}
