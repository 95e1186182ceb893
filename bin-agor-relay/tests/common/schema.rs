//! As much of JSON Schema as docs/relay-protocol.schema.json uses. A keyword that is not known here is a
//! failure, so that nothing in the file goes unchecked.

use std::sync::OnceLock;

use serde_json::Value;

fn root() -> &'static Value {
    static ROOT: OnceLock<Value> = OnceLock::new();
    ROOT.get_or_init(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/relay-protocol.schema.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    })
}

/// Fails where `value` is not what the definition says.
pub fn check(definition: &str, value: &Value) {
    if let Err(why) = validate(&root()["$defs"][definition], value) {
        panic!("{value} is no {definition}: {why}");
    }
}

/// Whether `value` is what the definition says.
pub fn is_valid(definition: &str, value: &Value) -> bool {
    validate(&root()["$defs"][definition], value).is_ok()
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("unknown type {other}"),
    }
}

fn validate(schema: &Value, value: &Value) -> Result<(), String> {
    let rules = schema.as_object().ok_or("no schema")?;
    for (keyword, rule) in rules {
        one(rules, keyword, rule, value).map_err(|why| format!("{keyword}: {why}"))?;
    }
    Ok(())
}

fn one(
    rules: &serde_json::Map<String, Value>,
    keyword: &str,
    rule: &Value,
    value: &Value,
) -> Result<(), String> {
    let fail = |bad: bool| if bad { Err(format!("{rule} does not hold for {value}")) } else { Ok(()) };
    let length = || value.as_str().map(|text| text.chars().count() as u64);
    match keyword {
        "$ref" => {
            let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
            validate(&root()["$defs"][name], value)
        }
        "type" => {
            let names: Vec<&str> = match rule {
                Value::Array(names) => names.iter().map(|name| name.as_str().unwrap()).collect(),
                name => vec![name.as_str().unwrap()],
            };
            fail(!names.iter().any(|name| is_type(name, value)))
        }
        "const" => fail(rule != value),
        "enum" => fail(!rule.as_array().unwrap().contains(value)),
        "required" => fail(
            value.is_object()
                && rule.as_array().unwrap().iter().any(|key| value.get(key.as_str().unwrap()).is_none()),
        ),
        "properties" => {
            for (key, schema) in rule.as_object().unwrap() {
                if let Some(part) = value.get(key) {
                    validate(schema, part).map_err(|why| format!("{key}: {why}"))?;
                }
            }
            Ok(())
        }
        "additionalProperties" => {
            assert_eq!(rule, &Value::Bool(false));
            let known = rules.get("properties").and_then(Value::as_object);
            let extra = value
                .as_object()
                .and_then(|map| map.keys().find(|key| known.is_none_or(|known| !known.contains_key(*key))));
            extra.map_or(Ok(()), |extra| Err(format!("unknown key {extra}")))
        }
        "items" => value.as_array().into_iter().flatten().try_for_each(|item| validate(rule, item)),
        "minItems" => {
            fail(value.as_array().is_some_and(|items| (items.len() as u64) < rule.as_u64().unwrap()))
        }
        "minLength" => fail(length().is_some_and(|n| n < rule.as_u64().unwrap())),
        "maxLength" => fail(length().is_some_and(|n| n > rule.as_u64().unwrap())),
        "minimum" => fail(value.as_f64().is_some_and(|n| n < rule.as_f64().unwrap())),
        "maximum" => fail(value.as_f64().is_some_and(|n| n > rule.as_f64().unwrap())),
        "pattern" => {
            // The one pattern of the file: a session's name.
            assert_eq!(rule, "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$");
            let text = value.as_str().unwrap_or("x");
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            fail(
                !(text.len() <= 64
                    && text.starts_with(plain)
                    && text.chars().all(|c| plain(c) || ".-".contains(c))),
            )
        }
        "allOf" => rule.as_array().unwrap().iter().try_for_each(|schema| validate(schema, value)),
        "anyOf" | "oneOf" => {
            let results: Vec<_> =
                rule.as_array().unwrap().iter().map(|schema| validate(schema, value)).collect();
            let right = results.iter().filter(|result| result.is_ok()).count();
            let reasons: Vec<String> = results.into_iter().filter_map(Result::err).collect();
            match right {
                0 => Err(reasons.join("; ")),
                1 => Ok(()),
                _ if keyword == "anyOf" => Ok(()),
                n => Err(format!("{n} alternatives hold")),
            }
        }
        "description" | "title" => Ok(()),
        other => panic!("unknown keyword {other}"),
    }
}
