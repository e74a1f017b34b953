//! Every event to what it asks for.

use std::{collections::BTreeMap, sync::Arc};

use cloud::{
    release_cache::ReleaseCache,
    s3_event::{Created, CreatedObject, SqsMessage},
};
use domain::{DomainError, ModelName, lake};
use feature_batch::Options;
use features::{LookupTable, Plan, Transformer};
use jiff::Timestamp;
use lambda_runtime::tracing::error;
use serde_json::{Value, json};

use crate::{
    BatchStore, BatchTransformError, Config, ObjectOutcome, TransformCommand, Trigger, answer, handler::PATIENCE,
    parse_event, transform_object,
};

/// What a warm function keeps.
pub struct Service<S> {
    config: Config,
    store: Arc<S>,
    releases: ReleaseCache<S, Transformer, LookupTable>,
}

impl<S: BatchStore + Clone> Service<S> {
    /// A function over the lake.
    pub fn new(config: Config, store: S, releases: ReleaseCache<S, Transformer, LookupTable>) -> Self {
        Self { config, store: Arc::new(store), releases }
    }

    /// Handles one event, and answers: HTTP with an HTTP answer, SQS with the messages that failed, else with what
    /// became of each object.
    ///
    /// # Errors
    /// The event is unknown, or an object of it failed: Lambda then repeats it. HTTP requests and messages of SQS never
    /// fail as a whole.
    pub async fn handle(&self, event: &Value, now: Timestamp) -> Result<Value, BatchTransformError> {
        let result = match parse_event(event) {
            Ok(Trigger::Http(event)) => {
                let answer = answer(&self.releases, &self.config.default_model, &event, now).await;
                return Ok(serde_json::to_value(answer).unwrap_or_default());
            }
            Ok(Trigger::Created(created)) => self.created(created).await,
            Ok(Trigger::Messages(messages)) => return self.messages(messages).await,
            Ok(Trigger::Transform(command)) => self.command(&command).await.map(|outcome| json!([outcome])),
            Err(error) => Err(error),
        };
        match result {
            Ok(outcomes) => Ok(json!({"transformed": outcomes})),
            Err(error) => {
                error!(reason = error.reason(), detail = %error, "event failed");
                Err(error)
            }
        }
    }

    /// All objects of an event; the first failure is told once all were tried.
    async fn created(&self, created: Vec<Created>) -> Result<Value, BatchTransformError> {
        let (mut outcomes, mut failure) = (Vec::new(), None);
        for object in created {
            match self.object(object).await {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => _ = failure.get_or_insert(error),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(json!(outcomes)),
        }
    }

    /// Each message by itself. One that names no raw object is logged and acknowledged: it would only come back. One
    /// whose object failed goes back to the queue, and after the queue's last try to the dead-letter queue.
    async fn messages(&self, messages: Vec<SqsMessage>) -> Result<Value, BatchTransformError> {
        let mut failed = Vec::new();
        for SqsMessage { id, body: _, objects } in messages {
            let mut failure = None;
            for object in objects {
                let Err(error) = self.object(object).await else { continue };
                error!(message_id = id, reason = error.reason(), detail = %error, "message failed");
                if !error.is_of_the_event() {
                    failure.get_or_insert(error);
                }
            }
            match failure {
                // An empty identifier would make SQS repeat the whole batch without saying why.
                Some(error) if id.is_empty() => return Err(error),
                Some(_) => failed.push(json!({"itemIdentifier": id})),
                None => {}
            }
        }
        Ok(json!({"batchItemFailures": failed}))
    }

    async fn object(&self, object: Created) -> Result<ObjectOutcome, BatchTransformError> {
        let CreatedObject { bucket, key, .. } = object?;
        if bucket != self.config.lake_bucket {
            return Err(BatchTransformError::ForeignBucket {
                found: bucket,
                expected: self.config.lake_bucket.clone(),
            });
        }
        let model = lake::raw_model(key.as_str())?;
        let plan = self.released_plan(&model).await?;
        transform_object(&self.store, &plan, &model, key.as_str(), self.config.batch_options()).await
    }

    async fn command(&self, command: &TransformCommand) -> Result<ObjectOutcome, BatchTransformError> {
        let TransformCommand { model, input, format, spec, lookups } = command;
        if lake::raw_model(input)? != *model {
            return Err(DomainError::InvalidKey { key: input.clone(), expected: "raw/<the model>/…" }.into());
        }
        let plan = match spec {
            None => self.released_plan(model).await?,
            Some(key) => self.trial_plan(model, key, lookups).await?,
        };
        let options = self.config.batch_options();
        let options = Options { format: format.map_or(options.format, Into::into), ..options };
        transform_object(&self.store, &plan, model, input, options).await
    }

    async fn released_plan(&self, model: &ModelName) -> Result<Arc<Plan>, BatchTransformError> {
        Ok(Arc::new(self.releases.get(model, PATIENCE).await?.prepared.plan().clone()))
    }

    async fn trial_plan(
        &self,
        model: &ModelName,
        key: &str,
        lookups: &BTreeMap<String, String>,
    ) -> Result<Arc<Plan>, BatchTransformError> {
        if !key.starts_with(&lake::trial_spec_prefix(model)) {
            let expected = "datasets/<the model>/specs/….toml";
            return Err(DomainError::InvalidKey { key: key.to_owned(), expected }.into());
        }
        let document = self.store.get_object(key, None).await?.found();
        let document = document.ok_or_else(|| BatchTransformError::SpecMissing(key.to_owned()))?;
        let tables = self.releases.tables(model, lookups).await?;
        let text = String::from_utf8_lossy(&document.bytes);
        Ok(Arc::new(Plan::compile_with(key, &text, &tables.into_iter().collect())?))
    }
}
