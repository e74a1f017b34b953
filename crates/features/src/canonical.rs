//! A spec's canonical form: what decides the bits of a transform, one part a line. Its hash is the spec's identity, its
//! parts are what two specs are compared by.

use std::fmt;

use domain::digest::sha256_hex;
use serde::Serialize;

use crate::{
    bind::canonical as expression,
    holidays::Calendar,
    kernels::civil,
    spec::{Input, Spec},
};

/// What a part of a spec is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PartKind {
    /// What the model predicts.
    Prediction,
    /// An input.
    Input,
    /// Zones.
    Zones,
    /// A calendar of holidays.
    Holidays,
    /// The declaration of a lookup table.
    Lookup,
    /// A feature.
    Feature,
    /// The model's columns.
    Outputs,
    /// The label.
    Label,
    /// The fallback.
    Fallback,
}

impl fmt::Display for PartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prediction => "prediction",
            Self::Input => "input",
            Self::Zones => "zones",
            Self::Holidays => "holidays",
            Self::Lookup => "lookup",
            Self::Feature => "feature",
            Self::Outputs => "outputs",
            Self::Label => "label",
            Self::Fallback => "fallback",
        })
    }
}

/// One part of a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) kind: PartKind,
    /// Empty where there is only one of its kind.
    pub(crate) name: String,
    /// Its line, or lines, in the canonical form.
    line: String,
    /// What it says, for people.
    pub(crate) text: String,
}

pub(crate) fn parts(spec: &Spec) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut push = |kind, name: &str, line: String, text: String| {
        parts.push(Part { kind, name: name.to_owned(), line, text });
    };
    let prediction = &spec.prediction;
    push(PartKind::Prediction, "", format!("prediction {prediction:?}\n"), format!("{prediction}"));
    for input in &spec.inputs {
        let Input { name, scope, of, unit, nullable, default, min, max, allowed, personal, description: _ } = input;
        let personal = personal.map_or_else(String::new, |personal| format!(" {personal:?}"));
        let line = format!(
            "input {name} {scope:?} {of} {unit:?} {nullable} {default:?} {min:?} {max:?} {allowed:?}{personal}\n"
        );
        push(PartKind::Input, name, line, input.to_string());
    }
    for zones in &spec.zones {
        let form = zones.canonical();
        let text = format!("{} ids, content {}", zones.ids.len(), &sha256_hex(form.as_bytes())[..12]);
        push(PartKind::Zones, &zones.name, format!("zones {} {form}\n", zones.name), text);
    }
    for calendar in &spec.calendars {
        let dates = canonical_dates(calendar);
        push(PartKind::Holidays, calendar.name(), format!("holidays {} {dates}\n", calendar.name()), dates);
    }
    for (_, lookup) in &spec.lookups {
        let text = lookup.to_string();
        push(PartKind::Lookup, &lookup.name, format!("lookup {} {text}\n", lookup.name), text);
    }
    for (name, feature) in &spec.features {
        let text = expression(feature.get_ref());
        push(PartKind::Feature, name, format!("feature {name} = {text}\n"), text);
    }
    let outputs: Vec<&str> = spec.outputs.iter().map(|output| output.get_ref().as_str()).collect();
    let lines = outputs.iter().fold(String::new(), |lines, output| lines + "output " + output + "\n");
    push(PartKind::Outputs, "", lines, outputs.join(", "));
    if let Some(label) = &spec.label {
        let text = expression(label.get_ref());
        push(PartKind::Label, "", format!("label = {text}\n"), text);
    }
    let text = format!("{} or {:?}", expression(spec.fallback.get_ref()), spec.fallback_default);
    push(PartKind::Fallback, "", format!("fallback = {text}\n"), text);
    parts
}

/// SHA-256 of the canonical form.
pub(crate) fn hash(parts: &[Part]) -> String {
    let lines: String = parts.iter().map(|part| part.line.as_str()).collect();
    sha256_hex(format!("mannen feature spec 1\n{lines}").as_bytes())
}

/// A calendar's dates, for its part of the spec's hash.
fn canonical_dates(calendar: &Calendar) -> String {
    let dates = calendar.days().iter().map(|&day| {
        let (year, month, day) = civil(day);
        format!("{year:04}-{month:02}-{day:02}")
    });
    dates.collect::<Vec<_>>().join(" ")
}
