//! Personal data is taken out of a record before it is put, or logged, anywhere.

use std::{fmt, str::FromStr};

use domain::{PredictionRecord, digest::hmac_sha256_hex};
use features::Plan;

/// The key of hashes that stand for personal inputs. Whoever has it can tell which value a hash stands for by trying.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonalDataKey(String);

/// Shorter keys can be found by trying.
const LEAST_KEY_BYTES: usize = 32;

impl FromStr for PersonalDataKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() < LEAST_KEY_BYTES {
            return Err("a key has at least 32 characters, such as `openssl rand -hex 32` makes");
        }
        Ok(Self(text.to_owned()))
    }
}

/// Never the key itself.
impl fmt::Debug for PersonalDataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonalDataKey(…)")
    }
}

/// Takes personal data out of a record: drops what the spec says is dropped, and puts `hmac-sha256:<hex>` of the input's
/// name, a line break and its JSON for what is hashed. Without a key it is dropped too; no release that needs one is
/// served then.
pub(crate) fn protect(record: &mut PredictionRecord, plan: &Plan, key: Option<&PersonalDataKey>) {
    let hash = |name: &str, value: &serde_json::Value| match key {
        Some(PersonalDataKey(key)) => {
            format!("hmac-sha256:{}", hmac_sha256_hex(key.as_bytes(), format!("{name}\n{value}").as_bytes()))
        }
        None => String::new(),
    };
    plan.protect_inputs(&mut record.inputs, hash);
    for candidate in &mut record.candidates {
        plan.protect_inputs(&mut candidate.inputs, hash);
    }
}

/// Refuses a spec that needs a key where there is none.
pub(crate) fn needs_no_key(plan: &Plan) -> Result<(), String> {
    match plan.hashed_input() {
        None => Ok(()),
        Some(input) => Err(format!(
            "input `{input}` is stored as a keyed hash, and PERSONAL_DATA_KEY is not set; set PersonalDataKey of infra/template.yaml"
        )),
    }
}
