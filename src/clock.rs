//! Time, injected: nothing else in the crate reads the system clock (`.clippy.toml` enforces it).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::fmt::temporal::DateTimePrinter;

/// A source of wall-clock time.
pub trait Clock: Send + Sync + 'static {
    /// The current time, UTC.
    fn now(&self) -> Timestamp;
}

/// A shared clock, as components hold it.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still until told otherwise, for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_millisecond()))
    }

    /// Moves the clock forward (or back, if negative) by `seconds`.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A time from milliseconds since the Unix epoch, clamped to the representable range.
pub fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// `2006-02-03T16:45:09.000Z`: timestamps in S3's XML bodies.
pub fn iso8601(at: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    PRINTER.timestamp_to_string(&at)
}

/// `2006-02-03T16:45:09Z`: timestamps of most other documents, to the second.
pub fn iso8601_seconds(at: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(0));
    PRINTER.timestamp_to_string(&at)
}

/// `Feb 3, 2006, 4:45:09 PM`: the times in what CloudTrail shows of a request and its answer.
pub fn cloudtrail_date(at: Timestamp) -> String {
    at.strftime("%b %-d, %Y, %-I:%M:%S %p").to_string()
}

/// `Fri, 03 Feb 2006 16:45:09 GMT`: the IMF-fixdate of RFC 9110 section 5.6.7.
pub fn http_date(at: Timestamp) -> String {
    const PRINTER: rfc2822::DateTimePrinter = rfc2822::DateTimePrinter::new();
    // Years before the first cannot be written so, and no clock shows them.
    PRINTER.timestamp_to_rfc9110_string(&at).unwrap_or_default()
}

/// Reads an HTTP date in any of the three forms of RFC 9110 section 5.6.7, or the date of a mail (RFC 5322 section 3.3), whose zone
/// is a number: botocore writes `Date` so.
pub fn parse_http_date(text: &str) -> Option<Timestamp> {
    match httpdate::parse_http_date(text) {
        Ok(time) => Timestamp::try_from(time).ok(),
        Err(_) => rfc2822::DateTimeParser::new().parse_timestamp(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_the_wire() {
        let at = from_millis(1_138_985_109_000);
        assert_eq!(iso8601(at), "2006-02-03T16:45:09.000Z");
        assert_eq!(iso8601_seconds(from_millis(1_138_985_109_999)), "2006-02-03T16:45:09Z");
        assert_eq!(http_date(at), "Fri, 03 Feb 2006 16:45:09 GMT");
        assert_eq!(parse_http_date("Fri, 03 Feb 2006 16:45:09 GMT"), Some(at));
        assert_eq!(parse_http_date("Fri, 03 Feb 2006 16:45:09 -0000"), Some(at));
        assert_eq!(parse_http_date("Fri, 03 Feb 2006 17:45:09 +0100"), Some(at));
        assert_eq!(parse_http_date("yesterday"), None);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(from_millis(1_000));
        clock.advance(2);
        assert_eq!(clock.now(), from_millis(3_000));
    }
}
