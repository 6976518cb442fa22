//! How the errors of lower layers look to an S3 client: each map an exhaustive match.

use crate::iam::Denied;
use crate::store::StoreError;

use super::{ErrorCode, S3Error};

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NoSpace => ErrorCode::InsufficientStorage,
            StoreError::RunNotFound(_) | StoreError::Corrupt(_) | StoreError::Engine(_) => ErrorCode::InternalError,
        };
        Self::from(code).because(error)
    }
}

impl From<Denied> for S3Error {
    fn from(denied: Denied) -> Self {
        Self::from(ErrorCode::AccessDenied).because(denied)
    }
}
