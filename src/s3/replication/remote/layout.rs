//! How an object is cut into the parts in which it is sent to another server.

use std::ops::Range;

use super::{Errand, RemoteError};
use crate::s3::checksum::{Checksum, Checksums, Kind};
use crate::s3::object::{Object, checksum_algorithm, part_count};
use crate::s3::service::S3;
use crate::s3::xml::XmlWriter;
use crate::sse;
use crate::store::commit::{self, Part};
use crate::store::schema::{Body, ObjectRecord};
use crate::store::{RunId, StoreError};

/// Most parts of an upload. (AWS: "Amazon S3 multipart upload limits".)
const MAX_PARTS: u64 = 10_000;

/// A part as it is sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Piece {
    /// The part number.
    pub number: u64,
    /// Its bytes of the object.
    pub range: Range<u64>,
    /// What they are held against, where the upload names an algorithm.
    pub checksum: Option<Checksum>,
}

/// The parts of an object.
#[derive(Debug)]
pub(super) struct Layout {
    pub pieces: Vec<Piece>,
    /// The object's own checksum, if its parts make it up.
    checksums: Checksums,
}

/// Whether clients know the object by its parts.
pub(super) fn is_in_parts(record: &ObjectRecord) -> bool {
    matches!(record.body, Body::Parts { .. }) && !record.whole
}

impl Layout {
    /// Parts of `part` bytes, or of more where that would be too many.
    pub fn of_size(size: u64, part: u64) -> Self {
        let piece =
            |index: u64| Piece { number: index + 1, range: index * part..size.min((index + 1) * part), checksum: None };
        Self { pieces: (0..size.div_ceil(part)).map(piece).collect(), checksums: Checksums::default() }
    }

    /// How large the parts are in which `size` bytes are sent, where `part` bytes are asked for.
    pub fn part_size(size: u64, part: u64) -> u64 {
        part.max(size.div_ceil(MAX_PARTS))
    }

    /// The parts in which the object was uploaded, with their checksums: by both a replica has its source's entity tag and
    /// checksum.
    pub async fn of_source(s3: &S3, errand: &Errand<'_>, key: &sse::ObjectKey) -> Result<Self, RemoteError> {
        let object = errand.object;
        let Body::Parts { upload, spans } = &object.record.body else {
            return Ok(Self::of_size(object.record.size, object.record.size.max(1)));
        };
        let parts = commit::read_parts(&*s3.store, errand.bucket.partition(), *upload, 0, usize::MAX).await?;
        if u32::try_from(parts.len()).ok() != Some(part_count(spans)) {
            // It was overwritten or deleted meanwhile.
            return Err(StoreError::RunNotFound(RunId(*upload)).into());
        }
        Self::of_parts(object, &parts, key)
    }

    fn of_parts(object: &Object, parts: &[Part], key: &sse::ObjectKey) -> Result<Self, RemoteError> {
        let algorithm = checksum_algorithm(&object.record);
        let mut pieces = Vec::with_capacity(parts.len());
        let mut at = 0;
        for part in parts {
            let checksums = S3::part_checksums(key, &object.record, part)?;
            let range = at..at + part.record.size;
            at = range.end;
            let checksum = algorithm.and_then(|algorithm| checksums.by_algorithm(algorithm));
            pieces.push(Piece { number: u64::from(part.number), range, checksum });
        }
        let all = pieces.iter().all(|piece| piece.checksum.is_some());
        let checksums = if all { S3::object_checksums(key, object)? } else { Checksums::default() };
        if checksums.is_empty() {
            for piece in &mut pieces {
                piece.checksum = None;
            }
        }
        Ok(Self { pieces, checksums })
    }

    /// What the request that begins the upload says of checksums.
    pub fn announced(&self) -> Vec<(String, String)> {
        let named = self.checksums.values().next().map(|(algorithm, _)| {
            let kind = self.checksums.kind().as_str().to_owned();
            [
                ("x-amz-checksum-algorithm".to_owned(), algorithm.name().to_owned()),
                ("x-amz-checksum-type".to_owned(), kind),
            ]
        });
        named.into_iter().flatten().collect()
    }

    /// What the request that completes the upload says of the whole object's checksum. One of the parts' checksums is made of
    /// what is said of these.
    pub fn concluded(&self) -> Vec<(String, String)> {
        let Some((algorithm, value)) = self.checksums.values().next() else { return Vec::new() };
        let kind = self.checksums.kind();
        let mut headers = vec![("x-amz-checksum-type".to_owned(), kind.as_str().to_owned())];
        if kind == Kind::FullObject {
            headers.push((algorithm.header().to_owned(), value));
        }
        headers
    }

    /// The document that completes the upload of parts with these entity tags.
    pub fn document(&self, etags: &[String]) -> String {
        XmlWriter::document("CompleteMultipartUpload", |xml| {
            for (piece, etag) in self.pieces.iter().zip(etags) {
                xml.element("Part", |xml| {
                    if let Some(checksum) = &piece.checksum {
                        xml.text(checksum.algorithm().element(), checksum);
                    }
                    xml.text("ETag", etag);
                    xml.text("PartNumber", piece.number);
                });
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::checksum::Algorithm;

    #[test]
    fn parts_of_one_size_have_the_rest_in_the_last() {
        let ranges = |size, part| {
            let pieces = Layout::of_size(size, part).pieces;
            pieces.into_iter().map(|piece| (piece.number, piece.range)).collect::<Vec<_>>()
        };
        assert_eq!(ranges(7, 3), [(1, 0..3), (2, 3..6), (3, 6..7)]);
        assert_eq!(ranges(6, 3), [(1, 0..3), (2, 3..6)]);
        assert_eq!(Layout::part_size(9_999, 3), 3);
        assert_eq!(Layout::part_size(10_000 * 7 + 1, 3), 8, "no more than 10 000 parts");
    }

    #[test]
    fn an_upload_says_what_its_parts_and_its_object_are_held_against() {
        let layout = |kind| {
            let parts = [b"a", b"b"].map(|part| (Checksum::of(Algorithm::Crc32, part), 1));
            let piece = |(number, range, checksum)| Piece { number, range, checksum: Some(checksum) };
            let pieces = [(1, 0..1, parts[0].0), (3, 1..2, parts[1].0)].map(piece).to_vec();
            Layout { pieces, checksums: Checksums::of_parts(kind, &parts).unwrap() }
        };
        let said = |headers: Vec<(String, String)>| {
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
        };
        let composite = layout(Kind::Composite);
        let begun = ["x-amz-checksum-algorithm: CRC32", "x-amz-checksum-type: COMPOSITE"];
        assert_eq!(said(composite.announced()), begun);
        assert_eq!(said(composite.concluded()), ["x-amz-checksum-type: COMPOSITE"]);
        let document = composite.document(&["\"e\"".to_owned(), "\"f\"".to_owned()]);
        let first =
            "<Part><ChecksumCRC32>6Le+Qw==</ChecksumCRC32><ETag>&quot;e&quot;</ETag><PartNumber>1</PartNumber></Part>";
        assert!(document.contains(first) && document.contains("<PartNumber>3</PartNumber>"), "{document}");
        let whole = Checksum::of(Algorithm::Crc32, b"ab");
        let full = ["x-amz-checksum-type: FULL_OBJECT".to_owned(), format!("x-amz-checksum-crc32: {whole}")];
        assert_eq!(said(layout(Kind::FullObject).concluded()), full);
        let without = Layout::of_size(2, 1);
        assert!(without.announced().is_empty() && without.concluded().is_empty());
        assert!(!without.document(&[String::new()]).contains("Checksum"));
    }
}
