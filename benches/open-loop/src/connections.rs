//! Connections that are kept: one that waits takes the next request, and where none waits, one more is opened.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, Uri, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("`{0}` is no address of an HTTP API: http://HOST:PORT is wanted")]
    Address(Uri),
    #[error("no connection: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the conversation broke off: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("the request cannot be written: {0}")]
    Body(#[from] serde_json::Error),
}

impl Failure {
    /// A stable code.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::Connect(_) => "connect",
            Self::Http(_) => "http",
            Self::Request(_) => "request",
            Self::Body(_) => "body",
        }
    }
}

type Sender = http1::SendRequest<Full<Bytes>>;

pub(crate) struct Connections {
    authority: String,
    waiting: Mutex<Vec<Sender>>,
    opened: AtomicUsize,
}

impl Connections {
    pub(crate) fn to(url: &Uri) -> Result<Self, Failure> {
        let plain = url.scheme_str() == Some("http");
        let authority = url.authority().filter(|authority| plain && authority.port().is_some());
        let authority = authority.ok_or_else(|| Failure::Address(url.clone()))?.to_string();
        Ok(Self { authority, waiting: Mutex::default(), opened: AtomicUsize::new(0) })
    }

    /// How many were opened so far.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    fn kept(&self) -> Option<Sender> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| waiting.pop()).find(|sender| !sender.is_closed())
    }

    async fn open(&self) -> Result<Sender, Failure> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(sender)
    }

    /// Sends a prediction request; gives the answer's status and body.
    pub(crate) async fn ask(&self, body: serde_json::Result<Vec<u8>>) -> Result<(StatusCode, Bytes), Failure> {
        let request = Request::post("/v1/predictions")
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body?)))?;
        let mut sender = match self.kept() {
            Some(sender) => sender,
            None => self.open().await?,
        };
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if sender.ready().await.is_ok() {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
        Ok((status, body))
    }
}
