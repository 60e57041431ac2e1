//! The endpoint of a request, resolved once for each bucket instead of for each key.
//!
//! The SDK's resolver keeps its latest endpoint, and compares all parameters of a request with those of the previous
//! one. The key is among them, although no rule uses it, so each object's endpoint would be resolved again.

use aws_sdk_s3::config::endpoint::{
    DefaultResolver, EndpointFuture, InvalidParams, Params, ParamsBuilder, ResolveEndpoint,
};

/// The SDK's resolver, without the parameters that no rule uses.
#[derive(Debug, Default)]
pub(super) struct EndpointOfBucket(DefaultResolver);

impl ResolveEndpoint for EndpointOfBucket {
    fn resolve_endpoint<'a>(&'a self, params: &'a Params) -> EndpointFuture<'a> {
        EndpointFuture::new(async move {
            let params = without_key(params)?;
            self.0.resolve_endpoint(&params).await
        })
    }
}

/// All parameters except the key, the prefix and the source of a copy.
fn without_key(params: &Params) -> Result<Params, InvalidParams> {
    let owned = |value: Option<&str>| value.map(str::to_owned);
    ParamsBuilder::default()
        .set_bucket(owned(params.bucket()))
        .set_region(owned(params.region()))
        .set_use_fips(params.use_fips())
        .set_use_dual_stack(params.use_dual_stack())
        .set_endpoint(owned(params.endpoint()))
        .set_force_path_style(params.force_path_style())
        .set_accelerate(params.accelerate())
        .set_use_global_endpoint(params.use_global_endpoint())
        .set_use_object_lambda_endpoint(params.use_object_lambda_endpoint())
        .set_disable_access_points(params.disable_access_points())
        .set_disable_multi_region_access_points(params.disable_multi_region_access_points())
        .set_use_arn_region(params.use_arn_region())
        .set_use_s3_express_control_endpoint(params.use_s3_express_control_endpoint())
        .set_disable_s3_express_session_auth(params.disable_s3_express_session_auth())
        .build()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Buckets of each kind that the rules distinguish.
    const BUCKETS: [&str; 6] = [
        "plain",
        "with.dots",
        "directory--use1-az4--x-s3",
        "arn:aws:s3:us-west-2:123456789012:accesspoint:point",
        "arn:aws:s3::123456789012:accesspoint:mfzwi23gnjvgw.mrap",
        "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-01234567890123456/accesspoint/point",
    ];

    /// With `switch`, every other field has another value than by default.
    fn parameters(bucket: &str, key: Option<&str>, endpoint: Option<&str>, switch: bool) -> Params {
        let builder = Params::builder()
            .bucket(bucket)
            .region("us-west-2")
            .set_endpoint(endpoint.map(str::to_owned))
            .set_key(key.map(str::to_owned))
            .set_prefix(key.map(str::to_owned))
            .set_copy_source(key.map(str::to_owned));
        if !switch {
            return builder.build().unwrap();
        }
        builder
            .use_dual_stack(endpoint.is_none())
            .use_fips(endpoint.is_none())
            .force_path_style(true)
            .use_global_endpoint(true)
            .use_arn_region(false)
            .disable_s3_express_session_auth(true)
            .disable_access_points(false)
            .disable_multi_region_access_points(true)
            .use_s3_express_control_endpoint(true)
            .build()
            .unwrap()
    }

    #[tokio::test]
    async fn endpoint_is_that_of_the_sdk_for_every_key() {
        let resolver = EndpointOfBucket::default();
        let mut resolved = 0;
        for bucket in BUCKETS {
            for endpoint in [None, Some("https://objects.test:9000/base/")] {
                for switch in [false, true] {
                    for key in [None, Some("a"), Some("b/../c ?#%"), Some("")] {
                        let parameters = parameters(bucket, key, endpoint, switch);
                        // A new one each time: it has no previous endpoint.
                        let sdk = DefaultResolver::new();
                        let expected = sdk.resolve_endpoint(&parameters).await;
                        let expected = expected.map_err(|error| error.to_string());
                        let own = resolver.resolve_endpoint(&parameters).await;
                        assert_eq!(own.map_err(|error| error.to_string()), expected);
                        resolved += usize::from(expected.is_ok());
                    }
                }
            }
        }
        assert!(resolved > 40, "{resolved}");
    }

    #[tokio::test]
    async fn objects_of_one_bucket_share_an_endpoint() {
        let resolver = EndpointOfBucket::default();
        let of = |key| without_key(&parameters("plain", Some(key), None, false)).unwrap();
        assert_eq!(of("one"), of("other"));
        let parameters = parameters("plain", Some("one"), None, false);
        let endpoint = resolver.resolve_endpoint(&parameters).await.unwrap();
        assert_eq!(endpoint.url(), "https://plain.s3.us-west-2.amazonaws.com");
    }
}
