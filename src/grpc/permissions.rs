//! The table of roles that each method requires.

use tara_export_auth::Role;

use super::plain_http::{OPENAPI_PATH, PAGE_PATH, WELCOME_PATH};

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    /// Everyone, without authentication.
    Open,
    /// Callers with one of these roles. Admins have every role.
    OneOf(&'static [Role]),
}

use Permission::{OneOf, Open};

const EXPORT: Permission = OneOf(&[Role::Export]);
const READ: Permission = OneOf(&[Role::Read]);
/// For methods that both roles need, such as to follow an export.
const EITHER: Permission = OneOf(&[Role::Export, Role::Read]);
const ADMIN: Permission = OneOf(&[Role::Admin]);

const API_PACKAGE: &str = "tara.export.v1.";

/// Every method that is served. If authentication is configured, a method without a row is refused.
const TABLE: &[(&str, Permission)] = &[
    ("/tara.export.v1.ExportService/PreviewExport", EXPORT),
    ("/tara.export.v1.ExportService/StartExport", EXPORT),
    ("/tara.export.v1.ExportService/WatchExport", EITHER),
    ("/tara.export.v1.ExportService/BatchStartExports", EXPORT),
    ("/tara.export.v1.ExportService/WatchBatch", EITHER),
    ("/tara.export.v1.ExportService/GetBatch", EITHER),
    ("/tara.export.v1.ExportService/GetExport", EITHER),
    ("/tara.export.v1.ExportService/ListExports", READ),
    ("/tara.export.v1.ExportService/GetReport", READ),
    ("/tara.export.v1.ExportService/DownloadArtifact", READ),
    ("/tara.export.v1.ExportService/DownloadBundle", READ),
    ("/tara.export.v1.ExportService/CreateDownloadLink", READ),
    ("/tara.export.v1.ExportService/CreateUpload", EXPORT),
    ("/tara.export.v1.ExportService/GetUpload", EXPORT),
    ("/tara.export.v1.ExportService/UploadDocument", EXPORT),
    ("/tara.export.v1.ExportService/UploadChunk", EXPORT),
    // It tests the stores, and returns where they are.
    ("/tara.export.v1.ExportService/CheckStorage", ADMIN),
    ("/tara.export.v1.AutomationService/ListEvents", READ),
    // They make the server send messages, and show where to.
    ("/tara.export.v1.AutomationService/RetryEvents", ADMIN),
    ("/tara.export.v1.AutomationService/ListTargets", ADMIN),
    ("/tara.export.v1.AutomationService/TestTarget", ADMIN),
    ("/tara.export.v1.AutomationService/ListJobs", READ),
    ("/tara.export.v1.AutomationService/RunJob", ADMIN),
    // Load balancers and kubelets have no tokens. A health check returns only whether the server is serving.
    ("/grpc.health.v1.Health/Check", Open),
    ("/grpc.health.v1.Health/Watch", Open),
    // The API is public, but only callers need to know which services run here.
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", EITHER),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", EITHER),
];

/// The description of the API, which is no method. As reflection, it is for callers; the first page only says what the
/// server is.
const PAGES: &[(&str, Permission)] =
    &[(WELCOME_PATH, Open), (OPENAPI_PATH, EITHER), (PAGE_PATH, EITHER)];

/// Who may call the method of this path, or read the page. `None` if there is neither.
pub(super) fn permission(path: &str) -> Option<Permission> {
    TABLE.iter().chain(PAGES).find(|(method, _)| *method == path).map(|(_, permission)| *permission)
}

/// Whether the path is that of a health check: a method that is open to everyone.
pub(super) fn is_health_check(path: &str) -> bool {
    TABLE.contains(&(path, Open))
}

/// The roles that call the method of this path, as text. `None` if it needs no role.
pub(super) fn roles_text(path: &str) -> Option<String> {
    let OneOf(roles) = permission(path)? else { return None };
    let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    Some(names.join(" or "))
}

/// A method of the API.
#[derive(Debug, Clone, Copy)]
pub(super) struct ApiMethod {
    /// The full name of its service.
    pub service: &'static str,
    /// Its name, unique among all services of the API.
    pub method: &'static str,
}

/// The method of a path. `None` for health checks, reflection and unknown methods.
pub(super) fn api_method(path: &str) -> Option<ApiMethod> {
    api_methods().find(|ApiMethod { service, method }| {
        path.strip_prefix('/').and_then(|path| path.split_once('/')) == Some((service, method))
    })
}

/// All methods of the API.
pub(super) fn api_methods() -> impl Iterator<Item = ApiMethod> {
    TABLE.iter().filter_map(|(path, _)| {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        service.starts_with(API_PACKAGE).then_some(ApiMethod { service, method })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// The paths of every method of every service that is served.
    fn served() -> Vec<String> {
        let sets = [
            crate::proto::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let files = sets.iter().flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file);
        files
            .flat_map(|file| {
                let package = file.package().to_owned();
                file.service.into_iter().flat_map(move |service| {
                    let name = format!("/{package}.{}/", service.name());
                    service.method.into_iter().map(move |method| format!("{name}{}", method.name()))
                })
            })
            .collect()
    }

    #[test]
    fn table_lists_exactly_the_served_methods() {
        let served = served();
        assert!(served.len() > 15, "{served:?}");
        for method in &served {
            assert!(permission(method).is_some(), "{method} needs a row in the table");
        }
        for (method, _) in TABLE {
            assert!(served.iter().any(|served| served == method), "{method} is not served");
        }
        assert_eq!(permission("/tara.export.v1.ExportService/"), None);
    }
}
