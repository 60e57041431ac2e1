//! Bearer tokens of calls.

use std::{
    error::Error,
    fmt,
    future::Future,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::future::BoxFuture;
use tonic::{
    Code,
    metadata::{Ascii, MetadataValue},
};

use super::ClientError;

/// The value of the header `authorization`.
pub(super) type Header = MetadataValue<Ascii>;

/// The longest token in bytes. Servers and proxies accept less in a header.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The error of a token's function.
type SourceError = Box<dyn Error + Send + Sync>;

type Source = Arc<dyn Fn() -> BoxFuture<'static, Result<String, SourceError>> + Send + Sync>;

/// A bearer token: a text, or a function that returns one for every call. Its `Debug` output does not contain the
/// token.
#[derive(Clone)]
pub struct Token(Kind);

#[derive(Clone)]
enum Kind {
    Fixed(Header),
    Source(Source),
}

impl Token {
    /// Creates a token from a text, without leading and trailing whitespace. `None` if the text is empty, longer than
    /// 16 KiB, or not of visible ASCII characters.
    pub fn new(text: &str) -> Option<Self> {
        header(text).map(|header| Self(Kind::Fixed(header)))
    }

    /// Creates a token from a function, for tokens that expire. The client calls it before every call, also by several
    /// calls at once; it caches the token itself if requesting one is slow. After UNAUTHENTICATED, the client calls
    /// it once more, and repeats the call if the token is another one. If the function fails, the call fails with its
    /// error ([`ClientError::Token`]).
    pub fn from_fn<F, T>(function: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, SourceError>> + Send + 'static,
    {
        Self(Kind::Source(Arc::new(move || Box::pin(function()))))
    }

    /// Creates a token from a file of at most 16 KiB, which is read before every call, so that a renewed token is
    /// used. An error names the file.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self::from_fn(move || {
            let path = path.clone();
            async move {
                let reading = tokio::task::spawn_blocking(move || {
                    read(&path)
                        .map_err(|source| format!("cannot read {}: {source}", path.display()))
                });
                Ok(reading.await??)
            }
        })
    }

    /// Requests the header of a call.
    pub(super) async fn header(&self) -> Result<Header, ClientError> {
        match &self.0 {
            Kind::Fixed(header) => Ok(header.clone()),
            Kind::Source(source) => {
                let text = source().await.map_err(ClientError::Token)?;
                header(&text).ok_or_else(|| {
                    ClientError::Token(
                        "the token is empty, too long, or has other than visible ASCII characters"
                            .into(),
                    )
                })
            }
        }
    }

    /// Requests another header after the rejection of this one. `None` if there is no other.
    pub(super) async fn replacement(
        &self,
        rejected: &Header,
        code: Code,
    ) -> Result<Option<Header>, ClientError> {
        if !self.can_be_replaced() || code != Code::Unauthenticated {
            return Ok(None);
        }
        let other = self.header().await?;
        Ok((other != rejected).then_some(other))
    }

    /// Whether another request of the token can return another one.
    pub(super) fn can_be_replaced(&self) -> bool {
        matches!(self.0, Kind::Source(_))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

fn header(text: &str) -> Option<Header> {
    let text = text.trim();
    let is_valid = (1..=MAX_TOKEN_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    let mut header: Header = is_valid.then(|| format!("Bearer {text}").parse().ok())??;
    header.set_sensitive(true);
    Some(header)
}

fn read(path: &Path) -> io::Result<String> {
    let mut content = String::new();
    let limit = MAX_TOKEN_BYTES as u64 + 1;
    std::fs::File::open(path)?.take(limit).read_to_string(&mut content)?;
    if content.len() > MAX_TOKEN_BYTES {
        return Err(io::Error::other(format!("a token file has at most {MAX_TOKEN_BYTES} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_ascii_is_a_token() {
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        for text in ["", " ", "a b", "a\u{7}b", "a\nb", "\u{fc}", &long] {
            assert!(Token::new(text).is_none(), "{text}");
        }
        let token = Token::new(" hunter2\n").unwrap();
        assert!(!format!("{token:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn file_is_read_for_every_call() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let token = Token::from_file(file.path());
        for text in ["first", "second"] {
            std::fs::write(file.path(), format!("{text}\n")).unwrap();
            assert_eq!(token.header().await.unwrap(), format!("Bearer {text}"));
        }
        std::fs::write(file.path(), "").unwrap();
        assert!(matches!(token.header().await, Err(ClientError::Token(_))));
        let missing = Token::from_file("/missing/token").header().await.unwrap_err();
        assert!(missing.to_string().contains("/missing/token"), "{missing}");
    }

    #[tokio::test]
    async fn replacement_is_another_token() {
        let same = Token::from_fn(|| async { Ok("same".to_owned()) });
        let header = same.header().await.unwrap();
        assert!(same.replacement(&header, Code::Unauthenticated).await.unwrap().is_none());
        let other = Token::from_fn(|| async { Ok("other".to_owned()) });
        assert!(other.replacement(&header, Code::Unauthenticated).await.unwrap().is_some());
        assert!(other.replacement(&header, Code::NotFound).await.unwrap().is_none());
        let fixed = Token::new("fixed").unwrap();
        assert!(fixed.replacement(&header, Code::Unauthenticated).await.unwrap().is_none());
    }
}
