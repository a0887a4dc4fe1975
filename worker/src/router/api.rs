//! Routes that know their types: see [`crate::api`].

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};

use super::group::Route;
use super::names::HandlerName;
use crate::api::{Answer, Arguments, Function, Operation};

macro_rules! methods {
    ($($name:ident $method:ident;)*) => {$(
        #[doc = concat!("Answers `", stringify!($method), "` on `path`, and tells in `/routes` what the handler reads and answers: see")]
        /// [`crate::api`]. Each argument is an [`Argument`](crate::api::Argument), the answer an [`Answer`].
        #[track_caller]
        pub fn $name<H, T, A>(path: &str, handler: H) -> Self
        where
            H: Handler<T, S> + Function<A>,
            T: 'static,
            A: Arguments,
            <H as Function<A>>::Answer: Answer,
        {
            let mut route = Self::new(Some(Method::$method), path, on(MethodFilter::$method, handler), HandlerName::of::<H>());
            route.operation = Some(Operation::of::<A, <H as Function<A>>::Answer>());
            route
        }
    )*};
}

impl<S: Clone + Send + Sync + 'static> Route<S> {
    methods! {
        api_get GET;
        api_post POST;
        api_put PUT;
        api_patch PATCH;
        api_delete DELETE;
    }
}

#[cfg(test)]
mod tests {
    use axum::Json;
    use axum::extract::{Path, Query, State};
    use serde::{Deserialize, Serialize};
    use serde_json::{Map, Value, json};

    use super::super::record::{Record, Routes};
    use super::*;
    use crate::api::{Created, Input, Place};
    use crate::{Config, Group, Result, Server};

    #[derive(Deserialize)]
    struct Paging {
        #[serde(default)]
        page: u32,
        search: Option<String>,
    }

    #[derive(Serialize, Deserialize)]
    struct NewUser {
        name: String,
    }

    #[derive(Serialize, Deserialize)]
    struct User {
        id: u64,
        name: String,
    }

    async fn list(Query(paging): Query<Paging>) -> Json<Vec<User>> {
        Json(vec![User { id: u64::from(paging.page), name: paging.search.unwrap_or_default() }])
    }

    async fn create(State(id): State<u64>, Json(new): Json<NewUser>) -> Result<Created<Json<User>>> {
        Ok(Created(Json(User { id, name: new.name })))
    }

    async fn show(Path(id): Path<u64>) -> Result<Json<User>> {
        Ok(Json(User { id, name: String::new() }))
    }

    fn routes() -> std::sync::Arc<Routes> {
        let group = Group::new("/users")
            .route(Route::api_get("/", list).describe("List users").tag("users"))
            .route(Route::api_post("/", create).describe("Create a user"))
            .route(Route::api_get("/:id", show))
            .route(Route::get("/free", async || "free"));
        Server::new(&Config::<()>::default()).group(group).with_state(3_u64).finish(None).unwrap().routes
    }

    /// OpenAPI's parameters of an input: a field is one, and a single value is the parameter of the path.
    fn parameters(record: &Record, input: &Input) -> Vec<Value> {
        use crate::api::Schema;
        let parameter = |name: &str, is_required: bool, schema: &Schema| json!({ "in": input.place, "name": name, "required": is_required, "schema": schema });
        match &input.schema {
            Schema::Object(object) => {
                object.fields.iter().map(|field| parameter(&field.name, field.is_required, &field.schema)).collect()
            }
            schema => record.params.keys().map(|name| parameter(name, true, schema)).collect(),
        }
    }

    /// A document in the manner of OpenAPI, of nothing but the registry.
    fn document(routes: &Routes) -> Value {
        let mut paths = Map::new();
        for record in routes.iter() {
            let Some(operation) = &record.operation else { continue };
            let (bodies, others): (Vec<_>, Vec<_>) =
                operation.inputs.iter().partition(|input| input.place == Place::Body);
            let parameters: Vec<Value> = others.into_iter().flat_map(|input| parameters(record, input)).collect();
            let body = bodies
                .first()
                .map(|input| Map::from_iter([(input.content_types[0].to_owned(), json!({ "schema": input.schema }))]));
            let answers: Map<String, Value> = operation
                .outputs
                .iter()
                .map(|output| {
                    (output.status.map_or("default".to_owned(), |status| status.to_string()), json!(output.schema))
                })
                .collect();
            paths.entry(&record.template).or_insert_with(|| json!({}))[record.method.to_lowercase()] = json!({
                "summary": record.description,
                "tags": record.tags,
                "parameters": parameters,
                "requestBody": body,
                "responses": answers,
            });
        }
        json!({ "openapi": "3.1.0", "paths": paths })
    }

    #[test]
    fn a_document_can_be_made_of_the_registry_alone() {
        let document = document(&routes());
        let list = &document["paths"]["/users/"]["get"];
        assert_eq!((&list["summary"], &list["tags"][0]), (&json!("List users"), &json!("users")));
        let names: Vec<_> =
            list["parameters"].as_array().unwrap().iter().map(|one| (&one["name"], &one["required"])).collect();
        assert_eq!(names, [(&json!("page"), &json!(false)), (&json!("search"), &json!(false))]);
        assert_eq!(list["responses"]["200"]["items"]["required"], json!(["id", "name"]));
        let create = &document["paths"]["/users/"]["post"];
        assert_eq!(create["requestBody"]["application/json"]["schema"]["required"], json!(["name"]));
        assert_eq!(
            (&create["responses"]["201"]["title"], &create["responses"]["default"]["title"]),
            (&json!("User"), &json!("Error"))
        );
        let show = &document["paths"]["/users/{id}"]["get"];
        let id = json!({
            "in": "path", "name": "id", "required": true,
            "schema": { "type": "integer", "format": "uint64", "minimum": 0 },
        });
        assert_eq!(show["parameters"], json!([id]));
        assert_eq!(document["paths"].as_object().unwrap().len(), 2, "a route that is free says nothing");
    }

    #[test]
    fn the_list_of_routes_has_the_types_where_they_are_known() {
        let json = routes().json();
        let operation = &json["routes"]["POST:/users/"]["operation"];
        assert_eq!((&operation["inputs"][0]["in"], &operation["outputs"][0]["status"]), (&json!("body"), &json!(201)));
        assert_eq!(
            (json["routes"]["GET:/users/free"].get("operation"), &json["routes"]["GET:/users/"]["handler"]),
            (None, &json!("list"))
        );
    }
}
