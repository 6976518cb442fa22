//! Days as life cycles count them.

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// The length of a day: 24 hours, unless a test cannot wait that long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Calendar {
    day: i64,
}

impl Default for Calendar {
    fn default() -> Self {
        Self { day: DAY }
    }
}

impl Calendar {
    /// A calendar whose days have `seconds`, at least one.
    pub fn of_days(seconds: u32) -> Self {
        Self { day: i64::from(seconds.max(1)) * 1000 }
    }

    /// When what is to happen `days` after `from` happens: "S3 calculates the time by adding the number of days specified in
    /// the rule to the object creation time and rounding up the resulting time to the next day at midnight UTC". (S3 user
    /// guide, "Lifecycle configuration elements".) Times are in milliseconds since the Unix epoch.
    pub fn due(self, from: i64, days: u32) -> i64 {
        let after = from.saturating_add(self.day.saturating_mul(days.into()));
        self.midnight_before(after).saturating_add(self.day)
    }

    /// The last midnight at or before `at`.
    pub fn midnight_before(self, at: i64) -> i64 {
        at.saturating_sub(at.rem_euclid(self.day))
    }

    /// The last Sunday's midnight at or before `at`: the first day of 1970 was a Thursday.
    pub fn sunday_before(self, at: i64) -> i64 {
        let day = at.div_euclid(self.day);
        (day - (day + 4).rem_euclid(7)).saturating_mul(self.day)
    }

    /// Milliseconds of a day.
    pub fn day(self) -> i64 {
        self.day
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Timestamp, from_millis};

    fn millis(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn due_is_the_midnight_behind() {
        // The user guide's own example.
        let due = Calendar::default().due(millis("2014-01-15T10:30:00Z"), 3);
        assert_eq!(from_millis(due).to_string(), "2014-01-19T00:00:00Z");
        let due = Calendar::default().due(millis("2014-01-15T00:00:00Z"), 1);
        assert_eq!(from_millis(due).to_string(), "2014-01-17T00:00:00Z");
    }

    #[test]
    fn days_may_be_short() {
        let calendar = Calendar::of_days(2);
        assert_eq!(calendar.due(1_500, 1), 4_000);
        assert_eq!(calendar.due(2_000, 0), 4_000);
        assert_eq!(calendar.midnight_before(3_999), 2_000);
        assert_eq!(Calendar::of_days(0).day(), 1_000);
    }

    #[test]
    fn weeks_begin_on_sundays() {
        let sunday = |text| from_millis(Calendar::default().sunday_before(millis(text))).to_string();
        assert_eq!(sunday("2026-11-25T12:00:00Z"), "2026-11-22T00:00:00Z");
        assert_eq!(sunday("2026-11-22T00:00:00Z"), "2026-11-22T00:00:00Z");
        assert_eq!(sunday("1970-01-01T00:00:00Z"), "1969-12-28T00:00:00Z");
    }

    #[test]
    fn far_times_do_not_overflow() {
        assert!(Calendar::default().due(i64::MAX - 1, u32::MAX) > 0);
        assert_eq!(Calendar::default().midnight_before(i64::MIN), i64::MIN);
        assert!(Calendar::default().due(i64::MIN, 0) < 0);
    }
}
