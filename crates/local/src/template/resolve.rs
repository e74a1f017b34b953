//! Parameters, conditions and intrinsic functions.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::LocalError;

/// What a template's text does not say by itself.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Values for parameters in place of their defaults.
    pub parameters: BTreeMap<String, String>,
    /// `AWS::StackName`.
    pub stack_name: String,
    /// `AWS::Region`.
    pub region: String,
    /// `AWS::AccountId`.
    pub account_id: String,
    /// Where queues are reached, such as `http://127.0.0.1:9324`; `!Ref` of a queue begins with it.
    pub sqs_url: String,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            parameters: BTreeMap::new(),
            stack_name: "mannen".to_owned(),
            region: "us-east-1".to_owned(),
            account_id: "000000000000".to_owned(),
            sqs_url: "https://sqs.us-east-1.amazonaws.com".to_owned(),
        }
    }
}

/// Resolves values of one template.
pub(crate) struct Resolver<'a> {
    pub(crate) setting: &'a Setting,
    pub(crate) resources: &'a Map<String, Value>,
    parameters: BTreeMap<String, Value>,
    conditions: &'a Map<String, Value>,
    mappings: &'a Map<String, Value>,
}

/// References may lead from one to the next; a ring of them would never end.
const MAX_DEPTH: usize = 32;

impl<'a> Resolver<'a> {
    pub(crate) fn new(
        template: &'a Value,
        setting: &'a Setting,
        empty: &'a Map<String, Value>,
    ) -> Result<Self, LocalError> {
        let section = |name: &str| match template.get(name) {
            None | Some(Value::Null) => Ok(empty),
            Some(Value::Object(section)) => Ok(section),
            Some(_) => Err(LocalError::template(name, "it is no mapping", "a mapping of names")),
        };
        let declared = section("Parameters")?;
        let mut parameters = BTreeMap::new();
        for (name, declaration) in declared {
            let place = format!("Parameters.{name}");
            let value = match (setting.parameters.get(name), declaration.get("Default")) {
                (Some(given), _) => Value::String(given.clone()),
                (None, Some(default)) => default.clone(),
                (None, None) => {
                    return Err(LocalError::template(
                        place,
                        "it has no value",
                        "a Default, or a value from the caller",
                    ));
                }
            };
            parameters.insert(name.clone(), check_parameter(&place, declaration, &value)?);
        }
        if let Some(name) = setting.parameters.keys().find(|name| !declared.contains_key(*name)) {
            let known: Vec<_> = declared.keys().map(String::as_str).collect();
            return Err(LocalError::template(
                format!("Parameters.{name}"),
                "a value is given for it but the template does not declare it",
                format!("one of: {}", known.join(", ")),
            ));
        }
        Ok(Self {
            setting,
            resources: section("Resources")?,
            parameters,
            conditions: section("Conditions")?,
            mappings: section("Mappings")?,
        })
    }

    /// `value` with all intrinsic functions worked out. `place` is for errors.
    pub(crate) fn resolve(&self, value: &Value, place: &str) -> Result<Value, LocalError> {
        self.walk(value, place, 0)
    }

    /// Whether a resource's or an `Fn::If`'s condition holds.
    pub(crate) fn holds(&self, name: &str, place: &str) -> Result<bool, LocalError> {
        self.condition_named(name, place, 0)
    }

    /// The name a resource goes by: its name property, or one made from the stack's name as CloudFormation does,
    /// without the random part.
    pub(crate) fn resource_name(&self, logical_id: &str) -> Result<String, LocalError> {
        self.name_of(logical_id, &format!("Resources.{logical_id}"), 0)
    }

    fn walk(&self, value: &Value, place: &str, depth: usize) -> Result<Value, LocalError> {
        if depth > MAX_DEPTH {
            return Err(LocalError::template(place, "its references lead in a ring", "references that end"));
        }
        match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.walk(item, &format!("{place}[{index}]"), depth + 1))
                .collect(),
            Value::Object(object) => match single(object) {
                Some(("Ref", argument)) => self.reference(argument, place, depth),
                Some((name, argument)) if name.starts_with("Fn::") => self.function(name, argument, place, depth),
                _ => {
                    let mut resolved = Map::new();
                    for (key, item) in object {
                        let item = self.walk(item, &format!("{place}.{key}"), depth + 1)?;
                        // `Ref: AWS::NoValue` takes the property away.
                        if !(item.is_null() && object[key].is_object()) {
                            resolved.insert(key.clone(), item);
                        }
                    }
                    Ok(Value::Object(resolved))
                }
            },
            plain => Ok(plain.clone()),
        }
    }

    fn reference(&self, argument: &Value, place: &str, depth: usize) -> Result<Value, LocalError> {
        let Some(name) = argument.as_str() else {
            return Err(LocalError::template(
                place,
                "Ref of something that is no text",
                "the name of a parameter or resource",
            ));
        };
        let setting = self.setting;
        Ok(match name {
            "AWS::StackName" => setting.stack_name.clone().into(),
            "AWS::AccountId" => setting.account_id.clone().into(),
            "AWS::Region" => setting.region.clone().into(),
            "AWS::Partition" => "aws".into(),
            "AWS::URLSuffix" => "amazonaws.com".into(),
            "AWS::StackId" => format!(
                "arn:aws:cloudformation:{}:{}:stack/{}/00000000-0000-0000-0000-000000000000",
                setting.region, setting.account_id, setting.stack_name
            )
            .into(),
            "AWS::NotificationARNs" => Value::Array(Vec::new()),
            "AWS::NoValue" => Value::Null,
            name => match self.parameters.get(name) {
                Some(value) => value.clone(),
                None => self.resource_reference(name, place, depth)?.into(),
            },
        })
    }

    /// What `Ref` of a resource gives: a queue's URL, any other resource's name.
    fn resource_reference(&self, name: &str, place: &str, depth: usize) -> Result<String, LocalError> {
        let physical = self.name_of(name, place, depth)?;
        Ok(match self.kind(name) {
            "AWS::SQS::Queue" => {
                format!("{}/{}/{physical}", self.setting.sqs_url.trim_end_matches('/'), self.setting.account_id)
            }
            _ => physical,
        })
    }

    fn kind(&self, logical_id: &str) -> &str {
        self.resources.get(logical_id).and_then(|r| r.get("Type")).and_then(Value::as_str).unwrap_or_default()
    }

    fn name_of(&self, logical_id: &str, place: &str, depth: usize) -> Result<String, LocalError> {
        let Some(resource) = self.resources.get(logical_id) else {
            return Err(LocalError::template(
                place,
                format!("it refers to {logical_id}, which is neither a parameter nor a resource"),
                "the name of one",
            ));
        };
        let property = match self.kind(logical_id) {
            "AWS::Serverless::Function" | "AWS::Lambda::Function" => "FunctionName",
            "AWS::S3::Bucket" => "BucketName",
            "AWS::SQS::Queue" => "QueueName",
            _ => "Name",
        };
        let own = format!("Resources.{logical_id}.Properties.{property}");
        if let Some(name) = resource.get("Properties").and_then(|p| p.get(property)) {
            return match self.walk(name, &own, depth + 1)? {
                Value::String(name) if !name.is_empty() => Ok(name),
                other => Err(LocalError::template(own, format!("it is {other}"), "a text that is not empty")),
            };
        }
        let name = format!("{}-{logical_id}", self.setting.stack_name);
        Ok(if property == "BucketName" { name.to_lowercase() } else { name })
    }

    fn arn_of(&self, logical_id: &str, place: &str, depth: usize) -> Result<String, LocalError> {
        let name = self.name_of(logical_id, place, depth)?;
        let Setting { region, account_id, .. } = self.setting;
        Ok(match self.kind(logical_id) {
            "AWS::Serverless::Function" | "AWS::Lambda::Function" => {
                format!("arn:aws:lambda:{region}:{account_id}:function:{name}")
            }
            "AWS::S3::Bucket" => format!("arn:aws:s3:::{name}"),
            "AWS::SQS::Queue" => format!("arn:aws:sqs:{region}:{account_id}:{name}"),
            "AWS::IAM::Role" => format!("arn:aws:iam::{account_id}:role/{name}"),
            "AWS::SNS::Topic" => format!("arn:aws:sns:{region}:{account_id}:{name}"),
            kind => {
                let service = kind.split("::").nth(1).unwrap_or("unknown").to_lowercase();
                format!("arn:aws:{service}:{region}:{account_id}:{name}")
            }
        })
    }

    fn attribute(&self, resource: &str, attribute: &str, place: &str, depth: usize) -> Result<Value, LocalError> {
        let name = self.name_of(resource, place, depth)?;
        Ok(match (self.kind(resource), attribute) {
            (_, "Arn") => self.arn_of(resource, place, depth)?.into(),
            ("AWS::SQS::Queue", "QueueName") => name.into(),
            ("AWS::SQS::Queue", "QueueUrl") => self.resource_reference(resource, place, depth)?.into(),
            ("AWS::S3::Bucket", "DomainName" | "RegionalDomainName") => format!("{name}.s3.amazonaws.com").into(),
            ("AWS::Serverless::HttpApi", "ApiEndpoint") => {
                format!("https://{resource}.execute-api.{}.amazonaws.com", self.setting.region).into()
            }
            (kind, attribute) => {
                return Err(LocalError::template(
                    place,
                    format!("{resource} ({kind}) has no attribute {attribute} here"),
                    "Arn, QueueName, QueueUrl, DomainName or ApiEndpoint of a resource that has it",
                ));
            }
        })
    }

    fn function(&self, name: &str, argument: &Value, place: &str, depth: usize) -> Result<Value, LocalError> {
        let wrong = |expected: &str| LocalError::template(place, format!("{name} has a wrong argument"), expected);
        let text = |value: &Value| plain_text(value).ok_or_else(|| wrong("texts"));
        match name {
            "Fn::Sub" => self.substitute(argument, place, depth).map(Value::String),
            "Fn::GetAtt" => {
                let (resource, attribute) = match argument {
                    Value::String(path) => path.split_once('.'),
                    Value::Array(pair) => match pair.as_slice() {
                        [Value::String(resource), Value::String(attribute)] => {
                            Some((resource.as_str(), attribute.as_str()))
                        }
                        _ => None,
                    },
                    _ => None,
                }
                .ok_or_else(|| wrong("[resource, attribute]"))?;
                self.attribute(resource, attribute, place, depth)
            }
            "Fn::Join" => {
                let resolved = self.walk(argument, place, depth + 1)?;
                let Some([separator, Value::Array(parts)]) = resolved.as_array().map(Vec::as_slice) else {
                    return Err(wrong("[separator, [parts]]"));
                };
                let parts = parts.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                Ok(parts.join(&text(separator)?).into())
            }
            "Fn::Split" => {
                let resolved = self.walk(argument, place, depth + 1)?;
                let Some([Value::String(separator), Value::String(whole)]) = resolved.as_array().map(Vec::as_slice)
                else {
                    return Err(wrong("[separator, text]"));
                };
                Ok(whole.split(separator.as_str()).map(Value::from).collect())
            }
            "Fn::Select" => {
                let resolved = self.walk(argument, place, depth + 1)?;
                let Some([index, Value::Array(items)]) = resolved.as_array().map(Vec::as_slice) else {
                    return Err(wrong("[index, [items]]"));
                };
                let index = plain_text(index).and_then(|index| index.parse::<usize>().ok());
                index.and_then(|index| items.get(index)).cloned().ok_or_else(|| wrong("an index within the list"))
            }
            "Fn::If" => {
                let Some([Value::String(condition), yes, no]) = argument.as_array().map(Vec::as_slice) else {
                    return Err(wrong("[condition, value if true, value if false]"));
                };
                let chosen = if self.condition_named(condition, place, depth + 1)? { yes } else { no };
                self.walk(chosen, place, depth + 1)
            }
            "Fn::FindInMap" => {
                let resolved = self.walk(argument, place, depth + 1)?;
                let Some([Value::String(map), Value::String(first), Value::String(second)]) =
                    resolved.as_array().map(Vec::as_slice)
                else {
                    return Err(wrong("[map, first key, second key]"));
                };
                let found = self.mappings.get(map).and_then(|map| map.get(first)).and_then(|map| map.get(second));
                found.cloned().ok_or_else(|| wrong("a map and keys that Mappings has"))
            }
            "Fn::Equals" | "Fn::And" | "Fn::Or" | "Fn::Not" => {
                let object = Map::from_iter([(name.to_owned(), argument.clone())]);
                self.condition(&Value::Object(object), place, depth + 1).map(Value::Bool)
            }
            name => Err(LocalError::template(
                place,
                format!("the intrinsic function {name} is not known here"),
                "Ref, Sub, GetAtt, Join, Split, Select, If or FindInMap",
            )),
        }
    }

    fn substitute(&self, argument: &Value, place: &str, depth: usize) -> Result<String, LocalError> {
        let (text, variables) = match argument {
            Value::String(text) => (text, None),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(text), Value::Object(variables)] => (text, Some(variables)),
                _ => return Err(LocalError::template(place, "Fn::Sub has a wrong argument", "[text, variables]")),
            },
            _ => return Err(LocalError::template(place, "Fn::Sub has a wrong argument", "a text")),
        };
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let Some(length) = rest[start..].find('}') else {
                return Err(LocalError::template(place, "Fn::Sub has a `${` that does not end", "`}` after the name"));
            };
            let name = &rest[start + 2..start + length];
            rest = &rest[start + length + 1..];
            if let Some(literal) = name.strip_prefix('!') {
                out.extend(["${", literal, "}"]);
                continue;
            }
            let value = match variables.and_then(|variables| variables.get(name)) {
                Some(value) => self.walk(value, place, depth + 1)?,
                None => match name.split_once('.') {
                    Some((resource, attribute)) => self.attribute(resource, attribute, place, depth + 1)?,
                    None => self.reference(&Value::from(name), place, depth + 1)?,
                },
            };
            let value = plain_text(&value).ok_or_else(|| {
                LocalError::template(place, format!("Fn::Sub: {name} is {value}"), "a text or number")
            })?;
            out.push_str(&value);
        }
        out.push_str(rest);
        Ok(out)
    }

    fn condition_named(&self, name: &str, place: &str, depth: usize) -> Result<bool, LocalError> {
        let Some(condition) = self.conditions.get(name) else {
            return Err(LocalError::template(place, format!("there is no condition {name}"), "a name from Conditions"));
        };
        self.condition(condition, &format!("Conditions.{name}"), depth + 1)
    }

    fn condition(&self, condition: &Value, place: &str, depth: usize) -> Result<bool, LocalError> {
        if depth > MAX_DEPTH {
            return Err(LocalError::template(place, "its conditions lead in a ring", "conditions that end"));
        }
        let wrong =
            || LocalError::template(place, "it is no condition", "Fn::Equals, Fn::And, Fn::Or, Fn::Not or Condition");
        let (name, argument) = condition.as_object().and_then(single).ok_or_else(wrong)?;
        let list = || argument.as_array().ok_or_else(wrong);
        match name {
            "Condition" => self.condition_named(argument.as_str().ok_or_else(wrong)?, place, depth),
            "Fn::Equals" => match self.walk(argument, place, depth + 1)?.as_array().map(Vec::as_slice) {
                Some([left, right]) => Ok(plain_text(left) == plain_text(right)),
                _ => Err(wrong()),
            },
            "Fn::Not" => match list()?.as_slice() {
                [inner] => Ok(!self.condition(inner, place, depth + 1)?),
                _ => Err(wrong()),
            },
            "Fn::And" => list()?.iter().try_fold(true, |all, inner| Ok(all & self.condition(inner, place, depth + 1)?)),
            "Fn::Or" => list()?.iter().try_fold(false, |any, inner| Ok(any | self.condition(inner, place, depth + 1)?)),
            _ => Err(wrong()),
        }
    }
}

fn single(object: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut entries = object.iter();
    match (entries.next(), entries.next()) {
        (Some((name, value)), None) => Some((name, value)),
        _ => None,
    }
}

/// A scalar as CloudFormation writes it into a text.
pub(crate) fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

fn check_parameter(place: &str, declaration: &Value, value: &Value) -> Result<Value, LocalError> {
    let kind = declaration.get("Type").and_then(Value::as_str).unwrap_or("String");
    let text = plain_text(value)
        .ok_or_else(|| LocalError::template(place, format!("its value is {value}"), "a text or a number"))?;
    let refuse = |expected: String| Err(LocalError::template(place, format!("its value is {text:?}"), expected));
    if kind == "Number" {
        let Ok(number) = text.parse::<f64>() else { return refuse("a number".to_owned()) };
        let bound = |name: &str| declaration.get(name).and_then(plain_text).and_then(|bound| bound.parse::<f64>().ok());
        if let Some(least) = bound("MinValue").filter(|least| number < *least) {
            return refuse(format!("at least {least}"));
        }
        if let Some(most) = bound("MaxValue").filter(|most| number > *most) {
            return refuse(format!("at most {most}"));
        }
    }
    if let Some(Value::Array(allowed)) = declaration.get("AllowedValues") {
        let allowed: Vec<_> = allowed.iter().filter_map(plain_text).collect();
        if !allowed.contains(&text) {
            return refuse(format!("one of: {}", allowed.join(", ")));
        }
    }
    if kind == "CommaDelimitedList" {
        return Ok(text.split(',').map(|item| Value::from(item.trim())).collect());
    }
    Ok(Value::String(text))
}
