//! Batches out of the Read API's responses.

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::{convert::try_schema_from_ipc_buffer, reader::StreamDecoder, writer::StreamWriter};
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use futures::stream;
use google_cloud_bigquery::{
    model::{ReadRowsResponse, ReadSession, read_rows_response::Rows, read_session::Schema},
    read::Reader,
};
use warehouse::{BatchStream, WarehouseError, normalise};

use crate::errors;

/// The schema of a session, as datasets have it.
pub(crate) fn session_schema(session: &ReadSession) -> Result<SchemaRef, WarehouseError> {
    let Some(Schema::ArrowSchema(schema)) = &session.schema else {
        return Err(WarehouseError::Unreadable("the session has no Arrow schema".to_owned()));
    };
    normalise(&try_schema_from_ipc_buffer(&schema.serialized_schema).map_err(|error| unreadable(&error))?)
}

fn unreadable(error: &ArrowError) -> WarehouseError {
    WarehouseError::Unreadable(error.to_string())
}

/// Decodes bare IPC messages. Its schema is the normalised one: the messages hold buffers, and no types.
pub(crate) struct Decoder(StreamDecoder);

impl Decoder {
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self, WarehouseError> {
        let writer = StreamWriter::try_new(Vec::new(), schema).map_err(|error| unreadable(&error))?;
        let mut message = Buffer::from(writer.get_ref().clone());
        let mut decoder = StreamDecoder::new();
        decoder.decode(&mut message).map_err(|error| unreadable(&error))?;
        Ok(Self(decoder))
    }

    fn batch(&mut self, message: Bytes) -> Result<Option<RecordBatch>, WarehouseError> {
        let mut message = Buffer::from(message);
        self.0.decode(&mut message).map_err(|error| unreadable(&error))
    }

    /// The rows of a response, where it has any.
    pub(crate) fn rows(&mut self, response: ReadRowsResponse) -> Result<Option<RecordBatch>, WarehouseError> {
        let Some(Rows::ArrowRecordBatch(rows)) = response.rows else { return Ok(None) };
        let batch = self.batch(rows.serialized_record_batch)?;
        let found = batch.as_ref().map_or(0, RecordBatch::num_rows);
        // Offsets are counted in rows: a response that says another number than it has would shift all that follow.
        if usize::try_from(response.row_count) != Ok(found) {
            let told = format!("a response says {} rows and has {found}", response.row_count);
            return Err(WarehouseError::Unreadable(told));
        }
        Ok(batch)
    }
}

/// All batches of a stream. The reader connects again, at the row that it has come to, where the connection is cut.
pub(crate) fn batches(reader: Reader, decoder: Decoder) -> BatchStream {
    Box::pin(stream::try_unfold((reader, decoder), async |(mut reader, mut decoder)| {
        while let Some(response) = reader.next().await {
            let response = response.map_err(|error| errors::of_read(&error))?;
            if let Some(batch) = decoder.rows(response)?.filter(|batch| batch.num_rows() > 0) {
                return Ok(Some((batch, (reader, decoder))));
            }
        }
        Ok(None)
    }))
}
