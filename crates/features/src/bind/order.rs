//! The order in which features are bound: each after those that it names, so that binding one does not bind another by
//! recursion, whose depth a spec could choose.

use std::collections::{BTreeMap, HashSet};

use toml::Spanned;

/// The names of the features that `roots` need, each after those that its expression mentions; in a circle somewhere.
pub(crate) fn dependency_order<'f, 'r>(
    features: &'f BTreeMap<String, Spanned<String>>,
    roots: impl IntoIterator<Item = &'r str>,
) -> Vec<&'f str> {
    let mut order = Vec::with_capacity(features.len());
    let mut seen = HashSet::new();
    for name in roots {
        // A feature, and its mentions that are still to be looked at.
        let mut open: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut enter = |name: &str, open: &mut Vec<_>| {
            if let Some((name, expression)) = features.get_key_value(name)
                && seen.insert(name.as_str())
            {
                open.push((name.as_str(), mentions(expression.get_ref()).collect()));
            }
        };
        enter(name, &mut open);
        while let Some((name, mentioned)) = open.last_mut() {
            match mentioned.pop() {
                Some(other) => enter(other, &mut open),
                None => {
                    order.push(*name);
                    open.pop();
                }
            }
        }
    }
    order
}

/// Words that could be names of features, also those in texts and comments: for an order, more than there are do no harm.
pub(crate) fn mentions(expression: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    expression.split(move |c| !is_part(c)).filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
}
