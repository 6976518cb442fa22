//! The log's files: `events-FIRST.jsonl`, FIRST being the number of its first line in twenty digits, so that their names
//! sort as they were written.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

const PREFIX: &str = "events-";
const SUFFIX: &str = ".jsonl";

/// A file of the log.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Segment {
    /// The number of its first line.
    pub first: u64,
    /// The file.
    pub path: PathBuf,
}

impl Segment {
    /// The segment in `dir` that begins with line `first`.
    pub fn new(dir: &Path, first: u64) -> Self {
        Self { first, path: dir.join(format!("{PREFIX}{first:020}{SUFFIX}")) }
    }

    /// The segments in `dir`, oldest first.
    pub fn list(dir: &Path) -> io::Result<Vec<Self>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let digits = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
            if let Some(first) = digits.filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok()) {
                segments.push(Self { first, path });
            }
        }
        segments.sort();
        Ok(segments)
    }

    /// Its file's name.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Reads the log from some line on, and goes on reading what is appended.
#[derive(Debug)]
pub struct Follower {
    dir: PathBuf,
    /// The number of the next line to give.
    next: u64,
    open: Option<(Segment, BufReader<File>)>,
}

impl Follower {
    /// Gives the lines after number `sequence`.
    pub fn after(dir: &Path, sequence: u64) -> Self {
        Self { dir: dir.to_owned(), next: sequence + 1, open: None }
    }

    /// The number of the last line that was given.
    pub fn position(&self) -> u64 {
        self.next - 1
    }

    /// The whole lines that are there, of about `limit` bytes at most; none if there is nothing new.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read(&mut self, limit: usize) -> io::Result<Vec<Vec<u8>>> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while bytes < limit {
            let Some((_, reader)) = &mut self.open else {
                match self.segment_of_next()? {
                    Some(segment) => self.open = Some((segment.clone(), BufReader::new(File::open(&segment.path)?))),
                    None => break,
                }
                continue;
            };
            let mut line = Vec::new();
            let read = reader.read_until(b'\n', &mut line)?;
            if line.last() == Some(&b'\n') {
                let sequence = super::chain::Line::parse(&line).map(|line| line.sequence);
                // A line that cannot be read is given all the same: whoever follows shall see it.
                if sequence.is_none_or(|sequence| sequence >= self.next) {
                    self.next = sequence.map_or(self.next, |sequence| sequence + 1);
                    bytes += line.len();
                    lines.push(line);
                }
                continue;
            }
            // The file's end, perhaps amid a line that is being written.
            reader.seek(SeekFrom::Current(-i64::try_from(read).unwrap_or(0)))?;
            match self.segment_of_next()? {
                Some(next) if next.first > segment_first(self.open.as_ref()) => self.open = None,
                _ => break,
            }
        }
        Ok(lines)
    }

    /// The last segment that begins at or before the next line, or, if that was removed, the first one after it.
    fn segment_of_next(&self) -> io::Result<Option<Segment>> {
        let segments = Segment::list(&self.dir)?;
        let before = segments.iter().rposition(|segment| segment.first <= self.next);
        Ok(segments.into_iter().nth(before.unwrap_or(0)))
    }
}

fn segment_first<R>(open: Option<&(Segment, R)>) -> u64 {
    open.map_or(0, |(segment, _)| segment.first)
}
