//! The cryptography of TLS: aws-lc-rs, with the ciphers of whichever library is the fastest here.

use std::sync::Arc;

use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;

use crate::crypto::provider::Provider;

/// The cipher suites with AES-128, which come first, as S3 has it: they take a fifth less of the processor than those with AES-256, that
/// OpenSSL's and rustls's clients name first, and none is known to break either.
const FIRST: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

/// What TLS is to use, on either side, the best first.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if Provider::fastest() == Provider::Ring {
        provider.cipher_suites = rustls::crypto::ring::ALL_CIPHER_SUITES.to_vec();
    }
    provider.cipher_suites.sort_by_key(|suite| !FIRST.contains(&suite.suite()));
    Arc::new(provider)
}

/// Makes it the process's own, for libraries that bring their clients and do not ask.
pub fn install() {
    // A second start in one process finds the first one's.
    let _ = CryptoProvider::install_default(Arc::unwrap_or_clone(provider()));
}
