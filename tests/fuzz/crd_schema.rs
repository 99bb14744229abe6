//! Draws values from the schema of a CRD.
//!
//! In: a schema from `crds/`, with its admission rules. Out: values that the API server admits. Rules on one string are
//! evaluated; each rule on several fields has a line in [`satisfy`] that changes a value so that the rule holds. A rule
//! that this file does not know fails every target that draws from the schema.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::string_regex;
use regex_lite::Regex;
use serde_json::{Map, Value, json};

use crate::choice::{choose, optional};

/// The longest list or map that is drawn, where the schema allows more.
const MOST_ITEMS: u64 = 4;

/// The schema of the spec in a file in `crds/`.
pub fn spec_schema(file: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds").join(file);
    let crd: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap().clone()
}

/// The values that a schema admits.
pub fn admitted(schema: &Value) -> BoxedStrategy<Value> {
    let rules = rules_of(schema);
    let values = match (schema["enum"].as_array(), schema["type"].as_str().expect("a type")) {
        (Some(values), _) => select(values.clone()).boxed(),
        (None, "string") if schema["format"] == "date-time" => date_times().prop_map(Value::from).boxed(),
        (None, "string") => strings(schema, "self", &rules).prop_map(Value::from).boxed(),
        (None, "boolean") => any::<bool>().prop_map(Value::from).boxed(),
        (None, "integer") => integers(schema),
        (None, "array") => arrays(schema, &rules),
        (None, "object") if schema.get("additionalProperties").is_some() => maps(schema, &rules),
        (None, "object") => objects(schema),
        (None, other) => panic!("values of the type {other} are not drawn yet"),
    };
    let of_several_fields = schema["type"] != "string" && schema.get("additionalProperties").is_none();
    if !of_several_fields {
        return values;
    }
    let keeps = move |mut value: Value| {
        rules.iter().for_each(|rule| satisfy(rule, &mut value));
        value
    };
    values.prop_map(keeps).boxed()
}

fn rules_of(schema: &Value) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules
        .map(|rule| rule["rule"].as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn integers(schema: &Value) -> BoxedStrategy<Value> {
    let bound = |key: &str, otherwise: i32| {
        schema[key].as_f64().map_or(otherwise, |bound| format!("{bound}").parse().expect("an i32"))
    };
    let (least, most) = (bound("minimum", i32::MIN), bound("maximum", i32::MAX));
    choose![Just(least), Just(most), least..=most, least..=least.saturating_add(3)]
        .prop_map(Value::from)
        .boxed()
}

/// The rule that a list names each item once.
const DISTINCT: &str = "self.all(s, self.exists_one(o, o == s))";

fn arrays(schema: &Value, rules: &[String]) -> BoxedStrategy<Value> {
    // A rule on every item of a list of strings: self.all(item, RULE).
    let mut of_each = rules.iter().filter(|rule| *rule != DISTINCT);
    let of_each =
        of_each.find_map(|rule| rule.strip_prefix("self.all(")?.strip_suffix(')')?.split_once(", "));
    let items = match of_each {
        Some((item, rule)) if schema["items"]["type"] == "string" => {
            strings(&schema["items"], item, &[rule.to_owned()]).prop_map(Value::from).boxed()
        }
        _ => admitted(&schema["items"]),
    };
    let size = |key: &str| schema[key].as_u64();
    let (least, most) =
        (size("minItems").unwrap_or_default(), size("maxItems").unwrap_or(MOST_ITEMS).min(MOST_ITEMS));
    let sizes = usize::try_from(least).unwrap()..=usize::try_from(most).unwrap();
    let keys: Vec<String> = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .map(|keys| keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect())
        .unwrap_or_default();
    let is_set = schema["x-kubernetes-list-type"] == "set" || rules.iter().any(|rule| rule == DISTINCT);
    let distinct = move |mut items: Vec<Value>| {
        let identity = |item: &Value| match is_set {
            true => json!(item),
            false => json!(keys.iter().map(|key| &item[key]).collect::<Vec<_>>()),
        };
        if is_set || !keys.is_empty() {
            let mut seen = Vec::new();
            items.retain(|item| {
                !seen.contains(&identity(item)) && {
                    seen.push(identity(item));
                    true
                }
            });
        }
        Value::Array(items)
    };
    prop::collection::vec(items, sizes).prop_map(distinct).boxed()
}

fn maps(schema: &Value, rules: &[String]) -> BoxedStrategy<Value> {
    let of_each =
        rules.iter().find_map(|rule| rule.strip_prefix("self.all(")?.strip_suffix(')')?.split_once(", "));
    let keys = match of_each {
        Some((key, rule)) => strings(&json!({"maxLength": 128}), key, &[rule.to_owned()]),
        None => strings(&json!({"maxLength": 63}), "self", &[]),
    };
    for rule in rules {
        assert!(rule.starts_with("self.all(") || is_known(rule), "the rule {rule} is not known to this file");
    }
    let rules = rules.to_vec();
    let most = schema["maxProperties"].as_u64().unwrap_or(MOST_ITEMS).min(MOST_ITEMS);
    let sizes = 0..=usize::try_from(most).unwrap();
    let maps = prop::collection::btree_map(keys, admitted(&schema["additionalProperties"]), sizes);
    maps.prop_map(move |map| {
        let mut value = Value::Object(map.into_iter().collect());
        rules.iter().filter(|rule| !rule.starts_with("self.all(")).for_each(|rule| satisfy(rule, &mut value));
        value
    })
    .boxed()
}

fn objects(schema: &Value) -> BoxedStrategy<Value> {
    let required =
        |name: &String| schema["required"].as_array().is_some_and(|all| all.contains(&json!(name)));
    let properties = schema["properties"].as_object().expect("properties").iter();
    let fields: Vec<BoxedStrategy<Option<(String, Value)>>> = properties
        .map(|(name, schema)| {
            let field = (Just(name.clone()), admitted(schema));
            match required(name) {
                true => field.prop_map(Some).boxed(),
                false => optional(0.4, field).boxed(),
            }
        })
        .collect();
    fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect::<Map<_, _>>())).boxed()
}

/// Texts of which every part of the rules holds. `subject` is the name of the text in the rules.
fn strings(schema: &Value, subject: &str, rules: &[String]) -> BoxedStrategy<String> {
    let parts: Vec<Part> =
        rules.iter().flat_map(|rule| rule.split(" && ")).map(|part| Part::parse(part, subject)).collect();
    let least = usize::try_from(schema["minLength"].as_u64().unwrap_or_default()).unwrap();
    let most = usize::try_from(schema["maxLength"].as_u64().unwrap_or(64)).unwrap();
    let pattern =
        rules.iter().find_map(|rule| rule.strip_prefix(&format!("{subject}.matches('"))?.split_once("')"));
    let drawn = match pattern {
        _ if parts.contains(&Part::Duration) => durations(),
        Some((pattern, _)) => {
            let short = string_regex(&bounded(pattern, 5)).expect(pattern);
            match most >= 128 {
                true => choose![4 => short, 1 => string_regex(&bounded(pattern, 90)).expect(pattern)].boxed(),
                false => short.boxed(),
            }
        }
        None => choose![
            4 => crate::replication_xml::text(),
            2 => select(vec!["k", "K", "team", "Team", "\u{1}", "\u{fffe}", "e\u{301}"]).prop_map(str::to_owned),
            2 => "\\PC{0,8}",
            1 => string_regex(&format!("[a-zé]{{{most}}}")).unwrap(),
        ]
        .boxed(),
    };
    let holds = move |text: &String| {
        (least..=most).contains(&text.chars().count()) && parts.iter().all(|part| part.holds(text))
    };
    drawn.prop_filter("not admitted", holds).boxed()
}

fn durations() -> BoxedStrategy<String> {
    let times = (optional(0.5, 0u32..30), optional(0.5, 0u32..999), optional(0.5, 0u32..99_999));
    times
        .prop_map(|(hours, minutes, seconds)| {
            let part = |number: Option<u32>, unit: &str| {
                number.map(|number| format!("{number}{unit}")).unwrap_or_default()
            };
            part(hours, "h") + &part(minutes, "m") + &part(seconds, "s")
        })
        .boxed()
}

/// Times as people write them. The API server also takes years, offsets and fractions that no program here holds.
fn date_times() -> BoxedStrategy<String> {
    let second = choose![4 => 1_700_000_000i64..1_900_000_000, 1 => -2_000_000_000i64..4_000_000_000];
    let fraction = optional(0.3, 1u32..999_999_999);
    let offset = optional(0.3, (-14i32..=14, select(vec![0u32, 30, 45])));
    (second, fraction, offset, any::<bool>())
        .prop_map(|(second, fraction, offset, is_lower)| {
            let time =
                jiff::Timestamp::from_second(second).unwrap().strftime("%Y-%m-%dT%H:%M:%S").to_string();
            let fraction = fraction.map(|digits| format!(".{digits}")).unwrap_or_default();
            let zone = offset.map_or("Z".to_owned(), |(hours, minutes)| format!("{hours:+03}:{minutes:02}"));
            let text = time + &fraction + &zone;
            if is_lower { text.to_ascii_lowercase() } else { text }
        })
        .boxed()
}

/// The pattern without its anchors, and with at most `most` repetitions where it sets no limit.
fn bounded(pattern: &str, most: usize) -> String {
    let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
    let mut in_class = false;
    let mut bounded = String::new();
    for character in pattern.chars() {
        match (character, in_class) {
            ('[', false) => in_class = true,
            (']', true) => in_class = false,
            ('+', false) => {
                bounded += &format!("{{1,{most}}}");
                continue;
            }
            ('*', false) => {
                bounded += &format!("{{0,{most}}}");
                continue;
            }
            _ => {}
        }
        bounded.push(character);
    }
    bounded.replace("{2,}", "{2,4}")
}

/// A part of a rule on one text.
#[derive(Clone, Debug)]
enum Part {
    Not(Box<Part>),
    Matches(Box<Regex>),
    Contains(String),
    StartsWith(String),
    EndsWith(String),
    LongerThan(usize),
    AtLeast(usize),
    AtMost(usize),
    Duration,
    /// About the value before the change: there is none.
    Transition,
}

impl PartialEq for Part {
    fn eq(&self, other: &Part) -> bool {
        matches!((self, other), (Part::Duration, Part::Duration))
    }
}

impl Part {
    fn parse(part: &str, subject: &str) -> Part {
        if let Some(rest) = part.strip_prefix('!') {
            return Part::Not(Box::new(Part::parse(rest, subject)));
        }
        if part == "self == oldSelf" {
            return Part::Transition;
        }
        if part.starts_with("duration(self) ") {
            return Part::Duration;
        }
        let call = |name: &str| {
            let argument =
                part.strip_prefix(subject)?.strip_prefix(&format!(".{name}('"))?.strip_suffix("')")?;
            Some(argument.to_owned())
        };
        let size = |operator: &str| {
            part.strip_prefix(&format!("{subject}.size() {operator} "))?.parse::<usize>().ok()
        };
        let known = call("matches")
            .map(|pattern| Part::Matches(Box::new(Regex::new(&pattern).expect(part))))
            .or_else(|| call("contains").map(Part::Contains))
            .or_else(|| call("startsWith").map(Part::StartsWith))
            .or_else(|| call("endsWith").map(Part::EndsWith))
            .or_else(|| size(">").map(Part::LongerThan))
            .or_else(|| size(">=").map(Part::AtLeast))
            .or_else(|| size("<=").map(Part::AtMost));
        known.unwrap_or_else(|| panic!("the part {part} of an admission rule is not known to this file"))
    }

    fn holds(&self, text: &str) -> bool {
        let length = text.chars().count();
        match self {
            Part::Not(part) => !part.holds(text),
            Part::Matches(pattern) => pattern.is_match(text),
            Part::Contains(part) => text.contains(part),
            Part::StartsWith(part) => text.starts_with(part),
            Part::EndsWith(part) => text.ends_with(part),
            Part::LongerThan(bound) => length > *bound,
            Part::AtLeast(bound) => length >= *bound,
            Part::AtMost(bound) => length <= *bound,
            Part::Duration => text
                .parse::<jiff::SignedDuration>()
                .is_ok_and(|duration| (60..=86_400).contains(&duration.as_secs())),
            Part::Transition => true,
        }
    }
}

/// A change that makes a rule hold.
type Change = fn(&mut Value);

/// How each rule on several fields is made to hold, by the beginning of the rule.
const SATISFIED: [(&str, Change); 16] = [
    ("self == oldSelf", |_| {}),
    ("(has(self.role) && has(self.role.arn)) || (has(oldSelf.role)", |_| {}),
    ("self.all(", |_| {}),
    // About the spec before the change.
    ("has(self.replicationRef) == has(oldSelf.replicationRef) && ", |_| {}),
    ("!(has(oldSelf.approved) && oldSelf.approved) || ", |_| {}),
    ("!(has(oldSelf.cancel) && oldSelf.cancel) || ", |_| {}),
    ("!has(self.createdAfter) || !has(self.createdBefore) || self.createdAfter < ", |spec| {
        let time = |field: &str| spec[field].as_str().map(|text| text.parse::<jiff::Timestamp>().unwrap());
        if time("createdAfter").zip(time("createdBefore")).is_some_and(|(after, before)| after >= before) {
            spec.as_object_mut().unwrap().remove("createdBefore");
        }
    }),
    ("!has(self.arn) || !(has(self.name)", |role| {
        if role.get("arn").is_some() {
            *role = json!({"arn": role["arn"]});
        }
    }),
    ("self.size() <= 1 || self.all(r, has(r.priority))", |rules| {
        let rules = rules.as_array_mut().unwrap();
        if rules.len() > 1 {
            rules
                .iter_mut()
                .filter(|rule| rule["priority"].is_null())
                .for_each(|rule| rule["priority"] = json!(0));
        }
    }),
    ("self.size() > 64 || self.all(r, !has(r.priority)", |rules| {
        let mut taken = Vec::new();
        for rule in rules.as_array_mut().unwrap() {
            while taken.contains(&rule["priority"]) && !rule["priority"].is_null() {
                rule["priority"] =
                    json!(rule["priority"].as_i64().unwrap().saturating_sub(1).rem_euclid(1 << 31));
            }
            taken.push(rule["priority"].clone());
            if rule["priority"].is_null() {
                rule.as_object_mut().unwrap().remove("priority");
            }
        }
    }),
    // Lists of more than 64 rules, which are not drawn.
    ("oldSelf.hasValue() && oldSelf.value() == self || self.size() <= 64", |_| {}),
    ("!(has(self.deleteMarkers) && self.deleteMarkers == 'Enabled' && has(self.filter)", |rule| {
        let tags =
            rule.pointer("/filter/tags").and_then(Value::as_object).is_some_and(|tags| !tags.is_empty());
        if tags && rule["deleteMarkers"] == "Enabled" {
            rule["deleteMarkers"] = json!("Disabled");
        }
    }),
    ("!has(self.destination) || (has(self.kmsEncryptedObjects)", |rule| {
        let key = rule["destination"].get("kmsKeyArn").is_some();
        rule["kmsEncryptedObjects"] = json!(if key { "Enabled" } else { "Disabled" });
    }),
    ("!has(self.ownership) || has(self.account)", |destination| {
        if destination.get("account").is_none() && destination.get("accountRef").is_none() {
            destination.as_object_mut().unwrap().remove("ownership");
        }
    }),
    ("!(has(self.replicationTimeControl) && self.replicationTimeControl == 'Enabled'", |destination| {
        if destination["replicationTimeControl"] == "Enabled" {
            destination.as_object_mut().unwrap().remove("metrics");
        }
    }),
    ("!has(self.rules) || !has(self.source) || !has(self.source.bucket)", |spec| {
        let source = spec["source"]["bucket"].clone();
        for rule in spec["rules"].as_array_mut().unwrap() {
            if rule["destination"]["bucket"] == source {
                rule["destination"]["bucket"] = json!("another-bucket");
            }
        }
    }),
];

/// A value without the switches that say what their absence says.
fn meaning(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| *field != "Disabled" && !field.is_null());
    }
    if let Some(items) = value.as_array_mut() {
        items.iter_mut().for_each(|item| *item = meaning(item));
    }
    value
}

/// Why the API server would not admit a value; `Ok` if it would.
pub fn admits(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let refused = |why: String| Err(format!("{path} is {value}: {why}"));
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        return refused("it is none of the enum".to_owned());
    }
    if let Some(number) = value.as_f64() {
        let below = schema["minimum"].as_f64().is_some_and(|least| number < least);
        let above = schema["maximum"].as_f64().is_some_and(|most| number > most);
        if below || above {
            return refused("it is out of bounds".to_owned());
        }
    }
    if let Some(text) = value.as_str() {
        let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
        if text.chars().count() as u64 > most {
            return refused("it is too long".to_owned());
        }
        let rules = rules_of(schema);
        let mut parts = rules.iter().flat_map(|rule| rule.split(" && "));
        return match parts.find(|part| !Part::parse(part, "self").holds(text)) {
            Some(part) => refused(format!("{part} does not hold")),
            None => Ok(()),
        };
    }
    for rule in rules_of(schema) {
        let mut changed = value.clone();
        satisfy(&rule, &mut changed);
        if meaning(&changed) != meaning(value) {
            return refused(format!("{rule} does not hold"));
        }
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(held) = value.get(name) {
            admits(field, held, &format!("{path}.{name}"))?;
        }
    }
    for item in value.as_array().into_iter().flatten() {
        admits(&schema["items"], item, &format!("{path}[]"))?;
    }
    Ok(())
}

fn is_known(rule: &str) -> bool {
    SATISFIED.iter().any(|(beginning, _)| rule.starts_with(beginning))
}

/// Changes a value so that a rule holds.
fn satisfy(rule: &str, value: &mut Value) {
    let known = SATISFIED.iter().find(|(beginning, _)| rule.starts_with(beginning));
    let Some((_, change)) = known else { panic!("the admission rule {rule} is not known to this file") };
    change(value);
}
