//! The lake that a command looks into: on AWS, or of a cloud on this machine, whether that runs or not.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use cloud::{
    aws, events::EventBridge, logs::CloudWatchLogs, s3::S3Bucket, sagemaker::SageMakerRuntime,
    sagemaker_control::SageMakerControl,
};
use local::StoredObjects;

use crate::{
    error::CliError,
    local_cloud::{CloudEnvironment, is_ours, lock_folder},
};

/// How long a command waits for another that works on the same stopped cloud.
const FOLDER_TIMEOUT: Duration = Duration::from_secs(30);

/// Which lake.
#[derive(Debug, Clone, Args)]
pub(crate) struct LakeOptions {
    /// Bucket of the lake on AWS; credentials and region are taken as every AWS tool takes them
    #[arg(long, value_name = "BUCKET", env = "LAKE_BUCKET")]
    pub(crate) lake: Option<String>,
    /// Folder of a cloud on this machine, running or stopped; used where no bucket is named
    #[arg(long, value_name = "DIR", default_value = ".mannen")]
    pub(crate) dir: PathBuf,
}

/// A lake, and the services beside it.
pub(crate) struct Lake {
    pub(crate) store: S3Bucket,
    /// Nothing where the cloud on this machine has ended: its endpoints ended with it.
    pub(crate) sagemaker: Option<Box<Services>>,
    is_local: bool,
    _stopped: Option<StoppedCloud>,
}

/// The services beside the lake: SageMaker's two, the logs of its jobs, the bus.
pub(crate) struct Services {
    pub(crate) control: SageMakerControl,
    pub(crate) runtime: SageMakerRuntime,
    pub(crate) logs: CloudWatchLogs,
    pub(crate) events: EventBridge,
}

/// The role of a cloud on this machine: nothing asks what it may do.
const LOCAL_ROLE: &str = "arn:aws:iam::000000000000:role/mannen-training";

/// Serves the objects of a cloud that has ended, and keeps others from starting one in its folder.
struct StoppedCloud {
    _objects: StoredObjects,
    _lock: File,
}

impl Lake {
    /// Opens the lake that the options name.
    ///
    /// # Errors
    /// There is none: no bucket is named, and no cloud was ever started in the folder.
    pub(crate) async fn open(options: &LakeOptions) -> Result<Self, CliError> {
        match &options.lake {
            // Clients are made in there: every command would be as large else.
            Some(bucket) => Ok(Box::pin(Self::on_aws(bucket)).await),
            None => Box::pin(Self::in_folder(&options.dir)).await,
        }
    }

    /// The services beside the lake.
    ///
    /// # Errors
    /// The cloud on this machine has ended.
    pub(crate) fn services(&self) -> Result<&Services, CliError> {
        self.sagemaker.as_deref().ok_or_else(|| {
            CliError::Unexpected(
                "the cloud in this folder has ended, and its endpoints and jobs with it: start one with `mannen up`, or name \
                 a bucket with --lake"
                    .to_owned(),
            )
        })
    }

    /// The role that jobs and models take.
    ///
    /// # Errors
    /// None is named, and the lake is on AWS.
    pub(crate) fn role(&self, named: Option<&str>) -> Result<String, CliError> {
        match named {
            Some(role) => Ok(role.to_owned()),
            None if self.is_local => Ok(LOCAL_ROLE.to_owned()),
            None => Err(CliError::Unexpected(
                "name the role that SageMaker takes with --role or TRAINING_ROLE_ARN (the stack's is <stack>-training)"
                    .to_owned(),
            )),
        }
    }

    async fn on_aws(bucket: &str) -> Self {
        let aws = aws::sdk_config().await;
        let services = Services {
            control: SageMakerControl::new(&aws, None),
            runtime: SageMakerRuntime::new(&aws),
            logs: CloudWatchLogs::new(&aws, None),
            events: EventBridge::new(&aws, None),
        };
        let store = S3Bucket::new(aws_sdk_s3::Client::new(&aws), bucket);
        Self { store, sagemaker: Some(Box::new(services)), is_local: false, _stopped: None }
    }

    async fn in_folder(folder: &Path) -> Result<Self, CliError> {
        if !is_ours(folder) {
            return Err(CliError::Unexpected(format!(
                "no cloud was started in `{}`: name a bucket with --lake (or LAKE_BUCKET), a folder with --dir, or run \
                 `mannen up` or `mannen demo` first",
                folder.display()
            )));
        }
        let environment = CloudEnvironment::read(folder)?;
        let mut lock = lock_folder(folder)?;
        let began = Instant::now();
        // Held by another command, and by no cloud: for as long as that one works.
        while lock.is_none() && !environment.answers().await {
            if began.elapsed() > FOLDER_TIMEOUT {
                return Err(CliError::Unexpected(format!(
                    "another command works on `{}`: try again when it is done",
                    folder.display()
                )));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            lock = lock_folder(folder)?;
        }
        let Some(lock) = lock else {
            let services = environment.services();
            return Ok(Self {
                store: environment.lake(),
                sagemaker: Some(Box::new(services)),
                is_local: true,
                _stopped: None,
            });
        };
        let region = environment.variables.get("AWS_REGION").cloned().unwrap_or_default();
        let objects = StoredObjects::serve(folder, &region).await?;
        let lake_bucket = environment.lake_bucket;
        let store = CloudEnvironment { lake_bucket, variables: objects.environment() }.lake();
        Ok(Self {
            store,
            sagemaker: None,
            is_local: true,
            _stopped: Some(StoppedCloud { _objects: objects, _lock: lock }),
        })
    }
}

#[cfg(test)]
mod tests {
    use cloud::object_store::{GetObject, PutCondition, PutObject};

    use super::*;

    fn options(dir: &Path) -> LakeOptions {
        LakeOptions { lake: None, dir: dir.to_owned() }
    }

    /// A folder whose cloud has ended.
    fn make_stopped(folder: &Path) {
        std::fs::write(folder.join(".mannen-folder"), "").unwrap();
        std::fs::create_dir_all(folder.join("s3/lake/a")).unwrap();
        std::fs::write(folder.join("s3/lake/a/b"), "left behind").unwrap();
        std::fs::write(
            folder.join("environment.json"),
            r#"{"lake_bucket": "lake", "variables": {"AWS_REGION": "ap-northeast-1"}}"#,
        )
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_second_command_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        make_stopped(folder.path());
        let first = Lake::open(&options(folder.path())).await.unwrap();
        let second = tokio::spawn({
            let options = options(folder.path());
            async move { Lake::open(&options).await.map(|lake| lake.sagemaker.is_some()) }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!second.is_finished(), "it took the first command for a cloud");
        drop(first);
        assert!(!second.await.unwrap().unwrap(), "nothing runs here");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_stopped_cloud_left_can_be_read_and_changed() {
        let folder = tempfile::tempdir().unwrap();
        let told = Lake::open(&options(folder.path())).await.err().unwrap().to_string();
        assert!(told.contains("mannen up"), "{told}");

        make_stopped(folder.path());
        let lake = Lake::open(&options(folder.path())).await.unwrap();
        assert!(lake.sagemaker.is_none());
        let object = lake.store.get_object("a/b", None).await.unwrap().found().unwrap();
        assert_eq!(object.bytes, "left behind");
        lake.store.put_object("a/c", "new".into(), PutCondition::IfAbsent).await.unwrap();
        drop(lake);
        let again = Lake::open(&options(folder.path())).await.unwrap();
        assert_eq!(again.store.get_object("a/c", None).await.unwrap().found().unwrap().bytes, "new");
    }
}
