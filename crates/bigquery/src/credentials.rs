//! In whose name BigQuery is asked.

use std::{fmt, path::PathBuf, str::FromStr};

use cloud::config::{ConfigError, Environment};
use google_cloud_auth::credentials::{Credentials, anonymous, external_account, service_account, user_account};
use serde_json::{Value, json};
use warehouse::WarehouseError;

const SCOPE: &str = "https://www.googleapis.com/auth/bigquery";
/// How AWS's STS tells who asks. The region is filled in by Google's client.
const CALLER_IDENTITY: &str = "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15";
const IDENTITY: &str = "GOOGLE_WORKLOAD_IDENTITY";

/// Where credentials come from.
#[derive(Clone, PartialEq, Eq)]
pub enum CredentialsSource {
    /// Nobody's: for endpoints on this machine.
    Anonymous,
    /// `GOOGLE_WORKLOAD_IDENTITY`: federation from AWS. No secret.
    WorkloadIdentity(WorkloadIdentity),
    /// `GOOGLE_APPLICATION_CREDENTIALS`: a file with an external account, a service account's key, or a user's token.
    File(PathBuf),
}

/// An identity that Google takes AWS's word for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadIdentity {
    /// `//iam.googleapis.com/projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>`.
    pub audience: String,
    /// The service account to act as, where the pool's principal has no rights itself: an address.
    pub service_account: Option<String>,
    /// Google's token service.
    pub token_url: String,
}

impl FromStr for WorkloadIdentity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (audience, service_account) = match text.split_once(',') {
            Some((audience, account)) => (audience.trim(), Some(account.trim())),
            None => (text.trim(), None),
        };
        let parts: Vec<&str> = audience.split('/').collect();
        let fits = matches!(
            parts.as_slice(),
            ["", "", "iam.googleapis.com", "projects", number, "locations", "global", "workloadIdentityPools", _, "providers", _]
                if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        );
        if !fits {
            return Err("expected //iam.googleapis.com/projects/<project number>/locations/global/\
                        workloadIdentityPools/<pool>/providers/<provider>, and perhaps a comma and a service account \
                        (`gcloud iam workload-identity-pools providers describe` tells the name)"
                .to_owned());
        }
        if service_account.is_some_and(|account| !account.contains('@')) {
            return Err("after the comma comes a service account's address".to_owned());
        }
        Ok(Self {
            audience: audience.to_owned(),
            service_account: service_account.map(str::to_owned),
            token_url: "https://sts.googleapis.com/v1/token".to_owned(),
        })
    }
}

impl WorkloadIdentity {
    /// As Google's client takes it. Without an IMDS address: with one it would ask IMDS first, which Lambda does not have.
    fn document(&self) -> Value {
        let mut document = json!({
            "type": "external_account",
            "audience": self.audience,
            "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
            "token_url": self.token_url,
            "credential_source": {"environment_id": "aws1", "regional_cred_verification_url": CALLER_IDENTITY},
        });
        if let Some(account) = &self.service_account {
            document["service_account_impersonation_url"] = format!(
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
            )
            .into();
        }
        document
    }
}

impl fmt::Debug for CredentialsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::WorkloadIdentity(identity) => f.debug_tuple("WorkloadIdentity").field(&identity.audience).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl CredentialsSource {
    pub(crate) fn from_environment(
        environment: &Environment<'_>,
        endpoints: [&Option<String>; 2],
    ) -> Result<Self, ConfigError> {
        if let Some(identity) = environment.optional(IDENTITY)? {
            return Ok(Self::WorkloadIdentity(identity));
        }
        if let Some(file) = environment.optional("GOOGLE_APPLICATION_CREDENTIALS")? {
            return Ok(Self::File(file));
        }
        // Nobody's word is worth anything to Google, and no token belongs on a wire that anyone can read.
        if endpoints.iter().all(|endpoint| endpoint.as_ref().is_some_and(|url| url.starts_with("http://"))) {
            return Ok(Self::Anonymous);
        }
        Err(ConfigError::Missing("GOOGLE_WORKLOAD_IDENTITY (or GOOGLE_APPLICATION_CREDENTIALS)"))
    }

    /// Builds them. Nothing is asked yet.
    ///
    /// # Errors
    /// The file cannot be read or is none, or AWS's credentials are not in the environment.
    pub(crate) fn build(&self) -> Result<Credentials, WarehouseError> {
        match self {
            Self::Anonymous => Ok(anonymous::Builder::new().build()),
            Self::WorkloadIdentity(identity) => external(identity.document()),
            Self::File(path) => {
                let told = |why: String| WarehouseError::Credentials(format!("{}: {why}", path.display()));
                let text = std::fs::read(path).map_err(|error| told(error.to_string()))?;
                // The text of a parser's error may quote a secret: only the place is told.
                let document: Value = serde_json::from_slice(&text)
                    .map_err(|error| told(format!("it is no JSON (line {})", error.line())))?;
                let failed = |_| told("a field is missing or of another form; download it again".to_owned());
                match document["type"].as_str() {
                    Some("external_account") => external(document),
                    Some("service_account") => {
                        let access = service_account::AccessSpecifier::from_scopes([SCOPE]);
                        service_account::Builder::new(document).with_access_specifier(access).build().map_err(failed)
                    }
                    Some("authorized_user") => user_account::Builder::new(document).build().map_err(failed),
                    other => Err(told(format!(
                        "its type is {other:?}; expected external_account, service_account or authorized_user"
                    ))),
                }
            }
        }
    }
}

fn external(mut document: Value) -> Result<Credentials, WarehouseError> {
    let source = &mut document["credential_source"];
    let is_aws = source["environment_id"].as_str().is_some_and(|id| id.starts_with("aws"));
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if is_aws {
        let in_environment = set("AWS_ACCESS_KEY_ID") && set("AWS_SECRET_ACCESS_KEY");
        if in_environment {
            // Where the environment has them, IMDS must not be asked first: Lambda has none.
            if let Some(source) = source.as_object_mut() {
                source.remove("imdsv2_session_token_url");
            }
        } else if source["url"].is_null() {
            return Err(WarehouseError::Credentials(
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, so there is no AWS identity to show to Google: in \
                 Lambda, give the function a role; on a laptop, run `eval \"$(aws configure export-credentials --format env)\"`"
                    .to_owned(),
            ));
        }
        if !set("AWS_REGION") && !set("AWS_DEFAULT_REGION") && source["region_url"].is_null() {
            return Err(WarehouseError::Credentials(
                "AWS_REGION is not set: the identity is signed for a region's STS".to_owned(),
            ));
        }
    }
    external_account::Builder::new(document).with_scopes([SCOPE]).build().map_err(|_| {
        WarehouseError::Credentials("the external account is incomplete; make its configuration again".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIENCE: &str =
        "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/aws/providers/lambda";

    fn source(table: &[(&str, &str)], endpoint: Option<&str>) -> Result<CredentialsSource, ConfigError> {
        let endpoint = endpoint.map(str::to_owned);
        CredentialsSource::from_environment(&Environment::of_table(table), [&endpoint, &endpoint])
    }

    #[test]
    fn nobody_asks_google() {
        assert_eq!(source(&[], Some("http://127.0.0.1:9")), Ok(CredentialsSource::Anonymous));
        for endpoint in [None, Some("https://bigquery.googleapis.com")] {
            assert!(source(&[], endpoint).unwrap_err().to_string().contains("GOOGLE_WORKLOAD_IDENTITY"));
        }
    }

    #[test]
    fn an_identity_is_an_audience_and_perhaps_an_account() {
        let with_account = format!("{AUDIENCE}, x@y.iam.gserviceaccount.com");
        let Ok(CredentialsSource::WorkloadIdentity(identity)) = source(&[(IDENTITY, &with_account)], None) else {
            panic!()
        };
        let document = identity.document();
        assert_eq!(document["audience"], AUDIENCE);
        assert!(document["service_account_impersonation_url"].as_str().unwrap().contains("x@y.iam"));
        assert!(document["credential_source"]["imdsv2_session_token_url"].is_null());
        for wrong in [
            "https://iam.googleapis.com/projects/123",
            &AUDIENCE.replace("123", "my-project"),
            &format!("{AUDIENCE},me"),
        ] {
            assert!(
                source(&[(IDENTITY, wrong)], None).unwrap_err().to_string().contains("expected")
                    || wrong.ends_with("me")
            );
        }
    }

    #[test]
    fn a_file_that_is_none_is_told_without_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        for text in ["{\"private_key\": \"hush", "{\"type\": \"service_account\", \"private_key\": \"hush\"}", "{}"] {
            std::fs::write(&path, text).unwrap();
            let error = CredentialsSource::File(path.clone()).build().unwrap_err();
            assert_eq!(error.reason(), "warehouse_credentials");
            assert!(error.to_string().contains("key.json") && !error.to_string().contains("hush"), "{error}");
        }
    }
}
