//! Which object keys of a lane rest, as an entry of theirs was not carried out, and until when.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long a key rests after its first failure; twice as long after each further one.
const FIRST: Duration = Duration::from_secs(1);
/// How long it rests at most.
const LONGEST: Duration = Duration::from_secs(60);
/// Keys that may rest at once: where more do, what is behind waits for one of them.
const MOST: usize = 1024;

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

/// The keys of one lane that rest.
#[derive(Default)]
pub(super) struct Rests(HashMap<String, Rest>);

struct Rest {
    until: Instant,
    next: Duration,
}

impl Rests {
    /// Whether it is `key`'s turn.
    pub fn turn(&self, key: &str, now: Instant) -> Turn {
        match self.0.get(key) {
            None if self.0.len() >= MOST => Turn::Full,
            None => Turn::First,
            Some(rest) if rest.until <= now => Turn::Again,
            Some(_) => Turn::Rests,
        }
    }

    /// An entry of `key` was not carried out.
    pub fn put_off(&mut self, key: String, now: Instant) {
        let next = self.0.get(&key).map_or(FIRST, |rest| rest.next);
        self.0.insert(key, Rest { until: now + next, next: (next * 2).min(LONGEST) });
    }

    /// The entries of `key` were carried out.
    pub fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// It is the turn of all: what was wrong may be mended. What fails again rests as long as it would have.
    pub fn wake(&mut self, now: Instant) {
        self.0.values_mut().for_each(|rest| rest.until = now);
    }

    /// All whose turn it was at `now` had it: those that were not put off again have no entries any more.
    pub fn drop_gone(&mut self, now: Instant) {
        self.0.retain(|_, rest| rest.until > now);
    }

    /// No key has entries any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// When the first of them is over, if any key rests.
    pub fn first(&self) -> Option<Instant> {
        self.0.values().map(|rest| rest.until).min()
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
            rests.put_off("k".to_owned(), now);
            let rest = Duration::from_secs(seconds);
            assert_eq!(rests.first(), Some(now + rest));
            assert_eq!(rests.turn("k", now + rest - Duration::from_millis(1)), Turn::Rests);
            now += rest;
            assert_eq!(rests.turn("k", now), Turn::Again);
        }
        assert_eq!(rests.turn("other", now), Turn::First);
        rests.put_off("k".to_owned(), now);
        rests.wake(now);
        assert_eq!(rests.turn("k", now), Turn::Again);
        rests.put_off("k".to_owned(), now);
        assert_eq!(rests.first(), Some(now + LONGEST));
        rests.drop_gone(now);
        assert_eq!(rests.turn("k", now), Turn::Rests);
        rests.forget("k");
        assert_eq!(rests.turn("k", now), Turn::First);
        rests.put_off("gone".to_owned(), now);
        rests.drop_gone(now + FIRST);
        assert_eq!(rests.first(), None);
    }

    #[test]
    fn no_more_rest_than_memory_is_meant_for() {
        let (mut rests, now) = (Rests::default(), Instant::now());
        for number in 0..MOST {
            assert_eq!(rests.turn("k", now), Turn::First);
            rests.put_off(number.to_string(), now);
        }
        assert_eq!(rests.turn("k", now), Turn::Full);
        assert_eq!(rests.turn("0", now), Turn::Rests);
        rests.clear();
        assert_eq!(rests.turn("k", now), Turn::First);
    }
}
