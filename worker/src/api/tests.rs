//! Schemas that types tell.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is described, and never made")]
struct Whole {
    id: u64,
    #[serde(rename = "displayName")]
    name: String,
    nick: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    ratio: f64,
    address: Address,
    others: HashMap<String, Address>,
    state: State3,
    anything: Value,
    short: Cow<'static, str>,
    #[serde(skip)]
    hidden: u8,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is described, and never made")]
struct Address {
    street: String,
    #[serde(default)]
    number: i32,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum State3 {
    New,
    Old,
}

fn text() -> Value {
    json!({ "type": "string" })
}

#[test]
fn a_type_is_described_by_its_deserialize() {
    let address = json!({
        "title": "Address",
        "type": "object",
        "properties": { "street": text(), "number": { "type": "integer", "format": "int32" } },
        "required": ["street"],
    });
    let expected = json!({
        "title": "Whole",
        "type": "object",
        "properties": {
            "id": { "type": "integer", "format": "uint64", "minimum": 0 },
            "displayName": text(),
            "nick": { "anyOf": [text(), { "type": "null" }] },
            "tags": { "type": "array", "items": text() },
            "ratio": { "type": "number", "format": "double" },
            "address": address,
            "others": { "type": "object", "additionalProperties": address },
            "state": { "title": "State3", "type": "string", "enum": ["new", "old"] },
            "anything": {},
            "short": text(),
        },
        "required": ["id", "displayName", "ratio", "address", "others", "state", "anything", "short"],
    });
    assert_eq!(Whole::schema().json(), expected);
}

/// A tree, a list of itself without a name, and a variant with its own type.
#[derive(Deserialize)]
#[expect(dead_code, reason = "it is described, and never made")]
struct Tree {
    children: Vec<Tree>,
    nest: Nest,
    term: Term,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is described, and never made")]
struct Nest(Vec<Nest>);

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is described, and never made")]
enum Term {
    Not(Box<Term>),
    Value { number: u8 },
    Pair(u8, u8),
    Nothing,
}

#[test]
fn a_type_within_itself_has_an_end() {
    let schema = Tree::schema().json();
    let properties = &schema["properties"];
    assert_eq!(properties["children"], json!({ "type": "array", "items": { "title": "Tree" } }));
    assert_eq!(properties["nest"]["items"]["items"]["type"], "array");
    let term = &properties["term"];
    assert_eq!(term["oneOf"][0]["properties"], json!({ "Not": { "title": "Term" } }));
    assert_eq!(term["oneOf"][1]["properties"]["Value"]["required"], json!(["number"]));
    assert_eq!(term["oneOf"][2]["properties"]["Pair"], json!({ "type": "array", "items": {} }));
    assert_eq!(term["oneOf"][3]["enum"], json!(["Nothing"]));
    assert_eq!(schema["required"], json!(["children", "nest", "term"]));
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is described, and never made")]
struct Unusual {
    ip: IpAddr,
    #[serde(default)]
    port: u16,
    pair: (u8, String),
    more: Option<u8>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is described, and never made")]
struct Formed {
    ip: IpAddr,
    #[serde(default)]
    port: u16,
    more: Option<u8>,
}

#[test]
fn what_a_type_does_not_tell_is_left_open() {
    assert_eq!(Unusual::schema(), Schema::Map(Box::new(Schema::Any)));
    // No example of an address is known here: all but an `Option` counts as required.
    assert_eq!(Formed::schema().json()["required"], json!(["ip", "port"]));
    assert_eq!(Value::schema(), Schema::Any);
    assert_eq!(<(u8, String)>::schema(), Schema::List(Box::new(Schema::Any)));
}

/// A type that is only answered.
#[derive(serde::Serialize)]
struct Plain {
    text: &'static str,
}

impl Describe for Plain {
    fn schema() -> Schema {
        Object::new("Plain").field::<String>("text").into()
    }
}

async fn show(_: State<()>, _: Path<u64>, _: Query<Address>, _: Json<Address>) -> crate::Result<Created<Json<Plain>>> {
    Ok(Created(Json(Plain { text: "made" })))
}

fn operation<A: Arguments, F: Function<A, Answer: Answer>>(_: F) -> Operation {
    Operation::of::<A, F::Answer>()
}

#[test]
fn a_handler_is_described_by_its_arguments_and_its_answer() {
    let Operation { inputs, outputs } = operation(show);
    assert_eq!(inputs.iter().map(|input| input.place).collect::<Vec<_>>(), [Place::Path, Place::Query, Place::Body]);
    assert_eq!(inputs[2].content_types, ["application/json"]);
    assert_eq!((outputs[0].status, outputs[1].status), (Some(201), None));
    assert_eq!(serde_json::to_value(&outputs[0]).unwrap()["schema"]["required"], json!(["text"]));
    assert_eq!(serde_json::to_value(&outputs[1]).unwrap()["schema"]["required"], json!(["error"]));
    let Operation { inputs, outputs } = operation(async || "hello");
    assert_eq!((inputs.len(), outputs[0].content_type), (0, Some("text/plain")));
}

#[test]
fn headers_have_the_names_that_they_have_on_the_wire() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "it is described, and never made")]
    struct Token {
        x_token: String,
    }
    assert_eq!(Input::header::<Token>().schema.json()["required"], json!(["x-token"]));
}
