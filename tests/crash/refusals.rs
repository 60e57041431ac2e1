//! Write errors of the disk are reported under the health name `accepting`, and under no other, for
//! as long as they last.

use tara_export::{health::RefusalReason, server::ACCEPTING};
use tara_export_failpoint::fail::{self, FailScenario};
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{ledger::ExportCase, machine::Machine, process::within};

#[tokio::test]
async fn disk_write_errors_report_not_accepting_until_resolved() {
    let _failpoints = FailScenario::setup();
    let machine = Machine::new().await;
    let mut server = machine.start().await;
    server.committed(ExportCase::new(1)).await;
    let url = format!("http://{}", server.address());
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let watch = HealthCheckRequest { service: ACCEPTING.to_owned() };
    let mut accepting = health.watch(watch).await.unwrap().into_inner();
    let mut until = async |expected: ServingStatus| {
        let changing =
            async { while accepting.message().await.unwrap().unwrap().status() != expected {} };
        within(&format!("{expected:?}"), changing).await;
    };
    for (point, errno, reason) in [
        ("disk.file.create", 30, RefusalReason::DiskNotWritable),
        ("disk.file.write", 28, RefusalReason::DiskNotWritable),
        ("disk.file.write", 122, RefusalReason::DiskNotWritable),
        ("disk.file.sync", 5, RefusalReason::DiskFailing),
    ] {
        eprintln!("{point} fails with {errno}");
        until(ServingStatus::Serving).await;
        // The server detects the error and its end without any call.
        fail::cfg(point, &format!("return({errno} /.tara-export/)")).unwrap();
        until(ServingStatus::NotServing).await;
        assert_eq!(server.acceptance().refusal().unwrap().reason, reason);
        for name in ["", "tara.export.v1.ExportService", "liveness"] {
            let request = HealthCheckRequest { service: name.to_owned() };
            let status = health.check(request).await.unwrap().into_inner().status();
            assert_eq!(status, ServingStatus::Serving, "{name}");
        }
        server.assert_readable(ExportCase::new(1)).await;
        fail::remove(point);
    }
    until(ServingStatus::Serving).await;
    server.committed(ExportCase::new(2)).await;
    server.stop().await;
}
