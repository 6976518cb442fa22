//! A circuit breaker: a service that is away is not asked, so that nobody waits for it and it is not overrun when it is back.
//!
//! | state | calls | goes over to |
//! |---|---|---|
//! | closed | are made | open, after so many failures one behind the other |
//! | open | are refused at once, as `Unavailable` | half-open, when it has been open for its time |
//! | half-open | one is made, the others are refused | closed if it goes well, open if it fails |
//!
//! Failures are those that say that the service is away or broken. Refusals are answers: a service that throttles or finds no
//! key, or finds one that cannot be used, is there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Call, Guard};
use crate::kms::KmsError;
use crate::kms::error::KmsErrorKind;

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BreakerState {
    /// Calls are made.
    Closed,
    /// The next call is a trial, or one is under way.
    HalfOpen,
    /// Calls are refused.
    Open,
}

/// A circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    service: String,
    failures: u32,
    rest: Duration,
    inner: Mutex<Inner>,
    opened: AtomicU64,
}

#[derive(Debug)]
enum Inner {
    /// So many failures one behind the other.
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// A trial is under way; one that began before `stale` was given up by its caller.
    Trial {
        stale: Instant,
    },
}

/// What may become of a call.
enum Leave {
    Call,
    Trial,
    Refuse,
}

impl Breaker {
    /// For the service of this name: open for `rest` after `failures` failures.
    pub fn new(service: String, failures: u32, rest: Duration) -> Self {
        Self { service, failures, rest, inner: Mutex::new(Inner::Closed { failures: 0 }), opened: AtomicU64::new(0) }
    }

    /// Where it stands.
    pub fn state(&self) -> BreakerState {
        match *self.inner() {
            Inner::Closed { .. } => BreakerState::Closed,
            Inner::Open { until } if Instant::now() < until => BreakerState::Open,
            Inner::Open { .. } | Inner::Trial { .. } => BreakerState::HalfOpen,
        }
    }

    /// How often it has opened.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self) -> Leave {
        let (mut inner, now) = (self.inner(), Instant::now());
        match *inner {
            Inner::Closed { .. } => Leave::Call,
            Inner::Open { until: end } | Inner::Trial { stale: end } if now >= end => {
                *inner = Inner::Trial { stale: now + self.rest };
                Leave::Trial
            }
            Inner::Open { .. } | Inner::Trial { .. } => Leave::Refuse,
        }
    }

    fn learn(&self, trial: bool, failed: bool) {
        let mut inner = self.inner();
        match (&mut *inner, failed) {
            (Inner::Closed { failures }, false) => *failures = 0,
            (Inner::Closed { failures }, true) => {
                *failures += 1;
                if *failures >= self.failures {
                    self.open(&mut inner);
                }
            }
            (_, false) => {
                tracing::info!(service = self.service, "a key service answers again");
                *inner = Inner::Closed { failures: 0 };
            }
            // A straggler, begun before it opened, tells nothing new.
            (Inner::Open { .. } | Inner::Trial { .. }, true) if !trial => {}
            (_, true) => self.open(&mut inner),
        }
    }

    fn open(&self, inner: &mut Inner) {
        let seconds = self.rest.as_secs();
        tracing::warn!(service = self.service, seconds, "a key service is away: it is left alone for a while");
        self.opened.fetch_add(1, Ordering::Relaxed);
        *inner = Inner::Open { until: Instant::now() + self.rest };
    }
}

/// Whether the error says that the service is away or broken.
fn is_failure(error: &KmsError) -> bool {
    matches!(error.kind, KmsErrorKind::Unavailable | KmsErrorKind::DependencyTimeout | KmsErrorKind::Internal)
}

#[async_trait]
impl Guard for Breaker {
    async fn run<T: Send>(&self, _: &'static str, call: Call<'_, T>) -> Result<T, KmsError> {
        let trial = match self.ask() {
            Leave::Call => false,
            Leave::Trial => true,
            Leave::Refuse => {
                return Err(KmsErrorKind::Unavailable.with(format!("the key service '{}' is away", self.service)));
            }
        };
        let result = call().await;
        self.learn(trial, result.as_ref().err().is_some_and(is_failure));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_millis(40);

    async fn call(breaker: &Breaker, answer: Option<KmsErrorKind>) -> Result<(), KmsErrorKind> {
        let result = breaker
            .run("Decrypt", &|| {
                Box::pin(async move {
                    match answer {
                        Some(kind) => Err(kind.with("asked")),
                        None => Ok(()),
                    }
                })
            })
            .await;
        result.map_err(|error| if error.message == "asked" { error.kind } else { KmsErrorKind::DryRunOperation })
    }

    const REFUSED: Result<(), KmsErrorKind> = Err(KmsErrorKind::DryRunOperation);
    const AWAY: Option<KmsErrorKind> = Some(KmsErrorKind::Unavailable);

    #[tokio::test]
    async fn it_opens_tries_and_closes() {
        let breaker = Breaker::new("away".to_owned(), 3, REST);
        for _ in 0..2 {
            assert_eq!(call(&breaker, AWAY).await, Err(KmsErrorKind::Unavailable));
        }
        assert_eq!(call(&breaker, None).await, Ok(()), "a success in between begins the count anew");
        for _ in 0..3 {
            assert_eq!(breaker.state(), BreakerState::Closed);
            assert_eq!(call(&breaker, AWAY).await, Err(KmsErrorKind::Unavailable));
        }
        assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Open, 1));
        assert_eq!(call(&breaker, None).await, REFUSED);
        tokio::time::sleep(REST).await;
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(call(&breaker, AWAY).await, Err(KmsErrorKind::Unavailable), "the trial");
        assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Open, 2));
        assert_eq!(call(&breaker, None).await, REFUSED);
        tokio::time::sleep(REST).await;
        assert_eq!(call(&breaker, None).await, Ok(()));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[tokio::test]
    async fn there_is_one_trial_at_a_time() {
        let breaker = Breaker::new("away".to_owned(), 1, REST);
        assert!(call(&breaker, AWAY).await.is_err());
        tokio::time::sleep(REST).await;
        // A trial whose caller gave it up holds the others off for a while, and no longer.
        let given_up = breaker.run::<()>("Decrypt", &|| Box::pin(std::future::pending()));
        assert!(tokio::time::timeout(Duration::from_millis(1), given_up).await.is_err());
        assert_eq!(call(&breaker, None).await, REFUSED);
        tokio::time::sleep(REST).await;
        assert_eq!(call(&breaker, None).await, Ok(()));
    }

    #[tokio::test]
    async fn refusals_are_answers() {
        let breaker = Breaker::new("there".to_owned(), 1, REST);
        for kind in
            [KmsErrorKind::Throttling, KmsErrorKind::NotFound, KmsErrorKind::AccessDenied, KmsErrorKind::KeyUnavailable]
        {
            assert_eq!(call(&breaker, Some(kind)).await, Err(kind));
            assert_eq!(breaker.state(), BreakerState::Closed);
        }
    }
}
