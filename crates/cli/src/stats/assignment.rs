//! Which arm a unit is assigned to, by GrowthBook's rules, and the buckets of Optimizely and flagd.

use experiments::{
    BucketRange, HashVersion, Namespace, bucket_ranges, choose_variation, equal_weights, flagd_variant, hash,
    optimizely_bucket,
};
use serde_json::{Map, Value, json};

use super::{
    case::{Case, Refusal, numbers_of, whole},
    fields,
};

/// A kind, and its fields in the order that the conformance file's arrays have.
const KINDS: [(&str, &[&str]); 8] = [
    ("hash", &["seed", "value", "version"]),
    ("getBucketRange", &["name", "arguments"]),
    ("chooseVariation", &["name", "n", "ranges"]),
    ("inNamespace", &["name", "id", "namespace"]),
    ("getEqualWeights", &["numVariations"]),
    ("run", &["name", "context", "experiment"]),
    ("optimizely", &["bucketing_id", "experiment_id"]),
    ("flagd_fractional", &["key", "weights"]),
];

/// What of an experiment is understood. The rest of the SDK (targeting, overrides, sticky buckets, …) is not assignment.
const EXPERIMENT_FIELDS: [&str; 10] =
    ["key", "seed", "variations", "weights", "coverage", "ranges", "namespace", "hashVersion", "hashAttribute", "name"];

pub(super) fn result(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let names = KINDS.map(|(name, _)| name);
    let kind = if case.has("kind") { case.text("kind")? } else { case.text("section")? };
    let Some((_, order)) = KINDS.iter().find(|(name, _)| *name == kind) else {
        return Err(Refusal::unknown_kind(kind, &names));
    };
    if !case.has("case") {
        return by_kind(kind, case);
    }
    // An array of the conformance file: its first values are the inputs; what follows is what is expected.
    let named = order.iter().map(|name| (*name).to_owned()).zip(case.array("case")?.iter().cloned()).collect();
    by_kind(kind, Case::new(&named))
}

fn by_kind(kind: &str, case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    match kind {
        "hash" => {
            // A version that the spec does not define has no hash.
            let version = HashVersion::try_from(case.count("version")?).ok();
            let (seed, value) = (case.text("seed")?, case.text("value")?);
            Ok(fields(json!({ "hash": version.map(|version| hash(seed, value, version)) })))
        }
        "getBucketRange" => bucket_range(case),
        "chooseVariation" => {
            let variation = choose_variation(case.number("n")?, ranges(case.array("ranges")?)?);
            Ok(fields(json!({ "variation": index_or_minus_one(variation) })))
        }
        "inNamespace" => {
            let namespace = namespace(case.array("namespace")?)?;
            Ok(fields(json!({ "inNamespace": namespace.contains(case.text("id")?) })))
        }
        "getEqualWeights" => {
            // The spec's answer to a negative number of arms is the one to none.
            let count = whole(case.number("numVariations")?.max(0.0)).filter(|count| *count <= 10_000);
            let count = count.ok_or_else(|| Refusal::new("out_of_range", "`numVariations` must be at most 10000"))?;
            Ok(fields(json!({ "weights": equal_weights(count as usize) })))
        }
        "run" => run(case),
        "optimizely" => {
            let bucket = optimizely_bucket(case.text("bucketing_id")?, case.text("experiment_id")?);
            Ok(fields(json!({ "bucket": bucket })))
        }
        _ => {
            let weights: Option<Vec<u32>> = case
                .numbers("weights")?
                .into_iter()
                .map(|weight| whole(weight).and_then(|weight| u32::try_from(weight).ok()))
                .collect();
            let weights = weights.ok_or_else(|| Refusal::new("wrong_type", "`weights` must be whole numbers"))?;
            Ok(fields(json!({ "variant": flagd_variant(case.text("key")?, &weights) })))
        }
    }
}

fn index_or_minus_one(index: Option<usize>) -> i64 {
    index.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1)
}

/// `numVariations`, `coverage` and `weights`, by name or as the array `arguments`.
fn bucket_range(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    if case.has("arguments") {
        let names = ["numVariations", "coverage", "weights"].map(str::to_owned);
        let named = names.into_iter().zip(case.array("arguments")?.iter().cloned()).collect();
        return bucket_range(Case::new(&named));
    }
    let count = case.count("numVariations")?;
    if count > 10_000 {
        return Err(Refusal::new("out_of_range", "`numVariations` must be at most 10000"));
    }
    let weights = if case.has("weights") { Some(case.numbers("weights")?) } else { None };
    let ranges = bucket_ranges(count as usize, case.number_or("coverage", 1.0)?, weights.as_deref());
    Ok(fields(json!({ "ranges": ranges.iter().map(|range| [range.start, range.end]).collect::<Vec<_>>() })))
}

fn ranges(values: &[Value]) -> Result<Vec<BucketRange>, Refusal> {
    let wrong = || Refusal::new("wrong_type", "`ranges` must be [start, end] pairs");
    let range = |value: &Value| match numbers_of(value.as_array().ok_or_else(wrong)?, "ranges")?.as_slice() {
        [start, end] => Ok(BucketRange { start: *start, end: *end }),
        _ => Err(wrong()),
    };
    values.iter().map(range).collect()
}

fn namespace(values: &[Value]) -> Result<Namespace, Refusal> {
    let wrong = || Refusal::new("wrong_type", "`namespace` must be [id, start, end]");
    match values {
        [Value::String(id), start, end] => {
            let range = BucketRange { start: start.as_f64().ok_or_else(wrong)?, end: end.as_f64().ok_or_else(wrong)? };
            Ok(Namespace { id: id.clone(), range })
        }
        _ => Err(wrong()),
    }
}

/// A whole experiment: namespace, hash, ranges.
fn run(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let (context, experiment) = (case.object("context")?, case.object("experiment")?);
    let unsupported = |field: &str| {
        Refusal::new(
            "unsupported_field",
            format!("`{field}` belongs to the SDK's targeting and overrides, not to assignment"),
        )
    };
    if let Some((field, _)) = experiment.entries().find(|(field, _)| !EXPERIMENT_FIELDS.contains(&field.as_str())) {
        return Err(unsupported(field));
    }
    if let Some((field, _)) = context.entries().find(|(field, _)| *field != "attributes") {
        return Err(unsupported(field));
    }
    let variations = experiment.array("variations")?;
    let attribute = if experiment.has("hashAttribute") { experiment.text("hashAttribute")? } else { "id" };
    let attributes = if context.has("attributes") { Some(context.object("attributes")?) } else { None };
    // A number is hashed as it is written; 0 is as good as nothing to the SDK, and other values identify nobody.
    let unit = match attributes.and_then(|attributes| attributes.get(attribute)) {
        Some(Value::String(unit)) => unit.clone(),
        Some(Value::Number(unit)) if unit.as_f64() != Some(0.0) => unit.to_string(),
        _ => String::new(),
    };
    let seed = if experiment.has("seed") { experiment.text("seed")? } else { experiment.text("key")? };
    let version = HashVersion::try_from(experiment.count_or("hashVersion", 1)?).ok();
    let ranges = if experiment.has("ranges") {
        ranges(experiment.array("ranges")?)?
    } else {
        let weights = if experiment.has("weights") { Some(experiment.numbers("weights")?) } else { None };
        bucket_ranges(variations.len(), experiment.number_or("coverage", 1.0)?, weights.as_deref())
    };
    let included = match experiment.get("namespace") {
        Some(_) => namespace(experiment.array("namespace")?)?.contains(&unit),
        None => true,
    };
    let arm = version
        .filter(|_| included && !unit.is_empty() && variations.len() > 1)
        .and_then(|version| choose_variation(hash(seed, &unit, version), ranges))
        .filter(|arm| *arm < variations.len());
    Ok(fields(json!({
        "value": variations.get(arm.unwrap_or(0)),
        "inExperiment": arm.is_some(),
        "hashUsed": arm.is_some(),
        "variation": index_or_minus_one(arm),
    })))
}
