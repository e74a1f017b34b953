//! Endpoints: variants that serve, and how they change.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    SageMaker, State,
    container::Serving,
    control_plane::{missing, name_in, required},
    errors::Failure,
    now_s,
};

/// One variant in service.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) weight: f64,
    pub(crate) model: Value,
    pub(crate) serving: Serving,
    /// Its container has ended by itself and is being started anew.
    pub(crate) reviving: bool,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    config: String,
    status: &'static str,
    failure: Option<String>,
    created_s: f64,
    modified_s: f64,
    pub(crate) variants: Vec<Variant>,
    /// Counts requests, to spread them by weight.
    pub(crate) turn: u64,
}

impl Endpoint {
    pub(crate) fn is_changing(&self) -> bool {
        matches!(self.status, "Creating" | "Updating" | "Deleting")
    }
}

impl SageMaker {
    pub(super) fn create_endpoint(self: &Arc<Self>, input: &Value) -> Result<Value, Failure> {
        let name = name_in(input, "EndpointName")?.to_owned();
        let config = required(input, "EndpointConfigName")?.to_owned();
        let arn = self.arn("endpoint", &name);
        let wanted = self.wanted_variants(&config)?;
        self.with(|state| {
            if state.endpoints.contains_key(&name) {
                return Err(Failure::validation(format!("Cannot create already existing endpoint \"{arn}\".")));
            }
            let endpoint = Endpoint {
                config: config.clone(),
                status: "Creating",
                failure: None,
                created_s: now_s(),
                modified_s: now_s(),
                variants: Vec::new(),
                turn: 0,
            };
            state.endpoints.insert(name.clone(), endpoint);
            Ok(())
        })?;
        self.change(name, config, wanted);
        Ok(json!({ "EndpointArn": arn }))
    }

    pub(super) fn update_endpoint(self: &Arc<Self>, input: &Value) -> Result<Value, Failure> {
        let name = required(input, "EndpointName")?.to_owned();
        let config = required(input, "EndpointConfigName")?.to_owned();
        let arn = self.arn("endpoint", &name);
        let wanted = self.wanted_variants(&config)?;
        self.with(|state| {
            let endpoint = state.endpoints.get_mut(&name).ok_or_else(|| missing("endpoint", &arn))?;
            if endpoint.is_changing() {
                return Err(Failure::validation(format!("Cannot update in-progress endpoint \"{arn}\".")));
            }
            endpoint.status = "Updating";
            endpoint.modified_s = now_s();
            Ok(())
        })?;
        self.change(name, config, wanted);
        Ok(json!({ "EndpointArn": arn }))
    }

    /// Name, weight and model of each variant of a configuration.
    fn wanted_variants(&self, config: &str) -> Result<Vec<(String, f64, Value)>, Failure> {
        self.with(|state| {
            let found = state.endpoint_configs.get(config);
            let found = found.ok_or_else(|| missing("endpoint configuration", &self.arn("endpoint-config", config)))?;
            let variants = found["ProductionVariants"].as_array().into_iter().flatten();
            variants
                .map(|variant| {
                    let model = variant["ModelName"].as_str().unwrap_or_default();
                    let model =
                        state.models.get(model).cloned().ok_or_else(|| missing("model", &self.arn("model", model)))?;
                    let name = variant["VariantName"].as_str().unwrap_or_default().to_owned();
                    Ok((name, variant["InitialVariantWeight"].as_f64().unwrap_or(1.0), model))
                })
                .collect()
        })
    }

    /// Starts the new variants, and only when all serve lets them take over from the old.
    fn change(self: &Arc<Self>, name: String, config: String, wanted: Vec<(String, f64, Value)>) {
        let sagemaker = self.clone();
        tokio::spawn(async move {
            let starts = wanted.iter().map(|(variant, weight, model)| {
                let (sagemaker, name) = (&sagemaker, &name);
                async move {
                    let serving = sagemaker.serve_model(model, name, variant).await?;
                    let (name, model) = (variant.clone(), model.clone());
                    Ok::<_, String>(Variant { name, weight: *weight, model, serving, reviving: false })
                }
            });
            let (mut started, mut failures) = (Vec::new(), Vec::new());
            for result in futures::future::join_all(starts).await {
                match result {
                    Ok(variant) => started.push(variant),
                    Err(failure) => failures.push(failure),
                }
            }
            let failed = !failures.is_empty();
            let leftover = sagemaker.with(|state| {
                let Some(endpoint) = state.endpoints.get_mut(&name) else { return started };
                endpoint.modified_s = now_s();
                if failed {
                    let creating = endpoint.status == "Creating";
                    // A failed update leaves the old variants in service.
                    endpoint.status = if creating { "Failed" } else { "InService" };
                    endpoint.failure = Some(failures.join("; "));
                    return started;
                }
                endpoint.status = "InService";
                endpoint.failure = None;
                endpoint.config = config;
                std::mem::replace(&mut endpoint.variants, started)
            });
            stop(leftover).await;
        });
    }

    pub(super) fn update_weights(&self, input: &Value) -> Result<Value, Failure> {
        let name = required(input, "EndpointName")?;
        let arn = self.arn("endpoint", name);
        self.with(|state| {
            let endpoint = state.endpoints.get_mut(name).ok_or_else(|| missing("endpoint", &arn))?;
            if endpoint.status != "InService" {
                return Err(Failure::validation(format!(
                    "Cannot update endpoint \"{arn}\": it is {}.",
                    endpoint.status
                )));
            }
            for desired in input["DesiredWeightsAndCapacities"].as_array().into_iter().flatten() {
                let variant_name = required(desired, "VariantName")?;
                let variant = endpoint.variants.iter_mut().find(|variant| variant.name == variant_name);
                let variant =
                    variant.ok_or_else(|| Failure::validation(format!("Could not find variant {variant_name}.")))?;
                if let Some(weight) = desired["DesiredWeight"].as_f64().filter(|weight| *weight >= 0.0) {
                    variant.weight = weight;
                }
            }
            endpoint.modified_s = now_s();
            Ok(json!({ "EndpointArn": arn }))
        })
    }

    pub(super) fn describe_endpoint(&self, input: &Value) -> Result<Value, Failure> {
        let name = required(input, "EndpointName")?;
        let arn = self.arn("endpoint", name);
        self.with(|state| {
            let endpoint = state.endpoints.get(name).ok_or_else(|| missing("endpoint", &arn))?;
            let variants = endpoint.variants.iter().map(|variant| {
                json!({
                    "VariantName": variant.name, "CurrentWeight": variant.weight, "DesiredWeight": variant.weight,
                    "CurrentInstanceCount": 1, "DesiredInstanceCount": 1,
                })
            });
            let mut description = json!({
                "EndpointName": name, "EndpointArn": arn, "EndpointConfigName": endpoint.config,
                "EndpointStatus": endpoint.status, "CreationTime": endpoint.created_s,
                "LastModifiedTime": endpoint.modified_s,
            });
            if !endpoint.variants.is_empty() {
                description["ProductionVariants"] = variants.collect();
            }
            if let Some(failure) = &endpoint.failure {
                description["FailureReason"] = failure.clone().into();
            }
            Ok(description)
        })
    }

    pub(super) fn delete_endpoint(&self, input: &Value) -> Result<Value, Failure> {
        let name = required(input, "EndpointName")?;
        let arn = self.arn("endpoint", name);
        let endpoint = self.with(|state| match state.endpoints.get(name) {
            None => Err(missing("endpoint", &arn)),
            Some(endpoint) if endpoint.is_changing() => {
                Err(Failure::validation(format!("Cannot update in-progress endpoint \"{arn}\".")))
            }
            Some(_) => Ok(state.endpoints.remove(name)),
        })?;
        if let Some(endpoint) = endpoint {
            tokio::spawn(stop(endpoint.variants));
        }
        Ok(json!({}))
    }

    pub(super) fn list_endpoints(&self) -> Value {
        self.with(|state| {
            let endpoints = state.endpoints.iter().map(|(name, endpoint)| {
                json!({
                    "EndpointName": name, "EndpointArn": self.arn("endpoint", name),
                    "EndpointStatus": endpoint.status, "CreationTime": endpoint.created_s,
                    "LastModifiedTime": endpoint.modified_s,
                })
            });
            json!({ "Endpoints": endpoints.collect::<Vec<_>>() })
        })
    }

    /// Starts a variant's container anew, after it has ended by itself.
    pub(super) fn revive(self: &Arc<Self>, endpoint: &str, variant: &str, ended: u32) {
        let (sagemaker, endpoint, variant) = (self.clone(), endpoint.to_owned(), variant.to_owned());
        let Some(model) = self.with(|state| {
            let place = state.place(&endpoint, &variant, ended).filter(|place| !place.reviving)?;
            place.reviving = true;
            Some(place.model.clone())
        }) else {
            return;
        };
        tokio::spawn(async move {
            let started = sagemaker.serve_model(&model, &endpoint, &variant).await;
            let unused = sagemaker.with(|state| match (state.place(&endpoint, &variant, ended), started) {
                (Some(place), Ok(serving)) => {
                    place.reviving = false;
                    Some(std::mem::replace(&mut place.serving, serving))
                }
                (Some(place), Err(problem)) => {
                    place.reviving = false;
                    tracing::warn!(endpoint, variant, problem, "a container cannot be started anew");
                    None
                }
                (None, started) => started.ok(),
            });
            if let Some(serving) = unused {
                serving.end(std::time::Duration::ZERO).await;
            }
        });
    }
}

impl State {
    /// The variant whose container is the process `id`.
    fn place(&mut self, endpoint: &str, variant: &str, id: u32) -> Option<&mut Variant> {
        let variants = &mut self.endpoints.get_mut(endpoint)?.variants;
        variants.iter_mut().find(|place| place.name == variant && place.serving.process.id == id)
    }
}

async fn stop(variants: Vec<Variant>) {
    let stops = variants.iter().map(|variant| variant.serving.drain(std::time::Duration::from_secs(5)));
    futures::future::join_all(stops).await;
}
