//! Load jobs whose file comes with the request: at once (`multipart`) or in pieces (`resumable`).
//! <https://cloud.google.com/bigquery/docs/reference/api-uploads>

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::PathBuf,
    sync::Arc,
};

use axum::{
    body::Body,
    extract::{OriginalUri, Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value as Json;

use super::bodies::{Answer, QueryString, blocking, json as answer, parse};
use crate::{
    error::{Result, WarehouseError},
    warehouse::Inner,
};

type Warehouse = State<Arc<Inner>>;

fn folder(inner: &Inner) -> Result<PathBuf> {
    let folder = inner.options.folder.join("uploads");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The file of an upload; the job that it is for lies beside it.
fn file_of(inner: &Inner, id: &str) -> Result<PathBuf> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(WarehouseError::NotFound(format!("Upload {id}")));
    }
    Ok(folder(inner)?.join(id))
}

/// Writes a body into a file from a position on; gives the position after it.
async fn save(body: Body, path: &std::path::Path, start: u64) -> Result<u64> {
    let mut file = File::options().create(true).truncate(false).write(true).open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut body = body;
    let mut position = start;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| WarehouseError::Invalid(format!("the upload broke off: {error}")))?;
        if let Ok(data) = frame.into_data() {
            file.write_all(&data)?;
            position += data.len() as u64;
        }
    }
    Ok(position)
}

pub(super) async fn begin(
    State(inner): Warehouse,
    Path(project): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let query = QueryString::of(&uri);
    let id = uuid::Uuid::new_v4().simple().to_string();
    let path = file_of(&inner, &id)?;
    match query.text("uploadType") {
        Some("multipart") => {
            save(body, &path, 0).await?;
            let content_type =
                headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let boundary = content_type.split("boundary=").nth(1).unwrap_or_default();
            let boundary = boundary.split(';').next().unwrap_or_default().trim_matches(['"', '\'', ' ']).to_owned();
            let begun = blocking(&inner, move |inner| {
                let request = split(&path, &boundary)?;
                inner.insert_job(&project, &request, Some(path))
            });
            Ok(answer(&begun.await?))
        }
        Some("resumable") => {
            let body = body.collect().await.map_err(|error| WarehouseError::Invalid(error.to_string()))?.to_bytes();
            parse(&body)?;
            fs::write(path.with_extension("job"), &body).map_err(WarehouseError::from)?;
            let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("127.0.0.1");
            let location = format!("http://{host}{}?uploadType=resumable&upload_id={id}", uri.path());
            Ok((StatusCode::OK, [(header::LOCATION, location)]).into_response())
        }
        other => Err(WarehouseError::Invalid(format!(
            "uploadType must be multipart or resumable, not {}",
            other.unwrap_or("absent")
        ))
        .into()),
    }
}

pub(super) async fn resume(
    State(inner): Warehouse,
    Path(project): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let id = QueryString::of(&uri).text("upload_id").unwrap_or_default().to_owned();
    let path = file_of(&inner, &id)?;
    let request = fs::read(path.with_extension("job")).map_err(|_| WarehouseError::NotFound(format!("Upload {id}")))?;
    let request = parse(&request.into())?;
    let range = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or("bytes 0-*/*");
    let (bytes, total) = range.strip_prefix("bytes ").and_then(|range| range.split_once('/')).unwrap_or(("*", "*"));
    let known = fs::metadata(&path).map_or(0, |file| file.len());
    let position = match bytes.split_once('-').and_then(|(start, _)| start.trim().parse::<u64>().ok()) {
        // Pieces come in order; one that is sent again overwrites itself.
        Some(start) if start <= known => save(body, &path, start).await?,
        Some(start) => return Err(WarehouseError::Invalid(format!("bytes {known} to {start} are missing")).into()),
        None => known,
    };
    if total.trim().parse::<u64>().map_or(bytes.ends_with("-*"), |total| position >= total) {
        _ = fs::remove_file(path.with_extension("job"));
        let begun = blocking(&inner, move |inner| inner.insert_job(&project, &request, Some(path)));
        return Ok(answer(&begun.await?));
    }
    Ok(incomplete(position))
}

/// "Resume Incomplete": so much has arrived.
fn incomplete(position: u64) -> Response {
    let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
    if position > 0
        && let Ok(range) = format!("bytes=0-{}", position - 1).parse()
    {
        response.headers_mut().insert(header::RANGE, range);
    }
    response
}

/// Takes a `multipart/related` file apart: the job, which is given, and the media, which the file has then.
fn split(path: &std::path::Path, boundary: &str) -> Result<Json> {
    let odd = || WarehouseError::Invalid("the body is not multipart/related with a job and its file".to_owned());
    let body = fs::read(path)?;
    let mark = format!("--{boundary}");
    let find = |from: usize, what: &[u8]| {
        body.get(from..)?.windows(what.len()).position(|window| window == what).map(|at| at + from)
    };
    // Each part: its head, an empty line, its content, a line break.
    let part = |from: usize| {
        let begin = find(from, mark.as_bytes())? + mark.len();
        let ends: [&[u8]; 2] = [b"\r\n\r\n", b"\n\n"];
        let head = ends.iter().filter_map(|end| Some(find(begin, end)? + end.len())).min()?;
        Some((head, find(head, mark.as_bytes())?))
    };
    let trimmed = |(start, end): (usize, usize)| {
        let content = &body[start..end];
        content.strip_suffix(b"\r\n").or_else(|| content.strip_suffix(b"\n")).unwrap_or(content)
    };
    let job = part(0).ok_or_else(odd)?;
    let media = part(job.1).ok_or_else(odd)?;
    let request = parse(&trimmed(job).to_vec().into())?;
    fs::write(path, trimmed(media))?;
    Ok(request)
}
