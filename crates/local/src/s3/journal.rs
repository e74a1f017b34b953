//! What the files do not say about their objects, one line of JSON per change.
//!
//! A line is written before its file is moved into place. If the process is killed between the two, the file is still
//! the old one: so at start a line counts only if its size and modification time are the file's, and of the lines that
//! fit the last one. A file that no line fits (one that was copied in by hand) is an object without metadata.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use s3s::crypto::{Checksum as _, Md5};

use super::{
    paths::{ELSEWHERE, decode},
    store::ObjectInfo,
};
use crate::hash::hex;

#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
}

impl Journal {
    /// Reads a journal and the bucket's folder, and begins a new journal that holds just what is there.
    pub(crate) fn open(path: &Path, folder: &Path) -> io::Result<(Self, BTreeMap<String, Arc<ObjectInfo>>)> {
        let mut lines: BTreeMap<PathBuf, Vec<ObjectInfo>> = BTreeMap::new();
        match File::open(path) {
            Ok(file) => {
                for line in BufReader::new(file).split(b'\n') {
                    // The last line may be cut off, if the process was killed.
                    if let Ok(info) = serde_json::from_slice::<ObjectInfo>(&line?) {
                        lines.entry(info.path.clone()).or_default().push(info);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut objects = BTreeMap::new();
        collect(folder, &PathBuf::new(), &mut lines, &mut objects)?;
        let fresh = path.with_extension("new");
        let mut file = File::create(&fresh)?;
        let mut text = Vec::new();
        for info in objects.values() {
            line(info, &mut text)?;
        }
        file.write_all(&text)?;
        fs::rename(&fresh, path)?;
        Ok((Self { file }, objects))
    }

    /// Appends one object.
    pub(crate) fn append(&mut self, info: &ObjectInfo) -> io::Result<()> {
        let mut text = Vec::new();
        line(info, &mut text)?;
        self.file.write_all(&text)
    }
}

fn line(info: &ObjectInfo, out: &mut Vec<u8>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, info)?;
    out.push(b'\n');
    Ok(())
}

fn collect(
    folder: &Path,
    below: &Path,
    lines: &mut BTreeMap<PathBuf, Vec<ObjectInfo>>,
    objects: &mut BTreeMap<String, Arc<ObjectInfo>>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(folder, &path, lines, objects)?;
            continue;
        }
        let metadata = entry.metadata()?;
        let modified_ns = modified_ns(&metadata)?;
        let fitting = lines.remove(&path).and_then(|mut lines| {
            let fits = |info: &ObjectInfo| info.size == metadata.len() && info.modified_ns == modified_ns;
            lines.iter().rposition(fits).map(|index| lines.swap_remove(index))
        });
        let info = match fitting {
            Some(info) => info,
            None if path.starts_with(ELSEWHERE) => continue,
            None => {
                let Some(key) = key_of(&path) else { continue };
                let etag = md5_of_file(&folder.join(&path))?;
                ObjectInfo { key, path, size: metadata.len(), modified_ns, etag, ..ObjectInfo::default() }
            }
        };
        objects.insert(info.key.clone(), Arc::new(info));
    }
    Ok(())
}

fn key_of(path: &Path) -> Option<String> {
    let parts: Option<Vec<_>> = path.iter().map(|name| decode(name.to_str()?)).collect();
    parts.map(|parts| parts.join("/"))
}

fn md5_of_file(path: &Path) -> io::Result<String> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut md5 = Md5::new();
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok(hex(md5.finalize().as_ref()));
        }
        md5.update(piece);
        let length = piece.len();
        reader.consume(length);
    }
}

/// Nanoseconds since 1970 of a file's last change.
pub(crate) fn modified_ns(metadata: &fs::Metadata) -> io::Result<u64> {
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
