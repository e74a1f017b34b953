//! Model and training containers: folders, programs, archives.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::Value;

use super::SageMaker;
use crate::{
    http_server,
    processes::{Process, Program, describe},
    s3::Store,
};

/// A container that serves.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) process: Process,
    /// Such as `http://127.0.0.1:40123`.
    pub(crate) url: String,
    folder: PathBuf,
}

impl Serving {
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

/// Packs a folder's content as `tar.gz`.
pub(crate) fn pack(folder: &Path, to: &Path) -> io::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(File::create(to)?, Compression::fast()));
    archive.append_dir_all(".", folder)?;
    archive.into_inner()?.finish()?;
    Ok(())
}

impl SageMaker {
    /// Program and arguments of an image.
    pub(crate) fn image(&self, image: &str) -> Result<(PathBuf, Vec<String>), String> {
        match self.images.get(image).map(Vec::as_slice) {
            Some([program, args @ ..]) => Ok((program.into(), args.to_vec())),
            _ => {
                let known: Vec<_> = self.images.keys().map(String::as_str).collect();
                Err(format!("no program is known for the image {image}; known are: {}", known.join(", ")))
            }
        }
    }

    pub(crate) fn program(
        &self,
        image: &str,
        command: &str,
        base: &Path,
        environment: BTreeMap<String, String>,
        log: &str,
    ) -> Result<Program, String> {
        let (program, mut args) = self.image(image)?;
        args.push(command.to_owned());
        let mut all = self.environment.clone();
        all.extend(environment);
        all.insert("SAGEMAKER_BASE_DIR".to_owned(), base.display().to_string());
        Ok(Program {
            path: program,
            args,
            environment: all,
            directory: Some(base.to_owned()),
            log: Some(self.logs.join(format!("{log}.log"))),
            leaves_by_itself: false,
        })
    }

    /// Starts a model's container and waits for its first good `/ping`.
    pub(crate) async fn serve_model(&self, model: &Value, endpoint: &str, variant: &str) -> Result<Serving, String> {
        let container = model.get("PrimaryContainer").filter(|container| !container.is_null());
        let container = container.or_else(|| model["Containers"].get(0)).ok_or("the model has no container")?;
        let image = container["Image"].as_str().ok_or("the model's container has no Image")?.to_owned();
        self.image(&image)?;
        let unique = uuid::Uuid::now_v7().simple().to_string();
        let base = self.root.join("endpoints").join(format!("{endpoint}-{variant}-{unique}"));
        let data = container["ModelDataUrl"].as_str().map(str::to_owned);
        let (store, folder) = (self.store.clone(), base.clone());
        let unpacked = tokio::task::spawn_blocking(move || unpack_model(&store, data.as_deref(), &folder));
        unpacked.await.map_err(|error| error.to_string())??;
        // The port is free when it is chosen; nobody else is likely to take it before the container does.
        let listener = http_server::listen("a model container", 0).await.map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        drop(listener);
        let mut environment = text_map(&container["Environment"]);
        environment.insert("SAGEMAKER_BIND_TO_PORT".to_owned(), port.to_string());
        let log = format!("endpoint-{endpoint}-{variant}");
        let program = self.program(&image, "serve", &base, environment, &log)?;
        let process = self.processes.start(&program).await.map_err(|error| error.to_string())?;
        let url = format!("http://127.0.0.1:{port}");
        tokio::select! {
            () = self.wait_for_ping(&url) => Ok(Serving { process: process.clone(), url: url.clone(), folder: base }),
            status = process.wait() => Err(format!(
                "The primary container for production variant {variant} did not pass the ping health check: {}; its \
                 output is in logs/{log}.log", describe(status)
            )),
            () = tokio::time::sleep(self.start_timeout) => {
                process.kill().await;
                Err(format!(
                    "The primary container for production variant {variant} did not pass the ping health check within \
                     {} s; its output is in logs/{log}.log", self.start_timeout.as_secs()
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

fn unpack_model(store: &Store, data: Option<&str>, base: &Path) -> Result<(), String> {
    let folder = base.join("model");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let Some(uri) = data else { return Ok(()) };
    let (bucket, key) = s3_parts(uri)?;
    let (_, file) = store.read(bucket, key).map_err(|error| {
        format!("Could not find model data at {uri}: {}", error.message().unwrap_or(error.code().as_str()))
    })?;
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    // `unpack` refuses members that lead out of the folder.
    archive.unpack(&folder).map_err(|error| format!("{uri} is no tar.gz that can be unpacked: {error}"))
}

/// An object's text values.
pub(crate) fn text_map(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}
