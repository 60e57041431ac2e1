//! Which method needs which role: the one table.

use crate::auth::Role;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    /// Everybody.
    Open,
    /// Callers with one of these roles. Admins have every role.
    OneOf(&'static [Role]),
}

use Permission::{OneOf, Open};

const EXPORT: Permission = OneOf(&[Role::Export]);
const READ: Permission = OneOf(&[Role::Read]);
/// What both need: to follow one's own export, to see how it ended.
const EITHER: Permission = OneOf(&[Role::Export, Role::Read]);
const ADMIN: Permission = OneOf(&[Role::Admin]);

/// Every method that is served. A method that is missing here is not, where callers must prove who they are.
const TABLE: &[(&str, Permission)] = &[
    ("/tara.export.v1.ExportService/PreviewExport", EXPORT),
    ("/tara.export.v1.ExportService/StartExport", EXPORT),
    ("/tara.export.v1.ExportService/WatchExport", EITHER),
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
    // It tries the stores out, and tells where they are.
    ("/tara.export.v1.ExportService/CheckStorage", ADMIN),
    // Load balancers and kubelets have no tokens; it tells nothing but that the server serves.
    ("/grpc.health.v1.Health/Check", Open),
    ("/grpc.health.v1.Health/Watch", Open),
    // The API is no secret, but nobody else needs to know what answers here.
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", EITHER),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", EITHER),
];

/// Who may call the method of this path. None for what is no method.
pub(super) fn permission(path: &str) -> Option<Permission> {
    TABLE.iter().find(|(method, _)| *method == path).map(|(_, permission)| *permission)
}

/// The name of a method of the export service. None for other services and for what is no method.
pub(super) fn export_method(path: &str) -> Option<&'static str> {
    let (method, _) = TABLE.iter().find(|(method, _)| *method == path)?;
    method.strip_prefix("/tara.export.v1.ExportService/")
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
    fn every_method_that_is_served_has_its_permission_and_no_other() {
        let served = served();
        assert!(served.len() > 15, "{served:?}");
        for method in &served {
            assert!(permission(method).is_some(), "{method} needs a row in the table");
        }
        for (method, _) in TABLE {
            assert!(served.iter().any(|served| served == method), "{method} is gone");
        }
        assert_eq!(permission("/tara.export.v1.ExportService/"), None);
    }
}
