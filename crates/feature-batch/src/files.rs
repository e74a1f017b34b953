//! Files of a disk.

use std::{
    fs::{self, File},
    io::{BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
};

use features::Plan;

use crate::{BatchError, FileSource, Options, Progress, Source, Summary, ViewFormat, transform};

/// Transforms files into `train.csv` or `train.parquet`, `rejects.jsonl` and `summary.json` in the folder `output`, which
/// is made where it is not there. Files that are there are replaced, a view of the other format too, and only once all is
/// done.
///
/// # Errors
/// As [`transform`]; or a file cannot be opened, made or renamed.
pub fn run_files(
    plan: &Plan,
    inputs: &[impl AsRef<Path>],
    output: &Path,
    format: ViewFormat,
    threads: usize,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Summary, BatchError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| BatchError::File { path, source }
    };
    let mut sources = Vec::with_capacity(inputs.len());
    for path in inputs.iter().map(AsRef::as_ref) {
        let bytes = FileSource::open(path).map_err(failed(path))?;
        sources.push(Source { name: path.display().to_string(), bytes: Box::new(bytes) });
    }
    fs::create_dir_all(output).map_err(failed(output))?;
    let view = Partial::create(output, &format!("train.{}", format.extension())).map_err(failed(output))?;
    let rejects = Partial::create(output, "rejects.jsonl").map_err(failed(output))?;
    let mut summary_file = Partial::create(output, "summary.json").map_err(failed(output))?;
    let (view_writer, rejects_writer) = (
        BufWriter::with_capacity(1 << 20, view.file().map_err(failed(output))?),
        BufWriter::with_capacity(1 << 16, rejects.file().map_err(failed(output))?),
    );
    let summary = transform(plan, sources, view_writer, rejects_writer, Options { format, threads }, progress)?;
    let mut json = serde_json::to_vec_pretty(&summary).unwrap_or_default();
    json.push(b'\n');
    summary_file.file.write_all(&json).map_err(failed(output))?;
    for file in [view, rejects, summary_file] {
        file.publish().map_err(failed(output))?;
    }
    // A folder is read as one channel: the view of a run in another format would be taken too.
    for other in ViewFormat::ALL.into_iter().filter(|other| *other != format) {
        let old = output.join(format!("train.{}", other.extension()));
        match fs::remove_file(&old) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&old)(error)),
            _ => {}
        }
    }
    Ok(summary)
}

/// A file that has its name only once it is whole.
struct Partial {
    file: File,
    at: PathBuf,
    name: PathBuf,
    published: bool,
}

impl Partial {
    fn create(folder: &Path, name: &str) -> std::io::Result<Self> {
        let at = folder.join(format!(".{name}.partial"));
        Ok(Self { file: File::create(&at)?, at, name: folder.join(name), published: false })
    }

    fn file(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }

    fn publish(mut self) -> std::io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.at, &self.name)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published {
            _ = fs::remove_file(&self.at);
        }
    }
}
