//! `google.cloud.bigquery.storage.v1`, as much of it as is used: field numbers from
//! <https://github.com/googleapis/googleapis/blob/master/google/cloud/bigquery/storage/v1/storage.proto> and `stream.proto`.
#![allow(missing_docs, clippy::doc_markdown)]

use prost::{Enumeration, Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateReadSessionRequest {
    #[prost(string, tag = "1")]
    pub(super) parent: String,
    #[prost(message, optional, tag = "2")]
    pub(super) read_session: Option<ReadSession>,
    #[prost(int32, tag = "3")]
    pub(super) max_stream_count: i32,
    #[prost(int32, tag = "4")]
    pub(super) preferred_min_stream_count: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
#[repr(i32)]
pub(super) enum DataFormat {
    Unspecified = 0,
    Avro = 1,
    Arrow = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadSession {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) expire_time: Option<Timestamp>,
    #[prost(enumeration = "DataFormat", tag = "3")]
    pub(super) data_format: i32,
    #[prost(message, optional, tag = "5")]
    pub(super) arrow_schema: Option<ArrowSchema>,
    #[prost(string, tag = "6")]
    pub(super) table: String,
    #[prost(message, optional, tag = "7")]
    pub(super) table_modifiers: Option<TableModifiers>,
    #[prost(message, optional, tag = "8")]
    pub(super) read_options: Option<TableReadOptions>,
    #[prost(message, repeated, tag = "10")]
    pub(super) streams: Vec<ReadStream>,
    #[prost(int64, tag = "12")]
    pub(super) estimated_total_bytes_scanned: i64,
    #[prost(string, tag = "13")]
    pub(super) trace_id: String,
    #[prost(int64, tag = "14")]
    pub(super) estimated_row_count: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TableModifiers {
    #[prost(message, optional, tag = "1")]
    pub(super) snapshot_time: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TableReadOptions {
    #[prost(string, repeated, tag = "1")]
    pub(super) selected_fields: Vec<String>,
    #[prost(string, tag = "2")]
    pub(super) row_restriction: String,
    #[prost(double, optional, tag = "5")]
    pub(super) sample_percentage: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadStream {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadRowsRequest {
    #[prost(string, tag = "1")]
    pub(super) read_stream: String,
    #[prost(int64, tag = "2")]
    pub(super) offset: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ArrowSchema {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) serialized_schema: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ArrowRecordBatch {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) serialized_record_batch: Vec<u8>,
    #[prost(int64, tag = "2")]
    pub(super) row_count: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamStats {
    #[prost(message, optional, tag = "2")]
    pub(super) progress: Option<Progress>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Progress {
    #[prost(double, tag = "1")]
    pub(super) at_response_start: f64,
    #[prost(double, tag = "2")]
    pub(super) at_response_end: f64,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Rows {
    #[prost(message, tag = "4")]
    ArrowRecordBatch(ArrowRecordBatch),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadRowsResponse {
    #[prost(message, optional, tag = "2")]
    pub(super) stats: Option<StreamStats>,
    #[prost(oneof = "Rows", tags = "4")]
    pub(super) rows: Option<Rows>,
    #[prost(int64, tag = "6")]
    pub(super) row_count: i64,
    #[prost(message, optional, tag = "8")]
    pub(super) arrow_schema: Option<ArrowSchema>,
}
