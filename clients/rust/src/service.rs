//! Calls of the API with their token.

use http::Uri;
use tonic::{Response, Status, service::interceptor::InterceptedService};

use super::{
    ClientError, Rejection,
    connect::{ApiClient, Authorization, GeneratedClient, Transport},
    probe::TlsProbe,
    token::{Header, Token},
};

/// Creates the generated client of each call, with the call's token.
#[derive(Clone)]
pub(super) struct Service {
    transport: Transport,
    origin: Uri,
    token: Option<Token>,
    probe: Option<TlsProbe>,
}

impl Service {
    pub(super) fn new(
        transport: Transport,
        origin: Uri,
        token: Option<Token>,
        probe: Option<TlsProbe>,
    ) -> Self {
        Self { transport, origin, token, probe }
    }

    /// The generated client for one call that cannot be repeated.
    pub(super) async fn client(&self) -> Result<ApiClient, ClientError> {
        Ok(self.with(self.header().await?))
    }

    /// Whether a rejected token can be replaced by another.
    pub(super) fn can_replace_token(&self) -> bool {
        self.token.as_ref().is_some_and(Token::can_be_replaced)
    }

    /// Makes a call, and repeats it once with another token if the server rejects the token.
    pub(super) async fn call<S, T, F>(
        &self,
        call: impl Fn(S) -> F,
    ) -> Result<Response<T>, ClientError>
    where
        S: GeneratedClient,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let header = self.header().await?;
        let status = match call(self.with(header.clone())).await {
            Ok(response) => return Ok(response),
            Err(status) => status,
        };
        if let (Some(token), Some(header)) = (&self.token, &header)
            && let Some(other) = token.replacement(header, status.code()).await?
        {
            return Ok(call(self.with(Some(other))).await?);
        }
        let rejection = Rejection::from(status);
        if rejection.is_connection_lost()
            && let Some(probe) = &self.probe
            && let Some(failure) = probe.failure().await
        {
            return Err(failure);
        }
        Err(ClientError::Rejected(Box::new(rejection)))
    }

    async fn header(&self) -> Result<Option<Header>, ClientError> {
        match &self.token {
            Some(token) => token.header().await.map(Some),
            None => Ok(None),
        }
    }

    fn with<S: GeneratedClient>(&self, header: Option<Header>) -> S {
        let transport = InterceptedService::new(self.transport.clone(), Authorization(header));
        S::new(transport, self.origin.clone())
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Service").field("origin", &self.origin).finish_non_exhaustive()
    }
}
