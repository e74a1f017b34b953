//! `GET /openapi.json`.

use std::time::Duration;

use cloud::{
    http::{HttpAnswer, HttpEvent},
    object_store::GetObject,
    release_cache::ReleaseCache,
};
use domain::{ModelName, Problem, ProblemField};
use features::{LookupTable, Transformer};

use crate::Config;

const PATH: &str = "/openapi.json";
/// How long a release is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a request is one for the document.
pub(crate) fn is_asked_for(event: &HttpEvent) -> bool {
    // A stage's name may stand before it.
    event.raw_path.ends_with(PATH) && event.request_context.http.method == "GET"
}

/// The document for the release in force of the model that the query names, or of the default one.
pub(crate) async fn answer<S: GetObject + 'static>(
    releases: &ReleaseCache<S, Transformer, LookupTable>,
    config: &Config,
    event: &HttpEvent,
) -> HttpAnswer {
    let model = match event.query_parameter("model").map(|model| model.parse::<ModelName>()) {
        None => config.default_model.clone(),
        Some(Ok(model)) => model,
        Some(Err(error)) => {
            let field = ProblemField::new("", error.reason(), format!("the query's `model`: {error}"));
            return Problem::invalid_fields(vec![field]).into();
        }
    };
    match releases.get(&model, PATIENCE).await {
        Ok(active) => {
            let document = active.prepared.plan().openapi(Some(active.release.limits.max_candidates));
            HttpAnswer::json(200, document.to_string())
        }
        Err(error) => Problem::from(error).into(),
    }
}
