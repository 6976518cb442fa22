//! Whose AES-GCM is used.
//!
//! AWS-LC's is the fastest with AVX-512. On processors that have vector AES without it (AMD's Zen 3, Intel's Alder Lake and
//! later desktops) it falls back to 128-bit AES-NI, where ring has a 256-bit loop that takes half the time. Both compute the
//! same function, and the tests hold each against the other.

use std::sync::LazyLock;

/// A library that has AES-GCM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Provider {
    /// aws-lc-rs.
    AwsLc,
    /// ring.
    Ring,
}

impl Provider {
    /// The one whose AES-GCM is the fastest on this processor.
    pub fn fastest() -> Self {
        static FASTEST: LazyLock<Provider> = LazyLock::new(Provider::find);
        *FASTEST
    }

    #[cfg(target_arch = "x86_64")]
    fn find() -> Self {
        use std::arch::is_x86_feature_detected as has;
        let vector_aes = has!("vaes") && has!("vpclmulqdq") && has!("avx2");
        let avx512 = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
        if vector_aes && !avx512 { Self::Ring } else { Self::AwsLc }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn find() -> Self {
        Self::AwsLc
    }
}
