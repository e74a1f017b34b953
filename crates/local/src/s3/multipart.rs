//! Multipart uploads. What is under way is in memory: a restart ends it, as an abort would.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use s3s::{
    S3Result,
    crypto::{Checksum as _, Md5},
    dto::{CompletedPart, ETag},
    s3_error,
};

use super::{
    body::Received,
    store::{Attributes, Store, internal},
};
use crate::hash::hex;

#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, Upload>>);

#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) attributes: Attributes,
    pub(crate) started_ns: u64,
    pub(crate) parts: BTreeMap<i32, Part>,
}

#[derive(Debug, Clone)]
pub(crate) struct Part {
    path: PathBuf,
    md5: [u8; 16],
    pub(crate) size: u64,
}

impl Part {
    pub(crate) fn etag(&self) -> String {
        hex(&self.md5)
    }
}

/// Every part but the last has at least this many bytes.
const SMALLEST_PART: u64 = 5 << 20;

impl Uploads {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, Upload>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn begin(&self, upload: Upload) -> String {
        let id = uuid::Uuid::now_v7().simple().to_string();
        self.with(|uploads| uploads.insert(id.clone(), upload));
        id
    }

    /// Looks at an upload.
    pub(crate) fn look<T>(
        &self,
        id: &str,
        bucket: &str,
        key: &str,
        look: impl FnOnce(&mut Upload) -> T,
    ) -> S3Result<T> {
        self.with(|uploads| match uploads.get_mut(id) {
            Some(upload) if upload.bucket == bucket && upload.key == key => Ok(look(upload)),
            _ => Err(s3_error!(NoSuchUpload, "The specified multipart upload does not exist.")),
        })
    }

    pub(crate) fn add_part(&self, id: &str, bucket: &str, key: &str, number: i32, received: Received) -> S3Result<()> {
        let part = Part { path: received.path.clone(), md5: received.md5, size: received.size };
        match self.look(id, bucket, key, |upload| upload.parts.insert(number, part)) {
            Ok(replaced) => {
                if let Some(old) = replaced {
                    let _ = fs::remove_file(old.path);
                }
                Ok(())
            }
            Err(error) => {
                let _ = fs::remove_file(received.path);
                Err(error)
            }
        }
    }

    pub(crate) fn end(&self, id: &str) {
        if let Some(upload) = self.with(|uploads| uploads.remove(id)) {
            for part in upload.parts.into_values() {
                let _ = fs::remove_file(part.path);
            }
        }
    }

    /// Uploads of a bucket: id, key, start.
    pub(crate) fn list(&self, bucket: &str, prefix: &str) -> Vec<(String, String, u64)> {
        let mut list: Vec<_> = self.with(|uploads| {
            let here = uploads.iter().filter(|(_, upload)| upload.bucket == bucket && upload.key.starts_with(prefix));
            here.map(|(id, upload)| (id.clone(), upload.key.clone(), upload.started_ns)).collect()
        });
        list.sort_by(|one, other| (&one.1, one.2).cmp(&(&other.1, other.2)));
        list
    }
}

/// The parts that a completion names, checked.
pub(crate) fn chosen(upload: &Upload, named: &[CompletedPart]) -> S3Result<Vec<Part>> {
    if named.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    let mut parts = Vec::new();
    let mut before = 0;
    for (index, named_part) in named.iter().enumerate() {
        let number = named_part.part_number.unwrap_or_default();
        if number <= before {
            return Err(s3_error!(InvalidPartOrder, "The list of parts was not in ascending order."));
        }
        before = number;
        let invalid = || s3_error!(InvalidPart, "One or more of the specified parts could not be found.");
        let part = upload.parts.get(&number).ok_or_else(invalid)?;
        if named_part.e_tag.as_ref().is_some_and(|etag: &ETag| etag.value() != part.etag()) {
            return Err(invalid());
        }
        if index + 1 < named.len() && part.size < SMALLEST_PART {
            return Err(s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size"));
        }
        parts.push(part.clone());
    }
    Ok(parts)
}

/// Joins parts into one temporary file; gives it and the ETag: the MD5 of the parts' MD5s, and their number.
pub(crate) fn join(store: &Store, parts: &[Part]) -> S3Result<(PathBuf, String)> {
    let path = store.temporary_path();
    let joined = (|| {
        let mut md5 = Md5::new();
        let mut whole = File::create(&path)?;
        for part in parts {
            md5.update(&part.md5);
            io::copy(&mut File::open(&part.path)?, &mut whole)?;
        }
        Ok(format!("{}-{}", hex(md5.finalize().as_ref()), parts.len()))
    })();
    match joined {
        Ok(etag) => Ok((path, etag)),
        Err(error) => {
            let _ = fs::remove_file(&path);
            Err(internal(error))
        }
    }
}
