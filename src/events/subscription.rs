//! Who is told what: a bucket's notification configuration, parsed.

use super::name::{EventName, EventPattern};

/// The kind of a target, by the element that names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Service {
    /// `TopicConfiguration`: SNS.
    Topic,
    /// `QueueConfiguration`: SQS.
    Queue,
    /// `CloudFunctionConfiguration`: Lambda.
    Function,
}

impl Service {
    /// As ARNs have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "sns",
            Self::Queue => "sqs",
            Self::Function => "lambda",
        }
    }
}

/// One configuration: these events of objects with such keys go to that target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subscription {
    /// Names it, in the bucket's configuration and in messages.
    pub id: String,
    /// The kind of its target.
    pub service: Service,
    /// The target's ARN.
    pub arn: String,
    /// Which events.
    pub events: Vec<EventPattern>,
    /// What keys begin with.
    pub prefix: Option<String>,
    /// What keys end with.
    pub suffix: Option<String>,
}

/// A bucket's notification configuration.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Subscriptions {
    /// Its configurations.
    pub list: Vec<Subscription>,
    /// Whether everything is told to EventBridge.
    pub event_bridge: bool,
}

impl Subscription {
    /// Whether it is told of `name` of the object `key`.
    pub fn wants(&self, name: EventName, key: &str) -> bool {
        self.events.iter().any(|pattern| pattern.matches(name))
            && self.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix))
            && self.suffix.as_deref().is_none_or(|suffix| key.ends_with(suffix))
    }

    /// Whether there can be an event that both are told of, which AWS does not accept: an event type in common, and prefixes
    /// and suffixes that one key can have. (AWS: "Configuring event notifications using object key name filtering".)
    pub fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self, other);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let prefixes = (text(&a.prefix), text(&b.prefix));
        let suffixes = (text(&a.suffix), text(&b.suffix));
        a.events.iter().any(|event| b.events.iter().any(|other| event.overlaps(*other)))
            && (prefixes.0.starts_with(&prefixes.1) || prefixes.1.starts_with(&prefixes.0))
            && (suffixes.0.ends_with(&suffixes.1) || suffixes.1.ends_with(&suffixes.0))
    }
}

impl Subscriptions {
    /// Whether nobody is told anything.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && !self.event_bridge
    }

    /// The subscriptions that are told of `name` of the object `key`.
    pub fn wanting<'a>(&'a self, name: EventName, key: &'a str) -> impl Iterator<Item = &'a Subscription> {
        self.list.iter().filter(move |subscription| subscription.wants(name, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(events: &[&str], prefix: Option<&str>, suffix: Option<&str>) -> Subscription {
        Subscription {
            id: "i".to_owned(),
            service: Service::Queue,
            arn: "arn:aws:sqs:us-east-1:000000000000:q".to_owned(),
            events: events.iter().map(|event| EventPattern::parse(event).unwrap()).collect(),
            prefix: prefix.map(str::to_owned),
            suffix: suffix.map(str::to_owned),
        }
    }

    #[test]
    fn filters_choose_by_event_prefix_and_suffix() {
        let jpg = subscription(&["s3:ObjectCreated:*"], Some("images/"), Some(".jpg"));
        assert!(jpg.wants(EventName::ObjectCreatedPut, "images/a.jpg"));
        assert!(!jpg.wants(EventName::ObjectCreatedPut, "images/a.png"));
        assert!(!jpg.wants(EventName::ObjectCreatedPut, "a.jpg"));
        assert!(!jpg.wants(EventName::ObjectRemovedDelete, "images/a.jpg"));
    }

    #[test]
    fn overlaps_are_those_of_one_key_and_one_event() {
        let (all, put) = (&["s3:ObjectCreated:*"], &["s3:ObjectCreated:Put"]);
        let images = subscription(all, Some("images"), None);
        assert!(images.overlaps(&subscription(put, Some("images/jpg"), None)));
        assert!(images.overlaps(&subscription(put, None, Some(".jpg"))));
        assert!(!images.overlaps(&subscription(put, Some("logs"), None)));
        assert!(!images.overlaps(&subscription(&["s3:ObjectRemoved:*"], Some("images"), None)));
        let jpg = subscription(all, Some("images"), Some("jpg"));
        assert!(!jpg.overlaps(&subscription(all, Some("images"), Some("png"))));
        assert!(jpg.overlaps(&subscription(all, Some("images"), Some(".jpg"))));
    }
}
