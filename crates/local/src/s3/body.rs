//! Request bodies into files, response bodies out of files.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use s3s::{
    S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256},
    dto::{Checksum, ChecksumAlgorithm, StreamingBlob},
    s3_error,
};

use super::store::{Store, internal};

/// A body that has arrived.
pub(crate) struct Received {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) checksum: Checksum,
}

/// What the client says the body is.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(crate) content_md5: Option<String>,
    pub(crate) algorithm: Option<ChecksumAlgorithm>,
    pub(crate) checksum: Checksum,
    pub(crate) trailers: Option<TrailingHeaders>,
}

/// How much of a body is held in memory before it is written.
const PIECE: usize = 4 << 20;

/// So little of a file is read where it is: to hand it to another thread would take longer.
const SMALL: u64 = 64 << 10;

/// A body that has arrived and whose end is in memory only.
pub(crate) struct Arrived {
    writer: Writer,
    rest: Vec<Bytes>,
    expected: Expected,
}

impl Arrived {
    /// Writes the rest to the temporary file and checks the whole against what the client says of it. It blocks.
    pub(crate) fn finish(self) -> S3Result<Received> {
        let path = self.writer.path.clone();
        let finished = self.writer.append(&self.rest).map_err(internal).and_then(|writer| {
            let md5: [u8; 16] = writer.md5.finalize();
            let received = Received { path: writer.path, size: writer.size, md5, checksum: writer.hasher.finalize() };
            check(self.expected, &received)?;
            Ok(received)
        });
        if finished.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        finished
    }
}

/// Takes a body in; what is large goes to a temporary file meanwhile.
pub(crate) async fn receive(store: &Store, body: Option<StreamingBlob>, expected: Expected) -> S3Result<Arrived> {
    let path = store.temporary_path();
    let result = take_in(body, path.clone(), expected).await;
    if result.is_err() {
        let _ = tokio::fs::remove_file(&path).await;
    }
    result
}

async fn take_in(body: Option<StreamingBlob>, path: PathBuf, expected: Expected) -> S3Result<Arrived> {
    let mut writer = Writer { hasher: hasher(&expected), md5: Md5::new(), file: None, size: 0, path };
    let mut rest = Vec::new();
    let mut length = 0;
    if let Some(mut body) = body {
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| {
                tracing::debug!(%error, "a body broke off");
                s3_error!(IncompleteBody, "The request body terminated unexpectedly")
            })?;
            length += piece.len();
            rest.push(piece);
            if length >= PIECE {
                writer = in_background(move || writer.append(&rest)).await?;
                (rest, length) = (Vec::new(), 0);
            }
        }
    }
    Ok(Arrived { writer, rest, expected })
}

struct Writer {
    hasher: ChecksumHasher,
    md5: Md5,
    file: Option<File>,
    size: u64,
    path: PathBuf,
}

impl Writer {
    fn append(mut self, pieces: &[Bytes]) -> io::Result<Self> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => File::create(&self.path)?,
        };
        for piece in pieces {
            self.hasher.update(piece);
            self.md5.update(piece);
            self.size += piece.len() as u64;
        }
        match pieces {
            [] => {}
            [one] => file.write_all(one)?,
            many => file.write_all(&many.concat())?,
        }
        self.file = Some(file);
        Ok(self)
    }
}

fn hasher(expected: &Expected) -> ChecksumHasher {
    let mut hasher = ChecksumHasher::default();
    let given = &expected.checksum;
    let trailer = expected.algorithm.as_ref().map(ChecksumAlgorithm::as_str);
    if given.checksum_crc32.is_some() || trailer == Some(ChecksumAlgorithm::CRC32) {
        hasher.crc32 = Some(Crc32::default());
    }
    if given.checksum_crc32c.is_some() || trailer == Some(ChecksumAlgorithm::CRC32C) {
        hasher.crc32c = Some(Crc32c::default());
    }
    if given.checksum_crc64nvme.is_some() || trailer == Some(ChecksumAlgorithm::CRC64NVME) {
        hasher.crc64nvme = Some(Crc64Nvme::default());
    }
    if given.checksum_sha1.is_some() || trailer == Some(ChecksumAlgorithm::SHA1) {
        hasher.sha1 = Some(Sha1::default());
    }
    if given.checksum_sha256.is_some() || trailer == Some(ChecksumAlgorithm::SHA256) {
        hasher.sha256 = Some(Sha256::default());
    }
    hasher
}

fn check(expected: Expected, received: &Received) -> S3Result<()> {
    if let Some(content_md5) = expected.content_md5 {
        use base64::Engine as _;
        let wanted = base64::engine::general_purpose::STANDARD
            .decode(content_md5)
            .map_err(|_| s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid."))?;
        if wanted != received.md5 {
            return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
        }
    }
    // A trailer has come only now, after the body.
    let trailers = expected.trailers.and_then(|trailers| trailers.take()).unwrap_or_default();
    let given = expected.checksum;
    let got = &received.checksum;
    for (name, given, got) in [
        ("x-amz-checksum-crc32", given.checksum_crc32, &got.checksum_crc32),
        ("x-amz-checksum-crc32c", given.checksum_crc32c, &got.checksum_crc32c),
        ("x-amz-checksum-crc64nvme", given.checksum_crc64nvme, &got.checksum_crc64nvme),
        ("x-amz-checksum-sha1", given.checksum_sha1, &got.checksum_sha1),
        ("x-amz-checksum-sha256", given.checksum_sha256, &got.checksum_sha256),
    ] {
        let trailer = trailers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if let (Some(wanted), Some(got)) = (given.or(trailer), got)
            && wanted != *got
        {
            return Err(s3_error!(BadDigest, "The {name} you specified did not match what we received."));
        }
    }
    Ok(())
}

/// Part of a file as a body. A small one is read at once.
pub(crate) async fn send(mut file: File, start: u64, length: u64) -> S3Result<StreamingBlob> {
    let first = length.min(PIECE as u64) as usize;
    let read_first = move || {
        if start > 0 {
            file.seek(SeekFrom::Start(start))?;
        }
        read(file, first)
    };
    let (file, piece) =
        if length <= SMALL { read_first().map_err(internal)? } else { in_background(read_first).await? };
    let rest = length - first as u64;
    // A read that fails ends the body: the client sees that it is too short.
    let more = stream::try_unfold((file, rest), |(file, rest)| async move {
        if rest == 0 {
            return Ok::<_, io::Error>(None);
        }
        let next = rest.min(PIECE as u64) as usize;
        let (file, piece) = tokio::task::spawn_blocking(move || read(file, next)).await.map_err(io::Error::other)??;
        Ok(Some((piece, (file, rest - next as u64))))
    });
    Ok(StreamingBlob::wrap(stream::iter([Ok(piece)]).chain(more)))
}

fn read(mut file: File, length: usize) -> io::Result<(File, Bytes)> {
    let mut piece = vec![0; length];
    file.read_exact(&mut piece)?;
    Ok((file, piece.into()))
}

/// Runs blocking work where it does not hold up others.
pub(crate) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> S3Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| internal(io::Error::other(error)))?.map_err(internal)
}
