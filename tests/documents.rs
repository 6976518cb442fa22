//! SECURITY.md names tests that exist: a claim without its test does not stand.

use std::fs;
use std::path::Path;

#[test]
fn every_claim_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("SECURITY.md")).expect("SECURITY.md can be read");
    let mut named = 0;
    let mut missing = Vec::new();
    let mut source: Option<(String, String)> = None;
    // Files and tests alternate between backquotes: a file, a colon, then its tests.
    for quoted in text.split('`').skip(1).step_by(2) {
        let is_file = quoted.starts_with("src/") || quoted.starts_with("tests/");
        if is_file {
            let content = fs::read_to_string(root.join(quoted)).unwrap_or_else(|_| panic!("{quoted} does not exist"));
            source = Some((quoted.to_owned(), content));
        } else if let Some((file, content)) = source.as_ref().filter(|_| is_test_name(quoted)) {
            named += 1;
            let defined = [format!("fn {quoted}("), format!("def {quoted}(")];
            if !defined.iter().any(|definition| content.contains(definition.as_str())) {
                missing.push(format!("{file}: {quoted}"));
            }
        }
    }
    assert!(named > 0, "no test was found in SECURITY.md");
    assert!(missing.is_empty(), "SECURITY.md names tests that do not exist: {missing:#?}");
}

#[test]
fn every_claim_names_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("SECURITY.md")).expect("SECURITY.md can be read");
    let mut tables = 0;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(column) = cells(line).iter().position(|title| title.trim() == "held by") else { continue };
        tables += 1;
        let rows: Vec<&str> = lines.by_ref().skip(1).take_while(|line| line.starts_with('|')).collect();
        assert!(!rows.is_empty(), "there is no claim under: {line}");
        for row in rows {
            let cells = cells(row);
            let held_by = cells.get(column).unwrap_or_else(|| panic!("there is no test in: {row}"));
            let mut quoted = held_by.split('`').skip(1).step_by(2);
            assert!(quoted.any(is_test_name), "there is no test in: {row}");
        }
    }
    assert!(tables > 0, "no table of claims was found in SECURITY.md");
}

/// The cells of a row of a table.
fn cells(line: &str) -> Vec<&str> {
    line.split('|').collect()
}

/// Tests have names of at least three words.
fn is_test_name(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') && text.matches('_').count() >= 2
}
