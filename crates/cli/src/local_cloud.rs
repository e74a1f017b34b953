//! The cloud on a laptop, set up for the command's own use.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use cloud::{
    events::EventBridge, logs::CloudWatchLogs, s3::S3Bucket, sagemaker::SageMakerRuntime,
    sagemaker_control::SageMakerControl,
};
use local::{FunctionLauncher, LocalCloud, Options, Ports, StaticRoute};
use serde::{Deserialize, Serialize};

use crate::{
    arguments::CloudOptions, error::CliError, lake::Services, model_folder::ModelFolder, offline_model, programs,
};

const DEFAULT_TEMPLATE: &str = "infra/template.yaml";

/// How long warm functions keep a release without asking: whoever publishes on a laptop looks at once.
pub(crate) const RELEASE_TTL: Duration = Duration::from_secs(1);

/// A running local cloud, and clients for it.
pub(crate) struct RunningCloud {
    pub(crate) cloud: LocalCloud,
    pub(crate) lake: S3Bucket,
    pub(crate) sagemaker: SageMakerControl,
    pub(crate) sagemaker_runtime: SageMakerRuntime,
    /// Held while the cloud runs: no other may empty its folder.
    _lock: File,
}

impl RunningCloud {
    /// Starts it in an emptied folder.
    pub(crate) async fn start(options: &CloudOptions, model: &ModelFolder) -> Result<Self, CliError> {
        let template = read_template(options.template.as_deref())?;
        if let Some(folder) = options.functions.as_deref().filter(|folder| !folder.is_dir()) {
            let why = "is no folder; `cargo lambda build --release` makes target/lambda";
            return Err(CliError::Unexpected(format!("--functions: `{}` {why}", folder.display())));
        }
        // Before the folder is emptied: a run that cannot start must not cost the results of the last one.
        std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, options.port))
            .map_err(|error| CliError::io(format!("listen on port {}", options.port), error))?;
        let (root, lock) = fresh_folder(&options.dir)?;
        let program = std::env::current_exe().map_err(|error| CliError::io("find this program", error))?;
        let own = |role: &str| vec![program.to_string_lossy().into_owned(), role.to_owned()];
        let launcher = match &options.functions {
            Some(folder) => FunctionLauncher::Directory(folder.clone()),
            None => FunctionLauncher::ReExecute { program: program.clone(), args: vec![programs::FUNCTION.to_owned()] },
        };
        let mut setup = Options::new(template, root, launcher);
        setup.child_wrapper = Some(own(programs::CHILD));
        // A framework's container runs the model's own program, in script mode.
        if model.training.code.is_none() {
            setup.images = BTreeMap::from([(model.training.image.clone(), own(programs::MODEL))]);
        }
        setup.python = offline_model::python();
        setup.ports = Ports { api: options.port, ..Ports::default() };
        // A replay of last month must land in last month's hours.
        setup.parameters = BTreeMap::from([
            ("MaxIdSkewSeconds".to_owned(), "0".to_owned()),
            ("DefaultModel".to_owned(), model.name.to_string()),
            ("ReleaseTtlSeconds".to_owned(), RELEASE_TTL.as_secs().to_string()),
            // The warehouse on this machine: with it, the extractor is deployed.
            ("WarehouseProject".to_owned(), local::WAREHOUSE_PROJECT.to_owned()),
            // Whoever reaches a laptop's own port is its user.
            ("AllowForcedArm".to_owned(), "true".to_owned()),
        ]);
        let key = std::env::var(PERSONAL_DATA_KEY).unwrap_or_default();
        check_personal_data_key(model.plan.hashed_input(), &key)?;
        setup.parameters.insert("PersonalDataKey".to_owned(), key);
        setup.check_signatures = options.check_signatures;
        // A batch whose function died comes back at once: nobody waits six minutes at a laptop.
        setup.queue_retry_delay = Some(Duration::from_secs(1));
        // The report, and what it links to.
        let places = [("/report", "reports/"), ("/reports", "reports/"), ("/releases", "releases/")];
        let places = places.into_iter().chain([("/baselines", "baselines/")]);
        setup.static_routes = places
            .map(|(path, key)| StaticRoute { path_prefix: path.to_owned(), bucket: None, key_prefix: key.to_owned() })
            .collect();
        let cloud = LocalCloud::start(setup).await?;
        let bucket = cloud.bucket_names().into_iter().next();
        let bucket = bucket.ok_or_else(|| CliError::Unexpected("the template has no bucket".to_owned()))?;
        let environment = CloudEnvironment { lake_bucket: bucket, variables: cloud.environment() };
        environment.write(&options.dir)?;
        Ok(Self {
            lake: environment.lake(),
            sagemaker: environment.sagemaker(),
            sagemaker_runtime: environment.sagemaker_runtime(),
            cloud,
            _lock: lock,
        })
    }
}

/// How clients reach a local cloud. Its folder tells other commands, also those that come after its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CloudEnvironment {
    /// The lake's bucket.
    pub(crate) lake_bucket: String,
    /// Region, credentials and one endpoint per service, as environment variables.
    pub(crate) variables: BTreeMap<String, String>,
}

impl CloudEnvironment {
    fn path(folder: &Path) -> PathBuf {
        folder.join("environment.json")
    }

    /// What the cloud in `folder` wrote at its start.
    pub(crate) fn read(folder: &Path) -> Result<Self, CliError> {
        let path = Self::path(folder);
        let read = std::fs::read(&path).and_then(|text| serde_json::from_slice(&text).map_err(Into::into));
        read.map_err(|error| CliError::io(format!("read `{}`", path.display()), error))
    }

    fn write(&self, folder: &Path) -> Result<(), CliError> {
        let path = Self::path(folder);
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        std::fs::write(&path, text).map_err(|error| CliError::io(format!("write `{}`", path.display()), error))
    }

    /// Whether somebody listens where its S3 was.
    pub(crate) async fn answers(&self) -> bool {
        let url = self.variable("AWS_ENDPOINT_URL_S3");
        let connected = tokio::net::TcpStream::connect(url.trim_start_matches("http://").trim_end_matches('/'));
        tokio::time::timeout(Duration::from_secs(1), connected).await.is_ok_and(|connected| connected.is_ok())
    }

    fn variable(&self, name: &str) -> String {
        self.variables.get(name).cloned().unwrap_or_default()
    }

    /// The lake.
    pub(crate) fn lake(&self) -> S3Bucket {
        let s3 = aws_sdk_s3::config::Builder::from(&self.sdk_config())
            .endpoint_url(self.variable("AWS_ENDPOINT_URL_S3"))
            .force_path_style(true)
            .build();
        S3Bucket::new(aws_sdk_s3::Client::from_conf(s3), &self.lake_bucket)
    }

    /// SageMaker's control plane.
    pub(crate) fn sagemaker(&self) -> SageMakerControl {
        SageMakerControl::new(&self.sdk_config(), Some(self.variable("AWS_ENDPOINT_URL_SAGEMAKER")))
    }

    /// SageMaker's endpoints.
    pub(crate) fn sagemaker_runtime(&self) -> SageMakerRuntime {
        let url = self.variable("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME");
        SageMakerRuntime::new(&self.sdk_config().into_builder().endpoint_url(url).build())
    }

    /// All of them, as commands use them.
    pub(crate) fn services(&self) -> Services {
        let url = |name: &str| Some(self.variable(name)).filter(|url| !url.is_empty());
        Services {
            control: self.sagemaker(),
            runtime: self.sagemaker_runtime(),
            logs: CloudWatchLogs::new(&self.sdk_config(), url("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS")),
            events: EventBridge::new(&self.sdk_config(), url("AWS_ENDPOINT_URL_EVENTBRIDGE")),
        }
    }

    /// Credentials and region are the ones that the local cloud gives its functions, never those of the machine.
    fn sdk_config(&self) -> SdkConfig {
        let (id, secret) = (self.variable("AWS_ACCESS_KEY_ID"), self.variable("AWS_SECRET_ACCESS_KEY"));
        let credentials = Credentials::new(id, secret, None, None, "local cloud");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.variable("AWS_REGION")))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            // Plain HTTP, and past any proxy of the machine: everything is at a loopback address.
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build()
    }
}

pub(crate) fn read_template(path: Option<&Path>) -> Result<String, CliError> {
    let path = match path {
        Some(path) => path,
        None if Path::new(DEFAULT_TEMPLATE).is_file() => Path::new(DEFAULT_TEMPLATE),
        None => return Ok(include_str!("../../../infra/template.yaml").to_owned()),
    };
    std::fs::read_to_string(path).map_err(|error| CliError::io(format!("read `{}`", path.display()), error))
}

/// The key of hashes that stand for personal inputs, as the functions have it too.
const PERSONAL_DATA_KEY: &str = "PERSONAL_DATA_KEY";

/// A release that hashes inputs would be published and then served by nobody.
pub(crate) fn check_personal_data_key(hashed: Option<&str>, key: &str) -> Result<(), CliError> {
    let what = match (hashed, key) {
        (None, "") => return Ok(()),
        (Some(input), "") => format!("input `{input}` is stored as a keyed hash: set {PERSONAL_DATA_KEY}"),
        (_, key) => match key.parse::<prediction_proxy::PersonalDataKey>() {
            Ok(_) => return Ok(()),
            Err(why) => format!("{PERSONAL_DATA_KEY}: {why}"),
        },
    };
    Err(CliError::Unexpected(what))
}

/// Marks a folder as ours, so that no other is ever emptied.
const MARK: &str = ".mannen-folder";
const MARK_TEXT: &[u8] = b"Made by `mannen`; emptied at each start, all but the warehouse.\n";

/// Whether a local cloud was ever started in `folder`.
pub(crate) fn is_ours(folder: &Path) -> bool {
    folder.join(MARK).is_file()
}

/// The lock on a folder of ours, or nothing where another process has it: a cloud that runs there, or a command that works on what
/// one has left.
pub(crate) fn lock_folder(folder: &Path) -> Result<Option<File>, CliError> {
    let open = File::options().create(true).truncate(false).write(true).open(folder.join(MARK));
    let lock = open.map_err(|error| CliError::io(format!("write into `{}`", folder.display()), error))?;
    Ok(lock.try_lock().is_ok().then_some(lock))
}

/// Makes a folder ours where it is new or empty, without locking or emptying it.
pub(crate) fn own_folder(folder: &Path) -> Result<(), CliError> {
    let shown = folder.display();
    std::fs::create_dir_all(folder).map_err(|error| CliError::io(format!("make `{shown}`"), error))?;
    let mut entries = folder.read_dir().map_err(|error| CliError::io(format!("read `{shown}`"), error))?;
    if is_ours(folder) {
        return Ok(());
    }
    if entries.next().is_some() {
        return Err(CliError::Unexpected(format!(
            "`{shown}` exists and is not a folder of this command's; choose another with --dir"
        )));
    }
    std::fs::write(folder.join(MARK), MARK_TEXT).map_err(|error| CliError::io(format!("write into `{shown}`"), error))
}

/// An empty folder of ours, and the lock on it.
fn fresh_folder(folder: &Path) -> Result<(PathBuf, File), CliError> {
    let shown = folder.display();
    std::fs::create_dir_all(folder).map_err(|error| CliError::io(format!("make `{shown}`"), error))?;
    let entries = || folder.read_dir().map_err(|error| CliError::io(format!("read `{shown}`"), error));
    if entries()?.next().is_some() && !is_ours(folder) {
        return Err(CliError::Unexpected(format!(
            "`{shown}` exists and is not a folder of this command's, so it is not emptied; choose another with --dir"
        )));
    }
    let Some(mut lock) = lock_folder(folder)? else {
        let what = format!("`{shown}` is in use by another `mannen`; choose another folder with --dir");
        return Err(CliError::Unexpected(what));
    };
    // The folder itself stays: it may be a link, or the current one. So does the warehouse: its tables are where work begins.
    let stays = |name: &std::ffi::OsStr| name == MARK || name == local::WAREHOUSE_FOLDER;
    for entry in entries()?.filter_map(Result::ok).filter(|entry| !stays(&entry.file_name())) {
        let path = entry.path();
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(&path),
            _ => std::fs::remove_file(&path),
        };
        removed.map_err(|error| CliError::io(format!("empty `{shown}`"), error))?;
    }
    lock.write_all(MARK_TEXT).map_err(|error| CliError::io(format!("write into `{shown}`"), error))?;
    let folder = folder.canonicalize().map_err(|error| CliError::io(format!("find `{shown}`"), error))?;
    Ok((folder, lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_hashes_needs_a_key() {
        let told = |hashed, key| check_personal_data_key(hashed, key).err().map(|error| error.to_string());
        assert_eq!(told(None, ""), None);
        assert_eq!(told(Some("rider"), "0123456789abcdef0123456789abcdef"), None);
        assert!(told(Some("rider"), "").unwrap().contains("PERSONAL_DATA_KEY"));
        assert!(told(None, "short").unwrap().contains("32 characters"));
    }

    #[test]
    fn only_folders_of_our_own_are_emptied() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a");
        let (_, lock) = fresh_folder(&folder).unwrap();
        std::fs::write(folder.join("x"), "").unwrap();
        std::fs::create_dir(folder.join(local::WAREHOUSE_FOLDER)).unwrap();
        assert!(fresh_folder(&folder).is_err(), "it is in use");
        assert!(folder.join("x").exists());
        drop(lock);
        fresh_folder(&folder).unwrap();
        assert!(!folder.join("x").exists());
        assert!(folder.join(local::WAREHOUSE_FOLDER).exists(), "the warehouse stays");
        let other = parent.path().join("b");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("precious"), "").unwrap();
        assert!(fresh_folder(&other).is_err() && own_folder(&other).is_err());
        assert!(other.join("precious").exists());
    }
}
