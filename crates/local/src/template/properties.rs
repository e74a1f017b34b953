//! A resource's properties: read by name, with errors that say where.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};

use super::resolve::{Resolver, plain_text};
use crate::error::LocalError;

/// Properties of one resource or of one event. Each is resolved when it is read: an intrinsic function in a property
/// that nobody reads does no harm.
pub(crate) struct Properties<'a> {
    resolver: &'a Resolver<'a>,
    raw: Map<String, Value>,
    pub(crate) place: String,
}

impl<'a> Properties<'a> {
    pub(crate) fn new(resolver: &'a Resolver<'a>, raw: Option<&Value>, place: String) -> Result<Self, LocalError> {
        let raw = match raw {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(raw)) => raw.clone(),
            Some(_) => return Err(LocalError::template(place, "it is no mapping", "a mapping of properties")),
        };
        Ok(Self { resolver, raw, place })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.raw.keys()
    }

    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    pub(crate) fn wrong(&self, name: &str, value: &Value, expected: &str) -> LocalError {
        LocalError::template(self.at(name), format!("it is {value}"), expected)
    }

    pub(crate) fn missing(&self, name: &str, expected: &str) -> LocalError {
        LocalError::template(self.at(name), "it is missing", expected)
    }

    /// The property's value, resolved; `None` if it is not there.
    pub(crate) fn value(&self, name: &str) -> Result<Option<Value>, LocalError> {
        let Some(raw) = self.raw.get(name) else { return Ok(None) };
        Ok(Some(self.resolver.resolve(raw, &self.at(name))?).filter(|value| !value.is_null()))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, LocalError> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        plain_text(&value).map(Some).ok_or_else(|| self.wrong(name, &value, "a text"))
    }

    pub(crate) fn required_text(&self, name: &str, expected: &str) -> Result<String, LocalError> {
        self.text(name)?.ok_or_else(|| self.missing(name, expected))
    }

    /// A whole number within bounds. Numbers may be written as texts, as parameters are.
    pub(crate) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, LocalError> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        let number = plain_text(&value).and_then(|text| text.parse::<u64>().ok());
        number
            .filter(|number| (least..=most).contains(number))
            .map(Some)
            .ok_or_else(|| self.wrong(name, &value, &format!("a whole number from {least} to {most}")))
    }

    pub(crate) fn seconds(&self, name: &str, least: u64, most: u64) -> Result<Option<Duration>, LocalError> {
        Ok(self.number(name, least, most)?.map(Duration::from_secs))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, LocalError> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        match plain_text(&value).as_deref() {
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            _ => Err(self.wrong(name, &value, "true or false")),
        }
    }

    /// Texts; one text alone counts as a list of one.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, LocalError> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        let texts = match &value {
            Value::Array(items) => items.iter().map(plain_text).collect::<Option<Vec<_>>>(),
            other => plain_text(other).map(|text| vec![text]),
        };
        texts.map(Some).ok_or_else(|| self.wrong(name, &value, "a text or a list of texts"))
    }

    pub(crate) fn text_map(&self, name: &str) -> Result<BTreeMap<String, String>, LocalError> {
        let Some(value) = self.value(name)? else { return Ok(BTreeMap::new()) };
        let Value::Object(entries) = &value else { return Err(self.wrong(name, &value, "a mapping")) };
        entries
            .iter()
            .map(|(key, value)| match plain_text(value) {
                Some(text) => Ok((key.clone(), text)),
                None => Err(self.wrong(&format!("{name}.{key}"), value, "a text or number")),
            })
            .collect()
    }

    /// Properties within a property.
    pub(crate) fn inner(&self, name: &str) -> Result<Option<Properties<'a>>, LocalError> {
        match self.raw.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(raw) => Properties::new(self.resolver, Some(raw), self.at(name)).map(Some),
        }
    }

    /// A list of mappings.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<Properties<'a>>, LocalError> {
        match self.raw.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(index, item)| Properties::new(self.resolver, Some(item), format!("{}[{index}]", self.at(name))))
                .collect(),
            Some(value) => Err(self.wrong(name, value, "a list")),
        }
    }
}
