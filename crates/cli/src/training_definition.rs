//! A model's folder as a training definition: code archive, spec, lookup tables, `training.toml`.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
};

use cloud::s3::S3Bucket;
use domain::{CodeVersion, FeatureSpecSource};
use jiff::Timestamp;
use training::{CodeArchive, TrainingDefinition, is_code, put_definition};

use crate::{error::CliError, model_folder::ModelFolder};

/// The training code of a model: `training.toml`, `features.toml` and what lies in the folder that `[code]` names.
pub(crate) fn code_of(model: &ModelFolder) -> Result<CodeArchive, CliError> {
    let mut files = BTreeMap::from([
        ("training.toml".to_owned(), model.training_toml.clone().into_bytes()),
        ("features.toml".to_owned(), model.features_toml.clone().into_bytes()),
    ]);
    if let (Some(plan), Some(place)) = (&model.training.code, &model.place) {
        let folder = place.join(&plan.folder);
        collect(&folder, &folder, &mut files)?;
        if !files.contains_key(&plan.program) {
            let detail = format!("[code] names the program `{}`, which is not in `{}`", plan.program, folder.display());
            return Err(CliError::ModelFolder { file: place.join("training.toml"), detail });
        }
    }
    Ok(CodeArchive::of(&files)?)
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<(), CliError> {
    let read = |error| CliError::io(format!("read `{}`", folder.display()), error);
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if !is_code(&name) {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files)?;
        } else {
            let content =
                std::fs::read(&path).map_err(|error| CliError::io(format!("read `{}`", path.display()), error))?;
            files.insert(name, content);
        }
    }
    Ok(())
}

/// The commit that a folder is at, with `-dirty` where its files differ from it; none where it is in no repository.
fn commit_of(folder: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        let output = command.arg("-C").arg(folder).args(arguments).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"]).filter(|commit| !commit.is_empty())?;
    let changed = git(&["status", "--porcelain", "--", "."])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}-dirty") })
}

/// The definition of a model's folder, with its code.
pub(crate) fn definition_of(
    model: &ModelFolder,
    now: Timestamp,
) -> Result<(TrainingDefinition, CodeArchive), CliError> {
    let code = code_of(model)?;
    let definition = TrainingDefinition {
        model: model.name.clone(),
        spec: FeatureSpecSource { hash: model.plan.hash().to_owned(), toml: model.features_toml.clone() },
        lookups: model.plan.lookups().map(|(name, sha256)| (name.to_owned(), sha256.to_owned())).collect(),
        code: CodeVersion {
            address: code.address.clone(),
            commit: model.place.as_deref().and_then(commit_of),
            program: model.training.code.as_ref().map(|code| code.program.clone()),
        },
        plan: model.training.clone(),
        evaluation: model.release.evaluation.clone(),
        defined_at: now,
    };
    Ok((definition, code))
}

/// Puts a model's definition, code and lookup tables into the lake.
pub(crate) async fn define(
    lake: &S3Bucket,
    model: &ModelFolder,
    now: Timestamp,
) -> Result<TrainingDefinition, CliError> {
    let (definition, code) = definition_of(model, now)?;
    releases::put_tables(lake, &model.lookups).await?;
    put_definition(lake, &definition, &code).await?;
    Ok(definition)
}

/// The query of the model's dataset, and `dataset.toml`; for a folder without a query, all rows that there are to train on.
pub(crate) fn query_of(model: &ModelFolder) -> Result<(String, String), CliError> {
    let Some(place) = &model.place else {
        let sql = include_str!("../../../models/pickup-eta/extract.sql");
        return Ok((sql.to_owned(), include_str!("../../../models/pickup-eta/dataset.toml").to_owned()));
    };
    let read = |name: &str| {
        let path = place.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CliError::io(format!("read `{}`", path.display()), error)),
        }
    };
    let sql = read("extract.sql")?.unwrap_or_else(|| "SELECT * FROM rides.training".to_owned());
    Ok((sql, read("dataset.toml")?.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference_folder() -> ModelFolder {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pickup-eta");
        ModelFolder::read(Some(&folder)).unwrap()
    }

    #[test]
    fn a_comment_in_the_training_code_is_another_code_address_and_nothing_else() {
        let model = reference_folder();
        let now = Timestamp::UNIX_EPOCH;
        let (first, _) = definition_of(&model, now).unwrap();
        let mut commented = reference_folder();
        commented.training_toml += "\n# a remark\n";
        let (second, _) = definition_of(&commented, now).unwrap();
        assert_ne!(first.code.address, second.code.address);
        assert_eq!(first, TrainingDefinition { code: first.code.clone(), ..second });
        assert_eq!(first.code.address, definition_of(&model, now).unwrap().0.code.address);
    }

    #[test]
    fn script_mode_takes_the_folder_of_the_code_and_wants_its_program() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["features.toml", "training.toml", "release.toml"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pickup-eta").join(name);
            let mut text = std::fs::read_to_string(path).unwrap();
            if name == "training.toml" {
                text = text.replace("[hyperparameters]", "[code]\nprogram = \"train.py\"\n\n[hyperparameters]");
            }
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        std::fs::create_dir_all(folder.path().join("code/__pycache__")).unwrap();
        std::fs::write(folder.path().join("code/__pycache__/train.pyc"), "x").unwrap();
        let error = code_of(&ModelFolder::read(Some(folder.path())).unwrap()).unwrap_err();
        assert!(error.to_string().contains("train.py"), "{error}");
        std::fs::write(folder.path().join("code/train.py"), "print(1)\n").unwrap();
        let model = ModelFolder::read(Some(folder.path())).unwrap();
        let first = code_of(&model).unwrap();
        std::fs::write(folder.path().join("code/train.py"), "print(1)  # one\n").unwrap();
        assert_ne!(first.address, code_of(&model).unwrap().address);
    }
}
