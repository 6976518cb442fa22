//! How far the life cycle of a bucket is.

use minicbor::{Decode, Encode};

use crate::store::schema::Record;

/// A pass over a bucket, at work or done.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(super) struct Pass {
    /// When it was begun, in milliseconds since the Unix epoch.
    #[n(0)]
    pub begun: i64,
    /// When the configuration that it goes by was put.
    #[n(1)]
    pub configured: i64,
    /// What it is looking at.
    #[n(2)]
    pub stage: Stage,
    /// The last key of the stage that is done with: it goes on behind it.
    #[n(3)]
    pub after: String,
}

/// What a pass looks at, in this order.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(index_only)]
pub(super) enum Stage {
    /// Objects and their versions.
    #[n(0)]
    Versions,
    /// Open uploads.
    #[n(1)]
    Uploads,
    /// Nothing any more.
    #[n(2)]
    Done,
}

impl Pass {
    pub fn begin(now: i64, configured: i64) -> Self {
        Self { begun: now, configured, stage: Stage::Versions, after: String::new() }
    }

    /// Goes on to the next stage.
    pub fn advance(&mut self) {
        self.stage = match self.stage {
            Stage::Versions => Stage::Uploads,
            Stage::Uploads | Stage::Done => Stage::Done,
        };
        self.after.clear();
    }
}

impl Record for Pass {
    const NAME: &'static str = "life-cycle pass";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_does_not_change() {
        let pass = Pass { after: "logs/4".to_owned(), stage: Stage::Uploads, ..Pass::begin(1_700_000_000_000, 5) };
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schema/lifecycle-pass.bin");
        if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, pass.to_value()).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert_eq!(Pass::from_value(&golden).unwrap(), pass);
        assert_eq!(pass.to_value(), golden);
    }

    #[test]
    fn stages_follow_each_other() {
        let mut pass = Pass::begin(0, 0);
        pass.after = "k".to_owned();
        for stage in [Stage::Uploads, Stage::Done, Stage::Done] {
            pass.advance();
            assert_eq!((pass.stage, pass.after.as_str()), (stage, ""));
        }
    }
}
