//! Faults of S3, set while it serves.

use std::sync::{Arc, Mutex, PoisonError};

use s3s::{
    S3Result,
    access::{S3Access, S3AccessContext},
    path::S3Path,
    s3_error,
};

/// Which keys cannot be had at the moment.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    prefix: Mutex<Option<String>>,
}

impl Faults {
    /// From now on every request for a key below `prefix` is answered with 503 `SlowDown`, and, where it is empty, every
    /// request. `None` ends it.
    pub(crate) fn set(&self, prefix: Option<String>) {
        *self.prefix.lock().unwrap_or_else(PoisonError::into_inner) = prefix;
    }

    fn meet(&self, path: &S3Path) -> bool {
        let prefix = self.prefix.lock().unwrap_or_else(PoisonError::into_inner);
        prefix.as_ref().is_some_and(|prefix| match path {
            S3Path::Object { key, .. } => key.starts_with(prefix.as_str()),
            S3Path::Root | S3Path::Bucket { .. } => prefix.is_empty(),
        })
    }
}

/// Lets in what is signed, unless a fault is set.
pub(super) struct Access(pub(super) Arc<Faults>);

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Signature is required"));
        }
        if self.0.meet(context.s3_path()) {
            return Err(s3_error!(SlowDown, "Please reduce your request rate."));
        }
        Ok(())
    }
}
