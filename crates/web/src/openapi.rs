//! The description of the API: `/openapi.json` (`OpenAPI` 3.1) for machines, `/docs` for people. The
//! page is made from the document and needs nothing else: no script, no other server.

use crate::{App, border, problem};
use aegle_model::Hash;
use askama::Template;
use axum::Router;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use serde_json::Value;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContactBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
};

/// What stands before the routes.
pub(crate) fn head() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Aegle")
        .version("1")
        .description(Some(
            "Patients decide who sees which part of their medical record across hospitals. Sign in at \
             `/api/v1/session` and send the token as `authorization: Bearer`. Centres are named by \
             their codes, times are RFC 3339, errors are problem details (RFC 9457).",
        ))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
        .contact(None::<ContactBuilder>.map(ContactBuilder::build));
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let components = ComponentsBuilder::new().security_scheme("token", SecurityScheme::Http(token));
    OpenApiBuilder::new().info(info.build()).components(Some(components.build())).build()
}

/// Where the description is.
pub(crate) fn routes(document: &OpenApi) -> Router<App> {
    let mut document = serde_json::to_value(document).expect("the document has only text keys");
    name_problems(&mut document);
    let page = Page::new(&document).render().expect("writing to memory cannot fail");
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; frame-ancestors 'none'",
        border::base64(Hash::sha256(&[STYLE.as_bytes()]).as_bytes())
    );
    let page = move || async move {
        ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
    };
    Router::new()
        .route("/openapi.json", get(move || async move { axum::Json(document) }))
        .route("/docs", get(page))
}

/// Says that errors are problems, also those that any operation can end with.
fn name_problems(document: &mut Value) {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, operation) in paths.flat_map(|(_, item)| item.as_object_mut().into_iter().flatten()) {
        let Some(replies) = operation["responses"].as_object_mut() else { continue };
        let mut problem = None;
        let errors = replies.iter_mut().filter(|(status, _)| status.as_str() >= "400");
        for (_, reply) in errors {
            let Some(content) = reply["content"].as_object_mut() else { continue };
            if let Some(schema) = content.remove("application/json") {
                content.insert(problem::MEDIA_TYPE.to_owned(), schema);
            }
            problem.get_or_insert_with(|| reply.clone());
        }
        if let Some(mut any) = problem {
            any["description"] = "any other problem".into();
            replies.insert("default".to_owned(), any);
        }
    }
}

const STYLE: &str = include_str!("../templates/docs.css");

/// The page at `/docs`.
#[derive(Template)]
#[template(path = "docs.html")]
struct Page<'a> {
    style: &'a str,
    title: &'a str,
    description: &'a str,
    operations: Vec<Operation<'a>>,
    schemas: Vec<Schema<'a>>,
}

/// One method of one path.
struct Operation<'a> {
    method: String,
    path: &'a str,
    summary: &'a str,
    token: bool,
    parameters: Vec<Field<'a>>,
    body: Option<Kind>,
    answers: Vec<Reply<'a>>,
}

/// What an operation can answer.
struct Reply<'a> {
    status: &'a str,
    description: &'a str,
    body: Option<Kind>,
}

/// A named type.
struct Schema<'a> {
    name: &'a str,
    description: &'a str,
    fields: Vec<Field<'a>>,
    /// The type's own JSON, when it is no plain object.
    form: String,
}

/// A field of a type, or a parameter.
struct Field<'a> {
    name: &'a str,
    kind: Kind,
    required: bool,
    description: &'a str,
}

/// A type: words around the name of a schema, if it names one.
struct Kind {
    before: &'static str,
    schema: Option<String>,
    text: String,
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

impl<'a> Page<'a> {
    fn new(document: &'a Value) -> Self {
        let paths = entries(&document["paths"]);
        let operations = paths.flat_map(|(path, item)| {
            let of_path =
                METHODS.into_iter().filter_map(move |method| Some((method, item.get(method)?)));
            of_path.map(move |(method, operation)| Operation::new(method, path, operation))
        });
        let schemas = entries(&document["components"]["schemas"]);
        Self {
            style: STYLE,
            title: text(&document["info"]["title"]),
            description: text(&document["info"]["description"]),
            operations: operations.collect(),
            schemas: schemas.map(|(name, schema)| Schema::new(name, schema)).collect(),
        }
    }
}

impl<'a> Operation<'a> {
    fn new(method: &str, path: &'a str, operation: &'a Value) -> Self {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let answers = entries(&operation["responses"]).map(|(status, reply)| Reply {
            status,
            description: text(&reply["description"]),
            body: body(reply),
        });
        Self {
            method: method.to_uppercase(),
            path,
            summary: text(&operation["summary"]),
            token: operation.get("security").is_some(),
            parameters: parameters
                .map(|field| Field::new(text(&field["name"]), &field["schema"], field))
                .collect(),
            body: operation.get("requestBody").and_then(body),
            answers: answers.collect(),
        }
    }
}

impl<'a> Schema<'a> {
    fn new(name: &'a str, schema: &'a Value) -> Self {
        let required = |field: &str| {
            let names = schema["required"].as_array().into_iter().flatten();
            names.into_iter().any(|name| name == field)
        };
        let fields = entries(&schema["properties"]).map(|(field, kind)| Field {
            required: required(field),
            ..Field::new(field, kind, kind)
        });
        let fields: Vec<_> = fields.collect();
        let plain = !fields.is_empty();
        let form = if plain { String::new() } else { form(schema) };
        Self { name, description: text(&schema["description"]), fields, form }
    }
}

impl<'a> Field<'a> {
    fn new(name: &'a str, kind: &Value, about: &'a Value) -> Self {
        let required = about["required"].as_bool().unwrap_or(false);
        Self { name, kind: Kind::of(kind), required, description: text(&about["description"]) }
    }
}

impl Kind {
    fn of(schema: &Value) -> Self {
        let named = |schema: &Value| {
            let name = schema["$ref"].as_str()?.rsplit('/').next()?;
            Some(name.to_owned())
        };
        let of_choice =
            || schema["oneOf"].as_array().and_then(|choice| choice.iter().find_map(named));
        if let Some(name) = named(schema).or_else(of_choice) {
            return Self { before: "", schema: Some(name), text: String::new() };
        }
        if let Some(name) = named(&schema["items"]) {
            return Self { before: "list of ", schema: Some(name), text: String::new() };
        }
        Self { before: "", schema: None, text: plain(schema) }
    }
}

/// A type without a name, in words.
fn plain(schema: &Value) -> String {
    let kind = match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")
        }
        _ => "any".to_owned(),
    };
    match (kind.starts_with("array"), schema["format"].as_str()) {
        (true, _) => format!("list of {}", plain(&schema["items"])),
        (false, Some(format)) => format!("{kind} ({format})"),
        (false, None) => kind,
    }
}

/// The JSON of a schema without its description.
fn form(schema: &Value) -> String {
    let mut schema = schema.clone();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("description");
    }
    serde_json::to_string_pretty(&schema).expect("JSON has only text keys")
}

/// The JSON type of a body.
fn body(of: &Value) -> Option<Kind> {
    let (media_type, content) = entries(of.get("content")?).next()?;
    let mut kind = Kind::of(&content["schema"]);
    if media_type.starts_with("text/") || media_type.contains("openmetrics") {
        media_type.clone_into(&mut kind.text);
    }
    Some(kind)
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
