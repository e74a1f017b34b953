//! What differs between two releases.

use std::collections::BTreeMap;

use domain::Release;
use features::{Change, Plan};
use serde::Serialize;
use serde_json::{Map, Value};

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// Its place: names joined by dots, and arms by their names, as in `arms.control.variant`.
    pub field: String,
    /// What it was; `None` where it is new.
    pub before: Option<Value>,
    /// What it is; `None` where it is gone.
    pub after: Option<Value>,
}

/// What differs between two releases, but for the time at which they were made.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ReleaseDiff {
    /// Fields of the document; of the feature spec only its hash.
    pub fields: Vec<FieldChange>,
    /// What the feature specs do differently.
    pub spec: Vec<Change>,
    /// The specs differ in their layout, comments or descriptions alone.
    pub spec_text_only: bool,
    /// Why the specs cannot be compared part by part.
    pub spec_problem: Option<String>,
}

impl ReleaseDiff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.spec.is_empty() && !self.spec_text_only
    }
}

/// What differs from `before` to `after`.
pub fn diff(before: &Release, after: &Release) -> ReleaseDiff {
    let mut found = ReleaseDiff { fields: field_changes(before, after), ..ReleaseDiff::default() };
    if before.spec.toml == after.spec.toml {
        return found;
    }
    let compile = |release: &Release| Plan::compile("features.toml", &release.spec.toml);
    match (compile(before), compile(after)) {
        (Ok(before), Ok(after)) => found.spec = features::diff(&before, &after),
        (Err(error), _) => found.spec_problem = Some(format!("the spec before: {error}")),
        (_, Err(error)) => found.spec_problem = Some(format!("the spec after: {error}")),
    }
    found.spec_text_only = before.spec.hash == after.spec.hash;
    found
}

fn field_changes(before: &Release, after: &Release) -> Vec<FieldChange> {
    let document = |release: &Release| {
        let mut document = serde_json::to_value(release).unwrap_or_default();
        if let Some(fields) = document.as_object_mut() {
            fields.remove("created_at");
            if let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) {
                spec.remove("toml");
            }
        }
        document
    };
    let mut changes = Vec::new();
    compare("", Some(&document(before)), Some(&document(after)), &mut changes);
    changes
}

fn compare(field: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    if let (Some(one), Some(other)) = (before, after)
        && let (Some(one_members), Some(other_members)) = (members(one), members(other))
    {
        let order = (names(one), names(other));
        // The first arm answers who takes no part, and weights go by position.
        if order.0 != order.1 {
            changes.push(change(&format!("{field} (order)"), order.0.map(Value::from), order.1.map(Value::from)));
        }
        let mut all: Vec<&String> = one_members.keys().chain(other_members.keys()).collect();
        all.sort_unstable();
        all.dedup();
        for name in all {
            let place = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
            compare(&place, one_members.get(name), other_members.get(name), changes);
        }
        return;
    }
    changes.push(change(field, before.cloned(), after.cloned()));
}

fn change(field: &str, before: Option<Value>, after: Option<Value>) -> FieldChange {
    FieldChange { field: field.to_owned(), before, after }
}

/// The members of an object, or the items of a list whose items all have names of their own.
fn members(value: &Value) -> Option<BTreeMap<String, Value>> {
    match value {
        Value::Object(members) => Some(members.iter().map(|(name, value)| (name.clone(), value.clone())).collect()),
        Value::Array(items) if !items.is_empty() => {
            let named: Option<BTreeMap<String, Value>> =
                items.iter().map(|item| Some((name_of(item)?.to_owned(), without_name(item.as_object()?)))).collect();
            named.filter(|named| named.len() == items.len())
        }
        _ => None,
    }
}

fn names(list: &Value) -> Option<Vec<&str>> {
    list.as_array().map(|items| items.iter().filter_map(name_of).collect())
}

fn name_of(item: &Value) -> Option<&str> {
    item.get("name")?.as_str()
}

fn without_name(item: &Map<String, Value>) -> Value {
    let mut item = item.clone();
    item.remove("name");
    Value::Object(item)
}

#[cfg(test)]
mod tests {
    use domain::{Arm, ExperimentPlan};
    use serde_json::json;

    use super::*;
    use crate::samples::release;

    fn fields(before: &Release, after: &Release) -> Vec<(String, Option<Value>, Option<Value>)> {
        let found = diff(before, after);
        found.fields.into_iter().map(|change| (change.field, change.before, change.after)).collect()
    }

    #[test]
    fn fields_are_told_by_their_place() {
        let before = release(1);
        let later = Release { created_at: "2027-01-01T00:00:00Z".parse().unwrap(), ..before.clone() };
        assert!(diff(&before, &later).is_empty(), "the time alone");
        let mut after = before.clone();
        after.limits.default_deadline_ms = 250;
        after.arms[0].model_version = "2".to_owned();
        after.arms.push(Arm { name: "treatment".to_owned(), ..before.arms[0].clone() });
        after.experiment = Some(ExperimentPlan::new("x", vec![0.5, 0.5]));
        let found = fields(&before, &after);
        let named: Vec<&str> = found.iter().map(|(field, ..)| field.as_str()).collect();
        assert_eq!(
            named,
            [
                "arms (order)",
                "arms.control.model_version",
                "arms.treatment",
                "experiment",
                "limits.default_deadline_ms"
            ]
        );
        assert_eq!((&found[1].1, &found[1].2), (&Some(json!("1")), &Some(json!("2"))));
        assert_eq!(found[2].1, None);
    }

    #[test]
    fn arms_that_change_places_are_told() {
        let mut before = release(1);
        before.arms.push(Arm { name: "treatment".to_owned(), ..before.arms[0].clone() });
        let mut after = before.clone();
        after.arms.reverse();
        let found = fields(&before, &after);
        let names = |names: [&str; 2]| Some(json!(names));
        assert_eq!(
            found,
            [("arms (order)".to_owned(), names(["control", "treatment"]), names(["treatment", "control"]))]
        );
    }

    #[test]
    fn specs_are_compared_by_what_they_do() {
        let before = release(1);
        let mut after = before.clone();
        after.spec.toml = format!("# a comment\n{}", before.spec.toml);
        let found = diff(&before, &after);
        assert!(found.spec_text_only && found.spec.is_empty() && !found.is_empty());
        after.spec.toml = before.spec.toml.replace("default = 1", "default = 2");
        after.spec.hash = Plan::compile("t", &after.spec.toml).unwrap().hash().to_owned();
        let found = diff(&before, &after);
        assert_eq!((found.spec.len(), found.spec_text_only), (1, false));
        assert_eq!(found.fields[0].field, "spec.hash");
        after.spec.toml = "name = 1".to_owned();
        assert!(diff(&before, &after).spec_problem.unwrap().contains("after"));
    }
}
