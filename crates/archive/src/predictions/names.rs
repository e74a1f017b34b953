//! Texts that repeat from record to record, each kept once.

use std::{collections::HashMap, sync::Arc};

use arrow_array::StringArray;

/// A text's number among [`Names`].
pub(super) type Name = u32;

/// How many texts of one field are tried by comparison before a hash is computed: releases, arms and variants are few.
const RECENT: usize = 8;

/// The fields whose texts hardly differ between records.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Model,
    ReleaseId,
    SpecHash,
    ExperimentId,
    Arm,
    TierReason,
    Endpoint,
    Variant,
    ModelVersion,
}

const FIELDS: usize = 9;

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Names {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, Name>,
    recent: [Vec<Name>; FIELDS],
}

impl Names {
    /// The number of a text of this field that `rest` begins with, up to a quotation mark, if it has come lately.
    pub(super) fn prefix_of(&self, field: Field, rest: &[u8]) -> Option<(Name, usize)> {
        self.recent[field as usize].iter().find_map(|&name| {
            let text = self.texts[name as usize].as_bytes();
            (rest.get(text.len()) == Some(&b'"') && rest.starts_with(text)).then_some((name, text.len()))
        })
    }

    /// The number of a text of this field, if it has come lately.
    pub(super) fn recent(&self, field: Field, text: &str) -> Option<Name> {
        self.recent[field as usize].iter().copied().find(|&name| *self.texts[name as usize] == *text)
    }

    pub(super) fn of(&mut self, field: Field, text: &str) -> Name {
        if let Some(name) = self.recent(field, text) {
            return name;
        }
        let name = self.number(text);
        let recent = &mut self.recent[field as usize];
        if recent.len() < RECENT {
            recent.push(name);
        }
        name
    }

    /// The number of a text, of whichever field.
    pub(super) fn number(&mut self, text: &str) -> Name {
        if let Some(&name) = self.numbers.get(text) {
            return name;
        }
        let (name, text) = (self.texts.len() as Name, Arc::<str>::from(text));
        self.texts.push(text.clone());
        self.numbers.insert(text, name);
        name
    }

    pub(super) fn text(&self, name: Name) -> &str {
        &self.texts[name as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(AsRef::as_ref)
    }

    /// All of them, each at its number: what dictionary columns point to.
    pub(super) fn to_array(&self) -> Arc<StringArray> {
        Arc::new(StringArray::from_iter_values(self.texts.iter()))
    }
}
