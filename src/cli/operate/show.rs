//! How answers look to people: tables, numbers and bytes. Scripts get the server's JSON as it came.

use std::io::{self, Write as _};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{HumanBytes, HumanCount};
use serde_json::Value;

/// Prints `document` for scripts.
pub(in crate::cli) fn json(document: &Value) -> io::Result<()> {
    writeln!(io::stdout(), "{document:#}")
}

/// Prints a line.
pub(in crate::cli) fn line(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// A table under `titles`; the columns from `numbers` on are numbers. Lines begin and end with text, not with space.
pub(in crate::cli) fn table(titles: &[&str], numbers: usize, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(titles);
    table.add_rows(rows);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if at >= numbers {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// A count, its digits grouped.
pub(in crate::cli) fn count(value: &Value) -> String {
    HumanCount(value.as_u64().unwrap_or(0)).to_string()
}

/// An amount of bytes, in binary units.
pub(in crate::cli) fn bytes(value: &Value) -> String {
    HumanBytes(value.as_u64().unwrap_or(0)).to_string()
}

/// A text, or a dash where there is none.
pub(in crate::cli) fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_begins_at_the_margin_and_has_no_space_behind_it() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["longer".to_owned(), "20".to_owned()]];
        assert_eq!(table(&["KEY", "N"], 1, rows), "KEY      N\na        1\nlonger  20");
    }
}
