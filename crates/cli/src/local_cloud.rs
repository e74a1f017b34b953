//! The cloud on a laptop, set up for the command's own use.

use std::{collections::BTreeMap, path::Path};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use cloud::s3::S3Bucket;
use local::{FunctionLauncher, LocalCloud, Options, Ports, StaticRoute};

use crate::{arguments::CloudOptions, error::CliError, model_folder::ModelFolder, programs};

const DEFAULT_TEMPLATE: &str = "infra/template.yaml";

/// A running local cloud, and clients for it.
pub(crate) struct RunningCloud {
    pub(crate) cloud: LocalCloud,
    pub(crate) lake: S3Bucket,
    pub(crate) sagemaker: aws_sdk_sagemaker::Client,
}

impl RunningCloud {
    /// Starts it in an emptied folder.
    pub(crate) async fn start(options: &CloudOptions, model: &ModelFolder) -> Result<Self, CliError> {
        let template = read_template(options.template.as_deref())?;
        let root = fresh_folder(&options.dir)?;
        let program = std::env::current_exe().map_err(|error| CliError::io("find this program", error))?;
        let own = |role: &str| vec![program.to_string_lossy().into_owned(), role.to_owned()];
        let launcher = match &options.functions {
            Some(folder) => FunctionLauncher::Directory(folder.clone()),
            None => FunctionLauncher::ReExecute { program: program.clone(), args: vec![programs::FUNCTION.to_owned()] },
        };
        let mut setup = Options::new(template, root, launcher);
        setup.child_wrapper = Some(own(programs::CHILD));
        setup.images = BTreeMap::from([(model.training.image.clone(), own(programs::MODEL))]);
        setup.ports = Ports { api: options.port, ..Ports::default() };
        // A replay of last month must land in last month's hours.
        setup.parameters = BTreeMap::from([
            ("MaxIdSkewSeconds".to_owned(), "0".to_owned()),
            ("DefaultModel".to_owned(), model.name.to_string()),
        ]);
        setup.static_routes =
            vec![StaticRoute { path_prefix: "/report".to_owned(), bucket: None, key_prefix: "reports/".to_owned() }];
        let cloud = LocalCloud::start(setup).await?;
        let bucket = cloud.bucket_names().into_iter().next();
        let bucket = bucket.ok_or_else(|| CliError::Unexpected("the template has no bucket".to_owned()))?;
        let aws = sdk_config(&cloud);
        let s3 = aws_sdk_s3::config::Builder::from(&aws).endpoint_url(cloud.s3_url()).force_path_style(true).build();
        let sagemaker = aws_sdk_sagemaker::config::Builder::from(&aws).endpoint_url(cloud.sagemaker_url()).build();
        Ok(Self {
            lake: S3Bucket::new(aws_sdk_s3::Client::from_conf(s3), bucket),
            sagemaker: aws_sdk_sagemaker::Client::from_conf(sagemaker),
            cloud,
        })
    }
}

/// Credentials and region are the ones that the local cloud gives its functions, never those of the machine.
fn sdk_config(cloud: &LocalCloud) -> SdkConfig {
    let environment = cloud.environment();
    let variable = |name: &str| environment.get(name).cloned().unwrap_or_default();
    let credentials =
        Credentials::new(variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"), None, None, "local cloud");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(variable("AWS_REGION")))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

fn read_template(path: Option<&Path>) -> Result<String, CliError> {
    let path = match path {
        Some(path) => path,
        None if Path::new(DEFAULT_TEMPLATE).is_file() => Path::new(DEFAULT_TEMPLATE),
        None => return Ok(include_str!("../../../infra/template.yaml").to_owned()),
    };
    std::fs::read_to_string(path).map_err(|error| CliError::io(format!("read `{}`", path.display()), error))
}

/// Marks a folder as ours, so that no other is ever emptied.
const MARK: &str = ".mannen-folder";

fn fresh_folder(folder: &Path) -> Result<std::path::PathBuf, CliError> {
    let shown = folder.display();
    if folder.exists() {
        let is_empty =
            folder.read_dir().map_err(|error| CliError::io(format!("read `{shown}`"), error))?.next().is_none();
        if !is_empty && !folder.join(MARK).is_file() {
            return Err(CliError::Unexpected(format!(
                "`{shown}` exists and is not a folder of this command's, so it is not emptied; choose another with --dir"
            )));
        }
        std::fs::remove_dir_all(folder).map_err(|error| CliError::io(format!("empty `{shown}`"), error))?;
    }
    std::fs::create_dir_all(folder).map_err(|error| CliError::io(format!("make `{shown}`"), error))?;
    std::fs::write(folder.join(MARK), "Made by `mannen`; emptied at each start.\n")
        .map_err(|error| CliError::io(format!("write into `{shown}`"), error))?;
    folder.canonicalize().map_err(|error| CliError::io(format!("find `{shown}`"), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_our_own_are_emptied() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a");
        fresh_folder(&folder).unwrap();
        std::fs::write(folder.join("x"), "").unwrap();
        fresh_folder(&folder).unwrap();
        assert!(!folder.join("x").exists());
        let other = parent.path().join("b");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("precious"), "").unwrap();
        assert!(fresh_folder(&other).is_err());
        assert!(other.join("precious").exists());
    }
}
