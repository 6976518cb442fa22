//! Reports in CSV, gzipped: every value in quotes, no heading, keys URL-encoded. The manifest names the columns.

use std::io;

use csv::{QuoteStyle, WriterBuilder};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::columns::{Column, Value};
use crate::clock::{from_millis, iso8601};
use crate::wire::percent::url_encode;

/// The file with these rows.
///
/// # Errors
/// Of the encoder: writing into memory has none of its own.
pub(super) fn write(columns: &[Column], rows: &[Vec<Value>]) -> io::Result<Vec<u8>> {
    let gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut csv = WriterBuilder::new().has_headers(false).quote_style(QuoteStyle::Always).from_writer(gzip);
    for row in rows {
        for (column, value) in columns.iter().zip(row) {
            csv.write_field(render(*column, value))?;
        }
        csv.write_record(None::<&[u8]>)?;
    }
    csv.into_inner().map_err(csv::IntoInnerError::into_error)?.finish()
}

/// The names of the columns, as the manifest has them.
pub(super) fn schema(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name()).collect::<Vec<_>>().join(", ")
}

fn render(column: Column, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) if column == Column::Key => url_encode(text),
        Value::Text(text) => text.clone().into_owned(),
        Value::Number(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Time(millis) => iso8601(from_millis(*millis)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn every_value_is_quoted_and_keys_are_encoded() {
        let columns = Column::of_report(true, &[Column::Size, Column::LastModifiedDate, Column::ETag]);
        let row = vec![
            Value::Text("b".into()),
            Value::Text("a b/\"é".into()),
            Value::Null,
            Value::Flag(true),
            Value::Flag(false),
            Value::Number(7),
            Value::Time(1_138_985_109_000),
            Value::Text("say \"x\"".into()),
        ];
        let mut text = String::new();
        let file = write(&columns, &[row]).unwrap();
        flate2::read::GzDecoder::new(&*file).read_to_string(&mut text).unwrap();
        assert_eq!(
            text,
            "\"b\",\"a+b/%22%C3%A9\",\"\",\"true\",\"false\",\"7\",\"2006-02-03T16:45:09.000Z\",\"say \"\"x\"\"\"\n"
        );
        assert_eq!(schema(&columns), "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag");
    }
}
