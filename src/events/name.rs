//! The names of events, and the patterns that configurations ask for them by.
//! (AWS: "Supported event types for SQS, SNS, and Lambda", user guide.)

use std::fmt;

macro_rules! events {
    ($($name:ident $text:literal $version:literal;)*) => {
        /// An event. A closed set.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[expect(missing_docs, reason = "the names are AWS's own")]
        pub enum EventName { $($name,)* }

        impl EventName {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As messages have it: without `s3:`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The version of the message's structure. (AWS: "Event message structure".)
            pub const fn version(self) -> &'static str {
                match self { $(Self::$name => $version,)* }
            }
        }
    };
}

events! {
    ObjectCreatedPut "ObjectCreated:Put" "2.1";
    ObjectCreatedPost "ObjectCreated:Post" "2.1";
    ObjectCreatedCopy "ObjectCreated:Copy" "2.1";
    ObjectCreatedCompleteMultipartUpload "ObjectCreated:CompleteMultipartUpload" "2.1";
    ObjectRemovedDelete "ObjectRemoved:Delete" "2.1";
    ObjectRemovedDeleteMarkerCreated "ObjectRemoved:DeleteMarkerCreated" "2.1";
    ObjectRestorePost "ObjectRestore:Post" "2.1";
    ObjectRestoreCompleted "ObjectRestore:Completed" "2.1";
    ObjectRestoreDelete "ObjectRestore:Delete" "2.3";
    ReducedRedundancyLostObject "ReducedRedundancyLostObject" "2.1";
    ReplicationFailed "Replication:OperationFailedReplication" "2.2";
    ReplicationMissedThreshold "Replication:OperationMissedThreshold" "2.2";
    ReplicationReplicatedAfterThreshold "Replication:OperationReplicatedAfterThreshold" "2.2";
    ReplicationNotTracked "Replication:OperationNotTracked" "2.2";
    LifecycleExpirationDelete "LifecycleExpiration:Delete" "2.3";
    LifecycleExpirationDeleteMarkerCreated "LifecycleExpiration:DeleteMarkerCreated" "2.3";
    LifecycleTransition "LifecycleTransition" "2.3";
    IntelligentTiering "IntelligentTiering" "2.3";
    ObjectTaggingPut "ObjectTagging:Put" "2.3";
    ObjectTaggingDelete "ObjectTagging:Delete" "2.3";
    ObjectAclPut "ObjectAcl:Put" "2.3";
    ObjectAnnotationPut "ObjectAnnotation:Put" "2.3";
    ObjectAnnotationDelete "ObjectAnnotation:Delete" "2.3";
    ObjectRetentionPut "ObjectRetention:Put" "2.3";
}

impl EventName {
    /// The event called `text`, without `s3:`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|name| name.as_str() == text)
    }

    /// `ObjectCreated` of `ObjectCreated:Put`.
    fn family(self) -> Option<&'static str> {
        self.as_str().split_once(':').map(|(family, _)| family)
    }

    /// The detail type under which EventBridge has it; `None`: it is not told there. (AWS: "Event message structure" of
    /// EventBridge.)
    pub fn detail_type(self) -> Option<&'static str> {
        if self == Self::LifecycleTransition {
            return Some("Object Storage Class Changed");
        }
        Some(match self.family()? {
            "ObjectCreated" => "Object Created",
            "ObjectRemoved" | "LifecycleExpiration" => "Object Deleted",
            "ObjectTagging" if self == Self::ObjectTaggingPut => "Object Tags Added",
            "ObjectTagging" => "Object Tags Deleted",
            "ObjectAcl" => "Object ACL Updated",
            _ => return None,
        })
    }
}

impl EventName {
    /// What EventBridge is told of why an object was created or deleted. (AWS: "Event message detail field", `reason`.)
    pub fn reason(self) -> Option<&'static str> {
        Some(match self {
            Self::ObjectCreatedPut => "PutObject",
            Self::ObjectCreatedPost => "POST Object",
            Self::ObjectCreatedCopy => "CopyObject",
            Self::ObjectCreatedCompleteMultipartUpload => "CompleteMultipartUpload",
            Self::ObjectRemovedDelete | Self::ObjectRemovedDeleteMarkerCreated => "DeleteObject",
            Self::LifecycleExpirationDelete | Self::LifecycleExpirationDeleteMarkerCreated => "Lifecycle Expiration",
            _ => return None,
        })
    }

    /// Whether it is about a delete marker that was set.
    pub fn is_of_marker(self) -> bool {
        matches!(self, Self::ObjectRemovedDeleteMarkerCreated | Self::LifecycleExpirationDeleteMarkerCreated)
    }

    /// Whether it is about what stands beside an object: its size is not told then, nor a sequencer.
    pub fn is_beside_object(self) -> bool {
        matches!(self.family(), Some("ObjectTagging" | "ObjectAcl"))
    }
}

/// What a configuration asks for: one event, or a family (`s3:ObjectCreated:*`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventPattern {
    /// One event.
    One(EventName),
    /// A family, by its name.
    Family(&'static str),
}

impl EventPattern {
    /// Reads `s3:ObjectCreated:Put` or `s3:ObjectCreated:*`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("s3:")?;
        match text.strip_suffix(":*") {
            Some(family) => {
                EventName::ALL.iter().find_map(|name| name.family().filter(|own| *own == family)).map(Self::Family)
            }
            None => EventName::parse(text).map(Self::One),
        }
    }

    /// Whether it asks for `name`.
    pub fn matches(self, name: EventName) -> bool {
        match self {
            Self::One(own) => own == name,
            Self::Family(family) => name.family() == Some(family),
        }
    }

    /// Whether there is an event that both ask for.
    pub fn overlaps(self, other: Self) -> bool {
        EventName::ALL.iter().any(|name| self.matches(*name) && other.matches(*name))
    }
}

/// As configurations have it.
impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => write!(f, "s3:{}", name.as_str()),
            Self::Family(family) => write!(f, "s3:{family}:*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let parse = EventPattern::parse;
        assert_eq!(parse("s3:ObjectCreated:Put"), Some(EventPattern::One(EventName::ObjectCreatedPut)));
        assert_eq!(parse("s3:ObjectCreated:*"), Some(EventPattern::Family("ObjectCreated")));
        for bad in [
            "ObjectCreated:Put",
            "s3:ObjectCreated",
            "s3:*",
            "s3:Nothing:*",
            "s3:TestEvent",
            "s3:ObjectCreated:put",
            "",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let created = parse("s3:ObjectCreated:*").unwrap();
        assert!(created.matches(EventName::ObjectCreatedCopy));
        assert!(!created.matches(EventName::ObjectRemovedDelete));
        assert!(created.overlaps(parse("s3:ObjectCreated:Post").unwrap()));
        assert!(!created.overlaps(parse("s3:ObjectRemoved:*").unwrap()));
    }

    #[test]
    fn every_name_can_be_asked_for() {
        for name in EventName::ALL {
            let pattern = EventPattern::One(*name);
            assert_eq!(EventPattern::parse(&pattern.to_string()), Some(pattern));
        }
    }
}
