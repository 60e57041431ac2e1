//! A disk that refuses every write is reported under the health name `accepting`, and under no other, for as
//! long as it does.
//!
//! The server runs in this process, as in `disk_errors`.

use fail::FailScenario;
use tara_export::{health::RefusalReason, server::ACCEPTING};
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{ledger::Wish, machine::Machine, process::within};

#[tokio::test]
async fn disk_that_refuses_each_write_is_not_accepting_until_it_works_again() {
    let _failpoints = FailScenario::setup();
    let machine = Machine::new().await;
    let mut server = machine.start().await;
    server.committed(Wish::new(1)).await;
    let url = format!("http://{}", server.address());
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let watch = HealthCheckRequest { service: ACCEPTING.to_owned() };
    let mut accepting = health.watch(watch).await.unwrap().into_inner();
    let mut until = async |wanted: ServingStatus| {
        let changing =
            async { while accepting.message().await.unwrap().unwrap().status() != wanted {} };
        within(&format!("{wanted:?}"), changing).await;
    };
    for (point, errno, reason) in [
        ("disk.file.create", 30, RefusalReason::DiskNotWritable),
        ("disk.file.write", 28, RefusalReason::DiskNotWritable),
        ("disk.file.write", 122, RefusalReason::DiskNotWritable),
        ("disk.file.sync", 5, RefusalReason::DiskFailing),
    ] {
        eprintln!("{point} fails with {errno}");
        until(ServingStatus::Serving).await;
        // No call is made: the server finds out by itself, and that it is over.
        fail::cfg(point, &format!("return({errno} /.tara-export/)")).unwrap();
        until(ServingStatus::NotServing).await;
        assert_eq!(server.acceptance().refusal().unwrap().reason, reason);
        for name in ["", "tara.export.v1.ExportService", "liveness"] {
            let request = HealthCheckRequest { service: name.to_owned() };
            let status = health.check(request).await.unwrap().into_inner().status();
            assert_eq!(status, ServingStatus::Serving, "{name}");
        }
        server.reads(Wish::new(1)).await;
        fail::remove(point);
    }
    until(ServingStatus::Serving).await;
    server.committed(Wish::new(2)).await;
    server.stop().await;
}
