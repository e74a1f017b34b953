//! Model and training containers: programs, folders, archives.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use serde_json::Value;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::{SageMaker, runtime::CONTAINER_TIMEOUT, script_mode};
use crate::{
    http_server,
    processes::{Process, Processes, Program, describe},
    s3::Store,
};

/// What starts containers.
#[derive(Debug)]
pub(crate) struct Containers {
    pub(crate) processes: Arc<Processes>,
    pub(crate) images: BTreeMap<String, Vec<String>>,
    /// Python of containers in script mode.
    pub(crate) python: PathBuf,
    /// Region, credentials and endpoints.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) logs: PathBuf,
    pub(crate) start_timeout: Duration,
    pub(crate) client: reqwest::Client,
}

/// A container that is to serve.
pub(crate) struct ServeOrder {
    pub(crate) image: String,
    /// In place of `/opt/ml`; `model/` has the artefact, `code/` the script's folder where it is in script mode.
    pub(crate) base: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    /// The name of its log.
    pub(crate) log: String,
    /// What it is, in a failure's reason.
    pub(crate) shown: String,
}

/// A container that serves.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) process: Process,
    /// Such as `http://127.0.0.1:40123`.
    pub(crate) url: String,
    folder: PathBuf,
    /// Read by each request that is under way, written by what waits for all of them.
    requests: Arc<RwLock<()>>,
}

/// The container is not ended while this is held, for as long as a request may take.
pub(crate) type UnderWay = Option<OwnedRwLockReadGuard<()>>;

impl Serving {
    /// To be held while a container is asked. `None`: it is already being ended.
    pub(crate) fn under_way(&self) -> UnderWay {
        self.requests.clone().try_read_owned().ok()
    }

    /// [`Serving::end`], once the requests under way are answered. None may begin any more: the caller has seen to that.
    pub(crate) async fn drain(&self, grace: Duration) {
        let _ = tokio::time::timeout(CONTAINER_TIMEOUT, self.requests.write()).await;
        self.end(grace).await;
    }

    /// Ends the process and removes its files.
    pub(crate) async fn end(&self, grace: Duration) {
        self.process.stop(grace).await;
        let _ = tokio::fs::remove_dir_all(&self.folder).await;
    }
}

/// `s3://bucket/key` apart.
pub(crate) fn s3_parts(uri: &str) -> Result<(&str, &str), String> {
    let rest = uri.strip_prefix("s3://").ok_or_else(|| format!("{uri:?} is no s3:// address"))?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() { Err(format!("{uri:?} names no bucket")) } else { Ok((bucket, key)) }
}

/// Copies an object to a file.
pub(crate) fn download(store: &Store, bucket: &str, key: &str, to: &Path) -> Result<(), String> {
    let told = |error: &dyn std::fmt::Display| format!("cannot download s3://{bucket}/{key}: {error}");
    let (_, mut file) =
        store.read(bucket, key).map_err(|error| told(&error.message().unwrap_or(error.code().as_str())))?;
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|error| told(&error))?;
    }
    let mut out = File::create(to).map_err(|error| told(&error))?;
    io::copy(&mut file, &mut out).map_err(|error| told(&error))?;
    Ok(())
}

/// Packs a folder's content as `tar.gz`. The same content is the same bytes: members are in the order of their names and
/// have neither times nor owners, the archive has no time.
pub(crate) fn pack(folder: &Path, to: &Path) -> io::Result<()> {
    let mut archive = tar::Builder::new(GzBuilder::new().write(File::create(to)?, Compression::fast()));
    archive.mode(tar::HeaderMode::Deterministic);
    let mut pending = vec![PathBuf::new()];
    while let Some(below) = pending.pop() {
        let path = folder.join(&below);
        // Symbolic links are followed: what they lead to is not in the archive.
        if path.is_dir() {
            let entries = fs::read_dir(&path)?.map(|entry| Ok(below.join(entry?.file_name())));
            let mut entries: Vec<PathBuf> = entries.collect::<io::Result<_>>()?;
            entries.sort_unstable_by(|a, b| b.cmp(a));
            pending.extend(entries);
        }
        if !below.as_os_str().is_empty() {
            archive.append_path_with_name(&path, &below)?;
        }
    }
    archive.into_inner()?.finish()?;
    Ok(())
}

/// Unpacks a `tar.gz` into a folder, which is made. Members that lead out of it are refused.
pub(crate) fn unpack(archive: impl Read, folder: &Path, shown: &str) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let unpacked = tar::Archive::new(GzDecoder::new(archive)).unpack(folder);
    unpacked.map_err(|error| format!("{shown} is no tar.gz that can be unpacked: {error}"))
}

/// Unpacks an object that is a `tar.gz`.
pub(crate) fn unpack_object(store: &Store, uri: &str, folder: &Path, what: &str) -> Result<(), String> {
    let (bucket, key) = s3_parts(uri)?;
    let (_, file) = store.read(bucket, key).map_err(|error| {
        format!("Could not find {what} at {uri}: {}", error.message().unwrap_or(error.code().as_str()))
    })?;
    unpack(file, folder, uri)
}

impl Containers {
    /// Program and arguments of an image.
    pub(crate) fn image(&self, image: &str) -> Result<(PathBuf, Vec<String>), String> {
        match self.images.get(image).map(Vec::as_slice) {
            Some([program, args @ ..]) => Ok((program.into(), args.to_vec())),
            _ => {
                let known: Vec<_> = self.images.keys().map(String::as_str).collect();
                Err(format!(
                    "no program is known for the image {image}; known are: {}. Another image is run in script mode: with \
                     sagemaker_program and sagemaker_submit_directory among the hyperparameters, or SAGEMAKER_PROGRAM in \
                     the environment of a model",
                    known.join(", ")
                ))
            }
        }
    }

    /// The program of an image, with `command` (`train`, `serve`) as its last argument.
    pub(crate) fn program(
        &self,
        image: &str,
        command: &str,
        base: &Path,
        environment: BTreeMap<String, String>,
        log: &str,
    ) -> Result<Program, String> {
        let (path, mut args) = self.image(image)?;
        args.push(command.to_owned());
        Ok(self.program_of(path, args, base, environment, log))
    }

    pub(crate) fn program_of(
        &self,
        path: PathBuf,
        args: Vec<String>,
        base: &Path,
        environment: BTreeMap<String, String>,
        log: &str,
    ) -> Program {
        let mut all = self.environment.clone();
        all.extend(environment);
        all.insert("SAGEMAKER_BASE_DIR".to_owned(), base.display().to_string());
        let log = Some(self.logs.join(format!("{log}.log")));
        Program { path, args, environment: all, directory: Some(base.to_owned()), log, leaves_by_itself: false }
    }

    /// Starts a container and waits for its first good `/ping`.
    pub(crate) async fn serve(&self, order: ServeOrder) -> Result<Serving, String> {
        let ServeOrder { image, base, mut environment, log, shown } = order;
        // The port is free when it is chosen; nobody else is likely to take it before the container does.
        let listener = http_server::listen("a model container", 0).await.map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        drop(listener);
        environment.insert("SAGEMAKER_BIND_TO_PORT".to_owned(), port.to_string());
        let script = environment.get(script_mode::PROGRAM).cloned().filter(|_| !self.images.contains_key(&image));
        let program = match script {
            Some(script) => script_mode::serving_program(self, &script, &base, environment, &log)?,
            None => self.program(&image, "serve", &base, environment, &log)?,
        };
        let process = self.processes.start(&program).await.map_err(|error| error.to_string())?;
        let url = format!("http://127.0.0.1:{port}");
        let log = self.logs.join(format!("{log}.log"));
        tokio::select! {
            () = self.wait_for_ping(&url) => Ok(Serving {
                process: process.clone(), url: url.clone(), folder: base, requests: Arc::default(),
            }),
            status = process.wait() => Err(format!(
                "{shown} did not pass the ping health check: {}; {}", describe(status), script_mode::last_words(&log)
            )),
            () = tokio::time::sleep(self.start_timeout) => {
                process.kill().await;
                Err(format!(
                    "{shown} did not pass the ping health check within {} s; {}",
                    self.start_timeout.as_secs(), script_mode::last_words(&log)
                ))
            }
        }
    }

    async fn wait_for_ping(&self, url: &str) {
        loop {
            let ping = self.client.get(format!("{url}/ping")).timeout(Duration::from_secs(2)).send().await;
            if ping.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl SageMaker {
    /// Starts a model's container from its artefact.
    pub(crate) async fn serve_model(&self, model: &Value, endpoint: &str, variant: &str) -> Result<Serving, String> {
        let container = model.get("PrimaryContainer").filter(|container| !container.is_null());
        let container = container.or_else(|| model["Containers"].get(0)).ok_or("the model has no container")?;
        let image = container["Image"].as_str().ok_or("the model's container has no Image")?.to_owned();
        let environment = text_map(&container["Environment"]);
        let unique = uuid::Uuid::now_v7().simple().to_string();
        let base = self.root.join("endpoints").join(format!("{endpoint}-{variant}-{unique}"));
        let data = container["ModelDataUrl"].as_str().map(str::to_owned);
        let code = script_mode::submitted(&environment).filter(|_| !self.containers.images.contains_key(&image));
        let (store, folder) = (self.store.clone(), base.clone());
        let unpacked = tokio::task::spawn_blocking(move || {
            let model = folder.join("model");
            fs::create_dir_all(&model).map_err(|error| error.to_string())?;
            if let Some(uri) = &data {
                unpack_object(&store, uri, &model, "model data")?;
            }
            if let Some(uri) = &code {
                unpack_object(&store, uri, &folder.join("code"), "the script's folder")?;
            }
            Ok::<_, String>(())
        });
        unpacked.await.map_err(|error| error.to_string())??;
        let shown = format!("The primary container for production variant {variant}");
        let log = format!("endpoint-{endpoint}-{variant}");
        self.containers.serve(ServeOrder { image, base, environment, log, shown }).await
    }
}

/// An object's text values.
pub(crate) fn text_map(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_folder_is_the_same_archive() {
        let root = tempfile::tempdir().unwrap();
        let packed = |name: &str, order: [&str; 3]| {
            let folder = root.path().join(name);
            fs::create_dir_all(folder.join("nested")).unwrap();
            for file in order {
                fs::write(folder.join(file), file.repeat(1_000)).unwrap();
            }
            let archive = root.path().join(format!("{name}.tar.gz"));
            pack(&folder, &archive).unwrap();
            fs::read(archive).unwrap()
        };
        let first = packed("a", ["model.json", "nested/x", "metadata.json"]);
        // Later, by another user's clock, in another order.
        std::thread::sleep(Duration::from_millis(1_100));
        assert!(first == packed("b", ["nested/x", "metadata.json", "model.json"]), "the bytes differ");
        unpack(first.as_slice(), &root.path().join("c"), "it").unwrap();
        assert_eq!(fs::read_to_string(root.path().join("c/nested/x")).unwrap(), "nested/x".repeat(1_000));
        assert!(unpack(&b"no archive"[..], &root.path().join("d"), "it").unwrap_err().starts_with("it is no tar.gz"));
    }
}
