//! Work of an invocation that goes on after its answer has left.
//!
//! Lambda freezes a process once its runtime **and its extensions** have asked for the next event. An internal extension
//! (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-extensions.html>), a task of this very process, therefore holds
//! its own question back until the work is done: the caller has its answer, and the process still runs.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::{BoxFuture, join_all};
use lambda_extension::{Extension, LambdaEvent, NextEvent, service_fn};
use lambda_runtime::{Error, tracing::warn};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

type Work = Vec<BoxFuture<'static, ()>>;

/// The deferred work of one invocation. Dropping it hands the work over, also where the handler panics: the extension
/// waits for exactly one hand-over per invocation.
pub struct Deferred {
    work: Mutex<Work>,
    handed_over: mpsc::UnboundedSender<Work>,
}

impl Deferred {
    /// Adds work.
    pub fn push(&self, work: BoxFuture<'static, ()>) {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).push(work);
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        let work = mem::take(&mut *self.work.lock().unwrap_or_else(PoisonError::into_inner));
        // Nobody listens once the process ends.
        _ = self.handed_over.send(work);
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.work.lock().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("Deferred").field("work", &count).finish_non_exhaustive()
    }
}

/// The two ends: one makes a [`Deferred`] per invocation, the other does what they hand over.
pub(crate) fn channel() -> (DeferredSource, DeferredRunner) {
    let (handed_over, waiting) = mpsc::unbounded_channel();
    (DeferredSource { handed_over }, DeferredRunner { waiting })
}

/// Makes the deferred work of invocations.
#[derive(Clone)]
pub(crate) struct DeferredSource {
    handed_over: mpsc::UnboundedSender<Work>,
}

impl DeferredSource {
    pub(crate) fn begin(&self) -> Deferred {
        Deferred { work: Mutex::default(), handed_over: self.handed_over.clone() }
    }
}

/// Does the work.
pub(crate) struct DeferredRunner {
    waiting: mpsc::UnboundedReceiver<Work>,
}

impl DeferredRunner {
    /// Waits for one invocation's work and does it, all at once.
    async fn run_one(&mut self) {
        if let Some(work) = self.waiting.recv().await {
            join_all(work).await;
        }
    }

    /// Registers the extension with Lambda, which must happen before the runtime asks for its first event, and then works
    /// in the background as long as the process lives.
    ///
    /// # Errors
    /// The Extensions API does not answer, or refuses.
    pub(crate) async fn register(self) -> Result<(), Error> {
        let runner = Arc::new(AsyncMutex::new(self));
        let events = service_fn(move |event: LambdaEvent| {
            let is_invoke = matches!(event.next, NextEvent::Invoke(_));
            let runner = Arc::clone(&runner);
            async move {
                if is_invoke {
                    runner.lock().await.run_one().await;
                }
                Ok::<_, Error>(())
            }
        });
        let extension = Extension::new().with_extension_name("deferred-work").with_events(&["INVOKE"]);
        let registered = extension.with_events_processor(events).register().await?;
        tokio::spawn(async move {
            if let Err(error) = registered.run().await {
                warn!(%error, "the extension for deferred work ended");
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_is_done_once_and_a_panic_still_hands_over() {
        let (source, mut runner) = channel();
        let done = Arc::new(AtomicU32::new(0));
        let count = |deferred: &Deferred| {
            let done = Arc::clone(&done);
            deferred.push(Box::pin(async move { _ = done.fetch_add(1, Ordering::Relaxed) }));
        };
        let deferred = source.begin();
        count(&deferred);
        count(&deferred);
        assert_eq!(done.load(Ordering::Relaxed), 0);
        drop(deferred);
        runner.run_one().await;
        assert_eq!(done.load(Ordering::Relaxed), 2);

        let deferred = source.begin();
        count(&deferred);
        let handler = tokio::spawn(async move {
            let _held = deferred;
            panic!("as told");
        });
        assert!(handler.await.is_err());
        runner.run_one().await;
        assert_eq!(done.load(Ordering::Relaxed), 3);
    }
}
