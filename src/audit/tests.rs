//! The log as its writer, its reader and its verifier see it, on a real directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::chain::Line;
use super::mark::{KeptMark, Mark};
use super::search::{Attribute, Filter, search};
use super::segment::{Follower, Segment};
use super::verify::{Anchors, Report, verify};
use super::*;
use crate::clock::{ManualClock, from_millis};
use crate::crypto::pair::{Ed25519Public, PairKind, Purpose};
use crate::crypto::random::SeededEntropy;

/// Keeps the mark in memory, beyond the reach of who writes to the disk.
#[derive(Debug)]
struct Memory(Mutex<KeptMark>);

impl KeepMark for Memory {
    fn read(&self) -> std::io::Result<KeptMark> {
        Ok(*self.0.lock().unwrap())
    }

    fn write(&self, mark: Mark) -> std::io::Result<()> {
        *self.0.lock().unwrap() = KeptMark::At(mark);
        Ok(())
    }
}

struct Bench {
    dir: tempfile::TempDir,
    kept: Arc<Memory>,
    pkcs8: crate::crypto::SecretBytes,
    public: Ed25519Public,
    clock: Arc<ManualClock>,
    entropy: SeededEntropy,
}

impl Bench {
    fn new() -> Self {
        let pkcs8 = PairKind::Ed25519.generate().unwrap();
        let public = Ed25519Public::from_der(open_key(&pkcs8).public()).unwrap();
        let clock = Arc::new(ManualClock::new(from_millis(1_700_000_000_000)));
        let kept = Arc::new(Memory(Mutex::new(KeptMark::Never)));
        Self { dir: tempfile::tempdir().unwrap(), kept, pkcs8, public, clock, entropy: SeededEntropy::new(7) }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("audit")
    }

    fn options(&self) -> Options {
        Options {
            log: LogOptions {
                dir: self.path(),
                sync: false,
                segment_bytes: 16 << 20,
                retention: None,
                max_bytes: None,
            },
            data_events: false,
            required: false,
            digest_interval: Duration::from_secs(3600),
        }
    }

    fn open(&self, options: Options) -> Audit {
        let keeper = Arc::clone(&self.kept) as Arc<dyn KeepMark>;
        Audit::open(options, open_key(&self.pkcs8), keeper, Arc::clone(&self.clock) as SharedClock).unwrap()
    }

    fn event(&self, name: &'static str) -> Event {
        self.event_of(Category::Management, name)
    }

    fn event_of(&self, category: Category, name: &'static str) -> Event {
        let operation = ServiceOperation {
            source: "kms.amazonaws.com",
            name,
            read_only: true,
            category,
            region: "us-east-1",
            entropy: &self.entropy,
        };
        let user = UserIdentity::of("000000000000", "arn:aws:iam::000000000000:user/team/ann", Some("AKIAEXAMPLE"));
        let mut event = Event::of_service_call(operation, crate::clock::Clock::now(&*self.clock), user);
        event.resources.push(Resource {
            account_id: Some("000000000000".to_owned()),
            kind: "AWS::KMS::Key",
            arn: "arn:aws:kms:us-east-1:000000000000:key/k1".to_owned(),
        });
        event
    }

    /// Writes `count` events, from a start of the server to its end.
    async fn write(&self, options: Options, count: usize) {
        let audit = self.open(options);
        for _ in 0..count {
            audit.record(self.event("Decrypt"));
        }
        audit.flush().await;
        assert_eq!(audit.figures().waiting, 0);
    }

    /// As an auditor without the root key, who has noted nothing down.
    fn verify(&self) -> Report {
        self.verify_knowing(&Anchors::default())
    }

    fn verify_knowing(&self, known: &Anchors) -> Report {
        verify(&self.path(), &self.public, known).unwrap()
    }

    /// As somebody who has the root key.
    fn verify_with_mark(&self) -> Report {
        self.verify_knowing(&Anchors { kept: Some(self.kept.read().unwrap()), ..Anchors::default() })
    }

    fn problems(&self) -> Vec<String> {
        problems(self.verify())
    }

    /// Changes the lines of the log's only file.
    fn tamper(&self, change: impl FnOnce(&mut Vec<String>)) {
        let segment = only_segment(&self.path());
        let text = fs::read_to_string(&segment.path).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(&segment.path, lines.join("\n") + "\n").unwrap();
    }
}

fn problems(report: Report) -> Vec<String> {
    report.findings.into_iter().map(|finding| finding.problem).collect()
}

/// Writes the events anew without a key: the chain takes none.
fn rechain(lines: &mut [String], change: impl Fn(&str) -> String) {
    let mut link = chain::Link::START;
    for line in lines {
        let event = Line::parse(line.as_bytes()).unwrap().event.to_vec();
        let mut anew = Vec::new();
        link.append(&mut anew, change(&String::from_utf8(event).unwrap()).as_bytes());
        *line = String::from_utf8(anew).unwrap().trim_end().to_owned();
    }
}

fn open_key(pkcs8: &crate::crypto::SecretBytes) -> KeyPair {
    KeyPair::open(PairKind::Ed25519, Purpose::Sign, pkcs8.expose()).unwrap()
}

fn only_segment(dir: &Path) -> Segment {
    let mut segments = Segment::list(dir).unwrap();
    assert_eq!(segments.len(), 1);
    segments.remove(0)
}

#[tokio::test]
async fn a_log_that_nobody_touched_is_clean_across_restarts() {
    let bench = Bench::new();
    bench.write(bench.options(), 3).await;
    bench.write(bench.options(), 2).await;
    let report = bench.verify();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.lines, report.first, report.last, report.unsigned), (5, Some(1), Some(5), 0));
    // The one that the log began with, and one at each end of the server.
    assert_eq!(report.digests, 3);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&bench.path()), mode(&only_segment(&bench.path()).path)), (0o700, 0o600));
}

#[tokio::test]
async fn every_kind_of_tampering_is_found_and_named() {
    type Change = fn(&mut Vec<String>);
    let cases: &[(&str, Change)] = &[
        ("line 3 was changed", |lines| lines[2] = lines[2].replace("Decrypt", "Encrypt")),
        ("line 3 is missing", |lines| drop(lines.remove(2))),
        ("line 3 was moved behind line 4", |lines| lines.swap(2, 3)),
        ("lines 1 to 2 are missing", |lines| drop(lines.drain(..2))),
        ("lines 5 to 6 are missing", |lines| lines.truncate(4)),
        ("line 2 stands there again", |lines| lines.insert(3, lines[1].clone())),
        ("is not a line of the log", |lines| lines[4] = "{}".to_owned()),
        ("is not a line of the log", |lines| lines.insert(1, String::new())),
    ];
    for (problem, change) in cases {
        let bench = Bench::new();
        bench.write(bench.options(), 6).await;
        bench.tamper(change);
        assert!(bench.problems().iter().any(|found| found == problem), "{problem}: {:?}", bench.problems());
    }
}

#[tokio::test]
async fn a_log_written_anew_is_not_the_one_that_was_signed() {
    let bench = Bench::new();
    bench.write(bench.options(), 4).await;
    bench.tamper(|lines| rechain(lines, |event| event.replace("Decrypt", "Encrypt")));
    assert_eq!(bench.problems(), ["line 4 is not the one that digest 2 signed"]);
    // Nor do digests by another key help.
    let other = Ed25519Public::from_der(open_key(&PairKind::Ed25519.generate().unwrap()).public()).unwrap();
    let report = verify(&bench.path(), &other, &Anchors::default()).unwrap();
    assert!(report.findings.iter().any(|finding| finding.problem == "digest 1 has no valid signature"));
}

#[tokio::test]
async fn digests_are_chained_too() {
    let bench = Bench::new();
    for _ in 0..3 {
        bench.write(bench.options(), 1).await;
    }
    let path = digest::path(&bench.path());
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&path, format!("{}\n{}\n", lines[0], lines[2..].join("\n"))).unwrap();
    assert_eq!(bench.problems(), ["digest 3 does not follow digest 1"]);
}

#[tokio::test]
async fn a_log_that_lost_its_digests_or_its_lines_is_not_as_it_was_written() {
    let bench = Bench::new();
    // Fresh, as before its first event; and while there are lines that only the chain vouches for.
    bench.write(bench.options(), 0).await;
    let report = bench.verify();
    assert!(report.is_clean() && !report.is_empty(), "{report:?}");
    assert_eq!((report.digests, report.lines), (1, 0));
    let audit = bench.open(bench.options());
    audit.record(bench.event("Decrypt"));
    audit.flush().await;
    let report = bench.verify();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.digests, report.lines, report.unsigned), (1, 1, 1));
    drop(audit);

    let (digests, lines) = (digest::path(&bench.path()), only_segment(&bench.path()).path);
    let lost = |file: &Path| {
        let kept = fs::read(file).unwrap();
        fs::remove_file(file).unwrap();
        let problems = bench.problems();
        fs::write(file, kept).unwrap();
        problems
    };
    assert_eq!(lost(&lines), ["line 1 is missing"]);
    let none = ["has no digest, and every log has one: nothing says what was written"];
    assert_eq!(lost(&digests), none);
    fs::write(&digests, "").unwrap();
    assert_eq!(bench.problems(), none);
    fs::remove_file(&digests).unwrap();
    fs::remove_file(&lines).unwrap();
    assert!(bench.verify().is_empty() && !bench.verify().is_clean());
    // The next start goes on, and what it signs says what was missing, to every verification from then on.
    bench.write(bench.options(), 1).await;
    let lost = ["digest 1 says that the server found earlier ones missing"];
    assert_eq!(bench.problems(), lost);
    bench.write(bench.options(), 1).await;
    assert_eq!(bench.problems(), lost);
}

#[tokio::test]
async fn digests_that_were_cut_short_are_held_against_the_mark() {
    let bench = Bench::new();
    for _ in 0..3 {
        bench.write(bench.options(), 2).await;
    }
    let noted = Anchors { noted: bench.verify().last_digest.unwrap().parse().ok(), ..Anchors::default() };
    assert!(bench.verify_knowing(&noted).is_clean() && bench.verify_with_mark().is_clean());
    assert!(bench.verify_with_mark().held_against_mark && !bench.verify().held_against_mark);
    let other = Anchors { noted: format!("1:{}", "0".repeat(64)).parse().ok(), ..Anchors::default() };
    let report = bench.verify_knowing(&other);
    assert_eq!(report.findings[0].line, 1);
    assert_eq!(problems(report), ["digest 1 is not the one that was noted down"]);
    // As somebody does who can write to the disk and has no key: an event is gone, another changed, and what is left of the
    // digests vouches for nothing.
    bench.tamper(|lines| {
        lines.remove(1);
        rechain(lines, |event| event.replacen("Decrypt", "Encrypt", 1));
    });
    let path = digest::path(&bench.path());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.split_inclusive('\n').next().unwrap()).unwrap();
    assert_eq!(problems(bench.verify_with_mark()), ["digest 4 that the server's own mark names is missing"]);
    assert_eq!(problems(bench.verify_knowing(&noted)), ["digest 4 that was noted down is missing"]);
    // The server signs what it finds, and says that it is not all that was signed.
    bench.write(bench.options(), 1).await;
    assert_eq!(bench.problems(), ["digest 2 says that the server found earlier ones missing"]);
    // That digest cannot be cut off either.
    fs::write(&path, text.split_inclusive('\n').next().unwrap()).unwrap();
    bench.write(bench.options(), 1).await;
    assert_eq!(bench.problems(), ["digest 2 says that the server found earlier ones missing"]);
}

#[tokio::test]
async fn a_log_from_before_there_were_marks_gets_one_and_a_lost_mark_shows() {
    let bench = Bench::new();
    bench.write(bench.options(), 2).await;
    *bench.kept.0.lock().unwrap() = KeptMark::Never;
    // Nothing new to sign.
    bench.write(bench.options(), 0).await;
    let report = bench.verify_with_mark();
    assert!(report.is_clean() && report.held_against_mark, "{report:?}");
    assert_eq!(report.digests, 2);
    // A crash between a digest and its mark.
    let before = bench.kept.read().unwrap();
    bench.write(bench.options(), 1).await;
    *bench.kept.0.lock().unwrap() = before;
    assert!(bench.verify_with_mark().is_clean());
    bench.write(bench.options(), 1).await;
    assert!(bench.verify_with_mark().is_clean());

    *bench.kept.0.lock().unwrap() = KeptMark::Lost;
    let missing = "the server's mark, which says how far the digests go, is missing or was changed";
    assert_eq!(problems(bench.verify_with_mark()), [missing]);
    bench.write(bench.options(), 1).await;
    assert_eq!(problems(bench.verify_with_mark()), ["digest 5 says that the server found earlier ones missing"]);
}

#[tokio::test]
async fn lines_that_a_digest_was_due_for_are_found() {
    let bench = Bench::new();
    let known = Anchors { digest_interval: Some(Duration::from_secs(300)), ..Anchors::default() };
    let audit = bench.open(bench.options());
    // The thread's first look at its timer has nothing to sign.
    tokio::time::sleep(Duration::from_millis(50)).await;
    for seconds in [0, 600, 599] {
        bench.clock.advance(seconds);
        audit.record(bench.event("Decrypt"));
    }
    audit.flush().await;
    // Not clearly.
    assert!(bench.verify_knowing(&known).is_clean());
    // What is about data tells when its request began.
    bench.clock.advance(100);
    audit.record(bench.event_of(Category::Data, "GetObject"));
    audit.flush().await;
    assert!(bench.verify_knowing(&known).is_clean());
    audit.record(bench.event("Decrypt"));
    audit.flush().await;
    let problem = "no digest covers line 1 and those after it, which span 21 minutes: digests are missing";
    assert_eq!(problems(bench.verify_knowing(&known)), [problem]);
    drop(audit);
    assert!(bench.verify_knowing(&known).is_clean());
}

#[tokio::test]
async fn a_last_line_that_was_written_anew_is_never_signed() {
    let bench = Bench::new();
    bench.write(bench.options(), 2).await;
    bench.tamper(|lines| rechain(lines, |event| event.replace("Decrypt", "Encrypt")));
    bench.write(bench.options(), 0).await;
    assert_eq!(bench.problems(), ["line 2 is not the one that digest 2 signed"]);
    bench.write(bench.options(), 1).await;
    assert!(bench.problems().contains(&"line 2 is not the one that digest 2 signed".to_owned()));
}

#[tokio::test]
async fn a_torn_line_is_cut_off_and_lines_without_a_digest_get_one() {
    let bench = Bench::new();
    bench.write(bench.options(), 2).await;
    let segment = only_segment(&bench.path());
    let whole = fs::read(&segment.path).unwrap();
    // As after a crash: a line that no digest covers, and half of another.
    let mut link = Line::parse(whole.split_inclusive(|byte| *byte == b'\n').next_back().unwrap()).unwrap().link();
    let mut crashed = whole.clone();
    link.append(&mut crashed, b"{}");
    let length = crashed.len();
    link.append(&mut crashed, b"{}");
    crashed.truncate(length + 20);
    fs::write(&segment.path, &crashed).unwrap();
    bench.write(bench.options(), 1).await;
    let report = bench.verify();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.lines, report.digests), (4, 4));
}

#[tokio::test]
async fn segments_are_full_at_their_size_and_go_when_their_time_is_over() {
    let bench = Bench::new();
    let small = || {
        let mut options = bench.options();
        options.log.segment_bytes = 1_000;
        options
    };
    for _ in 0..6 {
        bench.write(small(), 2).await;
    }
    let segments = Segment::list(&bench.path()).unwrap();
    assert!(segments.len() > 3, "{segments:?}");
    assert!(bench.verify().is_clean());

    let mut options = small();
    options.log.retention = Some(Duration::from_secs(30 * 86_400));
    // Files have the machine's own time.
    let now = crate::clock::Clock::now(&crate::clock::SystemClock);
    bench.clock.advance(now.as_second() - 1_700_000_000);
    bench.write(options.clone(), 1).await;
    assert!(Segment::list(&bench.path()).unwrap().len() >= segments.len());
    bench.clock.advance(31 * 86_400);
    bench.write(options, 1).await;
    assert_eq!(Segment::list(&bench.path()).unwrap().len(), 1);
    let report = bench.verify();
    assert!(report.is_clean(), "{report:?}");
    assert!(report.first.unwrap() > 10);
}

#[tokio::test]
async fn the_oldest_segments_go_when_there_is_no_more_room() {
    let bench = Bench::new();
    let mut options = bench.options();
    options.log.segment_bytes = 1_000;
    options.log.max_bytes = Some(5_000);
    for _ in 0..10 {
        bench.write(options.clone(), 2).await;
    }
    let segments = Segment::list(&bench.path()).unwrap();
    let total: u64 = segments.iter().map(|segment| fs::metadata(&segment.path).unwrap().len()).sum();
    assert!(total <= 5_000 && segments.len() >= 2, "{total} bytes in {segments:?}");
    let report = bench.verify();
    assert!(report.is_clean() && report.last == Some(20) && report.first > Some(1), "{report:?}");
}

#[tokio::test]
async fn events_are_found_newest_first_by_any_attribute_and_in_pages() {
    let bench = Bench::new();
    let mut options = bench.options();
    options.log.segment_bytes = 3_000;
    let audit = bench.open(options);
    for name in ["Encrypt", "Decrypt", "Encrypt", "Decrypt", "Encrypt"] {
        audit.record(bench.event(name));
        bench.clock.advance(60);
    }
    audit.flush().await;
    let find = |attributes: &[(Attribute, &str)], before, limit| {
        let attributes = attributes.iter().map(|(attribute, value)| (*attribute, (*value).to_owned())).collect();
        search(&bench.path(), &Filter { attributes, ..Filter::default() }, before, limit).unwrap()
    };
    for (attribute, value, count) in [
        (Attribute::EventName, "Encrypt", 3),
        (Attribute::EventName, "Encryp", 0),
        (Attribute::EventSource, "kms.amazonaws.com", 5),
        (Attribute::ReadOnly, "true", 5),
        (Attribute::ReadOnly, "false", 0),
        (Attribute::Username, "ann", 5),
        (Attribute::AccessKeyId, "AKIAEXAMPLE", 5),
        (Attribute::ResourceType, "AWS::KMS::Key", 5),
        (Attribute::ResourceName, "arn:aws:kms:us-east-1:000000000000:key/k1", 5),
        (Attribute::ResourceName, "k1", 5),
        (Attribute::ResourceName, "k", 0),
    ] {
        assert_eq!(find(&[(attribute, value)], None, 50).events.len(), count, "{attribute:?} {value}");
    }
    let all = find(&[], None, 50).events;
    let id = all[2].0["eventID"].as_str().unwrap();
    assert_eq!(find(&[(Attribute::EventId, id)], None, 50).events.len(), 1);

    let first = find(&[(Attribute::EventName, "Encrypt")], None, 2);
    let second = find(&[(Attribute::EventName, "Encrypt")], first.next, 2);
    assert_eq!((first.events.len(), second.events.len(), second.next), (2, 1, None));
    let times: Vec<&Value> = first.events.iter().chain(&second.events).map(|(event, _)| &event["eventTime"]).collect();
    assert_eq!(times, ["2023-11-14T22:17:20Z", "2023-11-14T22:15:20Z", "2023-11-14T22:13:20Z"]);

    let filter = Filter {
        from: Some(from_millis(1_700_000_060_000)),
        until: Some(from_millis(1_700_000_180_000)),
        ..Filter::default()
    };
    assert_eq!(search(&bench.path(), &filter, None, 50).unwrap().events.len(), 3);
}

#[tokio::test]
async fn a_follower_sees_each_line_once_across_segments() {
    let bench = Bench::new();
    let mut options = bench.options();
    options.log.segment_bytes = 2_000;
    let audit = bench.open(options);
    let mut follower = Follower::after(&bench.path(), 0);
    assert_eq!(follower.read(1 << 20).unwrap().len(), 0);
    let mut seen = Vec::new();
    for _ in 0..7 {
        audit.record(bench.event("Decrypt"));
        audit.flush().await;
        seen.extend(follower.read(1 << 20).unwrap());
    }
    let numbers: Vec<u64> = seen.iter().map(|line| Line::parse(line).unwrap().sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(Follower::after(&bench.path(), 4).read(1).unwrap().len(), 1);
    assert_eq!(Follower::after(&bench.path(), 4).read(1 << 20).unwrap().len(), 3);
}

#[tokio::test]
async fn where_the_audit_is_required_nothing_goes_on_without_it() {
    let bench = Bench::new();
    let mut options = bench.options();
    options.required = true;
    options.log.segment_bytes = 1;
    let audit = bench.open(options);
    audit.record_surely(bench.event("Decrypt")).await.unwrap();
    assert_eq!(audit.admit().await, Ok(()));
    // The next segment cannot be made where something else has its name.
    fs::create_dir(Segment::new(&bench.path(), 2).path).unwrap();
    assert_eq!(audit.record_surely(bench.event("Decrypt")).await, Err(Unavailable));
    assert_eq!(audit.admit().await, Err(Unavailable));
    fs::remove_dir(Segment::new(&bench.path(), 2).path).unwrap();
    audit.flush().await;
    while audit.figures().failing {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    audit.record_surely(bench.event("Decrypt")).await.unwrap();
    assert_eq!((audit.figures().written, audit.figures().lost), (3, 0));
    drop(audit);
    assert!(bench.verify().is_clean());
}

/// The files in `tests/golden/audit` were made with another implementation of SHA-256 and Ed25519, by the formats that
/// `chain` and `digest` describe.
#[test]
fn the_stored_forms_are_pinned() {
    let golden =
        |name: &str| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit").join(name)).unwrap();
    let (mut link, mut log) = (chain::Link::START, Vec::new());
    link.append(&mut log, b"{}");
    assert_eq!(log, golden("events.jsonl"));
    // RFC 8410: PKCS #8 of the seed 0, 1, 2 and so on.
    let seed: Vec<u8> = (0..32).collect();
    let pkcs8 = [&hex::decode("302e020100300506032b657004220420").unwrap()[..], &seed].concat();
    let key = KeyPair::open(PairKind::Ed25519, Purpose::Sign, &pkcs8).unwrap();
    let segment = Segment::new(Path::new(""), 1).name();
    let mut last = digest::LastDigest::NONE;
    let line =
        digest::append(&mut last, &key, link, (segment, Occasion::Stop, from_millis(1_700_000_000_000))).unwrap();
    assert_eq!(String::from_utf8(line), String::from_utf8(golden("digests.jsonl")));
    let signed = digest::Signed::parse(&golden("digests.jsonl")).unwrap();
    assert!(signed.is_signed_by(&Ed25519Public::from_der(key.public()).unwrap()));
}

#[test]
fn each_account_that_has_to_do_with_a_deed_has_an_event_of_its_own() {
    let bench = Bench::new();
    let key = |account: &str| Resource {
        account_id: Some(account.to_owned()),
        kind: "AWS::KMS::Key",
        arn: format!("arn:aws:kms:us-east-1:{account}:key/k1"),
    };
    let told = |resources: &[&str]| -> Vec<Value> {
        let mut event = bench.event("ReEncrypt");
        event.resources = resources.iter().map(|account| key(account)).collect();
        event.judge(Some(json!({"effect": "Allow"})));
        event.tell_owners(&bench.entropy);
        event.into_json().iter().map(|text| serde_json::from_slice(text).unwrap()).collect()
    };
    let [own] = &told(&["000000000000"])[..] else { panic!("the caller's alone") };
    assert_eq!((&own["sharedEventID"], &own["recipientAccountId"]), (&Value::Null, &json!("000000000000")));

    let events = told(&["111111111111", "222222222222", "111111111111"]);
    let recipients: Vec<&str> = events.iter().map(|event| event["recipientAccountId"].as_str().unwrap()).collect();
    assert_eq!(recipients, ["111111111111", "222222222222", "000000000000"]);
    assert!(events[0]["sharedEventID"].is_string());
    assert!(events.iter().all(|event| event["sharedEventID"] == events[0]["sharedEventID"]));
    let ids: std::collections::BTreeSet<&str> = events.iter().map(|event| event["eventID"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    // Who it was, in all detail, is the affair of its own account.
    let afar = json!({
        "type": "AWSAccount", "principalId": "ann", "accountId": "000000000000", "invokedBy": "AWS Internal",
    });
    assert_eq!([&events[0]["userIdentity"], &events[1]["userIdentity"]], [&afar; 2]);
    assert_eq!(events[2]["userIdentity"]["arn"], "arn:aws:iam::000000000000:user/team/ann");
    // Whose statement it was is not told to the others.
    assert_eq!(events[0]["additionalEventData"]["authorization"]["effect"], "Allow");
    assert!(events[1..].iter().all(|event| event["additionalEventData"].is_null()));
}

#[test]
fn what_is_too_long_is_left_out_and_said_to_be() {
    let bench = Bench::new();
    let written = |parameters: &Value, message: &str| -> Value {
        let mut event = bench.event("Encrypt");
        event.request_parameters = parameters.clone();
        event.fail("ValidationException", message);
        let texts = event.into_json();
        assert!(texts[0].len() < 110 * 1024);
        serde_json::from_slice(&texts[0]).unwrap()
    };
    let (short, long) = (json!({"a": "x".repeat(90_000)}), json!({"a": "x".repeat(900_000)}));
    assert_eq!(written(&short, "m")["requestParameters"], short);
    let event = written(&long, &"\u{e4}".repeat(600_000));
    let omitted = json!({"omitted": true, "originalSize": 900_008, "reason": "requestParameters too large"});
    assert_eq!(event["requestParameters"], omitted);
    assert_eq!(event["errorMessage"], "\u{e4}".repeat(512));
}

#[test]
fn an_event_has_the_fields_of_cloudtrail() {
    let bench = Bench::new();
    let mut event = bench.event("GenerateDataKey");
    event.request_parameters = json!({"keyId": "k1"});
    event.fail("DisabledException", "k1 is disabled.");
    event.add("x", 1);
    let event: Value = serde_json::from_slice(&event.into_json()[0]).unwrap();
    assert_eq!(event["userIdentity"]["type"], "IAMUser");
    assert_eq!(event["userIdentity"]["userName"], "ann");
    assert_eq!(event["userIdentity"]["invokedBy"], "AWS Internal");
    let members: Vec<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        [
            "additionalEventData",
            "awsRegion",
            "errorCode",
            "errorMessage",
            "eventCategory",
            "eventID",
            "eventName",
            "eventSource",
            "eventTime",
            "eventType",
            "eventVersion",
            "managementEvent",
            "readOnly",
            "recipientAccountId",
            "requestID",
            "requestParameters",
            "resources",
            "responseElements",
            "sourceIPAddress",
            "userAgent",
            "userIdentity",
        ]
    );
    assert_eq!(event["resources"][0]["ARN"], "arn:aws:kms:us-east-1:000000000000:key/k1");
    assert_eq!(UserIdentity::of("1", "arn:aws:iam::1:root", None).kind(), Some("Root"));
    assert_eq!(UserIdentity::of("1", "arn:aws:sts::1:assumed-role/r/s", None).kind(), Some("AssumedRole"));
    assert_eq!(UserIdentity::of("anonymous", "anonymous", None), UserIdentity::anonymous());
    assert_eq!(json!(UserIdentity::web_identity(None)), json!({"type": "WebIdentityUser"}));
    let proven = UserIdentity::web_identity(Some(("arn:aws:iam::1:oidc-provider/idp", "app", "bob")));
    let shown = json!({
        "type": "WebIdentityUser", "principalId": "arn:aws:iam::1:oidc-provider/idp:app:bob", "userName": "bob",
        "identityProvider": "arn:aws:iam::1:oidc-provider/idp",
    });
    assert_eq!(json!(proven), shown);
}
