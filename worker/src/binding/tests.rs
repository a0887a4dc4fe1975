//! Requests and what is made of them.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Method;
use axum::routing::any;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::reading::{FORM, content_type};
use super::*;

#[derive(Debug, Serialize, Deserialize, Validate)]
struct User {
    #[garde(length(min = 1, max = 20))]
    name: String,
    #[garde(email)]
    email: String,
    #[garde(range(max = 150))]
    #[serde(default)]
    age: u8,
}

#[derive(Debug, Serialize, Deserialize, Validate)]
struct Token {
    #[garde(length(min = 3))]
    x_token: String,
}

#[derive(Debug, Serialize, Deserialize, Validate)]
struct Place {
    #[garde(range(min = 1))]
    id: u32,
}

fn shown<T: Serialize>(value: T) -> axum::Json<T> {
    axum::Json(value)
}

async fn own(place: Result<BindQuery<Place>, Refused>) -> Result<axum::Json<Place>> {
    let coded = |refused: Refused| {
        let fields = refused.report().details.map(|details| details.to_string());
        Error::from(refused).code(fields.unwrap_or_default())
    };
    place.map(|BindQuery(place)| shown(place)).map_err(coded)
}

fn router() -> Router {
    Router::new()
        .route("/own", any(own))
        .route("/bind", any(async |Bind(user): Bind<User>| shown(user)))
        .route("/should", any(async |ShouldBind(user): ShouldBind<User>| user.map(shown)))
        .route(
            "/other",
            any(async |ShouldBind(user): ShouldBind<User>| {
                user.map(shown).map_err(|error| error.with_status(StatusCode::UNPROCESSABLE_ENTITY))
            }),
        )
        .route("/json", any(async |BindJson(user): BindJson<User>| shown(user)))
        .route("/should-json", any(async |ShouldBindJson(user): ShouldBindJson<User>| user.map(shown)))
        .route("/form", any(async |BindForm(user): BindForm<User>| shown(user)))
        .route("/query", any(async |BindQuery(user): BindQuery<User>| shown(user)))
        .route("/header", any(async |BindHeader(token): BindHeader<Token>| shown(token)))
        .route("/at/{id}", any(async |ShouldBindPath(place): ShouldBindPath<Place>| place.map(shown)))
}

/// Method, target, content type, body: status, content type, body.
async fn ask(method: Method, uri: &str, kind: &str, body: &str) -> (u16, String, String) {
    let request =
        Request::builder().method(method).uri(uri).header("x-token", "abc").header(header::CONTENT_TYPE, kind);
    let response = router().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let kind = content_type(response.headers());
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, kind, String::from_utf8(body.to_vec()).unwrap())
}

const JSON: &str = "application/json; charset=utf-8";

#[tokio::test]
async fn a_body_counts_by_its_type_and_the_query_string_fills_what_it_leaves() {
    let multipart = "--x\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nann\r\n--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\nfile\r\n--x\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\na@b.org\r\n--x--\r\n";
    let ann = |age: u8| json!({ "name": "ann", "email": "a@b.org", "age": age });
    for (method, uri, kind, body, user) in [
        (Method::POST, "/bind", JSON, r#"{"name":"ann","email":"a@b.org","age":3}"#, ann(3)),
        (Method::POST, "/bind?name=bob&age=4", JSON, r#"{"name":"ann","email":"a@b.org"}"#, ann(4)),
        (Method::POST, "/bind?age=5", FORM, "name=ann&email=a%40b.org", ann(5)),
        (Method::POST, "/bind", "multipart/form-data; boundary=x", multipart, ann(0)),
        (Method::GET, "/bind?name=ann&email=a@b.org", "", "", ann(0)),
        // Without a body a type means nothing.
        (Method::POST, "/bind?name=ann&email=a@b.org", "text/plain", "", ann(0)),
        (Method::POST, "/should", JSON, r#"{"name":"ann","email":"a@b.org"}"#, ann(0)),
        (Method::POST, "/json?age=9", "", r#"{"name":"ann","email":"a@b.org"}"#, ann(0)),
        (Method::POST, "/form?age=9", FORM, "name=ann&email=a%40b.org", ann(0)),
        (Method::POST, "/query?name=ann&email=a@b.org", JSON, "{}", ann(0)),
    ] {
        let (status, _, answer) = ask(method.clone(), uri, kind, body).await;
        assert_eq!(status, 200, "{method} {uri} {answer}");
        assert_eq!(serde_json::from_str::<Value>(&answer).unwrap(), user, "{method} {uri}");
    }
    assert_eq!(ask(Method::GET, "/header", "", "").await.2, "{\"x_token\":\"abc\"}");
    assert_eq!(ask(Method::GET, "/at/7", "", "").await.2, "{\"id\":7}");
}

#[tokio::test]
async fn bind_answers_in_plain_text_and_should_bind_leaves_it_to_the_handler() {
    let (status, kind, text) = ask(Method::POST, "/bind", JSON, r#"{"name":"","email":"x","age":200}"#).await;
    assert_eq!((status, kind.as_str()), (400, "text/plain"));
    for field in ["age: ", "email: ", "name: "] {
        assert!(text.contains(field), "{text}");
    }
    let (status, kind, text) = ask(Method::POST, "/should", JSON, r#"{"name":"","email":"x"}"#).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, kind.as_str(), &answer["error"]), (400, "application/json", &json!("invalid request")));
    assert!(answer["details"]["email"][0].is_string() && answer["details"]["name"][0].is_string(), "{answer}");
    assert_eq!(ask(Method::POST, "/other", JSON, "{}").await.0, 422);
    // What is missing, and what breaks a rule, at once.
    let details = async |body: &str| {
        let answer: Value = serde_json::from_str(&ask(Method::POST, "/should", JSON, body).await.2).unwrap();
        answer["details"].clone()
    };
    assert_eq!(details("{}").await, json!({ "email": ["is required"], "name": ["is required"] }));
    let both = details(r#"{"email":"x"}"#).await;
    assert_eq!((&both["name"], both["email"][0].is_string()), (&json!(["is required"]), true));
}

#[tokio::test]
async fn a_handler_may_answer_a_refusal_itself() {
    assert_eq!(ask(Method::GET, "/own?id=7", "", "").await.2, "{\"id\":7}");
    let (status, kind, text) = ask(Method::GET, "/own", "", "").await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, kind.as_str()), (400, "application/json"));
    let details = json!({ "id": ["is required"] });
    assert_eq!((&answer["code"], &answer["details"]), (&json!(details.to_string()), &details));
}

#[tokio::test]
async fn what_is_no_request_of_that_kind_is_told() {
    for (uri, kind, body, says) in [
        ("/json", JSON, "", "the body is empty"),
        ("/json", JSON, "{", "not JSON: EOF"),
        ("/json", JSON, "[1]", "not a JSON object"),
        ("/json", JSON, r#"{"name":1,"email":"a@b.org"}"#, "name: invalid type: integer"),
        ("/json", JSON, r#"{"name":"ann"}"#, "email: is required"),
        ("/form", FORM, "name=ann", "email: is required"),
        ("/form", FORM, "name=ann&email=a%40b.org&age=x", "age: \"x\" is not a whole number"),
        ("/form", "multipart/form-data", "", "boundary"),
        ("/query?name=ann&email=no", "", "", "email: "),
    ] {
        let (status, kind, text) = ask(Method::POST, uri, kind, body).await;
        assert_eq!((status, kind.as_str()), (400, "text/plain"), "{uri} {body}");
        assert!(text.to_lowercase().contains(&says.to_lowercase()), "{says}: {text}");
    }
    assert_eq!(ask(Method::GET, "/at/0", "", "").await.0, 400);
    assert_eq!(ask(Method::GET, "/at/x", "", "").await.0, 400);
    // axum's own limit is 2 MiB.
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(3 << 20));
    assert_eq!(ask(Method::POST, "/json", JSON, &long).await.0, 413);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_and_never_passed_over() {
    let query = "name=ann&email=a@b.org";
    for (uri, kind) in [
        (format!("/bind?{query}"), "text/plain"),
        (format!("/bind?{query}"), "application/xml"),
        (format!("/bind?{query}"), ""),
        (format!("/should?{query}"), "text/plain"),
        ("/form".to_owned(), "text/plain"),
        ("/form".to_owned(), JSON),
    ] {
        let (status, answered, text) = ask(Method::PUT, &uri, kind, "name=zoe").await;
        assert_eq!((status, answered.as_str()), (415, "application/json"), "{uri} {kind}: {text}");
        let what = if kind.is_empty() { "a body without Content-Type" } else { "a body of " };
        assert!(text.contains(what) && text.contains("send application/"), "{text}");
    }
    // Nobody says how long it is, and it is empty.
    let empty = Body::from_stream(futures_util::stream::iter([Ok::<_, std::convert::Infallible>(Bytes::new())]));
    let request =
        Request::put(format!("/bind?{query}")).header(header::CONTENT_TYPE, "text/plain").body(empty).unwrap();
    assert_eq!(router().oneshot(request).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn the_strict_ones_read_one_place_alone() {
    for (uri, kind, body) in [
        ("/json?email=a@b.org", JSON, r#"{"name":"ann"}"#),
        ("/form?email=a@b.org", FORM, "name=ann"),
        ("/query?name=ann", JSON, r#"{"email":"a@b.org"}"#),
    ] {
        let (status, _, text) = ask(Method::POST, uri, kind, body).await;
        assert!(status == 400 && text.contains("email: is required"), "{uri}: {status} {text}");
    }
}
