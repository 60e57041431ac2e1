//! Health checks.

use std::time::Duration;

use self::proto::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use super::{
    ClientError, ConnectOptions,
    connect::{Authorization, endpoint},
};

/// The generated messages and calls of gRPC's health service.
#[allow(missing_docs, unreachable_pub, clippy::all)]
mod proto {
    tonic::include_proto!("grpc.health.v1");
}

/// Shorter than the interval between two checks on most platforms.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Whether the server's health service reports SERVING for this name. Empty: the server accepts calls, which it
/// does not during shutdown. `liveness`: it makes progress. `accepting`: it would accept an export.
///
/// # Errors
/// [`ClientError::Url`], [`ClientError::Connect`], and the call's error: NOT_FOUND if the server does not know
/// the name.
pub async fn is_serving(
    url: &str,
    service: &str,
    options: ConnectOptions,
) -> Result<bool, ClientError> {
    let channel = endpoint(url, &options)?
        .connect_timeout(TIMEOUT)
        .timeout(TIMEOUT)
        .connect()
        .await
        .map_err(|source| ClientError::Connect { url: url.to_owned(), source: source.into() })?;
    let request = HealthCheckRequest { service: service.to_owned() };
    let header = match &options.token {
        Some(token) => Some(token.header().await?),
        None => None,
    };
    let response =
        HealthClient::with_interceptor(channel, Authorization(header)).check(request).await?;
    Ok(response.into_inner().status() == ServingStatus::Serving)
}
