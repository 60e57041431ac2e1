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

/// Whether a server takes calls; one that shuts down does not.
///
/// # Errors
/// [`ClientError::Url`] and [`ClientError::Connect`], and the call's failure.
pub async fn is_serving(url: &str, options: ConnectOptions) -> Result<bool, ClientError> {
    let channel = endpoint(url, &options)?
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE)
        .connect()
        .await
        .map_err(|source| ClientError::Connect { url: url.to_owned(), source })?;
    // Without a name, the whole server is meant.
    let request = HealthCheckRequest { service: String::new() };
    let answer = HealthClient::with_interceptor(channel, Authorization(options.token))
        .check(request)
        .await?;
    Ok(answer.into_inner().status() == ServingStatus::Serving)
}
