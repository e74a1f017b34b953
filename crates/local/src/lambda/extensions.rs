//! Extensions API, `2020-01-01`. <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>
//!
//! External extensions are the programs in `extensions/` beside a function's `bootstrap`; all others are internal, part
//! of the function's own process, and may not ask for SHUTDOWN.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};

#[derive(Debug)]
struct Extension {
    name: String,
    invoke: bool,
    shutdown: bool,
    events: mpsc::UnboundedSender<Value>,
    inbox: Arc<AsyncMutex<mpsc::UnboundedReceiver<Value>>>,
    /// Events sent and not yet done with: an extension is done when it asks for the next.
    open: usize,
    /// Of these, those that it has got.
    delivered: usize,
    /// It has asked for its first event.
    ready: bool,
}

/// The extensions of one instance.
#[derive(Debug)]
pub(crate) struct Extensions {
    external: BTreeSet<String>,
    all: Mutex<HashMap<String, Extension>>,
    /// How many events are not done with.
    busy: watch::Sender<usize>,
    /// How many external extensions have not asked for their first event.
    missing: watch::Sender<usize>,
}

impl Extensions {
    pub(crate) fn new(external: BTreeSet<String>) -> Self {
        let missing = watch::Sender::new(external.len());
        Self { external, all: Mutex::default(), busy: watch::Sender::new(0), missing }
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, Extension>) -> T) -> T {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut all);
        self.busy.send_replace(all.values().map(|extension| extension.open).sum());
        let ready = all.values().filter(|one| one.ready && self.external.contains(&one.name)).count();
        self.missing.send_replace(self.external.len() - ready);
        result
    }

    /// Registers an extension; gives its identifier.
    pub(crate) fn register(&self, name: &str, events: &[String]) -> Result<String, &'static str> {
        let wants = |event: &str| events.iter().any(|wanted| wanted == event);
        let (sender, receiver) = mpsc::unbounded_channel();
        let extension = Extension {
            name: name.to_owned(),
            invoke: wants("INVOKE"),
            shutdown: wants("SHUTDOWN"),
            events: sender,
            inbox: Arc::new(AsyncMutex::new(receiver)),
            open: 0,
            delivered: 0,
            ready: false,
        };
        if extension.shutdown && !self.external.contains(name) {
            return Err("ShutdownEventNotSupportedForInternalExtension");
        }
        self.with(|all| {
            if all.values().any(|other| other.name == extension.name) {
                return Err("Extension.AlreadyRegistered");
            }
            let id = uuid::Uuid::now_v7().to_string();
            all.insert(id.clone(), extension);
            Ok(id)
        })
    }

    /// Waits for the next event of an extension; `None` for an identifier that nobody has.
    pub(crate) async fn next(&self, id: &str) -> Option<Value> {
        let inbox = self.with(|all| {
            all.get_mut(id).map(|extension| {
                extension.open -= std::mem::take(&mut extension.delivered);
                extension.ready = true;
                extension.inbox.clone()
            })
        })?;
        let mut inbox = inbox.lock().await;
        let event = inbox.recv().await;
        self.with(|all| all.get_mut(id).map(|extension| extension.delivered += 1));
        event
    }

    /// Whether an event of the last invocation is not done with.
    pub(crate) fn are_busy(&self) -> bool {
        *self.busy.borrow() > 0
    }

    /// Sends an event to those who asked for its kind.
    pub(crate) fn tell(&self, kind: &str, event: &Value) {
        self.with(|all| {
            for extension in all.values_mut() {
                if (kind == "INVOKE" && extension.invoke) || (kind == "SHUTDOWN" && extension.shutdown) {
                    let _ = extension.events.send(event.clone());
                    extension.open += 1;
                }
            }
        });
    }

    /// Waits until all external extensions have asked for their first event: before that an instance gets no work.
    pub(crate) async fn ready(&self) {
        let _ = self.missing.subscribe().wait_for(|missing| *missing == 0).await;
    }

    /// Waits until no event is open.
    pub(crate) async fn idle(&self) {
        let _ = self.busy.subscribe().wait_for(|busy| *busy == 0).await;
    }
}
