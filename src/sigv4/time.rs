//! The two forms of time in a signature.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// A time to the second, in ISO 8601's basic format: `20150830T123600Z`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AmzDate {
    text: [u8; 16],
    at: Timestamp,
}

impl AmzDate {
    /// The second in which `at` lies.
    pub fn at(at: Timestamp) -> Self {
        let text = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        // Years below 1000 or above 9999 cannot be written so, and no clock shows them.
        Self::parse(&text).unwrap_or(Self { text: *b"19700101T000000Z", at: Timestamp::UNIX_EPOCH })
    }

    /// Reads exactly `YYYYMMDDTHHMMSSZ`.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 16] = text.as_bytes().try_into().ok()?;
        if bytes[8] != b'T' || bytes[15] != b'Z' {
            return None;
        }
        let number = |from: usize, to: usize| {
            bytes[from..to].iter().try_fold(0_i16, |n, b| b.is_ascii_digit().then(|| n * 10 + i16::from(b - b'0')))
        };
        let pair = |from: usize| number(from, from + 2).and_then(|n| i8::try_from(n).ok());
        let civil = DateTime::new(number(0, 4)?, pair(4)?, pair(6)?, pair(9)?, pair(11)?, pair(13)?, 0).ok()?;
        Some(Self { text: bytes, at: TimeZone::UTC.to_timestamp(civil).ok()? })
    }

    /// `YYYYMMDDTHHMMSSZ`.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.text).unwrap_or_default()
    }

    /// `YYYYMMDD`.
    pub fn day(&self) -> &str {
        &self.as_str()[..8]
    }

    /// The time itself.
    pub fn timestamp(&self) -> Timestamp {
        self.at
    }
}

impl fmt::Display for AmzDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_basic_format_and_nothing_else() {
        let date = AmzDate::parse("20150830T123600Z").unwrap();
        assert_eq!(date.timestamp().as_second(), 1_440_938_160);
        assert_eq!(date.day(), "20150830");
        assert_eq!(AmzDate::at(date.timestamp()), date);
        for bad in
            ["", "20150830T123600", "2015-08-30T12:36Z", "20151330T123600Z", "2015083 T123600Z", "20150830T1236é"]
        {
            assert!(AmzDate::parse(bad).is_none(), "{bad}");
        }
    }
}
