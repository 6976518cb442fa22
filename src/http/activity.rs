//! What one connection is doing, and whether it has been at it for too long.
//!
//! A connection's task asks [`Activity::overdue`] now and then. The rules, each with its own limit:
//!
//! | state | closed when |
//! |---|---|
//! | no request | no request has come for `idle` |
//! | a request's head has begun (HTTP/1.1) | it is not complete after `header` |
//! | a request is being handled | never: its handler answers for it, and [`super::body`] times the request's body |
//! | a response waits for the client | neither its body nor (HTTP/1.1) the socket has moved for `stall` |

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;

/// A connection's limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Without a request.
    pub(super) idle: Duration,
    /// From a head's first byte to its last.
    pub(super) header: Duration,
    /// Of a body that the client should read or send.
    pub(super) stall: Duration,
}

impl Patience {
    pub(super) fn new(limits: &Limits) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Self {
            idle: seconds(limits.idle_seconds),
            header: seconds(limits.header_seconds),
            stall: seconds(limits.stall_seconds),
        }
    }

    /// How often to look.
    pub(super) fn tick(&self) -> Duration {
        let shortest = self.idle.min(self.header).min(self.stall);
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(5))
    }
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Overdue {
    /// Nobody asks for anything.
    Idle,
    /// A request's head does not end.
    Header,
    /// A response is not read.
    Stalled,
}

/// A connection's state. Times are milliseconds since its start.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    multiplexed: bool,
    moved: AtomicU64,
    unread: AtomicBool,
    requests: Mutex<Requests>,
    /// How far ahead of the clock a test is.
    #[cfg(test)]
    ahead: AtomicU64,
}

#[derive(Debug, Default)]
struct Requests {
    open: usize,
    /// Since when no request is open.
    idle_since: u64,
    /// When the first byte came of a head that is not complete.
    head_since: Option<u64>,
    next: u64,
    sending: HashMap<u64, Arc<AtomicU64>>,
}

impl Activity {
    pub(super) fn new(multiplexed: bool) -> Self {
        Self {
            start: Instant::now(),
            multiplexed,
            moved: AtomicU64::new(0),
            unread: AtomicBool::new(false),
            requests: Mutex::default(),
            #[cfg(test)]
            ahead: AtomicU64::new(0),
        }
    }

    /// Bytes have come.
    pub(super) fn received(&self) {
        if self.multiplexed {
            return;
        }
        let now = self.now();
        let mut requests = self.lock();
        if requests.open == 0 {
            requests.head_since.get_or_insert(now);
        }
    }

    /// Bytes have gone.
    pub(super) fn sent(&self) {
        self.moved.store(self.now(), Ordering::Relaxed);
    }

    /// A request was answered without reading all of its body.
    pub(super) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether the client may still be sending what nobody will read: a body, or what comes behind a head that could not be parsed.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed) || self.lock().head_since.is_some()
    }

    /// Whether several requests share the connection: HTTP/2.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed
    }

    /// A request's head is complete.
    pub(super) fn begin(self: &Arc<Self>) -> Open {
        let mut requests = self.lock();
        requests.open += 1;
        requests.head_since = None;
        Open(Arc::clone(self))
    }

    /// Whether some limit has been passed.
    pub(super) fn overdue(&self, patience: &Patience) -> Option<Overdue> {
        let now = self.now();
        let passed = |since: u64, limit: Duration| Duration::from_millis(now.saturating_sub(since)) >= limit;
        let requests = self.lock();
        if requests.open == 0 {
            return match requests.head_since {
                Some(since) if passed(since, patience.header) => Some(Overdue::Header),
                _ if passed(requests.idle_since, patience.idle) && requests.head_since.is_none() => Some(Overdue::Idle),
                _ => None,
            };
        }
        let socket_stands = self.multiplexed || passed(self.moved.load(Ordering::Relaxed), patience.stall);
        let stalled = |since: &Arc<AtomicU64>| passed(since.load(Ordering::Relaxed), patience.stall);
        (socket_stands && requests.sending.values().any(stalled)).then_some(Overdue::Stalled)
    }

    fn now(&self) -> u64 {
        let elapsed = self.start.elapsed();
        #[cfg(test)]
        let elapsed = elapsed + Duration::from_millis(self.ahead.load(Ordering::Relaxed));
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open request; dropped when its response has ended.
#[derive(Debug)]
pub(super) struct Open(Arc<Activity>);

impl Open {
    /// The response's body is now the client's to read.
    pub(super) fn sending(&self) -> Sending {
        let since = Arc::new(AtomicU64::new(self.0.now()));
        let mut requests = self.0.lock();
        let id = requests.next;
        requests.next += 1;
        requests.sending.insert(id, Arc::clone(&since));
        Sending { activity: Arc::clone(&self.0), id, since }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let now = self.0.now();
        let mut requests = self.0.lock();
        requests.open = requests.open.saturating_sub(1);
        requests.idle_since = now;
    }
}

/// A response's body on its way.
#[derive(Debug)]
pub(super) struct Sending {
    activity: Arc<Activity>,
    id: u64,
    since: Arc<AtomicU64>,
}

impl Sending {
    /// The client has taken what it was given, and the next bytes are there.
    pub(super) fn moved(&self) {
        self.since.store(self.activity.now(), Ordering::Relaxed);
    }

    /// The client waits for us.
    pub(super) fn waits_for_us(&self) {
        self.since.store(u64::MAX, Ordering::Relaxed);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.activity.lock().sending.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { idle: Duration::from_secs(10), header: Duration::from_secs(3), stall: Duration::from_secs(5) };

    impl Activity {
        fn pass(&self, seconds: u64) {
            self.ahead.fetch_add(seconds * 1000, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_state_has_its_limit() {
        let activity = Arc::new(Activity::new(false));
        activity.pass(9);
        assert_eq!(activity.overdue(&PATIENCE), None);
        activity.pass(1);
        assert_eq!(activity.overdue(&PATIENCE), Some(Overdue::Idle));
        activity.received();
        activity.pass(2);
        activity.received();
        assert_eq!(activity.overdue(&PATIENCE), None);
        activity.pass(1);
        assert_eq!(activity.overdue(&PATIENCE), Some(Overdue::Header));
        let open = activity.begin();
        activity.pass(100);
        assert_eq!(activity.overdue(&PATIENCE), None, "a handler may take its time");
        let sending = open.sending();
        activity.pass(4);
        activity.sent();
        activity.pass(4);
        assert_eq!(activity.overdue(&PATIENCE), None, "the socket moved");
        activity.pass(1);
        assert_eq!(activity.overdue(&PATIENCE), Some(Overdue::Stalled));
        sending.waits_for_us();
        assert_eq!(activity.overdue(&PATIENCE), None);
        sending.moved();
        activity.pass(5);
        assert_eq!(activity.overdue(&PATIENCE), Some(Overdue::Stalled));
        drop((sending, open));
        assert_eq!(activity.overdue(&PATIENCE), None);
        activity.pass(10);
        assert_eq!(activity.overdue(&PATIENCE), Some(Overdue::Idle));
    }

    #[test]
    fn other_streams_do_not_keep_a_stalled_one_alive() {
        let activity = Arc::new(Activity::new(true));
        let open = activity.begin();
        let _sending = open.sending();
        activity.pass(5);
        activity.sent();
        activity.received();
        assert_eq!(activity.overdue(&PATIENCE), Some(Overdue::Stalled));
    }
}
