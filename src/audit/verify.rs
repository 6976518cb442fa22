//! Verification of the log: every line against its own hash, the line before it and the digests; every digest against its
//! signature and the digest before it; the digests' end against what somebody else knows of it. What is wrong is named by its
//! line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::chain::{Hash, Line, Link};
use super::digest::{self, Occasion, Signed};
use super::mark::{KeptMark, Mark};
use super::segment::Segment;
use crate::clock::Timestamp;
use crate::crypto::pair::Ed25519Public;

/// Findings that are listed; more are counted.
const MAX_FINDINGS: usize = 1000;
/// By how much lines may lie further apart than digests do before that is clearly wrong: clocks are set, disks are slow.
const LENIENCE: Duration = Duration::from_secs(900);

/// What is known of the log from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    /// What the server keeps of the last digest under its root key; `None` where that key is not at hand.
    pub kept: Option<KeptMark>,
    /// A digest that an auditor has noted down.
    pub noted: Option<Mark>,
    /// How often digests are made while there are events.
    pub digest_interval: Option<Duration>,
}

/// What a verification found.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Files of the log.
    pub segments: u64,
    /// Lines that were read.
    pub lines: u64,
    /// The first line's number, if there is one.
    pub first: Option<u64>,
    /// The last line's number, if there is one.
    pub last: Option<u64>,
    /// Digests that were read.
    pub digests: u64,
    /// The last digest, as `NUMBER:HASH`: what an auditor notes down for the next time.
    pub last_digest: Option<String>,
    /// Whether the digests' end was held against what the server keeps of it under its root key.
    pub held_against_mark: bool,
    /// Lines after the last digest, which only the chain vouches for.
    pub unsigned: u64,
    /// What is wrong; at most 1 000.
    pub findings: Vec<Finding>,
    /// How much is wrong.
    pub count: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line in it, from 1; 0: the whole file.
    pub line: u64,
    /// What.
    pub problem: String,
}

impl Report {
    fn find(&mut self, file: &str, line: u64, problem: impl Into<String>) {
        self.count += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { file: file.to_owned(), line, problem: problem.into() });
        }
    }

    /// Whether nothing was there to verify: no file of a log, and no digest.
    pub fn is_empty(&self) -> bool {
        self.segments == 0 && self.digests == 0
    }

    /// Whether the log is as it was written.
    pub fn is_clean(&self) -> bool {
        self.count == 0
    }
}

/// Verifies the log in `dir`, whose digests the holder of `key` must have signed, and of which something may be known. The
/// server may run meanwhile, if what it keeps was read before.
///
/// # Errors
/// What the file system says.
pub fn verify(dir: &Path, key: &Ed25519Public, known: &Anchors) -> io::Result<Report> {
    let mut report = Report::default();
    let digests = read_digests(dir, key, known, &mut report)?;
    let signed = digests.last_key_value().map_or(0, |(sequence, _)| *sequence);
    let unsigned = Unsigned { signed, span: None, first: 0 };
    let mut walk = Walk { report, digests, end: None, missing: Vec::new(), unsigned };
    for segment in Segment::list(dir)? {
        walk.report.segments += 1;
        let name = segment.name();
        let mut reader = BufReader::new(File::open(&segment.path)?);
        let (mut text, mut number) = (Vec::new(), 0);
        while reader.read_until(b'\n', &mut text)? > 0 {
            number += 1;
            // A last line without its end is one that is being written.
            if text.ends_with(b"\n") {
                walk.line(&name, number, &text);
            }
            text.clear();
        }
    }
    Ok(walk.end(known))
}

/// The signed ends of the log by line number, each with the number of its digest.
fn read_digests(
    dir: &Path,
    key: &Ed25519Public,
    known: &Anchors,
    report: &mut Report,
) -> io::Result<BTreeMap<u64, (Hash, u64)>> {
    let kept = if let Some(KeptMark::At(mark)) = known.kept { Some(mark) } else { None };
    // What must be there, and who says so.
    let mut due = [(kept, "the server's own mark names"), (known.noted, "was noted down")];
    report.held_against_mark = known.kept.is_some_and(|kept| kept != KeptMark::Never);
    let mut digests = BTreeMap::new();
    let (mut number, mut line_hash): (u64, Hash) = (0, [0; 32]);
    for (at, line) in (1..).zip(digest::read_lines(dir)?) {
        report.digests += 1;
        let Some(signed) = Signed::parse(&line) else {
            report.find(digest::FILE, at, "is not a digest");
            continue;
        };
        if !signed.is_signed_by(key) {
            report.find(digest::FILE, at, format!("digest {} has no valid signature", signed.digest.number));
        } else if signed.digest.number != number + 1 || signed.digest.previous != line_hash {
            report.find(digest::FILE, at, format!("digest {} does not follow digest {number}", signed.digest.number));
        }
        if signed.digest.occasion == Occasion::DigestsLost {
            let problem = format!("digest {} says that the server found earlier ones missing", signed.digest.number);
            report.find(digest::FILE, at, problem);
        }
        (number, line_hash) = (signed.digest.number, signed.line_hash);
        let mark = Mark { number, hash: line_hash };
        for (due, by) in &mut due {
            let Some(wanted) = due.take_if(|due| due.number == number) else { continue };
            if wanted != mark {
                report.find(digest::FILE, at, format!("digest {number} is not the one that {by}"));
            }
        }
        report.last_digest = Some(mark.to_string());
        let (hash, first) = *digests.entry(signed.digest.sequence).or_insert((signed.digest.hash, number));
        if hash != signed.digest.hash {
            let problem = format!("digest {number} signs another line {} than digest {first}", signed.digest.sequence);
            report.find(digest::FILE, at, problem);
        }
    }
    if report.digests == 0 {
        report.find(digest::FILE, 0, "has no digest, and every log has one: nothing says what was written");
    }
    for (mark, by) in due {
        if let Some(Mark { number, .. }) = mark {
            report.find(digest::FILE, report.digests, format!("digest {number} that {by} is missing"));
        }
    }
    if known.kept == Some(KeptMark::Lost) {
        report.find(digest::FILE, 0, "the server's mark, which says how far the digests go, is missing or was changed");
    }
    Ok(digests)
}

/// Lines after the last digest.
struct Unsigned {
    /// The last line that a digest covers.
    signed: u64,
    /// The earliest and the latest event among them.
    span: Option<(Timestamp, Timestamp)>,
    /// The first of them that has a part in the span.
    first: u64,
}

/// What tells when a line was written. An event about data tells when its request began, which may be long before.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Timed {
    event_time: String,
    management_event: bool,
}

impl Unsigned {
    fn line(&mut self, line: &Line<'_>) {
        if line.sequence <= self.signed {
            return;
        }
        let Ok(Timed { event_time, management_event: true }) = serde_json::from_slice(line.event) else { return };
        let Ok(event_time) = event_time.parse::<Timestamp>() else { return };
        match &mut self.span {
            Some((earliest, latest)) => (*earliest, *latest) = (event_time.min(*earliest), event_time.max(*latest)),
            none => (*none, self.first) = (Some((event_time, event_time)), line.sequence),
        }
    }

    /// What is wrong: a digest is made within `interval` of the first line that none covers.
    fn problem(&self, interval: Duration) -> Option<String> {
        let (earliest, latest) = self.span?;
        let span = latest.duration_since(earliest).unsigned_abs();
        let is_wrong = span > interval + LENIENCE;
        is_wrong.then(|| {
            let (first, minutes) = (self.first, span.as_secs() / 60);
            format!(
                "no digest covers line {first} and those after it, which span {minutes} minutes: digests are missing"
            )
        })
    }
}

struct Walk {
    report: Report,
    digests: BTreeMap<u64, (Hash, u64)>,
    /// The chain's end so far; its hash is `None` after a line that could not be trusted.
    end: Option<(u64, Option<Hash>)>,
    /// Lines that were passed over, as inclusive ranges, and where that was seen.
    missing: Vec<(u64, u64, String, u64)>,
    unsigned: Unsigned,
}

impl Walk {
    fn line(&mut self, file: &str, number: u64, text: &[u8]) {
        self.report.lines += 1;
        let Some(line) = Line::parse(text) else {
            self.report.find(file, number, "is not a line of the log");
            // It stood where the next one was due.
            self.end = self.end.map(|(sequence, _)| (sequence + 1, None));
            return;
        };
        let Line { sequence, previous, .. } = line;
        self.unsigned.line(&line);
        let intact = line.is_intact();
        if !intact {
            self.report.find(file, number, format!("line {sequence} was changed"));
        } else if let Some((hash, digest)) = self.digests.get(&sequence)
            && *hash != line.hash
        {
            self.report.find(file, number, format!("line {sequence} is not the one that digest {digest} signed"));
        }
        self.report.first = self.report.first.or(Some(sequence));
        match self.end {
            None => self.begin(file, number, line),
            Some((end, _)) if sequence <= end => return self.out_of_order(file, number, sequence, end),
            Some((end, _)) if sequence > end + 1 => {
                self.missing.push((end + 1, sequence - 1, file.to_owned(), number));
            }
            Some((end, Some(hash))) if hash != previous && intact => {
                self.report.find(file, number, format!("line {sequence} does not follow line {end} as it stands"));
            }
            Some(_) => {}
        }
        self.report.last = Some(sequence);
        self.end = Some((sequence, intact.then_some(line.hash)));
    }

    /// The first line: the log's own first, or the first after those whose time was over, the last of which was signed.
    fn begin(&mut self, file: &str, number: u64, line: Line<'_>) {
        let before = Link { sequence: line.sequence.saturating_sub(1), hash: line.previous };
        let signed = self.digests.get(&before.sequence).is_some_and(|(hash, _)| *hash == before.hash);
        if before != Link::START && !signed {
            self.missing.push((1, before.sequence, file.to_owned(), number));
        }
    }

    fn out_of_order(&mut self, file: &str, number: u64, sequence: u64, end: u64) {
        let found = self.missing.iter().position(|(from, to, ..)| (*from..=*to).contains(&sequence));
        let Some(found) = found else {
            self.report.find(file, number, format!("line {sequence} stands there again"));
            return;
        };
        self.report.find(file, number, format!("line {sequence} was moved behind line {end}"));
        let (from, to, seen_in, seen_at) = self.missing.swap_remove(found);
        let rest = [(from, sequence - 1), (sequence + 1, to)].into_iter().filter(|(from, to)| from <= to);
        self.missing.extend(rest.map(|(from, to)| (from, to, seen_in.clone(), seen_at)));
    }

    fn end(mut self, known: &Anchors) -> Report {
        let last = self.end.map_or(0, |(sequence, _)| sequence);
        let signed = self.unsigned.signed;
        // The mark says it better, and a machine that slept makes no digest though its clock goes on.
        let interval = known.digest_interval.filter(|_| !self.report.held_against_mark);
        if let Some(problem) = interval.and_then(|interval| self.unsigned.problem(interval)) {
            self.report.find(digest::FILE, self.report.digests, problem);
        }
        self.report.unsigned = last.saturating_sub(signed);
        if signed > last {
            self.missing.push((last + 1, signed, digest::FILE.to_owned(), self.report.digests));
        }
        self.missing.sort_unstable();
        for (from, to, file, line) in std::mem::take(&mut self.missing) {
            let problem = if from == to {
                format!("line {from} is missing")
            } else {
                format!("lines {from} to {to} are missing")
            };
            self.report.find(&file, line, problem);
        }
        self.report
    }
}
