//! What Google says, in the port's words.

use std::{error::Error as _, fmt::Write};

use google_cloud_bigquery_v2::Error;
use google_cloud_gax::error::rpc::Code;
use warehouse::WarehouseError;

/// An error with its causes.
fn chain(error: &Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_told = cause.to_string();
        if !told.contains(&cause_told) {
            _ = write!(told, ": {cause_told}");
        }
        source = cause.source();
    }
    told
}

/// What the service said, without the client's words around it.
fn message(error: &Error) -> String {
    error.status().map(|status| status.message.clone()).filter(|told| !told.is_empty()).unwrap_or_else(|| chain(error))
}

/// A call of the REST API that failed.
pub(crate) fn of_call(error: &Error) -> WarehouseError {
    if error.is_authentication() {
        return credentials(error);
    }
    let (status, told) = (error.http_status_code(), message(error));
    let code = error.status().map(|status| status.code);
    // "Quota exceeded: …", "Exceeded rate limits: …": the reason itself does not come through the client.
    let low = told.to_lowercase();
    let is_limit = low.contains("quota exceeded") || low.contains("rate limit");
    match (status, code) {
        (Some(401), _) | (_, Some(Code::Unauthenticated)) => WarehouseError::Credentials(told),
        (Some(403), _) if is_limit => WarehouseError::Unavailable(told),
        (Some(403), _) | (_, Some(Code::PermissionDenied)) => WarehouseError::Refused(format!(
            "{told}; the caller needs the roles BigQuery Job User and Read Session User in the project, Data Viewer on the \
             tables, and Data Editor on the staging dataset"
        )),
        (Some(400), _) | (_, Some(Code::InvalidArgument)) => WarehouseError::InvalidQuery(told),
        (Some(404), _) | (_, Some(Code::NotFound)) => WarehouseError::InvalidQuery(format!("not found: {told}")),
        _ => WarehouseError::Unavailable(told),
    }
}

/// A call about a read session that failed.
pub(crate) fn of_read(error: &Error) -> WarehouseError {
    let told = message(error);
    let code = error.status().map(|status| status.code);
    let expired = told.to_lowercase().contains("expired");
    match code {
        _ if error.is_authentication() => credentials(error),
        Some(Code::NotFound) => WarehouseError::SessionExpired(told),
        Some(Code::FailedPrecondition | Code::InvalidArgument) if expired => WarehouseError::SessionExpired(told),
        Some(Code::OutOfRange | Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented) => {
            WarehouseError::Unreadable(told)
        }
        _ => of_call(error),
    }
}

/// No token: what Google's token service said, and what to mend.
fn credentials(error: &Error) -> WarehouseError {
    let told = chain(error);
    let low = told.to_lowercase();
    let advice = if low.contains("expired") {
        "the AWS credentials have expired: take new ones (in Lambda they are always fresh: look at the clock)"
    } else if low.contains("invalid_target") || low.contains("audience") {
        "the audience names no workload identity provider that trusts this AWS account: compare GOOGLE_WORKLOAD_IDENTITY with \
         `gcloud iam workload-identity-pools providers describe`; it has the project's number, not its id"
    } else if low.contains("unauthorized_client") || low.contains("attribute condition") {
        "the provider's attribute condition does not let this AWS role in: compare it with the role's ARN"
    } else if low.contains("permission") || low.contains("403") {
        "the identity may not act as the service account: give it the role Workload Identity User on it"
    } else {
        "see the words above; nothing was read"
    };
    WarehouseError::Credentials(format!("{told}\n{advice}"))
}
