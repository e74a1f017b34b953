//! Script mode: the user's own Python program in a framework's container. Names and variables are those of AWS's toolkits:
//! <https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md>
//!
//! Here the container is the machine's own Python: what the script imports must be installed there.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::container::{Containers, text_map, unpack_object};
use crate::{processes::Program, s3::Store};

/// Names the script in a model's environment.
pub(crate) const PROGRAM: &str = "SAGEMAKER_PROGRAM";
/// Names the `tar.gz` with the script's folder there.
const SUBMIT_DIRECTORY: &str = "SAGEMAKER_SUBMIT_DIRECTORY";
/// The server that a script's functions are put behind.
const SERVER: &str = include_str!("script_server.py");
/// How much of a log's end a failure's reason has.
const LAST_WORDS_BYTES: u64 = 600;

/// A training in script mode, as its hyperparameters say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    /// `sagemaker_program`, below the folder.
    program: String,
    /// `sagemaker_submit_directory`.
    submitted: String,
}

/// Where a model's script lies, if not in the artefact.
pub(crate) fn submitted(environment: &BTreeMap<String, String>) -> Option<String> {
    environment.get(PROGRAM)?;
    environment.get(SUBMIT_DIRECTORY).filter(|uri| uri.starts_with("s3://")).cloned()
}

impl Script {
    /// `None` where it is not script mode.
    ///
    /// # Errors
    /// A program without its folder, or a name that leads out of it.
    pub(crate) fn of(hyperparameters: &Value) -> Result<Option<Self>, String> {
        let text = |name: &str| hyperparameters[name].as_str().map(unquoted);
        let Some(program) = text("sagemaker_program") else { return Ok(None) };
        let submitted = text("sagemaker_submit_directory").ok_or(
            "the hyperparameter sagemaker_program needs sagemaker_submit_directory, the s3:// address of its folder",
        )?;
        inside(&program)?;
        Ok(Some(Self { program, submitted }))
    }

    /// Unpacks the script's folder to `code/`, and tells the program that trains.
    pub(crate) fn training_program(
        &self,
        containers: &Containers,
        store: &Store,
        base: &Path,
        environment: BTreeMap<String, String>,
        log: &str,
    ) -> Result<Program, String> {
        let code = base.join("code");
        unpack_object(store, &self.submitted, &code, "the script's folder")?;
        let script = code.join(&self.program);
        if !script.is_file() {
            return Err(format!("{} has no {}, which sagemaker_program names", self.submitted, self.program));
        }
        let python = python(containers)?;
        let config = |name: &str| -> Value {
            let text = fs::read(base.join("input/config").join(name)).unwrap_or_default();
            serde_json::from_slice(&text).unwrap_or_default()
        };
        let setting = Setting {
            hyperparameters: script_hyperparameters(&config("hyperparameters.json")),
            channels: config("inputdataconfig.json"),
            resources: config("resourceconfig.json"),
        };
        let mut all = setting.variables(base, self);
        all.extend(environment);
        let mut args = vec![script.display().to_string()];
        args.extend(setting.arguments());
        let mut program = containers.program_of(python, args, base, all, log);
        program.directory = Some(code);
        Ok(program)
    }
}

/// What a script is told of its job.
struct Setting {
    hyperparameters: Map<String, Value>,
    channels: Value,
    resources: Value,
}

impl Setting {
    /// `--max_depth 7 …`, in the order of their names.
    fn arguments(&self) -> Vec<String> {
        self.hyperparameters.iter().flat_map(|(name, value)| [format!("--{name}"), shown(value)]).collect()
    }

    fn variables(&self, base: &Path, script: &Script) -> BTreeMap<String, String> {
        let at = |below: &str| base.join(below).display().to_string();
        let host = self.resources["current_host"].as_str().unwrap_or("algo-1").to_owned();
        let channels: Vec<&String> = self.channels.as_object().into_iter().flat_map(Map::keys).collect();
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut all: BTreeMap<String, String> = [
            ("SM_MODEL_DIR", at("model")),
            ("SM_INPUT_DIR", at("input")),
            ("SM_INPUT_CONFIG_DIR", at("input/config")),
            ("SM_OUTPUT_DIR", at("output")),
            ("SM_OUTPUT_DATA_DIR", at("output/data")),
            ("SM_CHANNELS", json!(channels).to_string()),
            ("SM_HPS", Value::Object(self.hyperparameters.clone()).to_string()),
            ("SM_USER_ARGS", json!(self.arguments()).to_string()),
            ("SM_CURRENT_HOST", host.clone()),
            ("SM_HOSTS", self.resources["hosts"].to_string()),
            ("SM_MASTER", host),
            (
                "SM_CURRENT_INSTANCE_TYPE",
                self.resources["current_instance_type"].as_str().unwrap_or("local").to_owned(),
            ),
            ("SM_NETWORK_INTERFACE_NAME", "lo".to_owned()),
            ("SM_NUM_CPUS", processors.to_string()),
            ("SM_NUM_GPUS", "0".to_owned()),
            ("SM_NUM_NEURONS", "0".to_owned()),
            ("SM_LOG_LEVEL", "20".to_owned()),
            ("SM_RESOURCE_CONFIG", self.resources.to_string()),
            ("SM_INPUT_DATA_CONFIG", self.channels.to_string()),
            ("SM_MODULE_NAME", script.program.trim_end_matches(".py").to_owned()),
            ("SM_MODULE_DIR", script.submitted.clone()),
            ("SM_USER_ENTRY_POINT", script.program.clone()),
            ("SM_FRAMEWORK_PARAMS", "{}".to_owned()),
            ("PYTHONUNBUFFERED", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for channel in channels {
            all.insert(format!("SM_CHANNEL_{}", channel.to_uppercase()), at(&format!("input/data/{channel}")));
        }
        for (name, value) in &self.hyperparameters {
            all.insert(format!("SM_HP_{}", name.to_uppercase()), shown(value));
        }
        all
    }
}

/// What of the hyperparameters is the script's own. SageMaker passes texts; its Python SDK writes each value as JSON.
fn script_hyperparameters(all: &Value) -> Map<String, Value> {
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    text_map(all)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("sagemaker_") && !name.starts_with('_'))
        .map(|(name, text)| (name, value(&text)))
        .collect()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `train.py`, also where it came as `"\"train.py\""`.
fn unquoted(text: &str) -> String {
    serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned())
}

fn inside(program: &str) -> Result<(), String> {
    let path = Path::new(program);
    let good = !program.is_empty() && path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if good { Ok(()) } else { Err(format!("the script {program:?} is no file below its folder")) }
}

/// The program that serves a model by its script's functions: of `code/`, else of `model/code/`, where AWS's SDK packs it.
pub(crate) fn serving_program(
    containers: &Containers,
    script: &str,
    base: &Path,
    environment: BTreeMap<String, String>,
    log: &str,
) -> Result<Program, String> {
    inside(script)?;
    let folders = [base.join("code"), base.join("model/code")];
    let folder = folders.iter().find(|folder| folder.join(script).is_file()).ok_or_else(|| {
        format!(
            "the script {script} lies neither in what {SUBMIT_DIRECTORY} names nor in code/ of the model's artefact"
        )
    })?;
    let server = base.join("script_server.py");
    fs::write(&server, SERVER).map_err(|error| format!("cannot write {}: {error}", server.display()))?;
    let python = python(containers)?;
    let args = [&server, &folder.join(script), &base.join("model")].map(|path| path.display().to_string());
    let mut program = containers.program_of(python, args.to_vec(), base, environment, log);
    program.environment.insert("PYTHONUNBUFFERED".to_owned(), "1".to_owned());
    program.directory = Some(folder.clone());
    Ok(program)
}

/// Where Python is.
fn python(containers: &Containers) -> Result<PathBuf, String> {
    let python = &containers.python;
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = if python.components().count() > 1 {
        python.is_file().then(|| python.clone())
    } else {
        std::env::split_paths(&paths).map(|folder| folder.join(python)).find(|path| path.is_file())
    };
    found.ok_or_else(|| {
        format!(
            "script mode needs Python, and there is no {}: install it with what the script imports, or name another in \
             MANNEN_PYTHON",
            python.display()
        )
    })
}

/// The end of a log, for a failure's reason.
pub(crate) fn last_words(log: &Path) -> String {
    let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    let words = read().unwrap_or_default();
    let advice = if words.contains("ModuleNotFoundError") || words.contains("ImportError") {
        "; install what the script imports for the Python that runs it, or name another Python in MANNEN_PYTHON"
    } else {
        ""
    };
    if words.is_empty() {
        format!("its output is in logs/{name}")
    } else {
        format!("its output, in logs/{name}, ends with: {words}{advice}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyperparameters_say_whether_it_is_script_mode() {
        assert_eq!(Script::of(&json!({"eta": "0.1"})), Ok(None));
        let script = Script { program: "train.py".to_owned(), submitted: "s3://b/c.tar.gz".to_owned() };
        // As AWS's SDK writes them, and plainly.
        for (program, folder) in [("\"train.py\"", "\"s3://b/c.tar.gz\""), ("train.py", "s3://b/c.tar.gz")] {
            let given = json!({"sagemaker_program": program, "sagemaker_submit_directory": folder});
            assert_eq!(Script::of(&given), Ok(Some(script.clone())));
        }
        let alone = Script::of(&json!({"sagemaker_program": "train.py"})).unwrap_err();
        assert!(alone.contains("needs sagemaker_submit_directory"), "{alone}");
        for out in ["../train.py", "/bin/sh", ""] {
            let given = json!({"sagemaker_program": out, "sagemaker_submit_directory": "s3://b/c"});
            assert!(Script::of(&given).unwrap_err().contains("no file below its folder"), "{out}");
        }
    }

    #[test]
    fn a_script_is_told_what_the_toolkit_tells() {
        let setting = Setting {
            hyperparameters: script_hyperparameters(&json!({
                "max_depth": "7", "eta": "0.1", "booster": "\"gbtree\"", "name": "plain", "sagemaker_program": "train.py",
            })),
            channels: json!({"train": {}, "validation": {}}),
            resources: json!({"current_host": "algo-1", "hosts": ["algo-1"]}),
        };
        assert_eq!(setting.arguments(), ["--booster", "gbtree", "--eta", "0.1", "--max_depth", "7", "--name", "plain"]);
        let script = Script { program: "train.py".to_owned(), submitted: "s3://b/c.tar.gz".to_owned() };
        let all = setting.variables(Path::new("/opt/ml"), &script);
        for (name, value) in [
            ("SM_MODEL_DIR", "/opt/ml/model"),
            ("SM_CHANNEL_TRAIN", "/opt/ml/input/data/train"),
            ("SM_CHANNELS", r#"["train","validation"]"#),
            ("SM_HP_MAX_DEPTH", "7"),
            ("SM_HPS", r#"{"booster":"gbtree","eta":0.1,"max_depth":7,"name":"plain"}"#),
            ("SM_HOSTS", r#"["algo-1"]"#),
            ("SM_MODULE_NAME", "train"),
        ] {
            assert_eq!(all.get(name).map(String::as_str), Some(value), "{name}");
        }
    }
}
