use super::*;
use crate::s3::error::ErrorCode;
use crate::sse::SseKind;
use crate::store::schema::{DestinationState, ReplicationState};

const ROLE: &str = "<Role>arn:aws:iam::000000000000:role/replicate</Role>";
const TO: &str = "<Destination><Bucket>arn:aws:s3:::d</Bucket></Destination>";

fn parse(contents: &str) -> Result<Replication> {
    let document = format!("<{ROOT} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{contents}</{ROOT}>");
    let mut ids = 0;
    Replication::parse(document.as_bytes(), |_| {
        ids += 1;
        format!("fresh-{ids}")
    })
}

fn rule(id: &str, priority: u32, filter: &str, rest: &str) -> String {
    format!(
        "<Rule><ID>{id}</ID><Priority>{priority}</Priority><Filter>{filter}</Filter><Status>Enabled</Status>{rest}\
         <DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication></Rule>"
    )
}

fn candidate<'c>(key: &'c str, tags: &'c [(String, String)]) -> Candidate<'c> {
    Candidate { key, tags, encryption: Some(SseKind::S3), provenance: Provenance::Written }
}

#[test]
fn a_configuration_comes_back_as_it_went_in() {
    let everything = format!(
        "{ROLE}<Rule><ID>a</ID><Priority>1</Priority><Filter><And><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value>\
         </Tag><Not><Or><Prefix>px</Prefix><Prefix>py</Prefix></Or></Not></And></Filter><Status>Enabled</Status>\
         <SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects>\
         <ReplicaModifications><Status>Enabled</Status></ReplicaModifications></SourceSelectionCriteria>\
         <ExistingObjectReplication><Status>Enabled</Status></ExistingObjectReplication>\
         <Destination><Bucket>arn:aws:s3:::d</Bucket><Account>111122223333</Account>\
         <StorageClass>STANDARD_IA</StorageClass><AccessControlTranslation><Owner>Destination</Owner>\
         </AccessControlTranslation><EncryptionConfiguration><ReplicaKmsKeyID>alias/r</ReplicaKmsKeyID>\
         </EncryptionConfiguration><ReplicationTime><Status>Enabled</Status><Time><Minutes>15</Minutes></Time>\
         </ReplicationTime><Metrics><Status>Enabled</Status><EventThreshold><Minutes>15</Minutes></EventThreshold>\
         </Metrics></Destination><DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication></Rule>"
    );
    let replication = parse(&everything).unwrap();
    assert_eq!(replication.canonical(), everything);
    assert_eq!(Replication::read(&everything).unwrap(), replication);
    let destination = &replication.rules[0].destination;
    assert_eq!((destination.bucket_name(), destination.replica_key()), ("d", Some("alias/r")));
    assert_eq!(destination.threshold(), Some(15));
    assert!(replication.rules[0].wants_existing());
    let v1 = format!("{ROLE}<Rule><ID>a</ID><Prefix></Prefix><Status>Disabled</Status>{TO}</Rule>");
    assert_eq!(parse(&v1).unwrap().canonical(), v1);
}

#[test]
fn rules_choose_by_filter_priority_and_encryption() {
    let kms = "<SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects>\
               </SourceSelectionCriteria><Destination><Bucket>arn:aws:s3:::d</Bucket><EncryptionConfiguration>\
               <ReplicaKmsKeyID>k</ReplicaKmsKeyID></EncryptionConfiguration></Destination>";
    let rules = rule("all", 1, "", TO)
        + &rule("kms", 2, "<Prefix>sealed/</Prefix>", kms)
        + &rule("tag", 3, "<Tag><Key>k</Key><Value>v</Value></Tag>", &TO.replace(":d<", ":e<"))
        + &rule("not", 4, "<Not><Prefix>sealed/</Prefix></Not>", &TO.replace(":d<", ":f<"));
    let replication = parse(&format!("{ROLE}{rules}")).unwrap();
    let ids = |candidate: Candidate<'_>| -> Vec<String> {
        replication.applicable(&candidate).iter().map(|rule| rule.id.clone()).collect()
    };
    let tags = [("k".to_owned(), "v".to_owned())];
    assert_eq!(ids(candidate("a", &[])), ["all", "not"]);
    assert_eq!(ids(candidate("sealed/a", &[])), ["kms"]);
    assert_eq!(ids(candidate("a", &tags)), ["all", "tag", "not"]);
    let sealed = |key| Candidate { encryption: Some(SseKind::Kms), ..candidate(key, &[]) };
    assert_eq!(ids(sealed("sealed/a")), ["kms"], "only where the rule opts in");
    assert!(ids(sealed("a")).is_empty());
    for provenance in [Provenance::Replica, Provenance::ChangedReplica] {
        assert!(ids(Candidate { provenance, ..candidate("a", &[]) }).is_empty());
    }
    assert!(ids(Candidate { encryption: None, ..candidate("a", &[]) }).is_empty(), "no delete markers");
    let v1 = parse(&format!("{ROLE}<Rule><Prefix>a</Prefix><Status>Enabled</Status>{TO}</Rule>")).unwrap();
    assert_eq!(v1.applicable(&Candidate { encryption: None, ..candidate("ab", &[]) })[0].id, "fresh-1");
    assert!(v1.applicable(&candidate("b", &[])).is_empty());
}

#[test]
fn changes_follow_the_versions_that_were_replicated() {
    let modifications = "<SourceSelectionCriteria><ReplicaModifications><Status>Enabled</Status></ReplicaModifications>\
                         </SourceSelectionCriteria>";
    let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
    let with_prefix = format!("<And><Prefix>a/</Prefix>{tag}<Not><Or><Prefix>a/not/</Prefix></Or></Not></And>");
    let rules = rule("tagged", 1, &with_prefix, TO)
        + &rule("back", 2, tag, &format!("{modifications}{}", TO.replace(":d<", ":e<")))
        + &rule("other", 3, "<Prefix>b/</Prefix>", TO);
    let parsed = |rules: &str| parse(&format!("{ROLE}{rules}")).unwrap();
    let state = |is_replica, went: &[(&str, &str)]| {
        let arn = |bucket: &str| format!("arn:aws:s3:::{bucket}");
        let destinations = went.iter().map(|(to, by)| DestinationState::pending(&arn(to), by)).collect();
        Some(ReplicationState { is_replica, destinations })
    };
    let ids = |rules: &str, candidate: Candidate<'_>, state: Option<ReplicationState>| -> Vec<String> {
        let replication = parsed(rules);
        replication.followers(&candidate, state.as_ref()).iter().map(|rule| rule.id.clone()).collect()
    };
    let tags = [("k".to_owned(), "v".to_owned())];
    let none: [&str; 0] = [];
    // What no rule selected when it was written is left alone, whatever its tags are now.
    assert_eq!(ids(&rules, candidate("a/x", &tags), None), none);
    assert_eq!(ids(&rules, candidate("a/x", &[]), state(false, &[("d", "tagged")])), ["tagged"], "without the tag");
    assert_eq!(ids(&rules, candidate("a/x", &tags), state(false, &[("d", "tagged")])), ["tagged"]);
    assert_eq!(ids(&rules, candidate("a/not/x", &tags), state(false, &[("d", "tagged")])), none);
    let sealed = Candidate { encryption: Some(SseKind::Kms), ..candidate("a/x", &tags) };
    assert_eq!(ids(&rules, sealed, state(false, &[("d", "tagged")])), none, "the rule does not opt in");
    // The rule that it went by is gone, another leads there now.
    assert_eq!(ids(&rules, candidate("b/x", &[]), state(false, &[("d", "gone"), ("f", "gone")])), ["other"]);
    let disabled = rules.replace("<Status>Enabled</Status><Destination>", "<Status>Disabled</Status><Destination>");
    assert_eq!(ids(&disabled, candidate("a/x", &tags), state(false, &[("d", "tagged")])), none);
    // Replicas go where their changes are wanted.
    assert_eq!(ids(&rules, candidate("a/x", &tags), state(true, &[])), ["back"]);
    assert_eq!(ids(&rules, candidate("a/x", &[]), state(true, &[])), none);
    assert_eq!(ids(&rules, candidate("a/x", &[]), state(true, &[("e", "back")])), ["back"]);
}

#[test]
fn what_aws_refuses_is_refused() {
    let code = |contents: &str| parse(contents).unwrap_err().code;
    let message = |contents: &str| parse(contents).unwrap_err().message.into_owned();
    assert_eq!(code(ROLE), ErrorCode::MalformedXml);
    let good = rule("a", 1, "", TO);
    assert_eq!(code(&good), ErrorCode::MalformedXml, "without a role");
    assert_eq!(code(&format!("<Role>x</Role>{good}")), ErrorCode::InvalidArgument);
    let no_priority = good.replace("<Priority>1</Priority>", "");
    assert!(message(&format!("{ROLE}{no_priority}")).starts_with("Priority must be specified"));
    let no_markers = good.replace("<DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication>", "");
    assert!(message(&format!("{ROLE}{no_markers}")).starts_with("DeleteMarkerReplication must be specified"));
    let duplicate = rule("b", 1, "", TO);
    assert_eq!(message(&format!("{ROLE}{good}{duplicate}")), "Found duplicate priority 1");
    assert!(message(&format!("{ROLE}{good}{}", rule("a", 2, "", TO))).starts_with("Rule Id must be unique"));
    let tagged = rule("t", 1, "<Tag><Key>k</Key><Value>v</Value></Tag>", TO).replace("Disabled", "Enabled");
    assert!(message(&format!("{ROLE}{tagged}")).starts_with("Delete marker replication is not supported"));
    let kms = "<SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects>\
               </SourceSelectionCriteria>";
    assert_eq!(
        message(&format!("{ROLE}{}", rule("a", 1, "", &format!("{kms}{TO}")))),
        "ReplicaKmsKeyID must be specified if SseKmsEncryptedObjects tag is present."
    );
    let key = "<Destination><Bucket>arn:aws:s3:::d</Bucket><EncryptionConfiguration><ReplicaKmsKeyID>k\
               </ReplicaKmsKeyID></EncryptionConfiguration></Destination>";
    assert_eq!(
        message(&format!("{ROLE}{}", rule("a", 1, "", key))),
        "SseKmsEncryptedObjects must be specified if EncryptionConfiguration is present."
    );
    for bad in ["d", "arn:aws:s3:::", "arn:aws:s3:::d/k"] {
        let rule = rule("a", 1, "", &TO.replace("arn:aws:s3:::d", bad));
        assert_eq!(code(&format!("{ROLE}{rule}")), ErrorCode::InvalidArgument, "{bad}");
    }
    let of_class = |class: &str| {
        let destination = TO.replace("</Bucket>", &format!("</Bucket><StorageClass>{class}</StorageClass>"));
        parse(&format!("{ROLE}{}", rule("a", 1, "", &destination))).map(drop).map_err(|error| error.code)
    };
    assert_eq!(of_class("GLACIER_IR"), Ok(()));
    for class in ["", "COLD", "standard", "OUTPOSTS"] {
        assert_eq!(of_class(class), Err(ErrorCode::MalformedXml), "{class}");
    }
    let modifications = "<SourceSelectionCriteria><ReplicaModifications><Status>Enabled</Status></ReplicaModifications>\
                         </SourceSelectionCriteria>";
    let v1_rule = format!("<Rule><Prefix></Prefix><Status>Enabled</Status>{modifications}{TO}</Rule>");
    assert_eq!(code(&format!("{ROLE}{v1_rule}")), ErrorCode::MalformedXml, "of V2 alone");
    let maybe = modifications.replace("Enabled", "Perhaps");
    assert_eq!(code(&format!("{ROLE}{}", rule("a", 1, "", &format!("{maybe}{TO}")))), ErrorCode::MalformedXml);
    for key in ["", "aws:k", &"k".repeat(129)] {
        let tagged = rule("a", 1, &format!("<Tag><Key>{key}</Key><Value>v</Value></Tag>"), TO);
        assert_eq!(code(&format!("{ROLE}{tagged}")), ErrorCode::InvalidTag, "{key}");
    }
    let v1 = |prefix: &str| format!("<Rule><Prefix>{prefix}</Prefix><Status>Enabled</Status>{TO}</Rule>");
    assert!(message(&format!("{ROLE}{}{}", v1("a"), v1("ab"))).starts_with("Found overlapping prefixes"));
    assert_eq!(code(&format!("{ROLE}{}{good}", v1("a"))), ErrorCode::MalformedXml, "V1 beside V2");
    let misspelt =
        good.replace("</Rule>", "<ExistingObjectReplicaton><Status>Enabled</Status></ExistingObjectReplicaton></Rule>");
    let repeated = good.replace("</Rule>", &format!("{TO}</Rule>"));
    let text = good.replace("<Filter>", "<Filter>all");
    for rule in [misspelt, repeated, text] {
        assert_eq!(code(&format!("{ROLE}{rule}")), ErrorCode::MalformedXml, "{rule}");
    }
    let filter = "<Prefix>a</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>";
    assert_eq!(code(&format!("{ROLE}{}", rule("a", 1, filter, TO))), ErrorCode::MalformedXml);
}

#[test]
fn a_rule_is_known_again_without_its_id() {
    let with = |id: &str, prefix: &str| {
        let filter = format!("<Prefix>{prefix}</Prefix>");
        rule(id, 1, &filter, TO)
    };
    let kept = parse(&format!("{ROLE}{}", with("given", "a"))).unwrap();
    let kept = Replication::read(&kept.canonical()).unwrap();
    let same = |contents: &str| {
        let asked = parse(&format!("{ROLE}{contents}")).unwrap();
        kept.same_rule(&asked.rules[0]).map(|rule| rule.id.clone())
    };
    assert_eq!(same(&with("", "a")).as_deref(), Some("given"));
    assert_eq!(same(&with("other", "a")).as_deref(), Some("given"));
    assert_eq!(same(&with("", "b")), None);
}
