//! What the backend itself writes: its records in RocksDB and the header of a segment file. This module owns the formats;
//! the golden files in `tests/golden/store/` hold them.
//!
//! Integers are big-endian, so that keys sort as their numbers do. Every value begins with its format version (1).
//!
//! ```text
//! column family  key                               value after the version byte
//! runs           run id(16)                        extent*        extent = segment u32, offset u64, length u64
//!                                                  (version 2, of a shared run: references u32, extent*)
//! space          'E' segment u32 offset u64        run id(16), length u64            who owns these bytes
//! space          'N'                               next segment number u32           numbers are never used twice
//! space          'Q' segment u32 offset u64        length u64                        to be given back
//! space          'S' segment u32                   state u8 ('o' | 's'), capacity u64, live bytes u64
//!
//! segment file   0      1              17             21            25           4096
//!                | 0x01 | magic(16)    | number u32   | block u32   | zeros      | extents ...
//! ```
//! Offsets count from the start of the file and are multiples of [`BLOCK`]; lengths are exact, and an extent occupies
//! whole blocks, the last one padded with zeros. "Live bytes" counts occupied bytes.

use crate::store::{RunId, StoreError};

/// The unit of allocation, alignment and hole punching, in bytes.
pub(super) const BLOCK: u64 = 4096;
/// Bytes of a segment's header: one block.
pub(super) const HEADER_LEN: usize = 4096;

const FORMAT: u8 = 1;
/// The version of a record that counts its references.
const SHARED_FORMAT: u8 = 2;
const MAGIC: &[u8; 16] = b"strongroom.segmt";
const EXTENT_LEN: usize = 20;

/// `bytes` rounded up to whole blocks.
pub(super) fn whole_blocks(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK)
}

/// A segment file's number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct SegmentId(pub(super) u32);

impl SegmentId {
    /// `00000001.seg`.
    pub(super) fn file_name(self) -> String {
        format!("{:08}.seg", self.0)
    }

    /// The number in a file name made by [`SegmentId::file_name`].
    pub(super) fn from_file_name(name: &str) -> Option<Self> {
        let id = Self(name.strip_suffix(".seg")?.parse().ok()?);
        (id.file_name() == name).then_some(id)
    }

    /// The first block of the file.
    pub(super) fn header(self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[0] = FORMAT;
        header[1..17].copy_from_slice(MAGIC);
        header[17..21].copy_from_slice(&self.0.to_be_bytes());
        header[21..25].copy_from_slice(&4096_u32.to_be_bytes());
        header
    }
}

/// Consecutive bytes of one segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Extent {
    pub(super) segment: SegmentId,
    /// From the start of the file; a multiple of [`BLOCK`].
    pub(super) offset: u64,
    /// In bytes, never zero.
    pub(super) length: u64,
}

impl Extent {
    /// Bytes occupied: whole blocks.
    pub(super) fn occupied(&self) -> u64 {
        whole_blocks(self.length)
    }

    /// The offset of the first byte after the occupied ones.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.occupied()
    }
}

/// Where an adopted run lies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct RunRecord {
    pub(super) extents: Vec<Extent>,
    /// How many releases it takes to end the run; never zero.
    pub(super) references: u32,
}

impl RunRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(5 + self.extents.len() * EXTENT_LEN);
        if self.references == 1 {
            value.push(FORMAT);
        } else {
            value.push(SHARED_FORMAT);
            value.extend_from_slice(&self.references.to_be_bytes());
        }
        for extent in &self.extents {
            value.extend_from_slice(&extent.segment.0.to_be_bytes());
            value.extend_from_slice(&extent.offset.to_be_bytes());
            value.extend_from_slice(&extent.length.to_be_bytes());
        }
        value
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let (references, extents) = match value {
            [SHARED_FORMAT, rest @ ..] => {
                let mut fields = Fields(rest, "run record");
                let references = fields.u32()?;
                // One reference has the plain form.
                if references < 2 {
                    return Err(damaged("run record"));
                }
                (references, fields.0)
            }
            value => (1, versioned(value, "run record")?),
        };
        if !extents.len().is_multiple_of(EXTENT_LEN) {
            return Err(damaged("run record"));
        }
        let extents = extents.chunks_exact(EXTENT_LEN).map(|extent| {
            let mut fields = Fields(extent, "run record");
            Ok(Extent { segment: SegmentId(fields.u32()?), offset: fields.u64()?, length: fields.u64()? })
        });
        Ok(Self { extents: extents.collect::<Result<_, StoreError>>()?, references })
    }
}

/// The owner of an extent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct OwnerRecord {
    pub(super) run: RunId,
    pub(super) length: u64,
}

impl OwnerRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        [&[FORMAT][..], &self.run.0, &self.length.to_be_bytes()].concat()
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let mut fields = Fields(versioned(value, "extent record")?, "extent record");
        let record = Self { run: RunId(fields.array()?), length: fields.u64()? };
        fields.end(record)
    }
}

/// Whether extents of a segment may still be held by a process rather than by a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SegmentState {
    /// They may: after a crash, whatever no record names is given back.
    Open,
    /// They are not: what no record names was given back.
    Settled,
}

/// A segment file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SegmentRecord {
    pub(super) state: SegmentState,
    /// The file's length in bytes.
    pub(super) capacity: u64,
    /// Bytes that adopted runs occupy.
    pub(super) live: u64,
}

impl SegmentRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let state = match self.state {
            SegmentState::Open => b'o',
            SegmentState::Settled => b's',
        };
        [&[FORMAT, state][..], &self.capacity.to_be_bytes(), &self.live.to_be_bytes()].concat()
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let mut fields = Fields(versioned(value, "segment record")?, "segment record");
        let state = match fields.array::<1>()? {
            [b'o'] => SegmentState::Open,
            [b's'] => SegmentState::Settled,
            _ => return Err(damaged("segment record")),
        };
        let record = Self { state, capacity: fields.u64()?, live: fields.u64()? };
        fields.end(record)
    }
}

/// The value of a queue entry: how many bytes to give back.
pub(super) fn encode_queued(length: u64) -> Vec<u8> {
    [&[FORMAT][..], &length.to_be_bytes()].concat()
}

/// Reads a queue entry.
pub(super) fn decode_queued(key: &[u8], value: &[u8]) -> Result<Extent, StoreError> {
    let mut fields = Fields(versioned(value, "queue entry")?, "queue entry");
    let length = fields.u64()?;
    let (segment, offset) = fields.end(split_extent_key(key)?)?;
    Ok(Extent { segment, offset, length })
}

/// The value of [`NEXT_KEY`].
pub(super) fn encode_next(next: SegmentId) -> Vec<u8> {
    [&[FORMAT][..], &next.0.to_be_bytes()].concat()
}

/// Reads the value of [`NEXT_KEY`].
pub(super) fn decode_next(value: &[u8]) -> Result<SegmentId, StoreError> {
    let mut fields = Fields(versioned(value, "next segment number")?, "next segment number");
    let next = SegmentId(fields.u32()?);
    fields.end(next)
}

/// The key of the next segment number.
pub(super) const NEXT_KEY: &[u8] = b"N";

/// The key of an extent's owner.
pub(super) fn owner_key(segment: SegmentId, offset: u64) -> Vec<u8> {
    extent_key(b'E', segment, offset)
}

/// The key of a queue entry.
pub(super) fn queue_key(segment: SegmentId, offset: u64) -> Vec<u8> {
    extent_key(b'Q', segment, offset)
}

/// The key of a segment.
pub(super) fn segment_key(segment: SegmentId) -> Vec<u8> {
    [&b"S"[..], &segment.0.to_be_bytes()].concat()
}

/// The number in a key made by [`segment_key`].
pub(super) fn split_segment_key(key: &[u8]) -> Result<SegmentId, StoreError> {
    let mut fields = Fields(key.get(1..).unwrap_or_default(), "segment key");
    let segment = SegmentId(fields.u32()?);
    fields.end(segment)
}

/// Segment and offset in a key made by [`owner_key`] or [`queue_key`].
pub(super) fn split_extent_key(key: &[u8]) -> Result<(SegmentId, u64), StoreError> {
    let mut fields = Fields(key.get(1..).unwrap_or_default(), "extent key");
    let place = (SegmentId(fields.u32()?), fields.u64()?);
    fields.end(place)
}

fn extent_key(tag: u8, segment: SegmentId, offset: u64) -> Vec<u8> {
    [&[tag][..], &segment.0.to_be_bytes(), &offset.to_be_bytes()].concat()
}

fn versioned<'v>(value: &'v [u8], what: &'static str) -> Result<&'v [u8], StoreError> {
    match value {
        [FORMAT, rest @ ..] => Ok(rest),
        _ => Err(StoreError::Corrupt(format!("{what}: unknown format version"))),
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(format!("{what}: wrong shape"))
}

/// Fixed-width fields, read from the front.
struct Fields<'v>(&'v [u8], &'static str);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| damaged(self.1))?;
        self.0 = rest;
        Ok(*first)
    }

    fn u32(&mut self) -> Result<u32, StoreError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, StoreError> {
        self.array().map(u64::from_be_bytes)
    }

    fn end<T>(self, read: T) -> Result<T, StoreError> {
        if self.0.is_empty() { Ok(read) } else { Err(damaged(self.1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent { segment: SegmentId(7), offset: 0x0001_2000, length: 1_048_577 };
    const OWNER: OwnerRecord = OwnerRecord { run: RunId(*b"0123456789abcdef"), length: 1_048_577 };
    const SEGMENT: SegmentRecord =
        SegmentRecord { state: SegmentState::Settled, capacity: 268_435_456, live: 1_052_672 };

    /// Compares with the stored file, so that a change of format cannot pass unseen.
    fn assert_golden(name: &str, stored: &[u8]) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/store/");
        let golden = std::fs::read(format!("{path}{name}")).expect("the golden file is in the repository");
        assert_eq!(hex::encode(stored), hex::encode(golden), "{name}");
    }

    #[test]
    fn formats_are_those_of_the_golden_files() {
        let second = Extent { segment: SegmentId(8), offset: BLOCK, length: 5 };
        let record = RunRecord { extents: vec![EXTENT, second], references: 1 };
        assert_golden("run_record", &record.encode());
        assert_golden("shared_run_record", &RunRecord { references: 3, ..record }.encode());
        assert_golden("extent_record", &[owner_key(EXTENT.segment, EXTENT.offset), OWNER.encode()].concat());
        assert_golden(
            "queue_entry",
            &[queue_key(EXTENT.segment, EXTENT.offset), encode_queued(EXTENT.length)].concat(),
        );
        assert_golden("segment_record", &[segment_key(EXTENT.segment), SEGMENT.encode()].concat());
        assert_golden("next_segment", &[NEXT_KEY.to_vec(), encode_next(EXTENT.segment)].concat());
        assert_golden("segment_header", &EXTENT.segment.header());
    }

    #[test]
    fn records_round_trip() {
        let run = RunRecord { extents: vec![EXTENT, EXTENT], references: 1 };
        let shared = RunRecord { references: 2, ..run.clone() };
        assert_eq!(RunRecord::decode(&shared.encode()).unwrap(), shared);
        assert_eq!(RunRecord::decode(&run.encode()).unwrap(), run);
        assert_eq!(RunRecord::decode(&[1]).unwrap(), RunRecord { extents: Vec::new(), references: 1 });
        assert_eq!(OwnerRecord::decode(&OWNER.encode()).unwrap(), OWNER);
        assert_eq!(SegmentRecord::decode(&SEGMENT.encode()).unwrap(), SEGMENT);
        let key = queue_key(EXTENT.segment, EXTENT.offset);
        assert_eq!(decode_queued(&key, &encode_queued(EXTENT.length)).unwrap(), EXTENT);
        assert_eq!(decode_next(&encode_next(SegmentId(9))).unwrap(), SegmentId(9));
        assert_eq!(split_segment_key(&segment_key(SegmentId(9))).unwrap(), SegmentId(9));
        assert_eq!(SegmentId::from_file_name(&SegmentId(12).file_name()), Some(SegmentId(12)));
        assert_eq!(SegmentId::from_file_name("12.seg"), None);
    }

    #[test]
    fn damage_is_noticed() {
        let stored = [RunRecord { extents: vec![EXTENT], references: 1 }.encode(), OWNER.encode(), SEGMENT.encode()];
        for value in &stored {
            let shorter = &value[..value.len() - 1];
            let mut newer = value.clone();
            newer[0] = 3;
            for bad in [shorter, &newer, &[]] {
                assert!(matches!(RunRecord::decode(bad), Err(StoreError::Corrupt(_))));
                assert!(matches!(OwnerRecord::decode(bad), Err(StoreError::Corrupt(_))));
                assert!(matches!(SegmentRecord::decode(bad), Err(StoreError::Corrupt(_))));
            }
        }
        assert!(matches!(SegmentRecord::decode(&[1, b'x']), Err(StoreError::Corrupt(_))));
        assert!(matches!(split_extent_key(b"E\0\0\0\x01"), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn keys_sort_as_their_places_do() {
        let mut keys = [(1, 4096), (1, 1 << 33), (2, 4096), (256, 0)].map(|(s, o)| owner_key(SegmentId(s), o));
        let sorted = keys.clone();
        keys.sort();
        assert_eq!(keys, sorted);
    }
}
