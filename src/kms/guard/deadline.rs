//! A time limit for each try.

use std::time::Duration;

use async_trait::async_trait;

use super::{Call, Guard};
use crate::kms::KmsError;
use crate::kms::error::KmsErrorKind;

/// Gives up calls that take too long.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Duration);

#[async_trait]
impl Guard for Deadline {
    async fn run<T: Send>(&self, operation: &'static str, call: Call<'_, T>) -> Result<T, KmsError> {
        tokio::time::timeout(self.0, call()).await.unwrap_or_else(|elapsed| {
            let message = format!("{operation} was not answered within {} ms", self.0.as_millis());
            Err(KmsErrorKind::DependencyTimeout.because(message, elapsed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_too_long_is_given_up() {
        let deadline = Deadline(Duration::from_millis(5));
        assert_eq!(deadline.run("Decrypt", &|| Box::pin(async { Ok(7) })).await.unwrap(), 7);
        let error = deadline.run::<()>("Decrypt", &|| Box::pin(std::future::pending())).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::DependencyTimeout);
        assert!(error.kind.is_transient());
    }
}
