//! Tries again what may pass, after a pause that grows and is drawn at random; never without end, and never so much that a
//! service in trouble gets more of it. (AWS: "Exponential Backoff And Jitter"; SDK reference, "Retry behavior".)

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{Call, Guard};
use crate::crypto::{SharedEntropy, random};
use crate::kms::KmsError;

/// The longest first pause; it doubles with each try.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause of all.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What the budget holds: retries, in thousandths.
const BUDGET: u32 = 50_000;
/// What a retry costs of it.
const COST: u32 = 1_000;
/// What a call that went well gives back: beyond the first fifty, one retry for ten calls.
const REFUND: u32 = 100;

/// Tries again, within a budget that all calls share.
pub struct Retry {
    attempts: u32,
    entropy: SharedEntropy,
    budget: Mutex<u32>,
}

impl Retry {
    /// At most `attempts` tries of a call, the first included.
    pub fn new(attempts: u32, entropy: SharedEntropy) -> Self {
        Self { attempts, entropy, budget: Mutex::new(BUDGET) }
    }

    /// Takes a retry out of the budget, if there is one.
    fn take(&self) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        match budget.checked_sub(COST) {
            Some(rest) => {
                *budget = rest;
                true
            }
            None => false,
        }
    }

    fn give_back(&self) {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        *budget = BUDGET.min(*budget + REFUND);
    }

    /// A pause before the try after `tries`: anything between nothing and the bound ("full jitter").
    fn pause(&self, tries: u32) -> Duration {
        let bound = FIRST_PAUSE.saturating_mul(1 << (tries - 1).min(10)).min(LONGEST_PAUSE);
        let drawn = u32::from_be_bytes(random::bytes(&*self.entropy));
        bound.mul_f64(f64::from(drawn) / f64::from(u32::MAX))
    }
}

#[async_trait]
impl Guard for Retry {
    async fn run<T: Send>(&self, _: &'static str, call: Call<'_, T>) -> Result<T, KmsError> {
        let mut tries = 1;
        loop {
            match call().await {
                Err(error) if error.kind.is_transient() && tries < self.attempts && self.take() => {
                    tracing::debug!(%error, tries, "a call of a key service is tried again");
                    tokio::time::sleep(self.pause(tries)).await;
                    tries += 1;
                }
                Ok(done) => {
                    self.give_back();
                    return Ok(done);
                }
                refused => return refused,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::crypto::random::SeededEntropy;
    use crate::kms::error::KmsErrorKind;

    fn retry(attempts: u32) -> Retry {
        Retry::new(attempts, Arc::new(SeededEntropy::new(1)))
    }

    /// Calls that fail so `failures` times first; how it ended, and after how many tries.
    async fn run(retry: &Retry, failures: u32, kind: KmsErrorKind) -> (bool, u32) {
        let tries = AtomicU32::new(0);
        let result = retry
            .run("Decrypt", &|| {
                let failing = tries.fetch_add(1, Ordering::SeqCst) < failures;
                Box::pin(async move { if failing { Err(kind.with("")) } else { Ok(()) } })
            })
            .await;
        (result.is_ok(), tries.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_nothing_else_is() {
        let retry = retry(3);
        assert_eq!(run(&retry, 2, KmsErrorKind::Unavailable).await, (true, 3));
        assert_eq!(run(&retry, 1, KmsErrorKind::Throttling).await, (true, 2));
        assert_eq!(run(&retry, 9, KmsErrorKind::Unavailable).await, (false, 3));
        assert_eq!(run(&retry, 9, KmsErrorKind::Disabled).await, (false, 1));
        assert_eq!(run(&retry, 9, KmsErrorKind::InvalidCiphertext).await, (false, 1));
    }

    #[tokio::test]
    async fn the_budget_ends_and_fills_again() {
        let retry = retry(2);
        *retry.budget.lock().unwrap() = COST;
        assert_eq!(run(&retry, 9, KmsErrorKind::Unavailable).await, (false, 2));
        assert_eq!(run(&retry, 9, KmsErrorKind::Unavailable).await, (false, 1), "nothing is left");
        for _ in 0..COST / REFUND {
            assert_eq!(run(&retry, 0, KmsErrorKind::Unavailable).await, (true, 1));
        }
        assert_eq!(run(&retry, 9, KmsErrorKind::Unavailable).await, (false, 2));
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let retry = retry(2);
        for tries in 1..40 {
            let bound = FIRST_PAUSE.saturating_mul(1 << (tries - 1).min(10)).min(LONGEST_PAUSE);
            assert!(retry.pause(tries) <= bound, "{tries}");
        }
        let pauses: std::collections::HashSet<Duration> = (0..20).map(|_| retry.pause(5)).collect();
        assert!(pauses.len() > 10, "they are drawn at random");
    }
}
