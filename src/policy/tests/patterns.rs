//! Wildcards, ARNs and variables.

use proptest::prelude::*;

use crate::policy::pattern::{Pattern, Syntax};

fn syntax(wildcards: bool, fold: bool) -> Syntax {
    Syntax { wildcards, variables: true, fold }
}

#[test]
fn wildcards() {
    let matches = |pattern: &str, text: &str| Pattern::new(pattern, syntax(true, false)).matches(text, &());
    for (pattern, text, expected) in [
        ("*", "", true),
        ("*", "anything", true),
        ("", "", true),
        ("", "x", false),
        ("?", "", false),
        ("?", "x", true),
        ("?", "ü", true),
        ("?", "xy", false),
        ("a*c", "ac", true),
        ("a*c", "abcbc", true),
        ("a*c", "abcb", false),
        ("*a*", "bab", true),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "axxcyyb", false),
        ("a?c*", "abcd", true),
        ("s3:Get*", "s3:GetObject", true),
        ("s3:Get*", "s3:PutObject", false),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/a/b", true),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b", false),
        ("arn:aws:s3:::b*", "arn:aws:s3:::b", true),
        ("A", "a", false),
        ("${*}", "*", true),
        ("${*}", "x", false),
        ("a${?}", "a?", true),
        ("${$}", "$", true),
        ("$x", "$x", true),
        ("${unclosed", "${unclosed", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
    assert!(Pattern::new("S3:getobject", syntax(true, true)).matches("s3:GetObject", &()));
    assert!(!Pattern::new("a*", syntax(false, false)).matches("ab", &()));
    assert!(Pattern::new("a*", syntax(false, false)).matches("a*", &()));
}

#[test]
fn arns_are_matched_by_segments() {
    let matches = |pattern: &str, text: &str| Pattern::new(pattern, syntax(true, false)).matches_arn(text, &());
    let key = "arn:aws:kms:us-east-1:111122223333:key/1";
    for (pattern, expected) in [
        (key, true),
        ("arn:aws:kms:*:111122223333:key/*", true),
        ("arn:*:kms:*:*:*", true),
        ("arn:*", false),
        ("*", false),
        ("arn:aws:kms:*:key/1", false),
        ("arn:aws:kms:us-east-1:111122223333:key/2", false),
    ] {
        assert_eq!(matches(pattern, key), expected, "{pattern}");
    }
    assert!(matches("arn:aws:sns:*:*:a:*", "arn:aws:sns:r:1:a:b:c"), "the last segment takes the rest");
}

#[test]
fn variables() {
    let context: &[(&str, &str)] = &[("aws:username", "al*ce"), ("many", "a"), ("many", "b")];
    let matches = |pattern: &str, text: &str| Pattern::new(pattern, syntax(true, false)).matches(text, &context);
    assert!(matches("home/${aws:username}/*", "home/al*ce/x"));
    assert!(matches("home/${AWS:UserName}/*", "home/al*ce/x"));
    assert!(!matches("home/${aws:username}/*", "home/alice/x"), "a value's wildcards are characters");
    assert!(!matches("home/${aws:userid}/*", "home//x"), "no value matches nothing");
    assert!(matches("home/${aws:userid, 'nobody'}/*", "home/nobody/x"));
    assert!(!matches("${many}", "a"), "several values have no one text");
    let old = Syntax { variables: false, ..syntax(true, false) };
    assert!(Pattern::new("${aws:username}", old).matches("${aws:username}", &context));
}

/// Matching as its definition says, whatever it costs.
fn slow(pattern: &[char], text: &[char]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some('*'), _) => slow(&pattern[1..], text) || (!text.is_empty() && slow(pattern, &text[1..])),
        (Some('?'), Some(_)) => slow(&pattern[1..], &text[1..]),
        (Some(a), Some(b)) if a == b => slow(&pattern[1..], &text[1..]),
        _ => false,
    }
}

proptest! {
    #[test]
    fn matching_agrees_with_its_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
        let (slow_pattern, slow_text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        let fast = Pattern::new(&pattern, syntax(true, false)).matches(&text, &());
        prop_assert_eq!(fast, slow(&slow_pattern, &slow_text));
    }
}
