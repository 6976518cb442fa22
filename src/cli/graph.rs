//! The object graph: which component holds which, from the configuration to the protocols. The only place that knows all
//! of them.

use std::path::PathBuf;
use std::sync::Arc;

use super::accounts;
use super::credentials::RootCredentials;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::crypto::SharedEntropy;
use crate::http::Protocols;
use crate::iam::Directory;
use crate::telemetry::Metrics;
use crate::wire::{Answered, Protocol, RequestBody, RequestContext, ResponseBody};

/// What the graph is built from.
pub(super) struct Ground<'a> {
    pub(super) config: &'a Config,
    pub(super) root: &'a RootCredentials,
    pub(super) data_dir: PathBuf,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: SharedClock,
    pub(super) entropy: SharedEntropy,
}

/// The graph.
pub(super) struct Graph {
    pub(super) protocols: Protocols,
}

/// A component cannot start.
#[derive(Debug, thiserror::Error)]
pub(super) enum GraphError {}

impl Graph {
    /// Opens and joins all components.
    pub(super) async fn build(ground: Ground<'_>) -> Result<Self, GraphError> {
        let Ground {
            config,
            root,
            data_dir: _,
            metrics: _,
            clock: _,
            entropy: _,
        } = ground;
        let directory = Arc::new(accounts::directory(config, &root.id, &root.secret));
        let unserved: Arc<dyn Protocol> = Arc::new(Unserved { _directory: directory });
        Ok(Self {
            protocols: Protocols {
                s3: Arc::clone(&unserved),
                kms: unserved,
            },
        })
    }

    /// Closes what must be closed, when no request is open any more.
    pub(super) async fn close(self) {
        drop(self.protocols);
    }
}

/// Stands where a protocol will: answers that it is not implemented.
struct Unserved {
    _directory: Arc<Directory>,
}

#[async_trait::async_trait]
impl Protocol for Unserved {
    async fn call(&self, cx: &RequestContext, _: http::Request<RequestBody>) -> http::Response<ResponseBody> {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NotImplemented</Code><Message>A header you provided \
             implies functionality that is not implemented</Message><RequestId>{}</RequestId></Error>",
            cx.id
        );
        let mut response = http::Response::new(ResponseBody::from(body));
        *response.status_mut() = http::StatusCode::NOT_IMPLEMENTED;
        let answered = Answered {
            protocol: "s3",
            error_code: Some("NotImplemented"),
            ..Answered::default()
        };
        response.extensions_mut().insert(answered);
        response
    }
}
