//! Failed signatures, by client address: who guesses is slowed down.
//!
//! An address may fail so often a minute; beyond, what it signs is not looked at, whatever it is signed with, except with
//! keys that have been used well from there since it began to fail, so that one bad client behind a shared address does not
//! lock out the others.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::sigv4::{Error, Signed};

/// Addresses remembered at once.
const MOST_ADDRESSES: usize = 65_536;
/// Keys remembered of one address.
const MOST_KEYS: usize = 256;

/// Counts failures.
#[derive(Debug)]
pub struct Throttle {
    /// Failures that an address may have each minute; 0: any number.
    per_minute: u32,
    addresses: Mutex<HashMap<IpAddr, Failing>>,
    /// How many addresses there are: mostly none, and then nothing is locked.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Failing {
    /// Failures that are still allowed.
    left: f64,
    /// Milliseconds: when that was so.
    at: i64,
    good: HashSet<String>,
}

impl Throttle {
    /// Allows each address so many failures a minute; 0: any number.
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, addresses: Mutex::default(), count: AtomicUsize::new(0) }
    }

    /// What `verify` says of a request that `client` signed with this key, unless it has failed too often.
    ///
    /// # Errors
    /// [`Error::TooManyFailures`], and those of `verify`.
    pub fn attempt(
        &self,
        client: IpAddr,
        access_key_id: &str,
        now: Timestamp,
        verify: impl FnOnce() -> Result<Signed, Error>,
    ) -> Result<Signed, Error> {
        if self.per_minute == 0 {
            return verify();
        }
        let (client, now) = (network(client), now.as_millisecond());
        if self.count.load(Ordering::Relaxed) > 0
            && let Some(failing) = self.addresses().get_mut(&client)
        {
            failing.recover(self.per_minute, now);
            if failing.left < 1.0 && !failing.good.contains(access_key_id) {
                return Err(Error::TooManyFailures);
            }
        }
        let result = verify();
        match &result {
            Err(Error::SignatureDoesNotMatch(_) | Error::InvalidAccessKeyId { .. } | Error::InvalidToken) => {
                self.failed(client, now);
            }
            Ok(_) if self.count.load(Ordering::Relaxed) > 0 => {
                if let Some(failing) =
                    self.addresses().get_mut(&client).filter(|failing| failing.good.len() < MOST_KEYS)
                {
                    failing.good.insert(access_key_id.to_owned());
                }
            }
            _ => {}
        }
        result
    }

    fn failed(&self, client: IpAddr, now: i64) {
        let full = f64::from(self.per_minute);
        let mut addresses = self.addresses();
        if addresses.len() >= MOST_ADDRESSES {
            for failing in addresses.values_mut() {
                failing.recover(self.per_minute, now);
            }
            addresses.retain(|_, failing| failing.left < full);
        }
        // Where so many fail at once that there is no room, the newest are not counted.
        if addresses.len() < MOST_ADDRESSES {
            let fresh = Failing { left: full, at: now, good: HashSet::new() };
            let failing = addresses.entry(client).or_insert(fresh);
            failing.recover(self.per_minute, now);
            failing.left = (failing.left - 1.0).max(0.0);
        }
        self.count.store(addresses.len(), Ordering::Relaxed);
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, Failing>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failing {
    fn recover(&mut self, per_minute: u32, now: i64) {
        let full = f64::from(per_minute);
        #[expect(clippy::cast_precision_loss, reason = "a pause of 2^53 milliseconds recovers everything")]
        let passed = (now - self.at).max(0) as f64;
        self.left = (self.left + passed * full / 60_000.0).min(full);
        self.at = self.at.max(now);
    }
}

/// Who is one client: an IPv4 address, or an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::clock::from_millis;
    use crate::sigv4::{EMPTY_SHA256, Service, Signer};

    fn good() -> Result<Signed, Error> {
        let signer = Signer {
            access_key_id: "AKIAGOOD",
            secret: b"secret",
            session_token: None,
            region: "us-east-1",
            service: Service::S3,
        };
        let mut request = http::Request::builder().method(Method::GET).uri("https://h/").body(()).unwrap();
        signer.sign(&mut request, EMPTY_SHA256, from_millis(0)).map_err(|_| Error::MissingDate)
    }

    fn bad() -> Result<Signed, Error> {
        Err(Error::InvalidToken)
    }

    #[test]
    fn who_fails_too_often_waits() {
        let throttle = Throttle::new(60);
        let client = "192.0.2.1".parse().unwrap();
        let at = from_millis;
        for _ in 0..60 {
            assert!(matches!(throttle.attempt(client, "A", at(0), bad), Err(Error::InvalidToken)));
        }
        assert!(matches!(throttle.attempt(client, "A", at(0), good), Err(Error::TooManyFailures)));
        assert!(throttle.attempt("192.0.2.2".parse().unwrap(), "A", at(0), good).is_ok(), "others do not");
        assert!(throttle.attempt(client, "A", at(1_000), good).is_ok(), "a second gives one try back");
        assert!(matches!(throttle.attempt(client, "B", at(1_000), bad), Err(Error::InvalidToken)));
        assert!(matches!(throttle.attempt(client, "B", at(1_000), bad), Err(Error::TooManyFailures)));
        assert!(throttle.attempt(client, "A", at(1_000), good).is_ok(), "a key that was good there goes on");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let throttle = Throttle::new(1);
        let one = "2001:db8::1".parse().unwrap();
        let other = "2001:db8::ffff:2".parse().unwrap();
        assert!(matches!(throttle.attempt(one, "A", from_millis(0), bad), Err(Error::InvalidToken)));
        assert!(matches!(throttle.attempt(other, "A", from_millis(0), bad), Err(Error::TooManyFailures)));
        assert!(Throttle::new(0).attempt(one, "A", from_millis(0), good).is_ok());
    }
}
