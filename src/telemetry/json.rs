//! A line of the log as a JSON object: `{"timestamp":…,"level":…,"message":…,FIELDS…,"target":…}`.
//!
//! It is what tracing-subscriber's own format makes of an event outside of any span (spans are not shown), with the same bytes,
//! for a third of the instructions: that one goes through `std::fmt` with each comma. Every request has a line.

use std::fmt::{self, Write as _};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Bytes of most lines, at most.
const USUAL: usize = 1024;

/// Formats events, with times by `T`.
pub(super) struct JsonLines<T>(pub(super) T);

impl<S, N, T> FormatEvent<S, N> for JsonLines<T>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    T: FormatTime,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::with_capacity(32);
        self.0.format_time(&mut Writer::new(&mut time))?;
        let mut members = Members(Vec::with_capacity(USUAL));
        members.add("timestamp", &time);
        members.add("level", event.metadata().level().as_str());
        event.record(&mut members);
        members.add("target", event.metadata().target());
        writer.write_str(&members.into_line())
    }
}

/// The members so far, each behind a comma.
struct Members(Vec<u8>);

impl Members {
    fn add(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.0.push(b',');
        // Neither texts nor numbers fail, nor does writing to memory.
        let _ = serde_json::to_writer(&mut self.0, name);
        self.0.push(b':');
        let _ = serde_json::to_writer(&mut self.0, value);
    }

    fn into_line(self) -> String {
        let mut line = self.0;
        line[0] = b'{';
        line.extend_from_slice(b"}\n");
        String::from_utf8(line).unwrap_or_default()
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // What does not show itself is shown as far as it did.
        let _ = write!(text, "{value:?}");
        self.add(field.name(), &text);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Lines {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    struct Noon;

    impl FormatTime for Noon {
        fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
            line.write_str("2006-02-03T12:00:00.000000Z")
        }
    }

    fn say() {
        let (nothing, name): (Option<&str>, Option<&str>) = (None, Some("a \"name\"\n\u{1}\u{fffd}é"));
        let error = io::Error::other("it \\ failed");
        tracing::info!(
            target: "strongroom::access",
            name,
            nothing,
            peer = %"127.0.0.1:1",
            version = ?http::Version::HTTP_11,
            status = Some(200_u16),
            signed = -1,
            large = u64::MAX,
            part = 0.5,
            whole = 2.0_f64,
            nan = f64::NAN,
            complete = true,
            %error,
            cause = &error as &(dyn std::error::Error + 'static),
            "a request, number {}",
            1
        );
        tracing::warn!("no fields");
        tracing::error!(only = "a field");
    }

    #[test]
    fn lines_are_those_of_the_library() {
        let (ours, theirs) = (Lines::default(), Lines::default());
        let builder = tracing_subscriber::fmt().with_writer(ours.clone()).event_format(JsonLines(Noon));
        tracing::subscriber::with_default(builder.finish(), say);
        let builder = tracing_subscriber::fmt().with_writer(theirs.clone()).with_timer(Noon).json().flatten_event(true);
        tracing::subscriber::with_default(builder.finish(), say);
        let text = |lines: &Lines| String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text(&ours), text(&theirs));
        assert_eq!(text(&ours).lines().count(), 3);
    }
}
