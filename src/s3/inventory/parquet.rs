//! Reports in Parquet: one row group, Snappy, the schema that AWS's reports have.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::columns::{Column, Kind, Value};

/// Bucket and key are always there.
fn is_required(column: Column) -> bool {
    matches!(column, Column::Bucket | Column::Key)
}

/// The schema of a report, as the file and its manifest have it.
pub(super) fn schema(columns: &[Column]) -> String {
    let field = |column: &Column| {
        let repetition = if is_required(*column) { "required" } else { "optional" };
        let (kind, logical) = match column.kind() {
            Kind::Text => ("binary", " (UTF8)"),
            Kind::Number => ("int64", ""),
            Kind::Flag => ("boolean", ""),
            Kind::Time => ("int64", " (TIMESTAMP_MILLIS)"),
        };
        format!("  {repetition} {kind} {}{logical};", column.parquet())
    };
    format!("message s3.inventory {{{}}}", columns.iter().map(field).collect::<String>())
}

/// The file with these rows.
///
/// # Errors
/// [`ParquetError`].
pub(super) fn write(columns: &[Column], rows: &[Vec<Value>]) -> Result<Vec<u8>> {
    let schema = Arc::new(parse_message_type(&schema(columns))?);
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties)?;
    let mut group = writer.next_row_group()?;
    let mut index = 0;
    while let Some(mut open) = group.next_column()? {
        let column = columns.get(index).copied().ok_or_else(|| mismatch("a column that is not there"))?;
        let values = || rows.iter().filter_map(move |row| row.get(index));
        let present: Vec<i16> = values().map(|value| i16::from(*value != Value::Null)).collect();
        let present = (!is_required(column)).then_some(&*present);
        match open.untyped() {
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                let texts: Vec<ByteArray> = values()
                    .filter_map(|value| match value {
                        Value::Text(text) => Some(ByteArray::from(text.as_bytes().to_vec())),
                        _ => None,
                    })
                    .collect();
                writer.write_batch(&texts, present, None)?;
            }
            ColumnWriter::Int64ColumnWriter(writer) => {
                let numbers: Vec<i64> = values()
                    .filter_map(|value| match value {
                        Value::Number(number) | Value::Time(number) => Some(*number),
                        _ => None,
                    })
                    .collect();
                writer.write_batch(&numbers, present, None)?;
            }
            ColumnWriter::BoolColumnWriter(writer) => {
                let flags: Vec<bool> = values()
                    .filter_map(|value| match value {
                        Value::Flag(flag) => Some(*flag),
                        _ => None,
                    })
                    .collect();
                writer.write_batch(&flags, present, None)?;
            }
            _ => return Err(mismatch("a column of another type")),
        }
        open.close()?;
        index += 1;
    }
    group.close()?;
    writer.into_inner()
}

fn mismatch(what: &str) -> ParquetError {
    ParquetError::General(format!("the schema has {what}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::RowAccessor as _;

    use super::*;

    #[test]
    fn the_schema_is_aws_own() {
        let columns = Column::of_report(true, &[Column::Size, Column::LastModifiedDate]);
        assert_eq!(
            schema(&columns),
            "message s3.inventory {  required binary bucket (UTF8);  required binary key (UTF8);  optional binary \
             version_id (UTF8);  optional boolean is_latest;  optional boolean is_delete_marker;  optional int64 size;  \
             optional int64 last_modified_date (TIMESTAMP_MILLIS);}"
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let columns = Column::of_report(true, &[Column::Size, Column::LastModifiedDate, Column::ETag]);
        let row = |key: &'static str, size: Value, version: Value| {
            vec![
                Value::Text("b".into()),
                Value::Text(key.into()),
                version,
                Value::Flag(key == "x"),
                Value::Flag(false),
                size,
                Value::Time(1_138_985_109_123),
                Value::Null,
            ]
        };
        let rows =
            [row("x", Value::Number(5), Value::Null), row("y é", Value::Null, Value::Text("v1".to_owned().into()))];
        let file = write(&columns, &rows).unwrap();
        let reader = SerializedFileReader::new(Bytes::from(file)).unwrap();
        let read: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].get_string(1).unwrap().as_str(), read[0].get_long(5).unwrap()), ("x", 5));
        assert_eq!(read[1].get_string(1).unwrap(), "y é");
        assert_eq!(read[1].get_string(2).unwrap(), "v1");
        assert!(read[0].get_string(2).is_err(), "a null is no text");
        assert!(read[0].get_bool(3).unwrap());
        assert_eq!(read[1].get_timestamp_millis(6).unwrap(), 1_138_985_109_123);
        assert!(write(&columns, &[]).is_ok());
    }
}
