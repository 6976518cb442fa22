//! What operators see of the server: the log and the metrics.

mod json;
pub mod log;
pub mod metrics;

pub use metrics::Metrics;
