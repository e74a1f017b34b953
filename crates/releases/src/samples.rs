use domain::{Arm, FeatureSpecSource, Limits, ModelName, Release};
use features::Plan;

pub(crate) const SPEC: &str = "name = \"pickup-eta\"\n[prediction]\nunit = \"s\"\n[inputs]\nlat = { type = \"float\", min = 40, \
                               max = 42 }\ncar_lat = { type = \"float\", scope = \"candidate\" }\n[features]\nd = \"car_lat - \
                               lat\"\n[model]\noutputs = [\"d\", \"lat\"]\n[fallback]\nexpression = \"d\"\ndefault = 1\n";

pub(crate) fn model() -> ModelName {
    "pickup-eta".parse().unwrap()
}

/// A release that is right, and another for each number.
pub(crate) fn release(number: u32) -> Release {
    let hash = Plan::compile("t", SPEC).unwrap().hash().to_owned();
    Release::new(
        model(),
        "2026-01-01T00:00:00Z".parse().unwrap(),
        FeatureSpecSource { hash, toml: SPEC.to_owned() },
        vec![Arm {
            name: "control".to_owned(),
            endpoint: "pickup-eta".to_owned(),
            variant: "shallow".to_owned(),
            model_version: number.to_string(),
        }],
        Limits { max_candidates: 200, default_deadline_ms: 500 },
    )
}
