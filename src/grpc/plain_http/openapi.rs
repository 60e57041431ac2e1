//! The OpenAPI document, generated from the descriptors.

use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};
use serde_json::{Map, Value, json};

use super::{
    only_reads, path_of,
    schema::{Comments, Schemas},
};
use crate::grpc::permissions::roles_text;

/// The package whose services the document describes.
const PACKAGE: &str = "tara.export.v1";
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

const DESCRIPTION: &str = "Exports completed document reviews as audit bundles.\n\n\
    The calls are those of the Connect protocol: POST with application/json, or GET with a query for methods that only \
    read. A method with a stream as its response returns lines of JSON (application/x-ndjson): each line is a message \
    and arrives when it is sent, and the last line is `{}`, or `{\"error\": …}`. Binary messages \
    (application/proto, application/connect+proto) and gRPC are available at the same paths.\n\n\
    Numbers of 64 bits are texts in responses; requests may have either. Bytes are in base64. Unknown fields are \
    errors. Methods with a stream of requests are not described here: they need application/connect+json.";

/// The document of the API.
pub(super) fn document(pool: &DescriptorPool) -> Value {
    let comments = Comments::of(pool);
    let mut schemas = Schemas::new(&comments);
    let mut paths = Map::new();
    let mut tags = Vec::new();
    for service in pool.services().filter(|service| service.package_name() == PACKAGE) {
        tags.push(json!({
            "name": service.name(),
            "description": comments.at(&service.parent_file(), service.path()),
        }));
        for method in service.methods().filter(|method| !method.is_client_streaming()) {
            paths.insert(path_of(&method), path_item(&service, &method, &comments, &mut schemas));
        }
    }
    let mut schemas = schemas.into_map();
    schemas.insert("Error".to_owned(), error_schema());
    schemas.insert(
        "StreamEnd".to_owned(),
        json!({
            "type": "object",
            "description": "The last line of a stream: empty if the stream is complete.",
            "properties": {"error": {"$ref": "#/components/schemas/Error"}},
            "additionalProperties": false,
        }),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "tara-export",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "Error": {
                    "description": "The call failed. The HTTP status follows from the code.",
                    "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
                },
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token, if the server authenticates callers.",
                },
            },
        },
    })
}

fn path_item(
    service: &ServiceDescriptor,
    method: &MethodDescriptor,
    comments: &Comments,
    schemas: &mut Schemas<'_>,
) -> Value {
    let input = schemas.message(&method.input());
    let output = schemas.message(&method.output());
    let comment = comments.at(&method.parent_file(), method.path());
    let roles = roles_text(&path_of(method));
    let roles = roles.map_or_else(String::new, |roles| {
        format!("\n\nIf the server authenticates callers, it requires the role {roles}.")
    });
    let description = format!("{comment}{roles}");
    let summary = comment.split_inclusive('.').next().unwrap_or_default();
    let (media, content) = if method.is_server_streaming() {
        let line = json!({"anyOf": [output, {"$ref": "#/components/schemas/StreamEnd"}]});
        (LINES, json!({"schema": line}))
    } else {
        (JSON, json!({"schema": output}))
    };
    let responses = json!({
        "200": {
            "description": if media == LINES { "Lines: the messages of the stream and its end." } else { "The response." },
            "content": {media: content},
        },
        "default": {"$ref": "#/components/responses/Error"},
    });
    let operation = |kind: &str| {
        json!({
            "operationId": format!("{}_{}{kind}", service.name(), method.name()),
            "tags": [service.name()],
            "summary": summary,
            "description": description,
            "responses": responses,
        })
    };
    let mut post = operation("");
    post["requestBody"] = json!({"required": true, "content": {JSON: {"schema": input}}});
    let mut item = json!({"post": post});
    if only_reads(method) {
        let mut get = operation("_get");
        get["parameters"] = query(&input);
        item["get"] = get;
    }
    item
}

/// The parameters of a call with GET.
fn query(input: &Value) -> Value {
    json!([
        {
            "name": "encoding", "in": "query", "required": true,
            "description": "How the message is encoded.",
            "schema": {"type": "string", "enum": ["json"]},
        },
        {
            "name": "message", "in": "query", "required": true,
            "description": "The request as JSON.",
            "content": {JSON: {"schema": input}},
        },
        {
            "name": "connect", "in": "query", "required": false,
            "description": "The version of the Connect protocol.",
            "schema": {"type": "string", "enum": ["v1"]},
        },
    ])
}

fn error_schema() -> Value {
    let codes = [
        "canceled",
        "unknown",
        "invalid_argument",
        "deadline_exceeded",
        "not_found",
        "already_exists",
        "permission_denied",
        "resource_exhausted",
        "failed_precondition",
        "aborted",
        "out_of_range",
        "unimplemented",
        "internal",
        "unavailable",
        "data_loss",
        "unauthenticated",
    ];
    json!({
        "type": "object",
        "description": "An error of the Connect protocol.",
        "required": ["code"],
        "properties": {
            "code": {"type": "string", "enum": codes},
            "message": {"type": "string", "description": "The error as human-readable text."},
            "details": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["type", "value"],
                    "properties": {
                        "type": {
                            "type": "string",
                            "description": "The message's name, such as google.rpc.ErrorInfo.",
                        },
                        "value": {"type": "string", "contentEncoding": "base64", "description": "The message as protobuf."},
                        "debug": {"description": "The message as JSON, for people."},
                    },
                },
            },
        },
    })
}
