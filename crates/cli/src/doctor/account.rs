//! What an account has: asked with the credentials and the region that every AWS tool takes. Nothing is written.

use cloud::{aws, object_store::ListObjects, sagemaker_control::SageMakerControl};
use domain::{Release, lake};
use evaluator::{read_evaluations, release_in_force};
use serde_json::json;

use super::{Check, DoctorOptions, Outcome};
use crate::{
    evaluations::now,
    lake::{Lake, LakeOptions},
    model_folder::ModelFolder,
};

const ACCOUNT: &str = "account";
/// The evaluator runs hourly, over hours that have ended.
const OLDEST_EVALUATION_H: i64 = 4;

pub(super) async fn checks(bucket: &str, options: &DoctorOptions) -> Vec<Check> {
    let config = aws::sdk_config().await;
    let Some(region) = config.region() else {
        let mend = "export AWS_REGION=…, or give the profile one";
        return vec![Check::not(Outcome::Missing, ACCOUNT, "region", "none is set", mend)];
    };
    let mut checks = vec![Check::ok(ACCOUNT, "region", region.to_string())];
    let lake = LakeOptions { lake: Some(bucket.to_owned()), dir: options.dir.clone() };
    let lake = match Lake::open(&lake).await {
        Ok(lake) => lake,
        Err(error) => {
            checks.push(Check::not(
                Outcome::Missing,
                ACCOUNT,
                "lake",
                error.to_string(),
                "deploy the stack: docs/tutorial.md",
            ));
            return checks;
        }
    };
    // One small prefix: whether credentials, bucket and key are what they should be.
    if let Err(error) = lake.store.list_objects(lake::RELEASES).await {
        let mend = "check AWS_PROFILE, the bucket's name (the stack's output LakeBucket), s3:ListBucket on it, and kms:Decrypt";
        checks.push(Check::not(Outcome::Missing, ACCOUNT, "lake", error.to_string(), mend));
        return checks;
    }
    checks.push(Check::ok(ACCOUNT, "lake", format!("s3://{bucket} answers")));
    let Ok(model) = ModelFolder::read(options.model.as_deref()) else { return checks };
    match release_in_force(&lake.store, &model.name).await {
        Ok(Some(release)) => {
            let id = release.id().map(|id| id.to_string()).unwrap_or_default();
            checks.push(Check::ok(ACCOUNT, "release", format!("{} of {}", id.get(..12).unwrap_or(&id), model.name)));
            if let Some(sagemaker) = &lake.sagemaker {
                checks.extend(endpoints(&sagemaker.control, &release).await);
            }
        }
        Ok(None) => {
            let detail = format!("none of {} is in force: requests get 404", model.name);
            checks.push(Check::not(Outcome::Missing, ACCOUNT, "release", detail, "mannen release plan, then publish"));
        }
        Err(error) => {
            let mend = "mannen release list tells what is there; mannen release rollback";
            checks.push(Check::not(Outcome::Missing, ACCOUNT, "release", error.to_string(), mend));
        }
    }
    checks.push(match read_evaluations(&lake.store, &model.name, None, None).await {
        Ok(hours) => {
            let last = hours.last().map(|evaluation| evaluation.hour);
            let oldest = domain::Hour::of(now()).plus(-OLDEST_EVALUATION_H);
            match last {
                Some(last) if last >= oldest => Check::ok(ACCOUNT, "evaluation", format!("the last is of {last}")),
                Some(last) => {
                    let mend = "is there traffic? docs/runbook.md#evaluator-error";
                    Check::not(Outcome::Optional, ACCOUNT, "evaluation", format!("the last is of {last}"), mend)
                }
                None => {
                    let mend = "the first comes within an hour of the first archived request";
                    Check::not(Outcome::Optional, ACCOUNT, "evaluation", "there is none yet", mend)
                }
            }
        }
        Err(error) => {
            let mend = "docs/runbook.md#evaluator-error";
            Check::not(Outcome::Missing, ACCOUNT, "evaluation", error.to_string(), mend)
        }
    });
    checks
}

/// Each endpoint that the release asks, once.
async fn endpoints(control: &SageMakerControl, release: &Release) -> Vec<Check> {
    let mut names: Vec<&str> = release.arms.iter().chain(&release.shadows).map(|arm| arm.endpoint.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut checks = Vec::new();
    for name in names {
        let mend = "mend the endpoint, or mannen release rollback; the fallback answers meanwhile";
        let described = control.call("DescribeEndpoint", &json!({ "EndpointName": name })).await;
        checks.push(match described {
            Ok(described) if described["EndpointStatus"] == "InService" => {
                Check::ok(ACCOUNT, "endpoint", format!("{name} is in service"))
            }
            Ok(described) => {
                let detail =
                    format!("{name} is {}", described["EndpointStatus"].as_str().unwrap_or("in no known state"));
                Check::not(Outcome::Missing, ACCOUNT, "endpoint", detail, mend)
            }
            Err(error) => Check::not(Outcome::Missing, ACCOUNT, "endpoint", format!("{name}: {error}"), mend),
        });
    }
    checks
}
