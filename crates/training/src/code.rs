//! Training code as an archive that is named by its content.

use std::{collections::BTreeMap, io::Write};

use domain::digest::sha256_hex;
use flate2::{Compression, GzBuilder};

use crate::TrainingError;

/// The largest code that is archived: it goes with every job.
pub const MAX_CODE_BYTES: usize = 32 << 20;

/// A deterministic `tar.gz`: names in order, no times, no owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeArchive {
    /// SHA-256 of the archive before compression: the same files are the same address, whatever compressed them.
    pub address: String,
    /// The `tar.gz`, as SageMaker's `sagemaker_submit_directory` takes it.
    pub bytes: Vec<u8>,
}

impl CodeArchive {
    /// Of files by their paths (with `/`), relative to the code's folder.
    ///
    /// # Errors
    /// [`TrainingError::Code`]: a path that leads out of the folder, or too much.
    pub fn of(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, TrainingError> {
        let wrong = |detail: String| TrainingError::Code(detail);
        let size: usize = files.values().map(Vec::len).sum();
        if size > MAX_CODE_BYTES {
            return Err(wrong(format!("{size} bytes of code; at most {MAX_CODE_BYTES} go with a job")));
        }
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_entry_type(tar::EntryType::Regular);
            // Refuses absolute paths and `..`.
            archive
                .append_data(&mut header, path, content.as_slice())
                .map_err(|error| wrong(format!("`{path}` cannot be archived: {error}")))?;
        }
        let plain = archive.into_inner().map_err(|error| wrong(error.to_string()))?;
        let mut compressed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
        compressed.write_all(&plain).map_err(|error| wrong(error.to_string()))?;
        let bytes = compressed.finish().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { address: sha256_hex(&plain), bytes })
    }
}

/// Whether a file of a folder is code: not hidden, not made by running it.
pub fn is_code(path: &str) -> bool {
    let made =
        |part: &str| part.starts_with('.') || part == "__pycache__" || part == "node_modules" || part == "target";
    let compiled = std::path::Path::new(path).extension().is_some_and(|extension| extension == "pyc");
    !path.split('/').any(made) && !compiled && !path.ends_with('~')
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn files(train: &str) -> BTreeMap<String, Vec<u8>> {
        BTreeMap::from([
            ("train.py".to_owned(), train.as_bytes().to_vec()),
            ("lib/features.py".to_owned(), b"import math\n".to_vec()),
        ])
    }

    #[test]
    fn the_same_files_are_the_same_bytes_and_a_comment_is_another_address() {
        let first = CodeArchive::of(&files("print(1)\n")).unwrap();
        assert_eq!(first, CodeArchive::of(&files("print(1)\n")).unwrap());
        let other = CodeArchive::of(&files("print(1)  # one\n")).unwrap();
        assert_ne!(first.address, other.address);
    }

    #[test]
    fn the_address_is_of_the_archive_before_compression_and_it_unpacks() {
        let archive = CodeArchive::of(&files("print(1)\n")).unwrap();
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(archive.bytes.as_slice()).read_to_end(&mut plain).unwrap();
        assert_eq!(sha256_hex(&plain), archive.address);
        let mut unpacked = tar::Archive::new(plain.as_slice());
        let names: Vec<String> =
            unpacked.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["lib/features.py", "train.py"]);
    }

    #[test]
    fn what_is_no_code_is_left_out_and_what_leads_out_is_refused() {
        assert!(is_code("lib/features.py"));
        assert!(!is_code(".git/config") && !is_code("lib/__pycache__/a.pyc") && !is_code("a.pyc"));
        assert!(CodeArchive::of(&BTreeMap::from([("../train.py".to_owned(), vec![])])).is_err());
    }
}
