//! Every condition operator. (IAM user guide, "Condition operators" and "Set operators for multivalued context keys".)

use std::collections::BTreeMap;

use super::reference;
use crate::policy::Context;
use crate::policy::condition::{Condition, Malformed};

/// The request that the table's conditions are asked of.
const CONTEXT: &[(&str, &str)] = &[
    ("s", "Blue"),
    ("accent", "Zoë"),
    ("star", "a*c"),
    ("n", "10"),
    ("fraction", "2.5"),
    ("minus", "-3"),
    ("d", "2026-06-01T12:00:00Z"),
    ("epoch", "1780315200"),
    ("t", "true"),
    ("f", "FALSE"),
    ("ip", "10.1.2.3"),
    ("ip6", "2001:db8::1"),
    ("mapped", "::ffff:10.1.2.3"),
    ("arn", "arn:aws:iam::111122223333:user/alice"),
    ("topic", "arn:aws:sns:eu-west-1:111122223333:a:b"),
    ("bin", "QmluYXJ5"),
    ("tags", "a"),
    ("tags", "b"),
    ("numbers", "1"),
    ("numbers", "9"),
    ("odd", "nonsense"),
    ("name", "alice"),
];

/// Operator, key, values (`|` between them), whether it holds. The key `none` is not there.
const TABLE: &str = "
    StringEquals                        s         Blue                          yes
    StringEquals                        s         blue                          no
    StringEquals                        s         red|Blue                      yes
    StringEquals                        S         Blue                          yes
    StringEquals                        s         B*                            no
    StringEquals                        s         Blu?                          no
    StringEquals                        star      a*c                           yes
    StringEquals                        accent    Zoë                           yes
    StringEquals                        none      x                             no
    StringEquals                        tags      b                             yes
    StringEqualsIfExists                none      x                             yes
    StringEqualsIfExists                s         x                             no
    StringEqualsIfExists                s         Blue                          yes
    StringEquals                        name      ${name}                       yes
    StringEquals                        name      ${none}                       no
    StringEquals                        name      ${none,'alice'}               yes
    StringEquals                        star      a${*}c                        yes
    StringNotEquals                     s         Blue                          no
    StringNotEquals                     s         red|Blue                      no
    StringNotEquals                     s         red                           yes
    StringNotEquals                     s         blue                          yes
    StringNotEquals                     none      red                           yes
    StringNotEquals                     tags      a                             no
    StringNotEquals                     tags      c                             yes
    StringNotEqualsIfExists             none      red                           yes
    StringNotEqualsIfExists             s         Blue                          no
    StringEqualsIgnoreCase              s         bLUE                          yes
    StringEqualsIgnoreCase              s         red                           no
    StringEqualsIgnoreCase              s         bLU?                          no
    StringEqualsIgnoreCase              none      blue                          no
    StringEqualsIgnoreCase              s         ${S}                          yes
    StringEqualsIgnoreCase              s         b${none,'LUE'}                yes
    StringEqualsIgnoreCase              name      ${s}                          no
    StringEqualsIgnoreCaseIfExists      none      blue                          yes
    StringNotEqualsIgnoreCase           s         bLUE                          no
    StringNotEqualsIgnoreCase           s         red                           yes
    StringNotEqualsIgnoreCase           none      red                           yes
    StringNotEqualsIgnoreCase           s         ${s}                          no
    StringNotEqualsIgnoreCaseIfExists   none      red                           yes
    StringLike                          s         B?u*                          yes
    StringLike                          s         b*                            no
    StringLike                          s         *                             yes
    StringLike                          s         ????                          yes
    StringLike                          s         ???                           no
    StringLike                          accent    Zo?                           yes
    StringLike                          star      a${*}c                        yes
    StringLike                          s         B${*}e                        no
    StringLike                          name      ${name}*                      yes
    StringLike                          none      *                             no
    StringLikeIfExists                  none      *                             yes
    StringNotLike                       s         B*                            no
    StringNotLike                       s         b*                            yes
    StringNotLike                       none      B*                            yes
    StringNotLikeIfExists               none      B*                            yes
    NumericEquals                       n         10                            yes
    NumericEquals                       n         10.0                          yes
    NumericEquals                       n         1e1                           yes
    NumericEquals                       n         11|10                         yes
    NumericEquals                       minus     -3                            yes
    NumericEquals                       fraction  2.50                          yes
    NumericEquals                       odd       10                            no
    NumericEquals                       none      10                            no
    NumericEqualsIfExists               none      10                            yes
    NumericNotEquals                    n         10                            no
    NumericNotEquals                    n         11                            yes
    NumericNotEquals                    odd       10                            yes
    NumericNotEquals                    none      10                            yes
    NumericNotEqualsIfExists            none      10                            yes
    NumericLessThan                     n         10                            no
    NumericLessThan                     n         10.5                          yes
    NumericLessThan                     n         5|11                          yes
    NumericLessThan                     odd       11                            no
    NumericLessThan                     none      11                            no
    NumericLessThanIfExists             none      11                            yes
    NumericLessThanEquals               n         10                            yes
    NumericLessThanEquals               n         9                             no
    NumericLessThanEqualsIfExists       none      9                             yes
    NumericGreaterThan                  n         9.5                           yes
    NumericGreaterThan                  n         10                            no
    NumericGreaterThan                  minus     -4                            yes
    NumericGreaterThanIfExists          none      1                             yes
    NumericGreaterThanEquals            n         10                            yes
    NumericGreaterThanEquals            n         11                            no
    NumericGreaterThanEqualsIfExists    none      1                             yes
    DateEquals                          d         2026-06-01T12:00:00Z          yes
    DateEquals                          d         1780315200                    yes
    DateEquals                          epoch     2026-06-01T12:00:00Z          yes
    DateEquals                          d         2026-06-01T14:00:00+02:00     yes
    DateEquals                          d         2026-06-01T12:00:00.000Z      yes
    DateEquals                          d         2026-06-01T12:00Z             yes
    DateEquals                          d         2026-06-01                    no
    DateEquals                          odd       2026-06-01                    no
    DateEquals                          none      2026-06-01                    no
    DateEqualsIfExists                  none      2026-06-01                    yes
    DateNotEquals                       d         2026-06-01T12:00:00Z          no
    DateNotEquals                       d         2026-06-01                    yes
    DateNotEquals                       none      2026-06-01                    yes
    DateNotEqualsIfExists               none      2026-06-01                    yes
    DateLessThan                        d         2026-06-01T12:00:01Z          yes
    DateLessThan                        d         2026-06-01T12:00:00Z          no
    DateLessThanIfExists                none      2026-06-01                    yes
    DateLessThanEquals                  d         2026-06-01T12:00:00Z          yes
    DateLessThanEquals                  d         2026-06-01                    no
    DateLessThanEqualsIfExists          none      2026-06-01                    yes
    DateGreaterThan                     d         2026-06-01                    yes
    DateGreaterThan                     d         2026-06                       yes
    DateGreaterThan                     d         2026-07                       no
    DateGreaterThan                     none      2026-06                       no
    DateGreaterThanIfExists             none      2027-01-01                    yes
    DateGreaterThanEquals               d         2026-06-01T12:00:00Z          yes
    DateGreaterThanEquals               d         2027-01-01                    no
    DateGreaterThanEqualsIfExists       none      2027-01-01                    yes
    Bool                                t         true                          yes
    Bool                                t         TRUE                          yes
    Bool                                t         False                         no
    Bool                                f         false                         yes
    Bool                                odd       false                         no
    Bool                                none      false                         no
    BoolIfExists                        none      false                         yes
    BoolIfExists                        t         false                         no
    BinaryEquals                        bin       QmluYXJ5                      yes
    BinaryEquals                        bin       AAAA|QmluYXJ5                 yes
    BinaryEquals                        bin       AAAA                          no
    BinaryEquals                        odd       AAAA                          no
    BinaryEquals                        none      AAAA                          no
    BinaryEqualsIfExists                none      AAAA                          yes
    IpAddress                           ip        10.0.0.0/8                    yes
    IpAddress                           ip        10.1.2.3                      yes
    IpAddress                           ip        10.1.2.3/32                   yes
    IpAddress                           ip        10.1.2.4                      no
    IpAddress                           ip        192.168.0.0/16|10.1.0.0/16    yes
    IpAddress                           ip        0.0.0.0/0                     yes
    IpAddress                           ip        10.9.9.9/8                    yes
    IpAddress                           ip        010.0.0.0/8                   yes
    IpAddress                           ip        012.0.0.0/8                   no
    IpAddress                           ip        2001:db8::/32                 no
    IpAddress                           ip6       2001:db8::/32                 yes
    IpAddress                           ip6       2001:db8:0:0::1               yes
    IpAddress                           ip6       10.0.0.0/8                    no
    IpAddress                           mapped    10.0.0.0/8                    yes
    IpAddress                           odd       0.0.0.0/0                     no
    IpAddress                           none      0.0.0.0/0                     no
    IpAddressIfExists                   none      10.0.0.0/8                    yes
    NotIpAddress                        ip        10.0.0.0/8                    no
    NotIpAddress                        ip        192.168.0.0/16                yes
    NotIpAddress                        ip        192.168.0.0/16|10.0.0.0/8     no
    NotIpAddress                        mapped    10.0.0.0/8                    no
    NotIpAddress                        none      10.0.0.0/8                    yes
    NotIpAddressIfExists                none      10.0.0.0/8                    yes
    ArnEquals                           arn       arn:aws:iam::111122223333:user/alice     yes
    ArnEquals                           arn       arn:aws:iam::111122223333:user/al?ce     yes
    ArnEquals                           arn       arn:aws:iam::111122223333:user/bob       no
    ArnLike                             arn       arn:aws:iam::*:user/*         yes
    ArnLike                             arn       arn:*:*:*:*:*                 yes
    ArnLike                             arn       arn:aws:iam:*:user/*          no
    ArnLike                             arn       arn:*                         no
    ArnLike                             arn       *                             no
    ArnLike                             arn       arn:aws:iam::111122223333:user/${name}   yes
    ArnLike                             topic     arn:aws:sns:*:*:a:*           yes
    ArnLike                             topic     arn:aws:sns:*:*:*             yes
    ArnLike                             topic     arn:aws:sns:eu-west-1:*:a     no
    ArnLike                             odd       arn:*:*:*:*:*                 no
    ArnLike                             none      arn:*:*:*:*:*                 no
    ArnLikeIfExists                     none      arn:*:*:*:*:*                 yes
    ArnEqualsIfExists                   none      arn:*:*:*:*:*                 yes
    ArnNotEquals                        arn       arn:aws:iam::*:user/bob       yes
    ArnNotEquals                        none      arn:aws:iam::*:user/*         yes
    ArnNotLike                          arn       arn:aws:iam::*:user/*         no
    ArnNotLike                          none      arn:aws:iam::*:user/*         yes
    ArnNotLikeIfExists                  none      arn:aws:iam::*:user/*         yes
    ArnNotEqualsIfExists                arn       arn:aws:iam::*:user/alice     no
    Null                                s         false                         yes
    Null                                s         true                          no
    Null                                none      true                          yes
    Null                                none      false                         no
    Null                                s         true|false                    yes
    Null                                none      true|false                    yes
    Null                                tags      false                         yes
    ForAnyValue:StringEquals            tags      b|c                           yes
    ForAnyValue:StringEquals            tags      c                             no
    ForAnyValue:StringEquals            none      c                             no
    ForAnyValue:StringEquals            s         Blue                          yes
    ForAnyValue:StringEqualsIfExists    none      c                             yes
    ForAnyValue:StringEqualsIgnoreCase  tags      B                             yes
    ForAnyValue:StringLike              tags      b*                            yes
    ForAnyValue:StringNotEquals         tags      a                             yes
    ForAnyValue:StringNotEquals         tags      a|b                           no
    ForAnyValue:StringNotEquals         none      a                             no
    ForAnyValue:StringNotLike           tags      *                             no
    ForAnyValue:NumericGreaterThan      numbers   8                             yes
    ForAnyValue:NumericGreaterThan      numbers   9                             no
    ForAllValues:StringEquals           tags      a|b|c                         yes
    ForAllValues:StringEquals           tags      a                             no
    ForAllValues:StringEquals           none      a                             yes
    ForAllValues:StringEquals           s         Blue                          yes
    ForAllValues:StringLike             tags      ?                             yes
    ForAllValues:StringNotEquals        tags      c                             yes
    ForAllValues:StringNotEquals        tags      a                             no
    ForAllValues:StringNotEquals        none      a                             yes
    ForAllValues:NumericLessThan        numbers   10                            yes
    ForAllValues:NumericLessThan        numbers   9                             no
    ForAllValues:Bool                   t         true                          yes
";

fn condition(operator: &str, key: &str, values: &str, variables: bool) -> Result<Condition, Malformed> {
    let values: Vec<String> = values.split('|').map(str::to_owned).collect();
    Condition::new(operator, key, &values, variables)
}

/// The reference too: what the two are wrong about alike would go unseen where they are held against each other.
#[test]
fn every_operator_as_aws_documents_it() {
    let mut context: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in CONTEXT {
        context.entry((*key).to_owned()).or_default().push((*value).to_owned());
    }
    let rows: Vec<Vec<&str>> =
        TABLE.lines().map(|line| line.split_whitespace().collect()).filter(|row: &Vec<_>| !row.is_empty()).collect();
    assert!(rows.len() > 180, "{} rows", rows.len());
    for row in rows {
        let [operator, key, values, expected] = row[..] else { panic!("{row:?}") };
        let condition = condition(operator, key, values, true).unwrap_or_else(|error| panic!("{row:?}: {error:?}"));
        assert_eq!(condition.holds(&CONTEXT), expected == "yes", "{row:?}");
        let found = context.get(&key.to_ascii_lowercase()).cloned().unwrap_or_default();
        let wanted: Vec<String> = values.split('|').map(str::to_owned).collect();
        let of_reference = reference::holds(operator, &found, &wanted, true, &context);
        assert_eq!(of_reference, expected == "yes", "the reference of {row:?}");
    }
}

#[test]
fn the_old_version_has_no_variables() {
    for (value, expected) in [("${name}", false), ("alice", true)] {
        assert_eq!(condition("StringEquals", "name", value, false).unwrap().holds(&CONTEXT), expected, "{value}");
    }
    let literal: &[(&str, &str)] = &[("name", "${name}")];
    assert!(condition("StringEquals", "name", "${name}", false).unwrap().holds(&literal));
}

#[test]
fn operators_and_values_that_are_none() {
    for operator in [
        "",
        "StringMatches",
        "stringequals",
        "ForSomeValues:StringEquals",
        "NullIfExists",
        "StringEqualsIfExistsIfExists",
    ] {
        assert_eq!(condition(operator, "k", "true", true), Err(Malformed::Operator), "{operator}");
    }
    for (operator, values) in [
        ("NumericEquals", &["x", "", "1,5", "inf", "NaN", "0x10", "+"][..]),
        ("DateEquals", &["yesterday", "", "2026-13-01", "2026-06-01T25:00:00Z"]),
        ("Bool", &["yes", "1", ""]),
        ("IpAddress", &["10.0.0.0/33", "10.0.0", "localhost", ""]),
        ("BinaryEquals", &["no base64!"]),
        ("Null", &["maybe", "true|maybe"]),
    ] {
        for value in values {
            assert_eq!(condition(operator, "k", value, true), Err(Malformed::Value), "{operator} {value}");
        }
    }
}

/// A key whose set of values is empty is as one that is not there.
#[test]
fn an_empty_set_is_no_value() {
    struct Empty;
    impl Context for Empty {
        fn find(&self, _: &str) -> crate::policy::Found<'_> {
            crate::policy::Found::Many(Vec::new())
        }
    }
    for (operator, expected) in [
        ("Null", true),
        ("ForAllValues:StringEquals", true),
        ("ForAnyValue:StringEquals", false),
        ("StringEquals", false),
        ("StringNotEquals", true),
        ("StringEqualsIfExists", true),
    ] {
        assert_eq!(condition(operator, "k", "true", true).unwrap().holds(&Empty), expected, "{operator}");
    }
}
