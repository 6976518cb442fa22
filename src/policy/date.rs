//! Dates as conditions have them: W3C's profile of ISO 8601 (a year, a month, a day, or a time in UTC or with an offset), read
//! as leniently as IAM reads them, or seconds since the epoch. (IAM user guide, "Date condition operators"; W3C, "Date and Time
//! Formats".) What a date leaves out is its beginning.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

use crate::clock::Timestamp;

/// The point in time that `text` names.
pub(super) fn date(text: &str) -> Option<Timestamp> {
    // Four digits are a year: no clock was ever that few seconds from the epoch.
    let is_year = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    if let (false, Ok(seconds)) = (is_year, text.parse::<i64>()) {
        return Timestamp::from_second(seconds).ok();
    }
    let (day, rest) = text.split_once(['T', 't']).unwrap_or((text, ""));
    let (time, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => (&rest[..at], offset(&rest[at..])?),
        None => (rest, Offset::UTC),
    };
    let time = if time.is_empty() { Time::midnight() } else { self::time(time)? };
    offset.to_timestamp(DateTime::from_parts(self::day(day)?, time)).ok()
}

/// A year, a month or a day of one: of the month, or, with three digits, of the year.
fn day(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let year = number(parts.next()?, 1..=4)?;
    let first = Date::new(year, 1, 1).ok()?;
    match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => Some(first),
        (Some(of_year), None, _) if of_year.len() == 3 => {
            first.with().day_of_year(number(of_year, 3..=3)?).build().ok()
        }
        (Some(month), None, _) => Date::new(year, number(month, 1..=2)?, 1).ok(),
        (Some(month), Some(day), None) => Date::new(year, number(month, 1..=2)?, number(day, 1..=2)?).ok(),
        _ => None,
    }
}

/// Hours, minutes, and seconds with up to nine decimals.
fn time(text: &str) -> Option<Time> {
    let (whole, nanos) = match text.split_once(['.', ',']) {
        Some((whole, decimals)) => (whole, format!("{:0<9}", digits(decimals, 1..=9)?).parse().ok()?),
        None => (text, 0),
    };
    let mut parts = whole.split(':');
    let mut next = || parts.next().map_or(Some(0), |part| number(part, 1..=2));
    let (hour, minute, second) = (next()?, next()?, next()?);
    let is_whole = parts.next().is_none() && (nanos == 0 || whole.matches(':').count() == 2);
    Time::new(hour, minute, second, nanos).ok().filter(|_| is_whole)
}

/// `Z`, or a sign, hours and perhaps minutes.
fn offset(text: &str) -> Option<Offset> {
    let mut chars = text.chars();
    let sign = match chars.next()? {
        '+' => 1,
        '-' => -1,
        _ => return chars.as_str().is_empty().then_some(Offset::UTC),
    };
    let (hours, minutes) = chars.as_str().split_once(':').unwrap_or((chars.as_str(), "00"));
    let (hours, minutes): (i32, i32) = (number(hours, 2..=2)?, number(minutes, 2..=2)?);
    let is_one = hours < 24 && minutes < 60;
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok().filter(|_| is_one)
}

fn digits(text: &str, length: std::ops::RangeInclusive<usize>) -> Option<&str> {
    (length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

fn number<T: std::str::FromStr>(text: &str, length: std::ops::RangeInclusive<usize>) -> Option<T> {
    digits(text, length)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_iam_reads_them() {
        for (text, expected) in [
            ("2026-11-26T01:02:03Z", "2026-11-26T01:02:03Z"),
            ("2026-11-26T01:02:03.250z", "2026-11-26T01:02:03.25Z"),
            ("2026-11-26T01:02:03,5+00:00", "2026-11-26T01:02:03.5Z"),
            ("2026-11-26T01:02+01:30", "2026-11-25T23:32:00Z"),
            ("2026-11-26t1:02:03-08", "2026-11-26T09:02:03Z"),
            ("2026-11-26T23+23", "2026-11-26T00:00:00Z"),
            ("2026-11-26T", "2026-11-26T00:00:00Z"),
            ("2026-11-26", "2026-11-26T00:00:00Z"),
            ("2026-1-6", "2026-01-06T00:00:00Z"),
            ("2026-032", "2026-02-01T00:00:00Z"),
            ("2026-11", "2026-11-01T00:00:00Z"),
            ("2026", "2026-01-01T00:00:00Z"),
            ("12T", "0012-01-01T00:00:00Z"),
            ("1795651200", "2026-11-26T00:00:00Z"),
            ("-1", "1969-12-31T23:59:59Z"),
            ("0", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(date(text).map(|at| at.to_string()).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "T",
            "2026-13",
            "2026-02-30",
            "2026-11-26-1",
            "2026-11-26T25:00Z",
            "2026-11-26T1:2:3:4Z",
            "2026-11-26T01:02.5Z",
            "2026-11-26T01:02:03.Z",
            "2026-11-26T01:02:03.1234567890Z",
            "2026-11-26T01:02:03+1",
            "2026-11-26T01:02:03+24",
            "2026-11-26T01:02:03+01:60",
            "2026-11-26T01:02:03Zx",
            "2026-11-26 01:02:03Z",
            "9223372036854775808",
            "9223372036854775807",
            "\u{661}\u{662}T",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }
}
