//! What operators see of the server: the log and the metrics.

mod json;
pub mod log;
pub mod metrics;
mod panic;

pub use metrics::Metrics;
pub use panic::outlive;
