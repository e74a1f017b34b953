//! What a function finds in its environment.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    options::FunctionLauncher,
    processes::{Processes, Program},
    s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY},
    sqs::Queues,
    template::FunctionSpec,
};

/// What all functions share.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) processes: Arc<Processes>,
    pub(crate) launcher: FunctionLauncher,
    /// Region, credentials, endpoints, and what the options add.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) region: String,
    pub(crate) account_id: String,
    pub(crate) logs: PathBuf,
    pub(crate) max_instances: usize,
    pub(crate) init_timeout: Duration,
    pub(crate) async_retry_delay: Duration,
    /// Where events go that failed in all tries.
    pub(crate) queues: Arc<Queues>,
}

/// What any AWS client on this laptop needs: region, credentials and one endpoint per service.
pub(crate) fn client_environment(region: &str, endpoints: &[(&str, String)]) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::from([
        ("AWS_REGION".to_owned(), region.to_owned()),
        ("AWS_DEFAULT_REGION".to_owned(), region.to_owned()),
        ("AWS_ACCESS_KEY_ID".to_owned(), ACCESS_KEY_ID.to_owned()),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), SECRET_ACCESS_KEY.to_owned()),
        // The real metadata service must not be asked.
        ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
    ]);
    for (service, url) in endpoints {
        environment.insert(format!("AWS_ENDPOINT_URL_{service}"), url.clone());
    }
    environment
}

impl Host {
    pub(crate) fn arn(&self, function: &str) -> String {
        format!("arn:aws:lambda:{}:{}:function:{function}", self.region, self.account_id)
    }

    /// The program of one instance.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime>
    pub(crate) fn program(&self, function: &FunctionSpec, runtime_api: &str, instance: &str) -> Program {
        let (program, args, directory) = match &self.launcher {
            FunctionLauncher::ReExecute { program, args } => {
                let mut args = args.clone();
                args.push(function.binary.clone());
                (program.clone(), args, None)
            }
            FunctionLauncher::Directory(folder) => {
                let folder = std::path::absolute(folder.join(&function.binary)).unwrap_or_else(|_| folder.clone());
                (folder.join("bootstrap"), Vec::new(), Some(folder))
            }
        };
        let task_root = directory.clone().or_else(|| std::env::current_dir().ok()).unwrap_or_default();
        let today = jiff::Timestamp::now().strftime("%Y/%m/%d").to_string();
        let mut environment = self.environment.clone();
        let own = [
            ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_owned()),
            ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory_mib.to_string()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", function.name)),
            ("AWS_LAMBDA_LOG_STREAM_NAME", format!("{today}/[$LATEST]{instance}")),
            ("AWS_LAMBDA_LOG_FORMAT", function.log_format.clone()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("LAMBDA_TASK_ROOT", task_root.display().to_string()),
            ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
            ("_HANDLER", "bootstrap".to_owned()),
            ("TZ", ":UTC".to_owned()),
        ];
        environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
        environment.extend(function.environment.clone());
        Program {
            path: program,
            args,
            environment,
            directory,
            log: Some(self.log_path(&function.name)),
            leaves_by_itself: false,
        }
    }

    pub(crate) fn log_path(&self, function: &str) -> PathBuf {
        self.logs.join(format!("{function}.log"))
    }
}
