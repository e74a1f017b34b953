//! Personal data: what of a request is not stored as it came. Features are computed from the raw values all the same.

use domain::Inputs;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::Plan;

/// What becomes of a personal input before anything is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Personal {
    /// It is left out.
    Drop,
    /// It is replaced by a keyed hash: equal values stay equal, and nobody without the key can tell them.
    Hash,
}

impl Plan {
    /// The first input that is stored as a keyed hash, which whoever stores inputs needs a key for.
    pub fn hashed_input(&self) -> Option<&str> {
        let hashed = self.inputs().iter().find(|input| input.personal == Some(Personal::Hash));
        hashed.map(|input| input.name.as_str())
    }

    /// Takes personal data out of a request's or candidate's inputs. `hash` gives what stands for an input's value; NULL
    /// stays NULL.
    pub fn protect_inputs(&self, inputs: &mut Inputs, hash: impl Fn(&str, &Json) -> String) {
        for input in self.inputs() {
            match input.personal {
                None => {}
                Some(Personal::Drop) => _ = inputs.remove(&input.name),
                Some(Personal::Hash) => {
                    if let Some(value) = inputs.get_mut(&input.name).filter(|value| !value.is_null()) {
                        *value = hash(&input.name, value).into();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::InputTable;

    const SPEC: &str = r#"
        name = "x"
        prediction = { unit = "s" }
        [inputs]
        phone = { type = "string", personal = "drop" }
        rider = { type = "int", personal = "hash", nullable = true, max = 99 }
        hour = { type = "int" }
        [features]
        half = "rider / 2"
        [model]
        outputs = ["half"]
        [fallback]
        expression = "hour"
        default = 1.0
    "#;

    fn inputs(json: &Json) -> Inputs {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn personal_inputs_are_dropped_or_hashed_and_features_see_them_raw() {
        let plan = Plan::compile("x", SPEC).unwrap();
        assert_eq!(plan.hashed_input(), Some("rider"));
        let raw = inputs(&json!({"phone": "090", "rider": 7, "hour": 3}));
        let mut stored = raw.clone();
        plan.protect_inputs(&mut stored, |name, value| format!("{name}!{value}"));
        assert_eq!(stored, inputs(&json!({"rider": "rider!7", "hour": 3})));
        let mut nothing = inputs(&json!({"rider": null, "hour": 3}));
        plan.protect_inputs(&mut nothing, |_, _| "x".to_owned());
        assert_eq!(nothing, inputs(&json!({"rider": null, "hour": 3})));
        let open = Plan::compile("x", &SPEC.replace(", personal = \"hash\"", "").replace(", personal = \"drop\"", ""));
        assert_ne!(open.unwrap().hash(), plan.hash(), "what is stored is a part of the spec");
    }

    #[test]
    fn what_needs_no_personal_input_can_be_computed_from_what_is_stored() {
        let text = SPEC.replace("outputs = [\"half\"]", "outputs = [\"half\", \"twice\"]");
        let text = text.replace("[model]", "twice = \"hour * 2\"\n[model]");
        let plan = Plan::compile("x", &text).unwrap();
        assert!(plan.output_is_personal(0) && !plan.output_is_personal(1) && !plan.output_is_personal(2));
        assert!(!plan.fallback_is_personal());
        assert!(Plan::compile("x", &SPEC.replace("\"hour\"", "\"half\"")).unwrap().fallback_is_personal());
        let transformer = crate::Transformer::new(plan);
        let car = [domain::Candidate::new("c".parse().unwrap(), Inputs::new())];
        let rows = |table: &crate::FeatureTable| (table.row(0).collect::<Vec<_>>(), table.fallback().to_vec());
        let at = jiff::Timestamp::UNIX_EPOCH;
        let raw = inputs(&json!({"phone": "090", "rider": 7, "hour": 3}));
        assert_eq!(transformer.transform(at, &raw, &car, rows).unwrap(), (vec![Some(3.5), Some(6.0)], vec![3.0]));
        let stored = inputs(&json!({"rider": "hmac-sha256:0", "hour": 3}));
        let again = transformer.transform_archived(at, &stored, &car, rows).unwrap();
        assert_eq!(again, (vec![None, Some(6.0)], vec![3.0]));
        assert!(transformer.transform(at, &stored, &car, rows).is_err());
    }

    #[test]
    fn errors_do_not_tell_personal_values() {
        let plan = Plan::compile("x", SPEC).unwrap();
        for bad in [json!({"phone": 812345, "rider": 7, "hour": 3}), json!({"phone": "0", "rider": 812345, "hour": 3})]
        {
            let mut table = InputTable::new(&plan);
            let candidate =
                domain::Candidate { candidate_id: "c".parse().unwrap(), inputs: Inputs::new(), last_shown: None };
            let error = plan.read_request(jiff::Timestamp::UNIX_EPOCH, &inputs(&bad), &[candidate], &mut table);
            let told = format!("{:?}", error.unwrap_err());
            assert!(told.contains("phone") || told.contains("rider"), "{told}");
            assert!(!told.contains("812345"), "{told}");
        }
    }

    #[test]
    fn what_is_never_stored_needs_no_protection() {
        let error = Plan::compile(
            "x",
            &SPEC.replace(
                "hour = { type = \"int\" }",
                "hour = { type = \"int\" }\nlate = { type = \"int\", scope = \"training\", personal = \"drop\" }",
            ),
        );
        assert_eq!(error.unwrap_err().reason(), "personal_invalid");
    }
}
