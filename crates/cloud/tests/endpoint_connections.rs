//! SageMaker's runtime over connections that break.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sagemakerruntime::config::{Credentials, SharedCredentialsProvider};
use cloud::{
    endpoint::{Answer, Invocation, InvokeEndpoint, InvokeError, InvokeErrorKind, MAX_ANSWER_BYTES},
    sagemaker::SageMakerRuntime,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What a server does with one request.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Answers,
    /// Answers so many bytes.
    AnswersLarge(usize),
    /// Ends the connection with a reset instead of an answer.
    Resets,
    /// Ends it in order instead of an answer.
    Closes,
    /// Breaks off within the answer's body.
    BreaksOff,
}

/// A server that does `deeds`, one per request, over however many connections.
struct Server {
    runtime: SageMakerRuntime,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start(deeds: &'static [Deed]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (opened, asked) = (Arc::clone(&connections), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, deeds, Arc::clone(&asked)));
            }
        });
        let credentials = Credentials::new("id", "secret", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(url)
            .build();
        Self { runtime: SageMakerRuntime::new(&config), connections, requests }
    }

    async fn invoke(&self) -> Result<Answer, InvokeError> {
        let invocation = Invocation {
            endpoint: "e".to_owned(),
            variant: "v".to_owned(),
            inference_id: "i".to_owned(),
            content_type: "text/csv",
            accept: "text/csv",
            body: "1\n".into(),
            timeout: Duration::from_secs(20),
        };
        self.runtime.invoke_endpoint(invocation).await
    }

    fn counts(&self) -> (usize, usize) {
        (self.connections.load(Ordering::SeqCst), self.requests.load(Ordering::SeqCst))
    }
}

async fn serve(mut stream: TcpStream, deeds: &[Deed], asked: Arc<AtomicUsize>) {
    loop {
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !request.ends_with(b"\r\n\r\n1\n") {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => request.extend_from_slice(&buffer[..count]),
            }
        }
        let head = |length: usize| {
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\ncontent-length: {length}\r\n\r\n").into_bytes()
        };
        let answer = match deeds[asked.fetch_add(1, Ordering::SeqCst)] {
            Deed::Answers => [head(4), b"1.5\n".to_vec()].concat(),
            Deed::AnswersLarge(length) => [head(length), vec![b'1'; length]].concat(),
            Deed::Resets => {
                stream.set_zero_linger().unwrap();
                return;
            }
            Deed::Closes => return,
            Deed::BreaksOff => {
                stream.write_all(&[head(9), b"1.5".to_vec()].concat()).await.unwrap();
                return;
            }
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_dead_pooled_connection_is_replaced_once() {
    for deeds in [
        &[Deed::Answers, Deed::Resets, Deed::Answers, Deed::Answers] as &[Deed],
        &[Deed::Answers, Deed::Closes, Deed::Answers, Deed::Answers],
    ] {
        let server = Server::start(deeds).await;
        assert_eq!(server.invoke().await.unwrap().body, "1.5\n");
        assert_eq!(server.counts(), (1, 1));
        assert_eq!(server.invoke().await.unwrap().body, "1.5\n", "{deeds:?}");
        assert_eq!(server.counts(), (2, 3));
        assert_eq!(server.invoke().await.unwrap().body, "1.5\n");
    }
}

#[tokio::test]
async fn a_fresh_connection_that_breaks_is_told() {
    let server = Server::start(&[Deed::Resets]).await;
    assert_eq!(server.invoke().await.unwrap_err().kind, InvokeErrorKind::Connection);
    assert_eq!(server.counts(), (1, 1));
    let server = Server::start(&[Deed::Answers, Deed::Resets, Deed::Resets]).await;
    server.invoke().await.unwrap();
    assert_eq!(server.invoke().await.unwrap_err().kind, InvokeErrorKind::Connection, "once, not again and again");
    assert_eq!(server.counts(), (2, 3));
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_asked_for_again() {
    let server = Server::start(&[Deed::Answers, Deed::BreaksOff]).await;
    server.invoke().await.unwrap();
    assert_eq!(server.invoke().await.unwrap_err().kind, InvokeErrorKind::Connection);
    assert_eq!(server.counts(), (1, 2));
}

#[tokio::test]
async fn answers_have_a_largest_size() {
    let server = Server::start(&[Deed::AnswersLarge(MAX_ANSWER_BYTES), Deed::AnswersLarge(MAX_ANSWER_BYTES + 1)]).await;
    assert_eq!(server.invoke().await.unwrap().body.len(), MAX_ANSWER_BYTES);
    assert_eq!(server.invoke().await.unwrap_err().kind, InvokeErrorKind::AnswerTooLarge);
}
