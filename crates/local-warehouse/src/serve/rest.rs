//! The routes of the BigQuery API v2.
//! <https://cloud.google.com/bigquery/docs/reference/rest>

use std::sync::Arc;

use axum::{
    Json as JsonBody, Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;

use super::{
    bodies::{Failure, json as answer, no_content},
    datasets, jobs, uploads,
};
use crate::{error::WarehouseError, faults::Fault, warehouse::Inner};

/// BigQuery takes 10 MB of rows at once.
const BODY_LIMIT: usize = 32 << 20;

pub(super) fn router(inner: Arc<Inner>) -> Router {
    let api = Router::new()
        .route("/projects", get(projects))
        .route("/projects/{project}/datasets", get(datasets::list).post(datasets::create))
        .route(
            "/projects/{project}/datasets/{dataset}",
            get(datasets::get).delete(datasets::delete).patch(datasets::update).put(datasets::update),
        )
        .route("/projects/{project}/datasets/{dataset}/tables", get(datasets::list_tables).post(datasets::create_table))
        .route(
            "/projects/{project}/datasets/{dataset}/tables/{table}",
            get(datasets::get_table)
                .delete(datasets::delete_table)
                .patch(datasets::update_table)
                .put(datasets::update_table),
        )
        .route("/projects/{project}/datasets/{dataset}/tables/{table}/data", get(datasets::table_data))
        .route("/projects/{project}/datasets/{dataset}/tables/{table}/insertAll", post(datasets::insert_all))
        .route("/projects/{project}/jobs", get(jobs::list).post(jobs::insert))
        .route("/projects/{project}/jobs/{job}", get(jobs::get))
        .route("/projects/{project}/jobs/{job}/cancel", post(jobs::cancel))
        .route("/projects/{project}/queries", post(jobs::query))
        .route("/projects/{project}/queries/{job}", get(jobs::results));
    let upload = Router::new()
        .route("/projects/{project}/jobs", post(uploads::begin).put(uploads::resume))
        .layer(DefaultBodyLimit::disable());
    let faulty = Router::new()
        .nest("/bigquery/v2", api)
        .nest("/upload/bigquery/v2", upload.clone())
        .nest("/resumable/upload/bigquery/v2", upload)
        .layer(from_fn_with_state(inner.clone(), faults));
    Router::new()
        .merge(faulty)
        .route("/_faults", get(list_faults).put(add_fault).delete(heal_faults))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(inner)
}

async fn unknown(request: Request) -> Failure {
    Failure(WarehouseError::NotFound(format!(
        "the local warehouse has no {} {}",
        request.method(),
        request.uri().path()
    )))
}

/// An injected fault answers instead.
async fn faults(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    match inner.faults.rest() {
        Some(error) => Failure(error).into_response(),
        None => next.run(request).await,
    }
}

async fn list_faults(State(inner): State<Arc<Inner>>) -> Response {
    answer(&json!({ "faults": inner.faults.list() }))
}

async fn add_fault(State(inner): State<Arc<Inner>>, JsonBody(fault): JsonBody<Fault>) -> Response {
    inner.faults.add(fault);
    no_content()
}

async fn heal_faults(State(inner): State<Arc<Inner>>) -> Response {
    inner.faults.heal();
    no_content()
}

async fn projects(State(inner): State<Arc<Inner>>) -> Response {
    let project = &inner.options.project;
    answer(&json!({
        "kind": "bigquery#projectList",
        "projects": [{ "id": project, "projectReference": { "projectId": project }, "friendlyName": project }],
        "totalItems": 1,
    }))
}
