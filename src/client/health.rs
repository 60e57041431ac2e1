//! Asking a server's health service.

use std::time::Duration;

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{
    ClientError, ConnectOptions,
    connect::{Authorization, endpoint},
};

/// Shorter than the pause between two checks of most platforms.
const PATIENCE: Duration = Duration::from_secs(4);

/// Whether a server is healthy under this name of its health service. Empty: it takes calls, which one that
/// stops does not. `liveness`: it makes progress. `accepting`: it would accept an export.
///
/// # Errors
/// [`ClientError::Url`] and [`ClientError::Connect`], and the call's failure: NOT_FOUND if the server has no
/// such name.
pub async fn is_serving(
    url: &str,
    service: &str,
    options: ConnectOptions,
) -> Result<bool, ClientError> {
    let channel = endpoint(url, &options)?
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE)
        .connect()
        .await
        .map_err(|source| ClientError::Connect { url: url.to_owned(), source: source.into() })?;
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::with_interceptor(channel, Authorization(options.token))
        .check(request)
        .await?;
    Ok(answer.into_inner().status() == ServingStatus::Serving)
}
