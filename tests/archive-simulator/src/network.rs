//! Calls of the object store in flight. Each waits until the history lets it happen, so that every call is an await point
//! that a process can die at, and calls of several processes happen in any order.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    memory::MemoryStore,
    object_store::{
        DeleteObject, ETag, GetObject, GetOutcome, ListObjects, ListedObject, PutCondition, PutObject, PutOutcome,
        StoreError,
    },
};
use futures::FutureExt;

/// What a process asks of the store.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Get { key: String, if_none_match: Option<ETag> },
    Put { key: String, bytes: Bytes, condition: PutCondition },
    Delete { key: String },
    List { prefix: String },
}

/// What the store answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Got(GetOutcome),
    Put(PutOutcome),
    Deleted,
    Listed(Vec<ListedObject>),
}

type Reply = Result<Answer, StoreError>;

impl Request {
    pub(crate) fn is_conditional_put(&self) -> bool {
        matches!(self, Self::Put { condition: PutCondition::IfAbsent | PutCondition::IfMatch(_), .. })
    }

    pub(crate) fn is_write(&self) -> bool {
        matches!(self, Self::Put { .. } | Self::Delete { .. })
    }

    /// The error of a store that did not do it, or did not say so.
    pub(crate) fn unavailable(&self, detail: &str) -> StoreError {
        let (verb, key) = match self {
            Self::Get { key, .. } => ("get", key),
            Self::Put { key, .. } => ("put", key),
            Self::Delete { key } => ("delete", key),
            Self::List { prefix } => ("list", prefix),
        };
        StoreError::Unavailable { verb, key: key.clone(), detail: detail.to_owned() }
    }

    /// Does it.
    pub(crate) fn carry_out(&self, lake: &MemoryStore) -> Reply {
        let done = async {
            match self.clone() {
                Self::Get { key, if_none_match } => {
                    lake.get_object(&key, if_none_match.as_ref()).await.map(Answer::Got)
                }
                Self::Put { key, bytes, condition } => lake.put_object(&key, bytes, condition).await.map(Answer::Put),
                Self::Delete { key } => lake.delete_object(&key).await.map(|()| Answer::Deleted),
                Self::List { prefix } => lake.list_objects(&prefix).await.map(Answer::Listed),
            }
        };
        // The store in memory never waits.
        done.now_or_never().unwrap_or_else(|| Err(self.unavailable("the store in memory waited")))
    }
}

/// A call that has been sent.
#[derive(Debug)]
struct Call {
    process: u64,
    request: Request,
    waker: Waker,
    reply: Option<Reply>,
    /// Its caller is gone.
    abandoned: bool,
}

#[derive(Debug, Default)]
struct Calls {
    next: u64,
    calls: BTreeMap<u64, Call>,
}

/// All calls in flight. A clone is the same network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network(Arc<Mutex<Calls>>);

/// A call that waits to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) call: u64,
    pub(crate) process: u64,
    pub(crate) abandoned: bool,
}

impl Network {
    fn locked(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls that have not happened yet, oldest first.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let calls = self.locked();
        let waiting = calls.calls.iter().filter(|(_, call)| call.reply.is_none());
        waiting.map(|(&id, call)| Waiting { call: id, process: call.process, abandoned: call.abandoned }).collect()
    }

    pub(crate) fn request(&self, call: u64) -> Option<Request> {
        self.locked().calls.get(&call).map(|call| call.request.clone())
    }

    /// Tells the caller, if it is still there.
    pub(crate) fn reply(&self, call: u64, reply: Reply) {
        let mut calls = self.locked();
        let Some(found) = calls.calls.get_mut(&call) else { return };
        found.reply = Some(reply);
        let waker = found.waker.clone();
        if found.abandoned {
            calls.calls.remove(&call);
        }
        drop(calls);
        waker.wake();
    }

    /// The call never reaches the store.
    pub(crate) fn lose(&self, call: u64) {
        self.locked().calls.remove(&call);
    }
}

/// The object store as one process sees it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) network: Network,
    pub(crate) process: u64,
}

impl Connection {
    async fn call(&self, request: Request) -> Reply {
        Sent { network: self.network.clone(), process: self.process, request: Some(request), call: None }.await
    }
}

struct Sent {
    network: Network,
    process: u64,
    request: Option<Request>,
    call: Option<u64>,
}

impl Future for Sent {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply> {
        let network = self.network.clone();
        let mut calls = network.locked();
        if let Some(request) = self.request.take() {
            let call = calls.next;
            calls.next += 1;
            let waker = context.waker().clone();
            calls.calls.insert(call, Call { process: self.process, request, waker, reply: None, abandoned: false });
            self.call = Some(call);
            return Poll::Pending;
        }
        let Some(id) = self.call else { return Poll::Pending };
        let Some(call) = calls.calls.get_mut(&id) else { return Poll::Pending };
        let Some(reply) = call.reply.take() else {
            call.waker.clone_from(context.waker());
            return Poll::Pending;
        };
        calls.calls.remove(&id);
        Poll::Ready(reply)
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let Some(id) = self.call else { return };
        let mut calls = self.network.locked();
        let Some(call) = calls.calls.get_mut(&id) else { return };
        if call.reply.is_some() {
            calls.calls.remove(&id);
        } else {
            call.abandoned = true;
        }
    }
}

fn mixed_up() -> StoreError {
    StoreError::Refused { verb: "any", key: String::new(), detail: "an answer to another question".to_owned() }
}

#[async_trait]
impl GetObject for Connection {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        match self.call(Request::Get { key: key.to_owned(), if_none_match: if_none_match.cloned() }).await? {
            Answer::Got(outcome) => Ok(outcome),
            _ => Err(mixed_up()),
        }
    }
}

#[async_trait]
impl PutObject for Connection {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        match self.call(Request::Put { key: key.to_owned(), bytes, condition }).await? {
            Answer::Put(outcome) => Ok(outcome),
            _ => Err(mixed_up()),
        }
    }
}

#[async_trait]
impl DeleteObject for Connection {
    async fn delete_object(&self, key: &str) -> Result<(), StoreError> {
        match self.call(Request::Delete { key: key.to_owned() }).await? {
            Answer::Deleted => Ok(()),
            _ => Err(mixed_up()),
        }
    }
}

#[async_trait]
impl ListObjects for Connection {
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        match self.call(Request::List { prefix: prefix.to_owned() }).await? {
            Answer::Listed(objects) => Ok(objects),
            _ => Err(mixed_up()),
        }
    }
}
