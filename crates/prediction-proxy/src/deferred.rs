//! Work of an invocation that goes on after its answer has left.
//!
//! Lambda freezes a process once its runtime **and its extensions** have asked for the next event. An internal extension
//! (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-extensions.html>), a task of this very process, therefore holds
//! its own question back until the work is done: the caller has its answer, and the process still runs.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::{BoxFuture, join_all};
use lambda_extension::{Extension, LambdaEvent, NextEvent, service_fn};
use lambda_runtime::{
    Error,
    tracing::{info, warn},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Mutex as AsyncMutex, mpsc, watch},
};

type Work = Vec<BoxFuture<'static, ()>>;

/// When the process is stopped, work gets this much time to end: Lambda leaves two seconds between SIGTERM and SIGKILL.
const STOP_PATIENCE: Duration = Duration::from_millis(1_800);

/// The deferred work of one invocation. Dropping it hands the work over, also where the handler panics: the extension
/// waits for exactly one hand-over per invocation.
pub struct Deferred {
    work: Mutex<Work>,
    handed_over: mpsc::UnboundedSender<Work>,
}

impl Deferred {
    /// The two ends: one makes a [`Deferred`] per invocation, the other does what they hand over.
    pub fn channel() -> (DeferredSource, DeferredRunner) {
        let (handed_over, waiting) = mpsc::unbounded_channel();
        let pending = watch::Sender::new(0);
        (DeferredSource { handed_over, pending: pending.clone() }, DeferredRunner { waiting, pending })
    }

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

/// Makes the deferred work of invocations.
#[derive(Debug, Clone)]
pub struct DeferredSource {
    handed_over: mpsc::UnboundedSender<Work>,
    /// Invocations whose work is not done.
    pending: watch::Sender<usize>,
}

impl DeferredSource {
    /// The deferred work of an invocation that begins.
    pub fn begin(&self) -> Deferred {
        self.pending.send_modify(|pending| *pending += 1);
        Deferred { work: Mutex::default(), handed_over: self.handed_over.clone() }
    }
}

/// Does the work.
#[derive(Debug)]
pub struct DeferredRunner {
    waiting: mpsc::UnboundedReceiver<Work>,
    pending: watch::Sender<usize>,
}

impl DeferredRunner {
    /// Waits for one invocation's work and does it, all at once.
    pub async fn run_one(&mut self) {
        if let Some(work) = self.waiting.recv().await {
            join_all(work).await;
            self.pending.send_modify(|pending| *pending -= 1);
        }
    }

    /// Works in the background where several invocations share the process, on Lambda managed instances: these are not frozen
    /// between invocations, and their extensions hear of none.
    /// Source: <https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-runtimes.html>.
    pub(crate) fn work_in_background(mut self) {
        tokio::spawn(async move {
            while let Some(work) = self.waiting.recv().await {
                let pending = self.pending.clone();
                tokio::spawn(async move {
                    join_all(work).await;
                    pending.send_modify(|pending| *pending -= 1);
                });
            }
        });
    }

    /// Registers the extension with Lambda, which must happen before the runtime asks for its first event, and then works
    /// in the background as long as the process lives.
    ///
    /// # Errors
    /// The Extensions API does not answer, or refuses.
    pub(crate) async fn register(self) -> Result<(), Error> {
        let mut stopped = signal(SignalKind::terminate())?;
        let mut pending = self.pending.subscribe();
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
        // Lambda stops a process only between invocations, when no work is left; a cloud that is shut down may not wait. Having
        // an extension is what makes Lambda send the signal at all.
        tokio::spawn(async move {
            stopped.recv().await;
            info!(pending = *pending.borrow(), "asked to stop");
            let done = pending.wait_for(|pending| *pending == 0);
            if tokio::time::timeout(STOP_PATIENCE, done).await.is_err() {
                warn!("the process was stopped before its deferred work was done");
            }
            std::process::exit(0);
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
        let (source, mut runner) = Deferred::channel();
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
        assert_eq!(*runner.pending.borrow(), 1, "what a stopped process waits for");
        runner.run_one().await;
        assert_eq!(done.load(Ordering::Relaxed), 2);
        assert_eq!(*runner.pending.borrow(), 0);

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

    #[tokio::test]
    async fn in_the_background_no_invocation_waits_for_another() {
        let (source, runner) = Deferred::channel();
        let mut pending = runner.pending.subscribe();
        runner.work_in_background();
        let (release, held) = tokio::sync::oneshot::channel::<()>();
        let slow = source.begin();
        slow.push(Box::pin(async move { _ = held.await }));
        drop(slow);
        let quick = source.begin();
        quick.push(Box::pin(async {}));
        drop(quick);
        pending.wait_for(|pending| *pending == 1).await.unwrap();
        drop(release);
        pending.wait_for(|pending| *pending == 0).await.unwrap();
    }
}
