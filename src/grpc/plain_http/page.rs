//! The pages that describe the API: the OpenAPI document, and the same for people. The page needs nothing from
//! elsewhere and runs no scripts.

use std::{fmt::Write as _, sync::OnceLock};

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderValue,
    header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use prost_reflect::DescriptorPool;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};

use super::{
    PlainHttp, errors::code_of, errors::error_json, json_response, openapi::document,
    response::add_http_headers,
};

/// The path of the OpenAPI document.
pub const OPENAPI_PATH: &str = "/openapi.json";
/// The path of the page for people.
pub const PAGE_PATH: &str = "/docs";

/// The path of the text that a browser shows at the server's address.
pub const WELCOME_PATH: &str = "/";

/// Without authentication, so it names no version.
const WELCOME: &str = "\
This is tara-export, which stores completed document reviews as audit bundles.

Its API is tara.export.v1 over gRPC, gRPC-Web and plain HTTP.
  /docs          the API, for people
  /openapi.json  the API, for programs
  /healthz       whether it accepts calls
  /livez         whether it makes progress
";

const STYLE: &str = include_str!("page.css");

/// The document, which is the same for all servers of a process.
static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
static PAGE: OnceLock<Bytes> = OnceLock::new();

/// Returns what this server is.
pub async fn welcome() -> Response {
    with_type(Bytes::from_static(WELCOME.as_bytes()), "text/plain; charset=utf-8")
}

/// Returns the OpenAPI document.
pub async fn openapi(State(PlainHttp(methods)): State<PlainHttp>) -> Response {
    let text = DOCUMENT.get_or_init(|| document(&methods.pool).to_string().into());
    with_type(text.clone(), "application/json")
}

/// Returns the page for people.
pub async fn page(State(PlainHttp(methods)): State<PlainHttp>) -> Response {
    let text = PAGE.get_or_init(|| html(&document(&methods.pool)).into());
    let mut response = with_type(text.clone(), "text/html; charset=utf-8");
    let digest = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn with_type(text: Bytes, content_type: &'static str) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Returns the response, or the error that a layer returned instead of it.
pub(super) fn with_error(pool: &DescriptorPool, response: Response) -> Response {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => {
            let mut error = json_response(code_of(status.code()).1, &error_json(pool, &status));
            add_http_headers(error.headers_mut(), &status);
            error
        }
        _ => response,
    }
}

/// The page with the content of the document.
fn html(document: &Value) -> String {
    let mut page = String::new();
    let title = text(&document["info"]["title"]);
    let version = text(&document["info"]["version"]);
    page.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    add(&mut page, format_args!("<title>{title}: API</title><style>{STYLE}</style></head><body>"));
    add(&mut page, format_args!("<header><h1>{title} {version}</h1></header><main>"));
    page.push_str(&paragraphs(&document["info"]["description"]));
    page.push_str(
        "<p>The same as OpenAPI: <a href=\"/openapi.json\"><code>/openapi.json</code></a></p>",
    );
    let empty = serde_json::Map::new();
    let paths = document["paths"].as_object().unwrap_or(&empty);
    page.push_str("<nav><h2>Methods</h2><ul>");
    for path in paths.keys() {
        let (path, name) = (escaped(path), escaped(method_name(path)));
        add(&mut page, format_args!("<li><a href=\"#{path}\"><code>{name}</code></a></li>"));
    }
    page.push_str("</ul></nav>");
    for tag in document["tags"].as_array().into_iter().flatten() {
        add(
            &mut page,
            format_args!("<h2>{}</h2>{}", text(&tag["name"]), paragraphs(&tag["description"])),
        );
        for (path, item) in paths.iter().filter(|(_, item)| item["post"]["tags"][0] == tag["name"])
        {
            page.push_str(&operation(path, item));
        }
    }
    page.push_str("<h2>Types</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().unwrap_or(&empty) {
        page.push_str(&schema_section(name, schema));
    }
    page.push_str("</main></body></html>\n");
    page
}

fn add(page: &mut String, text: std::fmt::Arguments<'_>) {
    // A String accepts every text.
    let _ = page.write_fmt(text);
}

fn method_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn operation(path: &str, item: &Value) -> String {
    let mut section = String::new();
    let post = &item["post"];
    let (id, name) = (escaped(path), escaped(method_name(path)));
    add(&mut section, format_args!("<section id=\"{id}\"><h3>{name}</h3>"));
    section.push_str(&paragraphs(&post["description"]));
    let input = &post["requestBody"]["content"]["application/json"]["schema"];
    add(&mut section, format_args!("<p>Request: {}</p>", type_html(input)));
    for (media, content) in post["responses"]["200"]["content"].as_object().into_iter().flatten() {
        let types = type_html(&content["schema"]);
        add(
            &mut section,
            format_args!("<p>Response, <code>{}</code>: {types}</p>", escaped(media)),
        );
    }
    let silent = if post["responses"]["200"]["content"]["application/x-ndjson"].is_object() {
        "--no-buffer "
    } else {
        ""
    };
    add(&mut section, format_args!("<pre>curl {silent}--json '{{…}}' http://localhost:8080{id}"));
    if item["get"].is_object() {
        add(
            &mut section,
            format_args!(
                "\ncurl --get --data encoding=json --data-urlencode 'message={{…}}' http://localhost:8080{id}"
            ),
        );
    }
    section.push_str("</pre></section>");
    section
}

fn schema_section(name: &str, schema: &Value) -> String {
    let mut section = String::new();
    let id = escaped(name);
    add(&mut section, format_args!("<section id=\"{id}\"><h3><code>{id}</code></h3>"));
    section.push_str(&paragraphs(&schema["description"]));
    if let Some(properties) = schema["properties"].as_object().filter(|all| !all.is_empty()) {
        section
            .push_str("<table><thead><tr><th>Field</th><th>Type</th><th></th></tr></thead><tbody>");
        for (name, field) in properties {
            let (name, kind) = (escaped(name), type_html(field));
            let description = paragraphs(&field["description"]);
            add(
                &mut section,
                format_args!(
                    "<tr><td><code>{name}</code></td><td>{kind}</td><td>{description}</td></tr>"
                ),
            );
        }
        section.push_str("</tbody></table>");
    }
    section.push_str("</section>");
    section
}

/// A type, with a link if it is described on the page.
fn type_html(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next()) {
        let name = escaped(name);
        let short = name.strip_prefix("tara.export.v1.").unwrap_or(&name);
        return format!("<a href=\"#{name}\"><code>{short}</code></a>");
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().map(type_html).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::String(kind) if kind == "array" => {
            format!("list of {}", type_html(&schema["items"]))
        }
        Value::String(kind) => {
            let format = schema["format"].as_str().or_else(|| schema["contentEncoding"].as_str());
            let format =
                format.map_or_else(String::new, |format| format!(" ({})", escaped(format)));
            format!("{}{format}", escaped(kind))
        }
        Value::Array(kinds) => {
            let kinds: Vec<String> = kinds.iter().map(text).collect();
            kinds.join(" or ")
        }
        _ => "any value".to_owned(),
    }
}

/// A description: paragraphs, lists of lines with `- `, and code in backticks.
fn paragraphs(description: &Value) -> String {
    let mut html = String::new();
    for paragraph in description.as_str().unwrap_or_default().split("\n\n") {
        let lines: Vec<&str> = paragraph.lines().collect();
        if lines.first().is_some_and(|line| line.starts_with("- ")) {
            html.push_str("<ul>");
            for line in lines {
                add(
                    &mut html,
                    format_args!("<li>{}</li>", with_code(line.trim_start_matches("- "))),
                );
            }
            html.push_str("</ul>");
        } else if !paragraph.trim().is_empty() {
            add(&mut html, format_args!("<p>{}</p>", with_code(paragraph)));
        }
    }
    html
}

fn with_code(line: &str) -> String {
    let parts = escaped(line);
    let parts: Vec<&str> = parts.split('`').collect();
    // An odd number of backticks is text.
    if parts.len().is_multiple_of(2) {
        return parts.join("`");
    }
    let coded = parts.iter().enumerate().map(|(index, part)| {
        if index % 2 == 1 { format!("<code>{part}</code>") } else { (*part).to_owned() }
    });
    coded.collect()
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
