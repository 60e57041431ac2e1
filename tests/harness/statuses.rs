//! What every error of the API must look like.

use tonic::{Code, Status};
use tonic_types::{ErrorDetail, ErrorInfo, StatusExt as _};

/// Checks what holds for every error, and its code and reason. Returns its ErrorInfo.
pub(crate) fn expect_status(status: &Status, code: Code, reason: &str) -> ErrorInfo {
    assert_eq!(status.code(), code, "{status:?}");
    assert!(!status.message().is_empty(), "{status:?}");
    let details = status.check_error_details_vec().expect("the details can be decoded");
    let infos: Vec<&ErrorInfo> = details
        .iter()
        .filter_map(|detail| match detail {
            ErrorDetail::ErrorInfo(info) => Some(info),
            _ => None,
        })
        .collect();
    assert_eq!(infos.len(), 1, "exactly one ErrorInfo: {details:?}");
    assert_eq!((infos[0].reason.as_str(), infos[0].domain.as_str()), (reason, "tara.export.v1"));
    let waits = details.iter().any(|detail| matches!(detail, ErrorDetail::RetryInfo(_)));
    let waiting_helps = matches!(code, Code::Unavailable | Code::ResourceExhausted)
        && reason != "REQUEST_TOO_LARGE";
    assert_eq!(waits, waiting_helps, "RetryInfo where waiting helps: {details:?}");
    infos[0].clone()
}

/// The fields that an INVALID_ARGUMENT names, in order, and what it says of each.
pub(crate) fn violations(status: &Status) -> Vec<(String, String)> {
    expect_status(status, Code::InvalidArgument, "INVALID_REQUEST");
    let details = status.get_error_details();
    let violations = &details.bad_request().expect("a BadRequest").field_violations;
    violations
        .iter()
        .map(|violation| (violation.field.clone(), violation.description.clone()))
        .collect()
}

/// Checks that an INVALID_ARGUMENT names exactly this field. Returns what it says.
pub(crate) fn expect_invalid(status: &Status, field: &str) -> String {
    match violations(status).as_slice() {
        [(violated, description)] if violated == field => description.clone(),
        others => panic!("expected {field} alone: {others:?}"),
    }
}
