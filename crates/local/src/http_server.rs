//! A small HTTP/1.1 server on 127.0.0.1.

use std::{convert::Infallible, io, net::SocketAddr, os::fd::AsFd, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::Socket;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::error::LocalError;

pub(crate) type Reply = Response<Full<Bytes>>;

/// A listener and its connections; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens a port on 127.0.0.1; 0 takes any free one.
pub(crate) async fn listen(service: &'static str, port: u16) -> Result<TcpListener, LocalError> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|source| LocalError::Listen { service, port, source })
}

/// Serves `handler` on `listener`.
pub(crate) fn serve<H, F>(listener: TcpListener, handler: H) -> Server
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let handler = Arc::new(handler);
    serve_with(listener, move |_, peer| {
        let handler = handler.clone();
        service_fn(move |request| {
            let reply = handler(request, peer);
            async move { Ok::<_, Infallible>(reply.await) }
        })
    })
}

/// Serves what `make` makes for each connection.
pub(crate) fn serve_with<M, S>(listener: TcpListener, make: M) -> Server
where
    M: Fn(&TcpStream, SocketAddr) -> S + Send + Sync + 'static,
    S: HttpService<Incoming> + Send + 'static,
    S::Future: Send + 'static,
    S::ResBody: Send + 'static,
    <S::ResBody as Body>::Data: Send,
    <S::ResBody as Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0)));
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: let some close.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            // Head and body of an answer are separate segments: without this each waits for a delayed acknowledgement.
            let _ = stream.set_nodelay(true);
            let service = make(&stream, peer);
            connections.spawn(async move {
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(None)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "connection ended");
                }
            });
            while connections.try_join_next().is_some() {}
        }
    });
    Server { address, task }
}

/// A connection that can be ended with a reset: a service that has called [`Resettable::reset`] and then fails leaves its client
/// without an answer, as a broken peer does.
#[derive(Debug)]
pub(crate) struct Resettable(Socket);

impl Resettable {
    /// Must not outlive the connection's service: it keeps the connection open.
    pub(crate) fn of(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self(stream.as_fd().try_clone_to_owned()?.into()))
    }

    /// The end of the connection will be a reset.
    pub(crate) fn reset(&self) -> io::Error {
        // A connection that is closed already needs no reset.
        let _ = self.0.set_linger(Some(Duration::ZERO));
        io::ErrorKind::ConnectionReset.into()
    }
}

/// Why a body could not be read.
#[derive(Debug)]
pub(crate) enum BodyError {
    TooLarge,
    Broken,
}

/// Reads a body of at most `limit` bytes. Of a larger one some more is read and thrown away, so that a client that is
/// still sending sees the answer instead of a broken connection.
pub(crate) async fn read_body(mut body: Incoming, limit: usize) -> Result<Bytes, BodyError> {
    let mut all = BytesMut::new();
    let mut seen = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        if let Ok(data) = frame.into_data() {
            seen = seen.saturating_add(data.len());
            if seen <= limit {
                all.extend_from_slice(&data);
            } else if seen > limit.saturating_mul(8) {
                break;
            }
        }
    }
    if seen > limit { Err(BodyError::TooLarge) } else { Ok(all.freeze()) }
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, body: &serde_json::Value) -> Reply {
    bytes(status, "application/json", body.to_string().into())
}

/// An answer with any body.
pub(crate) fn bytes(status: StatusCode, content_type: &str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    if let Ok(value) = content_type.parse() {
        reply.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    reply
}

/// A header's text, if it is there and is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Puts a header whose value is made at run time; a value that no header can hold is left out.
pub(crate) fn set(reply: &mut Reply, name: &'static str, value: &str) {
    if let Ok(value) = value.parse() {
        reply.headers_mut().insert(name, value);
    }
}
