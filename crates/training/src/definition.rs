//! What is trained when a dataset version is put in use: one document, made of the model's folder.

use std::{collections::BTreeMap, sync::Arc};

use cloud::object_store::{GetObject, PutCondition, PutObject};
use domain::{CodeVersion, EvaluationPlan, FeatureSpecSource, ModelName, lake};
use features::{Plan, Resources};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{CodeArchive, TrainingError, TrainingPlan, objects::read_json};

/// How a model is trained. The function that trains knows nothing of folders: this is all it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingDefinition {
    /// The model; its dataset has the same name.
    pub model: ModelName,
    /// The feature spec.
    pub spec: FeatureSpecSource,
    /// The SHA-256 of each lookup table by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lookups: BTreeMap<String, String>,
    /// The training code.
    pub code: CodeVersion,
    /// `training.toml`.
    pub plan: TrainingPlan,
    /// What the gate tells apart: `release.toml`'s `[evaluation]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<EvaluationPlan>,
    /// When it was defined, UTC.
    pub defined_at: Timestamp,
}

impl TrainingDefinition {
    /// The compiled spec with its lookup tables, as the lake has them.
    ///
    /// # Errors
    /// A table that is not there, or a spec that does not compile or has no label.
    pub async fn compile<S: GetObject>(&self, lake: &S) -> Result<Arc<Plan>, TrainingError> {
        let plan = compile(lake, &self.spec, &self.lookups).await?;
        if !plan.has_label() {
            return Err(TrainingError::InvalidPlan("the spec has no [label]: there is nothing to learn".to_owned()));
        }
        Ok(Arc::new(plan))
    }
}

/// A spec compiled with the lookup tables that are pinned for it.
///
/// # Errors
/// A table that is not there, or a spec that does not compile.
pub async fn compile<S: GetObject>(
    lake: &S,
    spec: &FeatureSpecSource,
    lookups: &BTreeMap<String, String>,
) -> Result<Plan, TrainingError> {
    Ok(Plan::compile_with("features.toml", &spec.toml, &resources(lake, lookups).await?)?)
}

/// Pinned lookup tables.
///
/// # Errors
/// One is not there.
pub(crate) async fn resources<S: GetObject>(
    lake: &S,
    lookups: &BTreeMap<String, String>,
) -> Result<Resources, TrainingError> {
    let mut resources = Resources::default();
    for (name, table) in releases::tables(lake, lookups).await? {
        let key = lake::lookup_table(&name, lookups.get(&name).map_or("", String::as_str));
        resources = resources.with_lookup(name, table.map_err(|detail| TrainingError::unusable(key, detail))?);
    }
    Ok(resources)
}

/// A model's definition.
///
/// # Errors
/// The lake, or a document that cannot be read.
pub async fn read_definition<S: GetObject>(
    lake: &S,
    model: &ModelName,
) -> Result<Option<TrainingDefinition>, TrainingError> {
    read_json(lake, &lake::training_definition(model)).await
}

/// Puts a definition and its code into the lake: from now on, dataset versions that are put in use are trained on.
///
/// # Errors
/// The lake, or a plan that makes no sense.
pub async fn put_definition<S: PutObject>(
    lake: &S,
    definition: &TrainingDefinition,
    code: &CodeArchive,
) -> Result<(), TrainingError> {
    if let Some(problem) = definition.plan.problem() {
        return Err(TrainingError::InvalidPlan(problem));
    }
    let key = lake::training_code(&definition.model, &code.address);
    lake.put_object(&key, code.bytes.clone().into(), PutCondition::IfAbsent).await?;
    let key = lake::training_definition(&definition.model);
    let document = serde_json::to_vec_pretty(definition).unwrap_or_default();
    lake.put_object(&key, document.into(), PutCondition::Always).await?;
    Ok(())
}
