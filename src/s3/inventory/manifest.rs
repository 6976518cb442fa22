//! Where a report's files lie, and the manifest that names them. (S3 user guide, "Locating your inventory list".)
//!
//! ```text
//! PREFIX/SOURCE/ID/data/UUID.csv.gz | .parquet     the data
//! PREFIX/SOURCE/ID/2026-11-25T00-00Z/manifest.json what there is of it, and its schema
//! PREFIX/SOURCE/ID/2026-11-25T00-00Z/manifest.checksum  the MD5 of the manifest: written last, it tells that all is there
//! PREFIX/SOURCE/ID/hive/dt=2026-11-25-00-00/symlink.txt  the data, for Hive
//! ```

use minicbor::{Decode, Encode};
use serde::Serialize;

use super::document::{Destination, Inventory};
use crate::clock::Timestamp;

/// A data file that has been delivered.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(super) struct DataFile {
    /// Its key in the destination bucket.
    #[n(0)]
    pub key: String,
    /// Bytes.
    #[n(1)]
    pub size: u64,
    /// In hexadecimal digits.
    #[n(2)]
    pub md5: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'m> {
    source_bucket: &'m str,
    destination_bucket: String,
    version: &'static str,
    creation_timestamp: String,
    file_format: &'static str,
    file_schema: &'m str,
    files: Vec<File<'m>>,
}

#[derive(Serialize)]
struct File<'m> {
    key: &'m str,
    size: u64,
    #[serde(rename = "MD5checksum")]
    md5: &'m str,
}

/// Where the files of one report lie.
pub(super) struct Places {
    base: String,
    at: Timestamp,
}

impl Places {
    /// The places of the report of `source` that was begun at `at`.
    pub fn new(source: &str, inventory: &Inventory, at: Timestamp) -> Self {
        let prefix = inventory.destination.prefix.as_deref().map(|prefix| format!("{}/", prefix.trim_end_matches('/')));
        Self { base: format!("{}{source}/{}", prefix.unwrap_or_default(), inventory.id), at }
    }

    /// The key of the data file `name`.
    pub fn data(&self, name: &str, suffix: &str) -> String {
        format!("{}/data/{name}{suffix}", self.base)
    }

    /// The key of the manifest.
    pub fn manifest(&self) -> String {
        format!("{}/{}/manifest.json", self.base, self.at.strftime("%Y-%m-%dT%H-%MZ"))
    }

    /// The key of the manifest's digest.
    pub fn checksum(&self) -> String {
        format!("{}/{}/manifest.checksum", self.base, self.at.strftime("%Y-%m-%dT%H-%MZ"))
    }

    /// The key of Hive's list of the data.
    pub fn symlinks(&self) -> String {
        format!("{}/hive/dt={}/symlink.txt", self.base, self.at.strftime("%Y-%m-%d-%H-%M"))
    }
}

/// The manifest of a report of `source`.
pub(super) fn manifest(source: &str, inventory: &Inventory, schema: &str, at: Timestamp, files: &[DataFile]) -> String {
    let manifest = Manifest {
        source_bucket: source,
        destination_bucket: format!("arn:aws:s3:::{}", inventory.destination.bucket),
        version: "2016-11-30",
        creation_timestamp: at.as_millisecond().to_string(),
        file_format: inventory.destination.format.as_str(),
        file_schema: schema,
        files: files.iter().map(|file| File { key: &file.key, size: file.size, md5: &file.md5 }).collect(),
    };
    serde_json::to_string_pretty(&manifest).unwrap_or_default()
}

/// The list of the data files that Hive reads.
pub(super) fn symlinks(destination: &Destination, files: &[DataFile]) -> String {
    let urls: Vec<String> = files.iter().map(|file| format!("s3://{}/{}", destination.bucket, file.key)).collect();
    urls.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::document::{Format, Frequency};
    use super::*;

    fn inventory(prefix: Option<&str>) -> Inventory {
        Inventory {
            id: "daily".to_owned(),
            enabled: true,
            prefix: None,
            all_versions: false,
            optional: Vec::new(),
            frequency: Frequency::Daily,
            destination: Destination {
                account: None,
                bucket: "reports".to_owned(),
                prefix: prefix.map(str::to_owned),
                format: Format::Csv,
                encryption: None,
            },
        }
    }

    #[test]
    fn files_lie_where_aws_lays_them() {
        let at = "2016-11-06T21:32:59Z".parse().unwrap();
        let places = Places::new("source", &inventory(Some("a/b")), at);
        assert_eq!(places.manifest(), "a/b/source/daily/2016-11-06T21-32Z/manifest.json");
        assert_eq!(places.checksum(), "a/b/source/daily/2016-11-06T21-32Z/manifest.checksum");
        assert_eq!(places.data("u", ".csv.gz"), "a/b/source/daily/data/u.csv.gz");
        assert_eq!(places.symlinks(), "a/b/source/daily/hive/dt=2016-11-06-21-32/symlink.txt");
        assert_eq!(Places::new("source", &inventory(None), at).data("u", ""), "source/daily/data/u");
    }

    #[test]
    fn the_manifest_names_everything() {
        let at = Timestamp::from_millisecond(1_514_944_800_000).unwrap();
        let files = [DataFile { key: "k".to_owned(), size: 9, md5: "ff".to_owned() }];
        let text = manifest("source", &inventory(None), "Bucket, Key", at, &files);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "sourceBucket": "source",
            "destinationBucket": "arn:aws:s3:::reports",
            "version": "2016-11-30",
            "creationTimestamp": "1514944800000",
            "fileFormat": "CSV",
            "fileSchema": "Bucket, Key",
            "files": [{"key": "k", "size": 9, "MD5checksum": "ff"}],
        });
        assert_eq!(read, expected);
        assert_eq!(symlinks(&inventory(None).destination, &files), "s3://reports/k");
    }
}
