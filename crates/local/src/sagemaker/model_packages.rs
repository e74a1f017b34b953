//! SageMaker's model registry: groups and the packages in them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    SageMaker,
    control_plane::{missing, name_in, required},
    errors::Failure,
    now_s,
};

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct ModelPackages {
    groups: BTreeMap<String, Vec<Value>>,
    /// The ARN that was made for a client token.
    tokens: BTreeMap<String, String>,
}

impl ModelPackages {
    fn find(&mut self, arn: &str) -> Option<&mut Value> {
        self.groups.values_mut().flatten().find(|package| package["ModelPackageArn"] == arn)
    }
}

impl SageMaker {
    pub(super) fn create_model_package_group(&self, input: &Value) -> Result<Value, Failure> {
        let name = name_in(input, "ModelPackageGroupName")?.to_owned();
        let arn = self.arn("model-package-group", &name);
        self.with(|state| {
            if state.model_packages.groups.contains_key(&name) {
                return Err(Failure::validation(format!("Model Package Group already exists: {arn}")));
            }
            state.model_packages.groups.insert(name, Vec::new());
            Ok(json!({ "ModelPackageGroupArn": arn }))
        })
    }

    pub(super) fn create_model_package(&self, mut input: Value) -> Result<Value, Failure> {
        let group = name_in(&input, "ModelPackageGroupName")?.to_owned();
        let token = input["ClientToken"].as_str().map(str::to_owned);
        self.with(|state| {
            let packages = &mut state.model_packages;
            if let Some(arn) = token.as_ref().and_then(|token| packages.tokens.get(token)) {
                return Ok(json!({ "ModelPackageArn": arn }));
            }
            let versions = packages.groups.get_mut(&group);
            let versions = versions.ok_or_else(|| {
                Failure::validation(format!("Model Package Group {group} does not exist: create it first."))
            })?;
            let number = versions.len() + 1;
            let arn = self.arn("model-package", &format!("{group}/{number}"));
            input["ModelPackageArn"] = arn.clone().into();
            input["ModelPackageVersion"] = number.into();
            input["ModelPackageStatus"] = "Completed".into();
            input["CreationTime"] = now_s().into();
            if input["ModelApprovalStatus"].is_null() {
                input["ModelApprovalStatus"] = "PendingManualApproval".into();
            }
            versions.push(input);
            if let Some(token) = token {
                packages.tokens.insert(token, arn.clone());
            }
            Ok(json!({ "ModelPackageArn": arn }))
        })
    }

    pub(super) fn describe_model_package(&self, input: &Value) -> Result<Value, Failure> {
        let arn = required(input, "ModelPackageName")?;
        self.with(|state| state.model_packages.find(arn).cloned()).ok_or_else(|| missing("model package", arn))
    }

    pub(super) fn update_model_package(&self, input: &Value) -> Result<Value, Failure> {
        let arn = required(input, "ModelPackageArn")?;
        self.with(|state| {
            let package = state.model_packages.find(arn).ok_or_else(|| missing("model package", arn))?;
            for member in ["ModelApprovalStatus", "ApprovalDescription", "CustomerMetadataProperties"] {
                if !input[member].is_null() {
                    package[member] = input[member].clone();
                }
            }
            Ok(json!({ "ModelPackageArn": arn }))
        })
    }

    pub(super) fn list_model_packages(&self, input: &Value) -> Result<Value, Failure> {
        let group = required(input, "ModelPackageGroupName")?;
        self.with(|state| {
            let packages = state.model_packages.groups.get(group).into_iter().flatten();
            let members = [
                "ModelPackageArn",
                "ModelPackageGroupName",
                "ModelPackageVersion",
                "ModelPackageDescription",
                "ModelPackageStatus",
                "ModelApprovalStatus",
                "CreationTime",
            ];
            let summaries = packages.map(|package| {
                let present = members.iter().filter(|member| !package[**member].is_null());
                present.map(|member| ((*member).to_owned(), package[*member].clone())).collect::<Value>()
            });
            Ok(json!({ "ModelPackageSummaryList": summaries.collect::<Vec<_>>() }))
        })
    }
}
