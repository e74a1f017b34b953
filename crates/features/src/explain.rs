//! A plan in words.

use std::fmt::Write;

use crate::{Plan, canonical::PartKind};

impl Plan {
    /// What the plan takes, what it makes of it and how, for people: inputs, features with their types and canonical
    /// expressions, the model's columns in order, the fallback, and the steps of the serving program with a rough cost
    /// of each in nanoseconds per row.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        _ = writeln!(text, "{} ({})", self.name(), self.hash());
        if !self.description().is_empty() {
            _ = writeln!(text, "{}", self.description());
        }
        for (kind, title) in [
            (PartKind::Prediction, "Predicts"),
            (PartKind::Input, "Inputs"),
            (PartKind::Zones, "Zones"),
            (PartKind::Holidays, "Holidays"),
            (PartKind::Lookup, "Lookup tables"),
            (PartKind::Feature, "Features"),
            (PartKind::Outputs, "Outputs"),
            (PartKind::Label, "Label"),
            (PartKind::Fallback, "Fallback"),
        ] {
            let parts: Vec<_> = self.parts().iter().filter(|part| part.kind == kind).collect();
            if parts.is_empty() {
                continue;
            }
            _ = writeln!(text, "\n{title}");
            for part in parts {
                let line = match kind {
                    PartKind::Feature => match self.feature_type(&part.name) {
                        Some(of) => format!("{}: {of} = {}", part.name, part.text),
                        None => format!("{} = {}", part.name, part.text),
                    },
                    PartKind::Lookup => {
                        let hash = self.lookups().find(|(name, _)| *name == part.name).map_or("", |(_, hash)| hash);
                        format!("{}: {}, content {hash}", part.name, part.text)
                    }
                    _ if part.name.is_empty() => part.text.clone(),
                    _ => format!("{}: {}", part.name, part.text),
                };
                _ = writeln!(text, "  {line}");
            }
        }
        let costs = self.step_costs_ns();
        _ = writeln!(text, "\nSteps ({}, about {} ns per row)", costs.len(), costs.iter().sum::<u32>());
        for (step, cost) in self.describe().lines().zip(costs) {
            _ = writeln!(text, "{cost:>5} ns  {step}");
        }
        text
    }
}
