//! Which object keys of a lane rest, as an entry of theirs was not carried out, and until when.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::time::Duration;

use tokio::time::Instant;

/// How long a key rests after its first failure; twice as long after each further one.
const FIRST: Duration = Duration::from_secs(1);
/// How long it rests at most.
const LONGEST: Duration = Duration::from_secs(60);
/// Keys that may rest at once, some 10 MB of a lane's memory: where more do, what is behind waits for one of them.
const MOST: usize = 128 * 1024;

/// What may be done with the entries of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// They are carried.
    First,
    /// They are tried again.
    Again,
    /// They wait.
    Rests,
    /// They wait, and so does what is behind them: as many keys rest as may.
    Full,
}

/// The keys of one lane that rest, by their hashes, which take little memory. Where two keys share one, each rests with the
/// other.
#[derive(Default)]
pub(super) struct Rests {
    hasher: RandomState,
    rests: HashMap<u64, Rest>,
}

struct Rest {
    until: Instant,
    next: Duration,
    /// When the first of the failures was since which nothing of the key was carried out.
    since: Instant,
}

impl Rests {
    /// Whether it is `key`'s turn.
    pub fn turn(&self, key: &str, now: Instant) -> Turn {
        match self.rests.get(&self.hash(key)) {
            None if self.rests.len() >= MOST => Turn::Full,
            None => Turn::First,
            Some(rest) if rest.until <= now => Turn::Again,
            Some(_) => Turn::Rests,
        }
    }

    /// Since when nothing of `key` was carried out, if something was not.
    pub fn since(&self, key: &str) -> Option<Instant> {
        self.rests.get(&self.hash(key)).map(|rest| rest.since)
    }

    /// An entry of `key` was not carried out.
    pub fn put_off(&mut self, key: &str, now: Instant) {
        let hash = self.hash(key);
        let (next, since) = self.rests.get(&hash).map_or((FIRST, now), |rest| (rest.next, rest.since));
        self.rests.insert(hash, Rest { until: now + next, next: (next * 2).min(LONGEST), since });
    }

    /// The entries of `key` were carried out.
    pub fn forget(&mut self, key: &str) {
        self.rests.remove(&self.hash(key));
    }

    /// It is the turn of all: what was wrong may be mended. What fails again rests as long as it would have.
    pub fn wake(&mut self, now: Instant) {
        self.rests.values_mut().for_each(|rest| rest.until = now);
    }

    /// All whose turn it was at `now` had it, or have it (`held`): the others that were not put off again have no entries any
    /// more.
    pub fn drop_gone<'k>(&mut self, now: Instant, held: impl Iterator<Item = &'k str>) {
        let held: HashSet<u64> = held.map(|key| self.hash(key)).collect();
        self.rests.retain(|hash, rest| rest.until > now || held.contains(hash));
    }

    /// No key has entries any more.
    pub fn clear(&mut self) {
        self.rests.clear();
    }

    /// When the first of them is over, if any key rests.
    pub fn first(&self) -> Option<Instant> {
        self.rests.values().map(|rest| rest.until).min()
    }

    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_rest_longer_and_longer() {
        let (mut rests, mut now) = (Rests::default(), Instant::now());
        assert_eq!((rests.turn("k", now), rests.first()), (Turn::First, None));
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            rests.put_off("k", now);
            let rest = Duration::from_secs(seconds);
            assert_eq!(rests.first(), Some(now + rest));
            assert_eq!(rests.turn("k", now + rest - Duration::from_millis(1)), Turn::Rests);
            now += rest;
            assert_eq!(rests.turn("k", now), Turn::Again);
        }
        assert_eq!(rests.turn("other", now), Turn::First);
        rests.put_off("k", now);
        rests.wake(now);
        assert_eq!(rests.turn("k", now), Turn::Again);
        rests.put_off("k", now);
        assert_eq!(rests.first(), Some(now + LONGEST));
        rests.drop_gone(now, std::iter::empty());
        assert_eq!(rests.turn("k", now), Turn::Rests);
        rests.forget("k");
        assert_eq!(rests.turn("k", now), Turn::First);
        rests.put_off("gone", now);
        rests.drop_gone(now + FIRST, std::iter::once("gone"));
        assert_eq!(rests.turn("gone", now), Turn::Rests, "it has its turn");
        rests.drop_gone(now + FIRST, std::iter::empty());
        assert_eq!(rests.first(), None);
    }

    #[test]
    fn since_when_a_key_fails_is_kept_until_something_is_carried_out() {
        let (mut rests, now) = (Rests::default(), Instant::now());
        assert_eq!(rests.since("k"), None);
        rests.put_off("k", now);
        rests.put_off("k", now + FIRST);
        rests.wake(now);
        assert_eq!(rests.since("k"), Some(now));
        rests.forget("k");
        rests.put_off("k", now + LONGEST);
        assert_eq!(rests.since("k"), Some(now + LONGEST));
    }

    #[test]
    fn a_receiver_may_refuse_very_many_keys_and_take_others() {
        let (mut rests, now) = (Rests::default(), Instant::now());
        for number in 0..100_000 {
            rests.put_off(&number.to_string(), now);
        }
        assert_eq!((rests.turn("good", now), rests.turn("99999", now)), (Turn::First, Turn::Rests));
    }

    #[test]
    fn no_more_rest_than_memory_is_meant_for() {
        let (mut rests, now) = (Rests::default(), Instant::now());
        for number in 0..MOST {
            assert_eq!(rests.turn("k", now), Turn::First);
            rests.put_off(&number.to_string(), now);
        }
        assert_eq!(rests.turn("k", now), Turn::Full);
        assert_eq!(rests.turn("0", now), Turn::Rests);
        rests.clear();
        assert_eq!(rests.turn("k", now), Turn::First);
    }
}
