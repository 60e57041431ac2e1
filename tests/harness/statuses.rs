//! Checks of the API's errors.

use tonic::{Code, Status};
use tonic_types::{ErrorDetail, ErrorInfo, StatusExt as _};

/// Checks the details that every error has, its code and its reason. Returns its ErrorInfo.
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
    let has_retry_info = details.iter().any(|detail| matches!(detail, ErrorDetail::RetryInfo(_)));
    let is_temporary = matches!(code, Code::Unavailable | Code::ResourceExhausted)
        && reason != "REQUEST_TOO_LARGE";
    assert_eq!(has_retry_info, is_temporary, "RetryInfo if the error is temporary: {details:?}");
    infos[0].clone()
}

/// The field violations of an INVALID_ARGUMENT, in order: field and description.
pub(crate) fn violations(status: &Status) -> Vec<(String, String)> {
    expect_status(status, Code::InvalidArgument, "INVALID_REQUEST");
    let details = status.get_error_details();
    let violations = &details.bad_request().expect("a BadRequest").field_violations;
    violations
        .iter()
        .map(|violation| (violation.field.clone(), violation.description.clone()))
        .collect()
}

/// Checks that an INVALID_ARGUMENT names only this field. Returns the description.
pub(crate) fn expect_invalid(status: &Status, field: &str) -> String {
    match violations(status).as_slice() {
        [(violated, description)] if violated == field => description.clone(),
        others => panic!("expected {field} alone: {others:?}"),
    }
}
