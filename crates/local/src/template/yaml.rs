//! CloudFormation's YAML: short tags (`!Ref x`) become their long forms (`{"Ref": "x"}`).

use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;

use crate::error::LocalError;

/// Parses a template. Tags become the objects that they are short for.
pub(crate) fn parse(text: &str) -> Result<Value, LocalError> {
    let yaml: Yaml = serde_yaml_ng::from_str(text)?;
    convert(yaml, "the template")
}

fn convert(yaml: Yaml, place: &str) -> Result<Value, LocalError> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => value.into(),
        Yaml::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => value.into(),
            (_, Some(value), _) => value.into(),
            (.., Some(value)) => value.into(),
            _ => Value::Null,
        },
        Yaml::String(text) => text.into(),
        Yaml::Sequence(items) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| convert(item, &format!("{place}[{index}]")))
            .collect::<Result<_, _>>()?,
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let key = match convert(key, place)? {
                    Value::String(key) => key,
                    Value::Number(key) => key.to_string(),
                    Value::Bool(key) => key.to_string(),
                    other => return Err(LocalError::template(place, format!("the key {other}"), "a text as key")),
                };
                let value = convert(value, &format!("{place}.{key}"))?;
                object.insert(key, value);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let value = convert(tagged.value, place)?;
            long_form(tag.trim_start_matches('!'), value)
        }
    })
}

fn long_form(tag: &str, value: Value) -> Value {
    match (tag, value) {
        ("Ref" | "Condition", value) => json!({ tag: value }),
        ("GetAtt", Value::String(path)) => {
            let (resource, attribute) = path.split_once('.').unwrap_or((&path, ""));
            json!({ "Fn::GetAtt": [resource, attribute] })
        }
        (tag, value) => {
            let name = format!("Fn::{tag}");
            json!({ name: value })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tags_become_long_forms() {
        let value = parse(
            "a: !Ref X\nb: !GetAtt Queue.Arn\nc: !Sub '${X}-y'\nd: !Join [',', [a, !Ref X]]\ne: {Fn::GetAtt: [Q, Arn]}\n2: 3",
        )
        .unwrap();
        assert_eq!(
            value,
            json!({
                "a": {"Ref": "X"}, "b": {"Fn::GetAtt": ["Queue", "Arn"]}, "c": {"Fn::Sub": "${X}-y"},
                "d": {"Fn::Join": [",", ["a", {"Ref": "X"}]]}, "e": {"Fn::GetAtt": ["Q", "Arn"]}, "2": 3
            })
        );
    }

    #[test]
    fn bad_yaml_is_told() {
        assert_eq!(parse("a: [").unwrap_err().reason(), "template_syntax");
    }
}
