//! The gRPC API: converts between proto and domain types. The only module of the server that uses protobuf.

mod access;
mod admission;
mod admitted;
mod authentication;
mod automation;
mod backlog_checks;
mod batch;
mod batch_checks;
mod caller;
mod calls;
mod checks;
mod convert;
mod counters;
mod deadline;
mod decoding;
mod download;
mod error_size;
mod failures;
mod follow;
mod health_checks;
mod hosts;
mod job_checks;
mod listing;
mod notification_checks;
mod observe;
mod permissions;
mod plain_http;
mod pulled;
mod queries;
mod readers;
mod reflection;
mod report;
mod request_body;
mod response_body;
mod response_memory;
mod service;
mod status;
mod stream_reset;
mod unsent;
mod upload;
mod wire_scan;

pub use self::{
    access::log_access,
    admission::{RequestAdmission, RequestLimits, admit, request_memory_bytes},
    authentication::authenticate,
    automation::{Automation, AutomationApi},
    caller::{TrustedProxies, identify_client},
    calls::{CallLimits, limit_calls},
    counters::register_counters,
    deadline::enforce_deadline,
    error_size::limit_errors,
    hosts::{AllowedHosts, check_host, refuse_host},
    observe::observe,
    plain_http::{
        OPENAPI_PATH, PAGE_PATH, PlainHttp, PlainHttpError, WELCOME_PATH, openapi, page,
        plain_http, welcome,
    },
    pulled::PulledRequests,
    queries::Replica,
    readers::{ReadLimits, Readers},
    reflection::{DescriptorError, Reflection},
    response_body::{ResponseLimits, guard},
    service::{ExportApi, ExportApiParts},
    status::{DOMAIN, internal_error},
    stream_reset::resettable,
    unsent::Unsent,
};
