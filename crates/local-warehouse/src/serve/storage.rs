//! The Storage Read API, `google.cloud.bigquery.storage.v1.BigQueryRead`.

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status,
    server::{Grpc, ServerStreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::messages::{
    ArrowRecordBatch, ArrowSchema, CreateReadSessionRequest, DataFormat, Progress, ReadRowsRequest, ReadRowsResponse,
    ReadSession, ReadStream, Rows, StreamStats, TableReadOptions, Timestamp,
};
use crate::{
    arrow_form::{Messages, arrow_schema},
    error::WarehouseError,
    sessions::{Part, SessionRequest, read_stream},
    store::TableRef,
    warehouse::Inner,
};

const SERVICE: &str = "/google.cloud.bigquery.storage.v1.BigQueryRead";
/// Batches that wait for a slow reader.
const WAITING_BATCHES: usize = 2;

pub(super) fn router(inner: Arc<Inner>) -> Router {
    Router::new()
        .route(&format!("{SERVICE}/CreateReadSession"), post(create_read_session))
        .route(&format!("{SERVICE}/ReadRows"), post(read_rows))
        .route(&format!("{SERVICE}/{{method}}"), post(unimplemented))
        .with_state(inner)
}

async fn create_read_session(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let mut grpc = Grpc::new(ProstCodec::<ReadSession, CreateReadSessionRequest>::default());
    grpc.unary(CreateReadSession(inner), request).await.map(Body::new)
}

async fn read_rows(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let mut grpc = Grpc::new(ProstCodec::<ReadRowsResponse, ReadRowsRequest>::default());
    grpc.server_streaming(ReadRows(inner), request).await.map(Body::new)
}

async fn unimplemented() -> Response {
    Status::unimplemented("the local warehouse does not split streams").into_http::<Body>().into_response()
}

fn status(error: &WarehouseError) -> Status {
    let code = match error {
        WarehouseError::NotFound(_) => Code::NotFound,
        WarehouseError::Invalid(_) | WarehouseError::InvalidQuery(_) => Code::InvalidArgument,
        WarehouseError::QuotaExceeded(_) => Code::ResourceExhausted,
        WarehouseError::NotImplemented(_) => Code::Unimplemented,
        WarehouseError::Backend(_) => Code::Unavailable,
        _ => Code::Internal,
    };
    Status::new(code, error.to_string())
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<tonic::Response<T>, Status>> + Send>>;

struct CreateReadSession(Arc<Inner>);

impl UnaryService<CreateReadSessionRequest> for CreateReadSession {
    type Response = ReadSession;
    type Future = Answer<ReadSession>;

    fn call(&mut self, request: tonic::Request<CreateReadSessionRequest>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move {
            let made = tokio::task::spawn_blocking(move || make_session(&inner, request.into_inner())).await;
            made.map_err(|error| Status::internal(error.to_string()))?
                .map(tonic::Response::new)
                .map_err(|error| status(&error))
        })
    }
}

fn make_session(inner: &Inner, request: CreateReadSessionRequest) -> crate::error::Result<ReadSession> {
    let wanted = request.read_session.unwrap_or_default();
    if wanted.data_format() != DataFormat::Arrow {
        return Err(WarehouseError::Invalid(
            "the local warehouse has streams in Arrow only: data_format must be ARROW".into(),
        ));
    }
    let options: TableReadOptions = wanted.read_options.clone().unwrap_or_default();
    if options.sample_percentage.is_some_and(|percentage| percentage < 100.0) {
        return Err(WarehouseError::Invalid("the local warehouse does not sample".to_owned()));
    }
    let project = request.parent.strip_prefix("projects/").unwrap_or(&request.parent).to_owned();
    let snapshot = wanted.table_modifiers.as_ref().and_then(|modifiers| modifiers.snapshot_time.as_ref());
    let session = inner.create_session(
        &project,
        &SessionRequest {
            table: table_of_path(&wanted.table)?,
            snapshot_us: snapshot.map(|time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1000),
            selected_fields: options.selected_fields.clone(),
            row_restriction: options.row_restriction.clone(),
            max_streams: request.max_stream_count,
        },
    )?;
    let (_, schema) = Messages::new(&arrow_schema(&session.fields()?))?;
    Ok(ReadSession {
        expire_time: Some(Timestamp {
            seconds: session.expires_ms.div_euclid(1000),
            nanos: session.expires_ms.rem_euclid(1000) as i32 * 1_000_000,
        }),
        arrow_schema: Some(ArrowSchema { serialized_schema: schema }),
        streams: (0..session.streams).map(|stream| ReadStream { name: session.stream_name(stream) }).collect(),
        estimated_row_count: session.rows,
        estimated_total_bytes_scanned: session.bytes,
        name: session.name,
        ..wanted
    })
}

/// `projects/…/datasets/…/tables/…`.
fn table_of_path(path: &str) -> crate::error::Result<TableRef> {
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["projects", project, "datasets", dataset, "tables", table] => {
            Ok(TableRef { project: (*project).to_owned(), dataset: (*dataset).to_owned(), table: (*table).to_owned() })
        }
        _ => Err(WarehouseError::Invalid(format!("`{path}` is no table; it must be projects/P/datasets/D/tables/T"))),
    }
}

struct ReadRows(Arc<Inner>);

impl ServerStreamingService<ReadRowsRequest> for ReadRows {
    type Response = ReadRowsResponse;
    type ResponseStream = ReceiverStream<Result<ReadRowsResponse, Status>>;
    type Future = Answer<Self::ResponseStream>;

    fn call(&mut self, request: tonic::Request<ReadRowsRequest>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move {
            let request = request.into_inner();
            if request.offset < 0 {
                return Err(Status::invalid_argument("offset must not be negative"));
            }
            let found = inner.stream(&request.read_stream);
            let (session, stream) = found.map_err(|error| status(&error))?;
            Ok(tonic::Response::new(answers(move |sender| {
                let cut = inner.faults.cut();
                let (mut sent, mut was_cut) = (0, false);
                let ended = read_stream(&inner, &session, stream, request.offset, &mut |part| {
                    if cut.is_some_and(|after| sent >= after) {
                        was_cut = true;
                        return false;
                    }
                    if let Some(delay) = inner.faults.delay() {
                        std::thread::sleep(delay);
                    }
                    sent += 1;
                    sender.blocking_send(Ok(message(part))).is_ok()
                });
                match ended {
                    Ok(()) if was_cut => Err(Status::unavailable("the stream was cut: retry from the offset")),
                    other => other.map_err(|error| status(&error)),
                }
            })))
        })
    }
}

type Answered = Result<ReadRowsResponse, Status>;

/// What `work` sends, and how it ended where that was not well. A panic of it does not look like the stream's end.
fn answers(
    work: impl FnOnce(&mpsc::Sender<Answered>) -> Result<(), Status> + Send + 'static,
) -> ReceiverStream<Answered> {
    let (sender, receiver) = mpsc::channel(WAITING_BATCHES);
    let own = sender.clone();
    let working = tokio::task::spawn_blocking(move || work(&own));
    tokio::spawn(async move {
        let ended = working.await.unwrap_or_else(|error| Err(Status::internal(error.to_string())));
        if let Err(status) = ended {
            // A reader that has gone away needs no word.
            _ = sender.send(Err(status)).await;
        }
    });
    ReceiverStream::new(receiver)
}

fn message(part: Part) -> ReadRowsResponse {
    let (at_response_start, at_response_end) = part.progress;
    ReadRowsResponse {
        stats: Some(StreamStats { progress: Some(Progress { at_response_start, at_response_end }) }),
        rows: Some(Rows::ArrowRecordBatch(ArrowRecordBatch {
            serialized_record_batch: part.batch,
            row_count: part.rows,
        })),
        row_count: part.rows,
        arrow_schema: part.schema.map(|serialized_schema| ArrowSchema { serialized_schema }),
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_no_end_of_a_stream() {
        let sends = |sender: &mpsc::Sender<Answered>| sender.blocking_send(Ok(ReadRowsResponse::default())).unwrap();
        let well = answers(move |sender| {
            sends(sender);
            Ok(())
        });
        let well: Vec<Answered> = well.collect().await;
        assert!(matches!(well.as_slice(), [Ok(_)]), "{well:?}");
        let panicked = answers(move |sender| {
            sends(sender);
            panic!("the test's panic")
        });
        let found: Vec<Answered> = panicked.collect().await;
        assert!(matches!(found.as_slice(), [Ok(_), Err(status)] if status.code() == Code::Internal), "{found:?}");
    }
}
